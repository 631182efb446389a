"""Notes for the user about the learning rate of a run, where it is probably not what was meant."""

from __future__ import annotations

import math

from masscli.checkpoint.run_state import RunState
from masscli.core.listing import count_of
from masscli.training.config import OptimConfig
from masscli.training.learning_rate import learning_rate
from masscli.training.recipe import Recipe
from masscli.training.setup.compose import default_warmup
from masscli.training.setup.goals import ENDLESS_SCHEDULES
from masscli.training.stream import Stream

ENOUGH = 0.5
"""The share of --lr that a schedule whose decay counts from the first update should reach after the
warm-up."""
ALMOST = 0.05
"""The share of --lr by which the last learning rate may be above that of a finished schedule, without a
warning: the number of updates in some epochs is an estimate, and may be meant to be that of --max-update."""


def note_kept_warmup(recipe: Recipe, stored: Recipe) -> list[str]:
    """Return a note if a continued run keeps a default warm-up that belongs to an earlier --max-update.

    `stored` is the recipe of the run so far. The list is empty if the user chose the warm-up, or if the
    default is the same for the new --max-update.
    """
    kept = recipe.optim.warmup_updates
    fresh = default_warmup(recipe.train.max_update)
    # A warm-up that the user chose needs no note.
    if kept != default_warmup(stored.train.max_update) or kept == fresh:
        return []
    return [
        f"the warm-up stays at {kept} updates, as of the --max-update that the run began with; "
        f"a new --save-dir would take {fresh}"
    ]


def note_changed_rate(recipe: Recipe, stored: Recipe, state: RunState) -> list[str]:
    """Return a note if the options of a continued run change its learning rate at the present update.

    `stored` is the recipe of the run so far. A longer --max-update, for instance, raises the rate of a
    schedule that has fallen already. Changes of less than 1 % are not noted.
    """
    rates = []
    for options in (stored, recipe):
        last_update = options.train.max_update
        if last_update is None and options.optim.lr_scheduler not in ENDLESS_SCHEDULES:
            return []
        rates.append(
            learning_rate(options.optim, state.step, last_update, state.lr_factor)
        )
    before, now = rates
    # A rate that had fallen to 0 at the end of the run is the most common case.
    if abs(now - before) <= 0.01 * max(now, before):
        return []
    return [
        f"the learning rate continues with {now:.2e}; by the options so far it would be {before:.2e}"
    ]


def note_schedule(recipe: Recipe, first: Stream, state: RunState) -> list[str]:
    """Return a warning if the run ends before its learning rate has risen or fallen; else an empty list.

    `first` is the first stream, whose epochs count.
    """
    planned = recipe.train.max_update
    by_epochs = _updates_of_epochs(recipe, first, state)
    if by_epochs is not None and (planned is None or by_epochs < planned):
        return _note_epochs(recipe, by_epochs)
    if planned is None:
        return []
    return _note_peak(recipe.optim, planned)


def _updates_of_epochs(recipe: Recipe, first: Stream, state: RunState) -> int | None:
    """Return the approximate number of updates that --max-epoch epochs are, or None without it."""
    train = recipe.train
    if train.max_epoch is None:
        return None
    # The epochs are those of the first stream, which gives a share of the micro-batches.
    share = first.sampling_weight / sum(
        stream.sampling_weight for stream in recipe.stream.values()
    )
    batches = train.max_epoch * first.sampler.estimate_batches()
    # The list of micro-batches that completes the last epoch is read as a whole.
    return math.ceil(batches / (state.update_freq * share)) * train.batch_reuse


def _note_epochs(recipe: Recipe, updates: int) -> list[str]:
    """Return a warning if --max-epoch, which ends the run after `updates`, leaves the schedule unfinished.

    That is a warm-up of over a quarter of the run (its default does not take --max-epoch into account), or a
    decay up to a later --max-update of which more than the share ALMOST is left.
    """
    optim = recipe.optim
    warmup = optim.warmup_updates or 0
    epochs = f"warning: --max-epoch {recipe.train.max_epoch} is about {count_of(updates, 'update')}"
    if warmup > updates // 4:
        return [f"{epochs}, the warm-up takes {warmup}; set it with --warmup-updates"]
    planned = recipe.train.max_update
    if planned is None or optim.lr_scheduler in ENDLESS_SCHEDULES:
        return []
    # setup/compose.py has filled it in.
    assert optim.lr is not None
    last_rate = learning_rate(optim, updates, planned)
    if last_rate - learning_rate(optim, planned, planned) <= ALMOST * optim.lr:
        return []
    return [
        f"{epochs}, but --lr-scheduler {optim.lr_scheduler} ends at --max-update {planned}: "
        f"the last learning rate will be {last_rate:.2e}"
    ]


def _note_peak(optim: OptimConfig, updates: int) -> list[str]:
    """Return a warning if the warm-up leaves too little of a run of so many updates to its schedule.

    The decay of wsd may not have begun when the warm-up ends. Where a decay counts from the first update,
    --lr is never reached exactly, and a warning is returned if half of it is not.
    """
    # setup/compose.py has filled them in.
    assert optim.lr is not None and optim.warmup_updates is not None
    warmup = f"warning: --warmup-updates {optim.warmup_updates}"
    if optim.warmup_updates >= updates:
        return [
            f"{warmup} is not below --max-update {updates}: "
            f"the learning rate stays below --lr {optim.lr:g}"
        ]
    reached = learning_rate(optim, optim.warmup_updates, updates)
    needed = optim.lr if optim.lr_scheduler == "wsd" else optim.lr * ENOUGH
    if reached >= needed or math.isclose(reached, needed):
        return []
    return [
        f"{warmup} reaches into the decay of --lr-scheduler {optim.lr_scheduler}, which ends at --max-update "
        f"{updates}: after the warm-up the learning rate is {reached:.2e}, not --lr {optim.lr:g}"
    ]
