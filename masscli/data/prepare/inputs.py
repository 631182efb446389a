"""Which files `preprocess` reads, and what each is: from options and file names to parts.

A part is read line by line through one or several aligned files.  Pairs that share a file (en in en-de and en-fr) make up one part, so
that each side is encoded and stored once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from masscli.core.config import suggest
from masscli.core.errors import MasscliError
from masscli.data.formats.registry import input_files
from masscli.data.prepare.config import PreprocessConfig
from masscli.text.corpus import SUFFIXES, FileScan, similar_names_hint
from masscli.text.tokenizer import Tokenizer

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Files to read together: two for a pair, one for monolingual text."""

    split: str
    languages: tuple[str, ...]
    paths: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Aligned files of a split, and which of their sides are pairs (none: monolingual text)."""

    name: str
    split: str
    languages: tuple[str, ...]
    paths: tuple[Path, ...]
    pairs: tuple[tuple[int, int], ...]

    @property
    def training(self) -> bool:
        """Whether lines may be dropped."""
        return self.split == "train"

    def column(self, side: int) -> str:
        """The name of the column that a side becomes."""
        return f"{self.name}.{self.languages[side]}" if self.pairs else self.name

    def raw_column(self, side: int) -> str:
        """The name of the column that keeps the lines of a side as they are."""
        return f"{self.column(side)}.raw"

    def rows_column(self, pair: tuple[int, int], side: int) -> str:
        """The name of the column that says which rows of a side belong to a pair."""
        return f"{self.account(pair)}.rows.{self.languages[side]}"

    def account(self, pair: tuple[int, int] | None) -> str:
        """The name under which lines are counted."""
        return (
            self.name if pair is None else f"{self.split}.{self.languages[pair[0]]}-{self.languages[pair[1]]}"
        )

    def columns(self) -> dict[str, str]:
        """Every column that this part becomes, with its kind."""
        sides = range(len(self.languages))
        found = {self.column(side): "ids" for side in sides}
        if not self.training:
            return found | {self.raw_column(side): "text" for side in sides}
        several = self.pairs if len(self.pairs) > 1 else ()
        return found | {self.rows_column(pair, side): "int" for pair in several for side in pair}


@dataclass(frozen=True, slots=True)
class Labelled:
    """A file of labelled examples: of a table, of a split; `kind` is one of `formats.FORMATS`."""

    name: str
    split: str
    kind: str
    path: Path


@dataclass(frozen=True, slots=True)
class Sources:
    """Everything that the options ask for, before a byte has been read."""

    languages: tuple[str, ...]
    pairs: tuple[str, ...]
    wanted: tuple[Wanted, ...]
    tables: tuple[Labelled, ...] = ()
    table_language: str = ""


def resolve(config: PreprocessConfig) -> Sources:
    """Find the files."""
    mono = [_mono(entry) for entry in config.mono]
    languages = _languages(config, mono)
    prefixes = _prefixes(config)
    tables = _tables(config, languages)
    if not prefixes and not mono and not tables:
        hint = "give --trainpref PREFIX (files PREFIX.LANG), --mono LANG=FILE, or --tsv train=FILE"
        raise MasscliError("there is nothing to read", hint)
    has_mono = {language for split, language, _ in mono if split == "train"}
    pairs = _pairs(config, languages, prefixes, has_mono)
    wanted = [Wanted(split, (language,), (path,)) for split, language, path in mono]
    for split, prefix in prefixes:
        for a, b in pairs:
            if paths := _pair_files(prefix, a, b):
                wanted.append(Wanted(split, (a, b), paths))
            elif (
                split != "train"
                or not {language for language in (a, b) if _file(prefix, language) is None} <= has_mono
            ):
                raise _missing(prefix, a if _file(prefix, a) is None else b)
        alone = [language for language in languages if not any(language in pair for pair in pairs)]
        for language in alone:
            if path := _file(prefix, language):
                wanted.append(Wanted(split, (language,), (path,)))
            elif len(languages) == 1:
                raise _missing(prefix, language)
    if [path for *_, path in mono].count(STDIN) > 1:
        raise MasscliError("--mono: standard input (-) can be read only once")
    if config.table_lang is not None and not tables:
        raise MasscliError(
            f"--table-lang {config.table_lang}: there are no labelled examples",
            "leave it out, or give --tsv train=FILE",
        )
    spoken = config.table_lang or languages[0]
    if tables and spoken not in languages:
        raise MasscliError(
            f"--table-lang {spoken}: is not among the languages{suggest(spoken, languages)}",
            "add it to --langs",
        )
    return Sources(languages, tuple(f"{a}-{b}" for a, b in pairs), tuple(wanted), tables, spoken)


def arrange(sources: Sources, scans: Mapping[Path, FileScan]) -> tuple[Part, ...]:
    """Put pairs that share a file, or a file of the same content, together; training parts first."""
    groups: list[tuple[str, dict[str, Path], list[tuple[str, str]]]] = []
    for wanted in sources.wanted:
        if len(wanted.paths) == 1:
            groups.append((wanted.split, {wanted.languages[0]: wanted.paths[0]}, []))
            continue
        (a, b), files = wanted.languages, dict(zip(wanted.languages, wanted.paths, strict=True))
        _same_length(*(scans[path] for path in wanted.paths))

        def fits(
            split: str,
            sides: dict[str, Path],
            pairs: object,
            wanted: Wanted = wanted,
            files: dict[str, Path] = files,
        ) -> bool:
            shared = [language for language in files if language in sides]
            same = all(scans[sides[language]].sha256 == scans[files[language]].sha256 for language in shared)
            return bool(pairs and shared and same and split == wanted.split)

        group = next((g for g in groups if fits(*g)), None)
        if group is None:
            groups.append((wanted.split, files, [(a, b)]))
        else:
            group[1].update({language: path for language, path in files.items() if language not in group[1]})
            group[2].append((a, b))
    parts: list[Part] = []
    for split, sides, pairs in sorted(groups, key=lambda group: group[0] != "train"):
        order = sorted(sides, key=sources.languages.index)
        name = _unused(f"{split}.{'-'.join(order)}", [part.name for part in parts])
        places = tuple((order.index(a), order.index(b)) for a, b in pairs)
        parts.append(Part(name, split, tuple(order), tuple(sides[language] for language in order), places))
    return tuple(parts)


def _languages(config: PreprocessConfig, mono: Sequence[tuple[str, str, Path]]) -> tuple[str, ...]:
    if (config.source_lang is None) != (config.target_lang is None):
        raise MasscliError(
            "--source-lang and --target-lang go together", "or name the languages with --langs"
        )
    named = [name for name in (config.source_lang, config.target_lang, *config.langs) if name is not None]
    taken_over = Tokenizer.languages_of(config.spm_model) if config.spm_model is not None and not mono else ()
    found = tuple(dict.fromkeys(named or [language for _, language, _ in mono] or taken_over))
    if not found and config.spm_model is not None and not config.spm_model.exists():
        raise MasscliError(f"--spm-model {config.spm_model}: no such file or folder")
    if not found:
        raise MasscliError("no language is named", "give --langs en, or -s en -t de, or --mono en=FILE")
    for name in found:
        if not re.fullmatch(r"\w+", name):
            raise MasscliError(
                f"{name!r} cannot be the name of a language", "use letters, digits and _, such as en or pt_BR"
            )
    for split, language, path in mono:
        if language not in found:
            place = language if split == "train" else f"{split}.{language}"
            message = (
                f"--mono {place}={path}: {language!r} is not among the languages{suggest(language, found)}"
            )
            raise MasscliError(message, "add it to --langs")
    return found


def _tables(config: PreprocessConfig, languages: Sequence[str]) -> tuple[Labelled, ...]:
    """[TABLE.]SPLIT=FILE, or FILE alone for training; a table is called after its format unless it has a name."""
    given = {"tsv": config.tsv, "jsonl": config.jsonl, "conll": config.conll, "squad": config.squad, "dialogues": config.dialogues,
             "aligned": config.aligned, "swag": config.swag, "race": config.race}  # fmt: skip
    found: list[Labelled] = []
    for kind, entry in ((kind, entry) for kind, entries in given.items() for entry in entries):
        place, _, name = entry.rpartition("=")
        table, _, split = (place or "train").rpartition(".")
        labelled = Labelled(table or kind, split, kind, Path(name))
        if not re.fullmatch(r"\w+", labelled.name) or not re.fullmatch(r"train|(valid|test)\d*", split):
            raise MasscliError(
                f"--{kind} {entry}: expected [TABLE.]SPLIT=FILE",
                f"such as --{kind} train=FILE,valid=FILE,test=FILE",
            )
        if labelled.name in languages:
            raise MasscliError(
                f"--{kind} {entry}: {labelled.name!r} is the name of a language",
                "give the table another name",
            )
        paths = input_files(labelled.path, kind)
        if not paths:
            raise MasscliError(
                f"--{kind} {entry}: {labelled.path} holds no .txt file", "RACE has one for each article"
            )
        for path in paths:
            if not path.is_file():
                raise MasscliError(f"--{kind} {entry}: there is no file {path}", similar_names_hint(path))
        if any((t.name, t.split) == (labelled.name, split) for t in found):
            raise MasscliError(
                f"--{kind} {entry}: {labelled.name}.{split} is given twice",
                "name the tables: NAME.train=FILE",
            )
        found.append(labelled)
    return tuple(sorted(found, key=lambda t: t.split != "train"))


def _mono(entry: str) -> tuple[str, str, Path]:
    """[SPLIT.]LANG=FILE: the split (train unless it is named), the language, the file."""
    place, found, name = entry.partition("=")
    split, _, language = place.rpartition(".")
    if not found or not language or not name or not re.fullmatch(r"(train|(valid|test)\d*)?", split):
        raise MasscliError(
            f"--mono {entry}: expected [SPLIT.]LANG=FILE",
            "such as --mono en=news.en.gz, --mono valid.en=news2016.en",
        )
    path = Path(name)
    if path != STDIN and not path.is_file():
        raise MasscliError(f"--mono {entry}: there is no file {path}", similar_names_hint(path))
    return split or "train", language, path


def _prefixes(config: PreprocessConfig) -> list[tuple[str, Path]]:
    """Splits with their prefixes; a second --validpref is valid1, as in fairseq."""
    found = [("train", config.trainpref)] if config.trainpref else []
    for split, given in (("valid", config.validpref), ("test", config.testpref)):
        names = str(given).split(",") if given else []
        found += [(f"{split}{n or ''}", Path(name)) for n, name in enumerate(names)]
    return found


def _pairs(
    config: PreprocessConfig,
    languages: tuple[str, ...],
    prefixes: Sequence[tuple[str, Path]],
    has_mono: set[str],
) -> list[tuple[str, str]]:
    if config.pairs:
        return [_pair(name, languages) for name in dict.fromkeys(config.pairs)]
    first, found = languages[0], []
    for other in languages[1:]:
        if any(_pair_files(prefix, first, other) for _, prefix in prefixes):
            found.append((first, other))
        elif prefixes and not {first, other} <= has_mono:
            prefix = prefixes[0][1]
            raise _missing(prefix, first if _file(prefix, first) is None and first not in has_mono else other)
    return found


def _pair(name: str, languages: tuple[str, ...]) -> tuple[str, str]:
    a, _, b = name.partition("-")
    for language in (a, b):
        if language not in languages:
            message = f"--pairs {name}: {language!r} is not among the languages ({', '.join(languages)})"
            raise MasscliError(message, "a pair looks like en-de")
    if a == b:
        raise MasscliError(f"--pairs {name}: a pair needs two languages")
    return a, b


def _pair_files(prefix: Path, a: str, b: str) -> tuple[Path, Path] | None:
    for middle in (f"{a}-{b}.", f"{b}-{a}.", ""):
        first, second = _file(prefix, middle + a), _file(prefix, middle + b)
        if first and second:
            return first, second
    return None


def _file(prefix: Path, ending: str) -> Path | None:
    candidates = (prefix.with_name(f"{prefix.name}.{ending}{suffix}") for suffix in SUFFIXES)
    return next((path for path in candidates if path.is_file()), None)


def _missing(prefix: Path, language: str) -> MasscliError:
    path = prefix.with_name(f"{prefix.name}.{language}")
    return MasscliError(
        f"{path}: no such file (nor .gz, .xz)", f"files are named PREFIX.LANG; {similar_names_hint(path)}"
    )


def _same_length(first: FileScan, second: FileScan) -> None:
    if first.lines != second.lines:
        message = f"{first.path} has {first.lines} lines, {second.path} has {second.lines}: the sides of a pair must be aligned"
        shorter = min(first, second, key=lambda scan: scan.lines)
        raise MasscliError(message, f"{shorter.path} ends at line {shorter.lines}; lines end at \\n only")


def _unused(name: str, taken: Sequence[str]) -> str:
    return (
        name
        if name not in taken
        else next(n for i in range(2, len(taken) + 3) if (n := f"{name}.{i}") not in taken)
    )


def identical_sides(parts: Sequence[Part], scans: Mapping[Path, FileScan]) -> list[tuple[Path, Path]]:
    """Sides of a part that are the same text twice: nearly always a mistake."""
    return [
        (a, b) for part in parts for a, b in combinations(part.paths, 2) if scans[a].sha256 == scans[b].sha256
    ]
