"""Which streams a training command chooses: by its flags, or in the recipe that it names.  Nothing is known here of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.registry import OBJECTIVES, ObjectiveConfig, objective_class
from masscli.objectives.shared.finetuning_base import EvaluableObjective
from masscli.training.recipe import StreamConfig
from masscli.training.setup.data_sources import open_data
from masscli.training.setup.unused_options import Given


class Request(Given, Protocol):
    """A training command as it was typed (`masscli.cli.training_request.TrainRequest`)."""

    @property
    def objective(self) -> str | None: ...
    @property
    def langs(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str | None: ...
    @property
    def target(self) -> str | None: ...
    @property
    def pairs(self) -> tuple[str, ...]: ...
    @property
    def auxiliary(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def tables(self) -> tuple[str, ...]: ...
    @property
    def temperature(self) -> float: ...
    @property
    def max_examples(self) -> int | None: ...
    def options_of(self, objective: str) -> dict[str, Any]: ...


def select_streams(request: Request, data: DataFolder) -> dict[str, StreamConfig]:
    """The streams by name.  Raises MasscliError where the command is not clear, or the data have not what it needs."""
    streams = _written(request) if request.streams_raw else _by_flags(request, data)
    for name, stream in streams.items():
        own_data = open_data(stream.data_dir, data)
        stream.objective.input_kind.check(name, stream.dataset, stream.objective, own_data)
    if request.max_examples is not None:
        streams = {name: replace(s, max_examples=request.max_examples) for name, s in streams.items()}
    return streams


def _written(request: Request) -> dict[str, StreamConfig]:
    """The streams of a recipe, with the options of objectives that were given by flags; what would need other streams is refused."""
    foreign = {
        "--auxiliary": request.auxiliary, "--langs": request.langs, "-s": request.source, "-t": request.target, "--pairs": request.pairs,
        "--table": request.tables, "--lang-temperature": request.temperature != 1.0,
    }  # fmt: skip
    if given := [flag for flag, value in foreign.items() if value]:
        raise MasscliError(
            f"{given[0]} chooses streams, and the recipe has its own",
            "change its [stream] tables, or leave --config out",
        )
    from_dict(
        _Streams, {"stream": request.streams_raw}
    )  # complain of their form before anything is laid over them
    known = {name: _override(raw, request) for name, raw in request.streams_raw.items()}
    streams = from_dict(_Streams, {"stream": known}).stream
    names = {s.objective.name for s in streams.values()}
    if request.objective is not None and names != {request.objective}:
        raise MasscliError(f"the recipe learns {', '.join(sorted(names))}, not {request.objective}",
                           "leave the recipe out, or the objective, or change its [stream] tables")  # fmt: skip
    return streams


def _override(raw: Mapping[str, Any], request: Request) -> dict[str, Any]:
    objective = dict(raw.get("objective", {}))
    given = request.options_of(objective["name"]) if isinstance(objective.get("name"), str) else {}
    return {**raw, "objective": {**objective, **given}}


def _by_flags(request: Request, data: DataFolder) -> dict[str, StreamConfig]:
    if request.objective is None:
        raise MasscliError(
            "nothing says what to learn",
            "add --objective mass, --task translate, ... or a recipe with --config",
        )
    name = request.objective
    schema = OBJECTIVES.load(name)
    objective = from_dict(schema, {"name": name, **request.options_of(name)})
    short = name.rpartition(":")[2].lower()
    datasets = objective.input_kind.select_datasets(objective, request, data)
    _check_directions(request)
    streams = _named(short, datasets, objective, "1", request, data)
    by_size = objective.input_kind.sampled_by_size
    if request.temperature != 1 and not (by_size and len(datasets) > 1) and not request.auxiliary:
        reason = (
            f"{short} has one text" if by_size else "directions of back-translation are drawn equally often"
        )
        raise MasscliError(f"--lang-temperature {request.temperature}: {reason}", "leave it out")
    share = sum(s.sampling_weight for s in streams.values())
    for other, weight in request.auxiliary:
        more = _beside(other, weight, datasets, share, request, data)
        if twice := next((key for key in more if key in streams), None):
            raise MasscliError(f"--auxiliary {other}: there is a stream {twice} already",
                               "name an objective once; folders of one name must be given another")  # fmt: skip
        streams |= more
    return streams


def _check_directions(request: Request) -> None:
    """Two ways to name them may not say different things."""
    named = {side for side in (request.source, request.target) if side is not None}
    sides = {side for pair in request.pairs for side in pair.split("-")}
    if request.pairs and (named or (request.langs and sides != set(request.langs))):
        raise MasscliError(
            f"--pairs {','.join(request.pairs)} names the directions, and so do -s, -t and --langs",
            "give one of them",
        )
    if named and request.langs and not named <= set(request.langs):
        raise MasscliError(
            f"--langs {','.join(request.langs)} and -s, -t ({', '.join(sorted(named))}) differ",
            "give one of them",
        )


def _named(
    short: str,
    texts: Sequence[str],
    objective: ObjectiveConfig,
    weight: str,
    request: Request,
    data: DataFolder,
) -> dict[str, StreamConfig]:
    """A stream for each text, drawn by its size; the directions of back-translation equally often, as XLM and MASS have them: a model is
    to write its smaller language, too."""
    kind = objective.input_kind
    sizes = []
    for text in texts:
        size = 1
        if kind.sampled_by_size:
            kind.check(text, text, objective, data)
            size = max(1, kind.num_training_examples(text, data))
            size = size if request.max_examples is None else min(size, request.max_examples)
        sizes.append(size)
    return {
        f"{short}-{text}": StreamConfig(
            dataset=text,
            objective=objective,
            loss_weight=weight,
            sampling_weight=float(size ** (1 / request.temperature)),
        )
        for text, size in zip(texts, sizes, strict=True)
    }


def _beside(
    name: str, weight: str, texts: Sequence[str], share: float, request: Request, data: DataFolder
) -> dict[str, StreamConfig]:
    """The streams of --auxiliary NAME=WEIGHT or NAME@FOLDER=WEIGHT, on the languages of the main ones; all of them are drawn as often as all
    of those."""
    name, at, folder = name.partition("@")
    if at and not folder:
        raise MasscliError(
            f"--auxiliary {name}@: names no folder", f"write {name}@FOLDER, or {name} for the run's own data"
        )
    own_data = Path(folder) if folder else None
    data = open_data(own_data, data)
    objective = from_dict(OBJECTIVES.load(name), {"name": name, **request.options_of(name)})
    found = objective.input_kind.auxiliary_datasets(name, texts, data, own_data is not None)
    short = name.rpartition(":")[2].lower()
    streams = _named(
        f"{short}-{own_data.resolve().name}" if own_data else short, found, objective, weight, request, data
    )
    total = sum(s.sampling_weight for s in streams.values())
    return {
        key: replace(s, sampling_weight=s.sampling_weight * share / total, data_dir=own_data)
        for key, s in streams.items()
    }


def fill_from_data(stream: StreamConfig, data: DataFolder) -> ObjectiveConfig:
    """The objective's options with what follows from the data filled in."""
    if not stream.objective.input_kind.is_table:
        return stream.objective
    objective = cast(type[EvaluableObjective], objective_class(stream.objective.name))
    return cast(ObjectiveConfig, objective.fill_from_data(stream.objective, data, stream.dataset))


@dataclass(frozen=True)
class _Streams:
    stream: dict[str, StreamConfig]
