"""Convert a checkpoint for CTranslate2 once, keep the result in the checkpoint's folder, and open it.

    step-0001000/ctranslate2/en-de/  model.bin  config.json  shared_vocabulary.json  conversion.json

With two vocabularies there are source_vocabulary.json and target_vocabulary.json instead of the shared
one; with a shortlist there is also vmap.txt. `conversion.json` has the checksum of the checkpoint that
was converted, the version of CTranslate2, the format of the conversion, the checksum of the shortlist,
and the checksums of the files. A conversion that differs in any of them, or is damaged, is replaced.

Weights are stored in fp32; CTranslate2 converts them to the requested precision when it loads them.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.ctranslate2_export import (
    convert_directed,
    import_ctranslate2,
)
from masscli.checkpoint.convert.one_direction import fold_direction
from masscli.checkpoint.convert.token_names import token_names
from masscli.checkpoint.state_file import STATE_FILE
from masscli.core.atomic_files import new_folder, write_synced
from masscli.core.errors import MasscliError, cannot_be_written
from masscli.core.files import read_regular, sha256_of
from masscli.core.json_text import parse_json

CONVERSION = "conversion.json"
FORMAT = "2"
"""Increased whenever a conversion of the same weights would have different contents."""
_COMPUTE_TYPES = {
    "fp32": "float32",
    "fp16": "float16",
    "bf16": "bfloat16",
    "int8": "int8",
}


class OpenedTranslator(NamedTuple):
    """A `ctranslate2.Translator`, and the token strings it works with, in the order of masscli's ids."""

    translator: Any
    token_names: list[str]


def open_ctranslate2(
    checkpoint: Checkpoint,
    source: str,
    target: str,
    device: str,
    precision: str,
    threads: int,
    shortlist: Path | None = None,
) -> OpenedTranslator:
    """Return a translator for a checkpoint and one direction; convert the checkpoint first if needed.

    `source` and `target` are languages of the model. `device` is cpu, cuda or cuda:N; `precision` is auto
    (fp16 on a GPU, else fp32), fp32, fp16, bf16 or int8; `threads` is the number of CPU threads. `shortlist`
    is a file of candidates that is already checked; it becomes a part of the conversion. Raises MasscliError
    if CTranslate2 is not installed, cannot compute the model, or does not support the precision on the
    device, or if the conversion cannot be written.
    """
    ctranslate2 = import_ctranslate2()
    kind, _, number = device.partition(":")
    names = token_names(checkpoint.tokenizer())
    compute_type = _compute_type(ctranslate2, kind, precision)
    folder = checkpoint.path / "ctranslate2" / f"{source}-{target}"
    stamp = {
        "checkpoint": sha256_of(checkpoint.path / STATE_FILE),
        "ctranslate2": ctranslate2.__version__,
        "format": FORMAT,
    }
    if shortlist is not None:
        # A conversion with a shortlist can also be used without one, but not vice versa.
        stamp["shortlist"] = sha256_of(shortlist)
    if not _is_current(folder, stamp):
        _convert(checkpoint, source, target, names, folder, stamp, shortlist)
    # Threads that share each operation would wait for each other most of the time, so each thread
    # processes whole batches. On a GPU a second worker would have to wait for the first one.
    workers = threads if kind == "cpu" else 1
    translator = ctranslate2.Translator(
        str(folder),
        device=kind,
        device_index=int(number or 0),
        compute_type=compute_type,
        inter_threads=workers,
        intra_threads=1,
    )
    return OpenedTranslator(translator, names)


def _compute_type(ctranslate2: Any, device: str, precision: str) -> str:
    """Return CTranslate2's name of a precision, such as `float16` for fp16.

    `ctranslate2` is the imported package, and `device` is cpu or cuda; `auto` stands for fp16 on cuda and
    fp32 on cpu. Raises MasscliError if CTranslate2 does not support the precision on this machine's device.
    """
    if precision == "auto":
        precision = "fp16" if device == "cuda" else "fp32"
    possible = ctranslate2.get_supported_compute_types(device)
    if _COMPUTE_TYPES[precision] not in possible:
        known = [
            name
            for name, their_name in _COMPUTE_TYPES.items()
            if their_name in possible
        ]
        raise MasscliError(
            f"--precision {precision}: CTranslate2 does not support it on this {device}",
            f"it has {', '.join(known)}",
        )
    return _COMPUTE_TYPES[precision]


def _is_current(folder: Path, stamp: dict[str, str]) -> bool:
    """Return whether a folder holds a complete conversion with the checkpoint, version and format in `stamp`.

    The entries of `stamp` must be in the folder's conversion.json, and the files must have the checksums that
    are listed there.
    """
    try:
        conversion = parse_json(read_regular(folder / CONVERSION))
        if any(conversion[key] != value for key, value in stamp.items()):
            return False
        return all(
            sha256_of(folder / name) == checksum
            for name, checksum in conversion["files"].items()
        )
    # Whatever is wrong with it, the checkpoint is converted again.
    except (MasscliError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _convert(
    checkpoint: Checkpoint,
    source: str,
    target: str,
    names: list[str],
    folder: Path,
    stamp: dict[str, str],
    shortlist: Path | None,
) -> None:
    """Convert a checkpoint for one direction into `folder`, and replace an existing conversion.

    `names` are the token strings by id; `stamp` goes into conversion.json with the checksums of the files.
    `shortlist` is a file of candidates to be copied, if any. Raises MasscliError if CTranslate2 cannot
    compute the model, or if the folder cannot be written, unless another process has made the same conversion
    meanwhile.
    """
    ctranslate2 = import_ctranslate2()
    directed = fold_direction(checkpoint, source, target)
    vocab = checkpoint.tokenizer().vocab
    try:
        # An existing conversion is outdated or damaged here, and new_folder does not replace a folder
        # that is not empty.
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(exist_ok=True)
        with new_folder(folder) as aside:
            convert_directed(
                ctranslate2,
                directed,
                names,
                vocab,
                aside,
                "fp32",
                stands_alone=False,
                shortlist=shortlist,
            )
            files = {path.name: sha256_of(path) for path in sorted(aside.iterdir())}
            write_synced(
                aside / CONVERSION,
                json.dumps({**stamp, "files": files}, indent=1).encode(),
            )
    except OSError as error:
        raise cannot_be_written(
            str(folder),
            error,
            "--backend ctranslate2 keeps its conversion there; copy the run with masscli export --to masscli",
        ) from None
    except MasscliError:
        # Another process may have converted the same checkpoint meanwhile.
        if not _is_current(folder, stamp):
            raise
