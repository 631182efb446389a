"""Run the fuzzer, and print a table of what it found."""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TZ"] = "UTC"

from masscli.core.appended_files import append_json_lines
from tests.fuzz import forks
from tests.fuzz.branches import SLOWER, Recorder
from tests.fuzz.forks import (
    FAILURES,
    Outcome,
    digest_of,
    judge,
    prepare,
    run_cases,
    watch,
)
from tests.fuzz.readers import READERS, Reader

BATCH = 25
"""Cases that one process runs: to fork and to end it takes as long as several cases."""


def main() -> int:
    """Run the cases that the command line asks for, and return 1 if there are failures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Mutate everything that masscli reads."
    )
    parser.add_argument(
        "--cases",
        type=int,
        default=1000,
        help="cases in all, shared evenly among the readers",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--reader",
        action="append",
        choices=list(READERS),
        help="one reader; can be repeated",
    )
    parser.add_argument(
        "--case", type=int, help="only this case of one reader, in this process"
    )
    parser.add_argument(
        "--log",
        type=_absolute,
        help="add the outcome of every case to this file, as JSON lines; cases that are in it are not run again",
    )
    parser.add_argument(
        "--branches",
        type=_absolute,
        metavar="FOLDER",
        help="count the branches that the cases take; what earlier runs have left in this folder counts, too",
    )
    options = parser.parse_args()
    readers = [READERS[name] for name in options.reader or READERS]
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="masscli-fuzz-", dir=place) as name:
        folder = Path(name)
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.chdir(folder)
        if options.case is not None:
            return _one_case(readers[0], options.seed, options.case, folder)
        if options.branches is not None:
            forks.recorder = Recorder(options.branches)
            forks.SECONDS *= SLOWER
        log = Log(options.log, options.seed)
        return _all_cases(readers, options.cases, options.seed, folder, log)


def _absolute(path: str) -> Path:
    """Return the path of an argument; the cases run in another folder."""
    return Path(path).absolute()


class Log:
    """The outcomes of cases, in a file of JSON lines if there is one, which earlier runs may have begun."""

    def __init__(self, path: Path | None, seed: int) -> None:
        self.path = path
        self.seed = seed
        self.outcomes: dict[str, dict[int, str]] = defaultdict(dict)
        if path is not None and path.exists():
            # A killed run may have left half a line.
            append_json_lines(path, b"")
            for line in path.read_text().splitlines():
                case = json.loads(line)
                if case["seed"] == seed:
                    self.outcomes[case["reader"]][case["case"]] = case["verdict"]

    def add(self, reader: str, number: int, outcome: Outcome) -> None:
        """Keep the verdict on a case, and write the whole outcome to the file."""
        self.outcomes[reader][number] = outcome.verdict
        if self.path is not None:
            case = {
                "seed": self.seed,
                "reader": reader,
                "case": number,
                "commit": COMMIT,
                **outcome._asdict(),
            }
            with self.path.open("ab") as file:
                file.write(json.dumps(case).encode() + b"\n")

    def counts(self, reader: str) -> Counter[str]:
        """Return how often there was which verdict on cases of a reader."""
        return Counter(self.outcomes[reader].values())


def _commit() -> str:
    """Return the commit of this checkout, or nothing outside of one."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False
    )
    return result.stdout.strip()


COMMIT = _commit()


def _all_cases(
    readers: list[Reader], cases: int, seed: int, folder: Path, log: Log
) -> int:
    """Run some cases of each reader in turn, so that a run that is ended early has seen all of them alike."""
    sound, expected = {}, {}
    pending: dict[str, list[int]] = {}
    for place, reader in enumerate(readers):
        share = cases // len(readers) + (place < cases % len(readers))
        pending[reader.name] = [
            number for number in range(share) if number not in log.outcomes[reader.name]
        ]
        sound[reader.name] = sound_folder(reader, folder)
        expected[reader.name] = read_sound(reader, sound[reader.name], folder / "case")
    # The collector would write to all that the children share with this process, and so copy it.
    gc.collect()
    gc.freeze()
    seconds: Counter[str] = Counter()
    while any(pending.values()):
        for reader in readers:
            name = reader.name
            numbers, pending[name] = pending[name][:BATCH], pending[name][BATCH:]
            start = time.monotonic()
            outcomes = run_cases(
                reader, seed, numbers, sound[name], expected[name], folder / "case"
            )
            for number, outcome in zip(numbers, outcomes, strict=True):
                # The name of the temporary folder differs from run to run.
                outcome = outcome._replace(
                    reason=outcome.reason.replace(str(folder), "")
                )
                log.add(name, number, outcome)
                _print_failure(name, number, outcome)
            seconds[name] += time.monotonic() - start
    for reader in readers:
        print(_row(reader.name, log.counts(reader.name), seconds[reader.name]))
    total = sum((log.counts(reader.name) for reader in readers), Counter())
    print(_row("all", total, seconds.total()))
    if forks.recorder is not None:
        print(*forks.recorder.tables(reader.name for reader in readers), sep="\n")
    return int(any(total[verdict] for verdict in FAILURES))


def _print_failure(name: str, number: int, outcome: Outcome) -> None:
    if outcome.verdict in FAILURES:
        last = outcome.reason.strip().splitlines()[-1:] or [""]
        shown = f"{outcome.verdict}: {outcome.mutation[:150]}: {last[0][:200]}"
        print(f"  {name} --case {number}: {shown}", file=sys.stderr, flush=True)


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
    failures = ", ".join(
        f"{counts[verdict]} {verdict}" for verdict in FAILURES if counts[verdict]
    )
    return (
        f"{name:18} {sum(counts.values()):8,} cases {counts['read']:8,} read {counts['refused']:8,} refused "
        f"{seconds:8.0f} s  {failures or 'no failure'}"
    )


if __name__ == "__main__":
    sys.exit(main())
