"""Warn about options that have no effect together with others, or refuse those that would mislead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from masscli.cli.messages import warn
from masscli.cli.typer_parameters import flag
from masscli.core.config import (
    Problem,
    UnusedOption,
    find_unused,
    is_changed,
    refuse_misleading,
)


def check_changed_options(section: Any, *rules: UnusedOption) -> None:
    """Print warnings about options of a configuration that are not at their defaults but have no effect.

    The rules say which have none. Raises ConfigError instead for an option whose rule calls it misleading.
    """
    unused = {}
    for key, rule in find_unused(section, rules).items():
        # A section does not distinguish a default from the same value given by the user.
        if is_changed(section, key):
            unused[flag(key)] = rule
    warn_unused(refuse_misleading(unused), {})


def warn_unused(problems: Iterable[Problem], names: Mapping[str, str]) -> None:
    """Print a warning for each problem, about an option without effect.

    The option is called as the user typed it, which `names` tells by key, or else by its key.
    """
    for problem in problems:
        name = names.get(problem.key, problem.key)
        warn(f"{name} has no effect: {problem.message}")
