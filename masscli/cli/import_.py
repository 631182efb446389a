"""Turn published weights of other toolkits into a run.

The families are BERT, RoBERTa, XLM-R, ALBERT, ELECTRA and GPT. FOLDER holds config.json, model.safetensors
and the vocabulary: vocab.txt of BERT, WordPiece in tokenizer.json, a SentencePiece model (spiece.model), or
the vocab.json and merges.txt of GPT. The byte-level vocabulary of RoBERTa is not read. Weights that the file
does not have are drawn at random and named; heads of tasks are left behind. Nothing that is read can run
code.

The new run has no training to continue. Preprocess data with its vocabulary (--spm-model), and start training
from its weights (--init-from).

Examples:
  masscli import bert-base-uncased --output runs/bert
  masscli preprocess --spm-model runs/bert --langs en --tsv train=a.tsv,valid=b.tsv --destdir data-bin/sst2
  masscli finetune data-bin/sst2 --task classify --init-from runs/bert --lr 2e-5
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masscli.core.errors import MasscliError


def run(
    folder: Annotated[
        Path,
        typer.Argument(help="Folder of config.json, model.safetensors and the vocabulary.", metavar="FOLDER"),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new run.", metavar="FOLDER")],
    langs: Annotated[
        str,
        typer.Option(
            "--langs",
            "-l",
            help="The languages of its text (they take unused ids of the vocabulary).",
            metavar="A,B",
        ),
    ] = "en",
    pickle: Annotated[
        bool,
        typer.Option(
            "--pickle",
            help="If there is no model.safetensors, read pytorch_model.bin with PyTorch's loader for weights "
            "alone, which makes tensors and refuses every other object.",
        ),
    ] = False,
) -> None:
    import sys

    from masscli.checkpoint.convert.import_ import import_folder

    languages = tuple(langs.split(","))
    if not all(languages) or len(set(languages)) < len(languages):
        raise MasscliError(f"--langs {langs}: expected languages, each once", "such as --langs en,de")
    path, notes = import_folder(folder, output, languages, pickle)
    print("\n".join(notes), file=sys.stderr)
    # Scripts read the path from standard output.
    print(path)
