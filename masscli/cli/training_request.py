"""What a training command asks for: the options of `pretrain` and `finetune`, gathered into one `TrainRequest`.

They are those of the recipe, of the choice of streams, and of the objective named by `--objective` (or `--task`), so that name (or the
objectives in the file given with `--config`) is looked up in the command line before it is parsed.  An objective's own option is refused
where another objective is chosen.  Nothing is typed or completed here: presets, streams and defaults are the business of training/build.py.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.cli.options import Section, Values, completer, flag, flag_text, option, titles, typed
from masscli.core.config import (
    ConfigError,
    Flags,
    OptionInfo,
    Problem,
    check,
    config,
    from_dict,
    iter_options,
    merge,
    override,
)
from masscli.core.errors import MasscliError
from masscli.objectives.registry import OBJECTIVES
from masscli.training.recipe import Recipe

STREAMS_PANEL = "streams: What to train on"


@config
class StreamChoice:
    """What to train on, for a recipe whose streams are not written out."""

    langs: Annotated[tuple[str, ...], Flags("-l")] = ()
    """Languages, such as en,de (default: all that the data has)."""
    source_lang: Annotated[str | None, Flags("-s")] = None
    """Source language of a direction."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Target language of a direction."""
    pairs: tuple[str, ...] = ()
    """Directions, such as en-de,de-en, for one model that translates them all."""
    auxiliary: tuple[str, ...] = ()
    """NAME=WEIGHT: another objective on the same languages, drawn as often as the first; the weight of its loss is a number or a ramp over
    updates, such as denoise=0:1,100000:0.1,300000:0 (default: 1; at 0 it is not drawn). NAME@FOLDER reads another data folder in the same
    vocabulary; its pairs are learned in the direction they are named there (translate@data-bin/synthetic=0.5). Repeatable."""
    table: tuple[str, ...] = ()
    """Tables of labelled examples to learn a task from (default: the one that the data has)."""
    lang_temperature: float = 1.0
    """A language (or direction) is drawn in proportion to its size to the power of 1 over this; high values even out."""
    max_examples: int | None = None
    """Use the first so many rows of each stream only (low-resource studies)."""

    def __post_init__(self) -> None:
        check(
            (
                len(set(self.langs)) == len(self.langs),
                "langs",
                f"names a language twice: {','.join(self.langs)}",
            ),
            (
                self.lang_temperature >= 0.01,
                "lang_temperature",
                f"must be at least 0.01, got {self.lang_temperature}",
            ),
            (
                self.max_examples is None or self.max_examples > 0,
                "max_examples",
                f"must be above 0, got {self.max_examples}",
            ),
        )


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """A training command as it was typed."""

    recipe_raw: dict[str, Any]
    """Plain data of a `Recipe` without streams: the file of --config, the flags over it, --set over both; only what was given."""
    streams_raw: dict[str, dict[str, Any]]
    """The streams written out in the file or with --set, by name; empty when they follow from `objective` and the choice of languages."""
    objective: str | None
    """What --objective (or --task) said."""
    objective_raw: dict[str, Any]
    """The objective's own options given by flags: they hold for every stream whose objective knows them; see `options_of`."""
    langs: tuple[str, ...]
    source: str | None
    target: str | None
    pairs: tuple[str, ...]
    auxiliary: tuple[tuple[str, str], ...]
    """Objectives of --auxiliary, maybe with a folder (NAME@FOLDER), and their weights."""
    tables: tuple[str, ...]
    temperature: float
    max_examples: int | None
    config: Path | None
    flags: frozenset[str] = frozenset()
    """The keys of the recipe that flags gave, such as optim.lr."""

    def options_of(self, objective: str) -> dict[str, Any]:
        """The given options that `objective` knows."""
        known = {row.key for row in iter_options(OBJECTIVES.load(objective))}
        return {key: value for key, value in self.objective_raw.items() if key in known}


@dataclass(frozen=True, slots=True)
class Training:
    """`Annotated[TrainRequest, Training("--objective")]` gives a command the options of a training run."""

    chooser: str
    """The flag that names the objective."""

    def expand(self, args: Sequence[str]) -> TrainingOptions:
        others = [
            name.partition("@")[0]
            for name, _ in parse_weighted(",".join(peek_options(args, "--auxiliary")).split(","))
        ]
        return TrainingOptions(
            self.chooser, peek_option(args, self.chooser), peek_option(args, "--config"), others
        )


