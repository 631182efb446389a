"""The options of the built-in objectives, apart from them so that help screens need no torch.

The presets of MASS are the table of the released code bases: the fields that a preset fixes default to `None` here and are filled in by
`MassOptions.resolved`; what the user says wins.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

from masscli.core.config import UnusedOption, check, config, to_dict
from masscli.objectives.shared.options import SwitchingOptions, _share


@config
class MassOptions(SwitchingOptions):
    """Masked sequence to sequence (Song et al. 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.mass.objective:Mass"
    parameter_group = "encoder-decoder"
    name: str = "mass"
    """Which."""
    preset: Literal["paper", "xlm", "fairseq", "summarization"] = "paper"
    """Fill in everything that is not said as the paper has it, or as one of the three released code bases does."""
    k: float | None = None
    """Share of the sentence that is hidden from the encoder and written by the decoder; 1.0 is all of it, a causal language model."""
    k_tokens: int | None = None
    """Hide so many tokens instead; 1 is BERT's one token."""
    k_of: Literal["words", "row"] | None = None
    """What k is a share of: the words, or the row with its start and end symbols."""
    k_rounding: Literal["nearest", "floor"] | None = None
    """How a share becomes a count."""
    start: Literal["uniform", "ends"] | None = None
    """Where the fragment begins: anywhere, or 20% at the first place, 20% at the last, 60% anywhere."""
    mask_eos: bool | None = None
    """The end symbol may be part of the fragment."""
    mask_share: float | None = None
    """Share of the fragment's tokens that the encoder sees as [M]."""
    random_share: float | None = None
    """Share that it sees as a random token; the rest it sees as they are."""
    random_ids: Literal["words", "all"] | None = None
    """What random tokens are drawn from: ids that are not special, or all."""
    hide: Literal["none", "cross", "both"] | None = None
    """Who may not attend to [M]: nobody is kept from it, cross-attention, or the encoder too."""
    decoder_mask_share: float | None = None
    """Share of the decoder's inputs replaced by [M]."""
    decoder_random_share: float | None = None
    """Share of the decoder's inputs replaced by a random token."""
    decoder_positions: Literal["original", "restart"] | None = None
    """Positions of the decoder's inputs: those of the sentence, or from 0."""
    source_shift: int = 0
    """Corrupt k + this many tokens, this many places later; 1 is the released fairseq code."""
    span: int | None = None
    """Cut the fragment into pieces of this many tokens; 1 is the Discrete ablation. Default: one piece."""
    feed: Literal["fragment", "all"] = "fragment"
    """What the decoder reads: the fragment, or the whole sentence (the Feed ablation)."""
    first_input: Literal["previous", "mask"] = "previous"
    """What the decoder reads before a fragment: the real previous token, or [M] as in the paper's text."""
    block: int | None = None
    """One fragment in every block of so many tokens of a window; 0 takes sentences, one fragment each."""
    window: int | None = None
    """Tokens in a window, where blocks are used (default: 512, or the fewer that the model has positions for)."""

    def __post_init__(self) -> None:
        SwitchingOptions.__post_init__(self)
        check(
            (self.k is None or 0 < self.k <= 1, "k", f"must lie above 0, up to 1, got {self.k}"),
            (self.k is None or self.k_tokens is None, "k_tokens", "cannot be combined with k"),
            (self.k_tokens is None or self.k_tokens > 0, "k_tokens", f"must be above 0, got {self.k_tokens}"),
            _share("mask_share", self.mask_share),
            _share("random_share", self.random_share),
            (
                (self.mask_share or 0) + (self.random_share or 0) <= 1,
                "random_share",
                "with mask_share, must not exceed 1",
            ),
            (
                (self.decoder_mask_share or 0) + (self.decoder_random_share or 0) <= 1,
                "decoder_random_share",
                "with decoder_mask_share, must not exceed 1",
            ),
            _share("decoder_mask_share", self.decoder_mask_share),
            _share("decoder_random_share", self.decoder_random_share),
            (self.source_shift >= 0, "source_shift", f"must not be negative, got {self.source_shift}"),
            (self.span is None or self.span > 0, "span", f"must be above 0, got {self.span}"),
            (self.block is None or self.block >= 0, "block", f"must not be negative, got {self.block}"),
            (self.window is None or self.window > 8, "window", f"must be above 8, got {self.window}"),
        )

    def resolved(self) -> MassOptions:
        """The same options with every blank filled in from the preset."""
        said = to_dict(self)
        blanks = {name: value for name, value in MASS_PRESETS[self.preset].items() if name not in said}
        if self.k_tokens is not None:
            blanks.pop("k")
        return replace(self, **blanks)

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        o = self.resolved()
        return (
            *super().unused_options,
            UnusedOption(o.k_tokens is not None, "k_of k_rounding", "--k-tokens is a count"),
            UnusedOption(
                bool(o.block),
                "k_of k_rounding mask_eos",
                "a window of blocks (--block) has no row of its own",
            ),
            UnusedOption(not o.block, "window", "there are no windows without --block"),
            UnusedOption(
                not (o.random_share or o.decoder_random_share),
                "random_ids",
                "no token is replaced by a random one",
            ),
            UnusedOption(not o.mask_share, "hide", "no token is shown as [M]"),
            UnusedOption(o.feed == "all", "decoder_positions", "with --feed all both are the same"),
        )

    def max_example_length(self, lead: int) -> tuple[str, int] | None:
        return (
            ("window", self.window + 1 + lead) if self.window is not None and self.resolved().block else None
        )


_PAPER: dict[str, Any] = {
    "k": 0.5, "k_of": "words", "k_rounding": "nearest", "start": "uniform", "mask_eos": False, "mask_share": 0.8, "random_share": 0.1,
    "random_ids": "words", "hide": "none", "decoder_mask_share": 0.0, "decoder_random_share": 0.0, "decoder_positions": "original",
    "block": 0,
}  # fmt: skip


MASS_PRESETS: dict[str, dict[str, Any]] = {
    "paper": _PAPER,
    "xlm": _PAPER | {"k_of": "row", "start": "ends", "mask_eos": True, "random_ids": "all", "hide": "cross"},
    "fairseq": _PAPER | {
        "k": 0.3, "k_of": "row", "start": "ends", "mask_eos": True, "hide": "both", "decoder_mask_share": 0.1,
        "decoder_random_share": 0.1, "decoder_positions": "restart",
    },
    "summarization": _PAPER | {"k": 0.15, "k_rounding": "floor", "block": 64},
}  # fmt: skip
