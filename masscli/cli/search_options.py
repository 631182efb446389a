"""The options of a search as they were typed, for commands that generate."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from masscli.cli.options import OptionGroup, SectionOptions
from masscli.generation.config import GenerationConfig


class GivenSearch(OptionGroup):
    """The options of the search that were typed, without defaults.

    An imported model has defaults of its own, which are known when it is opened.
    """

    def __init__(self, command: str, args: Sequence[str]) -> None:
        """Take what every group of options is created with; the options do not depend on it."""

    def parameters(self) -> Sequence[inspect.Parameter]:
        """Return no parameters: they are those of GenerationConfig."""
        return ()

    def collect(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options that were typed, by the names of their fields."""
        return SectionOptions(GenerationConfig).given(values)

    def names(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Return no names: GenerationConfig has them."""
        return {}
