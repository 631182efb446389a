"""Kill a command at one of its calls, or let its disk be full from there on; run it again, and compare."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from masscli.__main__ import run
from tests.fuzz.sound import command
from tests.kills.calls import DIED, Calls, fork, in_fork, watch
from tests.kills.commands import Case


class Sound(NamedTuple):
    """The input of a case, what the command leaves when nothing happens, and its calls."""

    folder: Path
    result: Any
    calls: list[str]


def prepare(case: Case, place: Path) -> Sound:
    """Make the input, run the command once, and count its calls."""
    folder = place / f"{case.name}-sound"
    folder.mkdir()
    case.make(folder)
    # Once in this process, so that those that are forked from it have imported everything.
    work = _copy(folder, place)
    command(*case.arguments(work))
    shutil.rmtree(work)
    work = _copy(folder, place)
    names = place / "calls.txt"
    code, printed = in_fork(
        lambda: _run(
            case, work, 0, lambda calls: names.write_text("\n".join(calls.names))
        )
    )
    assert code == 0, printed
    result = case.result(work)
    shutil.rmtree(work)
    return Sound(folder, result, names.read_text().split("\n"))


def kill_at(case: Case, sound: Sound, number: int, place: Path) -> str | None:
    """Kill the command at call `number`, run it again, and return what is wrong, or None."""
    work = _copy(sound.folder, place)
    try:
        code, printed = in_fork(lambda: _run(case, work, number))
        if code != DIED:
            return f"was not killed, but ended with {code}: {printed[-300:]}"
        return _repair(case, sound, work)
    except Exception as error:
        return f"leaves what cannot be read: {error!r}"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def fill_at(case: Case, sound: Sound, number: int, place: Path) -> str | None:
    """Run the command on a disk that is full from call `number` on, and again with room; return what is wrong."""
    work = _copy(sound.folder, place)
    before = case.result_if_any(work)
    try:
        code, printed = in_fork(lambda: _run(case, work, number, is_full_from=True))
        if code not in (0, 2) or "Traceback" in printed:
            return f"on a full disk it ends with {code}: {printed[-1500:]}"
        if (
            code == 2
            and sum(line.startswith("error: ") for line in printed.split("\n")) != 1
        ):
            return f"on a full disk it says: {printed[-500:]}"
        if (
            code == 2
            and not case.is_gradual
            and case.result_if_any(work) not in (before, sound.result)
        ):
            return "on a full disk it leaves half of its output"
        left = [*work.rglob("*.new"), *_new_empty_folders(work, sound.folder)]
        if left:
            return f"on a full disk it leaves {left}"
        return _repair(case, sound, work)
    except Exception as error:
        return f"leaves what cannot be read: {error!r}"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _new_empty_folders(work: Path, before: Path) -> list[Path]:
    """Return the folders below `work` that hold nothing, and that its original `before` lacks."""
    folders = [path for path in work.rglob("*") if path.is_dir()]
    return [
        path
        for path in folders
        if not any(path.iterdir()) and not (before / path.relative_to(work)).exists()
    ]


def _repair(case: Case, sound: Sound, work: Path) -> str | None:
    """Run the command again, undisturbed, and return what is wrong, or None."""
    code, printed = in_fork(lambda: _run(case, work, 0))
    # A command that was ended after its output had appeared finds it there, whole.
    is_done = code == 2 and "is not empty" in printed
    if code != 0 and not is_done:
        return f"is not repaired: {printed[-500:]}"
    return _compare(case, sound, work)


def _compare(case: Case, sound: Sound, work: Path) -> str | None:
    """Return how the result differs from that of the command alone, or None if it does not."""
    found = case.result(work)
    if found == sound.result:
        return None
    return f"leaves something else: {_difference(found, sound.result)}"


def run_together(case: Case, sound: Sound, place: Path, count: int = 2) -> str | None:
    """Run the command in several processes at once, and return what is wrong, or None.

    Each may succeed, or refuse because another one is at work; what is left must be what one alone leaves.
    """
    work = _copy(sound.folder, place)
    try:
        ready, go = os.pipe()
        processes = [
            fork(lambda: _run_when_told(case, work, ready, go)) for _ in range(count)
        ]
        os.close(ready)
        # All of them wait for the end of this pipe.
        os.close(go)
        ends = [process.wait() for process in processes]
        for code, printed in ends:
            if code not in (0, 2) or "Traceback" in printed:
                return f"ended with {code}: {printed[-500:]}"
        if not any(code == 0 for code, _ in ends):
            return f"none succeeded: {ends}"
        return _compare(case, sound, work)
    except Exception as error:
        return f"leave what cannot be read: {error!r}"
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run_when_told(case: Case, work: Path, ready: int, go: int) -> None:
    os.close(go)
    os.read(ready, 1)
    _run(case, work, 0)


def _copy(folder: Path, place: Path) -> Path:
    """Copy the input to the same place each time, since outputs may name it."""
    work = place / "work"
    shutil.copytree(folder, work, symlinks=True)
    return work


def _run(
    case: Case,
    work: Path,
    last: int,
    then: Callable[[Calls], object] = lambda calls: None,
    is_full_from: bool = False,
) -> None:
    os.environ["XDG_CACHE_HOME"] = str(work.parent / "cache")
    calls = watch(last, is_full_from)
    code = run(case.arguments(work))
    then(calls)
    raise SystemExit(code)


def _difference(actual: Any, expected: Any) -> str:
    one, other = str(actual), str(expected)
    place = next(
        (n for n, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), 0
    )
    return f"...{one[max(0, place - 80) : place + 120]}... instead of ...{other[max(0, place - 80) : place + 120]}..."
