"""Show logged scores, summarized over seeds, as tables and plots."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.core.atomic_files import open_atomic
from masscli.core.errors import MasscliError
from masscli.metrics.perplexity import metric_text
from masscli.reporting.score_log import PairedTest, Summary, Tags
from masscli.text.single_line import one_line

MARKERS = "osD^v"
"""Shapes of the points of a plot, in the names of matplotlib; every ten lines have the next one."""
MOST_LABELS = 8
"""Maximum number of values whose labels fit under an axis."""


def markdown_table(
    summaries: Mapping[tuple[Tags, str], Summary],
    tests: Mapping[tuple[Tags, str], PairedTest],
) -> str:
    """Return a Markdown table with a row for each group and a column for each tag and metric.

    A cell holds mean ± standard deviation; with a test, also the difference to the baseline and its p-value.
    `summaries` and `tests` are by (group, metric), where a group is all tags except the seed.
    """
    rows, text_columns = table_rows(summaries, tests)
    return align_table(rows, text_columns)


def table_rows(
    summaries: Mapping[tuple[Tags, str], Summary],
    tests: Mapping[tuple[Tags, str], PairedTest],
) -> tuple[list[list[str]], int]:
    """Return (rows of a table of scores with the heading first, number of leading columns that hold text).

    `summaries` and `tests` are by (group, metric). There is a row for each group, with its tags, the number
    of its runs and a cell for each metric.
    """
    # Dictionaries serve as sets that keep the order in which the log has groups, metrics and tags.
    groups = dict.fromkeys(group for group, _ in summaries)
    metrics = dict.fromkeys(metric for _, metric in summaries)
    tag_names: dict[str, None] = {}
    for group in groups:
        tag_names.update(dict.fromkeys(name for name, _ in group))
    rows = [[*tag_names, "runs", *metrics]]
    for group in groups:
        tags = dict(group)
        row = [tags.get(name, "") for name in tag_names]
        # Such as 2/3 if a metric was logged by fewer runs than another.
        counts = {
            summaries[group, metric].count
            for metric in metrics
            if (group, metric) in summaries
        }
        row.append("/".join(str(count) for count in sorted(counts)))
        for metric in metrics:
            row.append(
                _cell(summaries.get((group, metric)), tests.get((group, metric)))
            )
        rows.append(row)
    return rows, len(tag_names)


def _cell(summary: Summary | None, test: PairedTest | None) -> str:
    """Return the text of a table cell: mean, deviation, and difference from the baseline with its p."""
    if summary is None:
        return ""
    cell = metric_text(summary.mean, ".2f")
    if summary.count > 1:
        cell += f" ± {summary.deviation:.2f}"
    if test is not None:
        cell += f" ({test.difference:+.2f}"
        if test.p is not None:
            cell += f", {_p_text(test.p)}"
        cell += ")"
    return cell


def _p_text(p: float) -> str:
    """Return `p = 0.004`, or `p < 0.001`, since p is never zero, as three decimals would say."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}"


