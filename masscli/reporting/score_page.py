"""Make an HTML page about logged scores: their table, and a chart of each metric against a tag."""

from __future__ import annotations

from collections.abc import Mapping

from masscli.reporting.run_page import html_table, page
from masscli.reporting.score_log import PairedTest, Summary, Tags
from masscli.reporting.score_table import (
    lines_of,
    places_on_axis,
    table_rows,
    with_x_tag,
)
from masscli.reporting.svg_chart import Curve, line_chart

Summaries = Mapping[tuple[Tags, str], Summary]
"""The summaries of scores by (group, metric)."""


def score_page(
    title: str,
    summaries: Summaries,
    tests: Mapping[tuple[Tags, str], PairedTest],
    x_tag: str | None,
) -> str:
    """Return an HTML page with the table of scores; with `x_tag`, also a chart of each metric over that tag.

    `x_tag` may also be a metric, over whose means the others are drawn. `summaries` and `tests` are by
    (group, metric). Raises MasscliError if no score has the tag or the metric.
    """
    rows, text_columns = table_rows(summaries, tests)
    sections = [("Scores", html_table(rows, text_columns))]
    if x_tag is not None:
        sections.append((f"By {x_tag}", _charts(summaries, x_tag)))
    return page(title, [], sections)


def _charts(summaries: Summaries, x_tag: str) -> str:
    """Return a chart in HTML for each metric, with a curve for each group of tags besides `x_tag`."""
    summaries = with_x_tag(summaries, x_tag)
    places = places_on_axis(summaries, x_tag)
    charts = []
    # A dictionary serves as a set that keeps the order of the log.
    for metric in dict.fromkeys(metric for _, metric in summaries):
        curves = []
        for number, (name, points) in enumerate(
            lines_of(summaries, metric, x_tag).items()
        ):
            drawn = sorted((places[label], summary.mean) for label, summary in points)
            curves.append(Curve(name or metric, tuple(drawn), number))
        charts.append(line_chart(metric, curves))
    return f'<div class="charts">{"".join(charts)}</div>'
