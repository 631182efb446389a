"""The steps of `masscli preprocess`, from text to a data folder.

    scan      read every input once: checksum, UTF-8, number of lines; encoding starts if all are valid
    survey    find repeats and held-out lines, make profiles of the languages -> survey.npz
    sample    choose lines for the vocabulary and train it -> vocab.model, tokenizer.json
    encode    encode chunks, in order, with any number of workers -> *.bin, and periodically resume.json
    publish   write manifest.json, then move all files into place, the manifest last

Everything is written to the folder `.partial` inside the data folder until it is published.
When a run is killed at any moment, the same command resumes it. The bytes of the result depend only on the
text and the settings.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import sentencepiece

from masscli.core.atomic_files import flush_to_disk
from masscli.core.errors import MasscliError
from masscli.core.files import require_unchanged
from masscli.data.prepare.chunks import bytes_in_chunks, cut_chunks, text_bytes
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.drop_reasons import OPTION_OF_REASON
from masscli.data.prepare.encode_tables import EncodedTable, encode_table
from masscli.data.prepare.encoding import ChunkTask, encode_chunk
from masscli.data.prepare.filters import needs_survey, write_survey
from masscli.data.prepare.folder_contents import (
    column_entries,
    file_entries,
    input_entries,
    pair_entries,
    text_entries,
)
from masscli.data.prepare.input_fingerprint import input_fingerprint, input_settings
from masscli.data.prepare.input_scan import copy_stdin, scan_files
from masscli.data.prepare.inputs import find_inputs
from masscli.data.prepare.progress import ProgressReporter
from masscli.data.prepare.publish import is_up_to_date, locked, publish, remove_partial
from masscli.data.prepare.requested_inputs import RequestedInputs
from masscli.data.prepare.resume_state import RESUME_FILE, ResumeState
from masscli.data.prepare.shard_builder import (
    DROPPED_FILE,
    ShardBuilder,
    smallest_ids_dtype,
)
from masscli.data.prepare.table_text import bad_rows_of
from masscli.data.prepare.text_groups import (
    TextGroup,
    group_files,
    identical_sides,
    repeated_texts,
)
from masscli.data.prepare.vocabulary_sample import make_vocabulary, training_files
from masscli.data.prepare.vocabulary_warnings import vocabulary_warnings
from masscli.data.prepare.worker_pool import WorkerPool
from masscli.data.storage.column_writer import ResumeError
from masscli.data.storage.manifest import (
    FORMAT,
    MANIFEST_FILE,
    PARTIAL_FOLDER,
    ColumnEntry,
    FilterStats,
    Manifest,
)
from masscli.text.corpus import STDIN_COPY, FileScan
from masscli.text.single_line import one_cell
from masscli.text.tokenizer import Tokenizer
from masscli.text.tokenizer_card import MODEL_FILE, TOKENIZER_FILE
from masscli.text.vocabulary import Vocabulary
from masscli.version import __version__

SECONDS_BETWEEN_STATES = 2.0
"""Minimum time in seconds between two writes of the resume state."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a run, with its manifest and its duration.

    `fresh` is false if the data folder was up to date already, and nothing was encoded.
    """

    manifest: Manifest
    fresh: bool
    size: int
    """The number of bytes of input text."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """The options, inputs and tools of one run of `masscli preprocess`, constant during the run."""

    config: PreprocessConfig
    inputs: RequestedInputs
    groups: tuple[TextGroup, ...]
    scans: Mapping[Path, FileScan]
    folder: Path
    """The folder `.partial` for unfinished work."""
    input_fingerprint: str
    settings: dict[str, str]
    pool: WorkerPool
    progress: ProgressReporter

    @property
    def max_shard_bytes(self) -> int:
        """Size of the largest shard in bytes."""
        return self.config.shard_size << 20

    @property
    def key(self) -> str:
        """A string that is the same for two runs only if their encoded text has the same bytes.

        It names the input (text and settings) and the versions of masscli and SentencePiece, since another
        version might write other bytes, which must not be mixed with these.
        """
        return f"{self.input_fingerprint} {__version__} {sentencepiece.__version__}"

    def require_unchanged_inputs(self) -> None:
        """Raise MasscliError if an input file has changed since it was scanned."""
        require_unchanged({path: scan.state for path, scan in self.scans.items()})

    def scans_of(self, group: TextGroup) -> list[FileScan]:
        """Return the scan of each file of a group, in the order of its sides."""
        return [self.scans[path] for path in group.paths]


def preprocess(config: PreprocessConfig, progress: ProgressReporter) -> Outcome:
    """Make the data folder that `config` describes, or find that it is up to date; return the outcome.

    Raises MasscliError if the input is at fault, if another process writes to the folder, or if the folder is
    damaged or holds other data, unless `config.overwrite` is set.
    """
    started = time.monotonic()
    with scanned(config, progress) as run:
        # The same text and settings give the same folder, so that there may be nothing to do.
        is_fresh = not is_up_to_date(
            config.destdir, run.input_fingerprint, config.overwrite
        )
        if is_fresh:
            try:
                _fill_partial_folder(run)
                publish(run.folder, config.destdir)
            except KeyboardInterrupt:
                if (run.folder / RESUME_FILE).exists():
                    progress.note("the same command continues from here")
                raise
        remove_partial(config.destdir)
        size = text_bytes(run.scans.values())
        return Outcome(
            Manifest.read(config.destdir), is_fresh, size, time.monotonic() - started
        )


# -- scan --


@contextmanager
def scanned(config: PreprocessConfig, progress: ProgressReporter) -> Iterator[Run]:
    """Lock the data folder, start the workers, read every input once, and yield the `Run` that results.

    The lock and the workers last as long as the `with` block. Raises MasscliError if an option makes no
    sense, if an input cannot be read, or if another process writes to the folder.
    """
    # Errors in the options are found before a folder is created.
    inputs = find_inputs(config)
    with locked(config.destdir), WorkerPool(config.workers) as pool:
        inputs = copy_stdin(inputs, config.destdir / STDIN_COPY)
        scans = scan_files(inputs, pool, progress)
        # Only the scans tell which files have the same content.
        groups = group_files(inputs, scans)
        for first, second in identical_sides(groups, scans):
            progress.warn(
                f"{first} and {second} are the same text: is one of them the wrong file?"
            )
        for first, second, language in repeated_texts(
            groups, scans, config.pairs_as_mono
        ):
            progress.warn(
                f"{first} and {second} are the same text, which counts twice as {language}"
            )
        settings = input_settings(config)
        yield Run(
            config=config,
            inputs=inputs,
            groups=groups,
            scans=scans,
            folder=config.destdir / PARTIAL_FOLDER,
            input_fingerprint=input_fingerprint(settings, inputs, groups, scans),
            settings=settings,
            pool=pool,
            progress=progress,
        )


# -- survey, sample, encode --


def _fill_partial_folder(run: Run) -> None:
    """Fill the folder `.partial` with all files of the data folder, the manifest included.

    It continues from the state of an interrupted run if there is one that fits.
    """
    folder = run.folder
    # A run that was killed while it was published has nothing left to encode.
    if _is_complete(folder, run.input_fingerprint):
        return
    state = ResumeState.read(folder, run.key)
    if state is not None:
        run.progress.note(
            f"continuing an earlier run, {_bytes_done(run, state) / 1e6:,.1f} MB are done"
        )
        try:
            _encode(run, state)
            return
        except ResumeError:
            run.progress.warn("files of the earlier run are damaged, starting over")
    prepare_encoding(run)
    state = ResumeState(key=run.key, writers={})
    state.write(folder)
    _encode(run, state)


def _is_complete(folder: Path, input_fingerprint: str) -> bool:
    """Return whether the manifest in a folder of partial work is that of the input with this fingerprint.

    A manifest that is damaged gives False: the next run writes it again.
    """
    if not (folder / MANIFEST_FILE).is_file():
        return False
    try:
        return Manifest.read(folder).input_fingerprint == input_fingerprint
    except MasscliError:
        return False


def prepare_encoding(run: Run) -> None:
    """Empty the folder of partial work, and write what encoding needs: the vocabulary and the survey.

    The survey (see `filters`) is written only if it is needed.
    """
    shutil.rmtree(run.folder, ignore_errors=True)
    run.folder.mkdir(parents=True)
    started = time.monotonic()
    tokenizer, origin = make_vocabulary(
        run.inputs, run.groups, run.scans, run.config, run.folder, run.pool
    )
    seconds = time.monotonic() - started
    run.progress.note(
        f"vocabulary of {tokenizer.vocab.size} pieces {origin} in {seconds:.1f} s"
    )
    files = training_files(run.groups, run.scans, run.inputs.languages)
    # A vocabulary that is not adopted was trained on these files.
    is_given = origin == "adopted"
    for warning in vocabulary_warnings(run.config, files, tokenizer, is_given):
        run.progress.warn(warning)
    if needs_survey(run.config, run.groups):
        write_survey(run.groups, run.scans, run.config, run.folder)


def _encode(run: Run, state: ResumeState) -> None:
    """Encode the text after `state`, and all labeled examples, and write the manifest."""
    tokenizer = Tokenizer.load(run.folder)
    state = _encode_text(run, state, tokenizer)
    tables = _encode_tables(run, state, tokenizer)
    run.require_unchanged_inputs()
    columns = list(column_entries(run.groups, state.writers))
    for encoded in tables:
        columns += encoded.columns
    manifest = replace(
        describe_inputs(run, tokenizer.vocab.fingerprint),
        tables=tuple(encoded.table for encoded in tables),
    )
    complete_manifest(manifest, run.groups, state, columns, run.folder).write(
        run.folder
    )


def _encode_tables(
    run: Run, state: ResumeState, tokenizer: Tokenizer
) -> list[EncodedTable]:
    """Encode all labeled examples, and add the rows that are skipped to the log of dropped lines.

    `state` is that of the encoded text. Raises MasscliError for rows that cannot be read and may not be
    skipped, and for a column of --check-columns that no table has.
    """
    ids_dtype = smallest_ids_dtype(tokenizer.vocab)
    tables = []
    checked: set[str] = set()
    # A run that was killed here has logged bad rows already, and will log them again.
    with open(run.folder / DROPPED_FILE, "r+b") as log:
        log.seek(state.dropped_bytes)
        log.truncate()
        for labeled in run.inputs.tables:
            bad_rows = bad_rows_of(labeled, run.config)
            encoded = encode_table(
                labeled,
                run.inputs.table_language,
                tokenizer,
                run.folder,
                ids_dtype,
                run.max_shard_bytes,
                bad_rows,
            )
            file = encoded.table.path
            if bad_rows.unread:
                run.progress.note(f"{file}: not read: {bad_rows.unread_text()}")
            for doubt in bad_rows.doubts:
                run.progress.warn(doubt)
            for row in bad_rows.skipped:
                name = f"{labeled.split}.{labeled.table}"
                log.write(
                    f"{name}\t{row.line}\t{one_cell(row.reason)}\t{row.path}\n".encode()
                )
            tables.append(encoded)
            checked |= bad_rows.checked
        flush_to_disk(log)
    # Which columns there are is known only when all tables have been read.
    _require_checked(run.config, checked)
    return tables


def _require_checked(config: PreprocessConfig, checked: Set[str]) -> None:
    """Raise MasscliError if a column of --check-columns is not among those that were found and checked."""
    for check in config.column_checks:
        if check.column not in checked:
            raise MasscliError(
                f"--check-columns {check.column}: no training or validation table has this column",
                "is its name misspelled?",
            )


def describe_inputs(run: Run, vocab_fingerprint: str) -> Manifest:
    """Return the manifest of a run as far as it is known before anything is encoded.

    Columns, files, pairs, tables and statistics are still empty.
    """
    return Manifest(
        format=FORMAT,
        input_fingerprint=run.input_fingerprint,
        vocab_fingerprint=vocab_fingerprint,
        languages=run.inputs.languages,
        pairs=run.inputs.pairs,
        pairs_as_mono=run.config.pairs_as_mono,
        settings=run.settings,
        inputs=input_entries(run.groups, run.inputs.tables, run.scans),
        filter_stats=(),
        columns=(),
        texts=text_entries(run.groups),
        aligned=(),
        files=(),
    )


def complete_manifest(
    manifest: Manifest,
    groups: Sequence[TextGroup],
    state: ResumeState,
    columns: Sequence[ColumnEntry],
    folder: Path,
) -> Manifest:
    """Return a copy of the manifest with the entries that are known only when everything has been encoded.

    These are the statistics, columns, pairs and files; `folder` is where the files are.
    """
    return replace(
        manifest,
        filter_stats=state.filter_stats,
        columns=tuple(columns),
        aligned=pair_entries(groups, state.writers),
        files=file_entries(folder, columns, [MODEL_FILE, TOKENIZER_FILE, DROPPED_FILE]),
    )


def _encode_text(run: Run, state: ResumeState, tokenizer: Tokenizer) -> ResumeState:
    """Encode the text of all groups that comes after `state`, and return the final state.

    Raises MasscliError if no line of a training set was kept.
    """
    total = 0
    for group in run.groups:
        total += text_bytes(run.scans_of(group))
    run.progress.start("encoding", total)
    run.progress.advance(_bytes_done(run, state))
    last_written = time.monotonic()
    with ShardBuilder(
        run.folder, run.groups, tokenizer.vocab, run.max_shard_bytes, state
    ) as builder:
        tasks = chunk_tasks(run, tokenizer.vocab, state.group, state.chunks)
        for chunk in run.pool.map(encode_chunk, tasks):
            builder.add(chunk)
            run.progress.advance(chunk.size)
            # Writing the state waits for the disk, so it is not done for every chunk.
            if time.monotonic() - last_written > SECONDS_BETWEEN_STATES:
                builder.state().write(run.folder)
                last_written = time.monotonic()
        state = builder.finish()
    check_lines_are_left(state)
    return state


def chunk_tasks(
    run: Run, vocab: Vocabulary, first_group: int = 0, skip: int = 0
) -> Iterator[ChunkTask]:
    """Yield a task for every chunk of the groups from number `first_group` on.

    The first `skip` chunks of that first group are left out.
    """
    # A survey of an earlier run must not be mistaken for that of this one.
    survey_key = ""
    if needs_survey(run.config, run.groups):
        survey_key = run.input_fingerprint
    ids_dtype = smallest_ids_dtype(vocab)
    for group in run.groups[first_group:]:
        for ranges in cut_chunks(run.scans_of(group), skip):
            yield ChunkTask(
                group,
                ranges,
                run.config,
                run.folder,
                vocab.fingerprint,
                ids_dtype,
                survey_key,
            )
        skip = 0


def _bytes_done(run: Run, state: ResumeState) -> int:
    """Return how many bytes of text have been encoded when a run has reached `state`."""
    if not run.groups:
        return 0
    done = 0
    for group in run.groups[: state.group]:
        done += text_bytes(run.scans_of(group))
    return done + bytes_in_chunks(run.scans_of(run.groups[state.group]), state.chunks)


def check_lines_are_left(state: ResumeState) -> None:
    """Raise MasscliError if every line of a training pair or text was dropped."""
    for stats in state.filter_stats:
        if stats.group.startswith("train.") and not stats.kept:
            reasons = [f"{count} {reason}" for reason, count in stats.dropped.items()]
            shown = ", ".join(reasons) or "all blank"
            raise MasscliError(
                f"{stats.group}: no line of {stats.lines:,} was kept ({shown})",
                _advice(stats),
            )


def _advice(stats: FilterStats) -> str | None:
    """Return a hint that names the options because of which lines were dropped, or None if there are none."""
    options = [
        OPTION_OF_REASON[label] for label in stats.dropped if label in OPTION_OF_REASON
    ]
    if not options:
        return None
    return f"see {' and '.join(options)}"
