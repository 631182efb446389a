"""Read and write Hugging Face's model folders: JSON files such as config.json, and weights.

No code in a folder is executed. `pytorch_model.bin` is a pickle: it is read only if the user asks for
it, and then with `torch.load(weights_only=True)`, which does not create arbitrary objects.
"""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from masscli.checkpoint.tensor_file import save_tensors
from masscli.core.atomic_files import fsync_path, new_folder, write_synced
from masscli.core.errors import MasscliError, cannot_be_written
from masscli.core.files import broken_link_hint
from masscli.core.json_text import parse_json
from masscli.core.listing import list_some
from masscli.text.corpus import read_regular_text

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
ADAPTER = "adapter_config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLE = "pytorch_model.bin"
PICKLE_INDEX = "pytorch_model.bin.index.json"
LISTED_FILES = 3
"""How many files or folders a message names."""


def refuse_broken_links(folder: Path) -> None:
    """Raise MasscliError if a file in `folder` is a link to something that does not exist.

    The files of a cache folder are links to files elsewhere, which a copy of the folder may lack. Without
    this check, another file would be read in place of one that is missing, or its settings left out.
    """
    for path in sorted(folder.iterdir()):
        broken_link = broken_link_hint(path)
        # An editor's lock on an open file is a hidden link to no file.
        if broken_link is not None and not path.name.startswith("."):
            raise MasscliError(
                f"{path}: no such file",
                f"{broken_link}; `cp -rL` copies the files in place of links",
            )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises MasscliError if it is missing, damaged, or not an object."""
    try:
        content = parse_json(read_regular_text(path))
    except FileNotFoundError:
        raise MasscliError(f"{path}: no such file", _missing_hint(path)) from None
    except (OSError, ValueError) as error:
        raise MasscliError(f"{path}: cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise MasscliError(f"{path}: is not a JSON object")
    return content


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Return the content of a JSON file as Hugging Face's library writes it: indented, in UTF-8."""
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def _missing_hint(path: Path) -> str:
    """Return advice for the case that the file `path` is missing, based on what its folder holds instead."""
    folder = path.parent
    # A run has a folder `checkpoints`, and a checkpoint has a state file.
    if any((folder / name).exists() for name in ("checkpoints", "state.json")):
        return "a run of masscli need not be imported: every command accepts it"
    if (folder / ADAPTER).exists():
        return (
            "an adapter (PEFT) has to be merged into its model before: "
            "merge_and_unload().save_pretrained(FOLDER)"
        )
    # A cache folder has its files in snapshots/HASH, and a trainer's output folder in checkpoint-N.
    inside = sorted([*folder.glob(f"*/{path.name}"), *folder.glob(f"*/*/{path.name}")])
    if inside:
        folders = [file.parent for file in inside]
        return f"name the folder that holds it: {list_some(folders, LISTED_FILES)}"
    return "name a folder as Hugging Face distributes it; nothing is downloaded"


