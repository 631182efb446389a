"""Sample the lines for a vocabulary, and train or extend the vocabulary with them.

Languages (for an extension, the new ones) get equal shares of --vocab-sentences (what a small language
cannot use goes to the others), and together about `MAX_BYTES` bytes at most. The running text of tables
is added to these: at most --vocab-sentences lines of it. Within a language, every line of every
training file is equally likely to be chosen; of files with the same content only the first is used. The
sample depends only on the seed and the text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.data.prepare.chunks import LineRange, cut_chunks, text_bytes
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.requested_inputs import RequestedInputs
from masscli.data.prepare.table_text import training_lines
from masscli.data.prepare.text_groups import TextGroup
from masscli.data.prepare.worker_pool import WorkerPool
from masscli.text.corpus import FileScan
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.vocabulary_extension import extend_vocabulary, load_to_extend

MAX_BYTES = 64 << 20
"""Number of bytes of text, estimated, above which the sample for a vocabulary is reduced."""


@dataclass(frozen=True, slots=True)
class SampledLines:
    """Lines of one range of a file to train the vocabulary on.

    `rows` are the sampled lines, counted from the first line of the range; None takes all.
    """

    line_range: LineRange
    language: str
    rows: NDArray[np.int64] | None
    preprocessing: TextPreprocessing


def make_vocabulary(
    inputs: RequestedInputs,
    groups: Sequence[TextGroup],
    scans: Mapping[Path, FileScan],
    config: PreprocessConfig,
    folder: Path,
    pool: WorkerPool,
) -> tuple[Tokenizer, str]:
    """Adopt the vocabulary that the options name, extend it or train one; also say which it was.

    The result is the tokenizer, which is written to `folder`, and `adopted`, `trained`, or `extended` with
    what was added. It is trained on a sample of the training text, and on running text of labeled examples.
    Raises MasscliError if there is neither to learn from.
    """
    adopted = _adopt(inputs.languages, config, folder)
    if adopted is not None:
        return adopted, "adopted"
    old = None
    preprocessing = config.preprocessing
    languages = inputs.languages
    if config.extend:
        old = load_to_extend(config.extend, preprocessing, languages)
        languages = tuple(
            language for language in languages if language not in old.vocab.languages
        )
        # New text is preprocessed as the old was. Only the treatment of Romanian may be chosen, if it
        # is new.
        romanian = config.romanian if "ro" in languages else old.preprocessing.romanian
        preprocessing = replace(old.preprocessing, romanian=romanian)
    lines = _read_lines(
        inputs, training_files(groups, scans, languages), preprocessing, config, pool
    )
    if old is not None:
        return _extend(old, lines, languages, config, folder)
    tokenizer = Tokenizer.train(
        iter(lines),
        vocab_size=config.vocab_size,
        character_coverage=config.character_coverage,
        preprocessing=preprocessing,
        languages=languages,
        folder=folder,
    )
    return tokenizer, "trained"


def _adopt(
    languages: Sequence[str], config: PreprocessConfig, folder: Path
) -> Tokenizer | None:
    """Return the tokenizer of --spm-model or --bpe-codes, written to `folder`; None without these options."""
    if config.spm_model:
        return Tokenizer.from_model_file(
            config.spm_model,
            preprocessing=config.preprocessing,
            languages=languages,
            folder=folder,
        )
    if config.bpe_codes and config.bpe_vocab:
        return Tokenizer.from_bpe_codes(
            config.bpe_codes,
            config.bpe_vocab,
            min_count=config.bpe_min_count,
            preprocessing=config.preprocessing,
            languages=languages,
            folder=folder,
        )
    return None


def _read_lines(
    inputs: RequestedInputs,
    files: Mapping[str, Sequence[FileScan]],
    preprocessing: TextPreprocessing,
    config: PreprocessConfig,
    pool: WorkerPool,
) -> list[str]:
    """Return the sampled lines of the training files of each language, and of tables, preprocessed.

    Tables are left out if `files` does not have their language. Raises MasscliError if there is no line,
    unless --extend adds only languages (--new-pieces 0).
    """
    # All lines are read before training: SentencePiece would hide an error that an iterator raises.
    lines: list[str] = []
    if any(files.values()):
        for block in pool.map(read_sample, _sample_lines(files, preprocessing, config)):
            lines += block
    if inputs.table_language in files:
        table_lines = training_lines(
            inputs.tables, config.vocab_sentences, config.seed, config
        )
        lines += preprocessing.apply(table_lines, inputs.table_language)
    if lines or (config.extend and not config.new_pieces):
        return lines
    if config.extend:
        raise MasscliError(
            f"--extend: there is no training text of {', '.join(files)} to learn pieces from",
            "give some with --trainpref or --mono, or add only the language with --new-pieces 0",
        )
    raise MasscliError(
        "there is no training text to make a vocabulary from",
        "give --trainpref, --mono or --spm-model",
    )


def _extend(
    old: Tokenizer,
    lines: Sequence[str],
    languages: Sequence[str],
    config: PreprocessConfig,
    folder: Path,
) -> tuple[Tokenizer, str]:
    """Extend a vocabulary by languages, and by pieces for their lines, which are preprocessed.

    Return the tokenizer, which is written to `folder`, and a text that says what was added.
    """
    tokenizer, report = extend_vocabulary(
        old,
        lines,
        languages,
        config.new_pieces,
        config.character_coverage,
        config.romanian,
    )
    tokenizer.save(folder)
    before, now = report.pieces_per_word_before, report.pieces_per_word_after
    added = (
        f"extended from {old.vocab.size} by {', '.join(languages)}, "
        f"{count_of(report.characters, 'character')} and "
        f"{count_of(report.merged_pieces, 'merged piece')} "
        f"({before:.2f} pieces a word of the new text, now {now:.2f})"
    )
    return tokenizer, added


def read_sample(sample: SampledLines) -> list[str]:
    """Read the sampled lines, and return those that are not blank, preprocessed."""
    lines = sample.line_range.lines()
    if sample.rows is not None:
        lines = [lines[row] for row in sample.rows.tolist()]
    lines = [line for line in lines if line.strip()]
    return list(sample.preprocessing.apply(lines, sample.language))


def training_files(
    groups: Sequence[TextGroup],
    scans: Mapping[Path, FileScan],
    languages: Sequence[str],
) -> dict[str, list[FileScan]]:
    """Return the scans of the training files of each of `languages`; files of others are left out.

    Of several files of a language with the same content only the first is taken.
    """
    files: dict[str, list[FileScan]] = {language: [] for language in languages}
    # The same file is often part of a pair and monolingual text too.
    seen: set[tuple[str, str]] = set()
    for group in groups:
        if not group.is_training:
            continue
        for language, path in zip(group.languages, group.paths, strict=True):
            scan = scans[path]
            if language in files and (language, scan.sha256) not in seen:
                seen.add((language, scan.sha256))
                files[language].append(scan)
    return files


def lines_per_language(
    files: Mapping[str, Sequence[FileScan]], max_lines: int
) -> dict[str, int]:
    """Return how many lines to sample from each language: at most `max_lines` in all, but one of each.

    The shares are equal, but a language that has fewer lines leaves the rest to the others. If the sample
    would be more than MAX_BYTES of text, all shares are reduced by the same factor. Languages without files
    are left out.
    """
    available = {
        language: _count_lines(scans) for language, scans in files.items() if scans
    }
    shares: dict[str, int] = {}
    # The smallest language comes first, so that the others share what it does not use.
    for language in sorted(available, key=lambda name: (available[name], name)):
        equal_share = (max_lines - sum(shares.values())) // (
            len(available) - len(shares)
        )
        shares[language] = min(available[language], equal_share)
    # Estimate the bytes from the mean length of a line, and shrink all shares if they are too many.
    size = 0.0
    for language, count in shares.items():
        size += count * text_bytes(files[language]) / available[language]
    factor = min(1.0, MAX_BYTES / size)
    # However small a share, its language keeps a line.
    return {language: max(1, int(count * factor)) for language, count in shares.items()}


def _sample_lines(
    files: Mapping[str, Sequence[FileScan]],
    preprocessing: TextPreprocessing,
    config: PreprocessConfig,
) -> Iterator[SampledLines]:
    """Yield the sampled lines of each chunk that has any, file by file of each language."""
    shares = lines_per_language(files, config.vocab_sentences)
    for number, (language, scans) in enumerate(files.items()):
        if not scans:
            continue
        total = _count_lines(scans)
        # Lines are numbered over all files of the language.
        chosen = None
        if shares[language] < total:
            # The sample of one language does not depend on the samples of the others.
            rng = np.random.default_rng((config.seed, number))
            chosen = np.sort(
                rng.choice(total, shares[language], replace=False, shuffle=False)
            )
        first_line = 0
        for scan in scans:
            for line_range, end in _chunks_with_ends(scan):
                rows = None
                if chosen is not None:
                    rows = _rows_between(
                        chosen, first_line + line_range.first_line, first_line + end
                    )
                # Most chunks of a large corpus have no chosen line, and need not be read.
                if rows is None or len(rows):
                    yield SampledLines(line_range, language, rows, preprocessing)
            first_line += scan.lines


def _count_lines(scans: Sequence[FileScan]) -> int:
    return sum(scan.lines for scan in scans)


def _chunks_with_ends(scan: FileScan) -> Iterator[tuple[LineRange, int]]:
    """Yield each chunk of a file with the number, from 0, of the line that follows it."""
    previous: LineRange | None = None
    for (line_range,) in cut_chunks([scan]):
        if previous is not None:
            yield previous, line_range.first_line
        previous = line_range
    if previous is not None:
        yield previous, scan.lines


def _rows_between(
    chosen: NDArray[np.int64], start: int, stop: int
) -> NDArray[np.int64]:
    """Return those of the sorted line numbers `chosen` from `start` to `stop` - 1, minus `start`."""
    low, high = np.searchsorted(chosen, [start, stop])
    rows: NDArray[np.int64] = chosen[low:high] - start
    return rows
