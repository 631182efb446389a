"""The part of a model that reads the texts of a task: its stack, input format and maximum length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Tokens
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.sequences import JoinedSequence, PairFormat
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.batching import example_numbers
from masscli.objectives.shared.table_options import TableOptions

Stack = Literal["encoder", "decoder"]


@dataclass(frozen=True, slots=True)
class SequenceReader:
    """Reads texts with one stack of a model, or with the decoder on top of the encoder."""

    stack: Stack
    """The stack whose hidden states a task uses."""
    both_stacks: bool
    """Whether both stacks read the sequence: the decoder gives the states and attends to the encoder."""
    pair_format: PairFormat
    framing: Framing
    language: str
    max_length: int
    """Maximum number of tokens of a sequence, special tokens included."""
    has_segments: bool
    """Whether the model has segment embeddings."""

    @classmethod
    def from_options(cls, options: TableOptions, context: ObjectiveContext) -> Self:
        """Return the reader that the options of a task ask for.

        Raises MasscliError if the model lacks the stack of --read, or if a stack that reads the sequence has
        fewer positions than --max-length.
        """
        model = context.model
        stack = _choose_stack(options, model)
        both_stacks = stack == "decoder" and model.encoder_layers > 0
        positions = model.positions_for("encoder-decoder" if both_stacks else stack)
        if options.max_length > positions:
            raise MasscliError(
                f"--max-length {options.max_length}: the model has {positions} positions",
                f"give at most {positions}",
            )
        kind: str = options.pair_format
        if kind == "auto" and stack == "decoder":
            # Only the last token of a decoder sees the whole sequence, and GPT's format has one for that.
            kind = "gpt"
        elif kind == "auto":
            kind = "bert"
        return cls(
            stack,
            both_stacks=both_stacks,
            pair_format=PairFormat(kind, context.framing.vocab),
            framing=context.framing,
            language=options.language,
            max_length=options.max_length,
            has_segments=model.segments > 0,
        )

    def collate(
        self, sequences: Sequence[JoinedSequence], examples: Sequence[Example]
    ) -> Batch:
        """Pad sequences into a batch without labels, one row for each sequence.

        `examples` are the examples that the sequences were made from, whose numbers the batch gets. There may
        be several sequences for each example. If both stacks read the sequences, source and target of the
        batch are the same.
        """
        ids, lengths = self.framing.pad_ids([sequence.ids for sequence in sequences])
        # A model without segment embeddings needs no segments.
        segments = None
        if self.has_segments:
            segments = self.framing.pad_values(
                [sequence.segments for sequence in sequences]
            )
        language_ids = self.framing.language_tensor(self.language, len(sequences))
        tokens = Tokens(ids, lengths, segments=segments, language=language_ids)
        # As BART does for classification, the decoder reads the same text that it attends to.
        target = tokens if self.both_stacks else None
        return Batch(tokens, target, {}, {}, torch.tensor(example_numbers(examples)))

    def truncation_warnings(self, num_truncated: int, num_examples: int) -> list[str]:
        """Return a list of one warning, how many examples are truncated, or an empty list if none are."""
        if not num_truncated:
            return []
        return [
            f"{num_truncated} of {num_examples} examples are truncated to {self.max_length} tokens "
            "(--max-length)"
        ]

    def hidden_states(self, model: Transformer, batch: Batch) -> Tensor:
        """Run the model on a batch and return the final hidden states (B, L, D) of the stack that is used."""
        if batch.target is not None:
            return model.decode(batch.target, model.encode(batch.source))
        return model.read(batch.source)

    def sequence_state(
        self, model: Transformer, batch: Batch, states: Tensor
    ) -> Tensor:
        """Return one state (B, D) for each whole sequence, from its hidden states (B, L, D).

        For an encoder it is the first state, passed through the model's pooler if there is one; for a decoder
        it is the state of the last token, since only that one depends on the whole sequence.
        """
        if self.stack == "encoder":
            return model.pool(states)
        # With padding, the last token of a sequence is not the last position.
        rows = torch.arange(len(states), device=states.device)
        return states[rows, batch.source.lengths - 1]


def _choose_stack(options: TableOptions, model: ModelConfig) -> Stack:
    """Return the stack of --read; with `auto` the encoder, or the decoder if there is no encoder.

    Raises MasscliError if the model does not have the stack.
    """
    if options.read == "auto" and model.encoder_layers:
        return "encoder"
    if options.read == "auto":
        return "decoder"
    layers = {"encoder": model.encoder_layers, "decoder": model.decoder_layers}
    if not layers[options.read]:
        raise MasscliError(
            f"--read {options.read}: the model has no {options.read}",
            "leave it out: the model's only stack is read then",
        )
    return options.read
