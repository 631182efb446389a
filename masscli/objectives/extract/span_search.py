"""The search for the best spans: in each window, and over all windows of a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from masscli.data.batches.windows import best_window_per_token
from masscli.objectives.extract.question_windows import QuestionWindow
from masscli.objectives.extract.span_heads import SpanHead, WindowStates
from masscli.objectives.shared.evaluable_objective import ExampleOutput


class ScoredSpan(NamedTuple):
    """The tokens `start` to `end` (included) of a text, and the sum of their two scores."""

    score: float
    start: int
    end: int


@torch.no_grad()
def search_windows(
    head: SpanHead, windows: WindowStates, n_best: int, max_answer: int
) -> list[ExampleOutput]:
    """Return the best spans of each window.

    These are the `n_best` starts, each with the `n_best` ends, if they have at most `max_answer` tokens. An
    output is the score of no answer, followed by three numbers for each span: its first and last token,
    counted from the window's start, and its score. Read the spans with `rank_spans`.
    """
    logits = head.span_logits(windows)
    start_logits = logits.starts.double().cpu().numpy()
    text_starts = windows.text_start.tolist()
    text_sizes = windows.text_size.tolist()
    best_starts = []
    for row_logits, text_start, size in zip(start_logits, text_starts, text_sizes, strict=True):
        best_starts.append(_best(row_logits[text_start : text_start + size], n_best))
    # Ends are scored given no answer (column 0), and given each of the best starts. Rows with fewer starts
    # are filled up with the null position.
    num_columns = 1 + max(len(starts) for starts in best_starts)
    given_starts = windows.null_position[:, None].repeat(1, num_columns)
    for row, starts in enumerate(best_starts):
        positions = torch.tensor(starts, device=given_starts.device) + text_starts[row]
        given_starts[row, 1 : 1 + len(starts)] = positions
    end_logits = logits.ends(given_starts).double().cpu().numpy()
    outputs = []
    for row, null_position in enumerate(windows.null_position.tolist()):
        # Without a classifier, no answer is a span that starts and ends at the null position.
        if logits.no_answer is None:
            null_score = start_logits[row, null_position] + end_logits[row, 0, null_position]
        else:
            null_score = float(logits.no_answer[row])
        text = slice(text_starts[row], text_starts[row] + text_sizes[row])
        text_start_logits = start_logits[row, text]
        output = [null_score]
        for column, start in enumerate(best_starts[row], 1):
            text_end_logits = end_logits[row, column, text]
            for end in _best(text_end_logits, n_best):
                if start <= end < start + max_answer:
                    output += [start, end, text_start_logits[start] + text_end_logits[end]]
        outputs.append(np.array(output, np.float64))
    return outputs


def rank_spans(windows: Sequence[tuple[QuestionWindow, ExampleOutput]]) -> list[ScoredSpan]:
    """Return the spans of a question's text, best first; `windows` are all its windows with their outputs.

    A span counts only in the window that has most context around its start.
    """
    text_length = max(window.start + window.size for window, _ in windows)
    best_windows = best_window_per_token([(window.start, window.size) for window, _ in windows], text_length)
    spans = []
    for window, output in windows:
        for first, last, score in output[1:].reshape(-1, 3).tolist():
            start = window.start + int(first)
            if best_windows[start] == window.number:
                spans.append(ScoredSpan(score, start, window.start + int(last)))
    return sorted(spans, key=lambda span: (-span.score, span.start, span.end))


def _best(scores: ExampleOutput, count: int) -> list[int]:
    """Return the indices of the highest scores; of equal ones, the first."""
    indices: list[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return indices
