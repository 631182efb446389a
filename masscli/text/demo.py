"""Sample text in English, French, German and Romanian, for the quickstart and for experiments.

Sentences are drawn at random from the patterns and word lists in demo.toml, so that no corpus has to be
shipped or downloaded. Each sentence is made in all four languages at once; `write` turns the sentences into
the parallel and monolingual files of a low-resource project.
"""

from __future__ import annotations

import random
import tomllib
from importlib.resources import files
from pathlib import Path

from masscli.core.atomic_files import making_folder, write_atomic
from masscli.core.errors import MasscliError, cannot_be_written
from masscli.core.files import read_regular

LANGUAGES = ("en", "fr", "de", "ro")
SIZES = {"train": 100, "valid": 100, "test": 200}
"""The number of sentence pairs in each split of the parallel data."""
MONOLINGUAL_LINES = 3500
"""The number of lines in the monolingual file of each language."""


def draw_sentences(count: int, seed: int = 1) -> list[dict[str, str]]:
    """Draw `count` different sentences, and return each as a dictionary from language to its text.

    No text occurs twice in any language. The same `seed` gives the same sentences.
    """
    tables = tomllib.loads(
        files("masscli.text").joinpath("demo.toml").read_text(encoding="utf-8")
    )
    rng = random.Random(seed)
    sentences: list[dict[str, str]] = []
    seen: set[str] = set()
    while len(sentences) < count:
        sentence = _draw_sentence(tables, rng)
        # A sentence that repeats one in any language would make a monolingual line parallel to another.
        if seen.isdisjoint(sentence.values()):
            seen.update(sentence.values())
            sentences.append(sentence)
    return sentences


def write(folder: Path, seed: int = 1) -> list[Path]:
    """Write parallel files such as train.en, and monolingual ones such as mono.en.txt; return their paths.

    There is a parallel file for each split and language, and a monolingual one for each language. No
    monolingual line is the translation of a line of another file. Raises MasscliError if a file with other
    contents exists already or the folder cannot be written.
    """
    remaining = iter(
        draw_sentences(sum(SIZES.values()) + MONOLINGUAL_LINES * len(LANGUAGES), seed)
    )
    contents: dict[str, str] = {}
    for part, size in SIZES.items():
        pairs = [next(remaining) for _ in range(size)]
        for language in LANGUAGES:
            contents[f"{part}.{language}"] = "".join(
                f"{pair[language]}\n" for pair in pairs
            )
    for language in LANGUAGES:
        lines = [next(remaining)[language] for _ in range(MONOLINGUAL_LINES)]
        contents[f"mono.{language}.txt"] = "".join(f"{line}\n" for line in lines)
    # Everything is checked before anything is written.
    for name, text in contents.items():
        path = folder / name
        if path.exists() and read_regular(path) != text.encode():
            raise MasscliError(
                f"{path}: exists and holds something else",
                "choose a new or empty folder",
            )
    try:
        with making_folder(folder):
            for name, text in contents.items():
                write_atomic(folder / name, text.encode())
    except OSError as error:
        raise cannot_be_written(str(folder), error, "choose another folder") from None
    return [folder / name for name in contents]


def _draw_sentence(
    tables: dict[str, list[list[str]]], rng: random.Random
) -> dict[str, str]:
    """Draw a sentence pattern and words for its slots, and return the sentence in each language.

    `tables` is the contents of demo.toml: lists of rows with a column for each language.
    """
    pattern = rng.choice(tables["sentences"])
    # Two different people.
    subject, friend = rng.sample(tables["who"], 2)
    verb = rng.randrange(len(tables["verb"]))
    slots = {
        "who": subject,
        "friend": friend,
        "verb": tables["verb"][verb],
        "deny": tables["deny"][verb],
    }
    for name in ("what", "where", "when"):
        slots[name] = rng.choice(tables[name])
    sentence = {}
    for column, language in enumerate(LANGUAGES):
        # Column n of every row holds the words of language n.
        words = {name: translations[column] for name, translations in slots.items()}
        text = pattern[column].format(**words)
        sentence[language] = text[0].upper() + text[1:]
    return sentence
