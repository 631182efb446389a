"""Parts of a corpus, encoded apart and joined, have the bytes of a single run."""

from __future__ import annotations

import gzip
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masscli.__main__ import run as masscli
from masscli.core.errors import MasscliError
from masscli.data.prepare import chunks, part_files
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.merge import merge_parts
from masscli.text import corpus
from tests.commands import succeed

WORDS = [
    "a",
    "the",
    "dog",
    "cat",
    "house",
    "tree",
    "sees",
    "hears",
    "likes",
    "small",
    "big",
    "red",
    "in",
    "on",
]


@pytest.fixture(autouse=True)
def small_chunks(no_sync: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks and several files of them, even in small corpora."""
    monkeypatch.setattr(corpus, "LINE_STRIDE", 8)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 600)
    monkeypatch.setattr(part_files, "PACK_CHUNKS", 3)
    monkeypatch.setattr("masscli.data.prepare.part.PACK_CHUNKS", 3)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Pairs with an empty and a very long line, documents in a compressed file, and a vocabulary."""
    draw = random.Random(1)

    def lines(count: int) -> list[str]:
        return [
            " ".join(draw.choices(WORDS, k=draw.randint(2, 9))) for _ in range(count)
        ]

    for split, count in (("train", 200), ("valid", 11)):
        for language in ("en", "de", "fr"):
            rows = lines(count)
            if split == "train" and language == "de":
                rows[5], rows[70] = "", "tree " * 300
            tmp_path.joinpath(f"{split}.{language}").write_text(
                "".join(row + "\n" for row in rows)
            )
    books = "\n\n".join("\n".join(lines(40)) for _ in range(5))
    tmp_path.joinpath("books.en.gz").write_bytes(gzip.compress(books.encode()))
    return tmp_path


OPTIONS: list[list[str]] = [
    "--langs en,de --trainpref train --validpref valid --mono en=books.en.gz".split(),
    "--langs en,de,fr --trainpref train --pairs en-de,en-fr --max-len 50".split(),
    ["--langs", "en", "--mono", "en=books.en.gz", "--dedup", "--shard-size", "1"],
]


def preprocess(*options: str) -> None:
    succeed(["preprocess", *options])


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name != ".lock"
    }


