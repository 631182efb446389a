"""Read a file that was written by `torch.save`, without executing anything in it.

Such a file is a pickle, which names the functions and classes that rebuild its objects. Here only
tensors, containers (dictionaries, lists, tuples, sets), strings and numbers are rebuilt. Every other
object, such as an argparse Namespace or an omegaconf node, becomes an `InertObject`, which holds what
the pickle says about it and does nothing. A pickle that refers to anything in Python's standard library
other than containers and the names in `_INERT_STANDARD_CLASSES` is refused.

Both formats are supported: the zip archive of PyTorch 1.6 and later, and the sequence of pickles of
older versions. The numbers of a tensor are read from the file only on request, so that an optimizer
state costs neither time nor memory.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from masscli.checkpoint.convert.inert_objects import InertObject
from masscli.core.errors import MasscliError

_HINT = "expected a checkpoint that PyTorch saved; is the file complete?"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
MAX_REPEATED = 1 << 26
"""Largest number of elements of a tensor that repeats elements, and so is larger than its storage."""
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    struct.error,
)
"""Exceptions that Python raises for a damaged zip archive, including a name that is not UTF-8, an
unknown compression method, and an entry that seems to be encrypted."""
# Checkpoints of these programs do not contain complex or quantized numbers.
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
    # Their constructor arguments (a factory, counts) do not affect what is read.
    "collections.defaultdict": lambda *_: {},
    "collections.Counter": lambda *counts: dict(*counts),
}
_INERT_STANDARD_CLASSES = (
    "argparse.Namespace",
    "collections.deque",
    "_codecs.encode",
    "_operator.getitem",
    "datetime.date",
    "datetime.datetime",
    "datetime.timedelta",
    "datetime.timezone",
    "operator.getitem",
    "pathlib.PosixPath",
    "pathlib.PurePosixPath",
    "pathlib.PureWindowsPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.PurePosixPath",
    "pathlib._local.PureWindowsPath",
    "pathlib._local.WindowsPath",
    "types.GenericAlias",
    "types.SimpleNamespace",
    "builtins.Ellipsis",
    "builtins.object",
    "builtins.int",
    "builtins.long",
    "builtins.float",
    "builtins.str",
    "builtins.unicode",
    "builtins.bytes",
    "builtins.bytearray",
    "builtins.bool",
    "builtins.range",
    "builtins.xrange",
    "builtins.slice",
    # A pickle of Optional[int] calls it to get the type of None.
    "builtins.type",
    "typing.Any",
    "typing.Callable",
    "typing.Dict",
    "typing.List",
    "typing.Optional",
    "typing.Tuple",
    "typing.Union",
)
"""Names in the standard library that a pickle may refer to, since checkpoints of fairseq and XLM do.
Each becomes an `InertObject`; the class or function itself is neither imported nor called."""


@dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file that has not been read yet: its shape, and where its elements are.

    `offset` and `stride` count elements of the storage, as in PyTorch.
    """

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    def read(self) -> Tensor:
        """Read the tensor from the file and return it. Raises MasscliError if the file is damaged."""
        numbers = self.storage.read()
        return torch.as_strided(numbers, self.shape, self.stride, self.offset).clone()


@dataclass(frozen=True)
class _Storage:
    """The elements of one or several tensors in a file: `count` numbers of type `dtype`.

    `read_bytes` takes a number of bytes, and reads that many from the beginning of the storage.
    """

    path: Path
    dtype: torch.dtype
    count: int
    read_bytes: Callable[[int], bytes]

    def read(self) -> Tensor:
        """Return all numbers as a tensor of shape (count,). Raises MasscliError if the file is damaged."""
        size = self.count * self.dtype.itemsize
        if not size:
            return torch.empty(0, dtype=self.dtype)
        try:
            data = self.read_bytes(size)
        except (OSError, *_ZIP_ERRORS) as error:
            raise MasscliError(f"{self.path}: is damaged ({error})", _HINT) from None
        if len(data) < size:
            raise MasscliError(
                f"{self.path}: is damaged (it ends before its last tensor)", _HINT
            )
        # A bytearray, since PyTorch warns about read-only memory.
        return torch.frombuffer(bytearray(data), dtype=self.dtype)


class _RefusedError(Exception):
    """A file is damaged, was not written by `torch.save`, or could execute code.

    The message is a verb phrase such as "is damaged", which follows the name of the file.
    """


