"""Kill `preprocess` and a training run at random moments, run them again, and compare the results with undisturbed ones.

    python tests/benchmarks/kill9.py --data DATA --kills 10 --seed 1

DATA is a folder of text: train.en, train.de, valid.en, valid.de. Each trial begins with an empty folder. A command is killed with all its
workers (kill -9) at a moment between its first line of output and its end, which is known from an undisturbed run; all moments are equally
likely. Then the same command is run again. Compared are the SHA-256 checksums of all files of the data folder, or of the weights and the
optimizer state after the last update. `--kills` is the number of trials of each of the two commands. Prints one table; the exit status is
1 if any result differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

UPDATES = 60


@dataclass(frozen=True)
class Stage:
    """A command to kill.

    `command` returns its arguments, given the folder that it writes to. `digest` returns a checksum of its result in that folder, and
    `found` describes what a killed command left there.
    """

    name: str
    command: Callable[[Path], list[str]]
    digest: Callable[[Path], str]
    found: Callable[[Path], str]


def preprocess(text: Path) -> Stage:
    """Return the stage that preprocesses the text in a folder."""

    def command(folder: Path) -> list[str]:
        return ["preprocess", "--langs", "en,de", "--trainpref", f"{text}/train", "--validpref", f"{text}/valid", "--vocab-size", "1000",
                "--workers", "2", "--destdir", str(folder / "data")]  # fmt: skip

    def found(folder: Path) -> str:
        files = [path for path in (folder / "data").rglob("*") if path.is_file()]
        return (
            f"{len(files)} files, {sum(path.stat().st_size for path in files):,} bytes"
        )

    return Stage(
        "preprocess",
        command,
        lambda folder: sha256(sorted((folder / "data").iterdir())),
        found,
    )


def training(data: Path) -> Stage:
    """Return the stage that trains a tiny translation model on a data folder."""

    def command(folder: Path) -> list[str]:
        return ["finetune", str(data), "--task", "translate", "-s", "en", "-t", "de", "--save-dir", str(folder / "run"), "--arch", "tiny",
                "--dim", "32", "--ffn-dim", "64", "--heads", "2", "--encoder-layers", "1", "--decoder-layers", "1", "--max-tokens", "800",
                "--max-update", str(UPDATES), "--save-interval-updates", "5", "--max-valid-rows", "20", "--lr", "0.01",
                "--warmup-updates", "10", "--precision", "fp32", "--threads", "1", "--num-workers", "1"]  # fmt: skip

    def digest(folder: Path) -> str:
        last = folder / f"run/checkpoints/step-{UPDATES:07d}"
        return sha256([last / "model.safetensors", last / "optimizer.safetensors"])

    def found(folder: Path) -> str:
        names = sorted(
            path.name for path in (folder / "run/checkpoints").glob("*step-*")
        )
        return (
            ", ".join(name.replace("step-00000", "") for name in names)
            or "nothing saved"
        )

    return Stage("training", command, digest, found)


def sha256(paths: Sequence[Path]) -> str:
    """Return the SHA-256 checksum of the names and contents of files."""
    total = hashlib.sha256()
    for path in paths:
        total.update(
            f"{path.name}\0{path.stat().st_size}\0".encode() + path.read_bytes()
        )
    return total.hexdigest()


def run(
    command: Sequence[str], delay: float | None = None
) -> tuple[float, float] | None:
    """Run masscli, and return the seconds until its first line of output and until its end.

    With `delay` it is killed so many seconds after its first line, and the result is None; if it ends earlier, it is as without `delay`.
    """
    start = time.monotonic()
    with subprocess.Popen([sys.executable, "-m", "masscli", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          start_new_session=True) as process:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.readline()
        first = time.monotonic() - start
        try:
            more, _ = process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return None
        if process.returncode:
            sys.exit(said + more)
    return first, time.monotonic() - start


def trials(stage: Stage, kills: int, draw: random.Random, work: Path) -> int:
    """Kill a stage `kills` times and run it again each time; return how often the result differed. Prints a line for each."""
    whole = work / f"{stage.name}-whole"
    whole.mkdir()
    times = run(stage.command(whole))
    assert times is not None
    expected, different = stage.digest(whole), 0
    print(
        f"{stage.name:<10} {'not killed':>10} {times[1] - times[0]:>7.2f} s  {'':<44} {expected[:16]}",
        flush=True,
    )
    for number in range(1, kills + 1):
        folder = work / f"{stage.name}-{number}"
        while True:
            folder.mkdir()
            delay = draw.random() * (times[1] - times[0])
            if run(stage.command(folder), delay) is None:
                break
            # The command ended before the kill, since it was faster than the undisturbed run: draw again.
            shutil.rmtree(folder)
        actual = stage.found(folder)
        run(stage.command(folder))
        digest = stage.digest(folder)
        different += digest != expected
        said = "same" if digest == expected else "DIFFERENT"
        print(
            f"{stage.name:<10} {number:>10} {delay:>7.2f} s  {actual:<44.44} {digest[:16]} {said}",
            flush=True,
        )
        shutil.rmtree(folder)
    return different


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--kills", type=int, default=10, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="N")
    parser.add_argument(
        "--lines", type=int, default=12000, metavar="N", help="lines of train to use"
    )
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        work, draw, started = Path(name), random.Random(args.seed), time.monotonic()
        for split in ("train", "valid"):
            for language in ("en", "de"):
                lines = (
                    (args.data / f"{split}.{language}")
                    .read_text(encoding="utf-8")
                    .split("\n")[: args.lines]
                )
                (work / f"{split}.{language}").write_text(
                    "\n".join(lines), encoding="utf-8"
                )
        print(
            f"{'stage':<10} {'kill':>10} {'after':>9}  {'what it left':<44} sha256 when done",
            flush=True,
        )
        different = trials(preprocess(work), args.kills, draw, work)
        different += trials(
            training(work / "preprocess-whole/data"), args.kills, draw, work
        )
        print(
            f"{2 * args.kills} kills, {different} with another result; {time.monotonic() - started:.0f} s"
        )
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
