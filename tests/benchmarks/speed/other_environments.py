"""Programs in environments of their own: each runs in a process that works when the benchmark asks for it (see workers/)."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.benchmarks.speed import training
from tests.benchmarks.speed.measure import Contestant, Value

ROOT = Path(__file__).parents[3]
TRAINED = (
    ("fairseq", "fp32"),
    ("JoeyNMT", "fp32"),
    ("JoeyNMT", "bf16"),
    ("eole", "fp32"),
    ("eole", "bf16"),
)
"""The programs whose training is measured, and in which precision."""
GENERATING = (("JoeyNMT", "fp32"), ("eole", "fp32"))
"""The programs whose beam search is measured, and in which precision."""
Pythons = Mapping[str, str | None]
"""By program, the interpreter of the environment where it is installed; None where none was given."""


class Worker:
    """A process under another interpreter that does one kind of work, when it is asked to.

    `program` is the name of a module of tests/benchmarks/speed/workers, in any case; `settings` are what
    tests/benchmarks/speed/workers/serve.py reads. Raises OSError if there is no such interpreter.
    """

    def __init__(self, program: str, python: str, settings: dict[str, object]) -> None:
        module = f"tests.benchmarks.speed.workers.{program.lower()}"
        with ExitStack() as held:
            # What it prints is wanted only if it fails.
            self._messages = held.enter_context(tempfile.TemporaryFile())
            self._process = subprocess.Popen(
                [python, "-m", module, json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._messages,
                text=True,
                cwd=ROOT,
            )
            held.pop_all()

    def answer(self) -> str:
        """Wait for a line of the process and return it.

        Raises RuntimeError with the last line that it wrote to standard error if it has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return line
        self._messages.seek(0)
        written = self._messages.read().decode(errors="replace").split("\n")
        messages = [message for message in written if message.strip()]
        raise RuntimeError(messages[-1] if messages else "it ended without a word")

    def turn(self, seconds: float) -> Value:
        """Let the process work for at least so many seconds, and return its rates."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        wall, cpu = map(float, self.answer().split())
        return Value(wall, cpu)

    def close(self) -> None:
        """End the process."""
        # One that has ended already reads nothing.
        with suppress(BrokenPipeError):
            self._process.communicate("")
        self._messages.close()


def settings_of(
    shape: training.Shape, rows: int, threads: int, precision: str, beam: int
) -> dict[str, object]:
    """Return the settings of a worker: sizes of the model, `rows` sentences, and `beam` 0 for training.

    Generation takes `shape.batch_size` of the sentences at once.
    """
    config = shape.config()
    return {
        "dim": config.dim,
        "ffn_dim": config.ffn_dim,
        "heads": config.heads,
        "layers": [config.encoder_layers, config.decoder_layers],
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "vocab_size": shape.vocab_size,
        "rows": rows,
        "at_once": shape.batch_size,
        "length": shape.length,
        "threads": threads,
        "precision": precision,
        "beam": beam,
    }


def trained(
    shape: training.Shape, pythons: Pythons, threads: int
) -> tuple[list[Contestant], dict[str, str]]:
    """Return the training of programs in environments of their own, and why others are missing, by name."""
    settings = {
        (program, precision): settings_of(
            shape, shape.batch_size, threads, precision, 0
        )
        for program, precision in TRAINED
    }
    return started(settings, pythons)


def generating(
    shape: training.Shape, rows: int, beam: int, pythons: Pythons, threads: int
) -> tuple[list[Contestant], dict[str, str]]:
    """Return the beam search of programs in environments of their own, for `rows` sentences, as `trained` does."""
    settings = {
        (program, precision): settings_of(shape, rows, threads, precision, beam)
        for program, precision in GENERATING
    }
    return started(settings, pythons)


def started(
    settings: Mapping[tuple[str, str], dict[str, object]], pythons: Pythons
) -> tuple[list[Contestant], dict[str, str]]:
    """Start a worker for each program and precision; return the ready ones, and why others are missing."""
    workers: dict[str, Worker] = {}
    missing: dict[str, str] = {}
    for (program, precision), own in settings.items():
        python = pythons.get(program)
        if python is None:
            missing[program] = f"give --{program.lower()}-python"
            continue
        try:
            workers[f"{program} {precision}"] = Worker(program, python, own)
        except OSError as error:
            missing[program] = str(error)
    contestants = []
    for name, worker in workers.items():
        try:
            assert worker.answer() == "ready\n"
        except RuntimeError as error:
            missing[name] = str(error)
            worker.close()
            continue
        contestants.append(Contestant(name, worker.turn, worker.close))
    return contestants, missing
