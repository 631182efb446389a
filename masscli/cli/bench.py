"""Measure speed on this machine, beside plain PyTorch.

Each figure is a median. Ratios are to a ceiling and a peer measured in the same run, since machines differ
and drift.

Examples:
  masscli bench
  masscli bench --arch tiny --vocab-size 10000 --threads 1
  masscli bench --precision bf16 --device cuda --rows 1024
"""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    arch: Annotated[str, typer.Option("--arch", "-a", help="Preset of the model.")] = "base",
    vocab_size: Annotated[int, typer.Option("--vocab-size", help="Pieces of the vocabulary.", min=16)] = 8000,
    rows: Annotated[int, typer.Option("--rows", help="Sentences in a training batch.", min=1)] = 256,
    length: Annotated[int, typer.Option("--length", help="Pieces in a sentence.", min=2)] = 15,
    steps: Annotated[int, typer.Option("--steps", help="Steps of decoding.", min=2)] = 18,
    seconds: Annotated[
        float, typer.Option("--seconds", help="Time for each figure, at least.", min=0.1)
    ] = 10.0,
    precision: Annotated[str, typer.Option("--precision", help="auto, bf16, fp16 or fp32.")] = "auto",
    device: Annotated[
        str, typer.Option("--device", help="cpu, cuda, ...; auto is a GPU if there is one.")
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option("--threads", help="CPU threads (default: PyTorch's own).", min=1)
    ] = None,
) -> None:
    import torch

    from masscli.core.errors import MasscliError
    from masscli.training.bench import Workload, measure
    from masscli.training.precision import choose_device, choose_dtype

    if precision not in ("auto", "bf16", "fp16", "fp32"):
        raise MasscliError(f"--precision: {precision!r} is not one of auto, bf16, fp16, fp32")
    if threads is not None:
        torch.set_num_threads(threads)
    torch_device = choose_device(device)
    dtype = choose_dtype(precision, torch_device)
    workload = Workload(arch, vocab_size, rows, length, steps, seconds)
    print(f"torch {torch.__version__}, {torch_device}, {torch.get_num_threads()} threads")
    for figure in measure(workload, torch_device, dtype):
        # Flushed, since each figure takes seconds.
        print(f"{figure.name:40} {figure.value:12,.2f} {figure.unit:16} {figure.note}", flush=True)
