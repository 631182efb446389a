"""How `masscli score` shows scores: as lines, as a table that compares systems, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from masscli.metrics import Score
from masscli.text.single_line import json_line

Scores = Mapping[str, Sequence[Score]]
"""The scores by name of the hypothesis file, each a list with one score for each metric."""


def as_lines(scores: Scores) -> str:
    """Return a line such as `BLEU = 41.20  signature` for each score, after the file if there are several."""
    rows = []
    for name, scores_of_file in scores.items():
        # A single file needs no name: the user has just typed it.
        file = f"{name}  " if len(scores) > 1 else ""
        for score in scores_of_file:
            rows.append((file, score.name, _value(score), score.signature))
    file_width = max(len(file) for file, _, _, _ in rows)
    title_width = max(len(title) for _, title, _, _ in rows)
    value_width = max(len(value) for _, _, value, _ in rows)
    lines = []
    for file, title, value, signature in rows:
        lines.append(
            f"{file:<{file_width}}{title:<{title_width}} = {value:>{value_width}}  {signature}"
        )
    return "\n".join(lines)


def as_table(scores: Scores) -> str:
    """Return an aligned text table with a row for each file of outputs, and the signatures below.

    The columns are the metrics. The first file is the baseline of the p-values.
    """
    # All systems are scored by the same metrics, so the first one names them.
    first_system = next(iter(scores.values()))
    titles = [score.name for score in first_system]
    rows = [["", *titles]]
    for name, scores_of_system in scores.items():
        values = [_compared_value(score) for score in scores_of_system]
        rows.append([name, *values])
    widths = []
    for column in zip(*rows, strict=True):
        widths.append(max(len(cell) for cell in column))
    lines = []
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.append("")
    title_width = max(len(title) for title in titles)
    for score in first_system:
        lines.append(f"{score.name:<{title_width}}  {score.signature}")
    return "\n".join(lines)


def _value(score: Score) -> str:
    if score.ci is None:
        return f"{score.value:.2f}"
    return f"{score.value:.2f} ± {score.ci:.2f}"


def _compared_value(score: Score) -> str:
    """Return a score as `41.20 ± 0.80 (p = 0.0310*)`, without what it lacks; a star marks p < 0.05."""
    if score.p is None:
        return _value(score)
    star = "*" if score.p < 0.05 else ""
    return f"{_value(score)} (p = {score.p:.4f}{star})"


def as_json(scores: Scores) -> str:
    """Return a JSON list with one object for each file and metric; values are not rounded."""
    objects = []
    for name, scores_of_file in scores.items():
        for score in scores_of_file:
            fields: dict[str, Any] = {
                "file": name,
                "name": score.name,
                "value": score.value,
            }
            optional = {
                "signature": score.signature,
                "detail": score.detail,
                "mean": score.mean,
                "ci": score.ci,
                "p": score.p,
            }
            # Most scores have neither intervals nor p-values.
            for key, value in optional.items():
                if value not in (None, ""):
                    fields[key] = value
            objects.append(fields)
    return json.dumps(objects, ensure_ascii=False, indent=1)


def line_scores_as_json(name: str, rows: Sequence[Sequence[Score]]) -> str:
    """Return a line of JSON for each line of the file `name`, with its number from 1 and its scores."""
    objects = []
    for number, scores in enumerate(rows, 1):
        values = {score.name: score.value for score in scores}
        objects.append(json_line({"file": name, "line": number, **values}))
    return "\n".join(objects)


def line_scores_as_columns(rows: Sequence[Sequence[Score]]) -> str:
    """Return a text line for each scored line, with its scores separated by tabs."""
    lines = []
    for scores in rows:
        values = [f"{score.value:.2f}" for score in scores]
        lines.append("\t".join(values))
    return "\n".join(lines)
