"""Turn a run into weights as Hugging Face has them.

FOLDER will hold config.json, model.safetensors and the vocabulary. Encoders of the families BERT, RoBERTa,
ALBERT and ELECTRA, and GPT, have a counterpart there: models with the choices of a preset (--arch bert-base,
roberta-base, albert-base, electra-base, gpt), of any width and depth. Others are refused, and the setting
that has no counterpart is named. The weights are the same numbers; tied weights are written once. A
fine-tuned head is exported with its labels where a class there has one like it: of classify and regress (with
--head tanh for RoBERTa and --head gelu for ELECTRA, as in their papers), tag, extract (--qa-head linear), and
choose (BERT, ALBERT).

Examples:
  masscli export runs/bert --output our-bert
  masscli export runs/sst2 --output our-sst2
  masscli export runs/bert/checkpoints/step-0002000 --output our-bert
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder.", metavar="FOLDER")],
    family: Annotated[
        str | None,
        typer.Option(
            "--family",
            metavar="NAME",
            help="bert, roberta, albert, electra or openai-gpt (default: the one for this kind of model).",
        ),
    ] = None,
) -> None:
    import sys

    from masscli.checkpoint.convert.export import export_checkpoint

    for note in export_checkpoint(path, output, family):
        print(note, file=sys.stderr)
    # Scripts read the path from standard output.
    print(output)