def align_table(rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """Return rows, the heading first, as a Markdown table whose source text is aligned, too.

    The first `text_columns` columns are aligned left, the others, which hold numbers, right.
    """
    # A line break or a bar in a cell would end it.
    escaped = []
    for row in rows:
        escaped.append([one_line(cell).replace("|", "\\|") for cell in row])
    # Markdown needs at least three dashes in a rule below the heading.
    widths = []
    for column in zip(*escaped, strict=True):
        widths.append(max(3, *(len(cell) for cell in column)))
    # A colon at the end of the rule aligns the column right.
    rules = []
    for number, width in enumerate(widths):
        if number < text_columns:
            rules.append("-" * width)
        else:
            rules.append("-" * (width - 1) + ":")
    lines = []
    for row in [escaped[0], rules, *escaped[1:]]:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            if number < text_columns:
                cells.append(cell.ljust(width))
            else:
                cells.append(cell.rjust(width))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def plot_summaries(
    summaries: Mapping[tuple[Tags, str], Summary], x_tag: str, path: Path
) -> None:
    """Draw each metric over the values of the tag `x_tag` into the picture `path`, a panel for each metric.

    `x_tag` may also be a metric, over whose means the others are drawn. Error bars are standard deviations.
    Groups that differ in other tags become separate lines. The values are placed as numbers if all of them
    are finite numbers, otherwise evenly in the order of `summaries`. Raises MasscliError if no score has the
    tag or metric, if the ending of `path` is unknown, or without matplotlib (the extra `plot`).
    """
    try:
        import matplotlib

        # Draw into a file, on machines without a display, too.
        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ModuleNotFoundError:
        raise MasscliError(
            "--plot needs matplotlib", "pip install 'masscli[plot]'"
        ) from None
    summaries = with_x_tag(summaries, x_tag)
    places = places_on_axis(summaries, x_tag)
    # A dictionary serves as a set that keeps the order of the log.
    metrics = dict.fromkeys(metric for _, metric in summaries)
    figure, axes = pyplot.subplots(
        len(metrics),
        1,
        sharex=True,
        squeeze=False,
        figsize=(7, 1 + 2.5 * len(metrics)),
        layout="constrained",
    )
    # A line has the same color and marker in all panels, and one entry in the legend of the figure.
    drawn: dict[str, Any] = {}
    numbers: dict[str, int] = {}
    for axis, metric in zip(axes[:, 0], metrics, strict=True):
        for name, points in lines_of(summaries, metric, x_tag).items():
            # The log may have the values in another order than the axis.
            points = sorted(points, key=lambda point: places[point[0]])
            x_values = [places[label] for label, _ in points]
            means = [summary.mean for _, summary in points]
            deviations = [summary.deviation for _, summary in points]
            number = numbers.setdefault(name, len(numbers))
            # There are ten colors, so lines beyond the tenth differ by their markers.
            drawn[name] = axis.errorbar(
                x_values,
                means,
                deviations,
                marker=MARKERS[number // 10 % len(MARKERS)],
                capsize=3,
                color=f"C{number}",
            )
        axis.set_ylabel(metric)
        axis.grid(alpha=0.3)
    # If no other tag tells lines apart, the only line has no name, and a legend would be empty.
    if any(drawn):
        # Below the panels, where it hides no point.
        figure.legend(drawn.values(), drawn.keys(), loc="outside lower center")
    axes[-1, 0].set_xlabel(x_tag)
    # The labels of many numbers would overlap, and an axis of numbers can be read without them.
    are_words = list(places.values()) == list(range(len(places)))
    if are_words or len(places) <= MOST_LABELS:
        axes[-1, 0].set_xticks(list(places.values()), list(places))
    try:
        with open_atomic(path) as file:
            figure.savefig(file, format=path.suffix.removeprefix("."))
    # matplotlib raises this for a format, here the ending of the name, that it cannot write.
    except ValueError:
        known = "png, svg or pdf"
        raise MasscliError(
            f"--plot {path}: unknown image format",
            f"give a name that ends in {known}",
        ) from None
    finally:
        # pyplot keeps every figure until it is closed.
        pyplot.close(figure)


def with_x_tag(
    summaries: Mapping[tuple[Tags, str], Summary], x: str
) -> Mapping[tuple[Tags, str], Summary]:
    """Return summaries, by (group, metric), in groups that have the tag `x`.

    These are the given ones, unless no group has the tag and `x` is a metric, such as a speed. Its means then
    become a tag, so that the other metrics can be drawn against them; groups without this metric are left
    out.
    """
    if any(x in dict(group) for group, _ in summaries):
        return summaries
    tagged = {}
    for (group, metric), summary in summaries.items():
        if metric != x and (group, x) in summaries:
            tag = (x, f"{summaries[group, x].mean:.4g}")
            tagged[(*group, tag), metric] = summary
    return tagged


def places_on_axis(
    summaries: Mapping[tuple[Tags, str], Summary], x_tag: str
) -> dict[str, float]:
    """Return the position on the horizontal axis of each value of the tag `x_tag`, in the order of the log.

    It is the value itself if all values are finite numbers, otherwise the number of values before it. Raises
    MasscliError if no score has the tag.
    """
    indices: dict[str, float] = {}
    for group, _ in summaries:
        tags = dict(group)
        if x_tag in tags:
            indices.setdefault(tags[x_tag], float(len(indices)))
    if not indices:
        raise MasscliError(
            f"--x {x_tag}: no score has this tag", "masscli report FILE shows the tags"
        )
    try:
        numbers = {label: float(label) for label in indices}
    except ValueError:
        return indices
    # Python reads `nan` and `inf` as numbers, but they have no place on an axis.
    if all(math.isfinite(number) for number in numbers.values()):
        return numbers
    return indices


def lines_of(
    summaries: Mapping[tuple[Tags, str], Summary], metric: str, x_tag: str
) -> dict[str, list[tuple[str, Summary]]]:
    """Return the lines of a metric's plot over the tag `x_tag`, by name.

    A line is a list of points, each of them a value of the tag and the summary of a group that has it. The
    name lists the other tags of these groups. Groups without the tag are left out.
    """
    lines: dict[str, list[tuple[str, Summary]]] = {}
    for (group, other_metric), summary in summaries.items():
        tags = dict(group)
        if other_metric == metric and x_tag in tags:
            other_tags = [f"{key}={value}" for key, value in group if key != x_tag]
            lines.setdefault(", ".join(other_tags), []).append((tags[x_tag], summary))
    return lines
