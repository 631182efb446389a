"""Find the likely target pieces of each source piece.

The result is a vocabulary shortlist. DATA is a data folder with training pairs. The shortlist is for
one direction and one vocabulary, and is used by `masscli generate --shortlist`, `masscli export --to
ctranslate2 --shortlist` and CTranslate2 itself, which calls such a file a vocabulary map. Decoding with
it computes a few hundred logits for a sentence instead of those of the whole vocabulary. The command
prints how many candidates a sentence of the validation set has, and how many pieces of its reference
are among them.

Examples:
  masscli shortlist data-bin -s en -t de --output shortlist.txt
  masscli generate runs/ende --shortlist shortlist.txt < test.en > hyp.de
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from masscli.cli.output import check_output, writer


def run(
    path: Annotated[Path, typer.Argument(metavar="DATA", help="A data folder.")],
    source_lang: Annotated[
        str,
        typer.Option(
            "--source-lang",
            "-s",
            metavar="LANG",
            help="Language that is translated from.",
        ),
    ],
    target_lang: Annotated[
        str,
        typer.Option(
            "--target-lang",
            "-t",
            metavar="LANG",
            help="Language that is translated into.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE",
            help="Where the shortlist goes; - is standard output.",
        ),
    ] = Path("shortlist.txt"),
    per_piece: Annotated[
        int,
        typer.Option(
            "--per-piece", help="Maximum number of candidates of a source piece.", min=1
        ),
    ] = 100,
    frequent: Annotated[
        int,
        typer.Option(
            "--frequent",
            help="How many of the most frequent target pieces are always candidates.",
            min=0,
        ),
    ] = 100,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", help="Read only this many pairs (default: all).", min=1
        ),
    ] = None,
) -> None:
    """Write the shortlist, and print how it fits the validation set."""
    from masscli.checkpoint.convert.token_names import token_names
    from masscli.data.storage.data_folder import MissingDataError
    from masscli.data.storage.verification import open_verified
    from masscli.generation.shortlist_file import shortlist_text
    from masscli.lexicon.shortlist import learn_shortlist, measure_coverage

    # Learning a shortlist takes minutes, so a path that cannot be written is refused first.
    check_output(output)
    data = open_verified(path)
    shortlist = learn_shortlist(
        data, source_lang, target_lang, per_piece, frequent, limit
    )
    text = shortlist_text(shortlist, token_names(data.tokenizer()))
    with writer(output) as write:
        write(text)
    # A shortlist can be used without a validation set to measure its coverage on.
    try:
        coverage = measure_coverage(shortlist, data, source_lang, target_lang)
    except MissingDataError:
        print(
            f"{output}: written; there are no validation pairs to measure its coverage on",
            file=sys.stderr,
        )
        return
    print(
        f"{output}: a sentence of valid has {coverage.candidates:.0f} candidates of {data.vocab.size:,} "
        f"pieces, and among them are {coverage.pieces:.2%} of the pieces of its reference",
        file=sys.stderr,
    )
