"""Turn a run into weights as Hugging Face has them.

FOLDER will hold config.json, model.safetensors and the vocabulary. Encoders of the families BERT, RoBERTa, ALBERT and ELECTRA, and GPT,
have a counterpart there: models with the choices of a named size (--arch bert-base, roberta-base, albert-base, electra-base, gpt), whatever
their width and depth. Others are refused, with the setting that has none. The weights are the same numbers; those that are tied are
written once. A fine-tuned head goes with the model where a class there has one like it: of classify and regress (with --head tanh for
RoBERTa and --head gelu for ELECTRA, as their papers have it), tag, extract (--qa-head linear), and choose (BERT, ALBERT); with its labels.

Examples:
  masscli export runs/bert --output bert-of-ours
  masscli export runs/sst2 --output sst2-of-ours
  masscli export runs/bert/checkpoints/step-0002000 --output bert-of-ours
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def run(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a checkpoint.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder.", metavar="FOLDER")],
    family: Annotated[str | None, typer.Option("--family", metavar="NAME", help="bert, roberta, albert, electra or openai-gpt (default: "
                                               "the one that the model's shape is of).")] = None,
) -> None:  # fmt: skip
    import sys

    from masscli.checkpoint.convert.export import export_checkpoint

    for note in export_checkpoint(path, output, family):
        print(note, file=sys.stderr)
    print(output)
