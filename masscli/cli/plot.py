"""Draw a table as curves, into an SVG file that any browser shows.

TABLE is text: a line of names, then lines of values, in columns parted by blanks; the first column is the horizontal axis, each other one a
curve with a scale of its own. A first column with values that are not numbers is drawn evenly spaced. A value like 12.3+-0.4 is drawn with
its deviation; a dash is left out.

Examples:
  masscli plot runs/k-study/k.txt --output k.svg
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="The table; - is standard input.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the drawing goes.")
    ] = Path("plot.svg"),
) -> None:
    from masscli.cli.output import writer
    from masscli.core.errors import MasscliError
    from masscli.reporting.plot import draw, read_table
    from masscli.text.corpus import lines

    if (
        output.suffix != ".svg"
        and (output.suffix or output.is_file() or not output.exists())
        and str(output) != "-"
    ):
        raise MasscliError(
            f"--output {output}: drawings are SVG",
            f"name it {output.with_suffix('.svg').name}; browsers make others of it",
        )
    drawing = draw(read_table(list(lines(table)), str(table)))
    with writer(output) as put:
        put(drawing)
