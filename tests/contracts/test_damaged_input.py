"""Input that is damaged, or is no file at all, is an error of one line: no traceback, and no waiting."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from masscli.__main__ import run
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from tests.commands import refusal

HUGE = "1" * 5000
DEEP = "[" * 100_000
DAMAGE: dict[str, Callable[[Path], object]] = {
    "deep": lambda path: path.write_text(DEEP),
    "deep objects": lambda path: path.write_text('{"a":' * 100_000),
    "a huge number": lambda path: path.write_text(f'{{"format": {HUGE}}}'),
    "an object": lambda path: path.write_text("{}"),
    "a number": lambda path: path.write_text("5"),
    "half a character": lambda path: path.write_text('{"\\ud800": "\\udfff"}'),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: [path.unlink(), path.mkdir()],
    "a pipe": lambda path: [path.unlink(), os.mkfifo(path)],
    "a link to itself": lambda path: [path.unlink(), path.symlink_to(path.name)],
}


@contextmanager
def no_waiting() -> Iterator[None]:
    """Fail if something waits for 20 seconds, as for the other end of a pipe."""

    def late(signum: int, frame: object) -> None:
        raise AssertionError("it waits")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(20)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def error_of(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The only error of a command that has to be refused at once."""
    with no_waiting():
        message = "\n".join(refusal(capsys, *args))
    assert message.count("error: ") == 1
    return message


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "vocab.model"])
def test_files_of_a_data_folder(
    toy: Path, tmp_path: Path, kind: str, name: str
) -> None:
    folder = shutil.copytree(toy, tmp_path / "data")
    DAMAGE[kind](folder / name)
    with no_waiting(), pytest.raises((MasscliError, OSError)) as caught:
        DataFolder.open(folder).tokenizer()
    # What is not a MasscliError is explained where all commands are run.
    if not isinstance(caught.value, MasscliError):
        assert run(["inspect", str(folder)]) == 2


@pytest.mark.parametrize("kind", DAMAGE)
def test_with_an_unreadable_resume_state_preprocessing_starts_over(
    tmp_path: Path, kind: str
) -> None:
    from masscli.data.prepare.resume_state import RESUME_FILE, ResumeState

    path = tmp_path / RESUME_FILE
    path.write_text("{}")
    DAMAGE[kind](path)
    with no_waiting():
        assert ResumeState.read(tmp_path, "key") is None


@pytest.mark.parametrize("kind", sorted(set(DAMAGE) - {"a pipe", "empty"}))
def test_settings_in_a_file(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("")
    DAMAGE[kind](path)
    message = error_of(capsys, "pretrain", toy, "--objective", "mass", "--config", path)
    assert str(path) in message
    assert len(message) < 400


@pytest.mark.parametrize("kind", sorted(set(DAMAGE) - {"a pipe", "an object"}))
@pytest.mark.parametrize("which", ["predictions", "references", "probabilities"])
def test_files_of_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str, which: str
) -> None:
    question = {"id": "a", "question": "?", "answers": [], "is_impossible": True}
    contents = {
        "predictions": {"a": ""},
        "references": {"data": [{"paragraphs": [{"context": "x", "qas": [question]}]}]},
        "probabilities": {"a": 0.5},
    }
    for name, content in contents.items():
        (tmp_path / name).write_text(json.dumps(content))
    DAMAGE[kind](tmp_path / which)
    command = (
        f"score {tmp_path}/predictions --ref {tmp_path}/references --metric squad"
    ).split()
    assert which in error_of(capsys, *command, "--na-prob", tmp_path / "probabilities")


@pytest.mark.parametrize("kind", DAMAGE)
def test_logs_of_runs_and_of_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path = tmp_path / "run/log.jsonl"
    path.parent.mkdir()
    path.write_text("{}")
    DAMAGE[kind](path)
    capsys.readouterr()
    with no_waiting():
        # Lines that are cut off are left out of a run's log.
        assert run(["report", str(path.parent)]) in (0, 2)
        if kind != "a pipe":
            error_of(capsys, "report", path)


@pytest.mark.parametrize(
    "place", ["folder", "missing/scores.jsonl", "file/scores.jsonl"]
)
def test_a_log_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("a\n")
    text = tmp_path / "file"
    assert f"--append {tmp_path / place}: " in error_of(
        capsys, "score", text, "--ref", text, "--append", tmp_path / place
    )


