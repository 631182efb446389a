"""Measure the time from a command to its first update or line, over data folders of 10^5 to 10^7 rows.

    python -m tests.benchmarks.startup [--rows 100000,1000000,10000000] [--repetitions 3] [--folder FOLDER]

For each number of rows a data folder of random pairs of short sentences is written to a temporary folder and
verified once. Then each command runs in a process of its own, for a first time (which compiles modules, and
stores the sentence pairs of BERT and its relatives), and then as often as asked for. The table shows, for each
command and number of rows, the median of the seconds from the start of the process to the first update beyond
those that `import torch` takes (measured in between), the same in seconds of CPU time (which other processes
on the machine hardly change), the largest resident memory, beside that of `import torch`, and the CPU seconds
of the first time, `import torch` included. 10^7 rows need 1 GB of disk, and more for sentence pairs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masscli.core.files import sha256_of
from masscli.data.storage.column_writer import ColumnWriter
from masscli.data.storage.columns import RowBlock
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.manifest import ColumnEntry, FileEntry, ShardEntry
from masscli.text import demo

MODEL = "--arch tiny --max-tokens 1000 --precision fp32 --no-save --threads 1 --max-update 1"
COMMANDS = {
    "mass": ["pretrain", "--objective", "mass"],
    "denoise": ["pretrain", "--objective", "denoise"],
    "bert": ["pretrain", "--objective", "bert"],
    "roberta": ["pretrain", "--objective", "roberta"],
    "electra": ["pretrain", "--objective", "electra"],
    "gpt": ["pretrain", "--objective", "gpt"],
    "translate": ["finetune", "--task", "translate", "-s", "en", "-t", "de"],
    "backtranslate": ["finetune", "--task", "backtranslate", "--langs", "en,de"],
}
"""The training commands that are measured, by the name of their row in the table."""

WRITE_BLOCK = 1 << 20
"""The number of rows that are written to a data folder at a time."""
ROWS_PER_DOCUMENT = 16
"""The number of rows of each document; it divides WRITE_BLOCK."""
IMPORT_TORCH = "import torch; print('imported')"
FIRST_UPDATE = " targets/s"
"""What the line of a training command about its first update contains."""


def make_vocabulary_folder(folder: Path) -> Path:
    """Preprocess masscli's sample text, and return the data folder, whose vocabulary the others share."""
    text = folder / "demo"
    demo.write(text)
    data = folder / "demo-bin"
    command = [
        "preprocess",
        "--langs",
        "en,de",
        "--trainpref",
        text / "train",
        "--validpref",
        text / "valid",
    ]
    run_until(
        ["-m", "masscli", *command, "--vocab-size", "400", "--destdir", data],
        "vocabulary of",
    )
    return data


def make_folder(vocabulary: Path, folder: Path, rows: int) -> None:
    """Write a data folder of `rows` random pairs of sentences, with the vocabulary of another folder."""
    source = DataFolder.open(vocabulary)
    folder.mkdir()
    for path in vocabulary.iterdir():
        if path.name != "manifest.json" and not path.name.startswith((".", "train.")):
            os.link(path, folder / path.name)
    columns = []
    for language in ("en", "de"):
        columns.append(_write_column(folder, f"train.en-de.{language}", rows, source))
    replaced = {column.name: column for column in columns}
    files = [
        file for file in source.manifest.files if not file.name.startswith("train.")
    ]
    for column in columns:
        for shard in column.shards:
            for suffix in (".bin", ".idx"):
                path = folder / f"{shard.name}{suffix}"
                files.append(
                    FileEntry(
                        name=path.name, size=path.stat().st_size, sha256=sha256_of(path)
                    )
                )
    replace(
        source.manifest,
        columns=tuple(
            replaced.get(column.name, column) for column in source.manifest.columns
        ),
        files=tuple(files),
    ).write(folder)
    DataFolder.open(folder).verify()


