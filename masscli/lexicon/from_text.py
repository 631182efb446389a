"""A dictionary out of text that nothing aligns, in three steps; it reads nothing but the two languages' own lines.

1. Vectors from the company words keep: positive pointwise mutual information with the commonest words around, the contexts' shares to the
   power 0.75, its largest singular vectors times the square roots of their values (Levy, Goldberg & Dagan 2015, sections 2 and 3), for a
   narrow and a wide window, side by side.
2. Anchors: words that both languages spell alike, of four letters or more (shorter ones are false friends) or without letters, and about
   as frequent in both (Artetxe et al. 2017; Soegaard et al. 2018).
3. A rotation that lays the anchors on each other, its axes weighted by how well they agree, and learned again from the dictionary that it
   gives, whose entries are thinned at random, less and less (Artetxe, Labaka & Agirre 2018, sections 3.3 and 3.4).  Words that are spelt
   nearly alike count as more similar than their vectors say (masscli/lexicon/spelling.py).

A word is a whole piece of the vocabulary, since no other can be exchanged; those cut into pieces only keep their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.csls import csls, mutual, pairs
from masscli.lexicon.dictionary import vocabulary_pieces
from masscli.lexicon.spelling import spelling_similarity
from masscli.text.markers import SENTENCEPIECE_SPACE

Ids = NDArray[np.int64]
WINDOWS = (3, 12)
DIM = 200
CONTEXTS = 3000
POWER = 0.75
LETTERS = 4
RATIO = 5.0
"""Anchors may be so much more frequent in one language than in the other."""
FEWEST = 10
ROUNDS, THINNED = 40, 24
"""Rounds of learning again, and how many of the first of them see only a part of the dictionary."""
LEARNED = 2500
"""Words that are learned from, the commonest; the others are only looked up."""
COMMON = 500
"""Words of each side that tell whether two draws agree; rarer ones seldom do."""
CHUNK = 20_000


class InducedDictionary(NamedTuple):
    """Words that are each other's nearest, with their score, the commonest first (similarities of rare words are high by chance, so they
    tell nothing across words); and the share of the common ones that another draw of the thinning finds as well: some half of captions,
    next to nothing where nothing was found.  `words` and `vectors` (N, axes) are those of each language, in one space, the axes first on
    which the languages agree most."""

    pairs: list[tuple[str, str, float]]
    agreement: float
    words: list[list[str]]
    vectors: tuple[Tensor, Tensor]


def induce(
    data: DataFolder, sides: Sequence[str], most: int, least: int, limit: int | None = None
) -> InducedDictionary:
    """Words among the `most` commonest of their language that are each other's nearest.

    Text is the first `limit` lines of each language.  Raises MasscliError where there are too few words or anchors.
    """
    pieces = vocabulary_pieces(data)
    words, vectors, rates = [], [], []
    for side in sides:
        if side not in data.languages:
            raise MasscliError(
                f"{data.folder}: has no language {side!r}", f"it has {', '.join(data.languages)}"
            )
        counts = np.zeros(len(pieces), np.int64)
        for chunk in _whole_words(data, side, pieces, limit):
            counts += np.bincount(chunk[chunk >= 0], minlength=len(pieces))
        chosen = np.argsort(-counts, kind="stable")[: int((counts >= least).sum())][:most]
        if len(chosen) < FEWEST:
            found = f"{len(chosen)} words of {side} that occur {least} times"
            raise MasscliError(f"{data.folder}: has {found}", "lower --min-count, or add text")
        words.append(chosen)
        rates.append(counts / counts.sum())
        tables = together(_whole_words(data, side, pieces, limit), chosen)
        vectors.append(torch.cat([_unit(embed(table)) for table in tables], 1))
    anchors = _anchors(words, rates, pieces)
    if len(anchors[0]) < FEWEST:
        raise MasscliError(f"{data.folder}: {' and '.join(sides)} spell {len(anchors[0])} words alike, too few to begin with",
                           "make the dictionary of pairs, or of a trained model")  # fmt: skip
    x, y = (_unit(side) for side in vectors)
    spelt = [[pieces[word][1:] for word in side] for side in words]
    written = spelling_similarity(*spelt)
    laid = align(x, y, anchors, written, 1)
    score = csls(*laid) + written
    mutually, again = pairs(score), pairs(csls(*align(x, y, anchors, written, 2)) + written)
    common = [pair for pair in mutually if max(pair) < COMMON]
    ordered = sorted(mutually, key=max)
    named = [(spelt[0][i], spelt[1][j], float(score[i, j])) for i, j in ordered]
    agreement = len(set(again).intersection(common)) / max(1, len(common))
    return InducedDictionary([(a, b, s) for a, b, s in named if a != b], agreement, spelt, laid)


def _whole_words(data: DataFolder, side: str, pieces: Sequence[str], limit: int | None) -> Iterator[Ids]:
    """Chunks of text, a number for each word: its piece, or -1 where it has several; `max(WINDOWS)` times -1 between lines."""
    begins = np.array([piece.startswith(SENTENCEPIECE_SPACE) and len(piece) > 1 for piece in pieces])
    column = data.monolingual("train", side)
    rows = len(column) if limit is None else min(limit, len(column))
    gap = np.full(max(WINDOWS), -1, np.int64)
    for start in range(0, rows, CHUNK):
        lines = []
        for row in range(start, min(start + CHUNK, rows)):
            ids = column[row]
            first = np.flatnonzero(begins[ids])
            alone = np.diff(first, append=len(ids)) == 1
            lines += [np.where(alone, ids[first], -1), gap]
        yield np.concatenate(lines)


def together(chunks: Iterable[Ids], words: Ids) -> list[NDArray[np.float64]]:
    """For each window, (len(words), contexts): how often words stand near the commonest of them, at a distance d counting 1 / d."""
    wide = min(CONTEXTS, len(words))
    tables = [np.zeros(len(words) * wide) for _ in WINDOWS]
    place = np.full(int(words.max()) + 2, -1, np.int64)
    place[words] = np.arange(len(words))
    for chunk in chunks:
        at = place[np.where(chunk < len(place), chunk, -1)]
        for distance in range(1, max(WINDOWS) + 1):
            before, after = at[:-distance], at[distance:]
            for word, context in ((before, after), (after, before)):
                real = (word >= 0) & (context >= 0) & (context < wide)
                found = np.bincount(word[real] * wide + context[real], minlength=len(words) * wide) / distance
                for table, window in zip(tables, WINDOWS, strict=True):
                    if distance <= window:
                        table += found
    return [table.reshape(len(words), wide) for table in tables]


def embed(table: NDArray[np.float64]) -> Tensor:
    """(len(table), DIM) vectors out of counts: positive pointwise mutual information, thinned."""
    share = table.sum(0) ** POWER / (table.sum(0) ** POWER).sum()
    expected = table.sum(1, keepdims=True) * share
    ppmi = np.log(np.maximum(np.divide(table, expected, out=np.zeros_like(table), where=expected > 0), 1.0))
    torch.manual_seed(1)
    u, s, _ = torch.svd_lowrank(torch.from_numpy(ppmi).float(), min(DIM + 20, table.shape[1]), niter=4)
    found = u[:, :DIM] * s[:DIM].sqrt()
    return torch.nn.functional.pad(found, (0, DIM - found.shape[1]))


def _unit(vectors: Tensor) -> Tensor:
    """Of length 1, around their mean, and of length 1 again."""
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    return torch.nn.functional.normalize(vectors - vectors.mean(0), dim=1)


def _anchors(
    words: Sequence[Ids], rates: Sequence[NDArray[np.float64]], pieces: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Where words stand in the first and the second list that both have."""
    second = {piece: i for i, piece in enumerate(words[1].tolist())}
    found = []
    for i, piece in enumerate(words[0].tolist()):
        word = pieces[piece][1:]
        ratio = rates[0][piece] / rates[1][piece] if rates[1][piece] else np.inf
        if (
            piece in second
            and (len(word) >= LETTERS or not any(c.isalpha() for c in word))
            and 1 / RATIO < ratio < RATIO
        ):
            found.append((i, second[piece]))
    a, b = torch.tensor(found, dtype=torch.int64).reshape(-1, 2).unbind(1)
    return a, b


def align(
    x: Tensor, y: Tensor, anchors: tuple[Tensor, Tensor], written: Tensor, seed: int
) -> tuple[Tensor, Tensor]:
    """Both spaces laid on each other, axes in the order of their agreement; rows are of length 1, the commonest first.

    `written` (len(x), len(y)), how alike words are written, is added to similarities.
    """
    generator = torch.Generator().manual_seed(seed)
    learned = anchors
    for turn in range(ROUNDS + 1):
        u, s, v = torch.linalg.svd(x[learned[0]].T @ y[learned[1]])
        a, b = (torch.nn.functional.normalize(side * s.sqrt(), dim=1) for side in (x @ u, y @ v.T))
        if turn == ROUNDS:
            return a, b
        score = csls(a[:LEARNED], b[:LEARNED]) + written[:LEARNED, :LEARNED]
        if turn < THINNED:
            kept = 0.2 + 0.8 * turn / THINNED
            score = score.masked_fill(torch.rand(score.shape, generator=generator) >= kept, -torch.inf)
        first, second = mutual(score)
        learned = torch.cat([first, anchors[0]]), torch.cat([second, anchors[1]])
    raise AssertionError("unreachable")
