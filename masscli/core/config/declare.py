"""Declare configuration sections, their rules, extra flags and options without effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, TypeVar, dataclass_transform

from masscli.core.config.errors import ConfigError, Problem

T = TypeVar("T")
Rule = tuple[bool, str, str]
"""What must hold, the key that is to blame if it does not, and what to say about it."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def config(cls: type[T]) -> type[T]:
    """Declare a configuration section: a dataclass that is frozen and takes keywords only."""
    return dataclass(frozen=True, kw_only=True)(cls)


@dataclass(frozen=True, slots=True)
class Flags:
    """More names of a field on the command line, as in `Annotated[int, Flags("-n", "--beam-size")]`."""

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        # The dataclass is frozen; only so may its own constructor set a field.
        object.__setattr__(self, "names", names)


class PlugInRegistry(Protocol):
    """A place that knows the dataclass for each `name` of a plug-in section."""

    def load(self, name: str) -> Any:
        """Return the dataclass for `name`. Raises ConfigError if there is none."""
        ...


@config
class PlugIn:
    """A section whose `name` decides which other keys it takes. Subclasses set `registry`."""

    registry: ClassVar[PlugInRegistry]
    name: str
    """Name of the plug-in, by which `registry` finds its dataclass."""


class UnusedOption(NamedTuple):
    """A rule that says when options have no effect: if `condition` is true, `options` change nothing.

    `options` are field names with spaces between them. A section or an objective declares these rules in its
    property `unused_options`, and `masscli.core.config.unused` applies them. They are not part of `check`,
    because the recipe that is stored with a run may hold options without effect; only a user who gives such
    an option is told.
    """

    condition: bool
    options: str
    reason: str
    """Shown after "--option has no effect: "."""
    misleading: bool = False
    """Whether to refuse the option, because it asks for what does not happen. Else there is a warning."""


def check(*rules: Rule) -> None:
    """Check the values of a section, in its `__post_init__`.

    Raises one ConfigError with all rules that do not hold.
    """
    # All rules are evaluated first, so that the user sees every problem at once.
    problems = [Problem(key, message) for holds, key, message in rules if not holds]
    if problems:
        raise ConfigError(*problems)
