"""Measure programs in turns: in each repetition every one of them works for its share of seconds.

Machines drift by a tenth within minutes, so a figure means something only beside others of the same minute.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Value:
    """A measured value in the unit of its row, by wall-clock time and by CPU time.

    CPU time is that of all threads together, and changes little when other programs run on the machine.
    """

    wall: float
    cpu: float


@dataclass
class Contestant:
    """A program to measure. `turn(seconds)` works for at least so many seconds; 0 asks for one piece of work."""

    name: str
    turn: Callable[[float], Value]
    close: Callable[[], None] = lambda: None


@dataclass
class Row:
    """A row of the table: its name, the unit of its values, and the programs; masscli comes first."""

    name: str
    unit: str
    contestants: list[Contestant]
    ceiling: Contestant | None = None
    missing: dict[str, str] = field(default_factory=dict)
    """Peers that cannot take part, and why."""
    lower_is_better: bool = False
    """Whether values are amounts (seconds, GiB) and not rates."""


@dataclass(frozen=True)
class Figure:
    """The median, the smallest and the largest value of one program over the repetitions."""

    median: float
    low: float
    high: float


def units_per_second(step: Callable[[], float]) -> Callable[[float], Value]:
    """Return a `turn` that repeats `step`, which does a piece of work and returns how many units it was."""

    def turn(seconds: float) -> Value:
        wall, cpu = time.perf_counter(), time.process_time()
        done = step()
        while time.perf_counter() - wall < seconds:
            done += step()
        return Value(
            done / (time.perf_counter() - wall), done / (time.process_time() - cpu)
        )

    return turn


def seconds_of(command: Sequence[str], stdin: bytes = b"") -> Value:
    """Run a command to its end, and return the seconds it took. Raises CalledProcessError if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Value(
        wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    )


def measure(row: Row, repeats: int, seconds: float) -> dict[str, list[Value]]:
    """Measure the programs of a row and its ceiling in turns, after one piece of work each to warm up.

    A turn of a rate begins with another piece of work that is not measured, since the caches and the memory hold what the
    program before left there, which a program that goes on working never meets.
    """
    contestants = list(row.contestants)
    if row.ceiling is not None:
        contestants.append(row.ceiling)
    for contestant in contestants:
        contestant.turn(0.0)
    values: dict[str, list[Value]] = {contestant.name: [] for contestant in contestants}
    for _ in range(repeats):
        for contestant in contestants:
            if not row.lower_is_better:
                contestant.turn(0.0)
            values[contestant.name].append(contestant.turn(seconds))
    for contestant in contestants:
        contestant.close()
    return values


def summarize(values: Sequence[float]) -> Figure:
    """Summarize the values of one program."""
    return Figure(statistics.median(values), min(values), max(values))
