"""The options of tasks that generate text from labeled examples: summarization and dialogue.

Values that depend on the data are filled in when a run is set up, so that they are stored in its
recipe. This module does not import torch, so that --help is fast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, Self

from masscli.core.config import check, config
from masscli.objectives.input_kinds import TABLE, InputKind
from masscli.objectives.registry import PairFormatName, Stacks
from masscli.objectives.shared.options import PseudoMaskingOptions


@config
class ConditionalGenerationOptions(PseudoMaskingOptions):
    """The options of all tasks that learn to generate a target from a source."""

    input_kind: ClassVar[InputKind] = TABLE
    language: str = ""
    """Language of the text (default: that of the table, see `masscli preprocess --table-lang`)."""
    writer: Literal["auto", "decoder", "encoder"] = "auto"
    """Which stack generates the target: a decoder that attends to the source, or the encoder alone by
    pseudo-masks after the source, as in UniLM (auto: the decoder, unless the weights of --init-from, or
    --arch, have an encoder only)."""
    label_smoothing: float = 0.1
    """Probability that is spread evenly over the vocabulary."""
    max_source: int = 256
    """Maximum length of a source in tokens, without special tokens. Longer ones are truncated and counted."""
    max_target: int = 128
    """Maximum length of a target in tokens, without special tokens. Longer ones lose their end, and are
    counted."""
    target_mask_prob: float = 0.5
    """With --writer encoder: share of the target's tokens that are corrupted in the copy that later tokens
    attend to (XSum: 0.4 to 0.5, CNN/DM: 0.7 to 0.8)."""

    def __post_init__(self) -> None:
        check(
            (
                0 <= self.label_smoothing < 1,
                "label_smoothing",
                f"must lie in [0, 1), got {self.label_smoothing}",
            ),
            (
                self.max_source > 2,
                "max_source",
                f"must be above 2, got {self.max_source}",
            ),
            (
                self.max_target > 2,
                "max_target",
                f"must be above 2, got {self.max_target}",
            ),
        )
        PseudoMaskingOptions.__post_init__(self)
        if self.writer == "decoder":
            self._refuse_pseudo_masking()

    def _refuse_pseudo_masking(self) -> None:
        """Raise ConfigError if an option of pseudo-masks differs from its default.

        Called if a decoder generates, so that these options would have no effect.
        """
        # An option that has no effect would mislead about what was trained.
        defaults = PseudoMaskingOptions(name=self.name)
        reason = "is for pseudo-masks, and a decoder writes (--writer encoder)"
        check(
            (
                self.target_mask_prob == defaults.target_mask_prob,
                "target_mask_prob",
                reason,
            ),
            (
                self.leave_unmasked_prob == defaults.leave_unmasked_prob,
                "leave_unmasked_prob",
                reason,
            ),
            (
                self.random_token_prob == defaults.random_token_prob,
                "random_token_prob",
                reason,
            ),
        )

    @property
    def stacks(self) -> Stacks:
        """The stacks that the model needs: the encoder alone if it writes, otherwise encoder and decoder."""
        return "encoder" if self.writer == "encoder" else "encoder-decoder"

    @property
    def parameter_group(self) -> str:
        """A name for the set of parameters that is trained, as all objectives have one for --shard-model.

        It is that of translation if a decoder writes, so that both may train one model, else empty.
        """
        return "" if self.writer == "encoder" else "encoder-decoder"

    @property
    def encoder_generates(self) -> bool:
        """Whether an encoder alone learns to generate text, as --writer says."""
        return self.writer == "encoder"

    def adapt_to_model(
        self, encoder: bool, decoder: bool, pair_format: PairFormatName
    ) -> Self:
        """Return the options with --writer `auto` replaced: by `encoder` if the model has no decoder.

        Otherwise `auto` becomes `decoder`. `encoder` and `decoder` say which stacks the model has.
        """
        if self.writer != "auto":
            return self
        # A decoder generates if there is one, as in MASS.
        writer: Literal["encoder", "decoder"] = (
            "encoder" if encoder and not decoder else "decoder"
        )
        return replace(self, writer=writer)


@config
class SummarizeOptions(ConditionalGenerationOptions):
    """Generate a summary of a text."""

    implementation: ClassVar[str] = "masscli.objectives.write.summarize:Summarize"
    formats: ClassVar[tuple[str, ...]] = ("aligned", "tsv", "jsonl")
    name: str = "summarize"
    """The objective."""
    source_column: str = "source"
    """Column of the text."""
    target_column: str = "target"
    """Column of the summary."""
    keep: Literal["start", "end"] = "start"
    """Which part to keep of a text that is too long."""


@config
class RespondOptions(ConditionalGenerationOptions):
    """Generate the next turn of a dialogue."""

    implementation: ClassVar[str] = "masscli.objectives.write.respond:Respond"
    formats: ClassVar[tuple[str, ...]] = ("dialogues", "jsonl")
    name: str = "respond"
    """The objective."""
    context_column: str = "context"
    """Field of the earlier turns, a list."""
    response_column: str = "response"
    """Field of the turn to generate."""
    turns: int = 3
    """Number of latest turns to read; if they have more than --max-source tokens, they lose their start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check((self.turns > 0, "turns", f"must be above 0, got {self.turns}"))
