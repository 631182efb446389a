"""The options of BERT and its relatives, apart from the objectives so that help screens need no torch.

Defaults are what the papers state; where the released code does something else, it has a name.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from masscli.core.config import UnusedOption, check, config
from masscli.objectives.shared.options import DocumentOptions, share


@config
class ElectraOptions(DocumentOptions):
    """Replaced-token detection (Clark et al. 2020)."""

    implementation: ClassVar[str] = "masscli.objectives.electra.objective:Electra"
    name: str = "electra"
    """Which."""
    short_seq_prob: float = 0.05
    """Share of examples that aim at a random shorter length."""
    dupe_factor: int = 1
    """An epoch goes through the corpus this often, with new pairs each time."""
    mask_prob: float = 0.15
    """Share of tokens that the generator predicts (electra-large was published with 0.25; base and large with --block-size 512)."""
    mask_keep: float = 0.15
    """Share of those that the generator sees as they are, as in the released code; the paper's text has 0."""
    sampling: Literal["with", "without"] = "with"
    """Draw those places with replacement, as in the released code, or without."""
    generator_size: float | None = None
    """Width of the generator as a share of the discriminator's (default: 1/3 with --arch electra-base, else 1/4, as published)."""
    generator_ties: Literal["embeddings", "all", "none"] | None = None
    """What the generator shares with the discriminator: the embeddings; all but its output, where it is as wide; or nothing (default:
    embeddings, and nothing in two-stage)."""
    generator_updates: int | None = None
    """Updates in which the generator learns alone (two-stage), and for the rest of a list that --batch-reuse goes through again."""
    disc_weight: float = 50.0
    """Weight of the discriminator's loss beside the generator's."""
    temperature: float = 1.0
    """Divides the generator's logits before sampling."""
    variant: Literal["electra", "electra-15", "replace-mlm", "all-tokens-mlm", "adversarial", "two-stage"] = (
        "electra"
    )
    """The method, or an ablation: detect at the masked places only; predict the masked tokens from the generator's samples; predict all
    tokens from them, with a copy gate; a generator that learns to mislead the discriminator; a generator that learns alone before the
    discriminator goes on from its weights."""

    @property
    def ties(self) -> str:
        """`generator_ties`, said or not."""
        return self.generator_ties or ("none" if self.variant == "two-stage" else "embeddings")

    def size_beside(self, arch: str) -> float:
        """`generator_size`, said or not, beside a discriminator of a named size."""
        return (
            (1 / 3 if arch == "electra-base" else 0.25)
            if self.generator_size is None
            else self.generator_size
        )

    @property
    def warm_start_updates(self) -> int:
        """The generator learns alone for so long."""
        return self.generator_updates or 0

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        two, updates = self.variant == "two-stage", self.generator_updates
        check(
            (
                self.ties != "all" or self.generator_size == 1,
                "generator_ties",
                f"all needs --generator-size 1, got {self.size_beside('')}",
            ),
            (
                not two or self.ties == "none",
                "generator_ties",
                "two-stage ties nothing: its generator stands still while the rest learns",
            ),
            (
                not two or (updates or 0) > 0,
                "variant",
                f"two-stage needs --generator-updates above 0, got {updates}",
            ),
            (two or updates is None, "generator_updates", "belongs to --variant two-stage"),
            (0 < self.mask_prob <= 1, "mask_prob", f"must lie above 0, up to 1, got {self.mask_prob}"),
            share("mask_keep", self.mask_keep),
            (
                self.generator_size is None or self.generator_size > 0,
                "generator_size",
                f"must be above 0, got {self.generator_size}",
            ),
            (self.disc_weight >= 0, "disc_weight", f"must not be negative, got {self.disc_weight}"),
            (self.temperature > 0, "temperature", f"must be above 0, got {self.temperature}"),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        tokens = self.variant in ("replace-mlm", "all-tokens-mlm")
        return (
            UnusedOption(
                tokens,
                "disc_weight",
                f"--variant {self.variant} has no discriminator and weighs its two losses alike",
            ),
        )
