"""The masking of MASS: choose a fragment, and build the inputs of encoder and decoder.

Song et al. 2019, section 3.

These are pure functions of token ids and a random generator, independent of batches, padding and
models. A sequence is X = start, w_1 .. w_n, end, with positions 0 .. n + 1. Here, its words w_1 .. w_n
are the tokens of the text. (Some models read more tokens between the start and the words, which shift
what follows.)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from masscli.data.batches.batch import Ids
from masscli.objectives.mass.options import MassOptions
from masscli.objectives.shared.corruption import Bools, replace_tokens


class MaskedSequence(NamedTuple):
    """A sequence of a start symbol, n tokens of text and an end symbol, with a masked fragment of K tokens.

    `encoder_ids` (n+2,) are the tokens that the encoder sees, and `is_masked` (n+2,) says which of them are
    [M]. The decoder reads `decoder_ids` (T,) with the position numbers `decoder_positions` (T,).
    `label_positions` (K,) are the indices of the decoder's inputs from which it predicts `label_ids` (K,).
    """

    encoder_ids: Ids
    is_masked: Bools
    decoder_ids: Ids
    decoder_positions: Ids
    label_ids: Ids
    label_positions: Ids


def mask_fragment(
    sequence: Ids,
    options: MassOptions,
    mask_id: int,
    random_pool: Ids,
    rng: np.random.Generator,
    first_word: int = 1,
) -> MaskedSequence:
    """Mask a fragment of a sequence, or several pieces or blocks, as the options say.

    `sequence` has its special tokens, as the decoder reads them, and is not changed; `first_word` is the
    position of its first token of text. `options` must be the result of `MassOptions.resolved`. Random tokens
    are drawn from the ids in `random_pool`.
    """
    assert options.mask_share is not None and options.random_share is not None
    assert (
        options.decoder_mask_share is not None
        and options.decoder_random_share is not None
    )
    # The words are the tokens between the start and the end symbol.
    fragment = first_word + _choose_positions(
        len(sequence) - first_word - 1, options, rng
    )

    encoder_ids = sequence.copy()
    is_masked = np.zeros(len(sequence), np.bool_)
    corrupted = fragment
    if options.source_shift:
        # The released fairseq code masks k + 1 tokens for the encoder, one position after those that
        # are predicted.
        corrupted = _shifted(fragment, options.source_shift, len(sequence))
    encoder_ids[corrupted], is_masked[corrupted] = replace_tokens(
        sequence[corrupted],
        options.mask_share,
        options.random_share,
        mask_id,
        random_pool,
        rng,
    )

    # To predict a token, the decoder reads the one before.
    if options.feed == "all":
        # The decoder reads everything but the end symbol, and still predicts only the fragment.
        read = np.arange(len(sequence) - 1)
        label_positions = fragment - 1
    else:
        read = fragment - 1
        label_positions = np.arange(len(fragment))
    decoder_ids = sequence[read]
    if options.first_input == "mask":
        # In the text of the paper, the decoder's input for each piece of the fragment starts with [M].
        is_first = np.diff(fragment, prepend=-1) > 1
        decoder_ids[np.isin(read, fragment[is_first] - 1)] = mask_id
    # Only the released fairseq code has noise on the decoder's inputs.
    if options.decoder_mask_share or options.decoder_random_share:
        decoder_ids, _ = replace_tokens(
            decoder_ids,
            options.decoder_mask_share,
            options.decoder_random_share,
            mask_id,
            random_pool,
            rng,
        )
    # The position of an input is that of the token it is, as in translation, where the first input has
    # position 0.
    decoder_positions = (
        read if options.decoder_positions == "original" else np.arange(len(read))
    )
    return MaskedSequence(
        encoder_ids,
        is_masked,
        decoder_ids,
        decoder_positions,
        sequence[fragment],
        label_positions,
    )


def fragment_length(num_words: int, options: MassOptions) -> int:
    """Return k, the number of masked tokens of a sentence of `num_words` tokens, as the options say.

    `num_words` does not count start and end. k is at least 1, and at most `num_words`, plus 1 if the end
    symbol may be masked. For an empty sentence whose end symbol may not be masked it is 0.
    """
    max_length = num_words + int(bool(options.mask_eos))
    if options.k_tokens is not None:
        k = options.k_tokens
    else:
        assert options.k is not None
        num_tokens = num_words
        # A sequence has a start and an end symbol besides its words.
        if options.k_of != "words":
            num_tokens += 2
        exact = options.k * num_tokens
        if options.k_rounding == "floor":
            k = int(exact)
        else:
            # Python rounds half to even, as the released code for translation does.
            k = round(exact)
    # A sentence of one word still teaches something, and the released code for XLM would fail on k = 0.
    return min(max(1, k), max_length)


def _shifted(positions: Ids, shift: int, length: int) -> Ids:
    """Return all positions that are `shift` to `2 * shift` places after one of `positions`, sorted.

    Positions from `length` on, which are after the end of the sequence, are left out.
    """
    shifted = np.unique(
        np.concatenate([positions + i for i in range(shift, 2 * shift + 1)])
    )
    return shifted[shifted < length]


def _choose_positions(
    num_words: int, options: MassOptions, rng: np.random.Generator
) -> Ids:
    """Choose which of the `num_words` tokens of a text to mask, and return their positions, sorted, from 0.

    The end symbol, if it may be masked, counts as one more token. For an empty sentence whose end symbol may
    not be masked, the result is empty.
    """
    if options.block:
        return _choose_in_blocks(num_words, options, rng)
    # The end symbol follows the words, so it is one more position that may be masked.
    num_maskable = num_words + int(bool(options.mask_eos))
    if not num_maskable:
        return np.zeros(0, np.int64)
    return _place_fragment(
        num_maskable, fragment_length(num_words, options), options, rng
    )


def _choose_in_blocks(
    num_words: int, options: MassOptions, rng: np.random.Generator
) -> Ids:
    """Choose a fragment in each block of --block tokens, and return the positions of all, sorted.

    `num_words` is the number of tokens of the window that is cut into blocks; positions count from its first
    token as 0. A fragment has the share --k of its block, rounded down, so that a short last block may have
    none; or --k-tokens tokens, at most the whole block.
    """
    assert options.block
    fragments = [np.zeros(0, np.int64)]
    for start in range(0, num_words, options.block):
        length = min(options.block, num_words - start)
        # The share of a block is always rounded down, as in the released code.
        if options.k_tokens is None:
            k = int((options.k or 0) * length)
        else:
            k = min(options.k_tokens, length)
        if k:
            fragments.append(start + _place_fragment(length, k, options, rng))
    return np.concatenate(fragments)


def _place_fragment(
    length: int, k: int, options: MassOptions, rng: np.random.Generator
) -> Ids:
    """Choose k of the positions 0 to `length` - 1 as one fragment, and return them sorted.

    With --span the fragment is split into pieces of that many tokens, placed at random. --start says how
    often a fragment begins at the start or ends at the end.
    """
    # The released code puts one fragment in five at the start, and one in five at the end.
    at_start = at_end = False
    if options.start in ("ends", "ends-but-last"):
        draw = rng.random()
        at_start = draw >= 0.8
        at_end = 0.6 <= draw < 0.8
    if options.span is None or options.span >= k:
        # The fragment may start at any of num_free + 1 places.
        num_free = length - k
        if at_start:
            start = 0
        elif at_end:
            start = num_free
        elif options.start == "ends-but-last" and num_free > 0:
            start = int(rng.integers(num_free))
        else:
            start = int(rng.integers(num_free + 1))
        return np.arange(start, start + k)
    # Shuffle the pieces and the single positions between them: every placement is equally likely.
    num_pieces = -(-k // options.span)
    # The last piece takes the remainder.
    piece_lengths = np.full(num_pieces, options.span)
    piece_lengths[-1] = k - options.span * (num_pieces - 1)
    # A gap is an item of length 0, to tell it from a piece.
    gap = 0
    items = np.concatenate([piece_lengths, np.full(length - k, gap)])
    if at_start:
        # The first piece stays at the start, and the others are shuffled after it.
        order = np.concatenate([[0], 1 + rng.permutation(len(items) - 1)])
    elif at_end:
        # The last piece goes to the end, and the others are shuffled before it.
        last_piece = num_pieces - 1
        others = np.delete(np.arange(len(items)), last_piece)
        order = np.concatenate([rng.permutation(others), [last_piece]])
    else:
        order = rng.permutation(len(items))
    # A gap takes one position, a piece as many as it has tokens.
    items = items[order]
    return np.flatnonzero(np.repeat(items != gap, np.maximum(items, 1)))
