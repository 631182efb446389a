"""Which words mean the same, by the pairs of lines they occur in: Model 1 of Brown et al. 1993, "The Mathematics of Statistical Machine
Translation", section 4.2.

    t(f | e) = c(f | e) / sum_f' c(f' | e),    c(f | e) = sum over lines with f and e of  t(f | e) / sum_{e' in line, and NULL} t(f | e')

Learned in both directions.  A pair of words is kept where each is the other's likeliest translation, which is not so of words that only go
along, or where the geometric mean of both t is at least `SURE`, so that `a` is `ein`, `eine` and `einen`; never below `LEAST`.  It knows
nothing of order and of phrases; a word is what stands between spaces in the tokenizer's text.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.dictionary import vocabulary_pieces
from masscli.text.markers import SENTENCEPIECE_SPACE

ROUNDS = 10
SURE, LEAST = 0.2, 0.1
Links = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def induce(
    data: DataFolder, sides: Sequence[str], least: int, limit: int | None = None
) -> list[tuple[str, str, float]]:
    """(word, word, score) from the training pairs (the first `limit`), the surest first; the score is the geometric mean of t both ways.

    Words that occur fewer than `least` times and pairs that are spelt alike are left out.
    """
    columns = data.pair("train", sides[0], sides[1])
    rows = len(columns[0]) if limit is None else min(limit, len(columns[0]))
    pieces = vocabulary_pieces(data)
    known: list[dict[str, int]] = [{}, {}]
    lines = [
        [_words(column[row].tolist(), pieces, names) for row in range(rows)]
        for column, names in zip(columns, known, strict=True)
    ]
    there, back = model1(lines[0], lines[1]), model1(lines[1], lines[0])
    counts = [
        np.bincount(np.concatenate([np.array(line, np.int64) for line in side]), minlength=1)
        for side in lines
    ]
    score = {(e, f): (t * back.get((f, e), 0.0)) ** 0.5 for (e, f), t in there.items()}
    best: list[dict[int, float]] = [{}, {}]
    for pair, value in score.items():
        for word, known_best in zip(pair, best, strict=True):
            known_best[word] = max(known_best.get(word, 0.0), value)
    first, second = (list(names) for names in known)
    found = [
        (first[e], second[f], value)
        for (e, f), value in score.items()
        if value >= (LEAST if value == best[0][e] == best[1][f] else SURE)
        and min(counts[0][e], counts[1][f]) >= least
        and first[e] != second[f]
    ]
    return sorted(found, key=lambda pair: (-pair[2], pair[:2]))


def _words(ids: Sequence[int], pieces: Sequence[str], names: dict[str, int]) -> list[int]:
    """The words of a line as numbers, which `names` gives out."""
    text = "".join(pieces[i] for i in ids)
    return [names.setdefault(word, len(names)) for word in text.split(SENTENCEPIECE_SPACE) if word]


def model1(given: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> dict[tuple[int, int], float]:
    """t(f | e) of every e in `given` and f in `written` that share a line, after `ROUNDS` rounds from the uniform start."""
    e, f, token = _links(given, written)
    if not len(e):
        return {}
    width = int(f.max()) + 1
    keys, link = np.unique(e * width + f, return_inverse=True)
    e, f = keys // width, keys % width
    t = np.ones(len(keys))
    for _ in range(ROUNDS):
        share = t[link] / np.bincount(token, t[link])[token]
        count = np.bincount(link, share)
        t = count / np.bincount(e, count)[e]
    real = e > 0
    return dict(
        zip(zip((e[real] - 1).tolist(), f[real].tolist(), strict=True), t[real].tolist(), strict=True)
    )


def _links(given: Sequence[Sequence[int]], written: Sequence[Sequence[int]]) -> Links:
    """Every token that is written beside every word of its line that is given: (word + 1, or 0 for NULL; the token's word; its number)."""
    e, f, token, seen = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], 0
    for source, target in zip(given, written, strict=True):
        n, m = len(source) + 1, len(target)
        e.append(np.tile(np.array([-1, *source], np.int64) + 1, m))
        f.append(np.repeat(np.array(target, np.int64), n))
        token.append(np.repeat(np.arange(seen, seen + m), n))
        seen += m
    return np.concatenate(e), np.concatenate(f), np.concatenate(token)
