"""How fast threads are that share cores with busy programs, with the settings of OpenMP that could help.

    python -m tests.benchmarks.busy_cores [--arch tiny] [--busy 0,1,2] [--seconds 1] [--rounds 1]

A process for each setting measures the training and the generation of `masscli bench`, in turns. All
settings are of two threads, and the last one is of a single thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch

from masscli.core.memory import tune_heap
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.models.transformer import Transformer
from masscli.training.bench.measure import BEAM
from masscli.training.bench.workload import (
    SPECIAL_IDS,
    TERM,
    Workload,
    model_loss,
    train_step,
)

SETTINGS = (
    {"OMP_NUM_THREADS": "2"},
    {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "1000"},
    {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "PASSIVE"},
    {"OMP_NUM_THREADS": "1"},
)
WORK = ("targets", "sentences, 64 at a time", "sentences, 1 at a time")
"""What is counted in each second."""


def main() -> None:
    """Print a line for each number of busy programs, kind of work and setting; or do the work of one setting."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--arch", default="tiny")
    parser.add_argument("--busy", default="0,1,2", help="numbers of busy programs")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.arch, arguments.seconds)
        return
    command = [sys.executable, "-m", "tests.benchmarks.busy_cores", "--worker"]
    command += ["--arch", arguments.arch, "--seconds", str(arguments.seconds)]
    workers = []
    for setting in SETTINGS:
        workers.append(
            subprocess.Popen(
                command,
                env={**os.environ, **setting},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    for worker in workers:
        ask(worker, "")
    for count in map(int, arguments.busy.split(",")):
        with busy_programs(count):
            for kind in WORK:
                speeds: list[list[float]] = [[] for _ in SETTINGS]
                for _ in range(arguments.rounds):
                    for worker, found in zip(workers, speeds, strict=True):
                        found.append(float(ask(worker, kind)))
                for setting, found in zip(SETTINGS, speeds, strict=True):
                    named = " ".join(
                        f"{name}={value}" for name, value in setting.items()
                    )
                    print(
                        f"{count} busy  {kind:24} {named:44} {statistics.median(found):10,.1f}",
                        flush=True,
                    )
    for worker in workers:
        worker.communicate()


def ask(worker: subprocess.Popen[str], kind: str) -> str:
    """Let a worker do one kind of work, and return its answer."""
    assert worker.stdin is not None and worker.stdout is not None
    worker.stdin.write(f"{kind}\n")
    worker.stdin.flush()
    return worker.stdout.readline()


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """Run programs that each keep a core busy within a `with` block."""
    programs = []
    for _ in range(count):
        programs.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def work(arch: str, seconds: float) -> None:
    """For each line of standard input, do the work that it names, and print how much was done in a second."""
    tune_heap()
    works = kinds_of_work(arch)
    for line in sys.stdin:
        if line == "\n":
            print("ready", flush=True)
            continue
        do, amount = works[line.rstrip("\n")]
        do()
        began = time.perf_counter()
        times = 0
        while time.perf_counter() - began < seconds:
            do()
            times += 1
        print(times * amount / (time.perf_counter() - began), flush=True)


def kinds_of_work(arch: str) -> dict[str, tuple[Callable[[], object], float]]:
    """Return a function that does each kind of work, and how much it does in one call."""
    workload = Workload(arch, 8000, 256, 15, 18, 1.0)
    config = workload.config()
    torch.manual_seed(1)
    trained = Transformer(config, workload.vocab_size, ())
    trained.compute_dtype = torch.bfloat16
    batch = workload.batch(config)
    works: dict[str, tuple[Callable[[], object], float]] = {
        WORK[0]: (
            train_step(trained, lambda: model_loss(trained, batch)),
            batch.counts[TERM],
        )
    }
    search = GenerationConfig(
        beam=BEAM, min_len=workload.steps - 1, max_len_a=0.0, max_len_b=workload.steps
    )
    model = Transformer(config, workload.vocab_size, ()).to(torch.bfloat16).eval()
    sources = list(
        np.random.default_rng(2).integers(SPECIAL_IDS, workload.vocab_size, (64, 15))
    )
    for kind, size in ((WORK[1], 64), (WORK[2], 1)):
        decoder = Decoder(
            [model],
            workload.framing(config),
            search,
            batch_size=size,
            batch_tokens=10**9,
        )
        few = sources[: max(size, 2)]
        works[kind] = (
            lambda decoder=decoder, few=few: decoder.generate(few, "", ""),  # type: ignore[misc]
            float(len(few)),
        )
    return works


if __name__ == "__main__":
    main()
