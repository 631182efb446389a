"""Turn a run into files that other programs read.

FOLDER must be new. --to huggingface writes config.json, model.safetensors and the vocabulary. A model
without an equivalent class is refused with an error that names the setting in question.

Single stacks become BERT, DistilBERT, RoBERTa, XLM-R, CamemBERT, ALBERT, ELECTRA, GPT or GPT-2: models
with the settings of a preset (--arch bert-base, distilbert-base, roberta-base, xlm-roberta-base,
camembert-base, albert-base, electra-base, gpt, gpt2), of any width and depth. A fine-tuned head is
exported with its labels if Hugging Face has a class with such a head: classify and regress (with --head
tanh for RoBERTa and --head gelu for ELECTRA, as in their papers), tag, extract (--qa-head linear), and
choose (BERT, ALBERT).

Translators, one direction per folder, become Pegasus (pre-norm, --arch tiny to big), BART, mBART,
M2M100 or Marian, whichever computes exactly the same. A tokenizer is written only if it gives the same
ids on lines of the run's data. The generation settings are those of --early-stop.

--to ctranslate2 writes a translator for one direction (pip install 'masscli[ct2]'), in --precision fp32, fp16
or int8. --to masscli writes a checkpoint without optimizer state, which every command accepts.
--to safetensors writes the tensors of any model under masscli's names, with a config.json.

Examples:
  masscli export runs/bert --output our-bert
  masscli export runs/ende --to huggingface -s en -t de --output our-ende
  masscli export runs/ende --to ctranslate2 --precision int8 --output our-ende-int8
  masscli export runs/ende/checkpoints/step-0002000 --to masscli --output runs/ende-small
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from masscli.core.errors import MasscliError

if TYPE_CHECKING:
    from masscli.api.writing_task import WritingTask
    from masscli.checkpoint.checkpoint import Checkpoint


def run(
    path: Annotated[Path, typer.Argument(metavar="RUN", help="A run or a checkpoint.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The new folder.", metavar="FOLDER")
    ],
    to: Annotated[
        Literal["huggingface", "ctranslate2", "safetensors", "masscli"],
        typer.Option("--to", help="Target format."),
    ] = "huggingface",
    family: Annotated[
        str | None,
        typer.Option(
            "--family",
            metavar="NAME",
            help="For a single stack with --to huggingface: bert, distilbert, roberta, xlm-roberta, "
            "camembert, albert, electra, openai-gpt or gpt2 (default: the one for this kind of model).",
        ),
    ] = None,
    source_lang: Annotated[
        str | None,
        typer.Option(
            "--source-lang",
            "-s",
            metavar="LANG",
            help="Source language of a translator (default: that of the run, when it has one direction).",
        ),
    ] = None,
    target_lang: Annotated[
        str | None,
        typer.Option(
            "--target-lang",
            "-t",
            metavar="LANG",
            help="Target language of a translator (default: that of the run, when it has one direction).",
        ),
    ] = None,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option("--precision", help="Type of the weights with --to ctranslate2."),
    ] = "fp32",
    shortlist: Annotated[
        Path | None,
        typer.Option(
            "--shortlist",
            metavar="FILE",
            help="With --to ctranslate2: candidates of `masscli shortlist`, for use_vmap=True.",
        ),
    ] = None,
) -> None:
    """Export a run or checkpoint, print notes on standard error, and print the folder."""
    import sys

    from masscli.checkpoint.checkpoint import Checkpoint

    checkpoint = Checkpoint.open(path)
    model = checkpoint.recipe.model
    is_translator = model.encoder_layers > 0 and model.decoder_layers > 0
    has_direction = to == "ctranslate2" or (to == "huggingface" and is_translator)
    # A value that equals the default was most likely not given.
    unused = {
        "--family": family is not None and (to != "huggingface" or is_translator),
        "--source-lang": source_lang is not None and not has_direction,
        "--target-lang": target_lang is not None and not has_direction,
        "--precision": precision != "fp32" and to != "ctranslate2",
        "--shortlist": shortlist is not None and to != "ctranslate2",
    }
    _refuse_unused(unused, "a translator" if is_translator else "a single stack", to)
    if has_direction:
        notes = _export_direction(
            checkpoint, output, to, source_lang, target_lang, precision, shortlist
        )
    elif to == "huggingface":
        from masscli.checkpoint.convert.export import export_checkpoint

        notes = export_checkpoint(path, output, family)
    elif to == "safetensors":
        from masscli.checkpoint.convert.plain_export import export_safetensors

        notes = export_safetensors(checkpoint, output)
    else:
        from masscli.checkpoint.convert.plain_export import export_masscli

        notes = export_masscli(checkpoint, output)
    for note in notes:
        print(note, file=sys.stderr)
    # Scripts read the path from standard output.
    print(output)


def _refuse_unused(unused: dict[str, bool], kind: str, to: str) -> None:
    """Raise MasscliError for the first flag in `unused` whose value there is true: it has no effect.

    `kind` says what is exported (a translator, or a single stack), and `to` is the value of --to.
    """
    for flag, is_unused in unused.items():
        if is_unused:
            raise MasscliError(
                f"{flag} has no effect on {kind} with --to {to}", "leave it out"
            )


def _export_direction(
    checkpoint: Checkpoint,
    output: Path,
    to: str,
    source: str | None,
    target: str | None,
    precision: Literal["fp32", "fp16", "int8"],
    shortlist: Path | None,
) -> list[str]:
    """Export a translator for one direction into the folder `output`, and return notes for the user.

    `to` is huggingface or ctranslate2; `precision` and `shortlist` are used for ctranslate2 only. A
    language that is None is that of the only direction of the run.
    """
    from masscli.api.writing_task import select_writing_task
    from masscli.checkpoint.convert.ctranslate2_export import export_ctranslate2
    from masscli.checkpoint.convert.translator_export import export_translator

    task = select_writing_task(checkpoint, None, source, target)
    _check_stacks(checkpoint, task)
    warnings = [f"warning: {warning}" for warning in task.warnings]
    if to == "ctranslate2":
        return warnings + export_ctranslate2(
            checkpoint, task.source, task.target, output, precision, shortlist
        )
    return warnings + export_translator(checkpoint, task.source, task.target, output)


def _check_stacks(checkpoint: Checkpoint, task: WritingTask) -> None:
    """Raise MasscliError if a model with encoder and decoder was trained to generate with one of them alone.

    `task` is the generation task that is to be exported.
    """
    from masscli.api.writing_task import writing_stack

    stack = writing_stack(checkpoint, task)
    if (
        stack is not None
        and checkpoint.recipe.model.encoder_layers
        and checkpoint.recipe.model.decoder_layers
    ):
        raise MasscliError(
            f"{checkpoint.path}: was trained to generate with its {stack} alone, not as a translator",
            "fine-tune it with --task translate, or export it with --to safetensors",
        )
