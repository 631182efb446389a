"""Which streams a training command chooses: by its flags, or in the recipe that it names.  Nothing is known here of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol, cast

from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.registry import OBJECTIVES, ObjectiveConfig, objective_class
from masscli.objectives.shared.finetuning_base import Measured
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
        _check_text(name, stream, open_data(stream.data_dir, data))
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
    if request.tables and objective.input_kind != "table":
        raise MasscliError(f"--table: {name} does not learn from labelled examples", "leave it out")
    if objective.input_kind == "table":
        if request.source or request.target or request.pairs or request.langs:
            raise MasscliError(
                f"{name} reads a table of labelled examples",
                "choose it with --table, and its language with --language",
            )
        texts = list(request.tables) or [_table(name, objective, data)]
    elif objective.input_kind == "pairs":
        texts = list(request.pairs) or [f"{a}-{b}" for a, b in [_direction(request, data)]]
    elif objective.input_kind == "target":
        texts = _both_ways(request, data)
    else:
        if request.source or request.target or request.pairs:
            raise MasscliError(f"{name} reads one language at a time", "choose languages with --langs")
        texts = list(request.langs or data.languages)
    _check_directions(request)
    streams = _named(short, texts, objective, "1", request, data)
    if (
        request.temperature != 1
        and (len(texts) == 1 or objective.input_kind == "target")
        and not request.auxiliary
    ):
        why = (
            "directions of back-translation are drawn equally often"
            if objective.input_kind == "target"
            else f"{short} has one text"
        )
        raise MasscliError(f"--lang-temperature {request.temperature}: {why}", "leave it out")
    share = sum(s.sampling_weight for s in streams.values())
    for other, weight in request.auxiliary:
        more = _beside(other, weight, texts, share, request, data)
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
    sizes = [
        _rows(text, objective, data, request.max_examples) if objective.input_kind != "target" else 1
        for text in texts
    ]
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
    own = list(dict.fromkeys(side for text in texts for side in text.split("-")))
    if objective.input_kind == "pairs":
        wanted = [text for text in texts if "-" in text] or [f"{a}-{b}" for a, b in permutations(own, 2)]
        # In a folder of its own one side may be synthetic, and must not be learned to be written.
        known = {
            *data.pairs,
            *(() if own_data else ("-".join(reversed(pair.split("-"))) for pair in data.pairs)),
        }
        found = [text for text in wanted if text in known]
        if not found:
            raise MasscliError(
                f"--auxiliary {name}: {data.folder} has no pairs of {', '.join(own)}",
                "preprocess them with --trainpref",
            )
    elif objective.input_kind == "target":
        found = [f"{a}-{b}" for a, b in permutations(own, 2)]
    else:
        found = own
    short = name.rpartition(":")[2].lower()
    streams = _named(
        f"{short}-{own_data.resolve().name}" if own_data else short, found, objective, weight, request, data
    )
    total = sum(s.sampling_weight for s in streams.values())
    return {
        key: replace(s, sampling_weight=s.sampling_weight * share / total, data_dir=own_data)
        for key, s in streams.items()
    }


def _both_ways(request: Request, data: DataFolder) -> list[str]:
    """The directions of back-translation: those named, or all between the languages."""
    if request.pairs:
        return list(request.pairs)
    if request.source and request.target:
        return [f"{request.source}-{request.target}"]
    wanted = request.langs or data.languages
    if len(wanted) < 2:
        raise MasscliError(
            "back-translation goes between languages",
            f"add --langs; the data has {', '.join(data.languages)}",
        )
    return [f"{a}-{b}" for a, b in permutations(wanted, 2)]


def _direction(request: Request, data: DataFolder) -> tuple[str, str]:
    if request.source and request.target:
        return request.source, request.target
    if request.langs and not (request.source or request.target):
        if len(request.langs) != 2:
            raise MasscliError(
                f"--langs {','.join(request.langs)}: a direction has two languages",
                "use -s and -t, or --pairs en-de,de-en",
            )
        return request.langs[0], request.langs[1]
    if len(data.pairs) == 1:
        a, b = data.pairs[0].split("-")
        if request.source in (None, a) and request.target in (None, b):
            return a, b
        if request.source in (None, b) and request.target in (None, a):
            return b, a
    raise MasscliError(
        "the direction is not clear",
        f"add -s LANG -t LANG; the data has {', '.join(data.pairs) or 'no pairs'}",
    )


def _table(name: str, objective: ObjectiveConfig, data: DataFolder) -> str:
    """The only table that the objective can mean: of the kind that it usually reads, else of another."""
    by_kind = [
        [table for table, kind in data.table_formats.items() if kind == wanted]
        for wanted in objective.formats
    ]
    usual = next((tables for tables in by_kind if tables), [])
    if len(usual) == 1:
        return usual[0]
    if fitting := [table for tables in by_kind for table in tables]:
        raise MasscliError("which table?", f"say it with --table; {name} can read {', '.join(fitting)}")
    has = ", ".join(f"{table} ({kind})" for table, kind in data.table_formats.items()) or "none"
    raise MasscliError(
        f"{data.folder}: has no table that {name} reads ({', '.join(objective.formats)})",
        f"its tables: {has}",
    )


def _check_table(name: str, stream: StreamConfig, data: DataFolder) -> None:
    """The table must be there, and of a kind that is read."""
    kind = data.table_formats.get(stream.dataset)
    if kind is None:
        raise MasscliError(
            f"{data.folder}: has no table {stream.dataset!r}",
            f"its tables are {', '.join(data.table_formats) or 'none'}",
        )
    if kind not in stream.objective.formats:
        wanted = ", ".join(stream.objective.formats)
        raise MasscliError(
            f"stream {name}: {stream.objective.name} does not read {kind}", f"it reads {wanted}"
        )


def fill_from_data(stream: StreamConfig, data: DataFolder) -> ObjectiveConfig:
    """The objective's options with what follows from the data filled in."""
    if stream.objective.input_kind != "table":
        return stream.objective
    objective = cast(type[Measured], objective_class(stream.objective.name))
    return cast(ObjectiveConfig, objective.complete(stream.objective, data, stream.dataset))