@pytest.mark.parametrize("option", ["--mono en=", "--tsv train=", "--race train="])
def test_pipes_are_not_read_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    flag, _, key = option.partition(" ")
    args = (
        f"preprocess --langs en {flag} {key}{tmp_path}/pipe --destdir {tmp_path}/out"
    ).split()
    assert "is a pipe or a device, but text is read more than once" in error_of(
        capsys, *args
    )


UNUSABLE: dict[str, Callable[[], torch.Tensor]] = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "quantized": lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
    "meta": lambda: torch.ones(3, device="meta"),
}
"""Tensors that no model can use as they are."""


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("kind", UNUSABLE)
def test_tensors_without_plain_numbers(tmp_path: Path, kind: str) -> None:
    from masscli.checkpoint.convert.folder import read_weights

    path = tmp_path / "pytorch_model.bin"
    torch.save({"good": torch.ones(2), "bad": UNUSABLE[kind]()}, path)
    with pytest.raises(
        MasscliError,
        match=r"bad is a sparse, quantized or meta tensor|holds other things than tensors",
    ):
        read_weights(tmp_path, allow_pickle=True)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"\x80\x05}.", b"\x80\x02(X", b"(" * 10_000, b"\x80\x05N."],
)
def test_pickles_that_are_damaged(tmp_path: Path, content: bytes) -> None:
    from masscli.checkpoint.convert.folder import read_weights

    (tmp_path / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(MasscliError, match=r"is damaged|is not a table of tensors"):
        read_weights(tmp_path, allow_pickle=True)


def test_a_long_line_is_not_quoted_as_a_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "text.tsv"
    path.write_bytes(b"\0" * (1 << 20) + b"\t\n")
    message = error_of(capsys, "score", path, "--ref", path, "--column", "x")
    assert str(path) in message and len(message) < 30_000


def test_arguments_that_are_not_utf8(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["score", "a\udcff.txt", "--ref", "b"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: a\\xff.txt: the argument is not UTF-8\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_messages_and_results_in_any_locale(tmp_path: Path, encoding: str) -> None:
    """Results are UTF-8 whatever the locale, and a message that it lacks characters for has escapes."""
    name = "größe \u2713 \u732b"
    (tmp_path / name).write_text("a\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    command = [
        sys.executable,
        "-m",
        "masscli",
        "score",
        name,
        name,
        "--ref",
        name,
        "nowhere",
        "--metric",
        "chrf",
    ]
    command = [
        sys.executable,
        "-m",
        "masscli",
        "score",
        name,
        "--ref",
        name,
        "--metric",
        "chrf",
        "--format",
        "json",
    ]
    result = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert json.loads(result.stdout)[0]["file"] == name
    command[4] = "größe \u2713"
    failed = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, timeout=60
    )
    assert failed.returncode == 2
    assert b"\\u2713: no such file" in failed.stderr


@pytest.mark.parametrize("kind", ["a pipe", "a folder"])
@pytest.mark.parametrize(
    "args",
    [
        ["preprocess", "--mono", "en=TEXT", "--spm-model", "PATH"],
        "preprocess --mono en=TEXT --bpe-codes PATH --bpe-vocab TEXT".split(),
        "preprocess --mono en=TEXT --bpe-codes CODES --bpe-vocab PATH".split(),
        ["pretrain", "--config", "PATH"],
        ["recipe", "check", "PATH"],
        ["import", "PATH", "--output", "OUT"],
        ["import", "SAMPLE", "--output", "OUT", "--dict", "en=PATH"],
    ],
    ids=" ".join,
)
def test_files_that_options_name(
    args: list[str], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in {"PATH": "", "TEXT": "a 1\n", "CODES": "a b\n"}.items():
        (tmp_path / name).write_text(content)
    torch.save(
        {"args": {"arch": "transformer", "task": "translation"}, "model": {}},
        tmp_path / "SAMPLE",
    )
    DAMAGE[kind](tmp_path / "PATH")
    replaced = [
        re.sub(r"\b(PATH|TEXT|CODES|SAMPLE|OUT)\b", rf"{tmp_path}/\1", arg)
        for arg in args
    ]
    message = error_of(capsys, *replaced)
    if "SAMPLE" not in args:
        assert f"{tmp_path}/PATH" in message
    assert not (tmp_path / "OUT").exists()
