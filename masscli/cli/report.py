"""Summarise the scores of an experiment over its seeds.

SCORES is a file that `masscli score --append` has written. Scores with equal tags, the tag `seed` aside, form a row: mean ± standard
deviation and the number of runs, as a Markdown table on standard output. With --baseline, each cell also shows the difference to the row
that has the tags of the baseline and is equal in the others, and the p-value of a paired t-test over common seeds.

Examples:
  masscli score hyp.de --ref test.de --append scores.jsonl --tag method=mass --tag seed=1
  masscli report scores.jsonl --baseline method=scratch
  masscli report scores.jsonl --plot k.svg --x k
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masscli.core.errors import MasscliError


def run(
    scores: Annotated[
        Path, typer.Argument(metavar="SCORES", help="File that `masscli score --append` wrote.")
    ],
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG=VALUE", help="Tag of the rows to compare with. Repeatable."),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw the scores (svg, png or pdf; needs masscli[plot])."),
    ] = None,
    x: Annotated[
        str | None, typer.Option(metavar="TAG", help="Tag on the horizontal axis of --plot.")
    ] = None,
) -> None:
    """Print the table, and draw the plot if asked to."""
    from masscli.reporting.score_log import compare_with_baseline, read_scores, summarise
    from masscli.reporting.score_table import markdown_table, plot_summaries

    if (plot is None) != (x is None):
        raise MasscliError("--plot and --x go together", "masscli report scores.jsonl --plot k.svg --x k")
    logged = read_scores(scores)
    summaries = summarise(logged)
    tests = compare_with_baseline(logged, parse_tags(baseline, "--baseline")) if baseline else {}
    print(markdown_table(summaries, tests))
    if plot is not None and x is not None:
        plot_summaries(summaries, x, plot)


def parse_tags(items: list[str] | None, flag: str) -> dict[str, str]:
    """Return the tags of a repeated option NAME=VALUE.

    Raises MasscliError if an item has another form or names a tag twice.
    """
    tags: dict[str, str] = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise MasscliError(f"{flag} {item}: expected NAME=VALUE", f"such as {flag} method=mass")
        if name in tags:
            raise MasscliError(f"{flag} {name}: given twice", "give each tag once")
        tags[name] = value
    return tags
