"""The noise of denoising auto-encoders: tokens, or whole words, are dropped, blanked and shuffled.

Lample et al. 2018, section 2.3.
"""

from __future__ import annotations

import numpy as np

from masscli.data.batches.batch import Ids
from masscli.objectives.shared.corruption import Bools


def add_noise(
    token_ids: Ids,
    shuffle_distance: float,
    drop_prob: float,
    blank_prob: float,
    mask_id: int,
    rng: np.random.Generator,
    starts_word: Bools | None = None,
) -> Ids:
    """Drop tokens, replace some of the others by `mask_id`, and shuffle the result locally.

    The shuffle sorts by position + U(0, shuffle_distance + 1), so no token moves much further than
    `shuffle_distance` places. At least one token of a sentence is kept. With `starts_word` (L,), which says
    which tokens begin a word, all of this happens to whole words.
    """
    if not len(token_ids):
        return token_ids
    # A token is a word of its own unless words are given.
    word_of_token = np.arange(len(token_ids))
    if starts_word is not None:
        # The first token begins a word, whatever its mark says.
        word_of_token = np.cumsum(starts_word) - starts_word[0]
    num_words = int(word_of_token[-1]) + 1
    # Everything is drawn for all words; dropped ones are taken out afterwards.
    kept_words = rng.random(num_words) >= drop_prob
    if not kept_words.any():
        # An empty source would have nothing to reconstruct the sentence from.
        kept_words[rng.integers(num_words)] = True
    is_blank = rng.random(num_words) < blank_prob
    kept = kept_words[word_of_token]
    noisy = np.where(is_blank[word_of_token], mask_id, token_ids)[kept]
    # Without a shuffle no numbers are drawn.
    if not shuffle_distance:
        return noisy
    _, word_of_token = np.unique(word_of_token[kept], return_inverse=True)
    num_kept = int(kept_words.sum())
    keys = np.arange(num_kept) + rng.uniform(0, shuffle_distance + 1, num_kept)
    # The tokens of a word have the same key, and a stable sort keeps their order.
    return noisy[np.argsort(keys[word_of_token], kind="stable")]
