"""Mutations of safetensors files: of the header, of its tensors, and of their values."""

from __future__ import annotations

import json
import struct
from random import Random
from typing import Any

from tests.fuzz.trees import mutate_tree, to_json

SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "U8": 1,
    "BOOL": 1,
}
FLOATS = (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 0.0, 1e-40)


def unpack(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return the header and the values of a safetensors file."""
    (size,) = struct.unpack_from("<Q", data)
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def pack(header: Any, values: bytes) -> bytes:
    """Return the bytes of a safetensors file."""
    text = to_json(header)
    return struct.pack("<Q", len(text)) + text + values


def mutate_safetensors(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Return a changed file, and what was changed."""
    header, values = unpack(data)
    names = [name for name in header if name != "__metadata__"]
    kind = draw.randrange(8) if names else 0
    if kind == 0:
        changed, what = mutate_tree(draw, header)
        return pack(changed, values), f"header: {what}"
    if kind == 1:
        size = draw.choice((0, 1, 7, len(data), 2**31, 2**63, 2**64 - 1))
        return struct.pack("<Q", size) + data[8:], f"a header of {size} bytes"
    # The others are files that are in order, with other tensors than there should be.
    tensors = {name: values[slice(*header[name]["data_offsets"])] for name in names}
    name = draw.choice(names)
    what = f"{name}: {_change_tensor(draw, kind, name, header, tensors)}"
    return _repack(header, tensors), what


def _change_tensor(
    draw: Random,
    kind: int,
    name: str,
    header: dict[str, Any],
    tensors: dict[str, bytes],
) -> str:
    entry = header[name]
    if kind == 2:
        del header[name], tensors[name]
        return "dropped"
    if kind == 3:
        other = draw.choice(
            (
                f"{name}x",
                f"module.{name}",
                "unknown.weight",
                "",
                draw.choice(list(tensors)),
            )
        )
        header[other], tensors[other] = header.pop(name), tensors.pop(name)
        return f"renamed {other}"
    if kind == 4:
        entry["shape"] = draw.choice(
            (entry["shape"][::-1], [1, *entry["shape"]], [0], [], entry["shape"][1:])
        )
        count = 1
        for length in entry["shape"]:
            count *= length
        tensors[name] = (tensors[name] + bytes(count * 8))[
            : count * SIZES[entry["dtype"]]
        ]
        return f"of shape {entry['shape']}"
    if kind == 5:
        dtype = draw.choice(list(SIZES))
        count = len(tensors[name]) // SIZES[entry["dtype"]]
        entry["dtype"] = dtype
        tensors[name] = (tensors[name] * 8)[: count * SIZES[dtype]]
        return f"of type {dtype}"
    if kind == 6 and entry["dtype"] == "F32" and tensors[name]:
        value, place = draw.choice(FLOATS), draw.randrange(len(tensors[name]) // 4) * 4
        tensors[name] = (
            tensors[name][:place]
            + struct.pack("<f", value)
            + tensors[name][place + 4 :]
        )
        return f"{value} at {place}"
    rows = entry["shape"][0] if entry["shape"] else 0
    if not rows:
        return "unchanged"
    entry["shape"] = [rows + 1, *entry["shape"][1:]]
    tensors[name] += tensors[name][-(len(tensors[name]) // rows) :]
    return "one more row"


def _repack(header: dict[str, Any], tensors: dict[str, bytes]) -> bytes:
    values = b""
    packed: dict[str, Any] = {
        key: value for key, value in header.items() if key == "__metadata__"
    }
    for name, data in tensors.items():
        packed[name] = {
            **header[name],
            "data_offsets": [len(values), len(values) + len(data)],
        }
        values += data
    return pack(packed, values)
