"""The options of supervised translation. Nothing here imports torch, since help screens read it."""

from __future__ import annotations

from typing import ClassVar

from masscli.core.config import check, config
from masscli.objectives.input_kinds import PAIRS, InputKind
from masscli.objectives.registry import ObjectiveConfig
from masscli.objectives.shared.options import fraction_rule


@config
class TranslateOptions(ObjectiveConfig):
    """Supervised sequence to sequence."""

    implementation: ClassVar[str] = "masscli.objectives.translate.objective:Translate"
    input_kind: ClassVar[InputKind] = PAIRS
    parameter_group = "encoder-decoder"
    name: str = "translate"
    """The objective."""
    label_smoothing: float = 0.1
    """Probability that is spread evenly over the vocabulary."""
    source_blank: float = 0.0
    """Share of the tokens that the encoder reads as [M] in training."""
    target_blank: float = 0.0
    """Share of the tokens that the decoder reads as [M] in training, so that it relies on the source (word
    dropout, Bowman et al. 2016)."""
    tag_sources: bool = False
    """Begin each source with a reserved symbol, which says that it is synthetic (tagged back-translation,
    Caswell et al. 2019). For a stream of synthetic pairs beside one of real pairs."""

    def __post_init__(self) -> None:
        check(
            fraction_rule("label_smoothing", self.label_smoothing),
            fraction_rule("source_blank", self.source_blank),
            fraction_rule("target_blank", self.target_blank),
        )
