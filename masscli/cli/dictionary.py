"""Find words that mean the same: in pairs, in text, or in a model.

From pairs, words are aligned with Model 1 of Brown et al. (1993) in both directions; a pair of words is kept where each is the other's
likeliest translation, or is surely one of them. A thousand lines are enough for the common words.

From text that nothing aligns, the two languages' word vectors are laid on each other, beginning with words that both spell alike
(Artetxe et al. 2018); words are kept that are each other's nearest. About half of the common words come out right where both texts are of
one kind and not too small (captions); of texts that are too unlike nothing does, which a warning tells.

From a run, it is the vectors of its token table that are compared, centred by language. All of this is as good as what it is made of, so
look at it. Each line is WORD, WORD and a score, the surest first; from text, where scores tell little, the commonest first.

Examples:
  masscli dictionary data-bin --langs en,de --limit 1000 --output en-de.txt
  masscli dictionary data-bin --langs en,fr --from text --output en-fr.txt --vectors vectors
  masscli dictionary runs/mass --langs en,fr --output en-fr.txt
  masscli pretrain data-bin --objective mass --switch-dictionary en-de.txt
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masscli.core.errors import MasscliError

if TYPE_CHECKING:
    from masscli.data.storage.data_folder import DataFolder
    from masscli.lexicon.from_text import InducedDictionary

Words = list[tuple[str, str, float]]

MOST_PAIRS = 20_000
"""All words of a line with all of the other are held in memory: some 18 kB a pair of 15 words each, and with the square of that."""
MOST_WORDS = 5_000
WIDTH = 128
AGREED = 0.25
"""Below this share two draws have found different dictionaries, so neither means much."""


class Origin(StrEnum):
    """What a dictionary is made of."""

    PAIRS = "pairs"
    TEXT = "text"
    MODEL = "model"


def run(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A data folder, or a run or checkpoint.")],
    langs: Annotated[str, typer.Option("--langs", "-l", metavar="A,B", help="The two languages.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where the dictionary goes.")
    ] = Path("dictionary.txt"),
    origin: Annotated[
        Origin | None,
        typer.Option(
            "--from",
            help="What to make it of (default: the model of a run, the pairs of a data "
            "folder, its text where there are none).",
        ),
    ] = None,
    min_count: Annotated[
        int | None,
        typer.Option(
            "--min-count", help="Leave out words that are rarer (default: 2 with pairs, else 5).", min=1
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            help="Read only the first so many pairs (default: 20000), or lines of each side.",
            min=1,
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            "--most",
            help="Consider so many words of each language, the commonest (default: 5000; all with pairs).",
            min=20,
        ),
    ] = None,
    vectors: Annotated[
        Path | None,
        typer.Option(
            "--vectors",
            metavar="PREFIX",
            help="From text: also write the words' vectors, which "
            "lie in one space, into PREFIX.LANG; --init-vectors takes them.",
        ),
    ] = None,
    dim: Annotated[
        int | None,
        typer.Option("--dim", help="Numbers in such a vector: the width of the model (default: 128).", min=2),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="With a run: where the text of both is (default: the run's folder)."),
    ] = None,
) -> None:
    from masscli.checkpoint.checkpoint import Checkpoint
    from masscli.core.files import write_atomic
    from masscli.data.storage.data_folder import DataFolder
    from masscli.data.storage.manifest import MANIFEST_FILE
    from masscli.lexicon import from_embeddings

    sides = tuple(langs.split(","))
    if len(sides) != 2 or sides[0] == sides[1]:
        raise MasscliError(f"--langs {langs}: expected two languages", "such as --langs en,fr")
    if output.is_dir() or not output.parent.is_dir():
        raise MasscliError(
            f"--output {output}: {'is a folder' if output.is_dir() else 'its folder does not exist'}",
            "name a file",
        )
    folder = (path / MANIFEST_FILE).exists()
    if origin is not None and folder is (origin is Origin.MODEL):
        raise MasscliError(f"--from {origin}: {path} is {'a' if folder else 'no'} data folder",
                           "name a run or checkpoint" if folder else "name the --destdir of masscli preprocess")  # fmt: skip
    if (
        unused := "--limit"
        if limit is not None and not folder
        else "--data"
        if data is not None and folder
        else ""
    ):
        raise MasscliError(f"{unused}: {path} is {'a' if folder else 'no'} data folder", "leave it out")
    origin = (origin or _there(DataFolder.open(path), sides)) if folder else Origin.MODEL
    if vectors is not None and origin is not Origin.TEXT:
        raise MasscliError(
            f"--vectors {vectors}: a dictionary from {origin} has none", "give --from text, or leave it out"
        )
    if vectors is not None and not vectors.parent.is_dir():
        raise MasscliError(f"--vectors {vectors}: its folder does not exist", "name a prefix of files")
    if dim is not None and vectors is None:
        raise MasscliError(
            "--dim: says how many numbers --vectors have", "give --vectors PREFIX, or leave it out"
        )
    if most is not None and origin is Origin.PAIRS:
        raise MasscliError(
            "--most: pairs are read whole, and all of their words", "leave it out, or give --from text"
        )
    if origin is Origin.MODEL:
        found = Checkpoint.open(path)
        from_text = DataFolder.open(data or found.recipe.data)
        words, source = (
            from_embeddings.induce(found.weights(), from_text, sides, most or MOST_WORDS, min_count or 5),
            "",
        )
    elif origin is Origin.PAIRS:
        words, source = _of_pairs(DataFolder.open(path), sides, min_count or 2, limit or MOST_PAIRS)
    else:
        words, source = _of_text(
            DataFolder.open(path), sides, most or MOST_WORDS, min_count or 5, limit, vectors, dim or WIDTH
        )
    if not words:
        raise MasscliError(
            f"{path}: no words of {sides[0]} and {sides[1]} were found to mean the same",
            "lower --min-count, or add text",
        )
    write_atomic(output, "".join(f"{a}\t{b}\t{score:.3f}\n" for a, b, score in words).encode())
    print(f"{output}: {len(words)} pairs of words{source}")


def _there(data: DataFolder, sides: Sequence[str]) -> Origin:
    """Pairs, where the data has them."""
    from masscli.data.storage.data_folder import MissingDataError

    try:
        data.pair("train", *sides)
    except MissingDataError:
        return Origin.TEXT
    return Origin.PAIRS


def _of_pairs(data: DataFolder, sides: Sequence[str], least: int, limit: int) -> tuple[Words, str]:
    """The dictionary, and what to say of where it comes from."""
    from masscli.lexicon import from_pairs

    there = len(data.pair("train", *sides)[0])
    read = min(limit, there)
    return from_pairs.induce(data, sides, least, read), f", from {read:,} pairs" + (
        f" of {there:,}" if read < there else ""
    )


def _of_text(
    data: DataFolder,
    sides: Sequence[str],
    most: int,
    least: int,
    limit: int | None,
    vectors: Path | None,
    dim: int,
) -> tuple[Words, str]:
    """The same; a dictionary that means little is warned of."""
    from masscli.lexicon import from_text

    found = from_text.induce(data, sides, most, least, limit)
    if found.agreement < AGREED:
        remark = f"two draws agree on {found.agreement:.0%} only: the texts are too small or too unlike"
        print(f"warning: {remark}; do not trust this dictionary", file=sys.stderr)
        surface = data.tokenizer().preprocessing
        if not (surface.moses and surface.lowercase):
            print(
                "hint: preprocess with --moses --lowercase: The, the and the. are three words without",
                file=sys.stderr,
            )
    if vectors is not None:
        _write(vectors, sides, found, dim)
    return (
        found.pairs,
        f", from text; {found.agreement:.0%} of the common ones come out again in a second draw",
    )


def _write(prefix: Path, sides: Sequence[str], found: InducedDictionary, dim: int) -> None:
    """The vectors of each language as text, cut to the axes on which the languages agree most."""
    from masscli.core.files import write_atomic

    for side, words, rows in zip(sides, found.words, found.vectors, strict=True):
        if dim > rows.shape[1]:
            raise MasscliError(
                f"--dim {dim}: there are {rows.shape[1]} axes", f"give --dim {rows.shape[1]} at most"
            )
        lines = (
            " ".join([word, *(f"{value:.5f}" for value in row)])
            for word, row in zip(words, rows[:, :dim].tolist(), strict=True)
        )
        write_atomic(
            prefix.with_name(f"{prefix.name}.{side}"),
            "".join(f"{line}\n" for line in (f"{len(words)} {dim}", *lines)).encode(),
        )
