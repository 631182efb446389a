"""The options of BERT and its relatives, apart from the objectives so that help screens need no torch.

Defaults are what the papers state; where the released code does something else, it has a name.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from masscli.core.config import Flags, UnusedOption, check, config
from masscli.objectives.input_kinds import PAIRS, InputKind
from masscli.objectives.shared.options import DocumentOptions, PseudoMaskOptions, share


@config
class UniLMOptions(DocumentOptions):
    """Pseudo-masked language model: autoencoding and partially autoregressive prediction in one pass (UniLMv2, Bao et al. 2020)."""

    implementation: ClassVar[str] = "masscli.objectives.unilm.objective:UniLM"
    encoder_generates = True
    name: str = "unilm"
    """Which."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Longest text, special symbols included; the copies of masked tokens are not counted."""
    short_seq_prob: float = 0.0
    """Share of documents that aim at a random shorter length."""
    dupe_factor: int = 1
    """An epoch goes through the corpus this often, with new pairs each time (the released ALBERT: 40)."""
    mask_prob: float = 0.15
    """Share of tokens to predict."""
    ngram_prob: float = 0.4
    """Share of blocks that have more than one token."""
    max_ngram: int = 6
    """Tokens of the longest block."""
    corruption: Literal["80-10-10", "all-mask"] = "80-10-10"
    """What stands at [M]: as in BERT, where one in ten shows the token itself (to the partially autoregressive side too), or always [M]."""
    variant: Literal["ae+par", "ae+ar", "ae", "par", "ar"] = "ae+par"
    """The method, or an ablation: autoencoding, partially autoregressive, autoregressive in a random order."""

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        check(
            (0 < self.mask_prob <= 1, "mask_prob", f"must lie above 0, up to 1, got {self.mask_prob}"),
            share("ngram_prob", self.ngram_prob),
            (self.max_ngram > 1, "max_ngram", f"must be above 1, got {self.max_ngram}"),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        terms, variant = self.variant.split("+"), f"--variant {self.variant}"
        return (
            UnusedOption("ar" in terms, "ngram_prob max_ngram", f"{variant} has blocks of one token"),
            UnusedOption(self.ngram_prob == 0, "max_ngram", "--ngram-prob 0 makes blocks of one token"),
            UnusedOption("ae" not in terms, "corruption", f"{variant} has no [M]"),
        )


@config
class PseudoMaskedOptions(PseudoMaskOptions):
    """Sequence to sequence with an encoder alone, by pseudo-masks (UniLMv2's fine-tuning, s2s-ft)."""

    implementation: ClassVar[str] = "masscli.objectives.unilm.s2s:PseudoMasked"
    input_kind: ClassVar[InputKind] = PAIRS
    stacks = "encoder"
    encoder_generates = True
    name: str = "s2s"
    """Which."""
    label_smoothing: float = 0.1
    """Probability spread evenly over the vocabulary."""

    def __post_init__(self) -> None:
        PseudoMaskOptions.__post_init__(self)
        check(share("label_smoothing", self.label_smoothing))
