"""Compare words of two languages by the company that they keep with known translations.

Two words are similar if one occurs near `hund` about as much more often than by chance as the other does near
`dog`, and so on for all known pairs (Rapp 1995; Fung & Yee 1998, where the known pairs come from a
dictionary). It makes other errors than a rotation of word vectors does, so both together are better.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.lexicon.cooccurrence import centre_and_normalize
from masscli.lexicon.csls import csls


def company_similarity(
    first: Sequence[Tensor],
    second: Sequence[Tensor],
    pairs: tuple[Tensor, Tensor],
    words: int | None,
) -> Tensor:
    """Return how similar the `words` most frequent words (None: all) of two languages are in company: (N, M).

    `first` and `second` have a table for each window: the mutual information of N, or M, words with the first
    of these words, which are the contexts. `pairs` are the numbers of known translations in both languages.
    Pairs of words that are not contexts are ignored. The result is the mean of the windows.
    """
    rows, columns = pairs
    similarities = []
    for a, b in zip(first, second, strict=True):
        known = (rows < a.shape[1]) & (columns < b.shape[1])
        similarities.append(
            csls(
                centre_and_normalize(a[:words, rows[known]]),
                centre_and_normalize(b[:words, columns[known]]),
            )
        )
    return torch.stack(similarities).mean(0)
