"""Limits on the lengths of sources and targets of generation tasks, and the truncation of sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from masscli.core.errors import MasscliError
from masscli.data.batches.framing import Framing
from masscli.data.batches.sequences import Truncation
from masscli.models.config import ModelConfig
from masscli.objectives.shared.pseudo_masking import NUM_SPECIAL_TOKENS
from masscli.objectives.write.options import (
    ConditionalGenerationOptions,
    RespondOptions,
    SummarizeOptions,
)


@dataclass(frozen=True, slots=True)
class LengthLimits:
    """The largest numbers of tokens of a source and of a target, special tokens not counted."""

    source: int
    target: int
    one_sequence: bool
    """Whether one sequence holds the source, the target and its pseudo-masks, for an encoder that writes
    alone."""

    @classmethod
    def from_options(
        cls, options: ConditionalGenerationOptions, model: ModelConfig, framing: Framing
    ) -> Self:
        """Return the limits --max-source and --max-target, fitted to a model's number of positions.

        If a decoder writes, each limit is lowered to what the positions allow beside the special tokens of
        `framing`, which is what generation reads and writes at most. If an encoder writes alone, source and
        target share its positions, and MasscliError is raised if there are too few.
        """
        if options.writer != "encoder":
            # Encoder and decoder have positions of their own. The end symbol of a target is never read.
            special_tokens = framing.prefix_length + framing.suffix_length
            source = model.max_positions - special_tokens
            target = model.max_target_positions - framing.target_prefix_length
            return cls(
                min(options.max_source, source),
                min(options.max_target, target),
                one_sequence=False,
            )
        max_positions = model.max_positions
        needed = options.max_source + options.max_target + NUM_SPECIAL_TOKENS
        if needed > max_positions:
            raise MasscliError(
                f"--max-source {options.max_source}, --max-target {options.max_target}:"
                f" with {NUM_SPECIAL_TOKENS} special tokens they need {needed} positions,"
                f" the model has {max_positions}",
                f"together they may be {max_positions - NUM_SPECIAL_TOKENS}",
            )
        return cls(options.max_source, options.max_target, one_sequence=True)


def source_truncation(options: ConditionalGenerationOptions) -> Truncation:
    """Return how `masscli generate` has to truncate sources so that they look as in training."""
    # A dialogue keeps its end, since the last turn is answered.
    if isinstance(options, RespondOptions):
        return Truncation(options.turns, options.max_source, "end")
    if isinstance(options, SummarizeOptions):
        return Truncation(max_length=options.max_source, keep=options.keep)
    return Truncation(max_length=options.max_source)
