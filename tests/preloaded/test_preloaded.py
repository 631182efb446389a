"""The preloaded program does what the real one does, so that tests may use it instead."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.preloaded import Preloaded

REAL = (sys.executable, "-m", "masscli")


def ends(
    command: Sequence[object], place: Path, **options: Any
) -> tuple[int, str, str]:
    """Run a command, and return its exit code and what it writes."""
    words = [str(word) for word in command]
    result = subprocess.run(
        words, cwd=place, capture_output=True, text=True, timeout=60, **options
    )
    return result.returncode, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("score", "-", "--ref", "in.txt"), "a b c d e\n"),
        (("generate", "no run"), ""),
        (("demo", "made"), ""),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_preloaded_program_ends_like_the_real_one(
    arguments: tuple[str, ...], text: str, preloaded: Preloaded, tmp_path: Path
) -> None:
    """Exit status, standard output, messages and files are the same."""
    results = []
    for name, program in (("real", REAL), ("preloaded", (preloaded.program,))):
        place = tmp_path / name
        place.mkdir()
        (place / "in.txt").write_text("a b c d e\n")
        end = ends([*program, *arguments], place, input=text)
        files = {
            str(path.relative_to(place)): path.read_bytes()
            for path in place.rglob("*")
            if path.is_file()
        }
        results.append((end, files))
    assert results[0] == results[1]


def test_a_preloaded_program_has_the_environment_and_the_umask_of_its_caller(
    preloaded: Preloaded, tmp_path: Path
) -> None:
    command = f"umask 077; {preloaded.program} demo made; CUDA_VISIBLE_DEVICES=7 {preloaded.program} doctor --json"
    code, out, err = ends(["bash", "-c", command], tmp_path)
    assert code == 0, err
    assert (tmp_path / "made/train.en").stat().st_mode & 0o777 == 0o600
    assert (
        json.loads(out[out.index("{") :])["environment"]["CUDA_VISIBLE_DEVICES"] == "7"
    )


def test_settings_read_at_the_start_need_another_server(
    preloaded: Preloaded, tmp_path: Path
) -> None:
    """The server cannot change what Python has read from variables when it started."""
    command = preloaded.module("site")
    assert "/nowhere" not in ends(command, tmp_path)[1]
    assert (
        "/nowhere"
        in ends(command, tmp_path, env={**os.environ, "PYTHONPATH": "/nowhere"})[1]
    )


WAITING = """
import sys

try:
    open("pipe").close()
    while True:
        pass
except KeyboardInterrupt:
    print("stopped", file=sys.stderr)
    sys.exit(130)
"""
"""A program that opens a pipe and never ends. It does not wait in a system call, where Python may miss a signal."""


@pytest.mark.parametrize(
    ("number", "code"), [("SIGINT", 130), ("SIGTERM", -15), ("SIGKILL", -9)]
)
def test_signals_are_passed_on(
    number: str, code: int, preloaded: Preloaded, tmp_path: Path
) -> None:
    """The client ends as the program does; and the program ends with a client that is killed."""
    (tmp_path / "waiting.py").write_text(WAITING)
    os.mkfifo(tmp_path / "pipe")
    command = preloaded.module("waiting")
    with subprocess.Popen(
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        # It is opened when the program opens it. Standard error ends when nobody has it any more.
        (tmp_path / "pipe").write_text("")
        process.send_signal(signal.Signals[number])
        try:
            _, message = process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    assert process.returncode == code
    assert message == ("stopped\n" if number == "SIGINT" else "")
