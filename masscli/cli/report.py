"""Summarize scores over seeds, or the cost of runs.

For a file written by `masscli score --append`: a Markdown table on standard output, with a row for all
scores that have the same tags except `seed`: mean ± standard deviation and the number of runs. With
--baseline, each cell also shows the difference from the row that has the tags of the baseline and
otherwise the same tags, and the p-value of a paired t-test over common seeds.

For folders of runs: a row for each run with its updates, minutes, speed (medians over its log) and peak
memory, and the validation metrics of its best checkpoint, all or those of --metric. --curve shows a metric
at every validation instead. --append adds the metrics to a log of scores.

With --html, either is also written as a page: curves, warnings of back-translation, sample outputs at
each validation and settings that differ, in one file without scripts for any browser.

Examples:
  masscli score hyp.de --ref test.de --append scores.jsonl --tag method=mass --tag seed=1
  masscli report scores.jsonl --baseline method=scratch
  masscli report scores.jsonl --plot k.svg --x k
  masscli report scores.jsonl --plot front.svg --x sentences/s
  masscli report runs/mass runs/finetuned
  masscli report runs/bert runs/mass --curve loss
  masscli report runs/bert runs/mass --html report.html
  masscli report runs/dialogue-1 --metric ppl-word --append scores.jsonl --tag method=mass --tag seed=1
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from masscli.cli.messages import warn
from masscli.cli.output import check_distinct, check_inputs_stay, check_is_file
from masscli.core.atomic_files import write_atomic
from masscli.core.errors import MasscliError
from masscli.core.files import given_again
from masscli.reporting.score_log import (
    LoggedScore,
    append_scores,
    compare_with_baseline,
    latest_scores,
    parse_tags,
    read_scores,
    replaced_scores,
    summarize,
)


def run(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH", help="File of `masscli score --append`, or runs."
        ),
    ],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TAG=VALUE",
            help="Scores: tag of the rows to compare the others with. Repeatable.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Scores: also plot them (svg, png or pdf) over --x; needs masscli[plot].",
        ),
    ] = None,
    x: Annotated[
        str | None,
        typer.Option(
            metavar="TAG",
            help="Scores: tag or metric on the horizontal axis of --plot and --html.",
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write a page for a browser."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Runs: metric of the best checkpoint, else of the last validation. Repeatable. "
            "[default: those that all runs have, such as loss]",
        ),
    ] = None,
    curve: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Runs: metric to show at every validation."),
    ] = None,
    append: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Runs: also add each --metric to this log of scores."
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Tag of the metrics in --append. Repeatable."
        ),
    ] = None,
) -> None:
    """Print a table of scores or of runs, and write the plot, page or log that the options ask for."""
    tags = parse_tags(tag, "--tag")
    written = {"--plot": plot, "--html": html, "--append": append}
    check_is_file(written)
    check_distinct(written)
    # Of a run, its log is read.
    check_inputs_stay(written, [*paths, *(path / "log.jsonl" for path in paths)])
    # Runs are folders, and a log of scores is a file.
    if any(path.is_dir() for path in paths):
        _refuse_given(
            {"--baseline": baseline, "--plot": plot, "--x": x},
            "is for logs of scores, not for runs",
            "--html draws the curves of runs; --metric NAME --append FILE makes a log of scores",
        )
        _report_runs(paths, metric or [], curve, append, tags)
        if html is not None:
            _write_run_page(paths, metric or [], html)
        return
    _refuse_given(
        {"--metric": metric, "--curve": curve, "--append": append, "--tag": tags},
        "is for folders of runs",
        "masscli report --help",
    )
    if len(paths) != 1:
        raise MasscliError(
            f"report: expected one log of scores, got {len(paths)}",
            "report each by itself",
        )
    _report_scores(paths[0], baseline, plot, x, html)


def _refuse_given(options: Mapping[str, object], reason: str, hint: str) -> None:
    """Raise MasscliError with a reason and a hint for the first option, by flag, that was given."""
    for flag, value in options.items():
        if value:
            raise MasscliError(f"{flag}: {reason}", hint)


def _report_scores(
    scores: Path,
    baseline: list[str] | None,
    plot: Path | None,
    x: str | None,
    html: Path | None,
) -> None:
    """Print a table of a log of scores, with tests against the baseline if given; draw what is asked for."""
    from masscli.reporting.score_table import markdown_table, plot_summaries

    if plot is not None and x is None:
        raise MasscliError(
            "--plot needs --x", "masscli report scores.jsonl --plot k.svg --x k"
        )
    if x is not None and plot is None and html is None:
        raise MasscliError(
            "--x: is for --plot and --html",
            "masscli report scores.jsonl --html k.html --x k",
        )
    all_scores = read_scores(scores)
    logged = latest_scores(all_scores)
    _warn_of_replaced(scores, all_scores)
    summaries = summarize(logged)
    tests = {}
    if baseline:
        tests = compare_with_baseline(logged, parse_tags(baseline, "--baseline"))
        if not tests:
            warn(
                f"--baseline {' '.join(baseline)}: no other score has the same tags otherwise, "
                "and a seed in common"
            )
    print(markdown_table(summaries, tests))
    if plot is not None and x is not None:
        plot_summaries(summaries, x, plot)
    if html is not None:
        from masscli.reporting.score_page import score_page

        write_atomic(html, score_page(scores.name, summaries, tests, x).encode())


def _warn_of_replaced(path: Path, scores: Sequence[LoggedScore]) -> None:
    """Print a warning if scores in a log do not count, because later ones have the same tags."""
    replaced = replaced_scores(scores)
    if not replaced:
        return
    first = replaced[0]
    tags = " ".join(f"{name}={value}" for name, value in first.tags)
    warn(
        f"{path}: {len(replaced)} scores do not count, since a later one has the same tags, such as "
        f"{first.metric} {first.value:.2f} of {tags or 'no tag'}; tell them apart with --tag seed=N"
    )


def _write_run_page(folders: Sequence[Path], metrics: list[str], html: Path) -> None:
    """Write a page with the curves and sample outputs of runs."""
    from masscli.reporting.run_history import read_history
    from masscli.reporting.run_page import run_page

    histories = [read_history(folder) for folder in folders]
    page = run_page(histories, metrics)
    write_atomic(html, page.encode())


def _report_runs(
    folders: Sequence[Path],
    metrics: list[str],
    curve: str | None,
    append: Path | None,
    tags: dict[str, str],
) -> None:
    """Print a table of runs; with --append, add the metrics of one run to a log of scores."""
    from masscli.reporting.run_log import cost_rows, overall_metrics, read_run
    from masscli.reporting.score_table import align_table

    if append is not None and (not metrics or len(folders) > 1):
        raise MasscliError(
            "--append: adds the metrics of one run", "name one run, and --metric NAME"
        )
    if tags and append is None:
        raise MasscliError(
            "--tag: tags are written to the log of --append only",
            "add --append scores.jsonl",
        )
    for folder in given_again(folders):
        warn(f"{folder}: is given twice")
    logs = [read_run(folder) for folder in folders]
    shown = metrics
    if not metrics and curve is None:
        shown = overall_metrics(logs)
    print(align_table(cost_rows(logs, shown, curve), text_columns=1))
    if append is not None:
        # All metrics are read before any is written, so that a missing one leaves the log as it was.
        # Unlike any signature of `masscli score`, since the two must not be compared.
        signature = "validation of the best checkpoint"
        scores = []
        for name in metrics:
            scores.append(
                LoggedScore(name, logs[0].best(name), signature, tuple(tags.items()))
            )
        append_scores(append, scores)
