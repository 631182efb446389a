"""Check that what a run aims at can be reached: its schedule, its end, its measurements and its weights."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from masscli.core.config import suggest
from masscli.core.errors import MasscliError
from masscli.core.schedule import parse_schedule
from masscli.objectives.input_kinds import InputKind
from masscli.training.events import EVENT_SINKS
from masscli.training.recipe import Recipe, StreamConfig

ENDLESS_SCHEDULES = ("inverse_sqrt", "constant", "reduce_lr_on_plateau")
"""Learning-rate schedules that do not depend on the number of the last update."""


def check_goals(recipe: Recipe, streams: Mapping[str, StreamConfig]) -> None:
    """Raise MasscliError if event sinks, schedule, warm start, best metric or --eval-* do not fit the run."""
    _check_event_sinks(recipe)
    _check_schedule(recipe)
    _check_warm_start(recipe, streams)
    _check_best_metric(
        recipe, [stream.objective.input_kind for stream in streams.values()]
    )


def _check_event_sinks(recipe: Recipe) -> None:
    """Raise MasscliError if --event-sinks names one that is not installed."""
    known = list(EVENT_SINKS.names())
    for name in recipe.train.event_sinks:
        if name not in known:
            raise MasscliError(
                f"--event-sinks: no event sink called {name!r}{suggest(name, known)}"
            )


def _check_schedule(recipe: Recipe) -> None:
    """Raise MasscliError if the learning-rate schedule does not fit the number of updates."""
    schedule = recipe.optim.lr_scheduler
    max_update = recipe.train.max_update
    if schedule not in ENDLESS_SCHEDULES and max_update is None:
        raise MasscliError(
            f"--lr-scheduler {schedule} needs to know the last update",
            "add --max-update N",
        )
    decay = recipe.optim.decay_updates
    if schedule == "wsd" and decay is not None and decay > (max_update or 0):
        raise MasscliError(
            f"--decay-updates {decay} is more than --max-update {max_update}",
            "lower it",
        )


def _check_warm_start(recipe: Recipe, streams: Mapping[str, StreamConfig]) -> None:
    """Raise MasscliError if the warm start of the objectives does not fit the run.

    These are the first updates of a stream, in which its objective does not train the model.
    ELECTRA can train only its generator at first, and then copy its weights to the model. The run must be
    longer than that, and cannot be combined with --init-from, whose weights would be replaced.
    """
    # The model is trained as soon as one of the streams has passed its warm start.
    updates = min(stream.objective.warm_start_updates for stream in streams.values())
    last_update = recipe.train.max_update
    if last_update is not None and 0 < last_update <= updates:
        raise MasscliError(
            f"--max-update {last_update}: the model learns nothing before update {updates + 1}",
            "raise it",
        )
    # ELECTRA copies the weights of its generator after these updates.
    if updates and recipe.init_from:
        raise MasscliError(
            f"--init-from {recipe.init_from}: its weights would be replaced at update {updates}",
            "leave it out, or choose another --variant",
        )


def _check_best_metric(recipe: Recipe, input_kinds: Sequence[InputKind]) -> None:
    """Raise MasscliError if --best-metric names a metric for which an --eval-* option or a stream is missing.

    The metrics in question are bleu, rouge and roundtrip. This also refuses --eval-roundtrip without a stream
    of back-translation.
    """
    metric = recipe.checkpoint.best_metric
    valid = recipe.valid
    if metric == "bleu" and not valid.eval_bleu:
        raise MasscliError(
            "--best-metric bleu needs translations of the validation set",
            "add --eval-bleu",
        )
    if metric.rpartition(".")[2].startswith("rouge") and not valid.eval_rouge:
        raise MasscliError(
            f"--best-metric {metric} needs outputs of the validation set",
            "add --eval-rouge",
        )
    if metric == "bleu" and not any(kind.has_direction for kind in input_kinds):
        raise MasscliError(
            "--best-metric bleu needs a stream of pairs", "use --best-metric loss"
        )
    option = "--eval-roundtrip" if valid.eval_roundtrip else "--best-metric roundtrip"
    measures_roundtrip = valid.eval_roundtrip or metric == "roundtrip"
    if measures_roundtrip and not any(kind.makes_sources for kind in input_kinds):
        raise MasscliError(
            f"{option} needs a stream of back-translation",
            "add --auxiliary backtranslate, or train with --task backtranslate; else leave the option out",
        )
    if metric == "roundtrip" and not valid.eval_roundtrip:
        raise MasscliError(
            "--best-metric roundtrip needs translations of the validation set there and back",
            "add --eval-roundtrip",
        )


def check_rates(recipe: Recipe) -> None:
    """Raise MasscliError if --warmup-init-lr, --end-lr or --stop-min-lr is too high for the peak rate --lr.

    The first two must not be above it, since the rate rises to its peak and falls from there. At the third,
    which must be below it, the run ends. `recipe.optim.lr` must be filled in.
    """
    optim = recipe.optim
    # setup/compose.py has filled it in.
    assert optim.lr is not None
    starts_above_zero = optim.lr_scheduler in ("inverse_sqrt", "reduce_lr_on_plateau")
    if starts_above_zero and optim.warmup_updates and optim.warmup_init_lr > optim.lr:
        raise MasscliError(
            f"--warmup-init-lr {optim.warmup_init_lr:g} is above the peak --lr {optim.lr:g}",
            "lower it, or raise --lr",
        )
    if optim.end_lr > optim.lr:
        raise MasscliError(
            f"--end-lr {optim.end_lr:g} is above the peak --lr {optim.lr:g}",
            "lower it, or raise --lr",
        )
    lowest = recipe.train.stop_min_lr
    if lowest is not None and lowest >= optim.lr:
        raise MasscliError(
            f"--stop-min-lr {lowest:g} is not below the peak --lr {optim.lr:g}, where the run would end",
            "lower it, or leave it out",
        )


def check_end(recipe: Recipe) -> None:
    """Raise MasscliError if the run goes on where nothing is learned any more, or ends before validation.

    Nothing is learned where all loss weights are 0.
    """
    last_update = recipe.train.max_update or math.inf
    update = max(
        parse_schedule(stream.loss_weight).zero_from()
        for stream in recipe.stream.values()
    )
    if update < last_update:
        raise MasscliError(
            f"nothing is learned from update {update:.0f} on, where all loss weights are 0",
            "raise a weight, or lower --max-update",
        )
    valid = recipe.valid
    first = valid.validate_after_updates
    if not valid.disable_validation and first > last_update:
        raise MasscliError(
            f"--validate-after-updates {first} is above --max-update {last_update}, "
            "so that nothing would be validated",
            "lower it, or say so with --disable-validation",
        )
