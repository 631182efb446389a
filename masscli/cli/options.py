"""From a configuration dataclass to Typer options, and from what was typed to plain data.

`bind` rewrites a command's function: a parameter annotated with a configuration dataclass becomes one option for each of its fields
(`--field-name`, or the other spellings of its `Flags`), and the function receives the decoded dataclass.  A parameter annotated
`Annotated[T, source]`, where `source` has a method `expand`, is asked for its options instead (request.py: those of training).

An option that was not given is absent from the data, so that it never hides a value from a file; types are settled by
`masscli.core.config.decode` alone, and its complaints are retold with the flag that was typed.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import typer

from masscli.core.config import ConfigError, OptionInfo, from_dict, iter_options, type_name

Values = Mapping[str, Any]


class Expansion(Protocol):
    """One parameter of a command spelt out as several options."""

    def parameters(self) -> list[inspect.Parameter]: ...

    def collect(self, values: Values) -> object:
        """What the command's parameter receives, from the values of the options."""

    def flag_of(self, key: str, values: Values) -> str:
        """Return the flag that set a key of a `ConfigError`, or the key itself if no flag did."""


@runtime_checkable
class Expands(Protocol):
    """What may stand in `Annotated[T, ...]`.  `args` is the rest of the command line, for options that depend on options."""

    def expand(self, args: Sequence[str]) -> Expansion: ...


class Section:
    """The options of one configuration dataclass."""

    def __init__(self, cls: type, panels: Mapping[str, str] | None = None) -> None:
        self.cls = cls
        self.rows = [row for row in iter_options(cls) if typing.get_origin(row.kind) is not dict]
        self.panels = panels if panels is not None else titles(cls)

    def parameters(self) -> list[inspect.Parameter]:
        return [option(row, self.panels[row.key.rpartition(".")[0]]) for row in self.rows]

    def collect(self, values: Values) -> object:
        return from_dict(self.cls, self.given(values))

    def given(self, values: Values) -> dict[str, Any]:
        """Plain data of the options that were given, section by section."""
        raw: dict[str, Any] = {}
        for row in self.rows:
            section, _, name = row.key.rpartition(".")
            if (value := typed(values[name])) is not None:
                (raw.setdefault(section, {}) if section else raw)[name] = value
        return raw

    def flag_of(self, key: str, values: Values) -> str:
        name = key.rpartition(".")[2]
        known = any(row.key == key for row in self.rows) and typed(values[name]) is not None
        return flag_text(name, values[name]) if known else key


def bind(run: Callable[..., None], args: Sequence[str]) -> Callable[..., None]:
    """`run` with Typer parameters only."""
    signature = inspect.signature(run, eval_str=True)
    expansions = {
        p.name: e for p in signature.parameters.values() if (e := _expansion(p.annotation, args)) is not None
    }
    flat: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        own = expansions[parameter.name].parameters() if parameter.name in expansions else [parameter]
        flat += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]

    @functools.wraps(run)
    def call(**values: Any) -> None:
        try:
            own = {name: values[name] for name in signature.parameters if name not in expansions}
            run(**own, **{name: e.collect(values) for name, e in expansions.items()})
        except ConfigError as error:
            for expansion in expansions.values():
                error = error.with_keys(functools.partial(expansion.flag_of, values=values))
            raise error from None

    call.__signature__ = inspect.Signature(flat)  # type: ignore[attr-defined]  # inspect honours it, the stubs do not know it
    call.__annotations__ = {p.name: p.annotation for p in flat}
    return call


def option(row: OptionInfo, panel: str, hidden: bool = False) -> inspect.Parameter:
    """One field as an optional Typer parameter; `None` when it was not given."""
    name = row.key.rpartition(".")[2]
    spelling = (flag(name), *row.flags)
    choices = _choices(row.kind)
    kind: Any = str
    if _inner(row.kind) is bool:
        kind, spelling = bool, (f"{flag(name)}/--no-{flag(name)[2:]}", *row.flags)
    elif typing.get_origin(row.kind) is tuple:
        kind = list[str]
    info = typer.Option(
        *spelling,
        help=f"{row.help} {_facts(choices, row.default)}".rstrip(),
        metavar=None if kind is bool else "CHOICE" if choices else type_name(row.kind).upper(),
        show_default=False,
        rich_help_panel=panel,
        hidden=hidden,
        autocompletion=completer(choices) if choices else None,
    )
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, info]
    )


def typed(value: Any) -> Any:
    """What was typed, or `None`.  A repeated option is a list; it means the same as one with commas."""
    return (",".join(value) or None) if isinstance(value, (list, tuple)) else value


def flag(name: str) -> str:
    """`max_tokens` -> `--max-tokens`."""
    return f"--{name.replace('_', '-')}"


def flag_text(name: str, value: Any) -> str:
    """The flag that gave an option its value: `--pooler`, or `--no-pooler`."""
    return f"--no-{flag(name)[2:]}" if value is False else flag(name)


def completer(choices: Sequence[str]) -> Callable[[str], Iterator[str]]:
    """What a shell may offer for the value of an option."""

    def complete(incomplete: str) -> Iterator[str]:
        return (c for c in choices if c.startswith(incomplete))

    return complete


def titles(cls: type, top: str | None = None) -> dict[str, str]:
    """A panel title for each section of `cls`: its key and the first line of its docstring."""
    found = {"": top or _summary(cls)}
    hints = typing.get_type_hints(cls)
    for f in fields(cls):
        if is_dataclass(hints[f.name]):
            found[f.name] = f"{f.name}: {_summary(hints[f.name])}"
    return found


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or cls.__name__).split("\n")[0].split(". ")[0].rstrip(".")


def _expansion(annotation: Any, args: Sequence[str]) -> Expansion | None:
    if typing.get_origin(annotation) is Annotated:
        found = [m.expand(args) for m in annotation.__metadata__ if isinstance(m, Expands)]
        return found[0] if found else None
    return Section(annotation) if isinstance(annotation, type) and is_dataclass(annotation) else None


def _inner(kind: Any) -> Any:
    """`bool | None` -> `bool`."""
    args = [a for a in typing.get_args(kind) if a is not type(None)]
    return args[0] if type(None) in typing.get_args(kind) else kind


def _choices(kind: Any) -> tuple[str, ...]:
    kind = _inner(kind)
    return tuple(map(str, typing.get_args(kind))) if typing.get_origin(kind) is Literal else ()


def _facts(choices: Sequence[str], default: object) -> str:
    """`[post, pre; default: post]`."""
    facts = [", ".join(choices)] if choices else []
    if default is MISSING:
        facts.append("required")
    elif default is not None and default != ():
        facts.append(f"default: {_written(default)}")
    return f"[{'; '.join(facts)}]" if facts else ""


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
