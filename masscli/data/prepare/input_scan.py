"""Read every input file once before anything is encoded, and say what is unusual about it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from masscli.core.atomic_files import naming_full_file
from masscli.core.listing import count_of
from masscli.data.formats.registry import guess_format, read_as_text
from masscli.data.prepare.chunks import text_bytes
from masscli.data.prepare.progress import ProgressReporter
from masscli.data.prepare.requested_inputs import STDIN, RequestedInputs
from masscli.data.prepare.worker_pool import WorkerPool
from masscli.text import corpus
from masscli.text.corpus import FileScan


def copy_stdin(inputs: RequestedInputs, copy: Path) -> RequestedInputs:
    """Copy standard input to the file `copy` if it is an input, since text is read more than once.

    Returns the inputs with the copy in its place.
    """
    if not any(STDIN in requested.paths for requested in inputs.text):
        return inputs
    with naming_full_file(copy), open(copy, "wb") as file:
        shutil.copyfileobj(corpus.open_bytes(STDIN), file, corpus.BLOCK_BYTES)
    text = []
    for requested in inputs.text:
        paths = tuple(copy if path == STDIN else path for path in requested.paths)
        text.append(replace(requested, paths=paths))
    return replace(inputs, text=tuple(text))


def scan_files(
    inputs: RequestedInputs, pool: WorkerPool, progress: ProgressReporter
) -> dict[Path, FileScan]:
    """Scan every input file once, report how much text there is, and return the scan of each path."""
    paths: list[Path] = []
    for requested in inputs.text:
        paths += requested.paths
    for labeled in inputs.tables:
        paths += labeled.files
    # A file may be asked for more than once, as a side of several pairs.
    paths = list(dict.fromkeys(paths))
    scans = dict(zip(paths, pool.map(corpus.scan_file, paths), strict=True))
    for scan in scans.values():
        if scan.bom:
            progress.note(
                f"{corpus.display_path(scan.path)}: the byte order mark at its start is left out"
            )
        # Until 2001, lines ended in a carriage return on a Mac, and some spreadsheets still write them so.
        if scan.inner_returns > scan.lines:
            progress.warn(
                f"{corpus.display_path(scan.path)}: {scan.inner_returns:,} carriage returns are inside its "
                f"{count_of(scan.lines, 'line')}; lines end at \\n only; if these end lines: tr '\\r' '\\n'"
            )
    for path in inputs.passed_over:
        progress.warn(f"{path}: is not read, since another form of it is")
    _warn_of_examples_as_text(inputs, progress)
    lines = sum(scan.lines for scan in scans.values())
    size = text_bytes(scans.values())
    progress.note(
        f"{count_of(len(scans), 'file')}, {count_of(lines, 'line')}, {size / 1e6:,.1f} MB"
    )
    return scans


def _warn_of_examples_as_text(
    inputs: RequestedInputs, progress: ProgressReporter
) -> None:
    """Warn of each file of lines whose name is that of labeled examples, such as text in .jsonl."""
    paths = [path for files in inputs.text for path in files.paths]
    for labeled in inputs.tables:
        if labeled.format in ("aligned", "dialogues"):
            paths += labeled.files
    for path in dict.fromkeys(paths):
        remark = read_as_text(path)
        if remark is not None:
            progress.warn(f"{remark}; --{guess_format(path)} reads examples")