def read_json_if_present(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or an empty dict if there is no such file.

    Raises MasscliError if the file is damaged or does not hold an object.
    """
    return read_json(path) if path.exists() else {}


def refuse_quantized(config: Mapping[str, Any], path: Path) -> None:
    """Raise MasscliError if a config.json, `path`, says that its weights are quantized.

    `config` is its content. Such weights are stored as numbers of a few bits, with separate scales.
    """
    settings = config.get("quantization_config")
    if not settings:
        return
    method = settings.get("quant_method") if isinstance(settings, Mapping) else None
    how = f" ({method})" if isinstance(method, str) else ""
    raise MasscliError(
        f"{path}: quantization_config says that the weights are quantized{how}",
        "import the model that was quantized, in full or half precision",
    )


def read_flag(content: Mapping[str, Any], key: str, default: bool, path: Path) -> bool:
    """Return the setting `key` in the content of a file, or `default` if the key is not there.

    0 and 1 stand for false and true. Raises MasscliError, which names the file `path`, for any other
    value, including null.
    """
    value = content.get(key, default)
    # A string such as "false" would count as true in Python.
    if type(value) not in (bool, int) or value not in (0, 1):
        raise MasscliError(f"{path}: {key} is {value!r}", "expected true or false")
    return bool(value)


def read_weights(folder: Path, allow_pickle: bool) -> tuple[Path, dict[str, Tensor]]:
    """Return the file that the weights in a folder were read from, and all tensors by name, on the CPU.

    The file is an index if the weights are in several files. safetensors is preferred to a pickle.
    Raises MasscliError if there are no weights, if they are damaged, or if there is only a pickle and
    `allow_pickle` is false.
    """
    # If the weights are in two formats, the one that cannot contain code is preferred.
    for name in (WEIGHTS, INDEX):
        if (folder / name).is_file():
            return folder / name, _load(folder / name, _load_safetensors)
    for name in (PICKLE, PICKLE_INDEX):
        if (folder / name).is_file() and not allow_pickle:
            raise MasscliError(
                f"{folder / name}: is a pickle, which could run code",
                "--pickle reads it with a loader that creates only tensors",
            )
        if (folder / name).is_file():
            return folder / name, _load(folder / name, _load_pickle)
    _refuse_lone_shards(folder)
    # Variants have different names, such as model.fp16.safetensors.
    variants = sorted(file.name for file in folder.glob("*.safetensors"))
    if variants:
        raise MasscliError(
            f"{folder}: has no {WEIGHTS}, but {list_some(variants, LISTED_FILES)}",
            f"give the weights of the model the name {WEIGHTS}",
        )
    raise MasscliError(
        f"{folder}: has no {WEIGHTS}",
        "weights of TensorFlow, Flax, ONNX and GGUF cannot be imported",
    )


def _refuse_lone_shards(folder: Path) -> None:
    """Raise MasscliError if a folder has shards of weights but no index that lists them."""
    for pattern, index in (
        ("model-*-of-*.safetensors", INDEX),
        ("pytorch_model-*-of-*.bin", PICKLE_INDEX),
    ):
        shards = sorted(file.name for file in folder.glob(pattern))
        if shards:
            raise MasscliError(
                f"{folder}: has {shards[0]}, but no {index}",
                "is the download complete?",
            )


def _load(path: Path, load: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the tensors by name in a file of weights, or in all files that an index of weights lists.

    `load` reads a single file. Raises MasscliError if a listed file is missing or damaged, if two hold the
    same tensor, or if none holds a tensor that the index lists.
    """
    if path.name not in (INDEX, PICKLE_INDEX):
        return load(path)
    weight_map = _read_index(path)
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(weight_map.values())):
        if not (path.parent / name).is_file():
            raise MasscliError(
                f"{path}: lists {name}, which is not there", "is the download complete?"
            )
        for tensor_name, tensor in load(path.parent / name).items():
            if tensor_name in tensors:
                raise MasscliError(
                    f"{path.parent / name}: has {tensor_name}, and so has another shard",
                    "are shards of two models mixed?",
                )
            tensors[tensor_name] = tensor
    for tensor_name, name in weight_map.items():
        if tensor_name not in tensors:
            raise MasscliError(
                f"{path}: lists {tensor_name} in {name}, which does not hold it",
                "are shards of two models mixed?",
            )
    return tensors


def _read_index(path: Path) -> Mapping[str, str]:
    """Return the weight_map of an index of weights: the name of each tensor's file.

    Raises MasscliError if it has none, or if a file name is not that of a file in the same folder.
    """
    error = MasscliError(
        f"{path}: has no weight_map from tensors to files of the folder"
    )
    weight_map = read_json(path).get("weight_map")
    if not isinstance(weight_map, Mapping) or not weight_map:
        raise error
    for name in weight_map.values():
        # A name that contains a folder could refer to any file on this machine.
        if not isinstance(name, str) or Path(name).name != name:
            raise error
    return weight_map


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a safetensors file by name. Raises MasscliError if it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MasscliError(
            f"{path}: cannot be read ({error})",
            "is it complete? Git LFS leaves a pointer in place of a file",
        ) from None


def _load_pickle(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a file written by `torch.save` by name, without executing anything in it.

    Raises MasscliError if it is damaged, or holds anything but dense tensors by name.
    """
    # For a damaged file, PyTorch may raise any exception.
    try:
        _check_archive(path)
        with warnings.catch_warnings():
            # It warns about pickle protocols other than its own, and then reads or refuses them.
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        raise MasscliError(
            f"{path}: holds something other than tensors, or is damaged",
            "only tensors are read from a pickle",
        ) from None
    error = MasscliError(
        f"{path}: is not a table of tensors",
        "only a model's state_dict can be imported",
    )
    if not isinstance(content, Mapping):
        raise error
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise error
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
            raise MasscliError(
                f"{path}: {name} is a sparse, quantized or meta tensor",
                "save it as a dense tensor of numbers",
            )
    return dict(content)


def _check_archive(path: Path) -> None:
    """Raise BadZipFile if an entry of a zip archive differs from its checksum, which `torch.load` ignores.

    A file that is not a zip archive has no checksums.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise zipfile.BadZipFile


def write_folder(
    output: Path, files: Mapping[str, bytes], tensors: Mapping[str, Tensor]
) -> None:
    """Write the folder `output` with `tensors` in model.safetensors, and with `files`.

    `files` has contents by name; a name may include a folder, as in `masscli/vocab.model`. The folder
    `output` appears only when it is complete. Raises MasscliError if it cannot be written, or exists
    and is not empty.
    """
    # safetensors refuses tensors that share memory or are not contiguous.
    contiguous = {}
    for name, tensor in tensors.items():
        contiguous[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    try:
        with new_folder(output) as folder:
            save_tensors(contiguous, folder / WEIGHTS, {"format": "pt"})
            for name, content in files.items():
                (folder / name).parent.mkdir(exist_ok=True)
                write_synced(folder / name, content)
            fsync_path(folder / WEIGHTS)
    except OSError as error:
        raise cannot_be_written(
            f"--output {output}", error, "choose another folder"
        ) from None
