"""Build the objectives of a run, and its training streams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.core.schedule import parse_schedule
from masscli.data.batches.dataset import SPECIAL_TOKENS, Dataset, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.registry import objective_class
from masscli.objectives.shared.evaluable_objective import EvaluableObjective
from masscli.text.resegmentation import Resegmenter
from masscli.training.recipe import Recipe
from masscli.training.setup.run_context import RunContext
from masscli.training.stream import Stream


def build_objectives(recipe: Recipe, framing: Framing) -> dict[str, Objective]:
    """Return a new objective for each training stream, by the name of the stream.

    Raises MasscliError if there are several streams, and one of them has an objective that must be the only
    one.
    """
    objectives = {}
    for name, stream in recipe.stream.items():
        cls = cast(Any, objective_class(stream.objective.name))
        objective = cls(
            stream.objective, ObjectiveContext(framing, recipe.model, stream.dataset)
        )
        assert isinstance(objective, Objective)
        objectives[name] = objective
    for name, objective in objectives.items():
        if objective.exclusive and len(objectives) > 1:
            raise MasscliError(
                f"stream {name}: must be the only stream, but there are {len(objectives)}",
                "choose one language with --langs",
            )
    return objectives


def restore_objectives(
    objectives: Mapping[str, Objective], checkpoint: Checkpoint
) -> None:
    """Load the parameters of the objectives, which are given by stream, from a checkpoint."""
    for name, objective in objectives.items():
        checkpoint.restore_objective(name, objective)


class SideLimit(NamedTuple):
    """The largest length of one side of an example, in tokens, and the positions of the stack that reads it.

    The length counts a symbol at both ends, even if the model reads only one of the two.
    """

    length: int
    positions: int


def build_stream(
    name: str,
    recipe: Recipe,
    objective: Objective,
    context: RunContext,
    framing: Framing,
) -> Stream:
    """Return the training stream called `name`, with its examples and the sampler of its batches.

    The objective also reads the statistics that it needs from the data.
    """
    config = recipe.stream[name]
    data = context.open_data(config.data_dir)
    # Some corruptions depend on counts of the data, such as those of words.
    objective.read_statistics(data)
    dataset, collator = objective.dataset(data, "train", config.max_examples)
    limits = _training_limits(recipe, side_limits(recipe, framing, name, dataset))
    piece_length = config.objective.max_example_length(framing.prefix_length)
    if isinstance(objective, EvaluableObjective):
        # Labeled examples are truncated to fit, not left out.
        limits = limits._replace(
            max_lengths=(), shortening_options="the lengths of the task"
        )
    elif piece_length is not None:
        option, _ = piece_length
        limits = limits._replace(shortening_options=f"--{option.replace('_', '-')}")
    resegmenter = _resegmenter(name, recipe, dataset, data, framing)
    batch_builder = BatchBuilder(name, dataset, collator, recipe.seed, resegmenter)
    sampler = BatchSampler(
        len(dataset),
        dataset.sizes,
        limits,
        recipe.seed,
        name,
        batch_lengths=objective.batch_lengths,
    )
    loss_weight = parse_schedule(config.loss_weight)
    return Stream(
        name, objective, batch_builder, sampler, config.sampling_weight, loss_weight
    )


def _resegmenter(
    name: str, recipe: Recipe, dataset: Dataset, data: DataFolder, framing: Framing
) -> Resegmenter | None:
    """Return the object that splits words differently each time they are read, or None.

    It is None without --bpe-dropout and --unigram-alpha. Raises MasscliError if the stream does not read
    sentences, or if the vocabulary is not of the kind that the option needs.
    """
    train = recipe.train
    if not train.bpe_dropout and train.unigram_alpha is None:
        return None
    if not isinstance(dataset, LineDataset):
        option = "--bpe-dropout" if train.bpe_dropout else "--unigram-alpha"
        raise MasscliError(
            f"{option}: {name} does not read sentences or pairs of sentences, or it aligns their pieces",
            "leave it out",
        )
    # There may be more pieces than before, for which the model must still have positions.
    longest = (
        min(model_lengths(recipe, framing)) - SPECIAL_TOKENS - dataset.extra_tokens
    )
    if train.unigram_alpha is not None:
        return data.tokenizer().unigram_sampling(train.unigram_alpha, longest)
    return data.tokenizer().bpe_dropout(train.bpe_dropout, longest)


def model_lengths(recipe: Recipe, framing: Framing) -> tuple[int, int]:
    """Return the longest source and the longest target, in tokens, for which the model has positions.

    A length counts a symbol at both ends, even if the model reads only one of the two.
    """
    model = recipe.model
    source = model.max_positions + 2 - framing.prefix_length - framing.suffix_length
    return source, model.max_target_positions + 2 - framing.target_prefix_length


def side_limits(
    recipe: Recipe, framing: Framing, name: str, dataset: Dataset
) -> tuple[SideLimit, ...]:
    """Return the model's length limit for each side of an example in the stream called `name`.

    Examples have one side or two, source and target; `dataset` is that of the stream.
    """
    source_length, target_length = model_lengths(recipe, framing)
    source = SideLimit(source_length, recipe.model.max_positions)
    target = SideLimit(target_length, recipe.model.max_target_positions)
    if dataset.sizes(0, 1).shape[1] > 1:
        return source, target
    # A text that is not a pair is read by the encoder, written by the decoder, or both.
    stacks = recipe.stream[name].objective.stacks
    if stacks == "decoder":
        return (target,)
    if stacks == "encoder-decoder":
        return (min(source, target),)
    return (source,)


def _training_limits(recipe: Recipe, sides: Sequence[SideLimit]) -> BatchLimits:
    """Return the limits on the size of a micro-batch and on the length of a training example.

    The latter are, for each side, the lower one of that in the options and that of the model in `sides`.
    """
    train = recipe.train
    # The user may allow less than the model has positions for.
    allowed = (train.max_source_positions, train.max_target_positions)
    max_lengths = tuple(
        min(most, side.length) for most, side in zip(allowed, sides, strict=False)
    )
    return BatchLimits(
        train.max_tokens,
        train.batch_size,
        max_lengths,
        train.batch_size_multiple,
        train.length_multiple,
    )
