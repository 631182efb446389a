"""Find words that mean the same, in pairs of lines or in a model.

From a folder with pairs, words are aligned with Model 1 of Brown et al. (1993) in both directions; a pair is kept where each word is the
other's likeliest translation, or is surely one of them. A thousand pairs are enough for the common words.

From a run, without pairs, vectors are centred by language; a pair is kept where each word is the other's nearest by CSLS (Conneau et al.
2018), and words that both languages use are left out. What comes out is as good as the alignment of the model, so look at it.

Each line is WORD, WORD and how sure it is, the surest first.

Examples:
  masscli dictionary data-bin --langs en,de --limit 1000 --output en-de.txt
  masscli dictionary runs/mass --langs en,fr --output en-fr.txt
  masscli pretrain data-bin --objective mass --switch-dictionary en-de.txt
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masscli.errors import MasscliError


def run(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A data folder with pairs, or a run or checkpoint.")],
    langs: Annotated[str, typer.Option("--langs", "-l", metavar="A,B", help="The two languages.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the dictionary goes.")] = Path("dictionary.txt"),
    min_count: Annotated[int | None, typer.Option("--min-count", help="Leave out words that are rarer (default: 2 with pairs, 5 without).",
                                                  min=1)] = None,
    limit: Annotated[int | None, typer.Option("--limit", help="With pairs: read only the first so many.", min=1)] = None,
    most: Annotated[int | None, typer.Option("--most", help="Without pairs: so many words of each language, the commonest (default: 5000).",
                                             min=1)] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Without pairs: where the text is (default: the run's folder).")] = None,
) -> None:
    from masscli.data.manifest import NAME
    from masscli.data.shards import DataBin
    from masscli.data.wordalign import align
    from masscli.training.checkpoint import Checkpoint
    from masscli.training.files import replace
    from masscli.training.lexicon import induce

    sides = tuple(langs.split(","))
    if len(sides) != 2 or sides[0] == sides[1]:
        raise MasscliError(f"--langs {langs}: expected two languages", "such as --langs en,fr")
    if (path / NAME).exists():
        if unused := [flag for flag, said in (("--most", most), ("--data", data)) if said is not None]:
            raise MasscliError(f"{unused[0]}: {path} is a data folder, whose pairs are read", "leave it out, or name a run")
        pairs = align(DataBin.open(path), sides, min_count or 2, limit)
    else:
        if limit is not None:
            raise MasscliError(f"--limit: {path} is no data folder, so no pairs are read", "leave it out, or name a data folder")
        found = Checkpoint.open(path)
        pairs = induce(found.weights(), DataBin.open(data or found.recipe.data), sides, most or 5000, min_count or 5)
    replace(output, "".join(f"{a}\t{b}\t{score:.3f}\n" for a, b, score in pairs).encode())
    print(f"{output}: {len(pairs)} pairs")
