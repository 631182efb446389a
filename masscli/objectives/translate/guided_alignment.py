"""Guided alignment: a head of the decoder's cross-attention learns given alignments (Garg et al. 2019).

"Jointly Learning to Align and Translate with Transformer Models", section 4.2: where the decoder
predicts target token t, which is linked to the source positions S(t), the head is trained to attend to
these only:

    L = - sum_t  1 / |S(t)|  sum_{s in S(t)}  log a[t, s]

Target tokens without a link are left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.data.batches.batch import Ids, Labels
from masscli.data.batches.dataset import Example, LineDataset
from masscli.data.formats.pharaoh import Alignments
from masscli.objectives.objective import Term
from masscli.objectives.translate.options import TranslateOptions


class AlignedPairDataset:
    """Sentence pairs with their alignments, each of which is a third field of its example: (links, 2).

    A link is the number of a source piece and of a target piece, from 0.
    """

    def __init__(self, pairs: LineDataset, alignments: Alignments) -> None:
        self.pairs = pairs
        self.alignments = alignments

    def __len__(self) -> int:
        return len(self.pairs)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths of both sides, with special tokens: (stop - start, 2)."""
        return self.pairs.sizes(start, stop)

    def __getitem__(self, number: int) -> Example:
        example = self.pairs[number]
        return Example(number, (*example.fields, self.alignments[number]))


def guided_layer(options: TranslateOptions, decoder_layers: int) -> int:
    """Return the decoder layer, counted from 0, whose first head learns alignments: the second to last.

    The options may name another one. With a single layer it is that one.
    """
    if options.guided_alignment_layer is not None:
        return options.guided_alignment_layer - 1
    return max(0, decoder_layers - 2)


def alignment_labels(
    links: Sequence[Ids], width: int, source_offset: int, target_offset: int
) -> Labels:
    """Return the labels of the loss term `alignment` for a batch of B pairs, one for each link.

    Their `ids` are positions in the encoder's block, their `positions` those in the flattened block of the
    decoder that predict the linked piece. `links` has an array (links, 2) for each pair: the number of a
    source piece and of a target piece, from 0. `width` is that of the decoder's block, `source_offset` the
    number of tokens that the encoder reads before the first piece, and `target_offset` the position at which
    the decoder predicts the first piece.
    """
    source_positions, target_positions = [], []
    for row, row_links in enumerate(links):
        source_positions.append(row_links[:, 0] + source_offset)
        # Index into the flattened block of the decoder, whose rows are concatenated.
        target_positions.append(row * width + row_links[:, 1] + target_offset)
    source_indices = torch.from_numpy(np.concatenate(source_positions))
    target_indices = torch.from_numpy(np.concatenate(target_positions))
    return Labels(source_indices, target_indices)


def alignment_loss(log_weights: Tensor, labels: Labels) -> Term:
    """Return the loss at the top of this module, summed over the target tokens that have a link.

    `log_weights` (B, T, L) are the logarithms of the head's attention weights. Of each link, `labels` have
    the source position, and the target position in the flattened (B*T) block.
    """
    flat = log_weights.flatten(0, 1)
    links_of_token = torch.bincount(labels.positions, minlength=len(flat))
    log_weight = flat[labels.positions, labels.ids]
    loss = -(log_weight / links_of_token[labels.positions]).sum()
    return Term(loss, loss.detach())