def _write_column(
    folder: Path, name: str, rows: int, source: DataFolder
) -> ColumnEntry:
    """Write a column of random rows of 3 to 20 pieces, and return its entry for the manifest."""
    rng = np.random.default_rng(1)
    writer = ColumnWriter(
        folder / name, "ids", "<u2", source.vocab.fingerprint, 256 << 20
    )
    for start in range(0, rows, WRITE_BLOCK):
        lengths = rng.integers(3, 21, min(WRITE_BLOCK, rows - start)).astype(np.int32)
        values = rng.integers(
            source.vocab.size // 2, source.vocab.size, lengths.sum(), dtype=np.uint16
        )
        writer.append(
            RowBlock(values, lengths), range(0, len(lengths), ROWS_PER_DOCUMENT)
        )
    shards = writer.finish()
    for path in [*folder.glob(f"{name}*.len"), *folder.glob(f"{name}*.doc")]:
        path.unlink()
    entries = [
        ShardEntry(name=shard.file, rows=shard.rows, values=shard.values)
        for shard in shards
    ]
    return ColumnEntry(name=name, kind="ids", shards=tuple(entries))


class Start(NamedTuple):
    """The start of a command, up to the line that was waited for."""

    seconds: float
    """Seconds from the start of the process."""
    cpu_seconds: float
    """Seconds of CPU time that the process has used, in all its threads."""
    memory: float
    """Largest resident memory of the process until its end, in MB."""


def run_until(args: Sequence[object], sign: str, text: str = "") -> Start:
    """Run a Python command, and measure its start up to the first line of its output that contains `sign`.

    `text` is its standard input. Standard output and standard error are read together. The process is then
    left to end by itself; if it fails, so does this program.
    """
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(text)
    process.stdin.close()
    lines = []
    seconds = cpu_seconds = 0.0
    for line in process.stdout:
        lines.append(line)
        if sign in line and not seconds:
            seconds = time.perf_counter() - started
            cpu_seconds = _cpu_seconds(process.pid)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode or not seconds:
        sys.exit("".join(lines))
    return Start(seconds, cpu_seconds, usage.ru_maxrss / 1000)


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a running process in seconds, from the fields 14 and 15 of /proc/PID/stat."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(args: Sequence[object], sign: str, repetitions: int) -> Start:
    """Return the medians of the time until `sign` beyond torch's import, and the largest memory."""
    starts, imports = [], []
    for _ in range(repetitions):
        imports.append(run_until(["-c", IMPORT_TORCH], "imported"))
        starts.append(run_until(["-m", "masscli", *args], sign))
    return Start(
        statistics.median(
            a.seconds - b.seconds for a, b in zip(starts, imports, strict=True)
        ),
        statistics.median(
            a.cpu_seconds - b.cpu_seconds for a, b in zip(starts, imports, strict=True)
        ),
        max(start.memory for start in starts),
    )


def main() -> None:
    """Measure the commands and numbers of rows that the command line names, and print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", default="100000,1000000,10000000", metavar="N,N,...")
    parser.add_argument("--only", default=",".join(COMMANDS), metavar="NAME,NAME,...")
    parser.add_argument("--repetitions", type=int, default=3, metavar="N")
    parser.add_argument(
        "--folder", type=Path, metavar="FOLDER", help="where data folders are made"
    )
    args = parser.parse_args()
    numbers = [int(number) for number in args.rows.split(",")]
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        vocabulary = make_vocabulary_folder(folder)
        # As on a user's machine, compiled modules are kept; here they do not lie among the sources.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "pycache")
        run_until(["-c", IMPORT_TORCH], "imported")
        alone = run_until(["-c", IMPORT_TORCH], "imported")
        print(f"import torch: {alone.seconds:.2f} s, {alone.memory:.0f} MB")
        print(
            f"{'command':<14} {'rows':>11} {'seconds':>8} {'CPU':>6} {'memory (MB)':>12} "
            f"{'first CPU':>11}",
            flush=True,
        )
        for rows in numbers:
            data = folder / str(rows)
            make_folder(vocabulary, data, rows)
            for command in args.only.split(","):
                line = [
                    *COMMANDS[command],
                    data,
                    *MODEL.split(),
                    "--save-dir",
                    folder / "run",
                ]
                # Compiles the modules that this command is the first to import, and stores sentence pairs.
                first = run_until(["-m", "masscli", *line], FIRST_UPDATE)
                start = measure(line, FIRST_UPDATE, args.repetitions)
                print(
                    f"{command:<14} {rows:>11,} {start.seconds:>8.2f} {start.cpu_seconds:>6.2f} "
                    f"{start.memory:>12.0f} {first.cpu_seconds:>11.2f}",
                    flush=True,
                )
            shutil.rmtree(data)


if __name__ == "__main__":
    main()
