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
    import sys

    from masscli.data.prepare.merge import merge_parts

    manifest = merge_parts(parts, destdir, overwrite)
    for stats in manifest.filter_stats:
        dropped = (
            ", ".join(f"{count:,} {reason}" for reason, count in stats.dropped.items())
            or "none"
        )
        print(
            f"{stats.group}: {stats.lines:,} lines, {stats.kept:,} kept, dropped: {dropped}",
            file=sys.stderr,
        )
    print(f"{destdir}: {len(parts)} parts", file=sys.stderr)
