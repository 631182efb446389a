"""Sweep over all calls of all commands that write, and print a table."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

from tests.kills.commands import CASES
from tests.kills.sweep import Sound, fill_at, kill_at, prepare, run_together


def main() -> int:
    """Run the sweep, and return 1 if something was not repaired."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.kills",
        description="Kill commands at every call that writes.",
    )
    parser.add_argument(
        "--command",
        action="append",
        choices=list(CASES),
        help="one command; can be repeated",
    )
    parser.add_argument("--at", type=int, help="only the call of this number")
    parser.add_argument(
        "--full",
        action="store_true",
        help="instead, let the disk be full from each call on",
    )
    parser.add_argument(
        "--together",
        type=int,
        metavar="N",
        help="instead, run each command N times in two processes at once",
    )
    options = parser.parse_args()
    failures = 0
    fault, faults = (fill_at, "full disks") if options.full else (kill_at, "kills")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="masscli-kills-", dir=memory) as name:
        for command in options.command or CASES:
            start = time.monotonic()
            sound = prepare(CASES[command], Path(name))
            if options.together:
                failures += together(command, sound, options.together, Path(name))
                continue
            numbers = [options.at] if options.at else range(1, len(sound.calls) + 1)
            broken = 0
            for number in numbers:
                problem = fault(CASES[command], sound, number, Path(name))
                if problem is not None:
                    broken += 1
                    print(
                        f"  {command} --at {number} ({sound.calls[number - 1]}): {problem}",
                        file=sys.stderr,
                        flush=True,
                    )
            kinds = Counter(call.split()[0].removeprefix("os.") for call in sound.calls)
            shown = ", ".join(
                f"{count} {kind}" for kind, count in sorted(kinds.items())
            )
            print(
                f"{command:16} {len(numbers):5} {faults} {broken:5} not repaired {time.monotonic() - start:6.0f} s  {shown}",
                flush=True,
            )
            failures += broken
    return int(failures > 0)


def together(command: str, sound: Sound, rounds: int, place: Path) -> int:
    """Run a command in two processes at once, several times, and return how often something was wrong."""
    problems = [run_together(CASES[command], sound, place) for _ in range(rounds)]
    broken = [problem for problem in problems if problem is not None]
    for problem in broken:
        print(f"  {command}: {problem}", file=sys.stderr, flush=True)
    print(
        f"{command:16} {rounds:5} times in two processes {len(broken):5} with another result",
        flush=True,
    )
    return len(broken)


if __name__ == "__main__":
    sys.exit(main())
