"""Read a file that `torch.save` wrote, without executing anything that it asks for.

Such a file is a pickle, which names the functions and classes that rebuild its objects. Here only tensors,
dictionaries, lists, texts and numbers are rebuilt. Every other object of a program, such as an argparse
Namespace or a node of omegaconf, becomes an `InertObject`, which holds what the pickle says about it and does
nothing. A pickle that asks for anything in Python's standard library besides some containers is refused.

Both formats are read: the zip archive of PyTorch 1.6 and later, and the sequence of pickles before it. The
numbers of a tensor are read from the file when they are asked for, so that the state of an optimizer costs
nothing.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from masscli.core.errors import MasscliError

_HINT = "expected a checkpoint that PyTorch saved; is the file complete?"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
_STORAGE_TYPES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_CONTAINERS: dict[str, Callable[..., Any]] = {
    "builtins.set": set,
    "builtins.frozenset": frozenset,
    "builtins.dict": dict,
    "builtins.list": list,
    "builtins.tuple": tuple,
    "collections.OrderedDict": OrderedDict,
}
_INERT_STANDARD_CLASSES = (
    "argparse.Namespace",
    "collections.defaultdict",
    "collections.Counter",
    "collections.deque",
    "_codecs.encode",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "builtins.object",
    "builtins.int",
    "builtins.float",
    "builtins.str",
    "builtins.bool",
    "typing.Any",
)
"""What checkpoints of fairseq and XLM name of the standard library. None of it is needed or made."""
_NUMPY_NUMBERS = {
    "i8": "q",
    "i4": "i",
    "i2": "h",
    "i1": "b",
    "u8": "Q",
    "u4": "I",
    "u1": "B",
    "f8": "d",
    "f4": "f",
    "b1": "?",
}


class InertObject:
    """Stands for an object of another program: its kind, its arguments and its state."""

    kind: ClassVar[str] = ""
    """Module and name of its class, or of the function that would make it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> InertObject:
        """Remember the arguments; a pickle may call a class or only make an instance of it."""
        made = super().__new__(cls)
        made.args = args
        made.state = {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: Sequence[Any]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Accept an item of a dictionary-like object, which is not needed."""

    def append(self, item: Any) -> None:
        """Accept an item of a list-like object, which is not needed."""

    def extend(self, items: Any) -> None:
        """Accept items of a list-like object, which are not needed."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file: its shape, and where its numbers are."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """Return the tensor. Raises MasscliError if its numbers are missing."""
        numbers = self.storage.read()
        return torch.as_strided(numbers, self.shape, self.stride, self.offset).clone()


@dataclass(frozen=True)
class _Storage:
    """The numbers of one or several tensors: `count` of them, wherever `read_bytes` finds them."""

    path: Path
    dtype: torch.dtype
    count: int
    read_bytes: Callable[[int], bytes]

    def read(self) -> Tensor:
        """Return the numbers. Raises MasscliError if they are damaged."""
        size = self.count * self.dtype.itemsize
        if not size:
            return torch.empty(0, dtype=self.dtype)
        try:
            data = self.read_bytes(size)
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise MasscliError(f"{self.path}: is damaged ({error})", _HINT) from None
        if len(data) < size:
            raise MasscliError(f"{self.path}: is damaged (it ends before its last tensor)", _HINT)
        # A bytearray, since PyTorch warns of memory that cannot be written.
        return torch.frombuffer(bytearray(data), dtype=self.dtype)


class _RefusedError(Exception):
    """Says what a pickle asks for that no checkpoint needs, or what is damaged."""


def read_torch_file(path: Path) -> Any:
    """Return the content of a file of `torch.save`, with `StoredTensor` for tensors.

    Raises MasscliError, of one line, if the file is damaged, of another format, or asks for anything that
    could be executed.
    """
    try:
        # A named pipe would have to be read twice.
        if path.exists() and not path.is_file():
            raise _RefusedError("is not a file")
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(b"PK"):
            return _read_zip(path)
        if start.startswith(b"vers"):
            raise _RefusedError("looks like a note of Git LFS in the place of a file")
        return _read_legacy(path)
    except OSError as error:
        raise MasscliError(f"{path}: cannot be read ({error.strerror or error})") from None
    except _RefusedError as error:
        raise MasscliError(f"{path}: {error}", _HINT) from None
    except zipfile.BadZipFile:
        raise MasscliError(f"{path}: is damaged (its zip archive is incomplete)", _HINT) from None


def attributes(value: Any) -> dict[str, Any]:
    """Return the options in a dictionary, a Namespace, or a node of omegaconf, as plain values."""
    if isinstance(value, InertObject):
        return attributes(value.state)
    if not isinstance(value, Mapping):
        return {}
    # omegaconf keeps a dictionary under _content, and wraps each value in a node that has it under _val.
    if isinstance(value.get("_content"), Mapping):
        value = value["_content"]
    return {str(key): plain(item) for key, item in value.items()}


def plain(value: Any) -> Any:
    """Return a value of an option as a plain one; what cannot be is an InertObject still."""
    if not isinstance(value, InertObject):
        return value
    if value.kind.endswith("multiarray.scalar"):
        return _numpy_number(value)
    state = value.state
    if isinstance(state, Mapping) and "_val" in state:
        return plain(state["_val"])
    if isinstance(state, Mapping) and isinstance(state.get("_content"), list):
        return [plain(item) for item in state["_content"]]
    # An enumeration is made from its value.
    if len(value.args) == 1 and isinstance(value.args[0], (str, int, float, bool)) and not state:
        return value.args[0]
    return value


def _numpy_number(value: InertObject) -> Any:
    """Return the number of a NumPy scalar, or the object itself if it is of another kind."""
    dtype, data = (*value.args, None, None)[:2]
    name = dtype.args[0] if isinstance(dtype, InertObject) and dtype.args else None
    if isinstance(data, InertObject) and data.args and isinstance(data.args[0], str):
        data = data.args[0].encode("latin-1")
    code = _NUMPY_NUMBERS.get(str(name))
    if code is None or not isinstance(data, bytes) or len(data) != struct.calcsize(f"<{code}"):
        return value
    return struct.unpack(f"<{code}", data)[0]


class _Unpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; everything else becomes inert."""

    def __init__(self, file: BinaryIO, storages: Callable[[str, torch.dtype, int], _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"
        if full_name in _CONTAINERS:
            return _CONTAINERS[full_name]
        if module in ("torch", "torch.storage") and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        if full_name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return _rebuild_tensor
        if full_name == "torch._utils._rebuild_parameter":
            return _rebuild_parameter
        if full_name in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            return _reconstruct
        package = module.partition(".")[0]
        is_standard = package in sys.stdlib_module_names or package in ("__builtin__", "copy_reg")
        if is_standard and full_name not in _INERT_STANDARD_CLASSES:
            raise _RefusedError(f"asks for {module}.{name}, which is not read")
        return type("InertObject", (InertObject,), {"kind": full_name})

    def persistent_load(self, persistent_id: Any) -> _Storage:
        # Before PyTorch 2.0 there are six parts, of which the last one was for views.
        kind, dtype, key, _, count, *_ = persistent_id
        if kind != "storage" or not isinstance(dtype, torch.dtype) or type(count) is not int or count < 0:
            raise _RefusedError("has a tensor of an unknown kind")
        return self._storages(str(key), dtype, count)


def _unpickle(file: BinaryIO, storages: Callable[[str, torch.dtype, int], _Storage]) -> Any:
    try:
        return _Unpickler(file, storages).load()
    except _RefusedError:
        raise
    # A pickle of somebody else's may fail in any way.
    except Exception as error:
        raise _RefusedError(f"is damaged ({type(error).__name__} while it was read)") from None


def _reconstruct(cls: Any, *_: Any) -> Any:
    """Make an instance of an inert class, where protocol 1 calls copyreg."""
    if not (isinstance(cls, type) and issubclass(cls, InertObject)):
        raise _RefusedError("makes an object of an unknown kind")
    return cls()


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> StoredTensor:
    """Return a tensor whose numbers all lie in its storage, each of them once."""
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, _Storage) or any(type(n) is not int or n < 0 for n in numbers):
        raise _RefusedError("has a damaged tensor")
    size = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if size and (last >= storage.count or size > storage.count):
        raise _RefusedError("has a tensor that is larger than its numbers")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise _RefusedError("is a zip archive, but not one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
            raise _RefusedError("was written on a big-endian machine")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise _RefusedError("is compressed, which torch.save never does")
        content = archive.read(pickles[0])

    def storage(key: str, dtype: torch.dtype, count: int) -> _Storage:
        entry = entries.get(f"{folder}data/{key}")
        if entry is None or entry.file_size < count * dtype.itemsize:
            raise _RefusedError("lacks the numbers of a tensor")

        def read_bytes(size: int) -> bytes:
            with zipfile.ZipFile(path) as archive, archive.open(entry) as file:
                return file.read(size)

        return _Storage(path, dtype, count, read_bytes)

    return _unpickle(io.BytesIO(content), storage)


def _read_legacy(path: Path) -> Any:
    """Read the format before PyTorch 1.6: four pickles, the list of storages, and their numbers."""
    storages = _LegacyStorages(path)
    with path.open("rb") as file:
        if _unpickle(file, storages.add) != LEGACY_MAGIC or _unpickle(file, storages.add) != LEGACY_PROTOCOL:
            raise _RefusedError("is not a file of torch.save")
        system = _unpickle(file, storages.add)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise _RefusedError("was written on a big-endian machine")
        content = _unpickle(file, storages.add)
        keys = _unpickle(file, storages.add)
        storages.locate(keys, file.tell())
    return content


class _LegacyStorages:
    """The storages of an old file, whose numbers follow one after another at its end."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[str, int] = {}
        self._places: dict[str, int] = {}

    def add(self, key: str, dtype: torch.dtype, count: int) -> _Storage:
        """Return a storage that the pickle refers to. Its place is not known yet."""
        size = count * dtype.itemsize
        if self._sizes.setdefault(key, size) != size:
            raise _RefusedError("has two sizes for the same numbers")

        def read_bytes(size: int) -> bytes:
            with self._path.open("rb") as file:
                file.seek(self._places[key])
                return file.read(size)

        return _Storage(self._path, dtype, count, read_bytes)

    def locate(self, keys: Any, place: int) -> None:
        """Find the places of all storages, which begin at `place` in the order of `keys`."""
        if not isinstance(keys, list) or not self._sizes.keys() <= set(map(str, keys)):
            raise _RefusedError("lacks the numbers of a tensor")
        for key in map(str, keys):
            # Each storage begins with the number of its elements, in 8 bytes.
            self._places[key] = place + 8
            place += 8 + self._sizes.get(key, 0)
        if place > self._path.stat().st_size:
            raise _RefusedError("is damaged (it ends before its last tensor)")
