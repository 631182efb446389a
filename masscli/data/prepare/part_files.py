"""The files of one part of a corpus that was encoded on several machines (see part.py and merge.py).

chunks.00000.npz, ...         PACK_CHUNKS encoded chunks each, written one file after another
vocab.model, tokenizer.json   the vocabulary
part.json                     written last: the part's number, and what merging must know about the whole
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.atomic_files import open_atomic, write_atomic
from masscli.core.config import ConfigError, config, from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.core.folder_kinds import PART_FILE
from masscli.core.json_text import parse_json
from masscli.core.sealed_json import seal, unseal
from masscli.data.prepare.array_files import read_arrays
from masscli.data.prepare.encoding import EncodedChunk
from masscli.data.prepare.text_groups import TextGroup
from masscli.data.storage.columns import RowBlock
from masscli.data.storage.manifest import FilterStats, Manifest
from masscli.text.corpus import read_regular_text

PACK_CHUNKS = 64
"""Number of chunks in a pack (a file of encoded chunks): about 16 MB of ids."""
_HINT = "run masscli preprocess --part again for this part"


@config
class PartInfo:
    """The contents of `part.json`, which describes part number `part` (from 1) of `parts`.

    `key` names the text, settings and versions, which must be the same in all parts. `chunks` is the number
    of chunks in this part. `manifest` is that of the whole corpus, as far as it is known before everything is
    encoded.
    """

    key: str
    part: int
    parts: int
    chunks: int
    groups: tuple[TextGroup, ...]
    manifest: Manifest

    @property
    def packs(self) -> int:
        """Number of packs (files of encoded chunks) of the part."""
        return -(-self.chunks // PACK_CHUNKS)

    @classmethod
    def read(cls, folder: Path) -> PartInfo:
        """Return the description of a finished part in a folder.

        Raises MasscliError if there is none, or if it is damaged.
        """
        path = folder / PART_FILE
        try:
            return from_dict(cls, unseal(parse_json(read_regular_text(path))))
        except (FileNotFoundError, NotADirectoryError):
            raise MasscliError(f"{folder}: is not a finished part", _HINT) from None
        except (ValueError, ConfigError) as error:
            raise MasscliError(f"{path}: is damaged ({error})", _HINT) from None

    def write(self, folder: Path) -> None:
        """Write the description, with its checksum, to `part.json` in a folder, atomically."""
        text = json.dumps(seal(to_dict(self)), ensure_ascii=False)
        write_atomic(folder / PART_FILE, text.encode())


@config
class ChunkInfo:
    """The contents of an encoded chunk, except the arrays of its columns.

    `group` is the number of its group in `PartInfo.groups`; the other fields are those of `EncodedChunk`.
    """

    group: int
    size: int
    columns: tuple[str, ...]
    document_breaks: tuple[int, ...]
    filter_stats: tuple[FilterStats, ...]
    dropped_lines: str


def pack_name(number: int) -> str:
    """Return the file name of the pack with this number."""
    return f"chunks.{number:05d}.npz"


def write_pack(
    path: Path, chunks: Sequence[EncodedChunk], groups: Sequence[TextGroup]
) -> None:
    """Write encoded chunks to a file atomically: their columns as arrays, everything else as JSON.

    `groups` are all groups of the corpus; a chunk is stored with the index of its group in them.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for number, chunk in enumerate(chunks):
        info = ChunkInfo(
            group=groups.index(chunk.group),
            size=chunk.size,
            columns=tuple(chunk.columns),
            document_breaks=tuple(chunk.document_breaks),
            filter_stats=chunk.filter_stats,
            dropped_lines=chunk.dropped_lines,
        )
        # The format knows arrays only, so JSON is stored as an array of bytes.
        arrays[f"{number}/info"] = np.frombuffer(
            json.dumps(to_dict(info)).encode(), np.uint8
        )
        for column, rows in enumerate(chunk.columns.values()):
            arrays[f"{number}/{column}/values"] = rows.values
            arrays[f"{number}/{column}/lengths"] = rows.lengths
    with open_atomic(path) as file:
        # A pickled object in a file could execute code when it is read.
        np.savez(file, allow_pickle=False, **arrays)


def read_chunks(folder: Path, info: PartInfo) -> Iterator[EncodedChunk]:
    """Yield the encoded chunks of a part, in order, from the packs in its folder.

    Raises MasscliError if a pack is missing or damaged.
    """
    for pack in range(info.packs):
        path = folder / pack_name(pack)
        count = min(PACK_CHUNKS, info.chunks - pack * PACK_CHUNKS)
        try:
            # A pack is read as a whole, so that a damaged one yields nothing.
            arrays = read_arrays(path)
            chunks = [_chunk(arrays, number, info.groups) for number in range(count)]
        except (ValueError, LookupError, ConfigError) as error:
            raise MasscliError(
                f"{path}: is missing or damaged ({error})", _HINT
            ) from None
        yield from chunks


def _chunk(
    arrays: Mapping[str, NDArray[Any]], number: int, groups: Sequence[TextGroup]
) -> EncodedChunk:
    """Return chunk `number` of a pack from the arrays that `write_pack` has stored in it."""
    info = from_dict(ChunkInfo, parse_json(arrays[f"{number}/info"].tobytes()))
    columns = {}
    for column, name in enumerate(info.columns):
        columns[name] = RowBlock(
            arrays[f"{number}/{column}/values"], arrays[f"{number}/{column}/lengths"]
        )
    return EncodedChunk(
        group=groups[info.group],
        size=info.size,
        columns=columns,
        document_breaks=list(info.document_breaks),
        filter_stats=info.filter_stats,
        dropped_lines=info.dropped_lines,
    )
