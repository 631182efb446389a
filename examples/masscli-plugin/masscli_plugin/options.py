"""Options of the prefix language model. This module imports no torch, so that help screens stay fast."""

from __future__ import annotations

from typing import ClassVar

from masscli.core.config import check, config
from masscli.objectives.registry import ObjectiveConfig


@config
class PrefixLMOptions(ObjectiveConfig):
    """Options of the prefix language model."""

    implementation: ClassVar[str] = "masscli_plugin.objective:PrefixLM"
    prefix_share: float = 0.5
    """Share of each sentence that the encoder reads; the decoder writes the rest."""

    def __post_init__(self) -> None:
        check(
            (
                0 < self.prefix_share < 1,
                "prefix_share",
                f"must lie between 0 and 1, got {self.prefix_share}",
            )
        )
