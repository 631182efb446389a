"""Find the files of labeled examples that the options of `masscli preprocess` name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from masscli.core.config import suggest
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.input_errors import no_file
from masscli.data.prepare.requested_inputs import LabeledFile


def find_tables(
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
            raise no_file(f"--{format} {entry}", path)
    return labeled


def table_language(
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
