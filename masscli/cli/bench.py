"""Measure speed against other programs, and check a GPU.

Each figure is a median. Ratios are relative to a ceiling (a matrix product) and to peers measured in
the same run, since the speed of machines differs and drifts. Hugging Face's models are included if the
package transformers is installed.

On a GPU, three models and compiled peers are measured, after a check that the GPU gives the results of
the CPU: every objective, bf16 and fp16, search, resuming, and sharding (FSDP2). If a check fails, the
exit status is 1.

Examples:
  masscli bench
  masscli bench --arch tiny --vocab-size 10000 --threads 1
  masscli bench --device cuda
  masscli bench --device cpu --check --arch base,bert-base --rows 16
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from masscli.core.config import Flags, at_least, check, config, positive
from masscli.core.errors import MasscliError
from masscli.core.memory import tune_heap

if TYPE_CHECKING:
    import torch

    from masscli.training.bench.workload import Workload

T = TypeVar("T")


@config
class BenchConfig:
    """What is measured, and for how long."""

    arch: Annotated[tuple[str, ...], Flags("-a")] = ()
    """Presets of the models, separated by commas (default: base; on a GPU base,mass-base,bert-base)."""
    vocab_size: int | None = None
    """Pieces of the vocabulary (default: 8000; on a GPU 32000)."""
    rows: int = 256
    """Sentences in a training batch."""
    length: int | None = None
    """Pieces in a sentence (default: 15; on a GPU 64)."""
    steps: int = 18
    """Pieces to generate for each sentence in decoding."""
    seconds: float = 5.0
    """Minimum number of seconds to measure each figure."""
    precision: Literal["auto", "bf16", "fp16", "fp32"] = "auto"
    """Precision of all models."""
    device: str = "auto"
    """cpu, cuda, ...; auto is a GPU if there is one."""
    check: bool | None = None
    """Compare the device with the CPU first (default: on a GPU only)."""
    compiled: bool | None = None
    """Measure Hugging Face's models under torch.compile, too (default: on a GPU only)."""
    threads: int | None = None
    """CPU threads (default: PyTorch's own)."""

    def __post_init__(self) -> None:
        check(
            *positive(self, "rows", "threads"),
            *at_least(self, 16, "vocab_size"),
            *at_least(self, 2, "length", "steps"),
            *at_least(self, 0.1, "seconds"),
        )


@dataclass(frozen=True)
class Defaults:
    """Defaults for what is measured on a kind of device."""

    arch: tuple[str, ...]
    vocab_size: int
    length: int
    check: bool
    compiled: bool


CPU_DEFAULTS = Defaults(("base",), 8000, 15, check=False, compiled=False)
"""One model, with sentences like those of captions, takes minutes on a CPU."""
GPU_DEFAULTS = Defaults(
    ("base", "mass-base", "bert-base"), 32000, 64, check=True, compiled=True
)
"""Only larger batches keep a GPU busy."""


def run(options: BenchConfig) -> None:
    """Check the device if asked to, and print a line for each figure of each model."""
    import torch

    from masscli.training.bench.peers import has_transformers
    from masscli.training.precision import choose_device, choose_dtype

    # Training does this, too; the peers in this process also benefit.
    tune_heap()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    dtype = choose_dtype(options.precision, device)
    defaults = CPU_DEFAULTS if device.type == "cpu" else GPU_DEFAULTS
    workloads = _workloads(options, defaults)
    print(
        f"torch {torch.__version__}, {_describe(device)}, {torch.get_num_threads()} threads"
    )
    passed = True
    if _given(options.check, defaults.check):
        passed = _check(device)
    compiled = _given(options.compiled, defaults.compiled)
    for workload in workloads:
        _measure(workload, device, dtype, compiled)
    if not has_transformers():
        print("Hugging Face is left out: pip install transformers")
    if not passed:
        raise typer.Exit(1)


def _given(value: T | None, default: T) -> T:
    """Return the value of an option, or `default` if it was not given."""
    return default if value is None else value


def _workloads(options: BenchConfig, defaults: Defaults) -> list[Workload]:
    """Return what is measured, for each model. Raises MasscliError for an unknown or unsuitable name."""
    from masscli.training.bench.workload import Workload

    workloads = []
    for arch in options.arch or defaults.arch:
        workload = Workload(
            arch,
            _given(options.vocab_size, defaults.vocab_size),
            options.rows,
            _given(options.length, defaults.length),
            options.steps,
            options.seconds,
        )
        # A wrong name must be reported before minutes of measurements.
        workload.config()
        workloads.append(workload)
    return workloads


def _describe(device: torch.device) -> str:
    """Return the device, with the name of the GPU if it is one."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def _check(device: torch.device) -> bool:
    """Check the device, print a line for each check, and return whether all of them have passed.

    Raises MasscliError if a temporary folder cannot be created for the runs of the checks.
    """
    import tempfile
    from pathlib import Path

    from masscli.api.device_checks import check_device

    passed = True
    try:
        temporary = tempfile.TemporaryDirectory()
    except OSError as error:
        raise MasscliError(
            f"cannot create a temporary folder: {error.strerror}",
            "set the variable TMPDIR to a writable folder",
        ) from None
    with temporary as folder:
        for check in check_device(device, Path(folder)):
            word = "ok" if check.passed else "FAILED"
            # Flushed, since each check takes about a second.
            print(f"check {check.name:34} {word:8} {check.detail}", flush=True)
            passed = passed and check.passed
    return passed


def _measure(
    workload: Workload, device: torch.device, dtype: torch.dtype, compiled: bool
) -> None:
    """Measure one model, and print a line for each figure."""
    from masscli.training.bench.measure import measure

    batch = f"{workload.batch_size} sentences of {workload.length} pieces"
    print(f"\n{workload.arch}, {workload.vocab_size:,} pieces, {batch}")
    for figure in measure(workload, device, dtype, compiled):
        # Flushed, since each figure takes seconds.
        print(
            f"{figure.name:40} {figure.value:12,.2f} {figure.unit:16} {figure.note}",
            flush=True,
        )
