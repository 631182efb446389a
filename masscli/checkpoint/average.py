"""The mean of several checkpoints' weights (Vaswani et al. 2017, section 6.1), summed in float64 so that their order does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from masscli.checkpoint import checkpoint
from masscli.checkpoint.checkpoint import Checkpoint, saved_checkpoints
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.training.setup.architecture import ARCHITECTURE_FIELDS


def members(paths: Sequence[Path], last: int | None) -> list[Checkpoint]:
    """The checkpoints that paths stand for: each as `Checkpoint.open` reads it, or the last so many of a run."""
    if last is None:
        return [Checkpoint.open(path) for path in paths]
    found: list[Checkpoint] = []
    for path in paths:
        steps = saved_checkpoints(path)
        if len(steps) < last:
            raise MasscliError(
                f"{path}: holds {len(steps)} checkpoints, not {last}", "keep more of them with --keep-last"
            )
        found += [Checkpoint.open(steps[s]) for s in sorted(steps)[-last:]]
    return found


def average(checkpoints: Sequence[Checkpoint], folder: Path) -> Path:
    """Write the mean as a checkpoint of a new run `folder`; it can be generated from and begun with, not continued."""
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if _kind(other) != _kind(first):
            raise MasscliError(
                f"{other.path}: is not the same model as {first.path}", "average checkpoints of one run"
            )
        if other.tokenizer().vocab.fingerprint != first.tokenizer().vocab.fingerprint:
            raise MasscliError(
                f"{other.path}: has another vocabulary than {first.path}", "average checkpoints of one run"
            )
    checkpoint.require_empty_folder(folder)
    weights, heads = _mean(c.weights() for c in checkpoints), _mean(c.objective_state() for c in checkpoints)
    state = replace(first.state, step=max(c.state.step for c in checkpoints))
    path = checkpoint.save_checkpoint(
        folder / "checkpoints", first.recipe, state, {}, first.tokenizer(), weights, heads, {}
    )
    checkpoint.link_checkpoint(folder / "checkpoints", "last", path)
    return path


def _kind(checkpoint: Checkpoint) -> object:
    """What must agree: the shape of the model, its languages, and what was learned (dropout may differ)."""
    model, streams = to_dict(checkpoint.recipe.model), checkpoint.recipe.stream
    return (
        [model[field] for field in ARCHITECTURE_FIELDS],
        checkpoint.state.languages,
        {n: (s.dataset, s.objective.name) for n, s in streams.items()},
    )


def _mean(several: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """One model is in memory at a time, besides the sum."""
    sums: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    count = 0
    for tensors in several:
        for name, tensor in tensors.items():
            sums[name] = sums[name].add_(tensor) if name in sums else tensor.double()
            kinds[name] = tensor.dtype
        count += 1
    return {name: (total / count).to(kinds[name]) for name, total in sums.items()}
