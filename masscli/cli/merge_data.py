"""Join the parts that preprocess --part encoded.

The parts may have been encoded on different machines, with commands that differ only in --part and
--destdir. The result is byte for byte that of a single masscli preprocess.

Examples:
  masscli preprocess --mono en=web.gz --spm-model vocab.model --part 1/2 --destdir parts/1
  masscli preprocess --mono en=web.gz --spm-model vocab.model --part 2/2 --destdir parts/2
  masscli merge-data parts/1 parts/2 --destdir data-bin/web
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masscli.core.listing import count_of


def run(
    parts: Annotated[
        list[Path],
        typer.Argument(metavar="PART", help="The folders of all parts, in any order."),
    ],
    destdir: Annotated[Path, typer.Option("--destdir", help="Folder to write.")] = Path(
        "data-bin"
    ),
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a data folder that was made from other text."
        ),
    ] = False,
) -> None:
    """Join the parts of a data folder, and print counts of kept and dropped lines."""
    from masscli.cli.kept_lines import line_warnings, report_console, table_of_lines
    from masscli.data.prepare.merge import merge_parts

    manifest = merge_parts(parts, destdir, overwrite)
    console = report_console()
    console.print(table_of_lines(manifest.filter_stats))
    for warning in line_warnings(manifest.filter_stats):
        console.print(f"warning: {warning}", markup=False, soft_wrap=True)
    console.print(
        f"{destdir}: {count_of(len(parts), 'part')}", markup=False, soft_wrap=True
    )
