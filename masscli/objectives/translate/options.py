"""The options of the built-in objectives, apart from them so that help screens need no torch.

The presets of MASS are the table of the released code bases: the fields that a preset fixes default to `None` here and are filled in by
`MassOptions.resolved`; what the user says wins.
"""

from __future__ import annotations

from typing import ClassVar

from masscli.core.config import check, config
from masscli.objectives.input_kinds import PAIRS, InputKind
from masscli.objectives.registry import ObjectiveConfig
from masscli.objectives.shared.options import _share


@config
class TranslateOptions(ObjectiveConfig):
    """Supervised sequence to sequence."""

    implementation: ClassVar[str] = "masscli.objectives.translate.objective:Translate"
    input_kind: ClassVar[InputKind] = PAIRS
    parameter_group = "encoder-decoder"
    name: str = "translate"
    """Which."""
    label_smoothing: float = 0.1
    """Probability spread evenly over the vocabulary."""
    source_blank: float = 0.0
    """Share of the words that the encoder reads as [M], in training."""
    target_blank: float = 0.0
    """Share of the words that the decoder reads as [M], in training, so that it leans on the source (word dropout, Bowman et al. 2016)."""

    def __post_init__(self) -> None:
        check(
            _share("label_smoothing", self.label_smoothing),
            _share("source_blank", self.source_blank),
            _share("target_blank", self.target_blank),
        )
