"""A toy language, and tiny runs that learn it.

Its words lie in a ring of 24, and a sentence steps through it by 1, 2 or 3: a word follows from those around it and from nothing else.
German is English word by word.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.cli.options import bind
from masscli.cli.training_options import TrainingOptions
from masscli.core.config import from_dict, override
from masscli.data.prepare.config import PreprocessConfig
from masscli.training.recipe import Recipe
from masscli.training.setup.compose import ComposedRun
from masscli.training.setup.request import TrainRequest

ENGLISH = [consonant + vowel for consonant in "bdfgk" for vowel in "aeiou"][:24]
WORDS = {"en": ENGLISH, "de": [f"{word[::-1]}x" for word in ENGLISH]}
TRAIN, VALID = 240, 24

TINY: Mapping[str, Any] = {
    "model": {
        "dim": 16,
        "ffn_dim": 32,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "max_positions": 32,
        "languages": "embedding",
    },
    "optim": {"lr": 0.01, "warmup_updates": 4},
    "train": {
        "max_tokens": 150,
        "max_update": 10,
        "update_freq": 2,
        "precision": "fp32",
        "num_workers": 0,
        "log_interval": 1,
    },
    "checkpoint": {"save_interval_updates": 4, "keep_last": 9},
    "stream": {
        "pairs": {"dataset": "en-de", "objective": {"name": "translate"}},
        "mass": {"dataset": "en", "objective": {"name": "mass"}},
    },
}


def sentences(count: int, seed: int) -> list[list[int]]:
    """Walks around the ring, as word numbers."""
    draw = random.Random(seed)
    walks = []
    for _ in range(count):
        start, step = draw.randrange(24), draw.randint(1, 3)
        walks.append([(start + i * step) % 24 for i in range(draw.randint(4, 9))])
    return walks


def make_data(folder: Path, vocab_size: int = 96) -> Path:
    """A data folder of 240 pairs to train on and 24 to validate on, by the real `preprocess`."""
    from masscli.cli.preprocess import run

    folder.mkdir(parents=True, exist_ok=True)
    for split, count, seed in (("train", TRAIN, 1), ("valid", VALID, 2)):
        walks = sentences(count, seed)
        for language, words in WORDS.items():
            lines = [" ".join(words[i] for i in walk) + "\n" for walk in walks]
            (folder / f"{split}.{language}").write_text(
                "".join(lines), encoding="utf-8"
            )
    prefixes = {"trainpref": folder / "train", "validpref": folder / "valid"}
    run(
        PreprocessConfig(
            langs=("en", "de"),
            vocab_size=vocab_size,
            destdir=folder / "data",
            **prefixes,
        )
    )
    return folder / "data"


def recipe(
    data: Path, folder: Path, *changes: str, streams: Mapping[str, Any] | None = None
) -> Recipe:
    """A tiny run in `folder`, changed as by --set (`train.max_update=20`); two streams unless others are given."""
    raw = {
        **TINY,
        "data": str(data),
        "save_dir": str(folder),
        **({"stream": streams} if streams is not None else {}),
    }
    return from_dict(Recipe, override(raw, changes))


def composed(*args: str) -> Recipe:
    """Return the recipe of a training command line; errors are those that the command shows. Nothing is trained."""
    run, _ = composed_run(*args)
    return run.recipe


def composed_run(*args: str) -> tuple[ComposedRun, TrainRequest]:
    """Return what `compose` makes of a training command line, and the request that it was given."""
    from masscli.training.setup.compose import compose

    runs: list[tuple[ComposedRun, TrainRequest]] = []

    def run(request: Annotated[TrainRequest, TrainingOptions]) -> None:
        runs.append((compose(request), request))

    run.__annotations__ = {"request": Annotated[TrainRequest, TrainingOptions]}
    app = typer.Typer(add_completion=False)
    app.command()(bind(run, "finetune" if "--task" in args else "pretrain", args))
    typer.main.get_command(app)(list(args), standalone_mode=False)
    return runs[0]
