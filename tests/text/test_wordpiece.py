"""WordPiece with BERT's vocab.txt: basic tokens, longest match, special ids, and a data folder made with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.wordpiece import REQUIRED_PIECES, WordPieceModel, basic_tokens

UNUSED = [f"[unused{n}]" for n in range(12)]
WORDS = [
    "un",
    "##aff",
    "##able",
    "want",
    "##want",
    "##ed",
    "runn",
    "##ing",
    ",",
    ".",
    "##s",
    "cafe",
    "the",
]
PIECES = ["[PAD]", *UNUSED, "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]


@pytest.fixture
def vocab(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text(
        "".join(f"{piece}\n" for piece in PIECES), encoding="utf-8"
    )
    return tmp_path / "vocab.txt"


def test_basic_tokens() -> None:
    found = basic_tokens("Hello,  World!it's\t$5_a\u200b \ufffdx", keep_accents=True)
    assert found == [
        "Hello",
        ",",
        "World",
        "!",
        "it",
        "'",
        "s",
        "$",
        "5",
        "_",
        "a",
        "x",
    ]
    assert basic_tokens("caf\u00e9 \u00e9t\u00e9", keep_accents=False) == [
        "cafe",
        "ete",
    ]
    assert basic_tokens("caf\u00e9", keep_accents=True) == ["caf\u00e9"]
    assert basic_tokens("ab\u4e2d\u6587cd \u2014 \u00ab", keep_accents=True) == [
        "ab",
        "\u4e2d",
        "\u6587",
        "cd",
        "\u2014",
        "\u00ab",
    ]


def test_the_longest_known_piece_is_taken_at_each_position() -> None:
    """The example of BERT's own documentation."""
    pieces = WordPieceModel(
        "\n".join([*PIECES, "a" * 101, "b" * 100]).encode(), keep_accents=False
    )

    def cut(text: str) -> list[str]:
        return pieces.id_to_piece(pieces.encode([text])[0])

    assert cut("unaffable") == ["un", "##aff", "##able"]
    assert cut("unwanted running") == ["un", "##want", "##ed", "runn", "##ing"]
    assert cut("unwantedX running") == ["[UNK]", "runn", "##ing"]
    assert cut("") == []
    assert cut("the" * 40) == ["[UNK]"], "more than 100 characters"
    # Also a word that the vocabulary has.
    assert cut("a" * 101) == ["[UNK]"] and cut("b" * 100) == ["b" * 100]
    assert "[MASK]" not in cut("[MASK]"), "no text becomes a special symbol"


def test_special_symbols_are_those_of_the_file_and_its_size_stays(
    vocab: Path, tmp_path: Path
) -> None:
    preprocessing = TextPreprocessing(lowercase=True)
    tokenizer = Tokenizer.from_model_file(
        vocab,
        preprocessing=preprocessing,
        languages=("en", "de"),
        folder=tmp_path / "made",
    )
    found = tokenizer.vocab
    assert [
        PIECES[i] for i in (found.pad, found.unk, found.cls, found.sep, found.mask)
    ] == [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    assert (found.bos, found.eos, found.size) == (found.cls, found.sep, len(PIECES))
    assert [PIECES[i] for i in (*found.languages.values(), *found.spare)] == UNUSED[:10]
    again = Tokenizer.load(tmp_path / "made")
    assert again.vocab == found
    assert (
        again.decode(again.encode("The Caf\u00e9, unwanted xyz.", "en"), "en")
        == "the cafe, unwanted \u2047."
    )
    assert again.piece_texts(again.encode("unaffable", "en")) == ["un", "aff", "able"]


def test_a_data_folder_is_made_with_it(
    vocab: Path, tmp_path: Path, no_sync: None
) -> None:
    (tmp_path / "text.en").write_text(
        "Unwanted, running.\nthe cafe\n", encoding="utf-8"
    )
    (tmp_path / "a.tsv").write_text(
        "label\tsentence\n1\tThe Caf\u00e9\n", encoding="utf-8"
    )
    run(PreprocessConfig(mono=(f"en={tmp_path / 'text.en'}",), tsv=(str(tmp_path / "a.tsv"),), spm_model=vocab, lowercase=True,
                         destdir=tmp_path / "data"))  # fmt: skip
    data = DataFolder.open(tmp_path / "data")
    ids = data.monolingual("train", "en")[0].tolist()
    assert [PIECES[i] for i in ids] == [
        "un",
        "##want",
        "##ed",
        ",",
        "runn",
        "##ing",
        ".",
    ]
    assert [PIECES[i] for i in data.table("tsv", "train").ids("sentence")[0]] == [
        "the",
        "cafe",
    ]


def test_a_repeated_piece_is_refused(vocab: Path, tmp_path: Path) -> None:
    vocab.write_text(vocab.read_text(encoding="utf-8") + "the\n", encoding="utf-8")
    with pytest.raises(MasscliError) as caught:
        Tokenizer.from_model_file(
            vocab,
            preprocessing=TextPreprocessing(),
            languages=("en",),
            folder=tmp_path / "made",
        )
    assert caught.value.message == f"--spm-model {vocab}: the piece 'the' occurs twice"


@pytest.mark.parametrize(
    "left_out",
    [[name] for name in REQUIRED_PIECES] + [list(REQUIRED_PIECES), ["[CLS]", "[SEP]"]],
    ids=lambda names: "".join(names),
)
def test_a_vocabulary_without_a_symbol_and_a_file_that_is_not_one_have_different_errors(
    left_out: list[str], vocab: Path, tmp_path: Path
) -> None:
    vocab.write_text(
        "".join(f"{piece}\n" for piece in PIECES if piece not in left_out),
        encoding="utf-8",
    )
    with pytest.raises(MasscliError) as caught:
        Tokenizer.from_model_file(
            vocab,
            preprocessing=TextPreprocessing(),
            languages=("en",),
            folder=tmp_path / "made",
        )
    assert (
        caught.value.message
        == f"--spm-model {vocab}: lacks {', '.join(left_out)}, which a WordPiece vocabulary needs"
    )
    assert caught.value.hint is not None and all(
        name in caught.value.hint for name in left_out
    )
    with pytest.raises(MasscliError) as caught:
        Tokenizer.from_bytes(vocab, vocab.read_bytes(), TextPreprocessing(), ())
    assert (
        caught.value.message
        == f"{vocab}: lacks {', '.join(left_out)}, which a WordPiece vocabulary needs"
    )
    assert not (tmp_path / "made").exists()


def test_a_vocabulary_that_is_not_utf_8_is_named(vocab: Path, tmp_path: Path) -> None:
    vocab.write_bytes(
        "".join(f"{piece}\n" for piece in [*PIECES, "caf\u00e9"]).encode("latin-1")
    )
    with pytest.raises(MasscliError) as caught:
        Tokenizer.from_model_file(
            vocab,
            preprocessing=TextPreprocessing(),
            languages=("en",),
            folder=tmp_path / "made",
        )
    assert (
        caught.value.message
        == f"--spm-model {vocab}: is not UTF-8 (byte {vocab.read_bytes().index(0xE9)})"
    )
