"""The options of supervised translation. This module does not import torch, so that --help is fast."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from masscli.core.config import UnusedOption, check, config, not_negative, positive
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
    """Start each source with a reserved symbol that marks it as synthetic (tagged back-translation,
    Caswell et al. 2019). For a stream of synthetic pairs that is combined with one of real pairs."""

    guided_alignment: Path | None = None
    """Also train a cross-attention head of the decoder with the alignments in this file (Garg et al.
    2019). It has a line for each training pair of the data folder, such as 0-0 1-2: positions of source
    and target pieces, as written by `masscli align`."""
    guided_alignment_weight: float = 0.05
    """Weight of the loss of --guided-alignment; that of translation is 1."""
    guided_alignment_layer: int | None = None
    """Decoder layer, counted from 1, whose first head --guided-alignment trains (default: the second to
    last)."""

    def __post_init__(self) -> None:
        check(
            *not_negative(self, "guided_alignment_weight"),
            *positive(self, "guided_alignment_layer"),
            fraction_rule("label_smoothing", self.label_smoothing),
            fraction_rule("source_blank", self.source_blank),
            fraction_rule("target_blank", self.target_blank),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rule that weight and layer of guided alignment have no effect without alignments."""
        return (
            UnusedOption(
                self.guided_alignment is None,
                "guided_alignment_weight guided_alignment_layer",
                "there are no alignments to learn without --guided-alignment",
                misleading=True,
            ),
        )
