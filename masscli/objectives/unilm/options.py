"""The options of UniLM's objectives.

This module does not import torch, so that --help is fast. Defaults are those of the papers. Where the
released code differs from its paper, an option can be set to the value of the code.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from masscli.core.config import Flags, UnusedOption, check, config
from masscli.objectives.input_kinds import PAIRS, InputKind
from masscli.objectives.registry import Stacks
from masscli.objectives.shared.options import (
    DocumentOptions,
    PseudoMaskingOptions,
    fraction_rule,
    positive_fraction_rule,
)


@config
class UniLMOptions(DocumentOptions):
    """Pseudo-masked language model: autoencoding and partially autoregressive prediction (UniLMv2)."""

    implementation: ClassVar[str] = "masscli.objectives.unilm.objective:UniLM"
    encoder_generates = True
    name: str = "unilm"
    """The objective."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Maximum length of a text in tokens, special tokens included; the copies of masked tokens are not
    counted."""
    short_seq_prob: float = 0.0
    """Share of documents for which a shorter maximum length is drawn at random."""
    dupe_factor: int = 1
    """Number of times that an epoch reads the corpus, each time with new pairs."""
    mask_prob: float = 0.15
    """Share of tokens to predict."""
    ngram_prob: float = 0.4
    """Share of blocks that have more than one token."""
    max_ngram: int = 6
    """Maximum number of tokens in a block."""
    corruption: Literal["80-10-10", "all-mask"] = "80-10-10"
    """What the encoder sees at a masked position: 80-10-10 as in BERT, where one token in ten stays visible
    (also to the partially autoregressive part), or always [M] (all-mask)."""
    variant: Literal["ae+par", "ae+ar", "ae", "par", "ar"] = "ae+par"
    """The method, or an ablation: autoencoding (ae), partially autoregressive (par), autoregressive in a
    random order (ar)."""

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        check(
            positive_fraction_rule("mask_prob", self.mask_prob),
            fraction_rule("ngram_prob", self.ngram_prob),
            (self.max_ngram > 1, "max_ngram", f"must be above 1, got {self.max_ngram}"),
        )

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the loss terms of --variant: one or two of `ae`, `par` and `ar`."""
        return tuple(self.variant.split("+"))

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules that say which options have no effect with this --variant or --ngram-prob."""
        variant = f"--variant {self.variant}"
        return (
            UnusedOption(
                "ar" in self.terms,
                "ngram_prob max_ngram",
                f"{variant} has blocks of one token",
            ),
            UnusedOption(
                self.ngram_prob == 0,
                "max_ngram",
                "--ngram-prob 0 makes blocks of one token",
            ),
            UnusedOption("ae" not in self.terms, "corruption", f"{variant} has no [M]"),
        )


@config
class PseudoMaskedOptions(PseudoMaskingOptions):
    """Sequence to sequence with an encoder alone, by pseudo-masks (UniLMv2's fine-tuning, s2s-ft)."""

    implementation: ClassVar[str] = "masscli.objectives.unilm.s2s:PseudoMasked"
    input_kind: ClassVar[InputKind] = PAIRS
    stacks: ClassVar[Stacks] = "encoder"
    encoder_generates = True
    name: str = "s2s"
    """The objective."""
    label_smoothing: float = 0.1
    """Probability that is spread evenly over the vocabulary."""

    def __post_init__(self) -> None:
        PseudoMaskingOptions.__post_init__(self)
        check(fraction_rule("label_smoothing", self.label_smoothing))
