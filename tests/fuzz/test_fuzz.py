"""A small run of the fuzzer, and what it would say if something were wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from tests.fuzz import canary, forks
from tests.fuzz.oracles import require
from tests.fuzz.readers import Reader

QUICK = (
    "data-sealed", "data", "checkpoint-sealed", "checkpoint", "recipe", "text", "text.gz", "text.xz", "tsv", "lines", "jsonl",
    "conll", "squad", "dialogues", "aligned", "swag", "race", "sentencepiece", "wordpiece", "bpe-codes", "scores", "run-log",
)  # fmt: skip


def test_a_small_run_finds_nothing() -> None:
    readers = [option for name in QUICK for option in ("--reader", name)]
    command = [sys.executable, *"-m tests.fuzz --cases 132 --seed 20".split(), *readers]
    result = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert result.returncode == 0, result.stderr + result.stdout
    last = result.stdout.splitlines()[-1]
    assert (
        last.startswith("all") and " 132 cases" in last and last.endswith("no failure")
    )


def write_file(folder: Path) -> None:
    (folder / "file.txt").write_text("a\nb\n")


def read_file(folder: Path) -> str:
    return (
        (folder / "file.txt").read_text(errors="replace")
        if (folder / "file.txt").is_file()
        else ""
    )


def outcome(read: Callable[[Path], str], tmp_path: Path, **options: object) -> str:
    """Return the verdict on a reader that is given a mutated file."""
    reader = Reader("file", write_file, read, **options)  # type: ignore[arg-type]
    sound = tmp_path / "sound"
    sound.mkdir()
    write_file(sound)
    return forks.run_case(reader, 1, 0, sound, "a\nb\n", tmp_path / "case").verdict


def refuse(folder: Path) -> str:
    raise MasscliError(f"{folder}: is damaged")


def call_canary(folder: Path) -> str:
    return canary.call()


def write_outside(folder: Path) -> str:
    (folder.parent / "other.txt").write_text("x")
    return ""


def start_program(folder: Path) -> str:
    return str(os.system("true"))


def wait(folder: Path) -> str:
    time.sleep(600)
    return ""


def take_memory(folder: Path) -> str:
    return str(len(bytearray(2 * forks.MEMORY)))


def die(folder: Path) -> str:
    os._exit(3)


def keep_a_bug(folder: Path) -> str:
    return {}["missing"]  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("read", "verdict"),
    [
        (refuse, "refused"),
        (read_file, "read"),
        (call_canary, "executed"),
        (start_program, "executed"),
        (write_outside, "wrote outside"),
        (wait, "hang"),
        (take_memory, "memory"),
        (die, "crash"),
        (keep_a_bug, "traceback"),
    ],
)
def test_verdicts(
    read: Callable[[Path], str],
    verdict: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(forks, "SECONDS", 1)
    assert outcome(read, tmp_path) == verdict


def test_a_silent_change_is_found(tmp_path: Path) -> None:
    assert outcome(read_file, tmp_path, sealed=True) == "silent change"


@pytest.mark.parametrize(
    ("oracle", "verdict"),
    [(read_file, "read"), (lambda folder: "else", "silent change")],
)
def test_files_without_a_checksum_are_compared_with_an_independent_reader(
    oracle: Callable[[Path], str], verdict: str, tmp_path: Path
) -> None:
    assert outcome(read_file, tmp_path, oracle=oracle) == verdict


def test_files_that_an_independent_reader_refuses_must_not_be_read(
    tmp_path: Path,
) -> None:
    def refuse_too(folder: Path) -> str:
        require(False, "no")
        return ""

    assert outcome(read_file, tmp_path, oracle=refuse_too) == "silent change"


def die_at_the_third(folder: Path) -> str:
    third = folder.parent / "third.txt"
    third.write_bytes((third.read_bytes() if third.exists() else b"") + b"x")
    if third.stat().st_size == 3:
        os._exit(3)
    return ""


def test_a_case_that_ends_its_process_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sound = tmp_path / "sound"
    sound.mkdir()
    write_file(sound)
    reader = Reader("file", write_file, die_at_the_third)
    outcomes = forks.run_cases(reader, 1, range(5), sound, "", tmp_path / "case")
    assert [outcome.verdict for outcome in outcomes] == [
        "read",
        "read",
        "crash",
        "read",
        "read",
    ]
    # Alone it does not fail.
    assert outcomes[2].reason.startswith("only after the cases")
    assert all(outcome.mutation for outcome in outcomes)


def test_the_same_log_continues_a_run(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    command = [
        sys.executable,
        *"-m tests.fuzz --seed 3 --reader text --reader tsv --log".split(),
        os.path.relpath(log),
    ]
    whole = subprocess.run(
        [*command, "--cases", "8"], capture_output=True, text=True, timeout=500
    )
    assert whole.returncode == 0, whole.stderr
    lines = log.read_text().splitlines(keepends=True)
    assert len(lines) == 8
    log.write_text("".join(lines[:3]) + lines[3][:10])
    again = subprocess.run(
        [*command, "--cases", "8"], capture_output=True, text=True, timeout=500
    )
    assert again.returncode == 0, again.stderr
    assert sorted(log.read_text().splitlines(keepends=True)) == sorted(lines)


def test_branches_are_counted(tmp_path: Path) -> None:
    pytest.importorskip("coverage")
    command = [
        sys.executable,
        *"-m tests.fuzz --seed 3 --reader tsv --cases 20".split(),
    ]
    result = subprocess.run(
        [*command, "--branches", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert result.returncode == 0, result.stderr
    [row] = [line for line in result.stdout.splitlines() if "functions entered" in line]
    share = float(row.split()[-1].removesuffix("%"))
    assert row.startswith("tsv ") and 40 < share <= 100
    # What was not taken is listed.
    assert share == 100 or "    data/formats/" in result.stdout
