"""The options of MASS, and the presets of the released code bases.

This module does not import torch, so that --help is fast.

The options that a preset fixes default to None, and `MassOptions.resolved` fills them in. Values given
by the user take precedence.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from masscli.core.config import Rule, UnusedOption, check, config, to_dict
from masscli.objectives.shared.options import (
    CodeSwitchingOptions,
    above_zero_rule,
    fraction_rule,
    not_negative_rule,
    positive_fraction_rule,
)


@config
class MassOptions(CodeSwitchingOptions):
    """Masked sequence to sequence (Song et al. 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.mass.objective:Mass"
    parameter_group = "encoder-decoder"
    name: str = "mass"
    """The objective."""
    preset: Literal["paper", "xlm", "fairseq", "summarization"] = "paper"
    """Defaults for the options below: those of the paper, or of the code that its authors released for
    unsupervised translation (xlm), supervised translation (fairseq) or summarization."""
    k: float | None = None
    """Share of the sentence, or of each --block, that is masked for the encoder and predicted by the decoder;
    with 1.0 all of it is predicted, as by a causal language model (default: 0.5; with --preset fairseq 0.3,
    summarization 0.15)."""
    k_tokens: int | None = None
    """Number of masked tokens, instead of the share --k; the paper compares k = 1 with BERT."""
    k_of: Literal["words", "sequence"] | None = None
    """What --k is a share of: the tokens of the sentence (words), or these with its start and end symbols
    (sequence) (default: words; with --preset xlm and fairseq sequence)."""
    k_rounding: Literal["nearest", "floor"] | None = None
    """How the number of masked tokens for --k is rounded: to the nearest integer, or down (default:
    nearest; with --block always down)."""
    start: Literal["uniform", "ends", "ends-but-last"] | None = None
    """Where the fragment starts: anywhere (uniform); in 20% of the sentences at the start, in 20% as
    late as possible, otherwise anywhere (ends); or the same, but otherwise anywhere except as late as
    possible (ends-but-last) (default: uniform; with --preset xlm ends, fairseq ends-but-last)."""
    mask_eos: bool | None = None
    """Allow the end symbol to be part of the fragment (default: no; with --preset xlm and fairseq yes)."""
    mask_share: float | None = None
    """Share of the fragment's tokens that the encoder sees as [M] (default: 0.8)."""
    random_share: float | None = None
    """Share of the fragment's tokens that the encoder sees as a random token; it sees the rest
    unchanged (default: 0.1)."""
    random_ids: Literal["words", "all"] | None = None
    """Where random tokens come from: ids that are not special (words), or all ids (default: words; with
    --preset xlm all)."""
    mask_visibility: Literal["all", "encoder", "none"] | None = None
    """What may attend to [M]: encoder and decoder (all), only the encoder itself (encoder), or neither (none)
    (default: all; with --preset xlm encoder, fairseq none)."""
    decoder_mask_share: float | None = None
    """Share of the decoder's inputs that are replaced by [M] (default: 0; with --preset fairseq 0.1)."""
    decoder_random_share: float | None = None
    """Share of the decoder's inputs that are replaced by a random token (default: 0; with --preset fairseq
    0.1)."""
    decoder_positions: Literal["original", "restart"] | None = None
    """Positions of the decoder's inputs: those in the sentence (original), or counted from 0 (restart)
    (default: original; with --preset fairseq restart)."""
    source_shift: int = 0
    """For the encoder, mask this many additional tokens, starting this many positions after the start
    of the fragment; the released fairseq code does this with 1, which --preset fairseq does not
    reproduce."""
    span: int | None = None
    """Split the fragment into pieces of this many tokens (default: one piece); 1 is the Discrete ablation of
    the paper."""
    feed: Literal["fragment", "all"] = "fragment"
    """What the decoder reads: the fragment, or the whole sentence (the Feed ablation of the paper)."""
    first_input: Literal["previous", "mask"] = "previous"
    """What the decoder reads before a fragment: the real previous token, or [M] as in the text of the
    paper."""
    block: int | None = None
    """Mask a fragment in each block of this many tokens of a window of running text; 0 masks one fragment of
    each sentence (default: 0; with --preset summarization 64)."""
    window: int | None = None
    """Length of a window in tokens, without its start and end symbols, if --block is given (default:
    512, or fewer if the model has fewer positions)."""

    def __post_init__(self) -> None:
        CodeSwitchingOptions.__post_init__(self)
        check(
            positive_fraction_rule("k", self.k),
            (
                self.k is None or self.k_tokens is None,
                "k_tokens",
                "cannot be combined with --k",
            ),
            above_zero_rule("k_tokens", self.k_tokens),
            fraction_rule("mask_share", self.mask_share),
            fraction_rule("random_share", self.random_share),
            _sum_rule("mask_share", self.mask_share, "random_share", self.random_share),
            fraction_rule("decoder_mask_share", self.decoder_mask_share),
            fraction_rule("decoder_random_share", self.decoder_random_share),
            _sum_rule(
                "decoder_mask_share",
                self.decoder_mask_share,
                "decoder_random_share",
                self.decoder_random_share,
            ),
            not_negative_rule("source_shift", self.source_shift),
            above_zero_rule("span", self.span),
            not_negative_rule("block", self.block),
            (
                self.window is None or self.window > 8,
                "window",
                f"must be above 8, got {self.window}",
            ),
        )

    def resolved(self) -> MassOptions:
        """Return a copy of the options with the values of --preset for those that it fixes and that are None.

        With --k-tokens the share k stays None.
        """
        # Options that are None are left out of the dictionary.
        given = to_dict(self)
        values = {
            name: value
            for name, value in MASS_PRESETS[self.preset].items()
            if name not in given
        }
        # A number of tokens replaces the share of every preset.
        if self.k_tokens is not None:
            values.pop("k")
        return replace(self, **values)

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules that say which options have no effect, given the values of the others."""
        options = self.resolved()
        no_random_tokens = not (options.random_share or options.decoder_random_share)
        return (
            *super().unused_options,
            UnusedOption(
                options.k_tokens is not None, "k_of k_rounding", "--k-tokens is a count"
            ),
            UnusedOption(
                bool(options.block),
                "k_of k_rounding mask_eos",
                "a window of blocks (--block) has no start and end symbols of its own",
            ),
            UnusedOption(
                not options.block, "window", "there are no windows without --block"
            ),
            UnusedOption(
                no_random_tokens, "random_ids", "no token is replaced by a random one"
            ),
            UnusedOption(
                not options.mask_share, "mask_visibility", "no token is shown as [M]"
            ),
            UnusedOption(
                options.feed == "all",
                "decoder_positions",
                "with --feed all both values are the same",
            ),
        )

    def max_example_length(self, prefix_length: int) -> tuple[str, int] | None:
        """Return `window`, and the length in tokens of an example with its special tokens.

        None if --window is not given, or if fragments are not masked in blocks, so that there are no windows.
        """
        if self.window is None or not self.resolved().block:
            return None
        # A window gets an end symbol, and the special tokens before it.
        return "window", self.window + 1 + prefix_length


def _sum_rule(
    first: str, first_value: float | None, second: str, second_value: float | None
) -> Rule:
    """Return a rule for `check`: two options, shares whose None counts as 0, add up to 1 or less."""
    holds = (first_value or 0) + (second_value or 0) <= 1
    return holds, second, f"with {first}, must not exceed 1"


_PAPER: dict[str, Any] = {
    # The paper masks about half of a sentence.
    "k": 0.5,
    "k_of": "words",
    "k_rounding": "nearest",
    "start": "uniform",
    "mask_eos": False,
    "mask_share": 0.8,
    "random_share": 0.1,
    "random_ids": "words",
    "mask_visibility": "all",
    "decoder_mask_share": 0.0,
    "decoder_random_share": 0.0,
    "decoder_positions": "original",
    "block": 0,
}

_XLM: dict[str, Any] = _PAPER | {
    # XLM counts the start and end symbols, and the end symbol may be part of the fragment.
    "k_of": "sequence",
    "start": "ends",
    "mask_eos": True,
    "random_ids": "all",
    "mask_visibility": "encoder",
}

_FAIRSEQ: dict[str, Any] = _PAPER | {
    # The share of the released run; the code's own default is 0.25.
    "k": 0.3,
    "k_of": "sequence",
    "start": "ends-but-last",
    "mask_eos": True,
    "mask_visibility": "none",
    "decoder_mask_share": 0.1,
    "decoder_random_share": 0.1,
    # The released code passes no positions, so sinusoids begin at 0 for each fragment.
    "decoder_positions": "restart",
}

# Windows of 512 tokens with 15% masked in each block of 64: the default of the code, which its README does
# not change.
_SUMMARIZATION: dict[str, Any] = _PAPER | {
    "k": 0.15,
    "k_rounding": "floor",
    "block": 64,
}

MASS_PRESETS: dict[str, dict[str, Any]] = {
    "paper": _PAPER,
    "xlm": _XLM,
    "fairseq": _FAIRSEQ,
    "summarization": _SUMMARIZATION,
}
"""The values of options for each --preset: those of the paper, and of the released code for unsupervised
translation (xlm), supervised translation (fairseq) and summarization."""
