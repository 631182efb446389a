"""Options that several families of objectives share.

This module does not import torch, so that --help is fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from masscli.core.config import Flags, Rule, UnusedOption, check, config
from masscli.objectives.registry import ObjectiveConfig, Stacks


def fraction_rule(option: str, value: float | None) -> Rule:
    """Return a rule for `check`: the value of `option` is in [0, 1], or None because it is not set."""
    return value is None or 0 <= value <= 1, option, f"must lie in [0, 1], got {value}"


def positive_fraction_rule(option: str, value: float | None) -> Rule:
    """Return a rule for `check`: the value of `option` is in (0, 1], or None because it is not set."""
    return (
        value is None or 0 < value <= 1,
        option,
        f"must lie above 0, up to 1, got {value}",
    )


def above_zero_rule(option: str, value: float | None) -> Rule:
    """Return a rule for `check`: the value of `option` is above 0, or is None because it is not set."""
    return value is None or value > 0, option, f"must be above 0, got {value}"


def not_negative_rule(option: str, value: float | None) -> Rule:
    """Return a rule for `check`: the value of `option` is not negative, or is None because it is not set."""
    return value is None or value >= 0, option, f"must not be negative, got {value}"


def min_length_rule(option: str, value: int) -> Rule:
    """Return a rule for `check`: the value of `option`, a length in tokens, is at least 8."""
    return value >= 8, option, f"must be at least 8, got {value}"


@config
class CodeSwitchingOptions(ObjectiveConfig):
    """Options of objectives over sentences whose encoder may read some words in another language."""

    switch_dictionary: Path | None = None
    """File with a word and its translation on each line, used in both directions: some words that the encoder
    reads are replaced by their translations (code-switching). Only words that are a single piece can be
    replaced."""
    switch_share: float = 0.3
    """Probability that a word in the encoder's input that is in --switch-dictionary is replaced."""

    def __post_init__(self) -> None:
        check(fraction_rule("switch_share", self.switch_share))

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rule that --switch-share has no effect without --switch-dictionary."""
        no_dictionary = self.switch_dictionary is None
        reason = "there is nothing to switch by without --switch-dictionary"
        return (UnusedOption(no_dictionary, "switch_share", reason),)


@config
class TokenReplacementOptions(ObjectiveConfig):
    """What happens to tokens that were chosen for prediction.

    By default 80% become [M], 10% a random token, and 10% stay, as in BERT.
    """

    leave_unmasked_prob: float = 0.1
    """Share of the tokens chosen for masking that stay unchanged."""
    random_token_prob: float = 0.1
    """Share of the tokens chosen for masking that become a random token; the rest become [M]."""

    def __post_init__(self) -> None:
        total = self.leave_unmasked_prob + self.random_token_prob
        check(
            fraction_rule("leave_unmasked_prob", self.leave_unmasked_prob),
            fraction_rule("random_token_prob", self.random_token_prob),
            (
                total <= 1,
                "random_token_prob",
                "with --leave-unmasked-prob, must not exceed 1",
            ),
        )


@config
class SentenceMaskingOptions(CodeSwitchingOptions, TokenReplacementOptions):
    """Options of masked language models over sentences."""

    stacks: ClassVar[Stacks] = "encoder"
    mask_prob: float = 0.15
    """Share of tokens to predict."""

    def __post_init__(self) -> None:
        CodeSwitchingOptions.__post_init__(self)
        TokenReplacementOptions.__post_init__(self)
        check(positive_fraction_rule("mask_prob", self.mask_prob))


@config
class PseudoMaskingOptions(TokenReplacementOptions):
    """Options of generation by an encoder alone, with pseudo-masks (as UniLMv2's fine-tuning, s2s-ft)."""

    target_mask_prob: float = 0.5
    """Share of the target's tokens that are corrupted in the copy that later tokens attend to (XSum: 0.4 to
    0.5, CNN/DM: 0.7 to 0.8)."""

    def __post_init__(self) -> None:
        TokenReplacementOptions.__post_init__(self)
        check(fraction_rule("target_mask_prob", self.target_mask_prob))

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rule that the shares of kept and of random tokens have no effect if no target is corrupted."""
        nothing_corrupted = self.target_mask_prob == 0
        reason = "--target-mask-prob 0 corrupts nothing"
        return (
            UnusedOption(
                nothing_corrupted, "leave_unmasked_prob random_token_prob", reason
            ),
        )


@config
class DocumentOptions(ObjectiveConfig):
    """Options of objectives over documents."""

    stacks: ClassVar[Stacks] = "encoder"
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 128
    """Maximum length of an example in tokens, special tokens included."""
    short_seq_prob: float = 0.1
    """Share of documents for which a shorter maximum length is drawn at random."""
    dupe_factor: int = 10
    """Number of times that an epoch reads the corpus, each time with new pairs (the released ALBERT: 40)."""
    pair_seed: int = 12345
    """Random seed for the pairs of segments, and for masks that are the same in every epoch (--masks
    static)."""

    def __post_init__(self) -> None:
        check(
            min_length_rule("tokens_per_sample", self.tokens_per_sample),
            fraction_rule("short_seq_prob", self.short_seq_prob),
            above_zero_rule("dupe_factor", self.dupe_factor),
            not_negative_rule("pair_seed", self.pair_seed),
        )

    def max_example_length(self, prefix_length: int) -> tuple[str, int]:
        """Return the name of the option that limits the length of examples, and its value in tokens."""
        return "tokens_per_sample", self.tokens_per_sample
