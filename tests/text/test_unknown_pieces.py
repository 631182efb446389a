"""Unknown pieces are counted, and lines without a known piece are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.unknown_pieces import count_unknown, lacks_capitals


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return Tokenizer.train(
        iter(["ba be bi bo", "bobe biba"] * 20),
        vocab_size=30,
        preprocessing=TextPreprocessing(False, False, False, None),
        languages=("en",),
        folder=tmp_path_factory.mktemp("spm"),
    )


def test_unknown_pieces_are_counted(tokenizer: Tokenizer) -> None:
    lines = ["ba be", "", "\u0436", "\u0436 ba", "\u0436\u0444 \u4e16\u754c", "bobe"]
    encoded = tokenizer.encode_lines(lines, "en")
    counts = count_unknown(tokenizer, encoded)
    assert counts.lines == [3, 5]
    assert counts.pieces == sum(map(len, encoded))
    assert counts.unknown == sum(ids.count(tokenizer.vocab.unk) for ids in encoded) >= 4
    assert counts.share == counts.unknown / counts.pieces


def test_lines_are_numbered_from_any_number(tokenizer: Tokenizer) -> None:
    vocab = tokenizer.vocab
    assert count_unknown(tokenizer, [[vocab.unk, vocab.sep, vocab.unk]], 7).lines == [7]
    assert count_unknown(tokenizer, [], 7).lines == []
    assert count_unknown(tokenizer, []).share == 0.0


def test_wordpiece_and_bpe_codes(tmp_path: Path) -> None:
    vocab = tmp_path / "vocab.txt"
    vocab.write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nbe\n##ba\n", encoding="utf-8")
    wordpiece = Tokenizer.from_bytes(vocab, vocab.read_bytes(), TextPreprocessing(), ())
    counts = count_unknown(
        wordpiece, [wordpiece.encode(line, "") for line in ("beba", "x y", "be x")]
    )
    assert (counts.pieces, counts.unknown, counts.lines) == (6, 3, [2])


def test_a_vocabulary_without_capitals_is_noticed(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    def wordpiece(pieces: str, **options: bool) -> Tokenizer:
        text = "\n".join(
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *pieces.split(), ""]
        )
        return Tokenizer.from_bytes(
            tmp_path / "vocab.txt", text.encode(), TextPreprocessing(**options), ("en",)
        )

    assert lacks_capitals(wordpiece("be ##ba b e a ß"))
    assert not lacks_capitals(wordpiece("be ##ba b e a", lowercase=True))
    assert not lacks_capitals(wordpiece("be ##ba b e a B"))
    # Digits, signs and scripts without case say nothing.
    assert not lacks_capitals(wordpiece("1 2 . 王"))
    assert lacks_capitals(tokenizer)


def test_a_vocabulary_that_changes_case_itself_does_not_lack_capitals(
    tmp_path: Path,
) -> None:
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["ba be bi bo", "bobe biba"] * 20),
        model_prefix=str(tmp_path / "folding"),
        model_type="bpe",
        vocab_size=20,
        normalization_rule_name="nmt_nfkc_cf",
        minloglevel=2,
    )
    path = tmp_path / "folding.model"
    assert not lacks_capitals(
        Tokenizer.from_bytes(path, path.read_bytes(), TextPreprocessing(), ("en",))
    )
