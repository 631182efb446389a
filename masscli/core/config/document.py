"""List the options of a configuration section with their types, defaults and help texts."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, NamedTuple, Union, cast

from masscli.core.config.declare import Flags
from masscli.core.config.errors import join_key


class OptionInfo(NamedTuple):
    """What a help screen needs to know about one option.

    `kind` is the type of the field, and `flags` are its extra names on the command line. `default` is
    `dataclasses.MISSING` if the option is required.
    """

    key: str
    kind: Any
    default: object
    help: str
    flags: tuple[str, ...]

    @property
    def type(self) -> str:
        """The type in the form that a help screen shows."""
        return type_name(self.kind)


def iter_options(cls: type, prefix: str = "") -> Iterator[OptionInfo]:
    """Yield every option of `cls` and of the sections nested in it, in the order of their declaration.

    The keys of nested options are dotted (`optim.lr`), and all keys begin with `prefix`.
    """
    annotations = typing.get_type_hints(cls, include_extras=True)
    help_texts = field_docs(cls)
    for field in fields(cast(Any, cls)):
        kind, flags = _split_annotation(annotations[field.name])
        key = join_key(prefix, field.name)
        # A section within a section lends its name to the keys of its options.
        if is_dataclass(kind):
            yield from iter_options(cast(type, kind), key)
        else:
            yield OptionInfo(
                key, kind, _default(field), help_texts.get(field.name, ""), flags
            )


@functools.cache
def field_docs(cls: type) -> dict[str, str]:
    """Return the help text of each field of `cls` that has one.

    It is the string literal under the field in the source code, with each run of white space replaced
    by a single space.
    """
    # Python discards these strings at run time, so they are read from the source of each base
    # class.
    docs: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not is_dataclass(base):
            continue
        # The source is read again each time, since a module may have been edited and reloaded,
        # as in a notebook.
        source = inspect.getsource(sys.modules[base.__module__])
        definition = _class_definitions(source)[base.__qualname__]
        for statement, below in itertools.pairwise(definition.body):
            match statement, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(
                    value=ast.Constant(str(text))
                ):
                    docs[name] = " ".join(inspect.cleandoc(text).split())
    return docs


@functools.cache
def _class_definitions(source: str) -> dict[str, ast.ClassDef]:
    """Return the syntax tree of each class that the source of a module defines, by its qualified name.

    A module is parsed once: `inspect.getsource` of a class would parse it again for each of its
    classes, which would be a large part of the start-up time of a command.
    """
    return dict(_find_classes(ast.parse(source), ""))


def _find_classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield (qualified name, definition) of each class in `node`, whose own qualified name is in `prefix`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield f"{prefix}{child.name}", child
            yield from _find_classes(child, f"{prefix}{child.name}.")
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _find_classes(child, f"{prefix}{child.name}.<locals>.")
        elif isinstance(child, (ast.stmt, ast.excepthandler, ast.match_case)):
            # A class may be defined within an `if` or a `try`, for example where an import
            # failed.
            yield from _find_classes(child, prefix)


def type_name(kind: Any) -> str:
    """Return a type as help screens show it: `int`, `a|b|c` for a Literal, `int,...` for a tuple.

    An optional type is shown without its None.
    """
    origin = typing.get_origin(kind)
    arguments = typing.get_args(kind)
    if origin is Literal:
        return "|".join(map(str, arguments))
    if origin in (Union, types.UnionType):
        return "|".join(
            type_name(member) for member in arguments if member is not types.NoneType
        )
    if origin is tuple:
        return f"{type_name(arguments[0])},..."
    return str(kind.__name__)


def _split_annotation(annotation: Any) -> tuple[Any, tuple[str, ...]]:
    """Split `Annotated[int, Flags("-n")]` into the type `int` and the flags `("-n",)`."""
    if typing.get_origin(annotation) is not Annotated:
        return annotation, ()
    names: tuple[str, ...] = ()
    for extra in annotation.__metadata__:
        if isinstance(extra, Flags):
            names += extra.names
    return annotation.__origin__, names


def _default(field: Field[Any]) -> object:
    # The default of a list or section comes from a factory, and is shown as a value.
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default
