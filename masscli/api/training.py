"""Training for programs and for the commands `pretrain` and `finetune`: from a recipe to events."""

from __future__ import annotations

import atexit
import inspect
import logging
import shutil
import warnings
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from masscli.core import distributed
from masscli.core.appended_files import acquire_lock
from masscli.core.atomic_files import making_folder, write_atomic
from masscli.core.config import Problem, to_dict, to_toml
from masscli.core.errors import MasscliError, cannot_be_written, note_failed_save
from masscli.models.config import ModelConfig
from masscli.models.presets import presets
from masscli.reporting.event_sinks import EventRecorder
from masscli.training.events import Event, Finished
from masscli.training.recipe import Recipe
from masscli.training.recipe_file import read_toml
from masscli.training.setup.build import build
from masscli.training.setup.compose import ComposedRun, compose
from masscli.training.setup.request import TrainRequest
from masscli.training.trainer import Trainer

LOGGER = logging.getLogger("masscli")


@dataclass(frozen=True)
class TrainingRun:
    """A training run, new or continued, that is ready to start; its folder is locked for this process."""

    recipe: Recipe
    trainer: Trainer
    notes: list[str]
    """What a user should know before the run begins."""

    @property
    def is_finished(self) -> bool:
        """Whether the run has already made `max_update` updates, so that nothing is left to do.

        It is not finished while the validation at its end is still to be made, since a signal interrupted it.
        """
        last = self.recipe.train.max_update
        state = self.trainer.state
        return last is not None and state.step >= last and not state.pending_validation

    def events(self) -> Generator[Event, None, None]:
        """Train, and yield the events of the training; nothing is yielded if the run is finished.

        The first process also writes the recipe and the events into the run's folder, and passes the events
        to TensorBoard and the like. If one of these sinks raises an error, the run ends with a checkpoint
        after the current update, and the error is raised in the place of `Finished`. The run also ends with a
        checkpoint if the caller leaves the iteration, or if the program ends before.
        """
        if self.is_finished:
            return
        events = self._recorded_events()

        def save() -> None:
            # Another thread that is in the middle of an update cannot be waited for when the program ends.
            if inspect.getgeneratorstate(events) == inspect.GEN_RUNNING:
                return
            self.trainer.stop("stopped by the program that trains")
            # These are the events of the checkpoint; the log has them.
            for _ in events:
                pass

        # If the caller keeps the iterator, Python closes it only when PyTorch can no longer be used.
        atexit.register(save)
        try:
            for event in events:
                try:
                    yield event
                except GeneratorExit:
                    save()
                    raise
        finally:
            atexit.unregister(save)

    def _recorded_events(self) -> Generator[Event, None, None]:
        """Train, pass the events to the sinks of the run, and yield them, as `events` describes."""
        with ExitStack() as stack:
            recorder = EventRecorder(stack)
            # Only the first process writes files.
            if distributed.rank == 0:
                assert self.recipe.save_dir is not None
                recorder.open_sinks(self.recipe, self.trainer.state.step)
                recipe_file = self.recipe.save_dir / "recipe.toml"
                write_atomic(recipe_file, to_toml(to_dict(self.recipe)).encode())
            try:
                for event in self.trainer.run():
                    recorder.write(event)
                    if recorder.failure is not None:
                        if isinstance(event, Finished):
                            break
                        self.trainer.stop("stopped by an error of an event sink")
                    yield event
            except (MasscliError, OSError) as second:
                if recorder.failure is None:
                    raise
                note_failed_save(recorder.failure, second)
            if recorder.failure is not None:
                raise recorder.failure


