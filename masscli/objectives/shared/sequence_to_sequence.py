"""Batches and loss of objectives that train an encoder and a decoder together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens
from masscli.data.batches.framing import Framing
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Term
from masscli.objectives.shared.batching import non_padding_positions
from masscli.objectives.shared.token_loss import token_loss


def sequence_pair_batch(
    framing: Framing,
    encoder_inputs: Sequence[Ids],
    targets: Sequence[Ids],
    languages: tuple[str, str],
    term: str,
    numbers: Sequence[int],
) -> Batch:
    """Pad pairs of sequences into a batch whose decoder predicts every target token and the end symbol.

    `encoder_inputs` have their special tokens already, `targets` do not. `languages` are the languages of the
    sources and of the targets. The labels belong to the loss term `term`; `numbers` are the numbers of the
    examples in their dataset.
    """
    source_language, target_language = languages
    source_ids, source_lengths = framing.pad_ids(encoder_inputs)
    sequences = [
        framing.with_special_tokens(target, target_language) for target in targets
    ]
    # The decoder reads each sequence without its end, and predicts it without its start.
    decoder_ids, decoder_lengths = framing.pad_ids(
        [sequence[:-1] for sequence in sequences]
    )
    label_ids = torch.from_numpy(
        np.concatenate([sequence[1:] for sequence in sequences])
    )
    labels = Labels(
        label_ids, non_padding_positions(decoder_lengths, decoder_ids.shape[1])
    )
    # One language for each row, since a batch has one direction.
    source_languages = framing.language_tensor(source_language, len(sequences))
    target_languages = framing.language_tensor(target_language, len(sequences))
    return Batch(
        source=Tokens(source_ids, source_lengths, language=source_languages),
        target=Tokens(decoder_ids, decoder_lengths, language=target_languages),
        labels={term: labels},
        counts={term: float(len(label_ids))},
        example_numbers=torch.tensor(numbers),
    )


def draw_seeds(rngs: Sequence[np.random.Generator]) -> Tensor:
    """Return a random seed for each example (B,), for random choices that `Objective.prepare` makes later."""
    # Seeds stay within the signed 64 bits of a tensor.
    return torch.tensor([int(rng.integers(2**62)) for rng in rngs], dtype=torch.int64)


def sequence_loss(
    model: Transformer, batch: Batch, term: str, label_smoothing: float = 0.0
) -> Term:
    """Encode the source, decode the target, and return the summed cross-entropy of the labels of `term`."""
    assert batch.target is not None
    hidden = model.decode(batch.target, model.encode(batch.source))
    return token_loss(model, hidden, batch.labels[term], "decoder", label_smoothing)
