"""Running text of labeled examples: what a vocabulary is trained on, and what is compared to find leaks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from masscli.cli.preprocess import run
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.requested_inputs import LabeledFile
from masscli.data.prepare.table_text import training_lines
from masscli.data.storage.data_folder import DataFolder

pytestmark = pytest.mark.usefixtures("no_sync")


def save(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


HELD_OUT = {
    "tsv": ("id\tsentence\tlabel\n1\ta red dog\tyes\n2\ta cat\tno\n3\ta cow\tyes\n",
            "id\tsentence\tlabel\n1\ta red  dog\tyes\n7\ta cat\tyes\n8\ta cow\tyes\n9\tA cow\tyes\n2\ta hen\tno\n"),
    "jsonl": ('{"context": "who", "choices": ["a b", "c"], "label": 0}\n', '{"context": "who", "choices": ["a", "b d"], "label": 0}\n'),
    "conll": ("a\tO\ndog\tB\n\ndogs\tB\n", "dogs\tB\n\na\tO\ndog\tB\n"),
}  # fmt: skip
"""Training and validation parts."""


def test_a_vocabulary_is_made_of_the_words_of_conllu_alone(tmp_path: Path) -> None:
    lines = (
        f"{n}\t{word}\tLEMMA\tNOUN\tXX\tCase=Nom\t0\troot\t_\t_\n"
        for n, word in enumerate(["the", "dog", "sees"], 1)
    )
    path = save(tmp_path / "x.conllu", "".join(lines))
    assert training_lines(
        [LabeledFile("x", "train", "conll", path)], 9, 1, PreprocessConfig()
    ) == ["the dog sees"]


def test_unread_parts_of_labeled_files_are_counted_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(
        tmp_path / "x.conll",
        "# id 1\nred O\ndog O\n\n# c\nblue O\ncat O\n\n# x = y\na O\n",
    )
    run(
        PreprocessConfig(
            langs=("en",),
            destdir=tmp_path / "data",
            vocab_size=30,
            conll=(f"train={path}",),
        )
    )
    stderr = capsys.readouterr().err
    assert f"{path}: not read: 2 comments\n" in stderr
    assert f"warning: {path}:5: '# c' is read as a word" in stderr


def test_text_with_the_name_of_labeled_examples_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(tmp_path / "x.jsonl", '{"text": "red dog"}\n{"text": "blue cat"}\n')
    run(
        PreprocessConfig(mono=(f"en={path}",), destdir=tmp_path / "data", vocab_size=34)
    )
    stderr = capsys.readouterr().err
    assert (
        f"warning: {path}: is read as text, a line at a time, and not as jsonl"
        in stderr
    )


def test_held_out_examples_that_are_also_in_training_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Examples are compared by their text, whatever their number and label."""
    for kind, parts in HELD_OUT.items():
        for name, text in zip(("train", "valid"), parts, strict=True):
            save(tmp_path / f"{name}.{kind}", text)
    given: Any = {
        kind: tuple(f"{name}={tmp_path / name}.{kind}" for name in ("train", "valid"))
        for kind in HELD_OUT
    }
    run(
        PreprocessConfig(
            langs=("en",), destdir=tmp_path / "data", vocab_size=40, **given
        )
    )
    messages = [
        line for line in capsys.readouterr().err.splitlines() if "also in" in line
    ]
    assert messages == ["warning: 2 of the 5 examples of valid.tsv are also in train.tsv, and kept",
                    "warning: 2 of the 2 examples of valid.conll are also in train.conll, and kept"]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "odd"),
    [("gj04\t1\t*\tour friends won't buy this .", "1"), ("yes\ta sentence of six words here", "a sentence of six words here"),
     ("id\t#1 String\tquality", None)],
)  # fmt: skip
def test_a_first_line_that_looks_like_an_example_is_reported(
    first: str, odd: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CoLA, for example, is distributed without a header."""
    path = save(
        tmp_path / "x.tsv",
        f"{first}\n"
        + "\t".join(["the quick brown fox jumps over"] * (first.count("\t") + 1))
        + "\n",
    )
    run(
        PreprocessConfig(
            langs=("en",),
            tsv=(f"train={path}",),
            destdir=tmp_path / "data",
            vocab_size=46,
        )
    )
    messages = [
        line for line in capsys.readouterr().err.splitlines() if "first line" in line
    ]
    expected = f"warning: {path}: the first line is read as column names, one of them {odd!r}; if it is an example, put a header before it"
    assert messages == ([expected] if odd else [])


def test_text_needs_no_spaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Chinese beside English: both are of the vocabulary, and both tell a held-out example from one of training."""
    head, pairs = (
        "label\tsentence1\tsentence2\n",
        ["0\t这个电影很好看\ta good film", "1\t我不喜欢它\ta bad film"],
    )
    new = ["0\t我很喜欢\ta good film", pairs[1]]
    train = save(tmp_path / "train.tsv", head + "\n".join(pairs * 4) + "\n")
    valid = save(tmp_path / "valid.tsv", head + "\n".join(new) + "\n")
    run(
        PreprocessConfig(
            langs=("zh",),
            tsv=(f"train={train}", f"valid={valid}"),
            destdir=tmp_path / "data",
            vocab_size=50,
        )
    )
    messages = [
        line for line in capsys.readouterr().err.splitlines() if "also in" in line
    ]
    assert messages == [
        "warning: 1 of the 2 examples of valid.tsv are also in train.tsv, and kept"
    ]
    data = DataFolder.open(tmp_path / "data")
    ids = data.table("tsv", "train").ids("sentence1")
    assert all(
        len(ids[row]) > 2 and data.vocab.unk not in ids[row] for row in range(len(ids))
    )
    alone = save(
        tmp_path / "alone.tsv",
        "label\tsentence\n"
        + "".join(f"{row.split()[0]}\t{row.split()[1]}\n" for row in pairs * 4),
    )
    run(
        PreprocessConfig(
            langs=("zh",),
            tsv=(f"train={alone}",),
            destdir=tmp_path / "alone",
            vocab_size=40,
        )
    )
    assert DataFolder.open(tmp_path / "alone").table("tsv", "train").rows == 8


def test_empty_texts_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(
        tmp_path / "x.tsv",
        "label\tsentence\n" + "1\ta good film\n0\ta bad film\n" * 8 + "1\t\n0\t \n",
    )
    given = PreprocessConfig(
        langs=("en",), tsv=(f"train={path}",), destdir=tmp_path / "data", vocab_size=28
    )
    run(given)
    err = capsys.readouterr().err
    assert f"warning: 2 of 18 texts of sentence in {path} are empty\n" in err
    assert err.count("are empty") == 1


def test_quotes_of_csv_in_a_file_of_tabs_are_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spreadsheet programs quote values and double the quotes within; any other quotes are part of the text."""
    lines = [
        '1\t"He said ""no"" to it"',
        '0\t"a good film"',
        '1\t"" or "nothing" at all',
        '0\t""',
    ]
    path = save(tmp_path / "x.tsv", "label\tsentence\n" + "\n".join(lines * 4) + "\n")
    run(
        PreprocessConfig(
            langs=("en",),
            tsv=(f"train={path}",),
            destdir=tmp_path / "data",
            vocab_size=36,
        )
    )
    messages = [
        line for line in capsys.readouterr().err.splitlines() if "in quotes" in line
    ]
    assert messages == [
        f"warning: {path}: 4 of the first 16 values of sentence are in quotes, with doubled ones inside, as in CSV; "
        "in TSV quotes are text"
    ]
