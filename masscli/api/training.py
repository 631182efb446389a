"""Training for programs and for the commands `pretrain` and `finetune`: from a recipe to events."""

from __future__ import annotations

import logging
import shutil
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from masscli.core import distributed
from masscli.core.config import Problem, to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.core.files import acquire_lock, read_regular, write_atomic
from masscli.models.config import ModelConfig
from masscli.models.presets import presets
from masscli.reporting.event_sinks import LogFile, open_sinks
from masscli.text.corpus import decode_text
from masscli.training.events import Event, Sink
from masscli.training.recipe import Recipe
from masscli.training.setup.build import build
from masscli.training.setup.compose import ComposedRun, compose
from masscli.training.setup.request import TrainRequest
from masscli.training.trainer import Trainer

LOGGER = logging.getLogger("masscli")


@dataclass(frozen=True)
class TrainingRun:
    """A run that is ready to be trained, or to go on, in a folder that no other process trains into."""

    recipe: Recipe
    trainer: Trainer
    notes: list[str]
    """What a user should know before the run begins."""

    @property
    def is_finished(self) -> bool:
        """Whether the run has made all of its updates before, so that nothing is left to do."""
        last = self.recipe.train.max_update
        return last is not None and self.trainer.state.step >= last

    def events(self) -> Iterator[Event]:
        """Train, and yield events, which are kept in the run's folder as well."""
        if self.is_finished:
            return
        with ExitStack() as stack:
            # Only the first process writes files.
            sinks: list[LogFile | Sink] = []
            if distributed.rank == 0:
                assert self.recipe.save_dir is not None
                sinks = open_sinks(self.recipe, self.trainer.state.step, stack)
                recipe_file = self.recipe.save_dir / "recipe.toml"
                write_atomic(recipe_file, to_toml(to_dict(self.recipe)).encode())
            for event in self.trainer.run():
                for sink in sinks:
                    sink.write(event)
                yield event


def compose_recipe(
    options: Mapping[str, Any] | str | PathLike[str],
    *,
    objective: str | None = None,
    objective_options: Mapping[str, Any] | None = None,
) -> Recipe:
    """Return a complete recipe for `pretrain` or `finetune`; whatever is not given gets its default.

    `options` are the contents of a recipe.toml as nested dictionaries, or its path. Without `stream` tables,
    `objective` says what is learned, such as mass or translate, on all of the data, and `objective_options`
    are its options. The folder of the data, and the checkpoint of `init_from`, are opened to fill in what
    follows from them. Raises MasscliError if the recipe contradicts itself or the data.
    """
    if not isinstance(options, Mapping):
        path = Path(options)
        options = tomllib.loads(decode_text(read_regular(path), path))
    recipe_options = dict(options)
    streams = recipe_options.pop("stream", {})
    request = TrainRequest(
        recipe_options=recipe_options,
        stream_tables=streams,
        objective=objective,
        objective_options=objective_options or {},
    )
    run = compose(request)
    _warn_unused(run.unused_options)
    return run.recipe


def pretrain(recipe: Recipe) -> Iterator[Event]:
    """Train the run of a complete recipe, such as one of `compose_recipe`, and yield its events.

    The folder of the run is written as by `masscli pretrain`; a run that is there already goes on. Training
    happens while the events are read. Notes on the run go to the logger `masscli`. Raises MasscliError if the
    recipe does not fit the data or the run.
    """
    yield from _train(recipe)


def finetune(recipe: Recipe) -> Iterator[Event]:
    """Train the run of a complete recipe for a task, and yield its events; see `pretrain`.

    What is learned is up to the streams of the recipe, and `init_from` names the weights to begin with.
    """
    yield from _train(recipe)


def _train(recipe: Recipe) -> Iterator[Event]:
    _check_complete(recipe)
    options = to_dict(recipe)
    streams = options.pop("stream")
    composed = compose(TrainRequest(recipe_options=options, stream_tables=streams))
    _warn_unused(composed.unused_options)
    with open_run(composed) as run:
        for note in run.notes:
            # This level is shown where a program has set up no logging, as the commands show notes.
            LOGGER.warning(note)
        yield from run.events()


@contextmanager
def open_run(composed: ComposedRun, accept_changes: bool = False) -> Iterator[TrainingRun]:
    """Lock the folder of a run and build its trainer.

    With `accept_changes` a run that is there goes on with other settings than it began with.

    A new folder in which nothing was written, because the run was refused, is removed again.
    """
    recipe = composed.recipe
    assert recipe.save_dir is not None
    with _lock_folder(recipe.save_dir):
        trainer, notes = build(recipe, composed.context, accept_changes=accept_changes)
        yield TrainingRun(recipe, trainer, notes)


def _check_complete(recipe: Recipe) -> None:
    """Raise MasscliError for a recipe whose model has the name of a size, but nothing of its sizes.

    Every field of a `Recipe` counts, also one that has its default, so it is not filled in.
    """
    arch = recipe.model.arch
    sizes = presets().get(arch, {})
    defaults = to_dict(ModelConfig())
    model = to_dict(recipe.model)
    special = [key for key, value in sizes.items() if value != defaults[key]]
    if special and all(model[key] == defaults[key] for key in special):
        raise MasscliError(
            f"model.arch {arch}: the recipe has the sizes of {ModelConfig().arch}",
            'masscli.compose_recipe({"model": {"arch": ...}}) fills in those of a name',
        )


def _warn_unused(problems: list[Problem]) -> None:
    for problem in problems:
        warnings.warn(f"{problem.key} has no effect: {problem.message}", stacklevel=4)


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Keep a second process from training into the same folder.

    The lock ends with the process, however that ends. A new folder in which nothing was written, because the
    run was refused, is removed.
    """
    # One lock is enough for all processes of a run.
    if distributed.rank != 0:
        yield
        return
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = acquire_lock(folder / ".lock")
    except BlockingIOError:
        raise MasscliError(
            f"{folder}: another process is training into it", "wait for it, or choose another --save-dir"
        ) from None
    except OSError as error:
        raise MasscliError(
            f"{folder}: cannot be written ({error.strerror})", "choose another folder with --save-dir"
        ) from None
    with lock:
        try:
            yield
        finally:
            contents = {path.name for path in folder.rglob("*")}
            if is_new and contents <= {".lock", "checkpoints"}:
                shutil.rmtree(folder)
