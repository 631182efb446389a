"""Typed configuration: one frozen dataclass tree is the TOML schema, the command line and the metadata of a checkpoint.

Verbs: `decode` plain data into dataclasses, `encode` back, `override` with `key=value`, `rows` for help, `to_toml`.
This module knows nothing of models or text.  A field's help is the string literal under it; a type, a default and that sentence are
the whole declaration.  No string is ever evaluated: it is parsed by the type of the field it lands in, and every complaint about
a file is collected before one error is raised.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import itertools
import json
import math
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, Union, cast, dataclass_transform

from masscli.core.errors import MasscliError

T = TypeVar("T")


class ConfigError(MasscliError):
    """One or more mistakes in a configuration; each line starts with the dotted key."""


@dataclass(frozen=True, slots=True)
class Flags:
    """Extra spellings of a field on the command line, as in `Annotated[int, Flags("-n", "--beam-size")]`."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        object.__setattr__(self, "names", names)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Declare a configuration section: frozen and keyword-only."""
    return dataclass(frozen=True, kw_only=True)(cls)


class Idle(NamedTuple):
    """A rule: where it `holds`, the options `names` (with spaces between them) change nothing; `why` is said after the flag and a colon.

    An objective declares its rules beside its options, as `idle`.  They are no part of `check`, since what was stored with a run may hold
    an idle value: only who gives one is told (masscli/training/setup/unused_options.py, which has the rules of the rest of a recipe).
    """

    holds: bool
    names: str
    why: str


class PlugIns(Protocol):
    """Where a plug-in section finds the dataclass for its `name`."""

    def load(self, name: str, at: str = "") -> Any: ...


@config
class PlugIn:
    """A section whose `name` decides which other keys it takes; subclasses set `registry`."""

    registry: ClassVar[PlugIns]
    name: str
    """Which one."""


class Row(NamedTuple):
    """One documented key."""

    key: str
    kind: Any
    default: object
    help: str
    flags: tuple[str, ...]

    @property
    def type(self) -> str:
        """The type as a reader would write it."""
        return type_name(self.kind)


def check(*rules: tuple[bool, str]) -> None:
    """Raise one `ConfigError` with the message of each rule that does not hold.  For `__post_init__`."""
    broken = [message for holds, message in rules if not holds]
    if broken:
        raise ConfigError("\n".join(broken))


def decode(cls: type[T], raw: Mapping[str, Any], at: str = "") -> T:
    """Build `cls` from plain data; every mistake found is named in one `ConfigError`."""
    complaints: list[str] = []
    value = _section(cls, raw, at, complaints)
    if complaints:
        raise ConfigError("\n".join(complaints))
    return cast(T, value)


def encode(section: Any) -> dict[str, Any]:
    """The inverse of `decode`: plain data, `None` left out (an optional field defaults to `None`)."""
    return {f.name: _plain(v) for f in fields(section) if (v := getattr(section, f.name)) is not None}


