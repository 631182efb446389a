"""Files of torch.save: what is read equals what PyTorch reads, and nothing is executed."""

from __future__ import annotations

import argparse
import enum
import io
import os
import pickle
import subprocess
import zipfile
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import Any, Optional

import numpy as np
import pytest
import torch

from masscli.__main__ import run
from masscli.checkpoint.convert.inert_objects import InertObject, attributes
from masscli.checkpoint.convert.torch_file import StoredTensor, read_torch_file
from masscli.core.errors import MasscliError

TYPES = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.uint8,
    torch.bool,
    torch.float64,
)


class Precision(enum.Enum):
    HALF = "half"


class Node:
    """Like a node of omegaconf: a dictionary under _content, a value under _val."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_tensors_are_those_that_pytorch_reads(zipped: bool, tmp_path: Path) -> None:
    table = torch.arange(24, dtype=torch.float32).view(4, 6)
    tensors = OrderedDict(
        whole=table,
        view=table[1:3, ::2],
        transposed=table.T,
        expanded=table[:, :1].expand(4, 9),
        empty=torch.zeros(0, 3),
        scalar=torch.tensor(4.0),
    )
    tensors |= {str(dtype): torch.arange(5).to(dtype) for dtype in TYPES}
    tensors["parameter"] = torch.nn.Parameter(torch.ones(2))
    path = tmp_path / "model.pt"
    torch.save({"model": tensors}, path, _use_new_zipfile_serialization=zipped)
    content = read_torch_file(path)
    assert list(content["model"]) == list(tensors)
    for name, tensor in tensors.items():
        found = content["model"][name]
        assert isinstance(found, StoredTensor)
        assert found.read().dtype == tensor.dtype
        assert torch.equal(found.read(), tensor)


@pytest.mark.parametrize("protocol", [2, 4])
def test_options_are_read_from_inert_objects(protocol: int, tmp_path: Path) -> None:
    namespace = argparse.Namespace(
        layers=3, name="a", rates=[0.1], precision=Precision.HALF
    )
    number = np.float64(0.25)
    omegaconf = Node(
        _content={
            "layers": Node(_val=5),
            "sizes": Node(_content=[Node(_val=1), Node(_val=2)]),
        }
    )
    path = tmp_path / "model.pt"
    torch.save(
        {"args": namespace, "number": number, "cfg": omegaconf},
        path,
        pickle_protocol=protocol,
    )
    content = read_torch_file(path)
    assert isinstance(content["args"], InertObject)
    assert attributes(content["args"]) == {
        "layers": 3,
        "name": "a",
        "rates": [0.1],
        "precision": "half",
    }
    assert attributes(content)["number"] == 0.25
    assert attributes(content["cfg"]) == {"layers": 5, "sizes": [1, 2]}


@pytest.mark.parametrize(
    "value",
    [
        # Its pickle has both of the forms in which types are written.
        Node(ref_type=Optional[int], element_type=tuple[int, ...]),  # noqa: UP045
        Node(key_type=type(None)),
        SimpleNamespace(layers=3),
        PureWindowsPath("C:/runs"),
        datetime.now(UTC),
    ],
    ids=["optional", "none", "namespace", "path", "date"],
)
def test_plain_values_of_the_standard_library_do_not_prevent_reading(
    value: object, tmp_path: Path
) -> None:
    """Metadata of omegaconf have types, and programs around fairseq save options as they have them."""
    path = tmp_path / "model.pt"
    torch.save({"args": argparse.Namespace(layers=3, value=value)}, path)
    args = attributes(read_torch_file(path)["args"])
    assert args["layers"] == 3
    assert isinstance(args["value"], InertObject)
    assert type(args["value"]).kind.endswith(type(value).__name__)


class Calls:
    """Asks a loader to call a function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def hostile(mark: Path) -> dict[str, bytes]:
    """Pickles that make the file `mark` when a loader does what they ask for."""
    command = f"touch {mark}"
    calls = {
        "system": Calls(os.system, command),
        "popen": Calls(subprocess.check_output, command, None, None),
        "eval": Calls(eval, f"open({str(mark)!r}, 'w')"),
        "getattr": Calls(getattr, os, "system"),
        "import": Calls(__import__, "os"),
        "open": Calls(open, str(mark), "w"),
        "load": Calls(torch.load, str(mark)),
    }
    pickles = {}
    for name, call in calls.items():
        try:
            pickles[name] = pickle.dumps({"model": {}, "args": call}, protocol=2)
        except (pickle.PicklingError, TypeError):
            continue
    # By hand: a name with dots, a nested attribute, and an instance of a class of the standard library.
    pickles["dots"] = b"cos\npath.os.system\n(S'touch " + str(mark).encode() + b"'\ntR."
    pickles["global"] = b"cposix\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
    pickles["build"] = b"(cmasscli.cli.app\nApp\no}S'a'\nI1\nsb."
    pickles["code"] = b"ctypes\nCodeType\n(I1\ntR."
    return pickles


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_nothing_is_executed(
    zipped: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mark = tmp_path / "executed"
    for name, content in hostile(mark).items():
        path = tmp_path / f"{name}.pt"
        if zipped:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("archive/data.pkl", content)
        else:
            start = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
            rest = pickle.dumps([], protocol=2)
            path.write_bytes(
                b"".join(pickle.dumps(part, protocol=2) for part in start)
                + content
                + rest
            )
        assert run(["import", str(path), "--output", str(tmp_path / "run")]) == 2
        error = capfd.readouterr().err
        assert error.startswith(f"error: {path}: "), error
        assert len(error.splitlines()) <= 2
        assert not mark.exists()
        assert not (tmp_path / "run").exists()


def write_zip(path: Path, content: Any, numbers: bytes, **changes: Any) -> None:
    """A file of torch.save with one storage, which may be wrong."""

    class Storage:
        def __init__(self, count: int) -> None:
            self.count = count

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, Storage):
                return ("storage", torch.FloatStorage, "0", "cpu", value.count)
            return None

    offset, shape, stride = (
        changes.get("offset", 0),
        changes.get("shape", (2,)),
        changes.get("stride", (1,)),
    )
    tensor = Calls(
        torch._utils._rebuild_tensor_v2,
        Storage(changes.get("count", 2)),
        offset,
        shape,
        stride,
        False,
        OrderedDict(),
    )
    data = io.BytesIO()
    Pickler(data, protocol=2).dump({"model": {"a": tensor}, **content})
    with zipfile.ZipFile(
        path, "w", changes.get("compression", zipfile.ZIP_STORED)
    ) as archive:
        archive.writestr("archive/data.pkl", data.getvalue())
        archive.writestr("archive/data/0", numbers)
        archive.writestr("archive/byteorder", changes.get("byteorder", "little"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shape": (3,)}, "larger than its numbers"),
        ({"offset": 1}, "larger than its numbers"),
        ({"stride": (2,)}, "larger than its numbers"),
        ({"shape": (10**9,), "stride": (0,)}, "larger than its numbers"),
        ({"offset": -1}, "damaged tensor"),
        ({"shape": (2, 2)}, "damaged"),
        ({"count": 10**12}, "lacks the numbers"),
        ({"byteorder": "big"}, "big-endian"),
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
    ],
)
def test_a_tensor_without_all_of_its_numbers_is_refused(
    changes: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.pt"
    numbers = np.arange(2, dtype=np.float32).tobytes()
    write_zip(path, {}, numbers)
    assert read_torch_file(path)["model"]["a"].read().tolist() == [0.0, 1.0]
    write_zip(path, {}, numbers, **changes)
    with pytest.raises(MasscliError, match=reason):
        read_torch_file(path)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_damaged_file_is_one_line(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(
        {"model": {"a": torch.arange(30.0)}, "args": argparse.Namespace(a=1)},
        path,
        _use_new_zipfile_serialization=zipped,
    )
    data = path.read_bytes()
    rng = np.random.default_rng(1)
    for case in range(60):
        damaged = bytearray(data[: int(rng.integers(len(data)))] if case % 2 else data)
        for position in rng.integers(max(1, len(damaged)), size=3 * (case % 2 == 0)):
            damaged[position] = int(rng.integers(256))
        path.write_bytes(damaged)
        try:
            content = read_torch_file(path)
            if isinstance(content, dict) and isinstance(content.get("model"), dict):
                for tensor in content["model"].values():
                    if isinstance(tensor, StoredTensor):
                        tensor.read()
        except MasscliError as error:
            assert "\n" not in error.message
            assert error.message.startswith(str(path))
    for text in (b"", b"version https://git-lfs.github.com/spec/v1\n", b"PK\x03\x04"):
        path.write_bytes(text)
        with pytest.raises(MasscliError):
            read_torch_file(path)


def test_archives_that_python_refuses_in_other_ways(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model": torch.arange(30.0)}, path)
    data = path.read_bytes()
    # The entry of the pickle in the list of entries at the end.
    entry = data.index(b"PK\x01\x02")
    # Flags: 0x01 says that it is encrypted, 0x0800 that its name is UTF-8.
    for changes, error in (
        ({8: b"\x01\x08"}, "RuntimeError"),
        ({10: b"\x63\x00"}, "is compressed"),
        ({6: b"\xff\x00"}, "NotImplementedError"),
        ({8: b"\x00\x08", 46: b"\xb3\x80"}, "UnicodeDecodeError"),
    ):
        damaged = bytearray(data)
        for offset, value in changes.items():
            damaged[entry + offset : entry + offset + 2] = value
        path.write_bytes(damaged)
        with pytest.raises(MasscliError, match=error):
            read_torch_file(path)


def test_an_entry_of_another_size_is_refused(tmp_path: Path) -> None:
    """Of an entry that is too large only the beginning would be read, and the checksum would not be compared."""
    path = tmp_path / "model.pt"
    torch.save({"model": torch.arange(30.0)}, path)
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    for change in (lambda data: data + b"a", lambda data: data[:-1], lambda data: b""):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                archive.writestr(
                    name, change(data) if name.endswith("data/0") else data
                )
        with pytest.raises(
            MasscliError,
            match="lacks the numbers of a tensor, or has others in their place",
        ):
            read_torch_file(path)


@pytest.mark.parametrize(
    "content",
    [
        "\ud800",
        {"\udfff": 1},
        [("a", {"b": "a\ud83d"})],
        argparse.Namespace(name="\ud800"),
    ],
)
def test_a_text_that_is_not_unicode_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save({"model": {"a": torch.ones(2)}, "more": content}, path)
    with pytest.raises(MasscliError, match="has a text that is not Unicode"):
        read_torch_file(path)


def test_a_container_may_hold_itself(tmp_path: Path) -> None:
    content: dict[str, Any] = {"a": "😀"}
    content["itself"] = content
    torch.save(content, tmp_path / "model.pt")
    assert read_torch_file(tmp_path / "model.pt")["itself"]["itself"]["a"] == "😀"
