"""Prepare the folder of a run, open its checkpoints, and check that the run in it may be continued."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from masscli.checkpoint import saving
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.run_state import RunState
from masscli.core import distributed
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError, cannot_be_written
from masscli.core.listing import list_some
from masscli.training.recipe import Recipe
from masscli.training.setup.run_context import RunCheckpoints, RunContext
from masscli.training.validation import lower_is_better

CHANGEABLE = {
    "data",
    "save_dir",
    "init_from",
    "init_stacks",
    "init_decoder_from",
    "init_vectors",
    "checkpoint",
    "valid",
    "optim.decay_updates",
    "optim.decay_shape",
    "train.stop_min_lr",
    "train.max_update",
    "train.max_epoch",
    "train.stop_time_hours",
    "train.compile",
    "train.checkpoint_activations",
    "train.shard_model",
    "train.device",
    "train.num_workers",
    "train.log_interval",
    "train.update_freq",
    "train.threads",
    "train.process_timeout",
    "train.min_loss_scale",
    "train.tensorboard_logdir",
    "train.wandb_project",
    "train.event_sinks",
}
"""Sections and dotted keys of a recipe that may differ when a run is continued. Any other change would
make it a different run."""

ACCEPTABLE = {
    "optim.lr",
    "optim.clip_norm",
    "optim.lr_scheduler",
    "optim.warmup_updates",
    "optim.warmup_init_lr",
    "optim.end_lr",
    "optim.lr_shrink",
    "optim.lr_patience",
    "optim.lr_threshold",
    "model.dropout",
    "model.attention_dropout",
    "model.activation_dropout",
    "train.max_tokens",
    "train.batch_size",
    "train.batch_size_multiple",
}
"""Dotted keys of a recipe that may differ when a run is continued with --accept-changes."""

NEEDED_SPACE = 64 * 2**20
"""Bytes that must be free on the disk with the folder of the run."""

NAMED_CHANGES = 4
"""Number of changed options that an error names; it counts the others."""

NEW_RUN = (
    "start another run with --save-dir, or begin from its weights with --init-from"
)


def prepare_folder(save_dir: Path) -> None:
    """Create the folder of a run, and remove incomplete checkpoints that a killed process has left in it.

    Folders in the place of its links become links. Raises MasscliError if the folder cannot be made, if the
    disk is nearly full, or if there is something else in the place of a link.
    """
    try:
        (save_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_be_written(
            str(save_dir), error, "choose another folder with --save-dir"
        ) from None
    # It is better to fail now than at the first checkpoint.
    if shutil.disk_usage(save_dir).free < NEEDED_SPACE:
        raise MasscliError(
            f"{save_dir}: less than {NEEDED_SPACE // 2**20} MiB are free",
            "make room, or choose another disk with --save-dir",
        )
    if distributed.rank == 0:
        saving.remove_partial_saves(save_dir)
        saving.remove_copied_links(save_dir / "checkpoints")


def open_checkpoints(
    save_dir: Path, context: RunContext, device: torch.device
) -> RunCheckpoints:
    """Open the checkpoints of the run in `save_dir`. All processes must call this together.

    Raises MasscliError if the processes would not continue from the same checkpoint, or if all are damaged.
    """
    # Every process must see the same checkpoints, so none looks before the first one has cleaned up.
    distributed.barrier()
    checkpoints = context.run_checkpoints(save_dir)
    step = max(checkpoints.by_step, default=-1)
    # A damaged file on the disk of one machine would let its processes continue from another checkpoint.
    first = int(distributed.broadcast(torch.tensor(step, device=device)))
    differing = distributed.all_reduce_sum(
        torch.tensor(int(step != first), device=device)
    )
    if int(differing):
        raise MasscliError(
            f"{save_dir}: the processes see different checkpoints; the last one here is of update {step}",
            "is the folder the same on all machines? copy its checkpoints again",
        )
    return checkpoints


def note_damage(checkpoints: RunCheckpoints) -> list[str]:
    """Return a warning for each damaged checkpoint."""
    return [
        f"warning: {damage}; this checkpoint is not used"
        for damage in checkpoints.damage
    ]


def check_same_run(
    recipe: Recipe, last: Checkpoint, context: RunContext, accept_changes: bool
) -> list[str]:
    """Raise MasscliError if a run must not be continued with this recipe; else return notes about changes.

    `last` is the checkpoint to continue from. Vocabulary, training data, streams and settings must be the
    same, except for settings that may change freely. With `accept_changes`, those in `ACCEPTABLE` may change
    too, and each such change gets a note.
    """
    if last.state.vocab_fingerprint != context.data.vocab.fingerprint:
        raise MasscliError(
            f"{last.path}: the run was made with a different vocabulary from {recipe.data}",
            "continue it with its own data, or start another run with --save-dir",
        )
    stored_data = last.state.data_fingerprint
    # An imported run has no fingerprint of its data.
    if stored_data and stored_data != context.data_fingerprint(recipe.stream):
        raise MasscliError(
            f"{last.path}: the run was trained on different text from what is in {recipe.data} now",
            NEW_RUN,
        )
    # The order matters, too: the first stream defines an epoch.
    before = list(last.recipe.stream)
    now = list(recipe.stream)
    if before != now:
        raise MasscliError(
            f"{recipe.save_dir}: holds a run of {', '.join(before)}, not of {', '.join(now)}",
            NEW_RUN,
        )
    # Compared as plain data, so that the error can name keys of the recipe.
    old = _flatten(to_dict(last.recipe))
    new = _flatten(to_dict(recipe))
    changes = {}
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and not _is_changeable(key, recipe):
            changes[key] = f"{key} is {new.get(key)}, was {old.get(key)}"
    acceptable = changes.keys() <= ACCEPTABLE
    if acceptable and accept_changes:
        return list(changes.values())
    if changes:
        hint = (
            f"add --accept-changes to go on with it, or {NEW_RUN}"
            if acceptable
            else f"repeat its options to go on, as --config {recipe.save_dir} does; or {NEW_RUN}"
        )
        named = list_some(list(changes.values()), NAMED_CHANGES, "; ")
        raise MasscliError(
            f"{recipe.save_dir}: holds a run with another recipe ({named})",
            hint,
        )
    return []


def is_on_other_examples(
    state: RunState, recipe: Recipe, measured_on: Mapping[str, str]
) -> bool:
    """Return whether scores of --best-checkpoint-metric in a checkpoint are of other examples than new ones.

    `state` is that of the checkpoint, and `measured_on` has the fingerprints of the examples from now on, as
    in `RunState.valid_fingerprints`. Nothing is known of a checkpoint without any validation.
    """
    # The metrics of further splits begin with the name of the split.
    prefix, _, _ = recipe.checkpoint.best_metric.partition(".")
    if prefix not in measured_on:
        prefix = ""
    before = state.valid_fingerprints.get(prefix)
    return before is not None and before != measured_on.get(prefix)


def note_other_examples(
    state: RunState, recipe: Recipe, measured_on: Mapping[str, str]
) -> list[str]:
    """Return a note if a run with a best score is validated on other examples from now on; else nothing.

    `measured_on` is as for `is_on_other_examples`.
    """
    if state.best_score is None or not is_on_other_examples(state, recipe, measured_on):
        return []
    return [
        "validation is on other examples than so far, whose scores do not count any more for the best "
        "checkpoint and --patience"
    ]


def comparable_score(
    saved: Checkpoint, recipe: Recipe, measured_on: Mapping[str, str]
) -> float | None:
    """Return the value of --best-checkpoint-metric of a checkpoint, if new scores can be compared with it.

    Otherwise None is returned. `measured_on` is as for `is_on_other_examples`.
    """
    if is_on_other_examples(saved.state, recipe, measured_on):
        return None
    return saved.metrics.get(recipe.checkpoint.best_metric)


def repair_links(
    save_dir: Path,
    recipe: Recipe,
    last: Checkpoint,
    scores: Mapping[int, float | None],
    measured_on: Mapping[str, str],
) -> None:
    """Update the links `last` and `best` of a run, in case it was killed between a save and the links.

    `last` is the checkpoint to continue from. `scores` are the values of --best-checkpoint-metric by
    step, on the examples of `measured_on` (see `is_on_other_examples`). If the run had another metric or
    other examples before, the best score in `last.state` is replaced by the best of these, and the counts of
    validations without a better score are reset.
    """
    metric = recipe.checkpoint.best_metric
    ranked = saving.rank_steps(scores, lower_is_better(metric))
    is_another_metric = metric != last.recipe.checkpoint.best_metric
    # The stored best score is of another measurement, so patience is reset.
    if is_another_metric or is_on_other_examples(last.state, recipe, measured_on):
        last.state.best_score = scores[ranked[0]] if ranked else None
        last.state.validations_since_best = 0
        last.state.plateau_best = None
        last.state.plateau_validations = 0
    # Every process has corrected its state; the links are on a shared disk.
    if distributed.rank != 0:
        return
    folder = save_dir / "checkpoints"
    saving.link_checkpoint(folder, "last", last.path)
    if ranked:
        best = folder / saving.checkpoint_name(ranked[0])
        saving.link_checkpoint(folder, "best", best)


def _is_changeable(key: str, recipe: Recipe) -> bool:
    """Return whether the setting with this dotted key may change freely when a run is continued."""
    # A folder may have been moved; its contents have been compared by fingerprint.
    if key in [f"stream.{name}.data_dir" for name in recipe.stream]:
        return True
    section, _, _ = key.partition(".")
    return key in CHANGEABLE or section in CHANGEABLE


def _flatten(raw: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested plain data as one mapping with dotted keys, each of which begins with `prefix`."""
    flat: dict[str, Any] = {}
    for key, value in raw.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