@pytest.fixture
def vocabulary(text: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(text)
    preprocess(
        "--langs",
        "en,de,fr",
        "--trainpref",
        "train",
        "--vocab-size",
        "90",
        "--destdir",
        "sample",
    )
    return "sample/vocab.model"


@pytest.mark.parametrize(
    "options", OPTIONS, ids=["pairs and documents", "shared side", "repeats"]
)
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_joined_parts_are_the_bytes_of_a_single_run(
    options: list[str], parts: int, vocabulary: str
) -> None:
    options = [*options, "--spm-model", vocabulary]
    preprocess(*options, "--destdir", "whole")
    folders = []
    for number in range(1, parts + 1):
        folders.append(f"part{number}")
        preprocess(*options, "--part", f"{number}/{parts}", "--destdir", folders[-1])
    # The order in which they are named does not matter.
    succeed(["merge-data", *reversed(folders), "--destdir", "merged"])
    assert contents(Path("merged")) == contents(Path("whole"))
    # Once more, there is nothing to do.
    succeed(["merge-data", *folders, "--destdir", "merged"])
    assert contents(Path("merged")) == contents(Path("whole"))


def test_more_parts_than_chunks(text: Path, vocabulary: str) -> None:
    text.joinpath("few.en").write_text("a dog\nthe cat\n")
    options = ["--mono", "en=few.en", "--spm-model", vocabulary]
    preprocess(*options, "--destdir", "whole")
    for number in (1, 2, 3):
        preprocess(*options, "--part", f"{number}/3", "--destdir", f"part{number}")
    succeed(["merge-data", "part1", "part2", "part3", "--destdir", "merged"])
    assert contents(Path("merged")) == contents(Path("whole"))


def test_an_interrupted_part_is_continued(
    vocabulary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*OPTIONS[0], "--spm-model", vocabulary, "--part", "1/2"]
    preprocess(*options, "--destdir", "part")
    write_pack = part_files.write_pack
    written: list[Path] = []

    def write_two(path: Path, *rest: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path)
        write_pack(path, *rest)

    monkeypatch.setattr("masscli.data.prepare.part.write_pack", write_two)
    assert masscli(["preprocess", *options, "--destdir", "again"]) == 130
    kept = [path.stat().st_mtime_ns for path in written]
    monkeypatch.setattr("masscli.data.prepare.part.write_pack", write_pack)
    preprocess(*options, "--destdir", "again")
    assert [path.stat().st_mtime_ns for path in written] == kept
    ours, theirs = contents(Path("again")), contents(Path("part"))
    assert ours.keys() == theirs.keys() and ours["part.json"] == theirs["part.json"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (["--part", "1/2"], "--part: every part must have the same vocabulary"),
        (["--part", "3/2"], "--part: expected K/N, such as 3/64, got 3/2"),
        (["--part", "0/2"], "--part: expected K/N, such as 3/64, got 0/2"),
        (["--part", "half"], "--part: expected K/N, such as 3/64, got half"),
    ],
    ids=str,
)
def test_mistakes(
    options: list[str],
    error: str,
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(text)
    assert (
        masscli(
            ["preprocess", "--mono", "en=books.en.gz", *options, "--destdir", "out"]
        )
        == 2
    )
    assert f"error: {error}" in capsys.readouterr().err
    assert not Path("out").exists()


def test_labeled_examples_are_not_divided(
    vocabulary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("table.tsv").write_text("text\tlabel\na dog\tx\n")
    options = [
        *"--tsv train=table.tsv --langs en --spm-model".split(),
        vocabulary,
        "--part",
        "1/2",
    ]
    assert masscli(["preprocess", *options, "--destdir", "out"]) == 2
    assert "--part: labeled examples are not divided" in capsys.readouterr().err


def test_merging_says_what_a_single_run_says(
    vocabulary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lines that are also in valid, and unknown pieces, are counted by no part alone."""
    Path("train.en").write_text("the dog sees a cat\n" * 9 + "世 界\n")
    Path("held.en").write_text("the dog sees a cat\n")
    options = ["--mono", "en=train.en,valid.en=held.en", "--spm-model", vocabulary]
    preprocess(*options, "--destdir", "whole")
    whole = capsys.readouterr().err.splitlines()
    for number in (1, 2):
        preprocess(*options, "--part", f"{number}/2", "--destdir", f"part{number}")
    succeed(["merge-data", "part1", "part2", "--destdir", "joined"])
    joined = capsys.readouterr().err.splitlines()
    messages = [line for line in whole if "train.en" in line]
    assert len(messages) == 3 and sum("warning" in line for line in messages) == 2
    assert [line for line in joined if "train.en" in line] == messages


def test_the_result_cannot_be_written_into_a_part(
    vocabulary: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--mono", "en=books.en.gz", "--spm-model", vocabulary]
    preprocess(*options, "--part", "1/1", "--destdir", "part")
    for command in ("inspect", "finetune"):
        assert (
            masscli(
                [command, "part", *(["--task=translate"] * (command == "finetune"))]
            )
            == 2
        )
        assert (
            "hint: it is a part of a corpus: masscli merge-data joins all parts"
            in capsys.readouterr().err
        )
    before = contents(Path("part"))
    assert masscli(["merge-data", "part", "--destdir", "./part"]) == 2
    assert "error: --destdir part: is one of the parts\n" in capsys.readouterr().err
    assert contents(Path("part")) == before


def test_parts_must_belong_together(vocabulary: str, text: Path) -> None:
    options = ["--mono", "en=books.en.gz", "--spm-model", vocabulary]
    for number in (1, 2):
        preprocess(*options, "--part", f"{number}/2", "--destdir", f"part{number}")
    preprocess(*options, "--lowercase", "--part", "2/2", "--destdir", "lower")
    for folders, message in (
        (["part1"], "part 2 of 2 is missing"),
        (["part1", "part2", "part2"], "part 2 of 2 is given twice"),
        (
            ["part1", "lower"],
            "lower: has different text, settings or versions from part1",
        ),
        (["part1", "nowhere"], "nowhere: is not a finished part"),
    ):
        with pytest.raises(MasscliError, match=message):
            merge_parts([Path(folder) for folder in folders], Path("merged"), False)
        assert not Path("merged").exists()
    # A folder that holds one part is not overwritten by another.
    assert masscli(["preprocess", *options, "--part", "1/2", "--destdir", "part2"]) == 2
    assert json.loads(Path("part2/part.json").read_text())["part"] == 2
    preprocess(*options, "--part", "1/2", "--destdir", "part2", "--overwrite")
    assert json.loads(Path("part2/part.json").read_text())["part"] == 1


def test_a_damaged_part_is_refused(vocabulary: str) -> None:
    preprocess(
        "--mono",
        "en=books.en.gz",
        "--spm-model",
        vocabulary,
        "--part",
        "1/1",
        "--destdir",
        "part",
    )
    pack = Path("part/chunks.00000.npz")
    data = pack.read_bytes()
    # The directory at the end of a zip archive has the version and the flags (1: encrypted) of each member.
    entry = data.index(b"PK\1\2")
    other_version = data[: entry + 6] + b"\xff" + data[entry + 7 :]
    encrypted = data[: entry + 8] + b"\1" + data[entry + 9 :]
    single_array = io.BytesIO()
    np.save(single_array, np.zeros(1))
    for damaged in (
        b"",
        data[: len(data) // 2],
        other_version,
        encrypted,
        single_array.getvalue(),
    ):
        pack.write_bytes(damaged)
        with pytest.raises(
            MasscliError, match=r"chunks.00000.npz: is missing or damaged"
        ):
            merge_parts([Path("part")], Path("merged"), False)
    pack.unlink()
    with pytest.raises(MasscliError, match=r"chunks.00000.npz: is missing or damaged"):
        merge_parts([Path("part")], Path("merged"), False)
    pack.write_bytes(data)
    # One chunk less would be text that is lost without a word.
    description = Path("part/part.json")
    whole = description.read_text()
    chunks_of_part = json.loads(whole)["chunks"]
    description.write_text(
        whole.replace(f'"chunks": {chunks_of_part}', f'"chunks": {chunks_of_part - 1}')
    )
    with pytest.raises(MasscliError, match=r"part.json: is damaged .*checksum"):
        merge_parts([Path("part")], Path("merged"), False)
    description.write_text(whole)
    Path("part/vocab.model").rename("kept")
    with pytest.raises(MasscliError, match=r"part/vocab.model: is missing"):
        merge_parts([Path("part")], Path("merged"), False)
    Path("kept").rename("part/vocab.model")
    merge_parts([Path("part")], Path("merged"), False)


def test_a_part_needs_its_own_vocabulary(vocabulary: str) -> None:
    options = ["--mono", "en=books.en.gz", "--part", "1/1"]
    preprocess(*options, "--spm-model", vocabulary, "--destdir", "part")
    preprocess("--mono", "en=books.en.gz", "--vocab-size", "60", "--destdir", "other")
    for name in ("vocab.model", "tokenizer.json"):
        Path("part", name).write_bytes(Path("other", name).read_bytes())
    with pytest.raises(MasscliError, match="its vocabulary is not the one"):
        merge_parts([Path("part")], Path("merged"), False)


def test_numbers_of_a_part() -> None:
    assert PreprocessConfig(part="3/64").part_numbers == (3, 64)
    assert PreprocessConfig().part_numbers == (1, 1)
