"""Declare configuration sections, their rules, additional flags and options without effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, dataclass_transform

from masscli.core.config.errors import ConfigError, Problem

T = TypeVar("T")
Rule = tuple[bool, str, str]
"""A rule about the values of a section: whether it holds, the key to blame if it does not, and the message to
show then."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Turn a class into a configuration section: a frozen dataclass with keyword-only arguments."""
    return dataclass(frozen=True, kw_only=True)(cls)


@dataclass(frozen=True, slots=True)
class Flags:
    """Additional command-line flags of a field.

    They are declared in its annotation: `Annotated[int, Flags("-n", "--beam-size")]`.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        # Bypass the frozen dataclass: even its own constructor cannot assign to a field.
        object.__setattr__(self, "names", names)


NUMBER_AS_TEXT = "number as text"
"""Marks a text field that also takes a number, as text: `Annotated[str, NUMBER_AS_TEXT]`. A schedule, for
example, may be a single number, which a TOML file need not put in quotes."""


class PlugInRegistry(Protocol):
    """The interface of a registry that finds the dataclass of a plug-in section by its `name`."""

    def load(self, name: str) -> Any:
        """Return the dataclass registered as `name`. Raises ConfigError if there is none."""
        ...


@config
class PlugIn:
    """A section whose `name` decides which other keys it takes.

    A subclass sets the class attribute `registry`, which maps names to dataclasses.
    """

    registry: ClassVar[PlugInRegistry]
    name: str
    """Name of the plug-in, by which `registry` finds its dataclass."""


class UnusedOption(NamedTuple):
    """A rule that says when options have no effect: if `condition` is true, `options` change nothing.

    `options` are field names with spaces between them. A section or an objective declares these rules
    in its property `unused_options`, and `masscli.core.config.unused` applies them. They are not part
    of `check`, because the recipe that is stored with a run may contain options without effect; there
    is a message only if the user gives such an option.
    """

    condition: bool
    options: str
    reason: str
    """Why the options have no effect; a message shows it after "--option has no effect: "."""
    misleading: bool = False
    """Whether giving the option is an error, because it asks for something that does not happen. Otherwise
    there is only a warning."""


def check(*rules: Rule) -> None:
    """Raise one ConfigError that lists every rule that does not hold, or do nothing if all hold.

    Sections call this in their `__post_init__`.
    """
    # All rules are evaluated first, so that the user sees every problem at once.
    problems = [Problem(key, message) for holds, key, message in rules if not holds]
    if problems:
        raise ConfigError(*problems)
