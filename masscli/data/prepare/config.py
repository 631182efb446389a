"""The options of `masscli preprocess`. This module imports nothing heavy, so that --help is fast."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import (
    Flags,
    UnusedOption,
    at_least,
    at_most,
    check,
    config,
    each_once,
    not_negative,
    positive,
)
from masscli.core.config.rules import MAX_WORKERS
from masscli.data.formats.column_checks import ColumnCheck, parse_column_check
from masscli.text.preprocessing import TextPreprocessing

MIN_CHARACTER_COVERAGE = 0.9
MAX_PIECES = 2**24
"""Maximum size of a vocabulary that can be trained."""


@config
class PreprocessConfig:
    """Turn text into shards."""

    langs: Annotated[tuple[str, ...], Flags("-l")] = ()
    """Languages, such as en,de (default: those of --source-lang and --target-lang, or else of --mono, or else
    of the vocabulary that --spm-model names)."""
    source_lang: Annotated[str | None, Flags("-s")] = None
    """Source language. It becomes the first of --langs."""
    target_lang: Annotated[str | None, Flags("-t")] = None
    """Target language. It becomes the second of --langs."""
    trainpref: Path | None = None
    """Prefix of aligned training files, which are called PREFIX.LANG, or PREFIX.SRC-TGT.LANG if each
    pair has its own. They may be compressed (.gz, .xz, .zst)."""
    validpref: Path | None = None
    """Prefix of aligned validation files. Several prefixes, separated by commas, become valid, valid1, ..."""
    testpref: Path | None = None
    """Prefix of aligned test files. Several prefixes, separated by commas, become test, test1, ..."""
    mono: tuple[str, ...] = ()
    """Monolingual text, as [SPLIT.]LANG=FILE. A blank line ends a document, and - as FILE is standard
    input. SPLIT is train (default), valid or test. Repeatable, or with commas between items; a comma in a
    name is written as '\\,'."""
    tsv: tuple[str, ...] = ()
    """Labeled examples, as [TABLE.]SPLIT=FILE,...: tab-separated values with a header. Quotes are part
    of the text, and column names are case-insensitive. A FILE with the suffix .csv may be separated by
    commas, with quotes around values. Repeatable, like the options for other formats below."""
    jsonl: tuple[str, ...] = ()
    """Labeled examples, as [TABLE.]SPLIT=FILE,...: one JSON object per line (for multiple choice: context,
    choices, label; also CommonsenseQA, ARC and OpenBookQA)."""
    conll: tuple[str, ...] = ()
    """Labeled words, as [TABLE.]SPLIT=FILE,...: one word per line, in columns, and a blank line after each
    sentence. Also CoNLL-U."""
    squad: tuple[str, ...] = ()
    """Extractive question answering, as [TABLE.]SPLIT=FILE,...: the JSON format of SQuAD 1.1 or 2.0, or
    one question per line as the library `datasets` writes them."""
    swag: tuple[str, ...] = ()
    """Multiple choice, as [TABLE.]SPLIT=FILE,... in the format of SWAG: CSV (or .tsv, .jsonl) with the
    columns sent1, sent2, ending0, ending1, ... and label."""
    race: tuple[str, ...] = ()
    """Multiple choice, as [TABLE.]SPLIT=PATH,... in the format of RACE: a folder of .txt files, or a file
    with one object per line. Each object has article, questions, options and answers."""
    dialogues: tuple[str, ...] = ()
    """Dialogues, as [TABLE.]SPLIT=FILE,...: one per line, with turns separated by tabs or, as in
    DailyDialog, by __eou__."""
    aligned: tuple[str, ...] = ()
    """Two aligned files in one language, such as texts and their summaries, as
    [TABLE.]SPLIT=SOURCE:TARGET,..."""
    table_lang: str | None = None
    """Language of labeled examples (default: the first of --langs)."""
    pairs: tuple[str, ...] = ()
    """Pairs to keep, such as en-de,en-fr (default: the first language paired with every other one that
    has aligned files)."""
    pairs_as_mono: bool = True
    """Use each side of a training pair as monolingual text of its language, too."""
    destdir: Path = Path("data-bin")
    """Folder to write."""
    vocab_size: int = 8000
    """Number of pieces of the joint SentencePiece BPE model, including special ones."""
    spm_model: Path | None = None
    """Use this vocabulary instead of training one: a SentencePiece model, or BERT's vocab.txt (with
    --lowercase if it is uncased). Given a data folder or a run, its vocabulary is used with its
    languages and its text preprocessing (such as --lowercase)."""
    bpe_codes: Path | None = None
    """Use these merges of subword-nmt or fastBPE (as XLM and the MASS authors distribute them), with the
    pieces in --bpe-vocab, instead of training a model. Ids are then those of XLM. Add --moses unless the
    text is tokenized already, since such merges expect Moses tokens."""
    bpe_vocab: Path | None = None
    """Pieces of --bpe-codes: PIECE COUNT on each line, as in the vocabularies of fastBPE and subword-nmt
    and in fairseq's dict.txt."""
    bpe_min_count: int = 0
    """Leave out pieces of --bpe-vocab with a lower count, as XLM's --min_count; text is then split into
    shorter pieces, or unknown."""
    extend: Path | None = None
    """Use the vocabulary of this data folder, run or imported checkpoint, and add the languages that it
    lacks and pieces for them, which are learned from their text. All old ids are kept, and text in the
    old languages is split as before, with the same preprocessing (such as --moses). To train a model
    with the old vocabulary further, use --init-from."""
    new_pieces: int = 2000
    """Maximum number of pieces that --extend adds, characters included. With 0 it adds only languages."""
    character_coverage: float = 1.0
    """Share of characters that the vocabulary must cover. The others become unknown pieces."""
    vocab_sentences: int = 2_000_000
    """Maximum number of lines to train the vocabulary on, of at most about 64 MiB, and as many again of
    labeled examples. Languages get equal shares, sampled at random from all of their files; what a
    small language leaves unused goes to the others."""
    normalize: bool = False
    """Normalize punctuation with the rules of Moses."""
    romanian: Literal["commas", "plain"] | None = None
    """What to do with the diacritics of Romanian (ro) text: replace cedillas by commas (commas), or
    remove all diacritics, as papers on WMT16 do (plain) (default: leave them)."""
    moses: bool = False
    """Tokenize with the rules of Moses before SentencePiece. Generated text is detokenized."""
    lowercase: bool = False
    """Lower-case all text."""
    max_len: int = 250
    """Maximum length of a line, in pieces. Longer lines are dropped from training and counted. Labeled
    examples are kept."""
    min_len: Annotated[int, Flags("--min-length")] = 1
    """Minimum length of a line, in pieces. Shorter lines are dropped from training and counted."""
    max_ratio: float = 0.0
    """Drop training pairs whose lengths, in pieces, differ by more than this factor. 0 keeps all."""
    dedup: bool = False
    """Drop training lines that repeat an earlier one exactly. Monolingual lines are compared within their
    language (also with the sides of pairs, unless --no-pairs-as-mono is given), and pairs are compared as a
    whole."""
    drop_copies: bool = False
    """Drop training pairs whose two sides are the same text."""
    drop_held_out: bool = False
    """Drop training lines that are also in valid or test, and pairs with one such side. By default they
    are kept, but counted."""
    filter_lang: bool = False
    """Drop training lines that look like another one of --langs, and pairs with one such side.
    Languages are recognized by the character trigrams of their training text."""
    workers: int = 1
    """Number of processes."""
    shard_size: int = 256
    """Maximum size of a shard, in MiB."""
    bad_rows: Literal["refuse", "skip"] = "refuse"
    """What to do with rows of labeled examples that cannot be read, such as those with an extra
    column: refuse the file, or skip the rows. Skipped rows are counted and listed in dropped.tsv."""
    max_bad_rows: float = 0.01
    """Maximum share of bad rows in a file with --bad-rows skip."""
    check_columns: tuple[str, ...] = ()
    """What columns of training and validation examples must contain, as COLUMN=KIND,...: filled (not
    blank), number, integer, or the labels themselves, such as yes|no. A row that violates this is a bad
    row."""
    part: str | None = None
    """Encode only part K of N (as K/N) of text that is too large for one machine, with a given
    vocabulary. masscli merge-data joins the parts."""
    overwrite: bool = False
    """Replace a data folder that was made from different text or with different settings."""
    seed: int = 1
    """Random seed for the sample of lines that the vocabulary is trained on."""

    @property
    def preprocessing(self) -> TextPreprocessing:
        """How text is normalized and tokenized before it is split into pieces."""
        return TextPreprocessing(
            self.normalize, self.moses, self.lowercase, self.romanian
        )

    @property
    def part_numbers(self) -> tuple[int, int]:
        """K and N of the option `part`; (1, 1), which means all of the text, if it is not given."""
        if self.part is None:
            return 1, 1
        part, parts = map(int, self.part.split("/"))
        return part, parts

    @property
    def _has_tables(self) -> bool:
        """Whether any labeled examples are given."""
        formats = (
            self.tsv,
            self.jsonl,
            self.conll,
            self.squad,
            self.dialogues,
            self.aligned,
            self.swag,
            self.race,
        )
        return any(formats)

    @property
    def column_checks(self) -> tuple[ColumnCheck, ...]:
        """The checks of --check-columns. Raises ValueError if one is malformed."""
        return tuple(map(parse_column_check, self.check_columns))

    @property
    def allowed_bad_rows(self) -> float | None:
        """Largest share of bad rows (0 to 1) that may be skipped in a file; None refuses any bad row."""
        if self.bad_rows == "skip":
            return self.max_bad_rows
        return None

    def __post_init__(self) -> None:
        has_codes = self.bpe_codes is not None
        has_code_pieces = self.bpe_vocab is not None
        # Parsed here, so that an error is reported with the others, before any file is read.
        try:
            _ = self.column_checks
        except ValueError as error:
            check((False, "check_columns", str(error)))
        check(
            *each_once(self, langs="language", pairs="pair"),
            (
                self.target_lang is None or self.target_lang != self.source_lang,
                "target_lang",
                "is the source language, too",
            ),
            (
                has_codes == has_code_pieces,
                "",
                "--bpe-codes and --bpe-vocab go together",
            ),
            (
                self.spm_model is None or not has_codes,
                "",
                "--bpe-codes and --spm-model are two vocabularies: give one of them",
            ),
            (
                self.extend is None or (self.spm_model is None and not has_codes),
                "",
                "--extend names a vocabulary, as --spm-model and --bpe-codes do: give one of them",
            ),
            (
                self.part is None or _is_part(self.part),
                "part",
                f"expected K/N, such as 3/64, got {self.part}",
            ),
            # Four special symbols and a letter.
            *at_least(self, 5, "vocab_size"),
            *positive(self, "workers", "shard_size", "vocab_sentences"),
            *positive(self, "max_len"),
            *at_most(self, MAX_PIECES, "vocab_size", "new_pieces"),
            *at_most(self, MAX_WORKERS, "workers"),
            *not_negative(self, "seed", "bpe_min_count", "new_pieces", "min_len"),
            (
                self.min_len <= max(self.max_len, 1),
                "min_len",
                f"must not exceed max_len ({self.max_len}), got {self.min_len}",
            ),
            (
                MIN_CHARACTER_COVERAGE <= self.character_coverage <= 1,
                "character_coverage",
                f"must lie in [{MIN_CHARACTER_COVERAGE}, 1], got {self.character_coverage}",
            ),
            (
                0 <= self.max_bad_rows <= 1,
                "max_bad_rows",
                f"must lie in [0, 1], got {self.max_bad_rows}",
            ),
            (
                self.max_ratio == 0 or self.max_ratio >= 1,
                "max_ratio",
                f"must be 0 or at least 1, got {self.max_ratio}",
            ),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """Rules that say which options have no effect, given the values of the others."""
        is_given = self.spm_model is not None or self.bpe_codes is not None
        options = "vocab_size character_coverage vocab_sentences seed"
        return (
            UnusedOption(
                is_given, options, "the vocabulary is given, and none is trained"
            ),
            UnusedOption(
                self.bpe_codes is None, "bpe_min_count", "there are no --bpe-codes"
            ),
            UnusedOption(self.extend is None, "new_pieces", "there is no --extend"),
            UnusedOption(
                self.extend is not None,
                "vocab_size",
                "--new-pieces says how many pieces --extend adds to those of the old vocabulary",
            ),
            UnusedOption(
                self.bad_rows == "refuse",
                "max_bad_rows",
                "--bad-rows skip is not given",
            ),
            UnusedOption(
                not self._has_tables,
                "check_columns bad_rows max_bad_rows",
                "there are no labeled examples",
            ),
        )


def _is_part(text: str) -> bool:
    """Return whether a text has the form K/N, with 1 <= K <= N and at most six digits each."""
    # Six digits are more than any corpus has parts, and `int` refuses thousands of them.
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
    return match is not None and 1 <= int(match[1]) <= int(match[2])