def _rows(text: str, objective: ObjectiveConfig, data: DataFolder, limit: int | None) -> int:
    _check_text(text, StreamConfig(dataset=text, objective=objective), data)
    if objective.input_kind == "table":
        return max(1, len(data.table(text, "train").head(limit)))
    sides = text.split("-")
    alone = objective.input_kind != "pairs"
    rows = (
        len(data.monolingual("train", sides[-1])) if alone else len(data.pair("train", sides[0], sides[1])[0])
    )
    return max(1, rows if limit is None else min(limit, rows))


def _check_text(name: str, stream: StreamConfig, data: DataFolder) -> None:
    if stream.objective.input_kind == "table":
        _check_table(name, stream, data)
        return
    sides, reads = stream.dataset.split("-"), stream.objective.input_kind
    if len(sides) != (1 if reads == "sentences" else 2):
        raise MasscliError(f"stream {name}: {stream.dataset!r} is not a {'language' if reads == 'sentences' else 'direction such as en-de'}",
                           f"the data has languages {', '.join(data.languages)} and pairs {', '.join(data.pairs) or 'none'}")  # fmt: skip
    for side in sides:
        if side not in data.languages:
            raise MasscliError(
                f"{data.folder}: has no language {side!r}", f"it has {', '.join(data.languages)}"
            )
    if reads == "target" and sides[0] == sides[1]:
        raise MasscliError(
            f"stream {name}: {stream.dataset} goes from a language to itself",
            "back-translation needs two languages",
        )
    if reads == "pairs" and "-".join(sides) not in data.pairs and "-".join(reversed(sides)) not in data.pairs:
        raise MasscliError(
            f"{data.folder}: has no pair {'-'.join(sides)}",
            f"it has {', '.join(data.pairs) or 'no pairs at all'}",
        )


@dataclass(frozen=True)
class _Streams:
    stream: dict[str, StreamConfig]
