"""Updates of back-translation without the time in which they generate, beside supervised updates on the same pairs.

The supervised updates learn the very sources that the model has written, so that both compute the same.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from masscli.api.training import open_run
from masscli.data.batches.batch import Batch
from masscli.data.batches.loader import PreparedBatch
from masscli.models.transformer import Transformer
from masscli.objectives.stream_selection import StreamSelection
from masscli.training.setup.compose import compose
from masscli.training.setup.request import TrainRequest
from masscli.training.trainer import Trainer
from tests.benchmarks.speed import training
from tests.benchmarks.speed.measure import Contestant, Row, Value
from tests.benchmarks.speed.pretraining import random_words, run_preprocess

LENGTH = 15
"""The tokens of a target, with the end symbol."""


class Preparation:
    """Completes batches as an objective does, and adds up the time that this takes.

    `prepare` is the method of the objective, whose place this takes.
    """

    def __init__(self, prepare: Callable[[Transformer, Batch], Batch]) -> None:
        self._prepare = prepare
        self.wall = 0.0
        """Seconds that have passed within `prepare`."""
        self.cpu = 0.0
        """Seconds of CPU time that all threads spent within `prepare`."""

    def __call__(self, model: Transformer, batch: Batch) -> Batch:
        wall, cpu = time.perf_counter(), time.process_time()
        completed = self._prepare(model, batch)
        self.wall += time.perf_counter() - wall
        self.cpu += time.process_time() - cpu
        return completed


def data_folder(folder: Path, sentences: int) -> Path:
    """Make a data folder of pairs of English and German, all of the same length; return its path."""
    draw = random.Random(1)
    words = random_words(draw)
    for split, lines in (("train", sentences), ("valid", 8)):
        for language in ("en", "de"):
            text = [" ".join(draw.choices(words, k=LENGTH - 1)) for _ in range(lines)]
            path = folder / f"{split}.{language}"
            path.write_text("\n".join(text) + "\n", encoding="utf-8")
    data = folder / "data"
    pairs = f"--trainpref {folder}/train --validpref {folder}/valid"
    run_preprocess(f"-s en -t de {pairs} --destdir {data}")
    return data


def request(
    task: str, arch: str, data: Path, tokens: int, dtype: torch.dtype, save_dir: Path
) -> TrainRequest:
    """Return the request for a run from English to German, with batches of `tokens` targets."""
    recipe = {
        "data": str(data),
        "save_dir": str(save_dir),
        "model": {"arch": arch},
        "train": {
            "max_tokens": tokens,
            "max_update": 1,
            "precision": training.name_of(dtype),
            "num_workers": 0,
            "threads": torch.get_num_threads(),
        },
    }
    own: dict[str, object] = {"label_smoothing": 0.1}
    if task == "backtranslate":
        # A model that knows nothing does not end its sentences itself.
        own |= {"max_len_a": 0.0, "max_len_b": LENGTH}
    selection = StreamSelection(source_lang="en", target_lang="de")
    return TrainRequest(
        recipe_options=recipe,
        objective=task,
        objective_options=own,
        selection=selection,
    )


def updates(name: str, trainer: Trainer, prepared: PreparedBatch) -> Contestant:
    """Return updates of a run on one batch, in targets a second of the time outside of `Objective.prepare`."""
    [stream] = trainer.streams.values()
    preparation = Preparation(stream.objective.prepare)
    stream.objective.prepare = preparation
    for group in trainer.parts.optimizer.param_groups:
        # The weights stay what they are, and so do the sources that the model writes.
        group["lr"] = 0.0
    trainer.model.train()
    stream.objective.train()
    parameters = list(trainer.parts.parameter_names)
    targets = sum(prepared.batch.counts.values())

    def turn(seconds: float) -> Value:
        done = wall = cpu = 0.0
        while done == 0.0 or wall < seconds:
            preparation.wall = preparation.cpu = 0.0
            started_wall, started_cpu = time.perf_counter(), time.process_time()
            trainer.gradients.compute([prepared])
            nn.utils.clip_grad_norm_(parameters, 1.0)
            trainer.parts.optimizer.step()
            trainer.parts.optimizer.zero_grad(set_to_none=True)
            wall += time.perf_counter() - started_wall - preparation.wall
            cpu += time.process_time() - started_cpu - preparation.cpu
            done += targets
        return Value(done / wall, done / cpu)

    return Contestant(name, turn)


def supervised(batch: Batch) -> Batch:
    """Return a batch of back-translation, whose sources are complete, as one of supervised translation."""
    return replace(
        batch,
        labels={"translate": batch.labels["backtranslate"]},
        counts={"translate": batch.counts["backtranslate"]},
        seeds=None,
    )


def backtranslation_row(arch: str, tokens: int, dtype: torch.dtype) -> Row:
    """Return the row of updates by back-translation and by supervised training, in targets a second."""
    held = ExitStack()
    folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
    # More than a batch, and enough for 8,000 pieces.
    data = data_folder(folder, max(2000, 2 * tokens // LENGTH))
    trainers = []
    for task in ("backtranslate", "translate"):
        composed = compose(request(task, arch, data, tokens, dtype, folder / task))
        trainers.append(held.enter_context(open_run(composed)).trainer)
    backtranslating, translating = trainers
    [first], _ = backtranslating.try_update()
    [stream] = backtranslating.streams.values()
    with torch.no_grad():
        completed = stream.objective.prepare(backtranslating.model, first.batch)
    [pairs], _ = translating.try_update()
    contestants = [
        updates("masscli backtranslate", backtranslating, first),
        updates(
            "masscli translate",
            translating,
            pairs._replace(batch=supervised(completed)),
        ),
    ]
    contestants[0].close = held.close
    name = f"back-translation {arch}, L {LENGTH}, without generating"
    return Row(name, "target tokens/s", contestants)
