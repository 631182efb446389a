"""Find the input files that the options of `masscli preprocess` name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masscli.core.config import split_at_commas, suggest
from masscli.core.errors import MasscliError
from masscli.data.formats.registry import input_files
from masscli.data.prepare.config import PreprocessConfig
from masscli.text.corpus import SUFFIXES, is_compressed, missing_file_hint
from masscli.text.stored_vocabulary import stored_languages
from masscli.text.vocabulary_extension import load_to_extend

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class RequestedFiles:
    """Text files of a split to be read together: two for a language pair, one for monolingual text."""

    split: str
    languages: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class LabeledFile:
    """The labeled examples of one split of a table: a path and its format."""

    table: str
    split: str
    format: str
    path: Path

    @property
    def files(self) -> list[Path]:
        """The files that the path stands for; a folder of RACE, for example, has several."""
        return input_files(self.path, self.format)


@dataclass(frozen=True, slots=True)
class RequestedInputs:
    """All input files that the options name, with the languages and pairs; no file has been read yet.

    `table_language` is the language of all tables. `passed_over` are files that are not read, since another
    form of them is: train.en.gz next to train.en.
    """

    languages: tuple[str, ...]
    pairs: tuple[str, ...]
    text: tuple[RequestedFiles, ...]
    tables: tuple[LabeledFile, ...] = ()
    table_language: str = ""
    passed_over: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class _Prefix:
    """The common beginning of the paths of the aligned files of a split; `.LANG` follows it."""

    split: str
    path: Path


def find_inputs(config: PreprocessConfig) -> RequestedInputs:
    """Return the languages, pairs and input files that the options ask for.

    Raises MasscliError if a file is missing, or if an option makes no sense.
    """
    mono = [_parse_mono(entry) for entry in config.mono]
    languages = _find_languages(config, mono)
    if config.extend is not None:
        # Vocabularies that cannot be extended are refused before any text is read.
        load_to_extend(config.extend, config.preprocessing, languages)
    prefixes = _find_prefixes(config)
    tables = _find_tables(config, languages)
    if not prefixes and not mono and not tables:
        raise MasscliError(
            "there is nothing to read",
            "give --trainpref PREFIX (files PREFIX.LANG), --mono LANG=FILE, or --tsv train=FILE",
        )
    mono_languages = set()
    for requested in mono:
        if requested.split == "train":
            mono_languages.add(requested.languages[0])
    pairs = _find_pairs(config, languages, prefixes, mono_languages)
    text = list(mono)
    for prefix in prefixes:
        text += _files_of_pairs(prefix, pairs, mono_languages)
        text += _files_outside_pairs(prefix, pairs, languages)
    read_from_stdin = [requested for requested in mono if requested.paths == (STDIN,)]
    if len(read_from_stdin) > 1:
        raise MasscliError("--mono: standard input (-) can be read only once")
    return RequestedInputs(
        languages=languages,
        pairs=tuple(f"{first}-{second}" for first, second in pairs),
        text=tuple(text),
        tables=tables,
        table_language=_table_language(config, languages, tables),
        passed_over=_passed_over(text[len(mono) :]),
    )


def _passed_over(requested: Sequence[RequestedFiles]) -> tuple[Path, ...]:
    """Return other forms of files found by their prefix that exist next to them.

    A form is plain or compressed text; that which comes first in SUFFIXES is read.
    """
    others = []
    for path in dict.fromkeys(path for files in requested for path in files.paths):
        plain = path.with_suffix("") if is_compressed(path) else path
        for suffix in SUFFIXES:
            form = plain.with_name(plain.name + suffix)
            if form != path and form.is_file():
                others.append(form)
    return tuple(others)


def _parse_mono(entry: str) -> RequestedFiles:
    """Parse `[SPLIT.]LANG=FILE` of --mono; without SPLIT the split is train.

    Raises MasscliError if it has another form, or if there is no such file.
    """
    place, equals, name = entry.partition("=")
    # Names of languages have no dots, so the last one ends the split.
    split, _, language = place.rpartition(".")
    if (
        not equals
        or not language
        or not name
        or not re.fullmatch(r"(train|(valid|test)\d*)?", split)
    ):
        raise MasscliError(
            f"--mono {entry}: expected [SPLIT.]LANG=FILE",
            "such as --mono en=news.en.gz, --mono valid.en=news2016.en",
        )
    path = Path(name)
    if path != STDIN and not path.is_file():
        raise _no_file(f"--mono {entry}", path)
    return RequestedFiles(split or "train", (language,), (path,))


def _find_languages(
    config: PreprocessConfig, mono: Sequence[RequestedFiles]
) -> tuple[str, ...]:
    """Return the languages that the options name, the source language first.

    If they name none, these are the languages of the monolingual files, or else of the given vocabulary.
    Raises MasscliError if there are none, or if a name is not allowed.
    """
    if (config.source_lang is None) != (config.target_lang is None):
        raise MasscliError(
            "--source-lang and --target-lang go together",
            "or name the languages with --langs",
        )
    names = list(config.langs)
    if config.source_lang is not None and config.target_lang is not None:
        names = [config.source_lang, config.target_lang, *names]
    if not names:
        names = [requested.languages[0] for requested in mono]
    if not names and config.spm_model is not None:
        names = _languages_of_model(config.spm_model)
    if not names:
        raise MasscliError(
            "no language is named", "give --langs en, or -s en -t de, or --mono en=FILE"
        )
    languages = tuple(dict.fromkeys(names))
    # Names of languages become parts of file names and of options, where dots, dashes and commas separate
    # them.
    for name in languages:
        if not re.fullmatch(r"\w+", name):
            raise MasscliError(
                f"{name!r} cannot be the name of a language",
                "use letters, digits and _, such as en or pt_BR",
            )
    _check_mono_languages(mono, languages)
    return languages


def _languages_of_model(path: Path) -> list[str]:
    """Return the languages stored with the vocabulary at a path, which may be a data folder or a run.

    A SentencePiece model stores none. Raises MasscliError if nothing exists at the path.
    """
    languages = stored_languages(path)
    if not languages and not path.exists():
        raise MasscliError(f"--spm-model {path}: no such file or folder")
    return list(languages)


def _check_mono_languages(
    mono: Sequence[RequestedFiles], languages: Sequence[str]
) -> None:
    """Raise MasscliError if a file of --mono is in none of `languages`."""
    for requested in mono:
        language = requested.languages[0]
        if language in languages:
            continue
        entry = f"{language}={requested.paths[0]}"
        if requested.split != "train":
            entry = f"{requested.split}.{entry}"
        raise MasscliError(
            f"--mono {entry}: {language!r} is not among the languages{suggest(language, languages)}",
            "add it to --langs",
        )


def _find_prefixes(config: PreprocessConfig) -> list[_Prefix]:
    """Return a prefix of aligned files for each split.

    The first prefix of --validpref is for the split valid and the second for valid1, as in fairseq; likewise
    test.
    """
    options = {
        "train": config.trainpref,
        "valid": config.validpref,
        "test": config.testpref,
    }
    prefixes = []
    for split, value in options.items():
        if not value:
            continue
        # Only held-out text may have several prefixes.
        names = [str(value)] if split == "train" else split_at_commas(str(value))
        for number, name in enumerate(names):
            path = Path(name)
            # There would be nothing before the dot: `.`, `/`, or what follows the last comma of `valid,`.
            if not path.name:
                raise MasscliError(
                    f"--{split}pref {value}: {str(path)!r} is not a prefix of files",
                    "the files of data/train are data/train.LANG",
                )
            prefixes.append(_Prefix(f"{split}{number or ''}", path))
    return prefixes


def _find_tables(
    config: PreprocessConfig, languages: Sequence[str]
) -> tuple[LabeledFile, ...]:
    """Return the files of labeled examples of all formats, those for training first.

    Raises MasscliError if a split of a table is given twice.
    """
    # Each format has a separate option.
    options = {
        "tsv": config.tsv,
        "jsonl": config.jsonl,
        "conll": config.conll,
        "squad": config.squad,
        "dialogues": config.dialogues,
        "aligned": config.aligned,
        "swag": config.swag,
        "race": config.race,
    }
    tables: list[LabeledFile] = []
    names: set[tuple[str, str]] = set()
    for format, entries in options.items():
        for entry in entries:
            labeled = _parse_table(entry, format, languages)
            # Two formats may also name the same table.
            name = (labeled.table, labeled.split)
            if name in names:
                raise MasscliError(
                    f"--{format} {entry}: {labeled.table}.{labeled.split} is given twice",
                    "name the tables: NAME.train=FILE",
                )
            names.add(name)
            tables.append(labeled)
    return tuple(sorted(tables, key=lambda labeled: labeled.split != "train"))


def _parse_table(entry: str, format: str, languages: Sequence[str]) -> LabeledFile:
    """Parse `[TABLE.]SPLIT=FILE` of the option for a format of labeled examples.

    Without TABLE the table is named after its format. A bare FILE, which must not have an equals sign, is
    for training. Raises MasscliError if a name is not allowed, or if a file is missing.
    """
    # The first equals sign, since the path may have others.
    place, equals, name = entry.partition("=")
    if not equals:
        place, name = "train", entry
    table, _, split = place.rpartition(".")
    labeled = LabeledFile(table or format, split, format, Path(name))
    if not re.fullmatch(r"\w+", labeled.table) or not re.fullmatch(
        r"train|(valid|test)\d*", split
    ):
        raise MasscliError(
            f"--{format} {entry}: expected [TABLE.]SPLIT=FILE",
            f"such as --{format} train=FILE,valid=FILE,test=FILE",
        )
    if labeled.table in languages:
        raise MasscliError(
            f"--{format} {entry}: {labeled.table!r} is the name of a language",
            "give the table another name",
        )
    files = labeled.files
    if not files:
        raise MasscliError(
            f"--{format} {entry}: {labeled.path} holds no .txt file",
            "RACE has one for each article",
        )
    for path in files:
        if not path.is_file():
            raise _no_file(f"--{format} {entry}", path)
    return labeled


def _table_language(
    config: PreprocessConfig, languages: Sequence[str], tables: Sequence[LabeledFile]
) -> str:
    """Return the language of labeled examples: that of --table-lang, or else the first language.

    Raises MasscliError if the option is given although there are no labeled examples, or if it names none of
    `languages`.
    """
    language = config.table_lang
    if language is None:
        return languages[0]
    if not tables:
        raise MasscliError(
            f"--table-lang {language}: there are no labeled examples",
            "leave it out, or give --tsv train=FILE",
        )
    if language not in languages:
        raise MasscliError(
            f"--table-lang {language}: is not among the languages{suggest(language, languages)}",
            "add it to --langs",
        )
    return language


def _find_pairs(
    config: PreprocessConfig,
    languages: Sequence[str],
    prefixes: Sequence[_Prefix],
    mono_languages: set[str],
) -> list[tuple[str, str]]:
    """Return the pairs in --pairs, or else the first language with every other one that has aligned files.

    Raises MasscliError if aligned files are expected and missing, unless both languages have monolingual
    text.
    """
    if config.pairs:
        named = [_parse_pair(name, languages) for name in config.pairs]
        for first, second in named:
            # Its text would be stored, and trained on, twice.
            if (second, first) in named:
                raise MasscliError(
                    f"--pairs: {first}-{second} and {second}-{first} are the same pair",
                    "name it once; it serves both directions",
                )
        return named
    pairs = []
    # By default the first language is the one that all others are aligned with.
    first = languages[0]
    for other in languages[1:]:
        if any(_pair_files(prefix.path, first, other) for prefix in prefixes):
            pairs.append((first, other))
        elif prefixes and not {first, other} <= mono_languages:
            # Neither aligned nor monolingual text: a file is missing.
            path = prefixes[0].path
            missing = other
            if _find_file(path, first) is None and first not in mono_languages:
                missing = first
            raise _missing_file(path, missing)
    return pairs


def _parse_pair(name: str, languages: Sequence[str]) -> tuple[str, str]:
    """Return the two languages of a pair, which is written like en-de.

    Raises MasscliError if one of them is not among `languages`, or if they are the same.
    """
    first, _, second = name.partition("-")
    for language in (first, second):
        if language not in languages:
            raise MasscliError(
                f"--pairs {name}: {language!r} is not among the languages ({', '.join(languages)})",
                "a pair looks like en-de",
            )
    if first == second:
        raise MasscliError(f"--pairs {name}: a pair needs two languages")
    return first, second


def _files_of_pairs(
    prefix: _Prefix, pairs: Sequence[tuple[str, str]], mono_languages: set[str]
) -> list[RequestedFiles]:
    """Return the aligned files of each pair under a prefix.

    A training pair is left out if each language without a file has monolingual text. Any other missing file
    raises MasscliError.
    """
    requested = []
    for first, second in pairs:
        files = _pair_files(prefix.path, first, second)
        if files:
            requested.append(RequestedFiles(prefix.split, (first, second), files))
            continue
        # A pair with only monolingual text may be meant for unsupervised translation.
        missing = []
        for language in (first, second):
            if _find_file(prefix.path, language) is None:
                missing.append(language)
        if prefix.split != "train" or not mono_languages.issuperset(missing):
            raise _missing_file(prefix.path, missing[0])
    return requested


def _files_outside_pairs(
    prefix: _Prefix, pairs: Sequence[tuple[str, str]], languages: Sequence[str]
) -> list[RequestedFiles]:
    """Return the files under a prefix of languages that are in no pair, as monolingual text.

    Raises MasscliError if there is only one language, and it has no file.
    """
    requested = []
    for language in languages:
        if any(language in pair for pair in pairs):
            continue
        path = _find_file(prefix.path, language)
        if path:
            requested.append(RequestedFiles(prefix.split, (language,), (path,)))
        elif len(languages) == 1:
            raise _missing_file(prefix.path, language)
    return requested


def _pair_files(prefix: Path, first: str, second: str) -> tuple[Path, Path] | None:
    """Return the files of both languages: PREFIX.SRC-TGT.LANG in either order of SRC and TGT, or PREFIX.LANG.

    Returns None if there is no such pair of files.
    """
    # Files made for this pair come before those that several pairs share.
    for middle in (f"{first}-{second}.", f"{second}-{first}.", ""):
        first_file = _find_file(prefix, middle + first)
        second_file = _find_file(prefix, middle + second)
        if first_file and second_file:
            return first_file, second_file
    return None


def _find_file(prefix: Path, ending: str) -> Path | None:
    """Return PREFIX.ENDING, or its compressed form (.gz, .xz, .zst), or None if there is neither."""
    for suffix in SUFFIXES:
        path = prefix.with_name(f"{prefix.name}.{ending}{suffix}")
        if path.is_file():
            return path
    return None


def _no_file(option: str, path: Path) -> MasscliError:
    """Return the error for an option whose path is not a regular file; the caller raises it."""
    if path.is_dir():
        return MasscliError(
            f"{option}: {path} is a folder", "name the file of text in it"
        )
    if path.exists():
        return MasscliError(
            f"{option}: {path} is a pipe or a device, but text is read more than once",
            "write it to a file first; --mono en=- copies standard input",
        )
    return MasscliError(
        f"{option}: there is no file {path}",
        _comma_hint(path) or missing_file_hint(path),
    )


def _missing_file(prefix: Path, language: str) -> MasscliError:
    """Return the error that a file of aligned text is missing; the caller raises it."""
    path = prefix.with_name(f"{prefix.name}.{language}")
    if path.exists():
        kind = "a folder" if path.is_dir() else "a pipe or a device"
        return MasscliError(
            f"{path}: is {kind}, but text is read more than once from files",
            "files are named PREFIX.LANG; write the text of a pipe to one first",
        )
    return MasscliError(
        f"{path}: no such file (nor .gz, .xz, .zst)",
        _comma_hint(prefix)
        or f"files are named PREFIX.LANG; {missing_file_hint(path)}",
    )


def _comma_hint(path: Path) -> str | None:
    """Return a hint if a path that does not exist may be one that was cut off at a comma, and None if not."""
    if not path.parent.is_dir():
        return None
    for entry in sorted(path.parent.iterdir()):
        if entry.name.startswith(f"{path.name},"):
            escaped = entry.name.replace(",", "\\,")
            return f"a comma begins another item; if {entry.name} is meant, write '{escaped}'"
    return None
