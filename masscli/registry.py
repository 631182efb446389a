"""Find a class by name.  Built-ins and other people's come through the same door.

A name is one of the built-in table, an entry point of the group `masscli.<kind>s`, or `module:Class`.  Nothing is imported before it is
asked for, so help screens stay fast; a plug-in that is broken fails only when it is named, with its own traceback.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from masscli.config import ConfigError, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Names to classes.

    `builtin` maps a name to `module:Class`; `options` to the `module:Class` of its configuration where that can be had without importing
    the class itself (otherwise `Class.Config`).
    """

    def __init__(self, kind: str, builtin: Mapping[str, str], options: Mapping[str, str] | None = None) -> None:
        self.kind = kind
        self.group = f"masscli.{kind}s"
        self._builtin = builtin
        self._options = options or {}

    def names(self) -> dict[str, str]:
        """Every name with the `module:Class` it stands for."""
        found = dict(self._builtin)
        for point in entry_points(group=self.group):
            if found.setdefault(point.name, point.value) != point.value:
                raise ConfigError(f"{self.kind} {point.name!r} is claimed by {found[point.name]} and {point.value}")
        return found

    def light(self) -> list[str]:
        """The names whose configuration can be had without importing their class."""
        return list(self._options)

    def load(self, name: str, at: str = "") -> type[T]:
        """The class called `name`."""
        loaded: type[T] = self._import(self._target(name, at))
        return loaded

    def schema(self, name: str, at: str = "") -> type:
        """The configuration dataclass of `name`."""
        target = self._target(name, at)
        if light := self._options.get(name):
            return self._import(light)
        try:
            found: type = self._import(target).Config  # type: ignore[attr-defined]  # every plug-in class has one
        except AttributeError:
            raise ConfigError(f"{self.kind} {target!r}: is no {self.kind}, for it has no Config") from None
        return found

    def _target(self, name: str, at: str) -> str:
        known = self.names()
        target = name if ":" in name else known.get(name)
        if target is None:
            raise ConfigError(f"{at + '.' if at else ''}name: no {self.kind} called {name!r}{suggest(name, list(known))}")
        return target

    def _import(self, target: str) -> type:
        try:
            found: type = EntryPoint(target, target, self.group).load()
        except ModuleNotFoundError as error:
            if error.name is None or not target.startswith(error.name):
                raise
            raise ConfigError(f"{self.kind} {target!r}: there is no module {error.name!r}", "is the plug-in installed?") from None
        except AttributeError:
            raise ConfigError(f"{self.kind} {target!r}: the module has no such class") from None
        return found
