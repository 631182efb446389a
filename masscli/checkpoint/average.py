"""Average the weights of several checkpoints (Vaswani et al. 2017, section 6.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from masscli.checkpoint import saving
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.find_checkpoint import saved_checkpoints
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.core.files import real_path
from masscli.core.listing import count_of
from masscli.objectives.labeled.options import (
    ClassifyOptions,
    RegressOptions,
    TagOptions,
)
from masscli.objectives.shared.table_options import TableOptions
from masscli.training.setup.architecture import ARCHITECTURE_FIELDS


def open_members(paths: Sequence[Path], last: int | None) -> list[Checkpoint]:
    """Open the checkpoints that `paths`, the folders of runs or of checkpoints, refer to.

    With `last`, every path must be a run, and contributes its `last` newest checkpoints, oldest first.
    Without it, each path contributes one checkpoint: itself, or the best one of the run, or its last
    one if none is marked as the best. Raises MasscliError if there is none, or if a run has fewer
    checkpoints than `last`.
    """
    if last is None:
        return [Checkpoint.open(path) for path in paths]
    members: list[Checkpoint] = []
    for path in paths:
        steps = saved_checkpoints(path)
        if not steps:
            # This raises an error if the path is neither a run nor a checkpoint.
            Checkpoint.open(path)
            raise MasscliError(
                f"{path}: is a checkpoint, and --last is for runs",
                "name its run, or leave --last out",
            )
        if len(steps) < last:
            raise MasscliError(
                f"{path}: holds {count_of(len(steps), 'checkpoint')}, not {last}",
                "keep more of them with --keep-last",
            )
        members += [Checkpoint.open(steps[step]) for step in sorted(steps)[-last:]]
    return members


def average(checkpoints: Sequence[Checkpoint], folder: Path) -> Path:
    """Write a checkpoint with the mean of the weights to a new run in `folder`, and return its path.

    The recipe and the tokenizer are those of the first checkpoint. The new checkpoint can be used for
    generation and for --init-from, but training cannot continue from it, since it has no optimizer
    state. Raises MasscliError if the checkpoints are not of the same model and vocabulary, or if
    `folder` is not empty or cannot be written.
    """
    first = checkpoints[0]
    # Everything is checked before anything is written.
    for other in checkpoints[1:]:
        if not _same_model(other, first):
            raise _not_the_same_model(other, first)
        if other.tokenizer().vocab.fingerprint != first.tokenizer().vocab.fingerprint:
            raise MasscliError(
                f"{other.path}: has a different vocabulary from {first.path}",
                "average checkpoints of one run",
            )
    saving.require_empty_folder(folder)
    model = _mean(checkpoints, Checkpoint.weights)
    objectives = _mean(checkpoints, Checkpoint.objective_state)
    last_step = max(member.state.step for member in checkpoints)
    state = replace(first.state, step=last_step)
    return saving.save_new_run(
        folder,
        first.recipe,
        state,
        first.tokenizer(),
        model=model,
        objectives=objectives,
    )


def mixture_warnings(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Return a list with a warning if the checkpoints seem to have different initial weights, else [].

    Runs are taken to have the same initial weights if --init-from and --init-decoder-from name the same
    paths and, without --init-from, the seed is the same. Weights trained from different initial values
    are far apart, and their mean is a bad model.
    """
    origins: dict[object, Checkpoint] = {}
    for member in checkpoints:
        recipe = member.recipe
        origin: object = recipe.seed
        # Links and relative paths may name the same run in different ways.
        if recipe.init_from is not None:
            origin = real_path(recipe.init_from)
        decoder: object = None
        if recipe.init_decoder_from is not None:
            decoder = real_path(recipe.init_decoder_from)
        origins.setdefault((origin, decoder), member)
    if len(origins) == 1:
        return []
    places = " and ".join(str(member.path) for member in origins.values())
    options = "--seed, --init-from, --init-decoder-from"
    return [
        f"{places} began with different weights ({options}): their mean is hardly a good model"
    ]


def _same_model(first: Checkpoint, second: Checkpoint) -> bool:
    """Return whether two checkpoints have the same architecture, languages and training streams.

    Streams are the same if their names, datasets, objectives and labels are. Settings that no weight depends
    on, such as dropout, may differ.
    """
    first_model, second_model = (
        to_dict(first.recipe.model),
        to_dict(second.recipe.model),
    )
    same_shape = all(
        first_model[field] == second_model[field] for field in ARCHITECTURE_FIELDS
    )
    same_languages = first.state.languages == second.state.languages
    return same_shape and same_languages and _objectives(first) == _objectives(second)


def _objectives(member: Checkpoint) -> dict[str, tuple[object, ...]]:
    """Return by training stream its dataset, its objective's name and what the outputs of its head mean.

    The last are the labels, the scale of numbers, and the layers of the head. If they or the order of labels
    differ, weights of the same shape have different meanings.
    """
    objectives = {}
    for name, stream in member.recipe.stream.items():
        options = stream.objective
        meaning: list[object] = []
        if isinstance(options, ClassifyOptions | TagOptions):
            meaning += options.labels
        if isinstance(options, RegressOptions):
            meaning += [options.low, options.high]
        if isinstance(options, TableOptions):
            meaning.append(options.head)
        objectives[name] = (stream.dataset, options.name, *meaning)
    return objectives


def _mean(
    checkpoints: Sequence[Checkpoint], read: Callable[[Checkpoint], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Return the mean of each tensor over all checkpoints, by name and in the tensor's own dtype.

    `read` returns the tensors of a checkpoint by name. Besides the sums, the tensors of at most two
    checkpoints are in memory at a time. Raises MasscliError if the tensors of two checkpoints differ in
    their names or shapes.
    """
    sums: dict[str, Tensor] = {}
    dtypes: dict[str, torch.dtype] = {}
    for number, member in enumerate(checkpoints):
        tensors = read(member)
        if number == 0:
            dtypes = {name: tensor.dtype for name, tensor in tensors.items()}
            # In float64, so that the order of the checkpoints hardly matters.
            sums = {
                name: torch.zeros_like(tensor, dtype=torch.float64)
                for name, tensor in tensors.items()
            }
        # Heads of tasks with different labels differ in shape even if the streams have the same names.
        if _shapes(tensors) != _shapes(sums):
            raise _not_the_same_model(member, checkpoints[0])
        for name, tensor in tensors.items():
            sums[name] += tensor
    count = len(checkpoints)
    return {name: (total / count).to(dtypes[name]) for name, total in sums.items()}


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shape of each tensor by its name."""
    return {name: tensor.shape for name, tensor in tensors.items()}


def _not_the_same_model(other: Checkpoint, first: Checkpoint) -> MasscliError:
    """Return, without raising it, the error for a checkpoint `other` of another model than `first`."""
    return MasscliError(
        f"{other.path}: is not the same model as {first.path}",
        "average checkpoints of one run",
    )