class TrainingOptions:
    """The options of one training command line."""

    def __init__(self, chooser: str, objective: str | None, file: str | None, beside: Sequence[str]) -> None:
        self.chooser, self.objective = chooser, objective
        self.file = Path(file) if file is not None else None
        self.from_file = read(self.file) if self.file is not None else {}
        first = [objective] if objective is not None else list(_objectives(self.from_file))
        self.chosen = tuple(dict.fromkeys([*first, *beside]))
        self.recipe = Section(Recipe, titles(Recipe, "run: Where from, where to"))
        self.choice = Section(StreamChoice, {"": STREAMS_PANEL})
        self.own = self._own()

    def parameters(self) -> list[inspect.Parameter]:
        return [
            *self._leading(),
            *self._objective_options(),
            *self.choice.parameters(),
            *self._recipe_options(),
        ]

    def collect(self, values: Values) -> TrainRequest:
        self._refuse_foreign(values)
        given = self._given(values)
        raw = override(merge(self.from_file, given), values["set"] or [])
        streams = raw.pop("stream", {})
        choice = from_dict(StreamChoice, self.choice.given(values))
        return TrainRequest(
            recipe_raw=raw,
            streams_raw=streams,
            objective=values["objective"],
            objective_raw={name: value for name in self.own if (value := typed(values[name])) is not None},
            langs=choice.langs,
            source=choice.source_lang,
            target=choice.target_lang,
            pairs=choice.pairs,
            auxiliary=tuple(parse_weighted(choice.auxiliary)),
            tables=choice.table,
            temperature=choice.lang_temperature,
            max_examples=choice.max_examples,
            config=self.file,
            flags=frozenset(
                f"{key}.{name}"
                for key, section in given.items()
                if isinstance(section, dict)
                for name in section
            ),
        )

    def flag_of(self, key: str, values: Values) -> str:
        path = key.split(".")
        assigned = {item.partition("=")[0] for item in values["set"] or []}
        if key in assigned:
            return f"--set {key}"
        if path[0] in ("stream", path[-1]) and path[-1] in self.own and typed(values[path[-1]]) is not None:
            return flag_text(path[-1], values[path[-1]])
        told = self.choice.flag_of(self.recipe.flag_of(key, values), values)
        return f"{self.file}: {key}" if told == key and _holds(self.from_file, path) else told

    def _leading(self) -> Iterator[inspect.Parameter]:
        kind = inspect.Parameter.KEYWORD_ONLY
        data = next(row for row in self.recipe.rows if row.key == "data")
        argument = typer.Argument(
            help=f"{data.help} [default: {data.default}]", metavar="DATA", show_default=False
        )
        yield inspect.Parameter("data", kind, default=None, annotation=Annotated[str | None, argument])
        names = ", ".join(OBJECTIVES.names())
        chooser = typer.Option(
            self.chooser,
            metavar="NAME",
            help=f"What to learn: {names}, or module:Class. With --help: its own options.",
            rich_help_panel=STREAMS_PANEL,
            autocompletion=completer(list(OBJECTIVES.names())),
        )
        yield inspect.Parameter("objective", kind, default=None, annotation=Annotated[str | None, chooser])
        file = typer.Option("--config", metavar="FILE", help="A recipe (TOML); flags win over it.")
        yield inspect.Parameter("config", kind, default=None, annotation=Annotated[str | None, file])
        help_ = "Any key, such as optim.lr=1e-3 or, of a recipe's own stream, stream.en.loss_weight=2; wins over all. Repeatable."
        set_ = typer.Option("--set", metavar="KEY=VALUE", help=help_)
        yield inspect.Parameter("set", kind, default=None, annotation=Annotated[list[str] | None, set_])

    def _recipe_options(self) -> Iterator[inspect.Parameter]:
        for parameter in self.recipe.parameters():
            if parameter.name != "data":  # the positional argument
                yield parameter
            if parameter.name == "precision":
                panel = self.recipe.panels["train"]
                for name in ("fp16", "bf16"):
                    info = typer.Option(
                        f"--{name}",
                        help=f"The same as --precision {name}.",
                        show_default=False,
                        rich_help_panel=panel,
                    )
                    yield inspect.Parameter(
                        name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, info]
                    )

    def _own(self) -> dict[str, str]:
        """Option names of the chosen objectives, each with the first objective that has it."""
        found: dict[str, str] = {}
        for name in self.chosen:
            try:
                schema = OBJECTIVES.load(name)
            except ConfigError as error:
                where = (
                    self.file
                    if self.objective is None
                    else self.chooser
                    if name == self.objective
                    else "--auxiliary"
                )
                text = "; ".join(
                    str(Problem("" if p.key == "name" else p.key, p.message)) for p in error.problems
                )
                raise ConfigError(Problem(str(where), text), hint=error.hint) from None
            for row in iter_options(schema):
                if row.key != "name":
                    found.setdefault(row.key, name)
        return found

    def _objective_options(self) -> Iterator[inspect.Parameter]:
        for name in self.chosen:
            for row in iter_options(OBJECTIVES.load(name)):
                if self.own.get(row.key) == name:
                    yield option(row, f"{name} options")
        for key, owners in options_of_others(
            tuple(self.own)
        ).items():  # parsed, so that they can be refused with their owner's name
            yield option(built_in(owners[0])[key], "", hidden=True)

    def _refuse_foreign(self, values: Values) -> None:
        for key, owners in options_of_others(tuple(self.own)).items():
            if typed(values[key]) is not None:
                owner = f"the objective{'s' if len(owners) > 1 else ''} {' and '.join(owners)}"
                if not self.chosen:
                    raise MasscliError(
                        f"{flag(key)} belongs to {owner}, and none is chosen",
                        f"add {self.chooser} {owners[0]}",
                    )
                verb = "do" if len(self.chosen) > 1 else "does"
                raise MasscliError(
                    f"{flag(key)} belongs to {owner}; {' and '.join(self.chosen)} {verb} not take it",
                    f"the options of an objective: {self.chooser} NAME --help",
                )

    def _given(self, values: Values) -> dict[str, Any]:
        raw = self.recipe.given(values)
        spelt = [name for name in ("fp16", "bf16") if values[name]]
        if spelt and (len(spelt) > 1 or values["precision"] not in (None, spelt[0])):
            raise MasscliError("--fp16, --bf16 and --precision contradict each other", "give one of them")
        return merge(raw, {"train": {"precision": spelt[0]}}) if spelt else raw