def override(raw: Mapping[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Apply `["optim.lr=1e-3", ...]` on top of plain data.  Types are settled later, by `decode`."""
    out: dict[str, Any] = json.loads(json.dumps(raw))
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        if not found:
            raise ConfigError(f"{key}: expected KEY=VALUE")
        *parents, leaf = key.split(".")
        node = out
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{key}: {parent!r} is a value, not a table")
        node[leaf] = value
    return out


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Plain data with `top` laid over `base`, table by table."""
    out = dict(base)
    for key, value in top.items():
        old = out.get(key)
        out[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return out


def rows(cls: type, at: str = "") -> Iterator[Row]:
    """Every leaf key under `cls`, in order, for help screens and flags."""
    hints, help_ = typing.get_type_hints(cls, include_extras=True), docs(cls)
    for f in fields(cls):
        kind, names = _unwrap(hints[f.name])
        key = _join(at, f.name)
        if is_dataclass(kind):
            yield from rows(cast(type, kind), key)
        else:
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            yield Row(key, kind, default, help_.get(f.name, ""), names)


@functools.cache
def docs(cls: type) -> dict[str, str]:
    """Map every field of `cls` to the string literal written under it."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__[:-1]):
        if not is_dataclass(base):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for item, below in itertools.pairwise(body.body):
            match item, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str(text))):
                    found[name] = " ".join(inspect.cleandoc(text).split())
    return found


def to_toml(raw: Mapping[str, Any], at: str = "") -> str:
    """Write plain data as TOML (the standard library only reads it)."""
    tables = {k: v for k, v in raw.items() if isinstance(v, Mapping)}
    lines = [f"{_key(k)} = {_literal(v)}" for k, v in raw.items() if k not in tables]
    head = [f"[{at}]"] if at and (lines or not tables) else []
    parts = ["\n".join(head + lines)] if head + lines else []
    parts += [to_toml(v, _join(at, _key(k))).rstrip("\n") for k, v in tables.items()]
    return "\n\n".join(p for p in parts if p) + "\n"


def suggest(word: str, known: Sequence[str]) -> str:
    """The tail of an error about an unknown word: the nearest known one, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    return f", did you mean {close[0]!r}?" if close else f" (known: {', '.join(sorted(known))})"


def type_name(kind: Any) -> str:
    """`int`, `a|b|c` for a Literal, `int,...` for a tuple."""
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "|".join(map(str, args))
    if origin in (Union, types.UnionType):
        return "|".join(type_name(a) for a in args if a is not types.NoneType)
    if origin is tuple:
        return f"{type_name(args[0])},..."
    return str(kind.__name__)


def _section(cls: type, raw: object, at: str, complaints: list[str]) -> object:
    if not isinstance(raw, Mapping):
        complaints.append(f"{at}: expected a table, got {raw!r}")
        return None
    if issubclass(cls, PlugIn):  # `name` picks the class, its dataclass the other keys
        names = [f for f in fields(cls) if f.name == "name"]
        name = raw.get("name", names[0].default if names[0].default is not MISSING else None)
        if not isinstance(name, str):
            complaints.append(f"{_join(at, 'name')}: required")
            return None
        try:
            cls = cls.registry.load(name, at)
        except ConfigError as error:
            complaints.append(error.message)
            return None
    hints = typing.get_type_hints(cls, include_extras=True)
    own = fields(cls)
    known = [f.name for f in own]
    before = len(complaints)
    complaints += [f"{_join(at, k)}: unknown key{suggest(k, known)}" for k in raw if k not in known]
    values = {
        k: _value(_unwrap(hints[k])[0], v, _join(at, k), complaints) for k, v in raw.items() if k in known
    }
    for f in own:
        if f.name not in raw and f.default is MISSING and f.default_factory is MISSING:
            complaints.append(f"{_join(at, f.name)}: required")
    if len(complaints) > before:
        return None
    try:
        return cls(**values)
    except ConfigError as error:
        complaints += [_join(at, line) for line in error.message.split("\n")]
        return None


def _value(kind: Any, value: Any, at: str, complaints: list[str]) -> Any:
    def wrong(text: str) -> None:
        complaints.append(f"{at}: {text}")

    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        inner = [a for a in args if a is not types.NoneType]
        return None if value is None else _value(inner[0], value, at, complaints)
    if is_dataclass(kind):
        return _section(cast(type, kind), value, at, complaints)
    if origin is dict:
        if not isinstance(value, Mapping):
            return wrong(f"expected a table, got {value!r}")
        return {k: _value(args[1], v, _join(at, k), complaints) for k, v in value.items()}
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            return wrong(f"expected a list, got {value!r}")
        return tuple(
            _value(args[0], item.strip() if isinstance(item, str) else item, at, complaints)
            for item in items
            if item != ""
        )
    if origin is Literal:
        found = next((a for a in args if a == value or str(a) == value), None)
        return found if found is not None else wrong(f"{value!r} is not one of {', '.join(map(str, args))}")
    if kind is bool and isinstance(value, str):
        if value.lower() not in ("true", "false"):
            return wrong(f"expected true or false, got {value!r}")
        return value.lower() == "true"
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(value, str) and kind in (int, float, Path):
        try:
            value = kind(value)
        except ValueError:
            return wrong(f"expected {type_name(kind)}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        return wrong(f"expected a finite number, got {value}")
    fits = isinstance(value, Path) if kind is Path else type(value) is kind
    return value if fits else wrong(f"expected {type_name(kind)}, got {value!r}")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return encode(value)
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _unwrap(kind: Any) -> tuple[Any, tuple[str, ...]]:
    """`Annotated[int, Flags("-n")]` -> (int, ("-n",))."""
    if typing.get_origin(kind) is typing.Annotated:
        return kind.__origin__, tuple(n for m in kind.__metadata__ if isinstance(m, Flags) for n in m.names)
    return kind, ()


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _literal(key)


def _literal(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
