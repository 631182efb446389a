"""Make an HTML report about one or several runs: costs, curves, warnings, sample outputs and settings.

The page is one file without scripts, and without fonts or pictures from elsewhere, so it can be mailed,
archived and opened without a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files

from masscli.reporting.run_history import LoggedSample, Points, RunHistory
from masscli.reporting.run_log import cost_rows
from masscli.reporting.svg_chart import COLORS, Curve, line_chart
from masscli.version import __version__

POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""The content security policy of the page: a browser may load only the style sheet inside it."""
SAMPLE_ROWS = 8
"""Maximum number of validations whose outputs are shown for a sample line, evenly spread over the run."""
MAIN_METRICS = (
    "loss",
    "ppl",
    "bleu",
    "roundtrip",
    "rouge-l",
    "accuracy",
    "f1",
    "retrieval",
)
"""Validation metrics whose charts are shown first, in this order; others are collapsed."""


def run_page(histories: Sequence[RunHistory], metrics: Sequence[str]) -> str:
    """Return the HTML report about runs; `metrics` are columns of its table, at the best checkpoint."""
    logs = [history.log for history in histories]
    names = [log.name for log in logs]
    sections = [
        ("Runs", html_table(cost_rows(logs, metrics, None), text_columns=1)),
        ("Validation", _validation(histories)),
        (
            "Training",
            _charts(histories, lambda history: history.losses | history.speed),
        ),
        ("What objectives measure", _objectives(histories)),
        ("Sample outputs", _samples(histories)),
        ("Settings that differ", _differing_settings(histories)),
        ("All settings", _all_settings(histories)),
    ]
    title = f"{len(names)} runs"
    if len(names) < 3:
        title = " and ".join(names)
    return page(title, names, sections)


def page(title: str, runs: Sequence[str], sections: Sequence[tuple[str, str]]) -> str:
    """Return an HTML page with a title, a legend of the names `runs`, and sections as (heading, HTML).

    Sections without contents are left out, and so is the legend of fewer than two runs.
    """
    style = files("masscli.reporting").joinpath("page.css").read_text(encoding="utf-8")
    links = ""
    bodies = ""
    for heading, body in sections:
        if body:
            links += f'<a href="#{_anchor(heading)}">{escape(heading)}</a>'
            bodies += f'<section id="{_anchor(heading)}"><h2>{escape(heading)}</h2>{body}</section>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - masscli report</title><style>{style}</style></head><body>"
        f"<header><h1>{escape(title)}</h1>{_legend(runs)}<nav>{links}</nav></header>"
        f"<main>{bodies}</main><footer>masscli {__version__}</footer></body></html>\n"
    )


def _legend(runs: Sequence[str]) -> str:
    # A single run needs no legend: its name is the title.
    if len(runs) < 2:
        return ""
    chips = ""
    for number, name in enumerate(runs):
        chips += f'<span class="chip"><span class="dot p{number % COLORS}"></span>{escape(name)}</span>'
    return f'<p class="legend">{chips}</p>'


def _validation(histories: Sequence[RunHistory]) -> str:
    """Return the charts of the validation metrics as HTML: MAIN_METRICS first, the others folded away."""
    names = _names(histories, lambda history: history.validation)
    # A metric of a single stream or task repeats the value of the more general one.
    names = [name for name in names if not _repeats(histories, name, names)]
    main = sorted(
        (name for name in names if name in MAIN_METRICS), key=MAIN_METRICS.index
    )
    others = [name for name in names if name not in MAIN_METRICS]
    # Without any of the main metrics, nothing is collapsed.
    if not main:
        return _chart_grid(histories, others, lambda history: history.validation)
    body = _chart_grid(histories, main, lambda history: history.validation)
    if others:
        rest = _chart_grid(histories, others, lambda history: history.validation)
        body += (
            f"<details><summary>{len(others)} more metrics</summary>{rest}</details>"
        )
    return body


def _repeats(histories: Sequence[RunHistory], name: str, names: Sequence[str]) -> bool:
    """Return whether a metric only repeats a more general one, as `mass.loss` may repeat `loss`.

    It does if the name of the other, among `names`, is one of its dotted parts, and all runs have equal
    points.
    """
    parts = name.split(".")
    general = [other for other in names if other != name and other in parts]
    for other in general:
        if all(
            history.validation.get(name) == history.validation.get(other)
            for history in histories
        ):
            return True
    return False


def _objectives(histories: Sequence[RunHistory]) -> str:
    """Return the table of logged warnings and the charts of the objectives' own metrics, as HTML."""
    charts = _charts(histories, lambda history: history.objective_metrics)
    rows = [["run", "warning", "from update", "to update", "times"]]
    for history in histories:
        for text, steps in history.warnings.items():
            rows.append(
                [
                    history.log.name,
                    text,
                    f"{steps[0]:,}",
                    f"{steps[-1]:,}",
                    str(len(steps)),
                ]
            )
    warnings = ""
    if len(rows) > 1:
        warnings = f'<div class="warnings">{html_table(rows, text_columns=2)}</div>'
    elif charts:
        warnings = "<p>No warning was given.</p>"
    return warnings + charts


def _charts(
    histories: Sequence[RunHistory],
    curves: Callable[[RunHistory], Mapping[str, Points]],
) -> str:
    return _chart_grid(histories, _names(histories, curves), curves)


def _chart_grid(
    histories: Sequence[RunHistory],
    names: Sequence[str],
    curves: Callable[[RunHistory], Mapping[str, Points]],
) -> str:
    """Return the charts of the figures `names`, in this order, as one HTML element; empty without names.

    `curves` returns the curves of a run by name.
    """
    if not names:
        return ""
    charts = [_chart(histories, name, curves) for name in names]
    return f'<div class="charts">{"".join(charts)}</div>'


