"""Choose the answer to a question from the spans of all its windows (Devlin et al. 2019, 4.2 and 4.3).

The spans of all windows are ranked together by their scores, and equal texts are one answer. The score
of no answer is the minimum over the windows. If questions may have no answer (--unanswerable), no
answer is predicted if its score exceeds that of the best answer by more than --null-threshold; if the
head has a classifier for this, only its logit is compared with the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from masscli.data.storage.tables import Table
from masscli.objectives.extract.options import ExtractOptions
from masscli.objectives.extract.question_windows import (
    CONTEXT,
    QuestionWindow,
    character_offsets,
)
from masscli.objectives.extract.span_search import rank_spans
from masscli.objectives.shared.evaluable_objective import ExampleOutput, Prediction

CERTAINLY_NO_ANSWER = 1e9
"""The `null_odds` of a prediction if there is no span at all, in place of infinity, which JSON lacks."""


def decode_answer(
    table: Table,
    row: int,
    windows: Sequence[tuple[QuestionWindow, ExampleOutput]],
    options: ExtractOptions,
    has_classifier: bool,
) -> Prediction:
    """Return the answer to the question in a row of a table, or an empty text if no answer is predicted.

    `windows` are all windows of the question, each with its array of `search_windows`. The answer is a part
    of the original text, from the first character of its first token to the last one of its last token. The
    details of the prediction also have the best answer, the odds of no answer, and the `n_best` answers.
    `has_classifier` says whether the head's score of no answer is the logit of a classifier.
    """
    scores = _best_texts(table, row, windows, options.n_best)
    # The texts are ranked, so the first one is the best.
    best_text = next(iter(scores), "")
    null_score = min(float(output[0]) for _, output in windows)
    # The difference between the score of no answer and that of the best answer.
    if not scores:
        null_odds = math.inf
    elif has_classifier:
        null_odds = null_score
    else:
        null_odds = null_score - scores[best_text]
    is_null = options.unanswerable and null_odds > options.null_threshold
    answer = "" if is_null else best_text
    if not math.isfinite(null_odds):
        null_odds = CERTAINLY_NO_ANSWER
    # The logit of a classifier is on another scale than the scores of spans, so it is not listed with
    # them.
    lists_null = options.unanswerable and not has_classifier
    if lists_null or not scores:
        ranked = sorted([*scores.items(), ("", null_score)], key=lambda item: -item[1])
    else:
        ranked = list(scores.items())
    details = {
        "id": table.text("id", row),
        "answer": answer,
        "best": best_text,
        "null_odds": null_odds,
        "na_prob": _sigmoid(null_odds),
        "n_best": _with_probabilities(ranked),
    }
    return Prediction(answer, details)


def _best_texts(
    table: Table,
    row: int,
    windows: Sequence[tuple[QuestionWindow, ExampleOutput]],
    n_best: int,
) -> dict[str, float]:
    """Return up to `n_best` answers to the question in a row, with their scores, best first.

    Spans with the same text are one answer, with the score of the best of them.
    """
    context = table.text(CONTEXT, row)
    token_starts, token_ends = character_offsets(table, row)
    scores: dict[str, float] = {}
    for span in rank_spans(windows):
        if len(scores) == n_best:
            break
        # Spans are ranked, so the first score of a text is its best.
        text = context[int(token_starts[span.start]) : int(token_ends[span.end])]
        scores.setdefault(text, span.score)
    return scores


def _with_probabilities(ranked: Sequence[tuple[str, float]]) -> list[dict[str, object]]:
    """Return (text, score) pairs as JSON objects with `text`, `probability` and `score`.

    The probabilities are the softmax of the scores. `ranked` must be sorted, best first.
    """
    best_score = ranked[0][1]
    total = sum(math.exp(score - best_score) for _, score in ranked)
    listed: list[dict[str, object]] = []
    for text, score in ranked:
        probability = math.exp(score - best_score) / total
        listed.append({"text": text, "probability": probability, "score": score})
    return listed


def _sigmoid(x: float) -> float:
    # Below this, exp(-x) overflows.
    if x <= -700:
        return 0.0
    return 1 / (1 + math.exp(-x))
