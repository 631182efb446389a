"""Names of special pieces, and SentencePiece's own letters, are ordinary text where they stand in text."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masscli.cli.preprocess import run
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.text.char_offsets import encode_with_offsets
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

RESERVED = [
    "<unk>",
    "<s>",
    "</s>",
    "<pad>",
    "<mask>",
    "<cls>",
    "<sep>",
    "<spare0>",
    "<lang:en>",
    "\u2581",
    "\u2585",
]


def train(lines: list[str], folder: Path, size: int = 200) -> Tokenizer:
    return Tokenizer.train(
        iter(lines),
        vocab_size=size,
        preprocessing=TextPreprocessing(False, False, False, None),
        languages=("en",),
        folder=folder,
    )


def corpus(words: list[str]) -> list[str]:
    """Lines in the manner of the Penn Treebank, in which every seventh word is one of `words`."""
    draw = random.Random(3)
    usual = [
        "".join(draw.choice("bcdfgh") + draw.choice("eio") for _ in range(2))
        for _ in range(60)
    ]
    lines = []
    for _ in range(300):
        line = [draw.choice(usual) for _ in range(12)]
        line[draw.randrange(12)] = draw.choice(words)
        line[draw.randrange(12)] = draw.choice(words) + draw.choice([",", ".", "x", ""])
        lines.append(" ".join(line))
    return lines


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train(corpus(RESERVED), tmp_path_factory.mktemp("reserved"))


@pytest.mark.parametrize("name", RESERVED)
def test_text_of_one_reserved_name_has_no_unknown_piece(
    name: str, tmp_path: Path
) -> None:
    lines = corpus([name])
    made = train(lines, tmp_path / "new", 120)
    for tokenizer in (made, Tokenizer.load(tmp_path / "new")):
        for line in lines:
            ids = tokenizer.encode(line, "en")
            assert not tokenizer.vocab.special_ids & set(ids)
            assert tokenizer.decode(ids, "en") == line


@settings(max_examples=200)
@given(
    parts=st.lists(
        st.sampled_from(
            [*RESERVED, "<", ">", "unk>", "<unk", "be", "co", " ", "x", "<<s>>"]
        ),
        max_size=12,
    )
)
def test_any_mixture_of_reserved_text_survives(
    tokenizer: Tokenizer, parts: list[str]
) -> None:
    line = " ".join("".join(parts).split())
    ids = tokenizer.encode(line, "en")
    assert not tokenizer.vocab.special_ids & set(ids)
    assert tokenizer.decode(ids, "en") == line


def test_words_are_encoded_like_lines(tokenizer: Tokenizer) -> None:
    lines = corpus(RESERVED)
    assert tokenizer.encode_lines(lines, "en") == [
        tokenizer.encode(line, "en") for line in lines
    ]


def test_offsets_of_pieces_of_reserved_names(tokenizer: Tokenizer) -> None:
    text = "be <unk>, co"
    ids, begins, ends = encode_with_offsets(tokenizer, text, "en")
    covered = [text[begin:end] for begin, end in zip(begins, ends, strict=True)]
    assert "".join(covered) == "be<unk>,co"
    assert len(ids) == len(covered)


def test_a_model_without_such_text_encodes_as_before(tmp_path: Path) -> None:
    plain = train(corpus(["word"]), tmp_path, 120)
    assert plain.vocab.unk in plain.encode("<unk>", "en")
    assert plain.encode("be\u2581be", "en") == plain.encode("be be", "en")


def test_preprocessed_text_and_tables_have_no_unknown_pieces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = corpus(RESERVED)
    (tmp_path / "train.en").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rows = "".join(f"1\t{line}\n" for line in lines)
    (tmp_path / "a.tsv").write_text(f"label\tsentence\n{rows}", encoding="utf-8")
    config = PreprocessConfig(
        mono=(f"en={tmp_path / 'train.en'}",),
        tsv=(f"train={tmp_path / 'a.tsv'}",),
        vocab_size=200,
        destdir=tmp_path / "data",
    )
    run(config)
    assert "unknown; does" not in " ".join(capsys.readouterr().err.split())
    data = DataFolder.open(tmp_path / "data")
    assert data.piece_counts("en")[sorted(data.vocab.special_ids)].sum() == 0


def test_unknown_pieces_of_tables_cause_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(corpus(["word"]), tmp_path / "spm", 120)
    path = tmp_path / "a.tsv"
    path.write_text(
        "label\tsentence\n\u0436\tbebe \u0436\u0444 coco\n", encoding="utf-8"
    )
    model = tmp_path / "spm/vocab.model"
    run(
        PreprocessConfig(
            langs=("en",),
            tsv=(f"train={path}",),
            spm_model=model,
            destdir=tmp_path / "data",
        )
    )
    stderr = " ".join(capsys.readouterr().err.split())
    assert (
        f"of the pieces of sentence in {path} are unknown; does the vocabulary suit it?"
        in stderr
    )
    assert "pieces of label" not in stderr
    # The letter in the label is unknown, too, but a label is not split into pieces.
    assert "train.tsv 1 label train.tsv 1 sentence " in stderr
