"""Align the pieces of training pairs.

DATA is a data folder with training pairs. OUTPUT gets a line for each of them, in the order of the
folder, with links such as 0-0 1-2: the position of a source piece and that of the target piece which
translates it, counted from 0 (the Pharaoh format). A link is kept if IBM Model 1 finds it in both
directions. `masscli finetune --guided-alignment` trains with such a file. The file may also come from
another aligner: --pieces writes the input of fast_align and eflomal, so that lines and positions
correspond.

Examples:
  masscli align data-bin -s en -t de --output train.align
  masscli finetune data-bin --task translate -s en -t de --guided-alignment train.align --save-dir runs/ende
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masscli.cli.output import check_distinct, check_output, writer
from masscli.core.listing import count_of

if TYPE_CHECKING:
    from masscli.data.storage.columns import Column
    from masscli.text.tokenizer import Tokenizer


def run(
    path: Annotated[Path, typer.Argument(metavar="DATA", help="A data folder.")],
    source_lang: Annotated[
        str,
        typer.Option(
            "--source-lang",
            "-s",
            metavar="LANG",
            help="Language of the first positions.",
        ),
    ],
    target_lang: Annotated[
        str,
        typer.Option(
            "--target-lang",
            "-t",
            metavar="LANG",
            help="Language of the second positions.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="Where the alignments go."),
    ] = Path("train.align"),
    pieces: Annotated[
        Path | None,
        typer.Option(
            "--pieces",
            metavar="FILE",
            help="Also write the pairs, as `source pieces ||| target pieces`, for another aligner.",
        ),
    ] = None,
) -> None:
    """Write the alignments of the training pairs of a data folder and, if asked for, their pieces."""
    from masscli.data.formats.pharaoh import format_links
    from masscli.data.storage.verification import open_verified
    from masscli.lexicon.piece_alignment import align_lines

    check_distinct({"--output": output, "--pieces": pieces})
    check_output(output)
    data = open_verified(path)
    source, target = data.pair("train", source_lang, target_lang)
    if pieces is not None:
        _write_pieces(pieces, source, target, data.tokenizer())
    links = 0
    with writer(output) as write:
        for row_links in align_lines(source, target, data.vocab.size):
            links += len(row_links)
            write(format_links(row_links) + "\n")
    # There may be no target pieces at all, if all lines are empty.
    share = links / max(1, int(target.lengths().sum()))
    print(
        f"{count_of(len(source), 'pair')}, links to {share:.0%} of the target pieces",
        file=sys.stderr,
    )


def _write_pieces(
    path: Path, source: Column, target: Column, tokenizer: Tokenizer
) -> None:
    """Write the pieces of each pair of lines of two columns, as fast_align and eflomal read them."""
    with writer(path, "--pieces") as write:
        for row in range(len(source)):
            source_pieces = " ".join(tokenizer.ids_to_pieces(source[row].tolist()))
            target_pieces = " ".join(tokenizer.ids_to_pieces(target[row].tolist()))
            write(f"{source_pieces} ||| {target_pieces}\n")
