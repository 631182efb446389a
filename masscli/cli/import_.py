"""Turn published weights of other programs into a run.

PATH is a file of XLM or MASS (.pth) or of fairseq (.pt), or a folder as Hugging Face distributes it.

A file of XLM or MASS holds its dictionary; its BPE codes are given with --bpe-codes. The dictionaries of
fairseq are separate files (--dict); its pieces come from SentencePiece (--spm-model), from BPE codes
(--bpe-codes), from BERT's vocab.txt (--vocab-file) or from GPT-2's files (--encoder-json, --vocab-bpe), or
text is cut at white space. No file says how its text was prepared: see --moses and --lowercase.

A folder holds config.json, model.safetensors and the vocabulary. The families are BERT, DistilBERT, RoBERTa,
XLM-R, CamemBERT, ALBERT, ELECTRA, GPT and GPT-2, and as encoder-decoders BART, mBART, Marian (OPUS-MT),
M2M100, NLLB and Pegasus. Ids are those of the published tokenizer; what only a tokenizer.json says is read
with Hugging Face's tokenizers (pip install 'masscli[hf]').
Weights that are missing are drawn at random and named; heads of tasks are left behind. --langs names the
languages of a multilingual model that are to be used (en_XX or en), or the source and target of Marian.

Nothing that is read can run code. The new run generates as its own program does by default. It has no
training to continue: preprocess data with its vocabulary (--spm-model RUN), and start from its weights
(--init-from RUN).

Examples:
  masscli import mass_ende_1024.pth --bpe-codes codes_ende --moses --output runs/mass
  masscli import checkpoint_best.pt -s en -t de --dict dict.en.txt --spm-model spm.model --output runs/ende
  masscli import mbart-large-50 --langs en,ro --output runs/mbart
  masscli import bert-base-uncased --output runs/bert
  masscli preprocess --spm-model runs/bert --langs en --tsv train=a.tsv,valid=b.tsv --destdir data-bin/sst2
  masscli finetune data-bin/sst2 --task classify --init-from runs/bert --lr 2e-5
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.cli.options import flag
from masscli.core.errors import MasscliError

_FOLDER = "Folders"
_FILE = "Files of XLM, MASS and fairseq"


def _option(*flags: str, help: str, panel: str = _FILE, metavar: str | None = None) -> Any:
    return typer.Option(*flags, help=help, rich_help_panel=panel, metavar=metavar)


def run(
    path: Annotated[Path, typer.Argument(help="The file or folder to import.", metavar="PATH")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new run.", metavar="FOLDER")],
    langs: Annotated[
        str | None,
        _option(
            "--langs",
            "-l",
            help="The languages of its text (default: en). They take unused ids of the vocabulary.",
            panel=_FOLDER,
            metavar="A,B",
        ),
    ] = None,
    pickle: Annotated[
        bool,
        _option(
            "--pickle",
            help="If there is no model.safetensors, read pytorch_model.bin with PyTorch's loader for weights "
            "alone, which makes tensors and refuses every other object.",
            panel=_FOLDER,
        ),
    ] = False,
    family: Annotated[
        str | None, _option("--family", help="xlm or fairseq (default: by the content).", metavar="NAME")
    ] = None,
    source_lang: Annotated[
        str | None, _option("--source-lang", "-s", help="Language of the source.", metavar="LANG")
    ] = None,
    target_lang: Annotated[
        str | None, _option("--target-lang", "-t", help="Language of the target.", metavar="LANG")
    ] = None,
    dictionaries: Annotated[
        str | None,
        _option(
            "--dict",
            help="fairseq's dictionaries, such as en=dict.en.txt,de=dict.de.txt; or one for all languages.",
            metavar="FILES",
        ),
    ] = None,
    spm_model: Annotated[
        Path | None, _option("--spm-model", help="The SentencePiece model of its text.", metavar="FILE")
    ] = None,
    bpe_codes: Annotated[
        Path | None, _option("--bpe-codes", help="Merges of fastBPE or subword-nmt.", metavar="FILE")
    ] = None,
    vocab_file: Annotated[
        Path | None,
        _option("--vocab-file", help="BERT's vocab.txt, of MASS for summarization.", metavar="FILE"),
    ] = None,
    encoder_json: Annotated[
        Path | None, _option("--encoder-json", help="Pieces of GPT-2's BPE.", metavar="FILE")
    ] = None,
    vocab_bpe: Annotated[
        Path | None, _option("--vocab-bpe", help="Merges of GPT-2's BPE.", metavar="FILE")
    ] = None,
    arch: Annotated[
        str | None,
        _option(
            "--arch",
            help="Architecture of a file without options, such as transformer_mass_base.",
            metavar="NAME",
        ),
    ] = None,
    heads: Annotated[
        int | None, _option("--heads", help="Attention heads of a file without options.", metavar="N")
    ] = None,
    moses: Annotated[
        bool, _option("--moses", help="Its text was tokenized by Moses' rules, which masscli then does.")
    ] = False,
    lowercase: Annotated[bool, _option("--lowercase", help="Its text was lower-cased.")] = False,
) -> None:
    import sys

    from masscli.checkpoint.convert.foreign import ImportRequest

    request = ImportRequest(
        path=path,
        source=source_lang,
        target=target_lang,
        dictionaries=_parse_dictionaries(dictionaries),
        spm_model=spm_model,
        bpe_codes=bpe_codes,
        vocab_file=vocab_file,
        encoder_json=encoder_json,
        vocab_bpe=vocab_bpe,
        arch=arch,
        heads=heads,
        moses=moses,
        lowercase=lowercase,
    )
    if not path.exists():
        raise MasscliError(f"{path}: no such file or folder", "nothing is downloaded")
    if path.is_file():
        from masscli.checkpoint.convert.import_file import import_file

        _refuse_options(path, "a file", {"--langs": langs, "--pickle": pickle or None})
        checkpoint, notes = import_file(request, family, output)
    else:
        from masscli.checkpoint.convert.import_ import import_folder

        given = {flag(field.name): getattr(request, field.name) or None for field in fields(request)[1:]}
        _refuse_options(path, "a folder", {**given, "--family": family})
        checkpoint, notes = import_folder(path, output, _parse_languages(langs or "en"), pickle)
    print("\n".join(notes), file=sys.stderr)
    # Scripts read the path from standard output.
    print(checkpoint)


def _refuse_options(path: Path, kind: str, options: Mapping[str, object]) -> None:
    """Raise MasscliError if one of `options` (flag to value) is not None, since `path` is of this kind."""
    for name, value in options.items():
        if value is not None:
            raise MasscliError(f"{name}: {path} is {kind}, for which it has no meaning", "leave it out")


def _parse_languages(text: str) -> tuple[str, ...]:
    languages = tuple(text.split(","))
    if not all(languages) or len(set(languages)) < len(languages):
        raise MasscliError(f"--langs {text}: expected languages, each once", "such as --langs en,de")
    return languages


def _parse_dictionaries(text: str | None) -> dict[str, Path]:
    """Return the dictionary file of each language from --dict LANG=FILE,...; FILE alone is under "".

    Raises MasscliError if a language is given twice or is empty.
    """
    dictionaries: dict[str, Path] = {}
    for entry in (text or "").split(","):
        language, equals, path = entry.rpartition("=")
        if not path:
            continue
        if language in dictionaries or (equals and not language):
            raise MasscliError(
                f"--dict {text}: expected LANG=FILE, each language once", "or one FILE for all"
            )
        dictionaries[language] = Path(path)
    return dictionaries
