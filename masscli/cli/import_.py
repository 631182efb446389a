"""Turn published weights of other programs into a run.

PATH is a file of XLM or MASS (.pth) or of fairseq (.pt), or a folder as Hugging Face distributes it.

A file of XLM or MASS contains its dictionary; give its BPE codes with --bpe-codes. The dictionaries of
fairseq are separate files (--dict). Text is split into pieces by SentencePiece (--spm-model), BPE codes
(--bpe-codes), BERT's vocab.txt (--vocab-file) or GPT-2's files (--encoder-json, --vocab-bpe), or
otherwise at white space. These files do not say how the training text was preprocessed: see --moses and
--lowercase.

A folder contains config.json, model.safetensors and the vocabulary. The supported families are BERT,
DistilBERT, RoBERTa, XLM-R, CamemBERT, ALBERT, ELECTRA, XLM, GPT and GPT-2, and as encoder-decoders
BART, mBART, Marian (OPUS-MT), M2M100, NLLB, Pegasus and FSMT. Ids are those of the published tokenizer; a
tokenizer that only tokenizer.json describes is read with Hugging Face's tokenizers (pip install
'masscli[hf]'). Missing weights are initialized at random and named. Heads of classifiers, taggers,
SQuAD and multiple choice are imported for `masscli predict`; a note says why another one is not.
--langs names the languages of a multilingual model to use (en_XX or en), or the source and target of
Marian.

No file that is read can run code. By default, the new run generates as the original program does. Its
training cannot be continued: to train it further, preprocess data with its vocabulary (--spm-model RUN)
and start a new run from its weights (--init-from RUN).

Examples:
  masscli import mass_ende_1024.pth --bpe-codes codes_ende --moses --output runs/mass
  masscli import checkpoint_best.pt -s en -t de --dict dict.en.txt --spm-model spm.model --output runs/ende
  masscli import mbart-large-50 --langs en,ro --output runs/mbart
  masscli import distilbert-base-uncased-finetuned-sst-2-english --output runs/sentiment
  masscli predict runs/sentiment --input-format lines < reviews.txt
  masscli import bert-base-uncased --output runs/bert
  masscli preprocess --spm-model runs/bert --langs en --tsv train=a.tsv,valid=b.tsv --destdir data-bin/sst2
  masscli finetune data-bin/sst2 --task classify --init-from runs/bert --lr 2e-5
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masscli.cli.typer_parameters import flag
from masscli.core.config import Flags, check, config, is_changed, iter_options
from masscli.core.errors import MasscliError
from masscli.core.files import broken_link_hint

if TYPE_CHECKING:
    from masscli.checkpoint.convert.foreign import ImportRequest


@config
class FolderOptions:
    """Options of a folder as Hugging Face distributes it."""

    langs: Annotated[tuple[str, ...], Flags("-l")] = ()
    """The languages of its text (default: en), which get unused ids of the vocabulary; for a
    multilingual model, the languages to use; for Marian, source and target."""
    pickle: bool = False
    """If there is no model.safetensors, read pytorch_model.bin with PyTorch's weights-only loader,
    which creates tensors and refuses all other objects."""

    def __post_init__(self) -> None:
        are_distinct = all(self.langs) and len(set(self.langs)) == len(self.langs)
        given = ",".join(self.langs)
        check(
            (
                are_distinct,
                "langs",
                f"expected languages, such as en,de, each once, got {given}",
            )
        )


@config
class FileOptions:
    """Options of a file of XLM, MASS or fairseq."""

    family: str | None = None
    """xlm or fairseq (default: by the content)."""
    source_lang: Annotated[str | None, Flags("-s")] = None
    """Language of the source."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Language of the target."""
    dict: tuple[str, ...] = ()
    """fairseq's dictionaries, such as en=dict.en.txt,de=dict.de.txt; or one for all languages."""
    spm_model: Path | None = None
    """The SentencePiece model of its text. For an exported translator without a tokenizer: the run that
    it was exported from, or its vocab.model."""
    bpe_codes: Path | None = None
    """Merges of fastBPE or subword-nmt."""
    vocab_file: Path | None = None
    """BERT's vocab.txt, for MASS-summarization."""
    encoder_json: Path | None = None
    """Pieces of GPT-2's BPE."""
    vocab_bpe: Path | None = None
    """Merges of GPT-2's BPE."""
    arch: str | None = None
    """Architecture of a file without options, such as transformer_mass_base."""
    heads: int | None = None
    """Attention heads of a file without options."""
    moses: bool = False
    """Its text was tokenized by Moses' rules; masscli then does the same."""
    lowercase: bool = False
    """Its text was lower-cased; masscli then does the same."""
    bos: bool = False
    """For fairseq's BART fine-tuned on pairs: start sources and outputs with <s>, as BARTHubInterface
    does; fairseq-generate does not."""


