"""Peak memory of training, each program in a process of its own: masscli and a plain PyTorch loop, alike in batch and precision.

    python -m tests.benchmarks.speed.memory PROGRAM ARCH V ROWS LENGTH PRECISION

prints the peak of the process in GiB, and what it held before the first update (libraries, weights, inputs).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from tests.benchmarks.speed import training
from tests.benchmarks.speed.measure import Contestant, Row, Value

UPDATES = 3


def memory_row(
    arch: str, vocab_size: int, rows: int, length: int, precision: str
) -> Row:
    """Return the row of the memory that updates need beyond libraries, weights and inputs, in GiB."""

    def contestant(program: str) -> Contestant:
        sizes = [arch, str(vocab_size), str(rows), str(length), precision]
        command = [
            sys.executable,
            "-m",
            "tests.benchmarks.speed.memory",
            program,
            *sizes,
        ]

        def turn(seconds: float) -> Value:
            done = subprocess.run(
                command, stdout=subprocess.PIPE, check=True, text=True
            )
            peak, before = map(float, done.stdout.split())
            return Value(peak - before, peak - before)

        return Contestant(f"{program} {precision}", turn)

    name = (
        f"memory of training {arch}, {rows * length:,} targets, V {vocab_size // 1000}k"
    )
    return Row(
        name, "GiB", [contestant("masscli"), contestant("torch")], lower_is_better=True
    )


def peak_gib() -> float:
    """Return the largest amount of memory that this process has held."""
    # Linux counts the parent's memory in `ru_maxrss` of a new process, but not here.
    [line] = [
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmHWM")
    ]
    return int(line.split()[1]) / 2**20


def main(
    program: str, arch: str, vocab_size: str, rows: str, length: str, precision: str
) -> None:
    torch.set_num_threads(1)
    shape = training.Shape(arch, int(vocab_size), int(rows), int(length))
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    build = {
        "masscli": training.masscli_translation,
        "torch": training.plain_translation,
    }[program]
    contestant = build(shape, dtype)
    before = peak_gib()
    for _ in range(UPDATES):
        contestant.turn(0.0)
    print(peak_gib(), before)


if __name__ == "__main__":
    main(*sys.argv[1:])
