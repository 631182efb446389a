"""Notes for the user about the data of a run, and about settings that follow from others."""

from __future__ import annotations

from collections.abc import Sequence

from masscli.checkpoint.checkpoint import RunState
from masscli.checkpoint.convert.model_config import find_export_obstacle
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.dictionary import unusable_entries
from masscli.objectives.shared.evaluable_objective import EvaluableObjective
from masscli.objectives.shared.options import CodeSwitchingOptions
from masscli.training.config import TrainConfig
from masscli.training.learning_rate import learning_rate
from masscli.training.recipe import Recipe
from masscli.training.setup.build_streams import side_limits
from masscli.training.setup.compose import default_warmup
from masscli.training.setup.goals import ENDLESS_SCHEDULES
from masscli.training.stream import Stream
from masscli.training.validation import Validator


def note_export(recipe: Recipe) -> list[str]:
    """Return a note if the model has the preset of a published one, but cannot be exported like that one.

    Otherwise the list is empty.
    """
    obstacle = find_export_obstacle(recipe.model)
    if obstacle is None:
        return []
    return [
        f"this model of --arch {recipe.model.arch} cannot be exported to Hugging Face: {obstacle}"
    ]


def note_data(
    recipe: Recipe, streams: Sequence[Stream], data: DataFolder, framing: Framing
) -> list[str]:
    """Return notes about the data of the streams.

    These are the columns that tasks read, warnings of objectives, dictionary entries that cannot be used, and
    the number of examples that are left out.
    """
    notes = []
    for stream in streams:
        if (
            isinstance(stream.objective, EvaluableObjective)
            and stream.objective.columns
        ):
            notes.append(
                f"{stream.name}: reads the columns {', '.join(stream.objective.columns)}"
            )
        warnings = stream.objective.data_warnings(stream.batch_builder.dataset)
        notes += [f"{stream.name}: {warning}" for warning in warnings]
    notes += _note_dictionaries(recipe, data)
    notes += _note_lengths(recipe, framing, streams)
    return notes


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


def note_best_metric(recipe: Recipe, validator: Validator) -> list[str]:
    """Return a warning if the metric that decides which checkpoint is best can mislead; else an empty list.

    This is the loss of back-translation, if `validator` measures anything.
    """
    kinds = [stream.objective.input_kind for stream in recipe.stream.values()]
    back_translates = any(kind.makes_sources for kind in kinds)
    chooses_by_loss = bool(validator) and recipe.checkpoint.best_metric == "loss"
    if not (chooses_by_loss and back_translates):
        return []
    return [
        "the best checkpoint is chosen by the loss on sources that the model makes itself, "
        "which copying lowers; rather --eval-roundtrip --best-metric roundtrip"
    ]


def note_untrained_streams(streams: Sequence[Stream]) -> list[str]:
    """Return a warning for each stream whose loss weight is 0 in the whole run: it is validated at most."""
    return [
        f"warning: {stream.name} is never trained: its loss weight is 0"
        for stream in streams
        if stream.loss_weight.zero_from() == 0
    ]


def note_long_warmup(recipe: Recipe, first: Stream, state: RunState) -> list[str]:
    """Return a warning if the warm-up is too long for the run; else an empty list.

    A run with --max-update should be longer than the warm-up; a default warm-up is. The default does not take
    --max-epoch into account, so a warm-up of over a quarter of such a run is too long. `first` is the first
    stream, whose epochs count.
    """
    train = recipe.train
    warmup = recipe.optim.warmup_updates or 0
    if train.max_update is not None and warmup >= train.max_update:
        return [
            f"warning: --warmup-updates {warmup} is not below --max-update {train.max_update}: "
            f"the learning rate stays below --lr {recipe.optim.lr:g}"
        ]
    if train.max_update is not None or train.max_epoch is None or not warmup:
        return []
    # The epochs are those of the first stream, which gives a share of the micro-batches.
    share = first.sampling_weight / sum(
        stream.sampling_weight for stream in recipe.stream.values()
    )
    batches = train.max_epoch * first.sampler.estimate_batches() * train.batch_reuse
    updates = round(batches / (state.update_freq * share))
    if warmup <= updates // 4:
        return []
    return [
        f"warning: --max-epoch {train.max_epoch} is some {updates} updates, the warm-up takes {warmup}; "
        "set it with --warmup-updates"
    ]


def _note_dictionaries(recipe: Recipe, data: DataFolder) -> list[str]:
    """Return a note for each code-switching dictionary with entries that cannot be used.

    These are pairs with a word that is not a single piece of the vocabulary.
    """
    # Two streams may share a dictionary.
    paths = []
    for stream in recipe.stream.values():
        options = stream.objective
        if (
            isinstance(options, CodeSwitchingOptions)
            and options.switch_dictionary is not None
        ):
            paths.append(options.switch_dictionary)
    notes = []
    for path in dict.fromkeys(paths):
        note = unusable_entries(path, data)
        if note:
            notes.append(note)
    return notes


def _note_lengths(
    recipe: Recipe, framing: Framing, streams: Sequence[Stream]
) -> list[str]:
    """Return a note for each stream with training examples that are too long and left out.

    Also return one if --max-target-positions has no effect, because no example has a target side.
    """
    train = recipe.train
    notes = []
    max_sides = 1
    source_limit = f"--max-source-positions {train.max_source_positions}"
    target_limit = f"--max-target-positions {train.max_target_positions}"
    allowed = (train.max_source_positions, train.max_target_positions)
    for stream in streams:
        sides = side_limits(recipe, framing, stream.name, stream.batch_builder.dataset)
        max_sides = max(max_sides, len(sides))
        if stream.sampler.skipped:
            # The lower of two limits is the one to raise.
            limits = [source_limit, target_limit][: len(sides)]
            for number, (most, side) in enumerate(zip(allowed, sides, strict=False)):
                if most > side.length:
                    limits[number] = f"the model's {side.positions} positions"
            limit = " or ".join(dict.fromkeys(limits))
            notes.append(
                f"{stream.name}: {stream.sampler.skipped} of {stream.sampler.num_examples} examples "
                f"are longer than {limit} and are left out"
            )
    if (
        max_sides == 1
        and train.max_target_positions != TrainConfig().max_target_positions
    ):
        notes.append(
            f"{target_limit} bounds nothing: examples have one side, whose limit is --max-source-positions"
        )
    return notes
