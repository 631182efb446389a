"""Run the fuzzer, and print a table of what it found."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TZ"] = "UTC"

from tests.fuzz.forks import FAILURES, digest_of, judge, prepare, run_case, watch
from tests.fuzz.readers import READERS, Reader


def main() -> int:
    """Run the cases that the command line asks for, and return 1 if there are failures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Mutate everything that masscli reads."
    )
    parser.add_argument(
        "--cases", type=int, default=1000, help="cases in all, shared evenly among the readers"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--reader", action="append", choices=list(READERS), help="one reader; can be repeated"
    )
    parser.add_argument("--case", type=int, help="only this case of one reader, in this process")
    parser.add_argument("--log", type=Path, help="add the outcome of every case to this file, as JSON lines")
    options = parser.parse_args()
    readers = [READERS[name] for name in options.reader or READERS]
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="masscli-fuzz-", dir=place) as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.chdir(folder)
        if options.case is not None:
            return _one_case(readers[0], options.seed, options.case, folder)
        return _all_cases(readers, options.cases, options.seed, folder, options.log)


def _all_cases(readers: list[Reader], cases: int, seed: int, folder: Path, log: Path | None) -> int:
    counts: dict[str, Counter[str]] = {}
    seconds: dict[str, float] = {}
    for number, reader in enumerate(readers):
        share = cases // len(readers) + (number < cases % len(readers))
        start = time.monotonic()
        counts[reader.name] = fuzz(reader, share, seed, folder, log)
        seconds[reader.name] = time.monotonic() - start
        print(_row(reader.name, counts[reader.name], seconds[reader.name]), flush=True)
    total = sum(counts.values(), Counter())
    print(_row("all", total, sum(seconds.values())))
    return int(any(total[verdict] for verdict in FAILURES))


def fuzz(reader: Reader, cases: int, seed: int, folder: Path, log: Path | None) -> Counter[str]:
    """Run cases of one reader, print each failure, and return how often there was which verdict."""
    sound = sound_folder(reader, folder)
    expected = read_sound(reader, sound, folder / "case")
    counts: Counter[str] = Counter()
    for number in range(cases):
        outcome = run_case(reader, seed, number, sound, expected, folder / "case")
        counts[outcome.verdict] += 1
        if outcome.verdict in FAILURES:
            last = outcome.reason.strip().splitlines()[-1:] or [""]
            print(
                f"  {reader.name} --case {number}: {outcome.verdict}: {outcome.mutation[:150]}: {last[0][:200]}",
                file=sys.stderr,
            )
        if log is not None:
            with log.open("a") as file:
                file.write(json.dumps({"reader": reader.name, "case": number, **outcome._asdict()}) + "\n")
    return counts


def sound_folder(reader: Reader, folder: Path) -> Path:
    """Return the sound input of a reader, which several readers may share; it is made when it is first asked for."""
    name = getattr(reader.make, "__name__", "")
    sound = folder / (name if name.startswith("make_") else f"sound-{reader.name}")
    if not sound.exists():
        sound.mkdir()
        reader.make(sound)
    return sound


def read_sound(reader: Reader, sound: Path, copy: Path) -> str:
    """Read the sound folder at the place where mutated ones will be, since some results name it."""
    shutil.copytree(sound, copy, symlinks=True)
    expected = digest_of(reader, copy)
    shutil.rmtree(copy)
    return expected


def _one_case(reader: Reader, seed: int, number: int, folder: Path) -> int:
    """Run one case without a fork, for a debugger, and leave its traceback."""
    sound = sound_folder(reader, folder)
    copy = folder / "case"
    expected = read_sound(reader, sound, copy)
    print(prepare(reader, Random(f"{seed} {reader.name} {number}"), sound, copy))
    watch(copy)
    verdict, reason = judge(reader, copy, expected)
    print(f"{verdict}: {reason}")
    return int(verdict in FAILURES)


def _row(name: str, counts: Counter[str], seconds: float) -> str:
    failures = ", ".join(f"{counts[verdict]} {verdict}" for verdict in FAILURES if counts[verdict])
    return (
        f"{name:18} {sum(counts.values()):8,} cases {counts['read']:8,} read {counts['refused']:8,} refused "
        f"{seconds:8.0f} s  {failures or 'no failure'}"
    )


if __name__ == "__main__":
    sys.exit(main())
