"""The noise of denoising auto-encoders.

Tokens, or whole words, are dropped, blanked and shuffled (Lample et al. 2018, section 2.3), and spans are
replaced by one [M] (text infilling, Lewis et al. 2020, section 2.2).
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
    """Return a copy of a sentence with some tokens dropped, others replaced by `mask_id`, and all shuffled.

    Each token is dropped with probability `drop_prob`, but at least one is kept, and each kept token is
    replaced with probability `blank_prob`. The shuffle sorts by position + U(0, shuffle_distance + 1), so no
    kept token moves more than `shuffle_distance` places, rounded up; 0 keeps the order. With `starts_word`
    (L,), which says which tokens begin a word, all of this happens to whole words.
    """
    if not len(token_ids):
        return token_ids
    # A token is a word of its own unless words are given.
    word_of_token = np.arange(len(token_ids))
    if starts_word is not None:
        # The first token always begins a word.
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


def infill(
    token_ids: Ids,
    share: float,
    mean_length: float,
    mask_id: int,
    rng: np.random.Generator,
    max_length: int,
) -> Ids:
    """Return a copy of a sentence in which spans of tokens are replaced, each by a single `mask_id`.

    Span lengths have a Poisson distribution with mean `mean_length`. They add up to `share` times the number
    of tokens, rounded; the last span is cut to fit. A span of length 0 inserts a `mask_id`, if the copy then
    has at most `max_length` tokens, of which the sentence has no more. Every placement of the spans between
    the other tokens is equally likely.
    """
    budget = round(share * len(token_ids))
    lengths: list[int] = []
    # How many tokens may be added; a span of n tokens makes room for n - 1.
    room = max_length - len(token_ids)
    left = budget
    while left:
        length = min(int(rng.poisson(mean_length)), left)
        if length or room > 0:
            lengths.append(length)
            left -= length
            room += length - 1
    # Spans and single tokens are shuffled as items; -1 stands for a token that stays.
    items = rng.permutation(
        np.array([*lengths, *[-1] * (len(token_ids) - budget)], np.int64)
    )
    infilled = []
    place = 0
    for length in items.tolist():
        if length < 0:
            infilled.append(int(token_ids[place]))
            place += 1
        else:
            infilled.append(mask_id)
            place += length
    return np.array(infilled, np.int64)