def compose_recipe(
    options: Mapping[str, Any] | str | PathLike[str],
    *,
    objective: str | None = None,
    objective_options: Mapping[str, Any] | None = None,
) -> Recipe:
    """Return a complete recipe for `pretrain` or `finetune`; whatever is not given gets its default.

    `options` are the contents of a recipe.toml as nested dictionaries, or its path. If they have no `stream`
    tables, `objective` names what is trained on all of the data, such as mass or translate, with the options
    `objective_options`. The data folder and the checkpoint of `init_from` are read for settings that follow
    from them, such as sizes. Raises MasscliError if the file cannot be read or is not TOML, or if the recipe
    contradicts itself or the data.
    """
    if not isinstance(options, Mapping):
        options = read_toml(Path(options))
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

    The folder of the run is written as by `masscli pretrain`; a run that it already holds is continued.
    Training happens while the caller iterates over the events. Notes on the run go to the logger `masscli`.
    Raises MasscliError if the recipe does not fit the data, or the run to be continued.
    """
    yield from _train(recipe)


def finetune(recipe: Recipe) -> Iterator[Event]:
    """Fine-tune: train the run of a complete recipe, and yield its events, exactly as `pretrain` does.

    The streams of the recipe say which tasks are trained, and its `init_from` names the initial weights.
    """
    yield from _train(recipe)


def _train(recipe: Recipe) -> Iterator[Event]:
    """Compose a complete recipe, log the notes for the user, and yield the events of its run."""
    _check_complete(recipe)
    options = to_dict(recipe)
    streams = options.pop("stream")
    composed = compose(TrainRequest(recipe_options=options, stream_tables=streams))
    _warn_unused(composed.unused_options)
    with open_run(composed) as run:
        for note in run.notes:
            # This level is shown even if a program has not set up logging, just as the commands show
            # notes.
            LOGGER.warning(note)
        yield from run.events()


@contextmanager
def open_run(
    composed: ComposedRun, accept_changes: bool = False
) -> Iterator[TrainingRun]:
    """Lock the folder of a run for the `with` block, build the trainer, and yield both as a `TrainingRun`.

    A run that already exists in the folder is continued; with `accept_changes`, even if its settings
    were different. At the end of the block the folder is removed if it was new and no file was written
    into it. Raises MasscliError if another process trains into the folder, if the folder cannot be
    written, or if the recipe does not fit the data or the run to be continued.
    """
    recipe = composed.recipe
    assert recipe.save_dir is not None
    with _lock_folder(recipe.save_dir):
        trainer, notes = build(recipe, composed.context, accept_changes=accept_changes)
        yield TrainingRun(recipe, trainer, notes)


def _check_complete(recipe: Recipe) -> None:
    """Raise MasscliError if `model.arch` names a preset, but all sizes of the preset are at their defaults.

    Such a recipe was not completed by `compose_recipe`. A `Recipe` object is used as it is, so the
    sizes of the preset are not filled in. Raises TypeError for a dictionary or a path, which are none.
    """
    if not isinstance(recipe, Recipe):
        raise TypeError(
            f"recipe is of type {type(recipe).__name__}; masscli.compose_recipe makes a recipe of it"
        )
    arch = recipe.model.arch
    sizes = presets().get(arch, {})
    defaults = to_dict(ModelConfig())
    model = to_dict(recipe.model)
    special = [key for key, value in sizes.items() if value != defaults[key]]
    if special and all(model[key] == defaults[key] for key in special):
        raise MasscliError(
            f"model.arch {arch}: the recipe has the sizes of {ModelConfig().arch}",
            'masscli.compose_recipe({"model": {"arch": ...}}) fills in those of a named size',
        )


def _warn_unused(problems: list[Problem]) -> None:
    for problem in problems:
        warnings.warn(f"{problem.key} has no effect: {problem.message}", stacklevel=4)


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Lock a folder for the `with` block, so that no other process trains into it; create it if it is new.

    The lock also ends with the process. A new folder into which no file was written is removed at the end.
    Raises MasscliError if another process holds the lock, or if the folder cannot be written. Processes other
    than the first one of a distributed run do nothing.
    """
    # One lock is enough for all processes of a run.
    if distributed.rank != 0:
        yield
        return
    is_new = not folder.exists()
    with ExitStack() as stack:
        try:
            stack.enter_context(making_folder(folder))
            stack.enter_context(acquire_lock(folder / ".lock"))
        except BlockingIOError:
            raise MasscliError(
                f"{folder}: another process is training in it",
                "wait for it, or choose another --save-dir",
            ) from None
        except OSError as error:
            raise cannot_be_written(
                str(folder), error, "choose another folder with --save-dir"
            ) from None
        try:
            yield
        finally:
            # A folder that someone has removed meanwhile must not hide what ended the block.
            with suppress(FileNotFoundError):
                contents = {path.name for path in folder.rglob("*")}
                if is_new and contents <= {".lock", "checkpoints"}:
                    shutil.rmtree(folder)
