"""Answers to questions, scored as SQuAD's official scripts score them (Rajpurkar et al. 2016, 2018).

    normal form: lower case, ASCII punctuation out, the words a, an, the out, spaces collapsed
    exact match: equality of normal forms;  F1: of the two bags of words;  each the best over the gold answers
    1.1: gold answers as they are; without a shared word F1 is 0.  2.0: gold answers with an empty normal form are dropped, none left means
    no answer, which is ""; where either side has no word, F1 is whether both have none.

A question without a prediction is a mistake of the caller unless he says that it counts as wrong: the official script would leave it out of
one mean and fail in the next.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from masscli.core.errors import MasscliError

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


@dataclass(frozen=True, slots=True)
class Question:
    """Gold answers, none where there is no answer."""

    id: str
    answers: tuple[str, ...]


def normalize_answer(text: str) -> str:
    """The normal form."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(gold: str, predicted: str) -> float:
    """1 where the normal forms are equal."""
    return float(normalize_answer(gold) == normalize_answer(predicted))


def f1(gold: str, predicted: str, v2: bool = True) -> float:
    """F1 of the words that both have."""
    ours, theirs = normalize_answer(predicted).split(), normalize_answer(gold).split()
    if not ours or not theirs:
        return float(v2 and ours == theirs)
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared / (len(ours) + len(theirs))


def gold_answers(question: Question, v2: bool) -> Sequence[str]:
    """What a prediction is compared with."""
    return (
        [answer for answer in question.answers if normalize_answer(answer)] or [""]
        if v2
        else question.answers
    )


Pairs = dict[str, tuple[float, float]]


def score_questions(
    questions: Sequence[Question], predictions: Mapping[str, str], v2: bool, missing_is_wrong: bool
) -> Pairs:
    """(exact match, F1) of every question."""
    found = {}
    for question in questions:
        if question.id not in predictions:
            if not missing_is_wrong:
                raise MasscliError(
                    f"no prediction for question {question.id!r}",
                    "add it, or let it count as wrong: --missing wrong",
                )
            found[question.id] = 0.0, 0.0
            continue
        prediction, gold = predictions[question.id], gold_answers(question, v2)
        if not gold:
            raise MasscliError(
                f"question {question.id!r} has no answer to compare with",
                'is it impossible? then "is_impossible": true',
            )
        found[question.id] = (
            max(exact_match(g, prediction) for g in gold),
            max(f1(g, prediction, v2) for g in gold),
        )
    return found


def evaluate_squad(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    v2: bool,
    na_prob: Mapping[str, float] | None = None,
    threshold: float = 1.0,
    missing_is_wrong: bool = False,
) -> dict[str, float]:
    """`exact`, `f1` and `total`; for 2.0 also of questions with and without an answer (HasAns_, NoAns_), and the best thresholds.

    Values are times 100, keys are those of the official script.  A question whose `na_prob` is above the threshold is taken for unanswered.
    """
    raw = score_questions(questions, predictions, v2, missing_is_wrong)
    if not questions:
        raise MasscliError("there are no questions to score")
    has = {q.id: bool(q.answers) for q in questions}
    odds = {q.id: (na_prob or {}).get(q.id, 0.0) for q in questions}
    null = {
        key for key in raw if odds[key] > threshold and key in predictions
    }  # what has no prediction is wrong in any case
    final = {key: (float(not has[key]),) * 2 if key in null else score for key, score in raw.items()}
    found = _means("", final)
    if v2:
        for name, wanted in (("HasAns_", True), ("NoAns_", False)):
            part = {key: score for key, score in final.items() if has[key] is wanted}
            found |= _means(name, part) if part else {}
        if na_prob is not None:
            for i, name in enumerate(("exact", "f1")):
                best, at = best_threshold(
                    {key: score[i] for key, score in raw.items()}, predictions, has, odds
                )
                found |= {f"best_{name}": best, f"best_{name}_thresh": at}
    return found


def best_threshold(
    raw: Mapping[str, float],
    predictions: Mapping[str, str],
    has: Mapping[str, bool],
    odds: Mapping[str, float],
) -> tuple[float, float]:
    """The best score (times 100) over all thresholds, and the first threshold that gives it: begin with nothing answered, and let questions
    be answered one after another, the least likely to have no answer first.  The threshold that answers nothing is 0, as in the official
    script, or just below the least of the odds where they are not probabilities."""
    now = best = float(sum(not answerable for key, answerable in has.items() if key in predictions))
    least = min(odds.values())
    at = 0.0 if least >= 0 else math.nextafter(least, -math.inf)
    for key in sorted(odds, key=odds.__getitem__):
        now += raw[key] if has[key] else -1.0 if predictions.get(key) else 0.0
        if now > best:
            best, at = now, odds[key]
    return 100 * best / len(has), at


def _means(name: str, part: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    count = len(part)
    mean = [100 * sum(score[i] for score in part.values()) / count for i in (0, 1)]
    return {f"{name}exact": mean[0], f"{name}f1": mean[1], f"{name}total": float(count)}
