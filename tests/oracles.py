"""Slow and obvious versions of what masscli does fast.  Each is written from the definition, over Python numbers, never from the code."""

from __future__ import annotations

import math
from collections.abc import Callable

from masscli.commands import GenerationConfig
from masscli.text.vocabulary import Vocabulary

# -- decoding ------------------------------------------------------------------------------------------------------------------------------

Row = Callable[[int, tuple[int, ...]], list[float]]
"""(sentence, pieces so far) -> the log-probability of each next piece."""


def every_output(row: Row, sentence: int, vocabulary: Vocabulary, limit: int, lenpen: float) -> list[tuple[float, tuple[int, ...]]]:
    """All outputs up to `limit` pieces with their scores, best first: a walk over the whole tree."""
    free = [v for v in range(vocabulary.size) if v not in vocabulary.specials or v == vocabulary.unk]
    found: list[tuple[float, tuple[int, ...]]] = []

    def walk(pieces: tuple[int, ...], total: float) -> None:
        scores = row(sentence, pieces)
        found.append(((total + scores[vocabulary.eos]) / (len(pieces) + 1) ** lenpen, pieces))
        if len(pieces) < limit:
            for v in free:
                walk((*pieces, v), total + scores[v])

    walk((), 0.0)
    return sorted(found, key=lambda hypothesis: -hypothesis[0])


def slow_beam(
    row: Row, sentence: int, vocabulary: Vocabulary, limit: int, config: GenerationConfig, prefix: tuple[int, ...] = ()
) -> list[tuple[float, tuple[int, ...]]]:
    """Beam search of one sentence over Python lists: all of its finished hypotheses, best first.

    Runs to the length limit, so it has no stop rule to get wrong; groups choose one after the other, each row by row.
    """
    size = config.beam // config.diverse_beam_groups
    groups: list[list[tuple[float, tuple[int, ...]]]] = [[(0.0, ())] for _ in range(config.diverse_beam_groups)]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for step in range(limit + 1):
        taken: list[int] = []
        for g, rows in enumerate(groups):
            options = []  # (steering score, row, piece, true sum)
            for r, (total, pieces) in enumerate(rows):
                for v, score in enumerate(row(sentence, pieces)):
                    if slow_allowed(v, pieces, step, limit, vocabulary, config, prefix):
                        paid = step < len(prefix) or step >= limit or v != vocabulary.unk
                        true = total + score - (0.0 if paid else config.unkpen)
                        options.append((true - config.diverse_beam_strength * taken.count(v), r, v, true))
            options.sort(key=lambda option: (-option[0], option[1], option[2]))
            options = options[: 2 * size]
            finished += [(true / (step + 1) ** config.lenpen, rows[r][1]) for _, r, v, true in options[:size] if v == vocabulary.eos]
            groups[g] = [(true, (*rows[r][1], v)) for _, r, v, true in options if v != vocabulary.eos][:size]
            taken += [pieces[-1] for _, pieces in groups[g]]
    return sorted(finished, key=lambda hypothesis: -hypothesis[0])


def slow_allowed(
    v: int, pieces: tuple[int, ...], step: int, limit: int, vocabulary: Vocabulary, config: GenerationConfig, prefix: tuple[int, ...]
) -> bool:
    """Whether piece `v` may follow `pieces`."""
    if step >= limit:
        return v == vocabulary.eos
    if step < len(prefix):
        return v == prefix[step]
    if v == vocabulary.eos:
        return step >= config.min_len
    n = config.no_repeat_ngram_size
    longer = (*pieces, v)
    repeats = n > 0 and any(longer[i : i + n] == longer[-n:] for i in range(len(longer) - n) if len(longer) >= n)
    return not repeats and (v not in vocabulary.specials or v == vocabulary.unk)


# -- attention -----------------------------------------------------------------------------------------------------------------------------

Matrix = list[list[float]]


def slow_attention(queries: Matrix, keys: Matrix, values: Matrix, sees: list[list[bool]]) -> Matrix:
    """One head of scaled dot-product attention (Vaswani et al. 2017, equation 1): `sees[t][l]` says whether query t may look at key l."""
    mixed = []
    for query, row in zip(queries, sees, strict=True):
        scores = [sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(query)) for key in keys]
        weights = [math.exp(score) if seen else 0.0 for score, seen in zip(scores, row, strict=True)]
        shares = [weight / math.fsum(weights) for weight in weights]
        mixed.append([math.fsum(s * value[i] for s, value in zip(shares, values, strict=True)) for i in range(len(values[0]))])
    return mixed
