"""The options of the objectives that learn from labelled examples, apart from them so that help screens need no torch.

What follows from the data (`labels`, the columns of the text, its language) is filled in when a run is composed, and so kept in its recipe.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, Self

from masscli.core.config import check, config
from masscli.objectives.input_kinds import TABLE, InputKind
from masscli.objectives.shared.options import PseudoMaskingOptions


@config
class ConditionalGenerationOptions(PseudoMaskingOptions):
    """What tasks that write text can be told."""

    input_kind: ClassVar[InputKind] = TABLE
    language: str = ""
    """Language of the text (default: as preprocess was told)."""
    writer: Literal["auto", "decoder", "encoder"] = "auto"
    """Who writes: a decoder that attends to the source, or the encoder alone by pseudo-masks behind the source, as UniLM does (auto: the
    decoder, but where the weights, or --arch, have an encoder alone)."""
    label_smoothing: float = 0.1
    """Probability spread evenly over the vocabulary."""
    max_source: int = 256
    """Longest source in tokens; of longer ones a part is kept (see --keep), and they are counted."""
    max_target: int = 128
    """Longest target in tokens; longer ones lose their end, and are counted."""

    def __post_init__(self) -> None:
        check(
            (
                0 <= self.label_smoothing < 1,
                "label_smoothing",
                f"must lie in [0, 1), got {self.label_smoothing}",
            ),
            (self.max_source > 2, "max_source", f"must be above 2, got {self.max_source}"),
            (self.max_target > 2, "max_target", f"must be above 2, got {self.max_target}"),
        )
        PseudoMaskingOptions.__post_init__(self)
        usual = PseudoMaskingOptions(name=self.name)
        check(*((self.writer != "decoder" or value == default, field, "is for pseudo-masks, and a decoder writes (--writer encoder)")
                for field, value, default in (
                    ("target_mask_prob", self.target_mask_prob, usual.target_mask_prob),
                    ("leave_unmasked_prob", self.leave_unmasked_prob, usual.leave_unmasked_prob),
                    ("random_token_prob", self.random_token_prob, usual.random_token_prob))))  # fmt: skip

    @property
    def stacks(self) -> Literal["encoder-decoder", "encoder", "decoder", "any"]:
        return "encoder" if self.writer == "encoder" else "encoder-decoder"

    @property
    def parameter_group(self) -> str:
        return "" if self.writer == "encoder" else "encoder-decoder"

    @property
    def encoder_generates(self) -> bool:
        return self.writer == "encoder"

    def adapt_to_model(self, encoder: bool, decoder: bool, pair_format: Literal["bert", "roberta"]) -> Self:
        if self.writer != "auto":
            return self
        return replace(self, writer="encoder" if encoder and not decoder else "decoder")


@config
class SummarizeOptions(ConditionalGenerationOptions):
    """A summary of a text."""

    implementation: ClassVar[str] = "masscli.objectives.write.objective:Summarize"
    formats: ClassVar[tuple[str, ...]] = ("aligned", "tsv", "jsonl")
    name: str = "summarize"
    """Which."""
    source_column: str = "source"
    """Column of the text."""
    target_column: str = "target"
    """Column of the summary."""
    keep: Literal["start", "end"] = "start"
    """Which part of a text that is too long is kept."""


@config
class RespondOptions(ConditionalGenerationOptions):
    """The next turn of a dialogue."""

    implementation: ClassVar[str] = "masscli.objectives.write.objective:Respond"
    formats: ClassVar[tuple[str, ...]] = ("dialogues", "jsonl")
    name: str = "respond"
    """Which."""
    context_column: str = "context"
    """Field of the turns before, a list."""
    response_column: str = "response"
    """Field of the turn to write."""
    turns: int = 3
    """How many of the latest turns are read; of too many tokens, the latest are kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check((self.turns > 0, "turns", f"must be above 0, got {self.turns}"))
