"""Notes for the user about the data of a run, and about settings that follow from others."""

from __future__ import annotations

from collections.abc import Sequence

from masscli.checkpoint.convert.matching_family import find_export_obstacle
from masscli.core import distributed
from masscli.core.listing import count_of
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.dictionary import unusable_entries
from masscli.objectives.shared.evaluable_objective import EvaluableObjective
from masscli.objectives.shared.options import CodeSwitchingOptions
from masscli.training.config import TrainConfig
from masscli.training.recipe import Recipe
from masscli.training.setup.build_streams import side_limits
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


def note_waiting_processes(update_freq: int) -> list[str]:
    """Return a warning if the micro-batches of an update cannot keep all processes busy; else an empty list.

    `update_freq` is their number, over all processes.
    """
    processes = distributed.world_size
    if update_freq % processes == 0:
        return []
    micro_batches = count_of(update_freq, "micro-batch", "micro-batches")
    return [
        f"warning: an update of this run has {micro_batches} in all, so that some of the "
        f"{processes} processes wait for the others: set --update-freq to a multiple of {processes} (with "
        "--accept-changes if the run goes on)"
    ]


def note_untrained_streams(streams: Sequence[Stream]) -> list[str]:
    """Return a warning for each stream whose loss weight is 0 in the whole run: it is validated at most."""
    return [
        f"warning: {stream.name} is never trained: its loss weight is 0"
        for stream in streams
        if stream.loss_weight.zero_from() == 0
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
