"""Typer parameters for the fields of configuration dataclasses, with flags, help, choices and completion."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, cast

import typer

from masscli.core.config import OptionInfo, iter_options, type_name


@functools.cache
def section_parameters(
    section: type, title: str | None = None
) -> tuple[inspect.Parameter, ...]:
    """Return an optional Typer parameter for each field of a configuration dataclass.

    Help shows them under the title of their section of the configuration, or all under `title` if given. A
    field that is a dictionary gets no parameter.
    """
    titles = _titles(section)
    parameters = []
    for option in iter_options(section):
        if typing.get_origin(option.kind) is not dict:
            section_title = titles[option.key.rpartition(".")[0]]
            parameters.append(_option_parameter(option, title or section_title))
    return tuple(parameters)


def parameter(name: str, annotation: Any, default: object = None) -> inspect.Parameter:
    """Return a keyword-only parameter for the signature of a command."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation
    )


def flag(name: str) -> str:
    """Return the flag of a field: `--max-tokens` for `max_tokens`."""
    return f"--{name.replace('_', '-')}"


def flag_text(name: str, value: Any) -> str:
    """Return the flag of a field without its value, such as `--lr`; for a value of False, `--no-pooler`."""
    if value is False:
        return flag(f"no-{name}")
    return flag(name)


def completer(choices: Sequence[str]) -> Callable[[str], Iterator[str]]:
    """Return a function for shell completion that yields the choices which begin with the typed word."""

    def complete(incomplete: str) -> Iterator[str]:
        return (choice for choice in choices if choice.startswith(incomplete))

    return complete


def _option_parameter(option: OptionInfo, title: str) -> inspect.Parameter:
    """Return the Typer parameter of a field, which help shows under `title` with its choices and default."""
    name = option.key.rpartition(".")[2]
    choices = choices_of(option.kind)
    flags = [flag(name), *option.flags]
    # Values stay strings: `from_dict` parses them and reports all errors at once.
    kind: Any = str
    metavar: str | None = type_name(option.kind).upper()
    if choices:
        metavar = "CHOICE"
    if without_none(option.kind) is bool:
        # The second flag lets the command line override a file, as in --no-compile.
        kind, metavar = bool, None
        flags[0] = f"{flag(name)}/{flag(f'no-{name}')}"
    elif typing.get_origin(option.kind) is tuple:
        # Such an option may be repeated, or have items with commas between them.
        kind = list[str]
    # masscli shows the default, because Typer only sees None, which means "not given".
    info = typer.Option(
        *flags,
        help=f"{option.help} {format_facts(choices, option.default)}".rstrip(),
        metavar=metavar,
        show_default=False,
        rich_help_panel=title,
        autocompletion=completer(choices) if choices else None,
    )
    return parameter(name, Annotated[kind | None, info])


def _titles(section: type) -> dict[str, str]:
    """Return the title in the help of each section of a configuration, by key; "" is for the whole.

    A title is the first sentence of the dataclass's docstring, followed for a section by its key.
    """
    titles = {"": _first_sentence(section)}
    types = typing.get_type_hints(section)
    for field in fields(section):
        kind = types[field.name]
        if is_dataclass(kind):
            titles[field.name] = f"{_first_sentence(cast(type, kind))} [{field.name}]"
    return titles


def _first_sentence(cls: type) -> str:
    """Return the first sentence of a class's docstring, without its full stop."""
    first_line, *_ = (inspect.getdoc(cls) or cls.__name__).splitlines()
    return first_line.partition(". ")[0].rstrip(".")


def without_none(kind: Any) -> Any:
    """Return a type without None: `bool` for `bool | None`. Other types are returned unchanged."""
    members = typing.get_args(kind)
    if type(None) not in members:
        return kind
    (first, *_) = (member for member in members if member is not type(None))
    return first


def choices_of(kind: Any) -> tuple[str, ...]:
    """Return the values of a Literal or an optional Literal as texts; none for any other type."""
    kind = without_none(kind)
    if typing.get_origin(kind) is not Literal:
        return ()
    return tuple(str(choice) for choice in typing.get_args(kind))


def format_facts(choices: Sequence[str], default: object) -> str:
    """Return the choices and the default of an option for its help, such as `[post, pre; default: post]`.

    An option without default is called required. The text is empty if there is nothing to say.
    """
    facts = []
    if choices:
        facts.append(", ".join(choices))
    if default is MISSING:
        facts.append("required")
    elif default not in (None, (), ""):
        facts.append(f"default: {_format_value(default)}")
    if not facts:
        return ""
    return f"[{'; '.join(facts)}]"


def _format_value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value)
