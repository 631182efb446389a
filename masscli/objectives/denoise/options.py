"""The options of the denoising auto-encoder. This module does not import torch, so that --help is fast."""

from __future__ import annotations

from typing import ClassVar, Literal

from masscli.core.config import UnusedOption, check, config
from masscli.objectives.shared.options import (
    CodeSwitchingOptions,
    fraction_rule,
    not_negative_rule,
)


@config
class DenoiseOptions(CodeSwitchingOptions):
    """Denoising auto-encoder (the DAE baseline of MASS; noise of Lample et al. 2018)."""

    implementation: ClassVar[str] = "masscli.objectives.denoise.objective:Denoise"
    parameter_group = "encoder-decoder"
    name: str = "denoise"
    """The objective."""
    infill_share: float = 0.0
    """Share of tokens in spans that are each replaced by a single [M], before the other noise (text
    infilling, Lewis et al. 2020; BART: 0.3, and no other noise)."""
    infill_length: float = 3.0
    """Mean length of these spans. Lengths are drawn from a Poisson distribution; a span of length 0 inserts
    an [M]."""
    word_shuffle: float = 3.0
    """Tokens move by about this many positions at most; 0 keeps the order, and 3 corresponds to 4 in
    XLM and fairseq."""
    word_dropout: float = 0.1
    """Share of tokens that are dropped."""
    word_blank: float = 0.1
    """Share of tokens that are replaced by [M]."""
    noise_unit: Literal["token", "word"] = "token"
    """Unit of the noise: tokens, or whole words, as in XLM."""

    def __post_init__(self) -> None:
        CodeSwitchingOptions.__post_init__(self)
        check(
            not_negative_rule("word_shuffle", self.word_shuffle),
            fraction_rule("infill_share", self.infill_share),
            (
                self.infill_length >= 0.1,
                "infill_length",
                f"must be 0.1 or more, got {self.infill_length}",
            ),
            fraction_rule("word_dropout", self.word_dropout),
            fraction_rule("word_blank", self.word_blank),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules that say which options have no effect, given the values of the others."""
        return (
            *super().unused_options,
            UnusedOption(
                not self.infill_share,
                "infill_length",
                "--infill-share 0 replaces nothing",
            ),
        )
