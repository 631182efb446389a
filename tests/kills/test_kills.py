"""A sample of the sweep: commands that are killed at some of their calls are repaired by the same command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kills.calls import DIED, in_fork, watch
from tests.kills.commands import CASES
from tests.kills.sweep import fill_at, kill_at, prepare, run_together

SAMPLE = {"import": 3, "export": 3, "score": 4, "preprocess": 3}
"""Commands, and the number of calls at which each is killed."""
FULL = {"score": 2, "export": 3, "average": 3}
"""Commands, and the number of calls from which on the disk is full for each."""
TOGETHER = ("export", "score", "inspect")
"""Commands that run in two processes at once."""


@pytest.mark.parametrize("name", SAMPLE)
def test_the_same_command_repairs_the_state_after_a_kill(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    sound = prepare(case, tmp_path)
    step = max(1, len(sound.calls) // SAMPLE[name])
    problems = [
        kill_at(case, sound, number, tmp_path)
        for number in range(step, len(sound.calls) + 1, step)
    ]
    assert problems == [None] * len(problems)


@pytest.mark.parametrize("name", FULL)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    sound = prepare(case, tmp_path)
    step = max(1, len(sound.calls) // FULL[name])
    problems = [
        fill_at(case, sound, number, tmp_path)
        for number in range(step, len(sound.calls) + 1, step)
    ]
    assert problems == [None] * len(problems)


@pytest.mark.parametrize("name", TOGETHER)
def test_two_processes_at_once_leave_the_result_of_one(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    assert run_together(case, prepare(case, tmp_path), tmp_path) is None


def test_calls_are_counted_and_a_write_dies_after_half(tmp_path: Path) -> None:
    def write() -> None:
        path = tmp_path / "a.txt"
        path.write_text("abcdef")
        path.rename(tmp_path / "b.txt")
        (tmp_path / "b.txt").unlink()

    names = tmp_path / "names.txt"

    def count() -> None:
        calls = watch(0)
        write()
        names.write_text(" ".join(name.split()[0] for name in calls.names))

    assert in_fork(count)[0] == 0
    assert names.read_text() == "open write os.rename os.remove"
    for number, left in ((1, []), (2, ["abc"]), (3, ["abcdef"]), (4, ["abcdef"])):
        names.unlink(missing_ok=True)

        def die(last: int = number) -> None:
            watch(last)
            write()

        assert in_fork(die)[0] == DIED
        found = [path.read_text() for path in sorted(tmp_path.glob("*.txt"))]
        assert found == left
        for path in tmp_path.glob("*.txt"):
            path.unlink()
