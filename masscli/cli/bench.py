"""Measure speed beside other programs, and check a GPU.

Each figure is a median. Ratios are to a ceiling (a matrix product) and to peers measured in the same run,
since machines differ and drift. Hugging Face's models take part where the package transformers is installed.

On a GPU three models are measured, compiled peers too, after a check that the GPU computes what the CPU
does: every objective, bf16 and fp16, search, resuming, and sharding (FSDP2). If a check fails, the exit
status is 1.

Examples:
  masscli bench
  masscli bench --arch tiny --vocab-size 10000 --threads 1
  masscli bench --device cuda
  masscli bench --device cpu --check --arch base,bert-base --rows 16
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from masscli.core.errors import MasscliError
from masscli.core.memory import keep_freed_memory

if TYPE_CHECKING:
    import torch

    from masscli.training.bench.workload import Workload

CPU_DEFAULTS: dict[str, Any] = {
    "arch": "base",
    "vocab_size": 8000,
    "length": 15,
    "check": False,
    "compiled": False,
}
"""What is measured on a CPU: one model, with sentences like those of captions, takes minutes."""
GPU_DEFAULTS: dict[str, Any] = {
    "arch": "base,mass-base,bert-base",
    "vocab_size": 32000,
    "length": 64,
    "check": True,
    "compiled": True,
}
"""What is measured on a GPU, which only larger batches keep busy."""


def run(
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            "-a",
            help="Presets of the models, separated by commas "
            "(default: base; on a GPU base,mass-base,bert-base).",
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(
            "--vocab-size",
            help="Pieces of the vocabulary (default: 8000; on a GPU 32000).",
            min=16,
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option("--rows", help="Sentences in a training batch.", min=1)
    ] = 256,
    length: Annotated[
        int | None,
        typer.Option(
            "--length", help="Pieces in a sentence (default: 15; on a GPU 64).", min=2
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            "--steps", help="Pieces to generate for each sentence in decoding.", min=2
        ),
    ] = 18,
    seconds: Annotated[
        float,
        typer.Option(
            "--seconds", help="Seconds to measure each figure for, at least.", min=0.1
        ),
    ] = 5.0,
    precision: Annotated[
        Literal["auto", "bf16", "fp16", "fp32"],
        typer.Option("--precision", help="Arithmetic of all models."),
    ] = "auto",
    device: Annotated[
        str,
        typer.Option("--device", help="cpu, cuda, ...; auto is a GPU if there is one."),
    ] = "auto",
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="Compare the device with the CPU first (default: on a GPU only).",
        ),
    ] = None,
    compiled: Annotated[
        bool | None,
        typer.Option(
            "--compiled/--no-compiled",
            help="Measure Hugging Face's models under torch.compile, too (default: on a GPU only).",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="CPU threads (default: PyTorch's own).", min=1),
    ] = None,
) -> None:
    """Check the device if asked to, and print a line for each figure of each model."""
    import torch

    from masscli.training.bench.peers import has_transformers
    from masscli.training.bench.workload import Workload
    from masscli.training.precision import choose_device, choose_dtype

    # Training does so, too; the peers in this process gain as well.
    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    torch_device = choose_device(device)
    dtype = choose_dtype(precision, torch_device)
    given = {
        "arch": arch,
        "vocab_size": vocab_size,
        "length": length,
        "check": check,
        "compiled": compiled,
    }
    defaults = CPU_DEFAULTS if torch_device.type == "cpu" else GPU_DEFAULTS
    chosen = defaults | {
        name: value for name, value in given.items() if value is not None
    }
    sizes = (chosen["vocab_size"], rows, chosen["length"], steps, seconds)
    workloads = [Workload(name, *sizes) for name in chosen["arch"].split(",")]
    # An unknown or unsuitable name must not be found after minutes.
    for workload in workloads:
        workload.config()
    print(
        f"torch {torch.__version__}, {_describe(torch_device)}, {torch.get_num_threads()} threads"
    )
    passed = True
    if chosen["check"]:
        passed = _check(torch_device)
    for workload in workloads:
        _measure(workload, torch_device, dtype, chosen["compiled"])
    if not has_transformers():
        print("Hugging Face is left out: pip install transformers")
    if not passed:
        raise typer.Exit(1)


def _describe(device: torch.device) -> str:
    """Return the device, with the name of the GPU if it is one."""
    import torch

    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)


def _check(device: torch.device) -> bool:
    """Check the device, print a line for each check, and return whether all of them have passed.

    Raises MasscliError if no temporary folder can be made for the runs of the checks.
    """
    import tempfile
    from pathlib import Path

    from masscli.api.device_checks import check_device

    passed = True
    try:
        temporary = tempfile.TemporaryDirectory()
    except OSError as error:
        raise MasscliError(
            f"no temporary folder can be made: {error.strerror}",
            "name a folder that may be written to in the variable TMPDIR",
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
