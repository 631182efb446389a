"""Find a class by its name.

Built-in classes and those of other packages are registered in the same way: as entry points of the group
`masscli.<kind>s` (for example `masscli.objectives` and `masscli.event_sinks`). Nothing is imported before its
name is asked for, so help screens stay fast, and a broken plug-in fails only when it is named.

A name of the form `module:Class` needs no entry point, but it is imported only if the user has named it. A
recipe in a checkpoint may come from anywhere, and to import what it names would let it run any code.
"""

from __future__ import annotations

import functools
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from masscli.core.config import ConfigError, Problem, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """Map the names of one kind of plug-in to the objects that their entry points refer to."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"masscli.{kind.replace(' ', '_')}s"
        self._allowed: set[str] = set()

    def allow(self, name: str) -> None:
        """Let `load` import `name` if it has the form `module:Class`, because the user has named it."""
        self._allowed.add(name)

    def names(self) -> dict[str, str]:
        """Return every registered name with its `module:Class`.

        Raises ConfigError if two packages claim the same name.
        """
        targets: dict[str, str] = {}
        for name, target in _entry_points(self.group, tuple(sys.path)):
            other = targets.setdefault(name, target)
            if other != target:
                # Name our own class first, whatever the order of registration.
                first, second = sorted((other, target), key=_is_foreign)
                raise ConfigError(Problem("", f"{self.kind} {name!r} is claimed by {first} and {second}"))
        return targets

    def builtin_names(self) -> list[str]:
        """Return the names that masscli itself registers."""
        return [name for name, target in self.names().items() if not _is_foreign(target)]

    def load(self, name: str) -> T:
        """Return what is registered as `name`, or what `name` refers to if it has the form `module:Class`.

        Raises ConfigError for an unknown name or a `module:Class` that was not allowed, with `name` as the
        key, or for a missing module.
        """
        known = self.names()
        if ":" in name and name not in self._allowed:
            problem = f"{self.kind} {name!r} is neither built in nor installed, so its code is not run"
            raise ConfigError(Problem("name", problem, f"if you trust this code, add --allow-code {name}"))
        target = name if ":" in name else known.get(name)
        if target is None:
            problem = f"no {self.kind} called {name!r}{suggest(name, list(known))}"
            raise ConfigError(Problem("name", problem))
        return cast(T, self.load_target(target))

    def load_target(self, target: str) -> object:
        """Import `module:Class`.

        Raises ConfigError if the module or the class does not exist. An error inside the module keeps its
        traceback.
        """
        subject = f"{self.kind} {target!r}"
        try:
            return EntryPoint(target, target, self.group).load()
        except ModuleNotFoundError as error:
            # The plug-in exists, but a module that it imports does not.
            if error.name is None or not target.startswith(error.name):
                raise
            problem = Problem(subject, f"there is no module {error.name!r}")
            raise ConfigError(problem, hint="is the plug-in installed?") from None
        except AttributeError:
            raise ConfigError(Problem(subject, "the module has no such class")) from None


@functools.lru_cache(maxsize=8)
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return names and targets of a group of entry points, in the order of their registration.

    Reading the metadata of all installed packages takes tens of milliseconds, so the result is kept for as
    long as `path`, the import path, stays the same.
    """
    return tuple(
        (point.name, point.value) for point in entry_points(group=group) if not _lies_in_current_folder(point)
    )


def _lies_in_current_folder(point: EntryPoint) -> bool:
    """Return whether an entry point belongs to no installed package, but to metadata in the current folder.

    `python -m` puts the current folder on the import path, and whoever made the folder of a checkpoint may
    have put metadata beside it. A checkout of masscli itself is trusted.
    """
    if point.dist is None:
        return False
    folder = Path(str(point.dist.locate_file(""))).resolve()
    return folder == Path.cwd() and folder != Path(__file__).parents[2]


def _is_foreign(target: str) -> bool:
    return not target.startswith("masscli.")
