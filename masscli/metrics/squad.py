"""Answers to questions, scored like SQuAD's official scripts do (Rajpurkar et al. 2016, 2018).

Answers are normalized: lower case, without ASCII punctuation and the words a, an, the, with single spaces.
Exact match says whether the normalized answers are equal; F1 is that of the two bags of words. If a question
has several gold answers, the best score over them counts.

In version 1.1, all gold answers are used, and F1 without a shared word is 0. In version 2.0, gold answers
that are empty when normalized are dropped; if none is left, the question has no answer, and the right
prediction is "". If either answer then has no words, F1 is 1 if both have none, else 0.

A question without a prediction is an error unless the caller says that it counts as wrong. (The official
scripts are inconsistent about it: one mean leaves it out, and the next one fails.)
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from masscli.core.errors import MasscliError

_REMOVE_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")
Scores = dict[str, tuple[float, float]]
"""Maps the id of each question to its exact match and its F1, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, given by its id and its gold answers; it has none if it is unanswerable."""

    id: str
    answers: tuple[str, ...]


def normalize_answer(text: str) -> str:
    """Return an answer in the form in which answers are compared.

    It is in lower case, without ASCII punctuation and the words a, an, the, and with single spaces.
    """
    # In the order of the official script: articles are matched after punctuation is removed.
    without_punctuation = text.lower().translate(_REMOVE_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", without_punctuation).split())


def exact_match(gold: str, predicted: str) -> float:
    """Return 1.0 if the two answers are equal when normalized, else 0.0."""
    return float(normalize_answer(gold) == normalize_answer(predicted))


def f1(gold: str, predicted: str, v2: bool = True) -> float:
    """Return F1, from 0 to 1, of the bags of words of two normalized answers.

    If either has no words, F1 is 0 in version 1.1; with `v2` it is 1 if both have none.
    """
    # An answer that consists only of articles and punctuation has no words.
    predicted_words = normalize_answer(predicted).split()
    gold_words = normalize_answer(gold).split()
    if not predicted_words or not gold_words:
        return float(v2 and predicted_words == gold_words)
    # Words count as often as both sides have them.
    shared = (Counter(predicted_words) & Counter(gold_words)).total()
    return 2 * shared / (len(predicted_words) + len(gold_words))


def gold_answers(question: Question, v2: bool) -> Sequence[str]:
    """Return the gold answers that a prediction is compared with.

    These are all answers of the question. With `v2`, those that are empty when normalized are left out, and
    if none is left, the only gold answer is "".
    """
    if not v2:
        return question.answers
    answers = [answer for answer in question.answers if normalize_answer(answer)]
    return answers or [""]


def score_questions(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    v2: bool,
    missing_is_wrong: bool,
) -> Scores:
    """Return exact match and F1 of each question; `predictions` maps ids of questions to answers.

    If a question has no prediction, its scores are 0 with `missing_is_wrong`; otherwise MasscliError is
    raised. It is also raised for a question without an answer unless `v2` is given.
    """
    scores: Scores = {}
    for question in questions:
        if question.id not in predictions:
            if not missing_is_wrong:
                raise MasscliError(
                    f"no prediction for question {question.id!r}",
                    "add it, or let it count as wrong: --missing wrong",
                )
            scores[question.id] = 0.0, 0.0
            continue
        answers = gold_answers(question, v2)
        if not answers:
            raise MasscliError(
                f"question {question.id!r} has no answer to compare with",
                'is it impossible? then "is_impossible": true',
            )
        prediction = predictions[question.id]
        best_match = max(exact_match(answer, prediction) for answer in answers)
        best_f1 = max(f1(answer, prediction, v2) for answer in answers)
        scores[question.id] = best_match, best_f1
    return scores


def evaluate_squad(
    questions: Sequence[Question],
    predictions: Mapping[str, str],
    v2: bool,
    no_answer_probabilities: Mapping[str, float] | None = None,
    threshold: float = 1.0,
    missing_is_wrong: bool = False,
) -> dict[str, float]:
    """Return the values that the official script of SQuAD 2.0 reports, under its keys; scores are times 100.

    The scores of version 1.1 have the same keys. They are `exact`, `f1` and `total`, the number of questions.
    With `v2` they are also given for the questions with and without an answer (`HasAns_`, `NoAns_`). If
    `no_answer_probabilities` are given, a question whose probability is above `threshold` is scored as
    predicted to be unanswerable, and with `v2` the best thresholds are reported too. Raises MasscliError if
    there are no questions or if a predicted question has no probability, and for the same questions as
    `score_questions`.
    """
    scores = score_questions(questions, predictions, v2, missing_is_wrong)
    if not questions:
        raise MasscliError("there are no questions to score")
    has_answer = {question.id: bool(question.answers) for question in questions}
    # A question without a prediction is wrong at any threshold and needs no probability.
    predicted = [question.id for question in questions if question.id in predictions]
    probabilities = _select_probabilities(no_answer_probabilities, predicted)
    final_scores = dict(scores)
    for key in predictions.keys() & scores.keys():
        # Such a question counts as predicted to be unanswerable. One without a prediction is wrong in any
        # case.
        if probabilities[key] > threshold:
            is_right = float(not has_answer[key])
            final_scores[key] = is_right, is_right
    results = _means("", final_scores)
    if not v2:
        return results
    for prefix, answerable in (("HasAns_", True), ("NoAns_", False)):
        group = {
            key: final_scores[key] for key in scores if has_answer[key] is answerable
        }
        results |= _means(prefix, group)
    if no_answer_probabilities is not None:
        # The thresholds are found for the answers as predicted, before the given threshold is applied.
        for index, name in enumerate(("exact", "f1")):
            values = {key: score[index] for key, score in scores.items()}
            best, best_at = best_threshold(
                values, predictions, has_answer, probabilities
            )
            results |= {f"best_{name}": best, f"best_{name}_thresh": best_at}
    return results


def best_threshold(
    scores: Mapping[str, float],
    predictions: Mapping[str, str],
    has_answer: Mapping[str, bool],
    probabilities: Mapping[str, float],
) -> tuple[float, float]:
    """Find the threshold of the no-answer probability with the best mean score.

    Returns this score (times 100) and the lowest threshold that gives it. `scores` holds the score of each
    question if it is answered as predicted. Questions whose probability is above the threshold count as
    predicted to be unanswerable. The threshold at which none is answered is 0, as in the official script, or
    just below the least probability if that is negative. As in that script, questions of equal probability
    are tried one after another, so that the score may be that of answering only some of them.
    """
    # With no question answered, only those without an answer are right.
    current = float(
        sum(not has_answer[key] for key in has_answer if key in predictions)
    )
    lowest = min(probabilities.values(), default=0.0)
    best = current
    best_at = 0.0
    if lowest < 0:
        best_at = math.nextafter(lowest, -math.inf)
    for key in sorted(probabilities, key=probabilities.__getitem__):
        # Answering a question without an answer loses the point that it had.
        if has_answer[key]:
            current += scores[key]
        elif predictions.get(key):
            current -= 1.0
        if current > best:
            best = current
            best_at = probabilities[key]
    return 100 * best / len(has_answer), best_at


def _select_probabilities(
    probabilities: Mapping[str, float] | None, predicted: Sequence[str]
) -> dict[str, float]:
    """Return the no-answer probability of each predicted question; it is 0 if `probabilities` is None.

    Raises MasscliError if there are probabilities, but not for all predicted questions.
    """
    if probabilities is None:
        return dict.fromkeys(predicted, 0.0)
    missing = [key for key in predicted if key not in probabilities]
    if missing:
        raise MasscliError(
            f"no probability of no answer for {len(missing)} of {len(predicted)} predicted questions, "
            f"such as {missing[0]!r}",
            "`masscli predict --na-prob FILE` writes one for each question",
        )
    return {key: probabilities[key] for key in predicted}


def _means(prefix: str, scores: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Return the means (times 100) over a group of questions, under `prefix` and the official keys.

    They are PREFIXexact, PREFIXf1 and PREFIXtotal, the number of questions. The result is empty if the group
    is.
    """
    total = len(scores)
    # The official script leaves out the keys of a group without questions.
    if total == 0:
        return {}
    exact = 100 * sum(score[0] for score in scores.values()) / total
    mean_f1 = 100 * sum(score[1] for score in scores.values()) / total
    return {
        f"{prefix}exact": exact,
        f"{prefix}f1": mean_f1,
        f"{prefix}total": float(total),
    }
