"""Encode one part of a corpus that is too large for one machine: `masscli preprocess --part K/N`.

Text is encoded in chunks, which depend only on the text. Part K of N encodes the chunks from (K-1)/N to K/N
of all chunks, and stores them in packs, files of encoded chunks. `masscli merge-data` appends the chunks of
all parts, in order, by the same `ShardBuilder` that a single run uses, so that the result has the same bytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from masscli.core import files
from masscli.core.atomic_files import write_atomic
from masscli.core.errors import MasscliError
from masscli.core.folder_kinds import PART_FILE
from masscli.data.prepare.chunks import bytes_in_chunks, count_chunks
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.encoding import ChunkTask, encode_chunk
from masscli.data.prepare.part_files import (
    PACK_CHUNKS,
    PartInfo,
    pack_name,
    write_pack,
)
from masscli.data.prepare.pipeline import (
    Run,
    chunk_tasks,
    describe_inputs,
    prepare_encoding,
    scanned,
)
from masscli.data.prepare.progress import ProgressReporter
from masscli.text.corpus import STDIN_COPY
from masscli.text.tokenizer import Tokenizer
from masscli.text.tokenizer_card import MODEL_FILE, TOKENIZER_FILE
from masscli.text.vocabulary import Vocabulary

Slice = tuple[int, int, int]
"""Successive chunks of a group: the number of the group, the number of the first chunk, and that of the chunk
after the last."""
LABEL_FILE = "label"
"""The name of the file that says to which part, and to which text, the packs in a folder belong."""


def encode_part(settings: PreprocessConfig, progress: ProgressReporter) -> PartInfo:
    """Encode the part that `settings.part` names into the folder `settings.destdir`; return its description.

    If an earlier run was interrupted, its complete packs are kept. Raises MasscliError for what cannot be
    divided into parts (text without a given vocabulary, labeled examples, standard input), and if the folder
    holds another finished part, unless `settings.overwrite` is set.
    """
    folder = settings.destdir
    part, parts = settings.part_numbers
    with scanned(settings, progress) as run:
        _check_divisible(run)
        slices = list(_slices(run, part, parts))
        # Packs are only continued if they are of the same text, the same settings and the same part.
        label = f"{run.key} {part}/{parts}"
        _remove_other_packs(folder, label, settings.overwrite)
        prepare_encoding(run)
        vocab = Tokenizer.load(run.folder).vocab
        write_atomic(folder / LABEL_FILE, label.encode())
        info = PartInfo(
            key=run.key,
            part=part,
            parts=parts,
            chunks=sum(stop - start for _, start, stop in slices),
            groups=run.groups,
            manifest=describe_inputs(run, vocab.fingerprint),
        )
        progress.start(f"encoding part {part} of {parts}", _bytes_of(run, slices))
        for number in range(info.packs):
            path = folder / pack_name(number)
            if path.exists():
                continue
            # All packs have the same number of chunks, so the number of complete packs tells where to
            # continue.
            first = number * PACK_CHUNKS
            tasks = _tasks(run, vocab, slices, first, first + PACK_CHUNKS)
            chunks = []
            for chunk in run.pool.map(encode_chunk, tasks):
                chunks.append(chunk)
                progress.advance(chunk.size)
            write_pack(path, chunks, run.groups)
        for name in (MODEL_FILE, TOKENIZER_FILE):
            shutil.copyfile(run.folder / name, folder / name)
        run.require_unchanged_inputs()
        # Written last, its existence says that the part is complete.
        info.write(folder)
        return info


def _check_divisible(run: Run) -> None:
    """Raise MasscliError if the input of a run cannot be divided into parts.

    This is so without a given vocabulary, with labeled examples, and with standard input.
    """
    if run.config.spm_model is None and run.config.bpe_codes is None:
        raise MasscliError(
            "--part: every part must have the same vocabulary",
            "train one on a sample of the text with masscli preprocess, and give it with --spm-model",
        )
    if run.inputs.tables:
        raise MasscliError(
            "--part: labeled examples are not divided",
            "preprocess them alone, with the same --spm-model",
        )
    if any(path.name == STDIN_COPY for path in run.scans):
        raise MasscliError(
            "--part: standard input is not divided",
            "every part must be able to read all of the files",
        )


def _slices(run: Run, part: int, parts: int) -> Iterator[Slice]:
    """Yield the slices of groups that belong to part number `part` (from 1) of `parts`."""
    counts = [count_chunks(run.scans_of(group)) for group in run.groups]
    # The end of a part is computed as the beginning of the next, so that no chunk is left out or taken twice.
    start = sum(counts) * (part - 1) // parts
    stop = sum(counts) * part // parts
    # `start` and `stop` are counted from the first chunk of each group in turn.
    for group, count in enumerate(counts):
        if start < count and stop > 0:
            yield group, max(start, 0), min(stop, count)
        start -= count
        stop -= count


def _bytes_of(run: Run, slices: Sequence[Slice]) -> int:
    """Return how many bytes of text the chunks in some slices have."""
    total = 0
    for group, start, stop in slices:
        scans = run.scans_of(run.groups[group])
        total += bytes_in_chunks(scans, stop) - bytes_in_chunks(scans, start)
    return total


def _tasks(
    run: Run, vocab: Vocabulary, slices: Sequence[Slice], first: int, stop: int
) -> Iterator[ChunkTask]:
    """Yield the tasks for chunks `first` to `stop` - 1, counted over all slices of a part."""
    for group, slice_start, slice_stop in slices:
        size = slice_stop - slice_start
        begin, end = max(first, 0), min(stop, size)
        if begin < end:
            yield from islice(
                chunk_tasks(run, vocab, group, slice_start + begin), end - begin
            )
        first -= size
        stop -= size


def _remove_other_packs(folder: Path, label: str, overwrite: bool) -> None:
    """Remove the packs of another part, or of other text, from a folder.

    `label` names the part to be encoded; packs with this label stay. Raises MasscliError if the other part is
    finished, unless `overwrite` is set.
    """
    path = folder / LABEL_FILE
    if path.exists() and files.read_regular(path) == label.encode():
        return
    if (folder / PART_FILE).exists() and not overwrite:
        raise MasscliError(
            f"{folder}: holds another part, or one with different text or settings",
            "give each part its own --destdir, or --overwrite to replace it",
        )
    (folder / PART_FILE).unlink(missing_ok=True)
    for pack in folder.glob("chunks.*.npz"):
        pack.unlink()
