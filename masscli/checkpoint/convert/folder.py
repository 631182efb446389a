"""A folder as Hugging Face distributes it: config.json, model.safetensors, and the files of a tokenizer.

Nothing in it is executed.  `pytorch_model.bin` is a pickle: it is read only when that is asked for, and then by PyTorch's loader for
weights alone, which makes tensors and refuses every other object.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from masscli.core.errors import MasscliError

CONFIG, WEIGHTS, INDEX, PICKLE = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
)


def read_json(path: Path) -> dict[str, Any]:
    """An object."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MasscliError(
            f"{path}: no such file", "name a folder as Hugging Face distributes it; nothing is downloaded"
        ) from None
    except (OSError, ValueError) as error:
        raise MasscliError(f"{path}: cannot be read ({error})") from None
    if not isinstance(raw, dict):
        raise MasscliError(f"{path}: is not a JSON object")
    return raw


def read_weights(folder: Path, allow_pickle: bool) -> tuple[Path, dict[str, Tensor]]:
    """All tensors by name, and the file to blame for them."""
    if (folder / WEIGHTS).exists():
        return folder / WEIGHTS, _safe(folder / WEIGHTS)
    if (folder / INDEX).exists():
        parts = read_json(folder / INDEX).get("weight_map")
        if not isinstance(parts, Mapping) or not all(
            isinstance(p, str) and Path(p).name == p for p in parts.values()
        ):
            raise MasscliError(f"{folder / INDEX}: has no weight_map from tensors to files of the folder")
        return folder / INDEX, {
            k: t for part in sorted(set(parts.values())) for k, t in _safe(folder / part).items()
        }
    if not (folder / PICKLE).exists():
        raise MasscliError(f"{folder}: has no {WEIGHTS}", "weights of TensorFlow and Flax cannot be imported")
    if not allow_pickle:
        raise MasscliError(f"{folder / PICKLE}: is a pickle, which could run code",
                           "--pickle reads it with a loader that makes tensors and nothing else")  # fmt: skip
    return folder / PICKLE, _pickled(folder / PICKLE)


def _safe(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise MasscliError(
            f"{path}: cannot be read ({error})",
            "is it complete? Git LFS leaves a note in the place of a file",
        ) from None


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise MasscliError(
            f"{path}: holds other things than tensors, or is damaged", "only tensors are taken from a pickle"
        ) from None
    if not isinstance(found, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()
    ):
        raise MasscliError(f"{path}: is not a table of tensors", "only a model's state_dict can be imported")
    return dict(found)
