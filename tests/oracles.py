"""Slow and obvious versions of what masscli computes fast. Each follows the definition, with Python numbers, and not masscli's code."""

from __future__ import annotations

import math
from collections.abc import Callable

from masscli.generation.config import GenerationConfig
from masscli.text.vocabulary import Vocabulary

# -- decoding ------------------------------------------------------------------------------------------------------------------------------

Row = Callable[[int, tuple[int, ...]], list[float]]
"""Maps the number of a sentence and the ids of the pieces so far to the log-probability of each next piece."""


def every_output(
    row: Row, sentence: int, vocabulary: Vocabulary, limit: int, lenpen: float
) -> list[tuple[float, tuple[int, ...]]]:
    """Return all outputs of up to `limit` pieces as (score, ids), best first, by a walk over the whole tree."""
    free = [
        v
        for v in range(vocabulary.size)
        if v not in vocabulary.special_ids or v == vocabulary.unk
    ]
    found: list[tuple[float, tuple[int, ...]]] = []

    def walk(pieces: tuple[int, ...], total: float) -> None:
        scores = row(sentence, pieces)
        found.append(
            ((total + scores[vocabulary.eos]) / (len(pieces) + 1) ** lenpen, pieces)
        )
        if len(pieces) < limit:
            for v in free:
                walk((*pieces, v), total + scores[v])

    walk((), 0.0)
    return sorted(found, key=lambda hypothesis: -hypothesis[0])


def slow_beam(
    row: Row,
    sentence: int,
    vocabulary: Vocabulary,
    limit: int,
    config: GenerationConfig,
    prefix: tuple[int, ...] = (),
) -> list[tuple[float, tuple[int, ...]]]:
    """Return all finished hypotheses of a beam search for one sentence as (score, ids), best first.

    The search runs to the length limit, so that no rule for stopping early can be wrong. Only a greedy search (beam
    1) ends where the end symbol is the best piece. Diverse groups choose one after the other, each row by row.
    """
    size = config.beam // config.diverse_beam_groups
    groups: list[list[tuple[float, tuple[int, ...]]]] = [
        [(0.0, ())] for _ in range(config.diverse_beam_groups)
    ]
    finished: list[tuple[float, tuple[int, ...]]] = []
    for step in range(limit + 1):
        taken: list[int] = []
        for g, rows in enumerate(groups):
            options = []  # (steering score, row, piece, true sum)
            for r, (total, pieces) in enumerate(rows):
                for v, score in enumerate(row(sentence, pieces)):
                    if slow_allowed(v, pieces, step, limit, vocabulary, config, prefix):
                        paid = (
                            step < len(prefix) or step >= limit or v != vocabulary.unk
                        )
                        true = total + score - (0.0 if paid else config.unkpen)
                        options.append(
                            (
                                true - config.diverse_beam_strength * taken.count(v),
                                r,
                                v,
                                true,
                            )
                        )
            options.sort(key=lambda option: (-option[0], option[1], option[2]))
            options = options[: 2 * size]
            finished += [
                (true / (step + 1) ** config.lenpen, rows[r][1])
                for _, r, v, true in options[:size]
                if v == vocabulary.eos
            ]
            groups[g] = [
                (true, (*rows[r][1], v))
                for _, r, v, true in options
                if v != vocabulary.eos
            ][:size]
            taken += [pieces[-1] for _, pieces in groups[g]]
        if finished and config.beam == 1:
            break
    return sorted(finished, key=lambda hypothesis: -hypothesis[0])


def slow_allowed(
    v: int,
    pieces: tuple[int, ...],
    step: int,
    limit: int,
    vocabulary: Vocabulary,
    config: GenerationConfig,
    prefix: tuple[int, ...],
) -> bool:
    """Return whether the piece `v` may follow `pieces`."""
    if step >= limit:
        return v == vocabulary.eos
    if step < len(prefix):
        return v == prefix[step]
    if v == vocabulary.eos:
        return step >= config.min_len
    n = config.no_repeat_ngram_size
    longer = (*pieces, v)
    repeats = n > 0 and any(
        longer[i : i + n] == longer[-n:]
        for i in range(len(longer) - n)
        if len(longer) >= n
    )
    return not repeats and (v not in vocabulary.special_ids or v == vocabulary.unk)


