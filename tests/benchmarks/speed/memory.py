"""Peak memory of training, each program in a process of its own: masscli and a plain PyTorch loop, alike in batch and precision.

    python -m tests.benchmarks.speed.memory PROGRAM ARCH V ROWS LENGTH PRECISION THREADS

prints the peak of the process in GiB, and what it held before the first update (libraries, weights, inputs).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from masscli.core.memory import tune_heap
from tests.benchmarks.speed import training
from tests.benchmarks.speed.measure import Contestant, Row, Value

UPDATES = 3


def memory_row(shape: training.Shape, precision: str, threads: int) -> Row:
    """Return the row of the memory that updates need beyond libraries, weights and inputs, in GiB."""

    def contestant(program: str) -> Contestant:
        sizes = (shape.vocab_size, shape.batch_size, shape.length)
        command = [
            *(sys.executable, "-m", "tests.benchmarks.speed.memory"),
            *(program, shape.arch, *map(str, sizes), precision, str(threads)),
        ]

        def turn(seconds: float) -> Value:
            result = subprocess.run(
                command, stdout=subprocess.PIPE, check=True, text=True
            )
            peak, before = map(float, result.stdout.split())
            return Value(peak - before, peak - before)

        return Contestant(f"{program} {precision}", turn)

    thousands = shape.vocab_size // 1000
    name = f"memory of training {shape.arch}, {shape.tokens:,} targets, V {thousands}k"
    contestants = [contestant("masscli"), contestant("torch")]
    return Row(name, "GiB", contestants, lower_is_better=True)


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
    program: str,
    arch: str,
    vocab_size: str,
    rows: str,
    length: str,
    precision: str,
    threads: str,
) -> None:
    # Training does so, too.
    tune_heap()
    torch.set_num_threads(int(threads))
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
