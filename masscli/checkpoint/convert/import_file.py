"""Import a checkpoint that is a single file of XLM, MASS or fairseq as a new run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from masscli.checkpoint import saving
from masscli.checkpoint.convert.fairseq import convert_fairseq, is_fairseq
from masscli.checkpoint.convert.foreign import (
    ForeignModel,
    ImportRequest,
    check_tensors,
)
from masscli.checkpoint.convert.torch_file import read_torch_file
from masscli.checkpoint.convert.xlm import convert_xlm, is_xlm
from masscli.checkpoint.run_state import RunState
from masscli.core.config import ConfigError, from_dict
from masscli.core.errors import MasscliError
from masscli.core.files import require_regular
from masscli.text.unknown_pieces import lacks_capitals
from masscli.training.recipe import Recipe

Converter = Callable[[ImportRequest, Mapping[str, Any]], ForeignModel]
FAMILIES: dict[str, tuple[Callable[[Any], bool], Converter]] = {
    "xlm": (is_xlm, convert_xlm),
    "fairseq": (is_fairseq, convert_fairseq),
}
"""For each family, a function that recognizes the content of its files, and one that converts it."""


def import_file(
    request: ImportRequest, family: str | None, output: Path
) -> tuple[Path, list[str]]:
    """Import a checkpoint file as the run `output`; return the path of its checkpoint, and notes.

    The notes are lines for the user. `family` is `xlm` or `fairseq`; if it is None, it is inferred from
    the content of the file. Raises MasscliError if `output` contains a file, or if the checkpoint file
    is damaged, refers to anything that could be executed, or holds a model that is not supported.
    """
    # This is checked first, before anything is read.
    saving.require_empty_folder(output)
    _refuse_safetensors(request.path)
    content = read_torch_file(request.path)
    if not isinstance(content, Mapping):
        raise MasscliError(
            f"{request.path}: holds no checkpoint",
            "expected a file of fairseq, XLM or MASS",
        )
    convert = _converter(request, family, content)
    model = use_converter(convert, request, content)
    return save_foreign(model, request.path, output)


def use_converter(
    convert: Converter, request: ImportRequest, content: Mapping[str, Any]
) -> ForeignModel:
    """Return the model that `convert` makes of the content of a file.

    Raises MasscliError if it is damaged, or if the model is not supported or lacks a tensor.
    """
    try:
        model = convert(request, content)
    except (ConfigError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise MasscliError(
            f"{request.path}: its options do not describe a valid model ({reason})"
        ) from None
    # PyTorch raises these for tensors whose shapes differ from the model's.
    except (IndexError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise MasscliError(
            f"{request.path}: the shapes of its tensors are inconsistent ({reason})",
            "is the file damaged?",
        ) from None
    check_tensors(model, request.path)
    return model


def save_foreign(
    model: ForeignModel,
    path: Path,
    output: Path,
    attribution: tuple[str, ...] = (),
) -> tuple[Path, list[str]]:
    """Save a model that was read from `path` as the new run `output`; return its checkpoint, and notes.

    `attribution` says where the model comes from, see `read_attribution`.
    """
    settings = {"save_dir": str(output), "stream": model.streams}
    recipe = replace(from_dict(Recipe, settings), model=model.config)
    state = RunState(
        languages=model.languages,
        vocab_fingerprint=model.tokenizer.vocab.fingerprint,
        generation={name: str(value) for name, value in model.generation.items()},
        attribution=attribution,
    )
    checkpoint = saving.save_new_run(
        output,
        recipe,
        state,
        model.tokenizer,
        model=model.tensors,
        objectives=model.heads,
    )
    notes = [
        f"{model.title}: {len(model.tensors)} tensors from {path}",
        *model.notes,
    ]
    if lacks_capitals(model.tokenizer):
        notes.append(
            "warning: the vocabulary has no capital letters, which will be unknown: add --lowercase"
        )
    return checkpoint, notes


def _refuse_safetensors(path: Path) -> None:
    """Raise MasscliError if a file holds safetensors: only tensors, without settings and vocabulary."""
    # Opening a named pipe would block until a program writes to it.
    require_regular(path)
    with open(path, "rb") as file:
        start = file.read(9)
    # The file begins with the length of the header in 8 bytes, which is below 4 GiB, and the header in
    # JSON.
    if start[4:] == b"\0\0\0\0{":
        raise MasscliError(
            f"{path}: holds safetensors, which are weights without settings and vocabulary",
            "name the folder that it is in, as Hugging Face distributes it",
        )


def _converter(
    request: ImportRequest, family: str | None, content: Mapping[str, Any]
) -> Converter:
    """Return the converter of a family; if `family` is None, it is inferred from the content.

    Raises MasscliError if the family is unknown, or if the content belongs to none.
    """
    if family is not None:
        if family not in FAMILIES:
            raise MasscliError(
                f"--family {family}: is not a family of checkpoint files",
                f"choose one of {', '.join(FAMILIES)}",
            )
        return FAMILIES[family][1]
    for is_of_family, convert in FAMILIES.values():
        if is_of_family(content):
            return convert
    # The two kinds of files have the same ending.
    if "dico" in content and "sentences" in content:
        raise MasscliError(
            f"{request.path}: holds the text of a corpus, which XLM's preprocess.py wrote, and no model",
            "name a file that train.py wrote, such as checkpoint.pth",
        )
    raise MasscliError(
        f"{request.path}: is a checkpoint of an unknown program",
        f"choose one with --family: {', '.join(FAMILIES)}; for a Hugging Face model, name its folder",
    )
