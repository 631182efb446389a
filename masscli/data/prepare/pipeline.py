"""`masscli preprocess`: text to a data folder.

    scan      every input once: digest, UTF-8, number of lines   (nothing is encoded before all of it is in order)
    survey    repeats, held-out lines, languages' profiles       -> .partial/survey.npz   (where clean.py has anything to do)
    sample    lines for the vocabulary -> SentencePiece          -> .partial/vocab.model, tokenizer.json
    encode    chunks, in order, by any number of workers         -> .partial/*.bin, and .partial/journal.json now and then
    publish   .partial/manifest.json, then all files to their place, the manifest last

Killed at any moment, the same command goes on from the journal; the bytes of the result depend on the text and the settings only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import sentencepiece

from masscli.core.config import to_dict as plain
from masscli.core.errors import MasscliError
from masscli.core.files import sha256_of
from masscli.data.formats.registry import input_files
from masscli.data.prepare import encoding, filters, publish
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.encode_tables import encode_table
from masscli.data.prepare.encoding import Job
from masscli.data.prepare.inputs import STDIN, Part, Sources, arrange, identical_sides, resolve
from masscli.data.prepare.resume_state import Journal
from masscli.data.prepare.shard_builder import Desk, id_type
from masscli.data.prepare.vocabulary_sample import make_vocabulary
from masscli.data.prepare.worker_pool import Pool
from masscli.data.storage.column_writer import ResumeError
from masscli.data.storage.manifest import FORMAT, MANIFEST_FILE, PARTIAL_FOLDER, Manifest
from masscli.text import bpe_codes, corpus
from masscli.text.corpus import STDIN_COPY, FileScan
from masscli.text.tokenizer import Tokenizer, find_model_file
from masscli.version import __version__

PLACES = {"langs", "source_lang", "target_lang", "trainpref", "validpref", "testpref", "mono", "pairs"}
PLACES |= {
    "tsv",
    "jsonl",
    "conll",
    "squad",
    "dialogues",
    "aligned",
    "swag",
    "race",
    "table_lang",
    "destdir",
    "workers",
    "overwrite",
}
PLACES |= {"spm_model", "bpe_codes", "bpe_vocab"}
"""Options that say where things are; the others decide, with the text, what comes out."""
FILTERS = {"dedup", "drop_copies", "drop_held_out", "filter_lang"}
"""Options that decide nothing where they are off."""
SECONDS_BETWEEN_JOURNALS = 2.0


class Talk(Protocol):
    """Where news go."""

    def note(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def start(self, what: str, total: int) -> None: ...
    def advance(self, amount: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it; `fresh` if something was done."""

    manifest: Manifest
    fresh: bool
    size: int
    seconds: float


def preprocess(config: PreprocessConfig, talk: Talk) -> Outcome:
    """Make the data folder that `config` describes."""
    began = time.monotonic()
    sources = resolve(config)
    with publish.locked(config.destdir), Pool(config.workers) as pool:
        spool = config.destdir / STDIN_COPY
        sources = _spool(sources, spool)
        scans = _scan(sources, pool, talk)
        parts = arrange(sources, scans)
        for a, b in identical_sides(parts, scans):
            talk.warn(f"{a} and {b} are the same text: is one of them the wrong file?")
        settings = _settings(config)
        texts: list[object] = [
            [part.name, part.languages, part.pairs, [scans[path].sha256 for path in part.paths]]
            for part in parts
        ]
        spoken = sources.table_language
        texts += [
            [t.name, t.split, t.kind, spoken, [scans[p].sha256 for p in input_files(t.path, t.kind)]]
            for t in sources.tables
        ]
        key = _key([FORMAT, settings, sources.languages, sources.pairs, texts])
        size = sum(scan.text_size for scan in scans.values())
        fresh = not publish.up_to_date(config.destdir, key, config.overwrite)
        if fresh:
            work = Work(
                config, sources, parts, scans, config.destdir / PARTIAL_FOLDER, key, settings, pool, talk
            )
            publish.publish(_prepare(work), config.destdir)
        publish.clean(config.destdir)
        return Outcome(Manifest.read(config.destdir), fresh, size, time.monotonic() - began)


@dataclass(frozen=True, slots=True)
class Work:
    """All that stays the same during a run."""

    config: PreprocessConfig
    sources: Sources
    parts: tuple[Part, ...]
    scans: Mapping[Path, FileScan]
    folder: Path
    key: str
    settings: dict[str, str]
    pool: Pool
    talk: Talk


def _prepare(work: Work) -> Path:
    """Fill the folder `.partial`, up to and including its manifest."""
    key = f"{work.key} {__version__} {sentencepiece.__version__}"
    if (work.folder / MANIFEST_FILE).is_file() and Manifest.read(work.folder).input_fingerprint == work.key:
        return work.folder
    journal = Journal.read(work.folder, key)
    if journal is not None:
        work.talk.note(f"going on from an earlier run, {_done(work, journal) / 1e6:,.1f} MB are done")
        try:
            return _encode(work, journal)
        except ResumeError:
            work.talk.warn("files of the earlier run are damaged, starting anew")
    shutil.rmtree(work.folder, ignore_errors=True)
    work.folder.mkdir(parents=True)
    began = time.monotonic()
    tables, spoken = work.sources.tables, work.sources.table_language
    tokenizer = make_vocabulary(
        work.parts, work.scans, work.sources.languages, work.config, work.folder, work.pool, tables, spoken
    )
    what = "adopted" if work.config.spm_model or work.config.bpe_codes else "trained"
    work.talk.note(f"vocabulary of {tokenizer.vocab.size} pieces {what} in {time.monotonic() - began:.1f} s")
    if filters.needed(work.config, work.parts):
        filters.survey(work.parts, work.scans, work.config, work.folder)
    journal = Journal(key=key, writers={})
    journal.write(work.folder)
    return _encode(work, journal)