def run(
    of_folder: FolderOptions,
    of_file: FileOptions,
    path: Annotated[
        Path, typer.Argument(help="The file or folder to import.", metavar="PATH")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="Folder of the new run.", metavar="FOLDER"),
    ],
) -> None:
    """Import a model, describe it on standard error, and print the path of its checkpoint."""
    if not path.exists():
        raise MasscliError(
            f"{path}: no such file or folder",
            broken_link_hint(path)
            or "import downloads nothing; a model of Hugging Face: hf download NAME --local-dir FOLDER",
        )
    if path.is_file():
        from masscli.checkpoint.convert.import_file import import_file

        # Options of the other kind are refused before anything is read, since the user probably mistook
        # the kind of file.
        _refuse_options(of_folder, path, "a file")
        checkpoint, notes = import_file(_request(path, of_file), of_file.family, output)
    else:
        from masscli.checkpoint.convert.import_ import import_folder

        # A folder without a tokenizer needs its SentencePiece model, as some files do.
        _refuse_options(replace(of_file, spm_model=None), path, "a folder")
        languages = of_folder.langs or ("en",)
        checkpoint, notes = import_folder(
            path, output, languages, of_folder.pickle, of_file.spm_model
        )
    print("\n".join(notes), file=sys.stderr)
    # Scripts read the path from standard output.
    print(checkpoint)


def _refuse_options(
    options: FolderOptions | FileOptions, path: Path, kind: str
) -> None:
    """Raise MasscliError if one of `options` was given, which do not apply to a path of this kind."""
    for option in iter_options(type(options)):
        if is_changed(options, option.key):
            raise MasscliError(
                f"{flag(option.key)}: {path} is {kind}, to which it does not apply",
                "leave it out",
            )


def _request(path: Path, options: FileOptions) -> ImportRequest:
    """Return the request to import the file `path`, with the options that describe it."""
    from masscli.checkpoint.convert.foreign import ImportRequest

    return ImportRequest(
        path=path,
        source=options.source_lang,
        target=options.target_lang,
        dictionaries=_dictionary_files(options.dict),
        spm_model=options.spm_model,
        bpe_codes=options.bpe_codes,
        vocab_file=options.vocab_file,
        encoder_json=options.encoder_json,
        vocab_bpe=options.vocab_bpe,
        arch=options.arch,
        heads=options.heads,
        moses=options.moses,
        lowercase=options.lowercase,
        bos=options.bos,
    )


def _dictionary_files(entries: Sequence[str]) -> dict[str, Path]:
    """Return the dictionary file of each language from entries LANG=FILE; that of a bare FILE is under "".

    Raises MasscliError if a language is given twice or is empty.
    """
    files: dict[str, Path] = {}
    for entry in entries:
        language, equals, path = entry.rpartition("=")
        # An empty entry, such as after a last comma, names nothing.
        if not path:
            continue
        if language in files or (equals and not language):
            raise MasscliError(
                f"--dict {','.join(entries)}: expected LANG=FILE, each language once",
                "or one FILE for all",
            )
        files[language] = Path(path)
    return files