def peek_option(args: Sequence[str], name: str) -> str | None:
    """The value that `name` will have, found before the options are known."""
    return next(reversed(peek_options(args, name)), None)


def peek_options(args: Sequence[str], name: str) -> list[str]:
    """Every value given to `name`."""
    found = []
    for arg, following in itertools.pairwise([*args, None]):
        if arg is None or arg == "--":
            break
        if arg == name and following is not None:
            found.append(following)
        elif arg.startswith(f"{name}="):
            found.append(arg[len(name) + 1 :])
    return found


def parse_weighted(items: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Names and weights of --auxiliary.  A ramp has commas too: an item that begins with a number goes on with the weight before it."""
    name, weight = "", ""
    for item in filter(None, items):
        if re.match(r"[0-9.]", item) and name:
            weight += f",{item}"
            continue
        if name:
            yield name, weight or "1"
        name, _, weight = item.partition("=")
    if name:
        yield name, weight or "1"


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError):
        raise MasscliError(
            f"{path}: there is no such file",
            "a recipe is a TOML file; `masscli recipe show RUN` prints that of a run",
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MasscliError(f"{path}: {error}", "the file must be TOML in UTF-8") from None


@functools.cache
def built_in(name: str) -> dict[str, OptionInfo]:
    """The options of a built-in objective, by key; looked up once, since every look-up asks for plug-ins anew."""
    return {row.key: row for row in iter_options(OBJECTIVES.load(name))}


@functools.cache
def options_of_others(own: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Options of the built-in objectives that are not among `own`, each with the objectives that have it."""
    found: dict[str, tuple[str, ...]] = {}
    taken = {row.key.rpartition(".")[2] for cls in (Recipe, StreamChoice) for row in iter_options(cls)}
    for name in OBJECTIVES.builtin_names():
        for key in built_in(name):
            if key not in own and key != "name" and key not in taken:
                found[key] = (*found.get(key, ()), name)
    return found


def _objectives(raw: Mapping[str, Any]) -> Iterator[str]:
    """The objectives that the streams of a file name; what is malformed is left for `decode` to complain about."""
    streams = raw.get("stream", {})
    for stream in streams.values() if isinstance(streams, dict) else ():
        objective = stream.get("objective") if isinstance(stream, dict) else None
        if isinstance(objective, dict) and isinstance(objective.get("name"), str):
            yield objective["name"]


def _holds(raw: Mapping[str, Any], path: Sequence[str]) -> bool:
    node: object = raw
    for key in path:
        if not isinstance(node, Mapping) or key not in node:
            return False
        node = node[key]
    return True
