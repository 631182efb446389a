"""Choose the training streams of a run: from the flags of a command, or from the tables of its recipe.

A stream is a dataset with an objective (see masscli/training/recipe.py). This module does not depend on the
architecture of the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from masscli.core.config import ConfigError, from_dict, is_changed, iter_options
from masscli.core.errors import MasscliError
from masscli.objectives.registry import OBJECTIVES, ObjectiveConfig, objective_class
from masscli.objectives.shared.evaluable_objective import EvaluableObjective
from masscli.objectives.stream_selection import StreamSelection
from masscli.training.recipe import StreamConfig
from masscli.training.setup.request import (
    AuxiliaryObjective,
    TrainRequest,
    parse_weighted,
)
from masscli.training.setup.run_context import RunContext

Streams = dict[str, StreamConfig]
STREAM_HINT = (
    "every stream of a recipe has a dataset and an objective with a name; the streams that --objective or "
    "--task makes are changed by flags, and not with --set stream..."
)
"""What to do about a stream that lacks something: --set may have named one that is in no recipe."""


def select_streams(request: TrainRequest, context: RunContext) -> Streams:
    """Return the training streams of a command by name, from the tables of its recipe or else from its flags.

    Raises MasscliError if the command is ambiguous, or if the data do not have what it needs.
    """
    if request.stream_tables:
        streams = _streams_of_recipe(request)
    else:
        streams = _streams_of_flags(request, context)
    for name, stream in streams.items():
        data = context.open_data(stream.data_dir)
        stream.objective.input_kind.check(name, stream.dataset, stream.objective, data)
    # The flag overrides the tables of a recipe.
    max_examples = request.selection.max_examples
    if max_examples is None:
        return streams
    limited = {}
    for name, stream in streams.items():
        limited[name] = replace(stream, max_examples=max_examples)
    return limited


def fill_from_data(streams: Streams, context: RunContext) -> Streams:
    """Return the streams with those options filled in that follow from their tables of training examples.

    These are for example the labels, the columns and the language of a task. Streams that do not read a table
    stay as they are.
    """
    filled = {}
    for name, stream in streams.items():
        objective = stream.objective
        if objective.input_kind.is_table:
            # Labels, columns and languages of a task are read from its training examples.
            task = cast(type[EvaluableObjective], objective_class(objective.name))
            objective = task.fill_from_data(
                objective, context.open_data(stream.data_dir), stream.dataset
            )
        filled[name] = replace(stream, objective=objective)
    return filled


def _streams_of_recipe(request: TrainRequest) -> Streams:
    """Return the streams that a recipe lists; flags of objectives override what its tables say.

    Raises MasscliError if flags choose other streams, or if the command names another objective.
    """
    _refuse_selection(request.selection)
    # Report errors in the tables themselves before any values in them are replaced.
    try:
        from_dict(_StreamTables, {"stream": request.stream_tables})
    except ConfigError as error:
        is_incomplete = any(problem.message == "required" for problem in error.problems)
        raise ConfigError(
            *error.problems, hint=STREAM_HINT if is_incomplete else error.hint
        ) from None
    tables = {
        name: _lay_flags_over(table, request)
        for name, table in request.stream_tables.items()
    }
    streams = from_dict(_StreamTables, {"stream": tables}).stream
    # --objective together with a recipe is accepted if it is the only objective of the recipe.
    names = {stream.objective.name for stream in streams.values()}
    if request.objective is not None and names != {request.objective}:
        raise MasscliError(
            f"the recipe trains {', '.join(sorted(names))}, not {request.objective}",
            "leave the recipe out, or the objective, or change its [stream] tables",
        )
    return streams


def _refuse_selection(selection: StreamSelection) -> None:
    """Raise MasscliError if a flag chooses streams, except --max-examples, which holds for all streams."""
    for option in iter_options(StreamSelection):
        # A value that equals the default chooses nothing.
        if is_changed(selection, option.key) and option.key != "max_examples":
            raise MasscliError(
                f"--{option.key.replace('_', '-')} chooses streams, and the recipe has its own",
                "change its [stream] tables, or leave --config and --set stream... out",
            )


def _lay_flags_over(table: Mapping[str, Any], request: TrainRequest) -> dict[str, Any]:
    """Return a copy of a [stream] table in which flags override the options of its objective."""
    objective = dict(table["objective"])
    return {
        **table,
        "objective": {**objective, **request.options_for(objective["name"])},
    }


def _streams_of_flags(request: TrainRequest, context: RunContext) -> Streams:
    """Return the streams of the main objective, followed by those of the objectives in --auxiliary.

    Raises MasscliError if no objective is given, or if the flags contradict one another.
    """
    name = request.objective
    selection = request.selection
    if name is None:
        raise MasscliError(
            "no objective is given",
            "add --objective mass, --task translate, ... or a recipe with --config",
        )
    objective = _read_objective(name, request)
    datasets = objective.input_kind.select_datasets(objective, selection, context.data)
    _check_directions(selection)
    streams = {}
    for dataset in datasets:
        stream = StreamConfig(dataset=dataset, objective=objective)
        streams[f"{_short_name(name)}-{dataset}"] = _with_sampling_weight(
            stream, selection, context
        )
    total = sum(stream.sampling_weight for stream in streams.values())
    for auxiliary in parse_weighted(selection.auxiliary):
        for key, stream in _auxiliary_streams(
            auxiliary, datasets, total, request, context
        ).items():
            if key in streams:
                raise MasscliError(
                    f"--auxiliary {auxiliary.name}: there is a stream {key} already",
                    "name each objective once; folders must have different names",
                )
            streams[key] = stream
    return streams


def _auxiliary_streams(
    auxiliary: AuxiliaryObjective,
    datasets: Sequence[str],
    total_weight: float,
    request: TrainRequest,
    context: RunContext,
) -> Streams:
    """Return the streams of one item of --auxiliary, by name.

    `datasets` are those of the main streams, and `total_weight` is the sum of the main sampling weights. The
    sampling weights of the returned streams have the same sum.
    """
    objective = _read_objective(auxiliary.name, request)
    data = context.open_data(auxiliary.data_dir)
    prefix = _short_name(auxiliary.name)
    if auxiliary.data_dir is not None:
        # The same objective may read several folders, so the name of the folder tells the streams apart.
        prefix += f"-{auxiliary.data_dir.resolve().name}"
    chosen = objective.input_kind.auxiliary_datasets(
        auxiliary.name, datasets, data, auxiliary.data_dir is not None
    )
    streams = {}
    for dataset in chosen:
        try:
            stream = StreamConfig(
                dataset=dataset,
                objective=objective,
                data_dir=auxiliary.data_dir,
                loss_weight=auxiliary.loss_weight,
            )
        except ConfigError as error:
            # Of these settings, the user has written only the weight.
            raise MasscliError(
                f"--auxiliary {auxiliary.name}: {error.problems[0].message}",
                "write a weight, or a schedule such as 0:1,1000:0.1",
            ) from None
        streams[f"{prefix}-{dataset}"] = _with_sampling_weight(
            stream, request.selection, context
        )
    # The weights keep their proportions, and are scaled to the sum of those of the main streams.
    auxiliary_weight = sum(stream.sampling_weight for stream in streams.values())
    rescaled = {}
    for key, stream in streams.items():
        weight = stream.sampling_weight * total_weight / auxiliary_weight
        rescaled[key] = replace(stream, sampling_weight=weight)
    return rescaled


def _with_sampling_weight(
    stream: StreamConfig, selection: StreamSelection, context: RunContext
) -> StreamConfig:
    """Return the stream with a sampling weight that follows from the size of its dataset.

    The weight is the number of training examples to the power of 1 / temperature (--lang-temperature). It is
    1 for objectives whose streams are sampled equally often.
    """
    data = context.open_data(stream.data_dir)
    objective = stream.objective
    examples = 1
    if objective.input_kind.sampled_by_size:
        # The dataset must exist before its examples are counted; the other checks of streams come later.
        objective.input_kind.check(stream.dataset, stream.dataset, objective, data)
        examples = max(
            1, objective.input_kind.num_training_examples(stream.dataset, data)
        )
        # Examples beyond the limit are never read, so they do not count.
        if selection.max_examples is not None:
            examples = min(examples, selection.max_examples)
    return replace(
        stream, sampling_weight=float(examples ** (1 / selection.lang_temperature))
    )


def _read_objective(name: str, request: TrainRequest) -> ObjectiveConfig:
    """Return the options of the objective called `name`, from flags or else by default."""
    return from_dict(OBJECTIVES.load(name), {"name": name, **request.options_for(name)})


def _check_directions(selection: StreamSelection) -> None:
    """Raise MasscliError if --pairs, --langs and -s, -t contradict one another."""
    named = {
        language
        for language in (selection.source_lang, selection.target_lang)
        if language is not None
    }
    languages = set(selection.langs)
    if selection.pairs:
        in_pairs = set("-".join(selection.pairs).split("-"))
        if named or (languages and languages != in_pairs):
            raise MasscliError(
                f"--pairs {','.join(selection.pairs)} names the directions, and so do -s, -t and --langs",
                "give one of them",
            )
    if named and languages and not named <= languages:
        raise MasscliError(
            f"--langs {','.join(selection.langs)} and -s, -t ({', '.join(sorted(named))}) differ",
            "give one of them",
        )


def _short_name(objective: str) -> str:
    """Return the short name of an objective; for `module:Class` this is the class in lower case."""
    return objective.rpartition(":")[2].lower()


@dataclass(frozen=True)
class _StreamTables:
    """The [stream] tables of a recipe as a section of their own, so that they can be parsed separately."""

    stream: dict[str, StreamConfig]
