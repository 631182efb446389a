"""Find a class by its name.

Built-in classes and those of other packages are registered in the same way: as entry points of the
group `masscli.<kind>s` (for example `masscli.objectives` and `masscli.event_sinks`). Nothing is
imported before its name is requested, so help screens stay fast, and a broken plug-in fails only when
it is used.

A name of the form `module:Class` needs no entry point, but it is imported only if the user has named
it. A recipe in a checkpoint may come from anywhere, and importing what it names would let it run
arbitrary code.
"""

from __future__ import annotations

import functools
import importlib
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Generic, TypeVar, cast

from masscli.core.config import ConfigError, Problem, suggest

T = TypeVar("T")


class Registry(Generic[T]):
    """The plug-ins of one kind: maps names to the objects that their entry points refer to."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.group = f"masscli.{kind.replace(' ', '_')}s"
        self._allowed: set[str] = set()

    def allow(self, name: str) -> None:
        """Let `load` import `name` if it has the form `module:Class`, because the user has named it."""
        self._allowed.add(name)

    def names(self) -> dict[str, str]:
        """Return a dictionary from every registered name to its target, `module:Class`.

        Raises ConfigError if two packages register the same name for different targets.
        """
        targets: dict[str, str] = {}
        for name, target in _entry_points(self.group, tuple(sys.path)):
            other = targets.setdefault(name, target)
            if other != target:
                # Name masscli's own class first, whatever the order of registration.
                first, second = sorted((other, target), key=_is_foreign)
                raise ConfigError(
                    Problem(
                        "", f"{self.kind} {name!r} is claimed by {first} and {second}"
                    )
                )
        return targets

    def builtin_names(self) -> list[str]:
        """Return the names that masscli itself registers."""
        return [
            name for name, target in self.names().items() if not _is_foreign(target)
        ]

    def load(self, name: str) -> T:
        """Import and return the object registered as `name`, or `name` itself if it is `module:Class`.

        Raises ConfigError for an unknown name, for a `module:Class` that was not passed to `allow`, and
        for a module or class that does not exist.
        """
        known = self.names()
        if ":" in name and name not in self._allowed:
            problem = f"{self.kind} {name!r} is neither built in nor installed, so its code is not run"
            raise ConfigError(
                Problem(
                    "name", problem, f"if you trust this code, add --allow-code {name}"
                )
            )
        target = name if ":" in name else known.get(name)
        if target is None:
            problem = f"no {self.kind} called {name!r}{suggest(name, list(known))}"
            raise ConfigError(Problem("name", problem))
        return cast(T, self.load_target(target))

    def load_target(self, target: str) -> object:
        """Import `module:Class` and return the class.

        Raises ConfigError if `target` has another form, or if the module or the class does not exist. An
        error inside the module passes unchanged, with its traceback.
        """
        subject = f"{self.kind} {target!r}"
        module_name = target.partition(":")[0]
        # A name that starts with a dot is relative to a package, and there is none here.
        if target.startswith(".") or not EntryPoint.pattern.match(target):
            raise ConfigError(Problem(subject, "is not of the form module:Class"))
        # The module is imported in a separate step, so that errors in its own code are not
        # mistaken for a missing class.
        try:
            importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # The plug-in exists, but a module that it imports does not.
            if not f"{module_name}.".startswith(f"{error.name}."):
                raise
            problem = Problem(subject, f"there is no module {error.name!r}")
            hint = "install the package, or put its folder into PYTHONPATH"
            raise ConfigError(problem, hint=hint) from None
        try:
            return EntryPoint(target, target, self.group).load()
        except AttributeError:
            raise ConfigError(
                Problem(subject, "the module has no such class")
            ) from None


@functools.lru_cache(maxsize=8)
def _entry_points(group: str, path: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Return (name, target) of each entry point of a group, in the order of their registration.

    Entry points that come only from the current folder are left out. Reading the metadata of all
    installed packages takes tens of milliseconds, so the result is cached for as long as `path`, the
    import path, stays the same.
    """
    return tuple(
        (point.name, point.value)
        for point in entry_points(group=group)
        if not _lies_in_current_folder(point)
    )


def _lies_in_current_folder(point: EntryPoint) -> bool:
    """Return whether an entry point comes from metadata in the current folder, not from an installed package.

    `python -m` puts the current folder on the import path, and whoever made the folder of a checkpoint
    may have put metadata into it. A checkout of masscli itself is trusted, and gives False.
    """
    if point.dist is None:
        return False
    folder = Path(str(point.dist.locate_file(""))).resolve()
    return folder == Path.cwd() and folder != Path(__file__).parents[2]


def _is_foreign(target: str) -> bool:
    return not target.startswith("masscli.")