def read_torch_file(path: Path) -> Any:
    """Return the object in a file written by `torch.save`.

    In it, each tensor is a `StoredTensor`, and each object of another program an `InertObject`. Raises
    MasscliError, with a one-line message, if the file cannot be read, is damaged, has another format,
    or refers to anything that could be executed.
    """
    try:
        # A named pipe would have to be read twice.
        if path.exists() and not path.is_file():
            raise _RefusedError("is not a file")
        with path.open("rb") as file:
            start = file.read(4)
        if start.startswith(b"vers"):
            raise _RefusedError("looks like a pointer of Git LFS in place of the file")
        content = _read_zip(path) if start.startswith(b"PK") else _read_legacy(path)
        _check_texts(content)
        return content
    except OSError as error:
        raise MasscliError(
            f"{path}: cannot be read ({error.strerror or error})"
        ) from None
    except _RefusedError as error:
        raise MasscliError(f"{path}: {error}", _HINT) from None


class _Unpickler(pickle.Unpickler):
    """An unpickler that rebuilds tensors and plain containers, and turns the rest into `InertObject`s.

    `storages` takes the key, the dtype and the number of elements of a storage, and returns the storage.
    """

    def __init__(
        self, file: BinaryIO, storages: Callable[[str, torch.dtype, int], _Storage]
    ) -> None:
        # Files written by Python 2 have byte strings instead of strings.
        super().__init__(file, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement for a class or function that the pickle names; nothing is imported.

        Raises _RefusedError for a name in the standard library that is not listed in this module.
        """
        full_name = f"{module.replace('__builtin__', 'builtins')}.{name}"
        if full_name in _CONTAINERS:
            return _CONTAINERS[full_name]
        if module in ("torch", "torch.storage") and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        # Both make a tensor from a storage; the newer one has arguments about gradients, which are
        # ignored.
        if full_name in (
            "torch._utils._rebuild_tensor_v2",
            "torch._utils._rebuild_tensor",
        ):
            return _rebuild_tensor
        if full_name in (
            "torch._utils._rebuild_parameter",
            "torch._utils._rebuild_parameter_with_state",
        ):
            return _rebuild_parameter
        if full_name in ("copyreg._reconstructor", "copy_reg._reconstructor"):
            return _reconstruct
        package = module.partition(".")[0]
        is_standard = package in sys.stdlib_module_names or package in (
            "__builtin__",
            "copy_reg",
        )
        if is_standard and full_name not in _INERT_STANDARD_CLASSES:
            raise _RefusedError(f"asks for {module}.{name}, which is not read")
        # This is a class, since a pickle may call it like a function, or create an instance without a
        # call.
        return type("InertObject", (InertObject,), {"kind": full_name})

    def persistent_load(self, persistent_id: Any) -> _Storage:
        """Return the storage that a pickle refers to. Raises _RefusedError if the reference is damaged."""
        # Before PyTorch 2.0 there are six parts, the last of which was for views.
        kind, dtype, key, _, count, *_ = persistent_id
        if (
            kind != "storage"
            or not isinstance(dtype, torch.dtype)
            or type(count) is not int
            or count < 0
        ):
            raise _RefusedError("has a tensor of an unknown kind")
        return self._storages(str(key), dtype, count)


def _unpickle(
    file: BinaryIO, storages: Callable[[str, torch.dtype, int], _Storage]
) -> Any:
    """Return the object of the pickle at the position of `file`, see `_Unpickler`.

    Raises _RefusedError if it is damaged, or refers to anything that is refused.
    """
    try:
        return _Unpickler(file, storages).load()
    except _RefusedError:
        raise
    # An untrusted pickle may raise any exception.
    except Exception as error:
        raise _RefusedError(
            f"is damaged ({type(error).__name__} while it was read)"
        ) from None


def _check_texts(content: Any) -> None:
    """Raise _RefusedError if a string at any depth contains an unpaired surrogate.

    Pickles may contain such strings, but they cannot be encoded as UTF-8.
    """
    pending, seen = [content], set()
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            if not value.isascii() and any(
                "\ud800" <= letter <= "\udfff" for letter in value
            ):
                raise _RefusedError("has a text that is not Unicode")
        elif id(value) not in seen:
            # A pickle can refer to an object several times, even from within itself.
            seen.add(id(value))
            pending += _items(value)


def _items(value: Any) -> list[Any]:
    """Return the contents (keys and values) of a container or an `InertObject`; empty for others."""
    if isinstance(value, InertObject):
        return [*value.args, value.state]
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return list(value)
    return []


def _reconstruct(cls: Any, *_: Any) -> Any:
    """Make an `InertObject` where an old pickle calls copyreg. Raises _RefusedError for any other class."""
    if not (isinstance(cls, type) and issubclass(cls, InertObject)):
        raise _RefusedError("makes an object of an unknown kind")
    return cls()


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_tensor(
    storage: Any, offset: Any, shape: Any, stride: Any, *_: Any
) -> StoredTensor:
    """Return a tensor in a storage; `offset` and `stride` count elements.

    Raises _RefusedError if the arguments are damaged, if the tensor needs more elements than the storage has,
    or if it is larger than the storage because it repeats elements, as `Tensor.expand` does, and has more
    than `MAX_REPEATED` of them.
    """
    numbers = (offset, *shape, *stride)
    if not isinstance(storage, _Storage) or any(
        type(n) is not int or n < 0 for n in numbers
    ):
        raise _RefusedError("has a damaged tensor")
    size = math.prod(shape)
    last = offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    # A damaged shape that repeats elements could exhaust memory.
    if size and (last >= storage.count or size > max(storage.count, MAX_REPEATED)):
        raise _RefusedError("has a tensor that is larger than its numbers")
    return StoredTensor(storage, offset, tuple(shape), tuple(stride))


def _read_zip(path: Path) -> Any:
    """Return the object in a file of PyTorch 1.6 or later, a zip archive.

    Raises _RefusedError if it is damaged, not an archive written by `torch.save`, or from a big-endian
    machine.
    """
    try:
        # It stays open for as long as tensors may be read, since its list of entries grows with the
        # model.
        archive = zipfile.ZipFile(path)
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.endswith("data.pkl")]
        if len(pickles) != 1:
            raise _RefusedError("is a zip archive, but not one of torch.save")
        folder = pickles[0].removesuffix("data.pkl")
        if (
            f"{folder}byteorder" in entries
            and archive.read(f"{folder}byteorder") != b"little"
        ):
            raise _RefusedError("was written on a big-endian machine")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise _RefusedError("is compressed, which torch.save never does")
        content = archive.read(pickles[0])
    except _ZIP_ERRORS as error:
        raise _RefusedError(
            f"is damaged ({type(error).__name__} while it was read)"
        ) from None

    def storage(key: str, dtype: torch.dtype, count: int) -> _Storage:
        entry = entries.get(f"{folder}data/{key}")
        # Only a part of a larger entry would be read, and its checksum would not be verified.
        if entry is None or entry.file_size != count * dtype.itemsize:
            raise _RefusedError(
                "lacks the numbers of a tensor, or has others in their place"
            )

        def read_bytes(size: int) -> bytes:
            with archive.open(entry) as file:
                return file.read(size)

        return _Storage(path, dtype, count, read_bytes)

    return _unpickle(io.BytesIO(content), storage)


def _read_legacy(path: Path) -> Any:
    """Return the object in a file written by PyTorch before 1.6.

    Such a file holds pickles of a magic number, a version, a description of the machine, the object,
    and the list of storage keys; the numbers of the storages follow. Raises _RefusedError if it is
    damaged, has another format, or is from a big-endian machine.
    """
    storages = _LegacyStorages(path)
    with path.open("rb") as file:
        if (
            _unpickle(file, storages.add) != LEGACY_MAGIC
            or _unpickle(file, storages.add) != LEGACY_PROTOCOL
        ):
            raise _RefusedError("is not a file of torch.save")
        system = _unpickle(file, storages.add)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise _RefusedError("was written on a big-endian machine")
        content = _unpickle(file, storages.add)
        keys = _unpickle(file, storages.add)
        storages.locate(keys, file.tell())
    return content


class _LegacyStorages:
    """The storages of a file in the format before PyTorch 1.6, whose numbers are at the end of the file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[str, int] = {}
        self._places: dict[str, int] = {}

    def add(self, key: str, dtype: torch.dtype, count: int) -> _Storage:
        """Return the storage with the given key, which can be read only after `locate` has been called.

        Raises _RefusedError if this key had another size before.
        """
        size = count * dtype.itemsize
        if self._sizes.setdefault(key, size) != size:
            raise _RefusedError("has two sizes for the same numbers")

        def read_bytes(size: int) -> bytes:
            with self._path.open("rb") as file:
                file.seek(self._places[key])
                return file.read(size)

        return _Storage(self._path, dtype, count, read_bytes)

    def locate(self, keys: Any, place: int) -> None:
        """Compute where in the file the numbers of each storage are.

        The storages follow each other in the order of `keys`, the first at the byte `place`. Raises
        _RefusedError if a storage is not listed, or if the file is too short.
        """
        if not isinstance(keys, list) or not self._sizes.keys() <= set(map(str, keys)):
            raise _RefusedError("lacks the numbers of a tensor")
        for key in map(str, keys):
            # Each storage begins with the number of its elements, in 8 bytes.
            self._places[key] = place + 8
            place += 8 + self._sizes.get(key, 0)
        if place > self._path.stat().st_size:
            raise _RefusedError("is damaged (it ends before its last tensor)")
