"""Independent readers of the weights of other programs: whether each number of an imported model is where it belongs.

The sound weights of a reader are numbered: every element of every tensor is another whole number. What the import makes
of them therefore tells from which element each of its own comes, and how every mutated file must be imported. Files are
read here by hand; no code is shared with masscli.
"""

from __future__ import annotations

import json
import math
import pickle
import struct
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from tests.fuzz.oracles import require

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "u1",
    "BOOL": "?",
}
STORAGES = {"DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "LongStorage": "<i8", "IntStorage": "<i4",
            "ByteStorage": "u1", "BoolStorage": "?"}  # fmt: skip
BUFFERS = (
    "position_ids",
    "token_type_ids",
    "final_logits_bias",
    "version",
    "_float_tensor",
)
"""Ends of the names of what is no weight, and may be left unsaid."""


def read_weights(path: Path) -> tuple[Arrays, str]:
    """Return the tensors of a file in float32, and all else that it holds as text."""
    if path.suffix == ".safetensors":
        return read_safetensors(path), ""
    return read_torch_zip(path)


def read_safetensors(path: Path) -> Arrays:
    """Read a file of safetensors: the size of a header, the header in JSON, and the values."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    found = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            values = data[8 + size + start : 8 + size + end]
            found[name] = _floats(values, entry["dtype"]).reshape(entry["shape"])
    return found


def _floats(values: bytes, dtype: str) -> Array:
    if dtype == "BF16":
        # The upper half of the bits of a number in float32.
        return (np.frombuffer(values, "<u2").astype("<u4") << 16).view("<f4")
    with np.errstate(over="ignore"):
        return np.frombuffer(values, DTYPES.get(dtype, dtype)).astype("<f4")


class _Other:
    """Whatever else a pickle makes; it keeps what it was made from."""

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        made = object.__new__(cls)
        made.__dict__["arguments"] = arguments
        return made

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = state


def read_torch_zip(path: Path) -> tuple[Arrays, str]:
    """Read a file of torch.save: a zip archive with a pickle, and a file for each storage."""
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in archive.namelist() if name.endswith("data.pkl")]

        class Unpickler(pickle.Unpickler):
            def find_class(self, module: str, name: str) -> Any:
                if name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
                    return _rebuild
                if name == "_rebuild_parameter":
                    return lambda data, *more: data
                if (module, name) == ("collections", "OrderedDict"):
                    return dict
                if name in STORAGES:
                    return STORAGES[name]
                if name == "BFloat16Storage":
                    return "BF16"
                return type(f"{module}.{name}", (_Other,), {})

            def persistent_load(self, pid: Any) -> Array:
                _, dtype, key, _, count = pid[:5]
                try:
                    data = archive.read(name.removesuffix("data.pkl") + f"data/{key}")
                except zipfile.BadZipFile:
                    # No number of it may be imported.
                    return np.full(count, np.nan, "<f4")
                width = 2 if dtype == "BF16" else np.dtype(dtype).itemsize
                return _floats(data[: count * width], dtype)

        content = Unpickler(archive.open(name)).load()
    tensors: Arrays = {}
    rest = _collect(content, tensors)
    return tensors, json.dumps(rest, sort_keys=True, default=str)


def _rebuild(
    storage: Array,
    offset: int,
    shape: tuple[int, ...],
    stride: tuple[int, ...],
    *more: Any,
) -> Array:
    places = np.full(shape, offset, np.int64)
    for axis, step in enumerate(stride):
        places += step * np.arange(shape[axis]).reshape(
            [-1 if n == axis else 1 for n in range(len(shape))]
        )
    return storage[places.reshape(-1)].reshape(shape)


def _collect(value: Any, tensors: Arrays, name: str = "") -> Any:
    """Move the tensors of nested containers to `tensors`, under their own keys, and return what is left."""
    if isinstance(value, np.ndarray):
        tensors[name] = value
        return "tensor"
    if isinstance(value, Mapping):
        return [
            [str(key), _collect(item, tensors, f"{name}.{key}")]
            for key, item in value.items()
        ]
    if isinstance(value, (list, tuple)):
        return [_collect(item, tensors, f"{name}[{n}]") for n, item in enumerate(value)]
    if isinstance(value, _Other):
        inner = [type(value).__name__, vars(value)]
        return [_collect(item, tensors, name) for item in inner]
    return value


# -- numbered weights -----------------------------------------------------------------------------------------


def number_tensors(tensors: Mapping[str, torch.Tensor]) -> None:
    """Replace the numbers of tensors in place by 1, 2, 3 and so on; tensors that were equal stay equal."""
    first: dict[bytes, torch.Tensor] = {}
    start = 1
    for name in sorted(tensors):
        tensor = tensors[name]
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        content = tensor.numpy().tobytes() + str(tuple(tensor.shape)).encode()
        if tensor.numel() > 1 and len(set(tensor.flatten().tolist())) == 1:
            # Ones and zeros are equal by chance.
            content = name.encode()
        if content in first:
            tensor.copy_(first[content])
            continue
        tensor.copy_(torch.arange(start, start + tensor.numel()).view(tensor.shape))
        first[content] = tensor
        start += tensor.numel()
    # Above this, not every whole number is one in float32.
    assert start < 1 << 24


def number_file(path: Path) -> None:
    """Replace the numbers in a file of weights by 1, 2, 3 and so on."""
    if path.suffix == ".safetensors":
        tensors = load_file(path)
        number_tensors(tensors)
        save_file(tensors, path)
        return
    content = torch.load(path, weights_only=False)
    number_tensors(dict(_tensors(content)))
    torch.save(content, path)


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Return the tensors in nested dictionaries by the keys that lead to them."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}")


def keep_sources(
    folder: Path, weights: Path, imported: Mapping[str, torch.Tensor]
) -> None:
    """Write down what the import makes of sound, numbered weights."""
    tensors, rest = read_weights(weights)
    np.savez(
        folder / "sound.npz",
        **{name: value.numpy() for name, value in imported.items()},
    )
    layout = {}
    for name, tensor in tensors.items():
        layout[name] = [int(tensor.flat[0]) if tensor.size else 0, list(tensor.shape)]
    (folder / "layout.json").write_text(json.dumps([layout, rest]))


def check_sources(
    folder: Path, weights: Path, imported: Mapping[str, torch.Tensor], notes: str
) -> None:
    """Raise UnreadableError if a number of the import is not that of the file, and nothing was said of it.

    The notes of the import must name tensors that the file lacks or has in excess.
    """
    tensors, rest = read_weights(weights)
    tensors = _without_wrapper(tensors)
    layout, sound_rest = json.loads((folder / "layout.json").read_text())
    if rest != sound_rest:
        # Options that are in the same file may change which weights are read.
        return
    numbers, others = _numbers(tensors, layout)
    for name in tensors.keys() - set(layout):
        # Notes name tensors without the part of the file that they are in.
        inner = name.lstrip(".").partition(".")[2]
        is_said = name in notes or (inner != "" and inner in notes)
        require(
            is_said or name.endswith(BUFFERS),
            f"{name} is not read, and nothing is said",
        )
    sound = np.load(folder / "sound.npz")
    for name in sound.files:
        if name not in imported and _is_optional(sound[name], layout, tensors):
            continue
        require(name in imported, f"{name} is missing")
        actual, places = imported[name].numpy(), sound[name]
        require(actual.shape == places.shape, f"{name} has another shape")
        is_numbered = (places > 0) & (places == np.round(places))
        at = np.where(is_numbered, places, 0).astype(np.int64)
        if np.isnan(numbers[at][is_numbered]).any():
            require(
                name in notes,
                f"{name} does not come from the file, and nothing is said",
            )
            continue
        expected = np.where(is_numbered, numbers[at], places)
        other = np.where(is_numbered, others[at], places)
        is_right = np.array_equal(actual, expected.astype("<f4")) or np.array_equal(
            actual, other.astype("<f4")
        )
        require(is_right, f"{name} is not what the file holds")


def _is_optional(places: Array, layout: Mapping[str, Any], tensors: Arrays) -> bool:
    """Return whether an imported tensor comes from one that the file lacks, and that stands for zeros."""
    for name, (start, shape) in layout.items():
        if start <= places.flat[0] < start + math.prod(shape):
            return name not in tensors and name.endswith(BUFFERS)
    return False


def _without_wrapper(tensors: Arrays) -> Arrays:
    """Return tensors without the prefix that training on several GPUs leaves in their names."""
    found: Arrays = {}
    for name, tensor in tensors.items():
        plain = name.replace("module.", "")
        require(plain not in found, f"{plain} is there twice")
        found[plain] = tensor
    return found


def _numbers(tensors: Arrays, layout: Mapping[str, Any]) -> tuple[Array, Array]:
    """Return what the file has in the place of each number, twice: equal tensors may have become unequal."""
    size = max(start + math.prod(shape) for start, shape in layout.values()) + 1
    numbers, others = np.full(size, np.nan), np.full(size, np.nan)
    for name, (start, shape) in layout.items():
        tensor = tensors.get(name)
        if tensor is None or list(tensor.shape) != shape:
            continue
        place = slice(start, start + tensor.size)
        others[place] = tensor.reshape(-1)
        if np.isnan(numbers[place]).all():
            numbers[place] = tensor.reshape(-1)
    return numbers, others
