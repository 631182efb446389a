"""The options of ELECTRA.

This module does not import torch, so that --help is fast. Defaults are those of the paper. Where the
released code differs, an option allows its value, too.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from masscli.core.config import UnusedOption, check, config
from masscli.objectives.shared.options import (
    DocumentOptions,
    above_zero_rule,
    fraction_rule,
    not_negative_rule,
    positive_fraction_rule,
)

Variant = Literal[
    "electra", "electra-15", "replace-mlm", "all-tokens-mlm", "adversarial", "two-stage"
]


@config
class ElectraOptions(DocumentOptions):
    """Replaced-token detection (Clark et al. 2020)."""

    implementation: ClassVar[str] = "masscli.objectives.electra.objective:Electra"
    name: str = "electra"
    """The objective."""
    short_seq_prob: float = 0.05
    """Share of examples for which a shorter maximum length is drawn at random."""
    dupe_factor: int = 1
    """Number of times that an epoch reads the corpus, each time with new pairs."""
    mask_prob: float = 0.15
    """Share of tokens that the generator predicts (electra-large was published with 0.25; base and large with
    --block-size 512)."""
    mask_keep: float = 0.15
    """Share of the chosen tokens that the generator sees unchanged, as in the released code; the
    paper's text says 0."""
    sampling: Literal["with", "without"] = "with"
    """Whether the positions to mask are drawn with replacement, as in the released code, or without."""
    generator_size: float | None = None
    """Width of the generator as a share of the discriminator's (default: 1/3 with --arch electra-base, else
    1/4, as published)."""
    generator_ties: Literal["embeddings", "all", "none"] | None = None
    """What the generator shares with the discriminator: the embeddings; everything but its output layer, if
    it is as wide; or nothing (default: embeddings, and nothing in two-stage)."""
    generator_updates: int | None = None
    """Number of updates in which only the generator is trained, for --variant two-stage only. If
    --batch-reuse repeats a list of micro-batches, the list is finished first."""
    disc_weight: float = 50.0
    """Weight of the discriminator's loss; that of the generator's is 1."""
    temperature: float = 1.0
    """Divisor of the generator's logits before sampling."""
    variant: Variant = "electra"
    """The method, or an ablation: detect at the masked positions only (electra-15); predict the masked tokens
    from the generator's samples (replace-mlm); predict all tokens from them, with a copy gate
    (all-tokens-mlm); a generator trained to mislead the discriminator (adversarial); a generator that
    is first trained on its own, and from whose weights the discriminator then starts (two-stage)."""

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        two_stage = self.variant == "two-stage"
        updates = self.generator_updates
        check(
            (
                self.resolved_ties != "all" or self.generator_size == 1,
                "generator_ties",
                f"all needs --generator-size 1, got {self.resolved_size('')}",
            ),
            (
                not two_stage or self.resolved_ties == "none",
                "generator_ties",
                "two-stage ties nothing: its generator is frozen while the model learns",
            ),
            (
                not two_stage or (updates or 0) > 0,
                "variant",
                f"two-stage needs --generator-updates above 0, got {updates}",
            ),
            (
                two_stage or updates is None,
                "generator_updates",
                "belongs to --variant two-stage",
            ),
            positive_fraction_rule("mask_prob", self.mask_prob),
            fraction_rule("mask_keep", self.mask_keep),
            above_zero_rule("generator_size", self.generator_size),
            not_negative_rule("disc_weight", self.disc_weight),
            above_zero_rule("temperature", self.temperature),
        )

    @property
    def resolved_ties(self) -> str:
        """Which parameters the generator shares with the discriminator, with the default filled in."""
        if self.generator_ties is not None:
            return self.generator_ties
        if self.variant == "two-stage":
            return "none"
        return "embeddings"

    def resolved_size(self, arch: str) -> float:
        """Return the generator's width as a share of the discriminator's: --generator-size or its default.

        `arch` is the name of the model's size (--arch), on which the default depends.
        """
        if self.generator_size is not None:
            return self.generator_size
        # As published: a third for base, a quarter for small and large.
        if arch == "electra-base":
            return 1 / 3
        return 0.25

    @property
    def predicts_tokens(self) -> bool:
        """Whether the model predicts tokens, instead of detecting replaced ones."""
        return self.variant in ("replace-mlm", "all-tokens-mlm")

    @property
    def warm_start_updates(self) -> int:
        """The number of updates at the start in which only the generator learns; 0 except in two-stage."""
        return self.generator_updates or 0

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rule that --disc-weight has no effect in variants whose model predicts tokens."""
        reason = f"--variant {self.variant} has no discriminator, and its two losses have equal weights"
        return (UnusedOption(self.predicts_tokens, "disc_weight", reason),)