# -- answers to questions, and entities ----------------------------------------------------------------------------------------------------


def squad_words(text: str) -> list[str]:
    """Return the words of a normalized answer: in lower case, without ASCII punctuation and articles."""
    kept = "".join(
        c
        for c in text.lower()
        if not (c.isascii() and c.isprintable() and not c.isalnum() and c != " ")
    )
    runs: list[str] = []
    for c in kept:
        if runs and runs[-1][-1].isalnum() and c.isalnum():
            runs[-1] += c
        else:
            runs.append(c)
    return "".join(" " if run in ("a", "an", "the") else run for run in runs).split()


def squad_pair(gold: str, predicted: str, v2: bool) -> tuple[float, float]:
    """Return exact match and F1 of an answer with one gold answer."""
    ours, theirs = squad_words(predicted), squad_words(gold)
    exact = float(ours == theirs)
    if v2 and (not ours or not theirs):
        return exact, exact
    left, shared = list(theirs), 0
    for word in ours:
        if word in left:
            left.remove(word)
            shared += 1
    if not shared:
        return exact, 0.0
    precision, recall = shared / len(ours), shared / len(theirs)
    return exact, 2 * precision * recall / (precision + recall)


def squad_means(
    asked: dict[str, list[str]],
    answers: dict[str, str],
    v2: bool,
    odds: dict[str, float] | None = None,
    limit: float = math.inf,
) -> tuple[float, float]:
    """Return the means of exact match and F1 over all questions, times 100.

    A question without a prediction is wrong. In version 2.0, a question whose no-answer probability is above the limit counts as predicted
    to be unanswerable.
    """
    pairs = []
    for key, golds in asked.items():
        if key not in answers:
            pairs.append((0.0, 0.0))
        elif odds is not None and odds[key] > limit:
            pairs.append((float(not golds), float(not golds)))
        else:
            meant = [g for g in golds if squad_words(g)] or [""] if v2 else golds
            each = [squad_pair(g, answers[key], v2) for g in meant]
            pairs.append((max(e for e, _ in each), max(f for _, f in each)))
    return 100 * sum(e for e, _ in pairs) / len(pairs), 100 * sum(
        f for _, f in pairs
    ) / len(pairs)


def chunks(tags: list[str]) -> list[tuple[int, int, str]]:
    """Return the entities of a sentence as conlleval finds them, in BIO or BIOES.

    For each word it asks whether an entity ends before the word, and whether one starts at it.
    """
    before = [("O", ""), *((tag[0], tag[2:]) for tag in tags)]
    found, start = [], -1
    for at, ((old, old_type), (new, new_type)) in enumerate(
        zip(before, [*before[1:], ("O", "")], strict=True)
    ):
        ends = (old, new) in [
            ("B", "B"),
            ("B", "O"),
            ("B", "S"),
            ("I", "B"),
            ("I", "O"),
            ("I", "S"),
        ] or old in "ES"
        if start >= 0 and (ends or (old != "O" and old_type != new_type)):
            found.append((start, at, old_type))
            start = -1
        starts = new in "BS" or (old, new) in [
            ("O", "I"),
            ("O", "E"),
            ("E", "E"),
            ("E", "I"),
            ("S", "E"),
            ("S", "I"),
        ]
        if starts or (new != "O" and old_type != new_type):
            start = at
    return found


# -- attention -----------------------------------------------------------------------------------------------------------------------------

Matrix = list[list[float]]


def slow_attention(
    queries: Matrix, keys: Matrix, values: Matrix, sees: list[list[bool]]
) -> Matrix:
    """Return one head of scaled dot-product attention (Vaswani et al. 2017, equation 1).

    `sees[t][l]` says whether query t may attend to key l.
    """
    mixed = []
    for query, row in zip(queries, sees, strict=True):
        scores = [
            sum(a * b for a, b in zip(query, key, strict=True)) / math.sqrt(len(query))
            for key in keys
        ]
        weights = [
            math.exp(score) if seen else 0.0
            for score, seen in zip(scores, row, strict=True)
        ]
        shares = [weight / math.fsum(weights) for weight in weights]
        mixed.append(
            [
                math.fsum(s * value[i] for s, value in zip(shares, values, strict=True))
                for i in range(len(values[0]))
            ]
        )
    return mixed
