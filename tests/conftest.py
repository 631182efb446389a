"""A tiny data folder, made by the real `preprocess` once, and the recipes and runs that tests of training share.

The text is a toy language: words in a ring of 24, each sentence steps through it by 1, 2 or 3, so a word follows from those before it (or
around it) and from nothing else.  German is English word by word.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: many small tensors, and maybe many processes

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

ENGLISH = [consonant + vowel for consonant in "bdfgk" for vowel in "aeiou"][:24]
GERMAN = [f"{word[::-1]}x" for word in ENGLISH]
TRAIN, VALID = 240, 24


def toy_sentences(count: int, seed: int) -> list[list[int]]:
    """Walks around the ring, as word numbers."""
    draw = random.Random(seed)
    walks = []
    for _ in range(count):
        start, step = draw.randrange(24), draw.randint(1, 3)
        walks.append([(start + i * step) % 24 for i in range(draw.randint(4, 9))])
    return walks


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder: 240 pairs to train on, 24 to validate on, English and German.  Read only."""
    from masscli.cli.preprocess import run
    from masscli.recipe import PreprocessConfig

    folder = tmp_path_factory.mktemp("toy")
    for split, count, seed in (("train", TRAIN, 1), ("valid", VALID, 2)):
        walks = toy_sentences(count, seed)
        for language, words in (("en", ENGLISH), ("de", GERMAN)):
            lines = [" ".join(words[i] for i in walk) + "\n" for walk in walks]
            (folder / f"{split}.{language}").write_text("".join(lines), encoding="utf-8")
    prefixes = {"trainpref": folder / "train", "validpref": folder / "valid"}
    run(PreprocessConfig(langs=("en", "de"), vocab_size=96, destdir=folder / "data", **prefixes))
    return folder / "data"


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Waiting for the disk is not what is tested."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    yield
