"""What the programs in environments of their own share: they measure whenever the benchmark asks for it.

    PYTHON -m tests.benchmarks.speed.workers.PROGRAM SETTINGS

SETTINGS is a JSON object with the sizes of the model and of its batches (see `settings_of` in
tests/benchmarks/speed/other_environments.py). The program answers `ready` once it has done its work a first time. Then
for each line of standard input, a number of seconds, it works for so long and answers with units of work per second,
of wall-clock time and of CPU time. Whatever else the program prints goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from tests.benchmarks.speed.measure import units_per_second

Step = Callable[[], float]
"""Does one piece of work, and returns how many units it was: target tokens, or sentences."""


Build = Callable[[dict[str, Any]], Step]
"""Makes the work of a program from the settings."""


def serve(training: Build, generation: Build | None = None) -> None:
    """Measure updates, or where the settings name a beam generation, until standard input ends."""
    settings = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(1)
    build = training
    if settings["beam"]:
        assert generation is not None
        build = generation
    turn = units_per_second(build(settings))
    turn(0.0)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        value = turn(float(line))
        print(value.wall, value.cpu, file=answers, flush=True)


def random_ids(settings: dict[str, Any], blocks: int) -> tuple[torch.Tensor, ...]:
    """Return `blocks` tensors (rows, length) of token ids that are no special symbols, which lie below 8."""
    shape = (blocks, settings["rows"], settings["length"])
    return torch.randint(8, settings["vocab_size"], shape).unbind(0)
