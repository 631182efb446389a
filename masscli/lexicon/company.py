"""Compare words of two languages by the company that they keep: the known translations that they occur near.

Each word has a vector with an entry for every known pair, such as `hund` and `dog`: how much more often than
by chance it occurs near the word of its own language. The vectors of both languages can be compared, since
their entries belong to the same pairs (Rapp 1995; Fung & Yee 1998, who take the pairs from a dictionary).
This makes other errors than aligned word vectors do, so both together are better.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.lexicon.cooccurrence import center_and_normalize
from masscli.lexicon.csls import csls


def company_similarity(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    pairs: tuple[Tensor, Tensor],
    words: int | None,
) -> Tensor:
    """Return how similar the `words` most frequent words (None: all) of two languages are in company: (N, M).

    `first` and `second` are `WordSpace.information` of the languages: for each window, the mutual information
    of N, or M, words with contexts. `pairs` are the ranks of known translations, one tensor a language; those
    of which a word is not a context are ignored. The result is the mean over the windows.
    """
    rows, columns = pairs
    similarities = []
    for a, b in zip(first, second, strict=True):
        known = (rows < a.shape[1]) & (columns < b.shape[1])
        similarities.append(
            csls(
                center_and_normalize(a[:words, rows[known]]),
                center_and_normalize(b[:words, columns[known]]),
            )
        )
    return torch.stack(similarities).mean(0)
