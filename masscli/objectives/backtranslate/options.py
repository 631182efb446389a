"""The options of back-translation. Nothing here imports torch, since help screens read it."""

from __future__ import annotations

from typing import Annotated, ClassVar

from masscli.core.config import Flags, check, config
from masscli.objectives.input_kinds import BACK_TRANSLATION, InputKind
from masscli.objectives.registry import ObjectiveConfig
from masscli.objectives.shared.options import (
    above_zero_rule,
    fraction_rule,
    not_negative_rule,
)


@config
class BacktranslateOptions(ObjectiveConfig):
    """Back-translation: learn to generate real text from the model's own translation of it.

    Sennrich et al. 2016, Lample et al. 2018.
    """

    implementation: ClassVar[str] = (
        "masscli.objectives.backtranslate.objective:Backtranslate"
    )
    input_kind: ClassVar[InputKind] = BACK_TRANSLATION
    parameter_group = "encoder-decoder"
    name: str = "backtranslate"
    """The objective."""
    beam: Annotated[int, Flags("--beam-size")] = 1
    """Width of the beam search that makes the synthetic source; 1 is greedy search."""
    sampling_share: float = 0.0
    """Share of the synthetic sources that are sampled, instead of found by beam search."""
    temperature: float = 1.0
    """Divisor of the logits before sampling (with --sampling-share)."""
    max_len_a: float = 1.3
    """The longest synthetic source has a * input length + b tokens; this is a."""
    max_len_b: int = 5
    """The b of --max-len-a, in tokens."""
    min_piece_count: int = 0
    """Generate only pieces that occur at least this often in the training text of the source language; 0
    allows all pieces."""
    source_shuffle: float = 0.0
    """Noise on the synthetic source: about the largest number of places that a token is moved by; 0 keeps the
    order, and 3 is what is called 4 in XLM and fairseq."""
    source_dropout: float = 0.0
    """Share of the tokens of the synthetic source that are left out."""
    source_blank: float = 0.0
    """Share of the tokens of the synthetic source that are replaced by [M]."""
    tag_sources: bool = False
    """Begin each synthetic source with a reserved symbol, which says that it is synthetic (Caswell et al.
    2019)."""
    label_smoothing: float = 0.0
    """Probability that is spread evenly over the vocabulary."""

    def __post_init__(self) -> None:
        only_default_temperature = self.temperature == 1 or self.sampling_share > 0
        check(
            above_zero_rule("beam", self.beam),
            fraction_rule("sampling_share", self.sampling_share),
            above_zero_rule("temperature", self.temperature),
            (
                only_default_temperature,
                "temperature",
                "nothing is sampled (--sampling-share)",
            ),
            not_negative_rule("max_len_a", self.max_len_a),
            not_negative_rule("max_len_b", self.max_len_b),
            not_negative_rule("min_piece_count", self.min_piece_count),
            not_negative_rule("source_shuffle", self.source_shuffle),
            fraction_rule("source_dropout", self.source_dropout),
            fraction_rule("source_blank", self.source_blank),
            fraction_rule("label_smoothing", self.label_smoothing),
        )
