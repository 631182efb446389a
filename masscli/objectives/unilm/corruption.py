"""The blocks of tokens that UniLMv2 masks, and the layout of a sequence with their copies.

Bao et al. 2020, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from masscli.data.batches.batch import Ids
from masscli.objectives.shared.corruption import Bools
from masscli.objectives.shared.paired_text import PairedText
from masscli.objectives.shared.pseudo_masking import PseudoMaskExample

MAX_TRIES_PER_TOKEN = 100
"""Number of attempts for each token of a sequence after which no more blocks are drawn. If a text
consists almost only of special tokens, the share of masked tokens may never be reached."""


def draw_blocks(
    maskable: Bools,
    mask_prob: float,
    ngram_prob: float,
    max_ngram: int,
    single_tokens: bool,
    rng: np.random.Generator,
) -> list[Ids]:
    """Draw disjoint blocks of positions until they hold the share `mask_prob` of a sequence (Algorithm 1).

    Returns the positions of each block, in the order in which the blocks are predicted (factorization order).

    A block has 2 to `max_ngram` tokens with probability `ngram_prob`, otherwise one, and always one with
    `single_tokens`. A block that reaches over the end of the sequence, or that contains a token that is not
    `maskable` (L,) or is part of an earlier block, is drawn again.
    """
    is_free = maskable.copy()
    # The share is one of the whole sequence, special tokens included.
    num_wanted = mask_prob * len(maskable)
    num_masked = num_tries = 0
    blocks: list[Ids] = []
    while (
        num_masked < num_wanted
        and is_free.any()
        and num_tries < MAX_TRIES_PER_TOKEN * len(is_free)
    ):
        num_tries += 1
        start = int(rng.integers(len(is_free)))
        length = 1
        if not single_tokens and rng.random() < ngram_prob:
            length = int(rng.integers(2, max_ngram + 1))
        block = np.arange(start, start + length)
        # A block that extends beyond the sequence or is not free is drawn again.
        if block[-1] < len(is_free) and is_free[block].all():
            is_free[block] = False
            num_masked += length
            blocks.append(block)
    return blocks


def most_masked(lengths: Ids, mask_prob: float, longest_block: int) -> Ids:
    """Return the largest number of tokens (N,) that `draw_blocks` can mask in sequences of `lengths` (N,).

    `longest_block` is the largest number of tokens of a block. Blocks are drawn until they hold the share
    `mask_prob`, so the last one may reach beyond it by all its tokens but one.
    """
    num_masked = np.ceil(mask_prob * lengths).astype(np.int64)
    masked: Ids = np.minimum(lengths, num_masked + longest_block - 1)
    return masked


def build_example(
    pair: PairedText,
    blocks: Sequence[Ids],
    shown_ids: Ids,
    mask_id: int,
    terms: Sequence[str],
) -> PseudoMaskExample:
    """Build the input of UniLMv2: the tokens, then one copy of the masked tokens for each of the loss terms.

    `blocks` are the positions of the masked tokens, in the order of prediction. The copy of the term `ae`,
    called [M], has the input ids `shown_ids`, in the order of the blocks. The copies of `par` and `ar`,
    called [P], have `mask_id` everywhere. With the term `ae` alone, the masked tokens themselves are left
    out. The steps determine the attention mask (see masscli/models/masks.py): unmasked tokens and [M] have
    step 0, the tokens of block i (from 1) have step i, and their copies [P] have step -i.
    """
    # The empty array serves a sequence without blocks.
    masked = np.concatenate([np.zeros(0, np.int64), *blocks])
    block_numbers = np.repeat(
        np.arange(1, len(blocks) + 1), [len(block) for block in blocks]
    )
    # Steps decide who sees whom: a token is visible to all copies with a later step.
    token_steps = np.zeros(len(pair.ids), np.int64)
    token_steps[masked] = block_numbers
    tokens = np.arange(len(pair.ids))
    if list(terms) == ["ae"]:
        # No token may see the masked tokens themselves, so they are left out.
        tokens = np.setdiff1d(tokens, masked)
    positions = [tokens]
    ids = [pair.ids[tokens]]
    steps = [token_steps[tokens]]
    label_positions = {}
    length = len(tokens)
    for term in terms:
        # The copies of each term follow those of the previous term.
        label_positions[term] = np.arange(length, length + len(masked))
        length += len(masked)
        positions.append(masked)
        if term == "ae":
            ids.append(shown_ids)
            steps.append(np.zeros_like(block_numbers))
        else:
            ids.append(np.full(len(masked), mask_id))
            steps.append(-block_numbers)
    all_positions = np.concatenate(positions)
    return PseudoMaskExample(
        ids=np.concatenate(ids),
        positions=all_positions,
        segments=pair.segments[all_positions],
        steps=np.concatenate(steps),
        labels=dict.fromkeys(terms, pair.ids[masked]),
        label_positions=label_positions,
    )
