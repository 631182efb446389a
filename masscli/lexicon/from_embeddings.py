"""A dictionary from the token embeddings of a trained model.

Word pairs are mutual nearest neighbors of two languages by CSLS, over pieces that begin a word, occur often
enough, and occur mostly in one of the languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.csls import csls, mutual_nearest_pairs
from masscli.lexicon.dictionary import WordPair, check_languages, vocabulary_pieces
from masscli.text.markers import SENTENCEPIECE_SPACE

OWN_SHARE = 0.8
"""A piece is a word of a language if at least this share of the sum of its relative frequencies is in that
language."""
EMBEDDING_NAMES = (
    "token_embeddings.shared",
    "token_embeddings.encoder",
    "token_embeddings.decoder",
)
"""Names of the weights that may hold the embeddings; the first one that the model has is taken."""


def induce(
    weights: Mapping[str, Tensor],
    data: DataFolder,
    languages: Sequence[str],
    max_words: int,
    min_count: int,
) -> list[WordPair]:
    """Return word pairs whose token embeddings are each other's nearest neighbors, the highest score first.

    `weights` are those of the model, by name. A word is a piece that begins one. Of each language the
    `max_words` commonest are considered that occur at least `min_count` times, and mostly in it. `data` is
    the folder with the text of both languages. Raises MasscliError when it does not fit the model, or has no
    such words.
    """
    check_languages(data, languages)
    # Vectors can be compared only where one table has those of both languages.
    data.vocab.check_direction(languages[0], languages[0])
    # A model with separate embeddings has no shared ones; those of its encoder are taken.
    name = next(name for name in EMBEDDING_NAMES if name in weights)
    embedding = weights[name].float()
    if len(embedding) != data.vocab.size:
        raise MasscliError(
            f"{data.folder}: has {data.vocab.size} pieces, the model {len(embedding)}",
            "name the right folder with --data",
        )
    pieces = vocabulary_pieces(data)
    counts = [data.piece_counts(language) for language in languages]
    # Rates are compared, because one language may have more text than the other.
    rates = [count / max(1, count.sum()) for count in counts]
    words = []
    for language, own, other in zip(languages, (0, 1), (1, 0), strict=True):
        # Names and numbers, which occur in both languages, are left out.
        is_own = rates[own] >= OWN_SHARE * (rates[own] + rates[other])
        is_candidate = is_own & (counts[own] >= min_count)
        ids = _commonest_words(counts[own], is_candidate, pieces, data)[:max_words]
        if not ids:
            raise MasscliError(
                f"{data.folder}: no word that occurs mainly in {language} occurs {min_count} times"
            )
        words.append(ids)
    scores = csls(_centered(embedding[words[0]]), _centered(embedding[words[1]]))
    pairs = []
    for i, j in mutual_nearest_pairs(scores):
        first = pieces[words[0][i]].removeprefix(SENTENCEPIECE_SPACE)
        second = pieces[words[1][j]].removeprefix(SENTENCEPIECE_SPACE)
        pairs.append(WordPair(first, second, float(scores[i, j])))
    return sorted(pairs, key=lambda pair: -pair.score)


def _commonest_words(
    counts: NDArray[np.int64],
    is_candidate: NDArray[np.bool_],
    pieces: Sequence[str],
    data: DataFolder,
) -> list[int]:
    """Return the ids of the candidates that begin a word, the commonest first, without special pieces.

    `counts`, `is_candidate` and `pieces` (names) have an entry for each id.
    """
    ids = []
    # A stable sort orders equally frequent pieces by id.
    for i in np.argsort(-counts, kind="stable").tolist():
        is_word = len(pieces[i]) > 1 and pieces[i].startswith(SENTENCEPIECE_SPACE)
        if is_candidate[i] and is_word and i not in data.vocab.special_ids:
            ids.append(i)
    return ids


def _centered(vectors: Tensor) -> Tensor:
    """Return vectors (N, D) minus their mean (which only tells the language), scaled to length 1."""
    return torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)