def _chart(
    histories: Sequence[RunHistory],
    name: str,
    curves: Callable[[RunHistory], Mapping[str, Points]],
) -> str:
    """Return the chart of the figure `name`, with a curve for each run that has it, as SVG.

    `curves` returns the curves of a run by name. For a single run, the best checkpoint is marked in a chart
    of validation.
    """
    drawn = []
    best = None
    for number, history in enumerate(histories):
        points = curves(history).get(name)
        if not points:
            continue
        drawn.append(Curve(history.log.name, tuple(points), number))
        # Of a single run the checkpoint that was chosen is marked.
        if len(histories) == 1 and curves(history) is history.validation:
            best = next(
                (point for point in points if point[0] == history.log.best_step), None
            )
    return line_chart(name, drawn, best)


def _names(
    histories: Sequence[RunHistory],
    curves: Callable[[RunHistory], Mapping[str, Points]],
) -> list[str]:
    """Return the names of the curves of all runs, each once; `curves` returns those of a run by name."""
    # A dictionary serves as a set that keeps the order.
    names: dict[str, None] = {}
    for history in histories:
        names.update(dict.fromkeys(curves(history)))
    return list(names)


def _samples(histories: Sequence[RunHistory]) -> str:
    """Return HTML with a card for each sample line: the outputs of all runs at some of the validations."""
    cards: dict[tuple[str, str, str], list[tuple[int, LoggedSample]]] = {}
    for number, history in enumerate(histories):
        for sample in history.samples:
            cards.setdefault((sample.task, sample.source, sample.reference), []).append(
                (number, sample)
            )
    parts = []
    for (task, source, reference), outputs in cards.items():
        rows = ""
        for number, sample in _spread(outputs):
            rows += _sample_row(histories, number, sample)
        parts.append(
            f'<article class="sample"><p class="task">{escape(task)}</p>'
            f"<dl><dt>source</dt><dd>{escape(source)}</dd><dt>reference</dt><dd>{escape(reference)}</dd></dl>"
            f"<table>{rows}</table></article>"
        )
    return "".join(parts)


def _spread(
    outputs: Sequence[tuple[int, LoggedSample]],
) -> list[tuple[int, LoggedSample]]:
    """Return the outputs of up to SAMPLE_ROWS evenly spread validations, in order of updates, then runs.

    Outputs are (number of the run, sample). The first and the last validation are always among them.
    """
    steps = sorted({sample.step for _, sample in outputs})
    if len(steps) > SAMPLE_ROWS:
        last = len(steps) - 1
        # In whole numbers, the last position is exactly the last step.
        steps = [
            steps[position * last // (SAMPLE_ROWS - 1)]
            for position in range(SAMPLE_ROWS)
        ]
    kept = [(number, sample) for number, sample in outputs if sample.step in steps]
    return sorted(kept, key=lambda output: (output[1].step, output[0]))


def _sample_row(
    histories: Sequence[RunHistory], number: int, sample: LoggedSample
) -> str:
    run = ""
    if len(histories) > 1:
        name = escape(histories[number].log.name)
        run = f'<td class="run"><span class="dot p{number % COLORS}"></span>{name}</td>'
    output = escape(sample.output) or '<span class="empty">empty</span>'
    return f'<tr><td class="number">{sample.step:,}</td>{run}<td>{output}</td></tr>'


def _differing_settings(histories: Sequence[RunHistory]) -> str:
    """Return an HTML table of the settings in which the runs differ, except `save_dir`.

    The result is a sentence if there are none, and empty for a single run.
    """
    if len(histories) < 2:
        return ""
    # Runs of different versions or objectives have different settings, so the keys of all are gone through.
    keys: dict[str, None] = {}
    for history in histories:
        keys.update(dict.fromkeys(history.settings))
    rows = [["setting", *(history.log.name for history in histories)]]
    for key in keys:
        values = [history.settings.get(key, "") for history in histories]
        # Every run has a folder of its own.
        if len(set(values)) > 1 and key != "save_dir":
            rows.append([key, *values])
    if len(rows) == 1:
        return "<p>The runs have the same settings.</p>"
    return html_table(rows, text_columns=len(rows[0]))


def _all_settings(histories: Sequence[RunHistory]) -> str:
    parts = []
    for history in histories:
        rows = [["setting", "value"]]
        for key, value in history.settings.items():
            rows.append([key, value])
        if len(rows) > 1:
            name = escape(history.log.name)
            table = html_table(rows, text_columns=2)
            parts.append(f"<details><summary>{name}</summary>{table}</details>")
    return "".join(parts)


def html_table(rows: Sequence[Sequence[str]], text_columns: int) -> str:
    """Return rows as an HTML table, the first one as its heading.

    The first `text_columns` columns are aligned left, the others, which hold numbers, right.
    """
    heading, *others = rows
    lines = [_table_row("th", heading, text_columns)]
    lines += [_table_row("td", row, text_columns) for row in others]
    return f'<div class="scroll"><table>{"".join(lines)}</table></div>'


def _table_row(tag: str, row: Sequence[str], text_columns: int) -> str:
    cells = []
    for column, cell in enumerate(row):
        kind = ' class="number"' if column >= text_columns else ""
        cells.append(f"<{tag}{kind}>{escape(cell)}</{tag}>")
    return f"<tr>{''.join(cells)}</tr>"


def _anchor(heading: str) -> str:
    """Return the id of a section by which links find it, escaped for HTML."""
    return escape(heading.lower().replace(" ", "-"))
