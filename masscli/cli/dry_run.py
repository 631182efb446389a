"""Show what a training command would do (--dry-run): data, model, memory and the first batches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from masscli.core.listing import count_of

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

    from masscli.data.batches.batch import Tokens
    from masscli.data.batches.loader import PreparedBatch
    from masscli.training.recipe import Recipe
    from masscli.training.trainer import Trainer

GIB = 2**30
"""Bytes in a GiB."""
BYTES_OF_NUMBER = 4
"""Bytes of a weight, a gradient or an element of the optimizer state, which are in fp32."""
MOMENTS = 2
"""Number of moments that Adam and its variants keep for each trained weight."""


def describe_model(trainer: Trainer) -> str:
    """Return a line with the architecture, parameters, data type, device, streams and updates of a run."""
    from masscli.models.transformer import count_parameters

    recipe = trainer.recipe
    dtype = str(trainer.model.compute_dtype).removeprefix("torch.")
    # Nobody may have asked for the number of updates, since there is a default.
    end = ""
    if recipe.train.max_update is not None:
        end = f"; {count_of(recipe.train.max_update, 'update')} (--max-update)"
    return (
        f"{recipe.model.arch}: {count_parameters(trainer.model):,} parameters, {dtype} on {trainer.device}; "
        f"streams {', '.join(recipe.stream)}{end}"
    )


def show_dry_run(trainer: Trainer, notes: Sequence[str], console: Console) -> None:
    """Print the data, model, first batches, losses and memory of a run that is not started.

    The first update is computed without changing the weights. All processes must call this together; only
    the console of the first one prints. `notes` are printed first.
    """
    for note in notes:
        console.print(note)
    console.print(describe_model(trainer))
    for line in _describe_recipe(trainer.recipe):
        console.print(line)
    for name, stream in trainer.streams.items():
        console.print(
            f"stream {name}: {len(stream.batch_builder.dataset):,} training examples"
        )
    prepared, losses = trainer.try_update()
    for item in prepared:
        for line in _describe_batch(trainer, item):
            console.print(line)
    if losses:
        shown = "  ".join(f"{name} {loss:.3f}" for name, loss in losses.items())
        console.print(f"update {trainer.state.step + 1}: {shown}")
    for line in _describe_memory(trainer):
        console.print(line)
    console.print(f"dry run: nothing was written to {trainer.parts.folder}")


def _describe_recipe(recipe: Recipe) -> Iterator[str]:
    """Yield lines with the most important settings: data, folder, end, optimizer and size of batches."""
    train, optim = recipe.train, recipe.optim
    ends = {
        "updates": train.max_update,
        "epochs": train.max_epoch,
        "hours": train.stop_time_hours,
    }
    until = " or ".join(
        f"{value:,} {unit}" for unit, value in ends.items() if value is not None
    )
    yield f"data {recipe.data}; run {recipe.save_dir}; until {until}"
    yield (
        f"{optim.optimizer}, learning rate {optim.lr:g}, {optim.lr_scheduler} after {optim.warmup_updates} "
        f"updates of warm-up; micro-batches of up to {train.max_tokens:,} tokens"
    )


def _describe_batch(trainer: Trainer, prepared: PreparedBatch) -> Iterator[str]:
    """Yield lines with the shapes and target count of a micro-batch, and the pieces of its first example."""
    batch = prepared.batch
    sides = {"source": batch.source}
    if batch.target is not None:
        sides["target"] = batch.target
    shapes = []
    for name, side in sides.items():
        rows, width = side.ids.shape
        shapes.append(f"{name} {rows} x {width}")
    targets = sum(batch.counts.values())
    yield (
        f"micro-batch {prepared.planned.micro + 1} of {trainer.state.update_freq}, "
        f"of {prepared.planned.stream}: {', '.join(shapes)}, {targets:,.0f} targets"
    )
    for name, side in sides.items():
        yield f"  {name}: {_first_row(trainer, side)}"


def _first_row(trainer: Trainer, side: Tokens) -> str:
    length = int(side.lengths[0])
    return " ".join(
        trainer.parts.tokenizer.ids_to_pieces(side.ids[0, :length].tolist())
    )


def _describe_memory(trainer: Trainer) -> Iterator[str]:
    """Yield a line on memory and one on the disk: what the run will need, and what is free."""
    from masscli.reporting.environment import free_memory, free_memory_of_gpu
    from masscli.training.fsdp import local_part
    from masscli.training.metric_averager import peak_memory

    trained = [local_part(parameter) for parameter in trainer.parts.parameter_names]
    everything = [local_part(parameter) for parameter in trainer.model.parameters()]
    for stream in trainer.streams.values():
        everything += [
            local_part(parameter) for parameter in stream.objective.parameters()
        ]
    # A frozen weight takes memory, but has neither a gradient nor a state.
    weights = _size(sum(tensor.numel() for tensor in everything))
    gradients = _size(sum(tensor.numel() for tensor in trained))
    state = _size(sum(_state_numbers(tensor, trainer.recipe) for tensor in trained))
    # The optimizer creates its state at its first step, which a dry run does not make.
    peak = peak_memory(trainer.device) + state
    free = (
        free_memory()
        if trainer.device.type == "cpu"
        else free_memory_of_gpu(trainer.device)
    )
    yield (
        f"memory: weights {_format(weights)}, gradients {_format(gradients)}, optimizer {_format(state)}; "
        f"about {_format(peak)} with these batches; {_format(free)} are free besides"
    )
    # The best checkpoints may all be older than the last ones.
    kept = trainer.recipe.checkpoint.keep_last + trainer.recipe.checkpoint.keep_best
    disk = _size(
        shutil.disk_usage(_existing_parent(trainer.parts.folder)).free, bytes_each=1
    )
    yield f"disk: up to {kept} checkpoints of {_format(weights + state)} are kept; {_format(disk)} are free"


def _state_numbers(parameter: Tensor, recipe: Recipe) -> int:
    """Return how many numbers the optimizer and the moving average of the weights store for a parameter."""
    numbers = MOMENTS * parameter.numel()
    if recipe.optim.optimizer == "adafactor":
        # Factored second moments, by rows and columns, and no first moments.
        numbers = sum(parameter.shape) if parameter.dim() > 1 else parameter.numel()
    if recipe.optim.ema_decay:
        numbers += parameter.numel()
    return numbers


def _size(count: int, bytes_each: int = BYTES_OF_NUMBER) -> float:
    """Return the size in GiB of `count` numbers of `bytes_each` bytes."""
    return count * bytes_each / GIB


def _format(gib: float) -> str:
    """Return a size as text such as 3.5 GiB, in MiB if it is below 1 GiB."""
    if gib < 1:
        return f"{gib * 1024:.0f} MiB"
    return f"{gib:.1f} GiB"


def _existing_parent(path: Path) -> Path:
    """Return the folder `path` if it exists, or else its nearest parent that does."""
    for folder in (path, *path.absolute().parents):
        if folder.is_dir():
            return folder
    return Path("/")
