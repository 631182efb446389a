"""Find the input files that the options of `masscli preprocess` name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from masscli.core.config import suggest
from masscli.core.errors import MasscliError
from masscli.data.prepare.aligned_inputs import (
    files_of_pairs,
    files_outside_pairs,
    find_pairs,
    find_prefixes,
    passed_over,
)
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.input_errors import no_file
from masscli.data.prepare.labeled_inputs import find_tables, table_language
from masscli.data.prepare.requested_inputs import STDIN, RequestedFiles, RequestedInputs
from masscli.text.stored_vocabulary import stored_languages
from masscli.text.vocabulary_extension import load_to_extend


def find_inputs(config: PreprocessConfig) -> RequestedInputs:
    """Return the languages, pairs and input files that the options ask for.

    Raises MasscliError if a file is missing, or if an option makes no sense.
    """
    mono = [_parse_mono(entry) for entry in config.mono]
    languages = _find_languages(config, mono)
    if config.extend is not None:
        # Vocabularies that cannot be extended are refused before any text is read.
        load_to_extend(config.extend, config.preprocessing, languages)
    prefixes = find_prefixes(config)
    tables = find_tables(config, languages)
    if not prefixes and not mono and not tables:
        raise MasscliError(
            "there is nothing to read",
            "give --trainpref PREFIX (files PREFIX.LANG), --mono LANG=FILE, or --tsv train=FILE",
        )
    mono_languages = set()
    for requested in mono:
        if requested.split == "train":
            mono_languages.add(requested.languages[0])
    pairs = find_pairs(config, languages, prefixes, mono_languages)
    text = list(mono)
    for prefix in prefixes:
        text += files_of_pairs(prefix, pairs, mono_languages)
        text += files_outside_pairs(prefix, pairs, languages)
    read_from_stdin = [requested for requested in mono if requested.paths == (STDIN,)]
    if len(read_from_stdin) > 1:
        raise MasscliError("--mono: standard input (-) can be read only once")
    return RequestedInputs(
        languages=languages,
        pairs=tuple(f"{first}-{second}" for first, second in pairs),
        text=tuple(text),
        tables=tables,
        table_language=table_language(config, languages, tables),
        passed_over=passed_over(text[len(mono) :]),
    )


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
        raise no_file(f"--mono {entry}", path)
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
