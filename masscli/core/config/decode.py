"""Build configuration sections from plain data: the only place where values are parsed.

The functions raise a ConfigError whose keys are relative to the value that they were given. Each caller
prepends its own key, so that the user sees the whole dotted key.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, cast

from masscli.core.config.declare import NUMBER_AS_TEXT, PlugIn
from masscli.core.config.document import type_name
from masscli.core.config.errors import ConfigError, Problem, suggest
from masscli.core.config.toml import MAX_INTEGER

T = TypeVar("T")


def from_dict(cls: type[T], raw: Mapping[str, Any], prefix: str = "") -> T:
    """Build the section `cls` from plain data: tables of a TOML file, options of a command line.

    Values may be strings, as they are typed on a command line. Such a string is split at commas for a
    tuple field, and blanks around its items are dropped; items of a list are used exactly as they are.
    Raises one ConfigError with every problem; their keys begin with `prefix`. The rules of a section
    are checked only if all of its values can be parsed.
    """
    try:
        return cast(T, _parse_section(cls, raw))
    except ConfigError as error:
        raise ConfigError(
            *(problem.under(prefix) for problem in error.problems), hint=error.hint
        ) from None


def _parse_section(cls: type, raw: object) -> object:
    """Return the section of class `cls` (for a plug-in, of the class it names) with the values of `raw`.

    Raises one ConfigError with all problems: unknown keys, missing keys, and values that do not fit.
    """
    if not isinstance(raw, Mapping):
        raise _mismatch("a table", raw)
    if issubclass(cls, PlugIn):
        cls = _plug_in_class(cls, raw)
    kinds = typing.get_type_hints(cls, include_extras=True)
    known = [field.name for field in fields(cast(Any, cls))]
    # Problems are collected, and raised together at the end.
    problems = [
        Problem(key, f"unknown key{suggest(key, known)}")
        for key in raw
        if key not in known
    ]
    values, problems_of_values = _parse_values(
        kinds, {key: raw[key] for key in raw if key in known}
    )
    problems += problems_of_values
    for field in fields(cast(Any, cls)):
        if field.name not in raw and _is_required(field):
            problems.append(Problem(field.name, "required"))
    if problems:
        raise ConfigError(*problems)
    # The section checks the rules between its fields itself.
    return cls(**values)


def _parse_values(
    kinds: Mapping[str, Any], raw: Mapping[str, Any]
) -> tuple[dict[str, object], list[Problem]]:
    """Parse each value by the type that `kinds` has for its key; return the values and all problems."""
    values = {}
    problems: list[Problem] = []
    for key, value in raw.items():
        try:
            values[key] = parse_value(kinds[key], value)
        except ConfigError as error:
            problems += [problem.under(key) for problem in error.problems]
    return values, problems


def _plug_in_class(cls: type[PlugIn], raw: Mapping[str, Any]) -> type:
    """Return the dataclass that `registry` has for the `name` of a plug-in section.

    If `raw` has no name, the default of the field `name` is used. Raises ConfigError if there is none
    either.
    """
    (name_field,) = (field for field in fields(cls) if field.name == "name")
    name = raw.get("name", name_field.default)
    if not isinstance(name, str):
        raise ConfigError(Problem("name", "required"))
    return cast(type, cls.registry.load(name))


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def parse_value(kind: Any, value: object) -> object:
    """Parse a value for a field of the type `kind`, and return it in that type.

    The type may be optional, a section, a container, a Literal, a scalar, or Annotated with one of these.
    Raises ConfigError if the value does not fit.
    """
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is Annotated:
        return _parse_annotated(*arguments, value=value)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        # An optional type is a union with None.
        (inner, *_) = (
            argument for argument in arguments if argument is not types.NoneType
        )
        return parse_value(inner, value)
    if is_dataclass(kind):
        return _parse_section(cast(type, kind), value)
    if origin is dict:
        return _parse_table(arguments[1], value)
    if origin is tuple:
        return _parse_tuple(arguments[0], value)
    if origin is Literal:
        return _parse_choice(arguments, value)
    return _parse_scalar(kind, value)


def _parse_annotated(kind: Any, *annotations: object, value: object) -> object:
    """Parse a value for a field of a type with annotations, such as `Annotated[str, NUMBER_AS_TEXT]`."""
    # To Python, True is a number.
    if NUMBER_AS_TEXT in annotations and type(value) in (int, float):
        value = str(value)
    return parse_value(kind, value)


def _parse_table(kind: Any, value: object) -> dict[str, object]:
    """Parse a table with arbitrary keys; each value must have the type `kind`."""
    if not isinstance(value, Mapping):
        raise _mismatch("a table", value)
    table, problems = _parse_values(dict.fromkeys(value, kind), value)
    if problems:
        raise ConfigError(*problems)
    return table


def _parse_tuple(kind: Any, value: object) -> tuple[object, ...]:
    """Return a list of items of type `kind`, or a text with commas between them, as a tuple."""
    # Only a string from the command line is split and stripped. Items of a list are exact: a
    # label may end in a blank or contain a comma.
    if isinstance(value, str):
        # fairseq writes parentheses: --adam-betas '(0.9, 0.98)'. No number starts or ends with
        # these characters.
        if kind in (int, float) and value[:1] + value[-1:] in ("()", "[]"):
            value = value[1:-1]
        stripped = [item.strip() for item in split_at_commas(value)]
        value = [item for item in stripped if item]
    if not isinstance(value, (list, tuple)):
        raise _mismatch("a list", value)
    return tuple(parse_value(kind, item) for item in value)


def split_at_commas(text: str) -> list[str]:
    r"""Return the parts of a text between commas.

    A comma after a backslash belongs to its part, such as to the name of a file: `en=a\,b.txt`.
    """
    parts = re.split(r"(?<!\\),", text)
    return [part.replace("\\,", ",") for part in parts]


def _parse_choice(choices: tuple[Any, ...], value: object) -> object:
    """Return the choice that a value names. Raises ConfigError if there is none."""
    for choice in choices:
        # A choice may be a number, which is a string on the command line.
        if value in (choice, str(choice)):
            return choice
    raise ConfigError(
        Problem("", f"{value!r} is not one of {', '.join(map(str, choices))}")
    )


def _parse_scalar(kind: Any, value: object) -> object:
    """Parse a value for a bool, a number, a path or a string, and return it in the type `kind`."""
    # Values from a command line are strings, whatever the type of the field.
    if isinstance(value, str) and kind is not str:
        value = _parse_word(kind, value)
    # TOML and Python write whole numbers without a point. To Python a bool is an int; here it
    # is not.
    if kind is float and type(value) is int and abs(value) <= MAX_INTEGER:
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(Problem("", f"expected a finite number, got {value}"))
    if not _fits(kind, value):
        raise _mismatch(type_name(kind), value)
    # Every accepted value must survive being written to a recipe and read again.
    if isinstance(value, int) and not -MAX_INTEGER - 1 <= value <= MAX_INTEGER:
        raise ConfigError(Problem("", "expected an integer of at most 64 bits"))
    return value


def _parse_word(kind: Any, word: str) -> object:
    """Convert a string to `kind`, which is bool, a number or a path.

    Raises ConfigError if the string has another form.
    """
    if kind is bool:
        if word.lower() not in ("true", "false"):
            raise _mismatch("true or false", word)
        return word.lower() == "true"
    # An unset shell variable must not become the current folder, and no file has a zero byte in its name.
    if kind is Path and (not word or "\0" in word):
        raise _mismatch("a path", word)
    try:
        return kind(word)
    except ValueError:
        raise _mismatch(type_name(kind), word) from None


def _fits(kind: Any, value: object) -> bool:
    # The class of a path depends on the operating system.
    if kind is Path:
        return isinstance(value, Path)
    # `isinstance` would take True for a number.
    return type(value) is kind


def _mismatch(expected: str, value: object) -> ConfigError:
    return ConfigError(Problem("", f"expected {expected}, got {value!r}"))
