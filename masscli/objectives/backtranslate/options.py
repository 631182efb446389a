"""The options of the built-in objectives, apart from them so that help screens need no torch.

The presets of MASS are the table of the released code bases: the fields that a preset fixes default to `None` here and are filled in by
`MassOptions.resolved`; what the user says wins.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from masscli.core.config import Flags, check, config
from masscli.objectives.input_kinds import BACK_TRANSLATION, InputKind
from masscli.objectives.registry import ObjectiveConfig
from masscli.objectives.shared.options import _share


@config
class BacktranslateOptions(ObjectiveConfig):
    """Back-translation: learn to write real text from the model's own translation of it (Sennrich et al. 2016, Lample et al. 2018)."""

    implementation: ClassVar[str] = "masscli.objectives.backtranslate.objective:Backtranslate"
    input_kind: ClassVar[InputKind] = BACK_TRANSLATION
    parameter_group = "encoder-decoder"
    name: str = "backtranslate"
    """Which."""
    beam: Annotated[int, Flags("--beam-size")] = 1
    """Width of the search that makes the synthetic source; 1 is greedy."""
    sampling_share: float = 0.0
    """Share of the sources that are sampled instead."""
    temperature: float = 1.0
    """Divides logits before sampling."""
    max_len_a: float = 1.3
    """Longest synthetic source is a * length + b, in tokens."""
    max_len_b: int = 5
    """See --max-len-a."""
    min_piece_count: int = 0
    """Write only pieces that occur at least so many times in the training text of that language; 0 allows all."""
    source_shuffle: float = 0.0
    """Noise on the synthetic source: no token moves further than about this many places; 0 keeps the order."""
    source_dropout: float = 0.0
    """Share of its tokens that are left out."""
    source_blank: float = 0.0
    """Share of its tokens that are replaced by [M]."""
    label_smoothing: float = 0.0
    """Probability spread evenly over the vocabulary."""

    def __post_init__(self) -> None:
        check(
            (self.beam > 0, "beam", f"must be above 0, got {self.beam}"),
            _share("sampling_share", self.sampling_share),
            (self.temperature > 0, "temperature", f"must be above 0, got {self.temperature}"),
            (
                self.temperature == 1 or self.sampling_share > 0,
                "temperature",
                "nothing is sampled (--sampling-share)",
            ),
            (self.max_len_a >= 0, "max_len_a", f"must not be negative, got {self.max_len_a}"),
            (self.max_len_b >= 0, "max_len_b", f"must not be negative, got {self.max_len_b}"),
            (
                self.min_piece_count >= 0,
                "min_piece_count",
                f"must not be negative, got {self.min_piece_count}",
            ),
            (self.source_shuffle >= 0, "source_shuffle", f"must not be negative, got {self.source_shuffle}"),
            _share("source_dropout", self.source_dropout),
            _share("source_blank", self.source_blank),
            _share("label_smoothing", self.label_smoothing),
        )
