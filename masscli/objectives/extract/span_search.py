"""The search for the best spans: in each window, and over all windows of a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.windows import best_window_per_token
from masscli.objectives.extract.question_windows import QuestionWindow
from masscli.objectives.extract.span_heads import SpanHead, SpanLogits, WindowStates
from masscli.objectives.shared.evaluable_objective import ExampleOutput


class ScoredSpan(NamedTuple):
    """The tokens `start` to `end` (included) of a text, and the sum of their start and end scores."""

    score: float
    start: int
    end: int


@torch.no_grad()
def search_windows(
    head: SpanHead, windows: WindowStates, n_best: int, max_answer: int
) -> list[ExampleOutput]:
    """Return an array with the best spans of each window.

    The spans combine each of the `n_best` best starts with the `n_best` best ends for it; those with more
    than `max_answer` tokens, or an end before the start, are left out. An array holds the score of no answer,
    followed by three numbers for each span: its first and last token, counted from the start of the window's
    text, and its score. `rank_spans` reads the spans from the arrays.
    """
    logits = head.span_logits(windows)
    start_logits = logits.starts.double().cpu().numpy()
    text_end = windows.text_start + windows.text_size
    # Answers are searched for only in the text, whatever else a head has scored.
    texts = []
    best_starts = []
    for row, (begin, end) in enumerate(
        zip(windows.text_start.tolist(), text_end.tolist(), strict=True)
    ):
        text = slice(begin, end)
        texts.append(text)
        best_starts.append(_best(start_logits[row, text], n_best))
    # The ends of all windows are scored in one call.
    end_logits = (
        logits.ends(_start_positions(windows, best_starts)).double().cpu().numpy()
    )
    outputs = []
    for row, null_score in enumerate(
        _null_scores(windows, logits, start_logits, end_logits)
    ):
        text = texts[row]
        output = [null_score]
        # Column 0 is the null position.
        for column, start in enumerate(best_starts[row], 1):
            start_logit = start_logits[row, text][start]
            text_end_logits = end_logits[row, column, text]
            for end in _best(text_end_logits, n_best):
                # A span cannot end before it starts, and long spans are hardly ever answers.
                if start <= end < start + max_answer:
                    output += [start, end, start_logit + text_end_logits[end]]
        outputs.append(np.array(output, np.float64))
    return outputs


def rank_spans(
    windows: Sequence[tuple[QuestionWindow, ExampleOutput]],
) -> list[ScoredSpan]:
    """Return the spans of a question's text, best first, with tokens counted from the start of the text.

    `windows` are all windows of the question, each with its array of `search_windows`. A span counts only in
    the window that has most context around its start.
    """
    text_length = max(window.start + window.size for window, _ in windows)
    best_windows = best_window_per_token(
        [(window.start, window.size) for window, _ in windows], text_length
    )
    spans = []
    for window, output in windows:
        for first, last, score in output[1:].reshape(-1, 3).tolist():
            start = window.start + int(first)
            if best_windows[start] == window.number:
                spans.append(ScoredSpan(score, start, window.start + int(last)))
    # Ties go to the earlier span, so that the ranking does not depend on the windows.
    return sorted(spans, key=lambda span: (-span.score, span.start, span.end))


def _start_positions(
    windows: WindowStates, best_starts: Sequence[Sequence[int]]
) -> Tensor:
    """Return the start positions for which ends are scored: (B, K).

    The first one is the null position. The others are those of the best starts, which are counted from the
    start of the text. Rows with fewer starts are filled up with the null position.
    """
    num_columns = 1 + max(len(starts) for starts in best_starts)
    positions = windows.null_position[:, None].repeat(1, num_columns)
    for row, starts in enumerate(best_starts):
        offsets = torch.tensor(starts, device=positions.device)
        positions[row, 1 : 1 + len(starts)] = windows.text_start[row] + offsets
    return positions


def _null_scores(
    windows: WindowStates,
    logits: SpanLogits,
    start_logits: ExampleOutput,
    end_logits: ExampleOutput,
) -> list[float]:
    """Return the no-answer score of each window: the classifier's logit, if the head has a classifier.

    Otherwise it is the sum of the start and the end score at the null position. `start_logits` (B, L) and
    `end_logits` (B, K, L) are those of `logits`; column 0 of the latter is for a start at the null position.
    """
    if logits.no_answer is not None:
        classifier_scores: list[float] = logits.no_answer.tolist()
        return classifier_scores
    # Without a classifier, no answer is a span that starts and ends at the null position.
    rows = np.arange(len(start_logits))
    null_positions = windows.null_position.cpu().numpy()
    span_scores = (
        start_logits[rows, null_positions] + end_logits[rows, 0, null_positions]
    )
    scores: list[float] = span_scores.tolist()
    return scores


def _best(scores: ExampleOutput, count: int) -> list[int]:
    """Return the indices of the `count` highest scores, best first; of equal scores, the first one wins."""
    indices: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return indices
