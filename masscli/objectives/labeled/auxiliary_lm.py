"""The auxiliary language model of GPT's fine-tuning (Radford et al. 2018, equation 5).

    L3 = L2 + lambda L1

L2 is the loss of the task, L1 that of the language model of the same sequences, and lambda is `--lm-weight`.
L1 is a mean over the tokens of each sequence, summed over sequences.
"""

from __future__ import annotations

import torch
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Labels, Tokens
from masscli.models.transformer import Transformer
from masscli.objectives.labeled.options import SequenceTaskOptions
from masscli.objectives.objective import Term
from masscli.objectives.shared.batching import non_padding_positions
from masscli.objectives.shared.sequence_reader import SequenceReader

LM_TERM = "lm"
"""The name of the auxiliary language model's loss term."""


def check_auxiliary_lm(options: SequenceTaskOptions, reader: SequenceReader) -> None:
    """Raise MasscliError if --lm-weight is above 0 but an encoder reads the texts.

    An encoder sees the tokens that are to be predicted, and shows them to a decoder that attends to it.
    """
    if options.lm_weight and (reader.stack == "encoder" or reader.both_stacks):
        raise MasscliError(
            "--lm-weight: only a decoder without an encoder can be a language model",
            "leave it out, or add --encoder-layers 0",
        )


def term_weights(term: str, options: SequenceTaskOptions) -> dict[str, float]:
    """Return the weights of loss terms by name: 1 for `term`, and --lm-weight for `lm` if it is above 0."""
    if options.lm_weight:
        return {term: 1.0, LM_TERM: options.lm_weight}
    return {term: 1.0}


def next_token_labels(tokens: Tokens) -> Labels:
    """Return labels for next-token prediction: each token of a row but the first, at the position before it.

    `tokens` is the block that the decoder reads; padding has no labels.
    """
    # The last token of a sequence predicts nothing, so each has one position less than tokens.
    positions = non_padding_positions(tokens.lengths - 1, tokens.ids.shape[1])
    return Labels(tokens.ids.flatten()[positions + 1], positions)


def auxiliary_lm_loss(model: Transformer, batch: Batch, states: Tensor) -> Term:
    """Return the cross-entropy of the labels `lm` of a batch.

    It is a mean over the tokens of each sequence, summed over the sequences. `states` (B, L, D) are the
    decoder's hidden states.
    """
    labels = batch.labels[LM_TERM]
    states = states.flatten(0, 1)
    # A mean over each sequence by itself, so that a loss does not depend on what else is in the batch.
    label_numbers = torch.arange(len(labels.ids), device=states.device)
    losses = []
    nlls = []
    for numbers in torch.split(label_numbers, (batch.source.lengths - 1).tolist()):
        positions = labels.positions[numbers]
        loss, nll = model.loss(states[positions], labels.ids[numbers], stack="decoder")
        losses.append(loss / len(numbers))
        nlls.append(nll / len(numbers))
    return Term(torch.stack(losses).sum(), torch.stack(nlls).sum())
