"""Choose the lines a vocabulary is trained on, and train it.

Languages get equal shares of --vocab-sentences (what a small one cannot use goes to the others), and at most `MOST` bytes in all; within a
language every line of every training file is as likely as any other.  The choice depends on the seed and the text alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.encoding import Sample, Text, chunks, prepare
from masscli.data.prepare.inputs import Labelled, Part
from masscli.data.prepare.table_text import training_lines
from masscli.data.prepare.worker_pool import Pool
from masscli.text.corpus import FileScan
from masscli.text.moses import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

MOST = 64 << 20


def make_vocabulary(
    parts: Sequence[Part], scans: Mapping[Path, FileScan], languages: Sequence[str], config: PreprocessConfig, folder: Path, pool: Pool,
    tables: Sequence[Labelled] = (), table_language: str = "",
) -> Tokenizer:  # fmt: skip
    """Train a tokenizer on a sample of the training text (and that of labelled examples), or take the one that is given."""
    if config.spm_model:
        return Tokenizer.from_model_file(config.spm_model, config=config, languages=languages, folder=folder)
    if config.bpe_codes and config.bpe_vocab:
        return Tokenizer.from_bpe_codes(
            config.bpe_codes, config.bpe_vocab, config=config, languages=languages, folder=folder
        )
    files = training_files(parts, scans, languages)
    extra = training_lines(tables, config.vocab_sentences, config.seed)
    if not any(files.values()) and not extra:
        raise MasscliError(
            "there is no training text to make a vocabulary from", "give --trainpref, --mono or --spm-model"
        )
    samples = (
        _samples(files, shares(files, config.vocab_sentences), config) if any(files.values()) else iter(())
    )
    lines = [
        line for block in pool.map(prepare, samples) for line in block
    ]  # SentencePiece would hide what goes wrong in an iterator
    lines += TextPreprocessing(config.normalize, config.moses, config.lowercase).apply(extra, table_language)
    return Tokenizer.train(iter(lines), config=config, languages=languages, folder=folder)


def training_files(
    parts: Sequence[Part], scans: Mapping[Path, FileScan], languages: Sequence[str]
) -> dict[str, list[FileScan]]:
    """Every file of training text, once, by language."""
    found: dict[str, dict[str, FileScan]] = {language: {} for language in languages}
    for part in parts:
        if part.split == "train":
            for language, path in zip(part.languages, part.paths, strict=True):
                found[language].setdefault(scans[path].sha256, scans[path])
    return {language: list(files.values()) for language, files in found.items()}


def shares(files: Mapping[str, Sequence[FileScan]], most: int) -> dict[str, int]:
    """How many lines to take of each language."""
    lines = {language: sum(scan.lines for scan in scans) for language, scans in files.items() if scans}
    found: dict[str, int] = {}
    for language in sorted(
        lines, key=lambda name: (lines[name], name)
    ):  # the smallest first: what it leaves, the others share
        found[language] = min(lines[language], (most - sum(found.values())) // (len(lines) - len(found)))
    size = sum(
        n * sum(scan.text_size for scan in files[language]) / lines[language] for language, n in found.items()
    )
    return {language: max(1, int(n * min(1.0, MOST / size))) for language, n in found.items()}


def _samples(
    files: Mapping[str, Sequence[FileScan]], take: Mapping[str, int], config: PreprocessConfig
) -> Iterator[Sample]:
    surface = TextPreprocessing(config.normalize, config.moses, config.lowercase, config.romanian)
    for number, (language, scans) in enumerate(files.items()):
        if not scans:
            continue
        total = sum(scan.lines for scan in scans)
        random = np.random.default_rng((config.seed, number))
        chosen = (
            np.sort(random.choice(total, take[language], replace=False, shuffle=False))
            if take[language] < total
            else None
        )
        first = 0
        for scan in scans:
            for (text,), stop in _with_ends(scan):
                rows = None if chosen is None else _between(chosen, first + text.first, first + stop)
                if rows is None or len(rows):
                    yield Sample(text, language, rows, surface)
            first += scan.lines


def _with_ends(scan: FileScan) -> Iterator[tuple[tuple[Text, ...], int]]:
    """Chunks of a file, each with the number of the line after its last."""
    before: tuple[Text, ...] | None = None
    for texts in chunks([scan]):
        if before is not None:
            yield before, texts[0].first
        before = texts
    if before is not None:
        yield before, scan.lines


def _between(chosen: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    low, high = np.searchsorted(chosen, [start, stop])
    found: NDArray[np.int64] = chosen[low:high] - start
    return found