def _encode(work: Work, journal: Journal) -> Path:
    """Encode what is left, and write the manifest."""
    tokenizer = Tokenizer.load(work.folder)
    ids = id_type(tokenizer.vocab)
    journal = _encode_text(work, journal, tokenizer)
    tables = [encode_table(t, work.sources.table_language, tokenizer, work.folder, ids, work.config.shard_size << 20)
              for t in work.sources.tables]  # fmt: skip
    made = publish.contents(
        work.folder, work.parts, journal, [column for table in tables for column in table.columns]
    )
    manifest = Manifest(
        format=FORMAT, input_fingerprint=work.key, vocab_fingerprint=tokenizer.vocab.fingerprint, languages=work.sources.languages, pairs=work.sources.pairs,
        pairs_as_mono=work.config.pairs_as_mono, settings=work.settings, filter_stats=journal.accounts,
        inputs=publish.inputs(work.parts, work.sources.tables, work.scans), columns=made.columns, texts=made.texts, aligned=made.aligned,
        files=made.files, tables=tuple(table.table for table in tables),
    )  # fmt: skip
    manifest.write(work.folder)
    return work.folder


def _encode_text(work: Work, journal: Journal, tokenizer: Tokenizer) -> Journal:
    """Everything that is read line by line."""
    work.talk.start("encoding", sum(work.scans[path].text_size for part in work.parts for path in part.paths))
    work.talk.advance(_done(work, journal))
    written = time.monotonic()
    with Desk(work.folder, work.parts, tokenizer.vocab, work.config.shard_size << 20, journal) as desk:
        for result in work.pool.map(
            encoding.encode, _jobs(work, journal, tokenizer.vocab.fingerprint, desk.dtype)
        ):
            desk.take(result)
            work.talk.advance(result.size)
            if time.monotonic() - written > SECONDS_BETWEEN_JOURNALS:
                desk.journal().write(work.folder)
                written = time.monotonic()
        journal = desk.finish()
    for account in journal.accounts:
        if account.group.startswith("train.") and not account.kept:
            why = ", ".join(f"{count} {reason}" for reason, count in account.dropped.items()) or "all blank"
            raise MasscliError(
                f"{account.group}: not one of {account.lines} lines was kept ({why})",
                "see --min-len and --max-len",
            )
    return journal


def _jobs(work: Work, journal: Journal, fingerprint: str, dtype: str) -> Iterator[Job]:
    surveyed = filters.needed(work.config, work.parts)
    for number, part in enumerate(work.parts[journal.part :]):
        for texts in encoding.chunks(
            [work.scans[path] for path in part.paths], 0 if number else journal.chunks
        ):
            yield Job(part, texts, work.config, work.folder, fingerprint, dtype, work.key if surveyed else "")


def _done(work: Work, journal: Journal) -> int:
    """Bytes of text that are encoded."""
    sizes = [[work.scans[path] for path in part.paths] for part in work.parts]
    whole = sum(scan.text_size for scans in sizes[: journal.part] for scan in scans)
    return whole + (encoding.size_of(sizes[journal.part], journal.chunks) if sizes else 0)


def _scan(sources: Sources, pool: Pool, talk: Talk) -> dict[Path, FileScan]:
    """Read every file once."""
    labelled = [path for table in sources.tables for path in input_files(table.path, table.kind)]
    paths = list(dict.fromkeys([*(path for wanted in sources.wanted for path in wanted.paths), *labelled]))
    found = dict(zip(paths, pool.map(corpus.scan_file, paths), strict=True))
    for scan in found.values():
        if scan.bom:
            talk.note(f"{corpus.display_path(scan.path)}: the byte order mark at its start is left out")
    lines, size = sum(scan.lines for scan in found.values()), sum(scan.text_size for scan in found.values())
    talk.note(f"{len(found)} files, {lines:,} lines, {size / 1e6:,.1f} MB")
    return found


def _spool(sources: Sources, spool: Path) -> Sources:
    """Keep standard input in a file for as long as it is needed: text is read twice."""
    if not any(STDIN in wanted.paths for wanted in sources.wanted):
        return sources
    with open(spool, "wb") as file:
        shutil.copyfileobj(corpus.open_bytes(STDIN), file, corpus.BLOCK_BYTES)
    wanted = (
        replace(w, paths=tuple(spool if path == STDIN else path for path in w.paths)) for w in sources.wanted
    )
    return replace(sources, wanted=tuple(wanted))


def _settings(config: PreprocessConfig) -> dict[str, str]:
    """The options that decide what comes out, in plain words."""
    found = {
        name: json.dumps(value)
        for name, value in plain(config).items()
        if name not in PLACES and (value or name not in FILTERS)
    }
    if config.spm_model:
        try:
            found["spm_model"] = sha256_of(find_model_file(config.spm_model))
        except OSError as error:
            hint = "name a model's file, a data folder or a run"
            raise MasscliError(f"--spm-model {config.spm_model}: {error.strerror}", hint) from None
    if config.bpe_codes and config.bpe_vocab:
        found["bpe_codes"] = hashlib.sha256(
            bpe_codes.read_bpe_files(config.bpe_codes, config.bpe_vocab)
        ).hexdigest()
    return found


def _key(work: Sequence[object]) -> str:
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()
