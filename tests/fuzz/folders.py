"""Mutations of folders: of files as such, and of their contents by the kind of file."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.pickles import mutate_torch_file
from tests.fuzz.tensors import mutate_safetensors
from tests.fuzz.texts import mutate_bytes, mutate_lines
from tests.fuzz.trees import mutate_tree, to_json, to_toml

Mutator = Callable[[Random, bytes], tuple[bytes, str]]

WORDS = {2: "<H", 4: "<I", 8: "<q"}
INDEX_HEADER = 128
LARGE = 1 << 24
"""Bytes of a file that is much longer than it should be."""


def mutate_folder(draw: Random, folder: Path, pipes: bool) -> str:
    """Change one to three things in a folder, and say what; `pipes` puts named pipes in the place of files."""
    changes = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        paths = sorted(path for path in folder.rglob("*") if _is_small_file(path))
        if not paths:
            break
        # A folder has many shards and one manifest, in which there is more to be changed.
        described = [
            path for path in paths if path.suffix in (".json", ".toml", ".jsonl")
        ]
        path = draw.choice(described if described and draw.random() < 0.4 else paths)
        if draw.random() < 0.04:
            what = _mutate_file(draw, path, paths, pipes)
        else:
            what = _mutate_content(draw, path)
        changes.append(f"{path.relative_to(folder)}: {what}")
    return "; ".join(changes)


def _is_small_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size < LARGE


def replace(path: Path, data: bytes) -> None:
    """Write a file anew; the copy of the sound input shares its files with the original."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _mutate_content(draw: Random, path: Path) -> str:
    data = path.read_bytes()
    mutators = MUTATORS.get(
        path.suffix, (mutate_lines, mutate_lines, mutate_lines, mutate_bytes)
    )
    # Shards of a data folder have the same suffix.
    if path.name == "pytorch_model.bin":
        mutators = (mutate_torch_file,)
    if path.suffix == ".txt" and data.startswith(b"{"):
        mutators = MUTATORS[".json"]
    mutator = mutate_bytes if draw.random() < 0.03 else draw.choice(mutators)
    # An earlier mutation may have left nothing that could be parsed.
    try:
        data, what = mutator(draw, data)
    except Exception:
        data, what = mutate_bytes(draw, data)
    replace(path, data)
    return what


def _mutate_file(draw: Random, path: Path, paths: list[Path], pipes: bool) -> str:
    other = draw.choice(paths)
    data, other_data = path.read_bytes(), other.read_bytes()
    path.unlink()
    match draw.randrange(8):
        case 0:
            return "missing"
        case 1:
            path.write_bytes(b"")
            return "empty"
        case 2:
            path.mkdir()
            return "a folder"
        case 3 if pipes:
            os.mkfifo(path)
            return "a named pipe"
        case 4:
            path.symlink_to(path.name)
            return "a link to itself"
        case 5:
            path.symlink_to("/nowhere/at-all")
            return "a link to nothing"
        case 6:
            path.write_bytes(data)
            os.truncate(path, LARGE)
            return "many zeros"
    path.write_bytes(other_data)
    return f"the contents of {other.name}"


def mutate_json(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Change the tree in a JSON file."""
    tree, what = mutate_tree(draw, json.loads(data))
    return to_json(tree, with_escapes=draw.random() < 0.3), what


def mutate_json_line(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Change the tree in one line of a JSON Lines file."""
    lines = data.split(b"\n")
    numbers = [number for number, line in enumerate(lines) if line.strip()]
    number = draw.choice(numbers)
    lines[number], what = mutate_json(draw, lines[number])
    return b"\n".join(lines), f"line {number + 1}: {what}"


def mutate_toml(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Change the tree in a TOML file."""
    if draw.random() < 0.02:
        return data + b"a." * 20_000 + b"a = 1\n", "20,000 dotted keys"
    tree, what = mutate_tree(draw, tomllib.loads(data.decode()))
    return to_toml(tree), what


def mutate_index(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Change a field of the header, or an offset, of an index of a shard."""
    if draw.random() < 0.5:
        return mutate_words(draw, data, 8, INDEX_HEADER)
    place = draw.choice((0, 8, 12, 16, 28, 29, 30, 31, 32, 40, 48, 60, 96, 127))
    return data[:place] + draw.choice(
        (b"\0", b"\1", b"\xff", b"<u4\0", b"int\0", b"float\0")
    ) + data[place + 1 :], f"header at {place}"


def mutate_values(draw: Random, data: bytes) -> tuple[bytes, str]:
    """Change a value of a shard, as if it had 1, 2, 4 or 8 bytes."""
    if draw.random() < 0.3:
        return mutate_bytes(draw, data)
    return mutate_words(draw, data, draw.choice((2, 4, 8)), 0)


def mutate_words(
    draw: Random, data: bytes, width: int, start: int
) -> tuple[bytes, str]:
    """Change, repeat or remove one number of an array."""
    form = WORDS[width]
    place = start + width * draw.randrange((len(data) - start) // width)
    (value,) = struct.unpack_from(form, data, place)
    new = draw.choice(
        (
            0,
            1,
            -1,
            value + 1,
            value - 1,
            value * 2,
            2 ** (8 * width - 1) - 1,
            255,
            1 << 15,
        )
    )
    if form != "<q":
        new %= 1 << (8 * width)
    elif not -(2**63) <= new < 2**63:
        new = -1
    piece = draw.choice(
        (
            struct.pack(form, new),
            struct.pack(form, new),
            b"",
            data[place : place + width] * 2,
        )
    )
    return data[:place] + piece + data[
        place + width :
    ], f"{value} at {place} becomes {piece.hex()}"


def _compressed(module: object, mutator: Mutator) -> Mutator:
    def mutate(draw: Random, data: bytes) -> tuple[bytes, str]:
        if draw.random() < 0.4:
            return mutate_bytes(draw, data)
        text, what = mutator(draw, module.decompress(data))  # type: ignore[attr-defined]
        return module.compress(text), what  # type: ignore[attr-defined]

    return mutate


MUTATORS: dict[str, tuple[Mutator, ...]] = {
    ".json": (mutate_json, mutate_json, mutate_json, mutate_lines),
    ".jsonl": (mutate_json_line, mutate_json_line, mutate_lines),
    ".toml": (mutate_toml, mutate_toml, mutate_toml, mutate_lines),
    ".safetensors": (mutate_safetensors,),
    ".pt": (mutate_torch_file,),
    ".pth": (mutate_torch_file,),
    ".bin": (mutate_values,),
    ".pickle": (mutate_torch_file,),
    ".idx": (mutate_index,),
    ".model": (mutate_bytes,),
    ".gz": (_compressed(gzip, mutate_lines),),
    ".xz": (_compressed(lzma, mutate_lines),),
    ".race": (mutate_json_line, mutate_lines),
}
"""How the content of a file is changed, by the last suffix of its name; others are text."""
