"""The options of a search as they were typed, for commands that generate."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from masscli.cli.options import OptionGroup, SectionOptions
from masscli.generation.config import GenerationConfig


class GivenSearch(OptionGroup):
    """An option group that collects the search options that were typed, without defaults.

    Commands need them because an imported model has defaults of its own, known only when it is opened. The
    Typer parameters are those of `GenerationConfig`, which the command has as well.
    """

    def __init__(self, command: str, args: Sequence[str]) -> None:
        """Accept the arguments that every option group is created with; they are not used."""

    def parameters(self) -> Sequence[inspect.Parameter]:
        """Return no parameters, since those of `GenerationConfig` are used."""
        return ()

    def collect(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the search options that were typed, unparsed, by the field names of `GenerationConfig`."""
        return SectionOptions(GenerationConfig).given(values)

    def names(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return no flags, since the options of `GenerationConfig` already report theirs."""
        return {}
