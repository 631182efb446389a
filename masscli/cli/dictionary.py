"""Find words that mean the same, by the vectors of a model.

Vectors are centred by language; a pair is kept where each word is the other's nearest by CSLS (Conneau et al. 2018). Words that both
languages use are left out. Each line is WORD, WORD and their similarity, the surest first. What comes out is as good as the alignment
of the model, so look at it.

Examples:
  masscli dictionary runs/mass --langs en,fr --output en-fr.txt
  masscli pretrain data-bin --objective mass --switch-dictionary en-fr.txt
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masscli.errors import MasscliError


def run(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run or checkpoint.")],
    langs: Annotated[str, typer.Option("--langs", "-l", metavar="A,B", help="The two languages.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the dictionary goes.")] = Path("dictionary.txt"),
    most: Annotated[int, typer.Option("--most", help="Consider so many words of each language, the commonest.", min=1)] = 5000,
    min_count: Annotated[int, typer.Option("--min-count", help="Leave out words that are rarer.", min=1)] = 5,
    data: Annotated[Path | None, typer.Option("--data", help="The data folder with the text of both (default: the run's).")] = None,
) -> None:
    from masscli.data.shards import DataBin
    from masscli.training.checkpoint import Checkpoint
    from masscli.training.files import replace
    from masscli.training.lexicon import induce

    found = Checkpoint.open(path)
    sides = tuple(langs.split(","))
    if len(sides) != 2 or sides[0] == sides[1]:
        raise MasscliError(f"--langs {langs}: expected two languages", "such as --langs en,fr")
    pairs = induce(found.weights(), DataBin.open(data or found.recipe.data), sides, most, min_count)
    replace(output, "".join(f"{a}\t{b}\t{score:.3f}\n" for a, b, score in pairs).encode())
    print(f"{output}: {len(pairs)} pairs")
