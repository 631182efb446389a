"""Run a training command: what `pretrain` and `finetune` share."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from masscli.cli.options import warn_unused
from masscli.core import distributed
from masscli.core.config import to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.training.recipe import Recipe
from masscli.training.setup.request import TrainRequest

if TYPE_CHECKING:
    from masscli.cli.training_events import Sink


def train(request: TrainRequest) -> None:
    """Compose the recipe, build the trainer and run it.

    A run that a signal stopped exits with the status of the signal.
    """
    from rich.console import Console

    from masscli.cli.dry_run import describe_model, show_dry_run
    from masscli.cli.training_events import follow
    from masscli.training.setup.build import build
    from masscli.training.setup.compose import compose

    # Under torchrun only the first process speaks.
    console = Console(stderr=True, soft_wrap=True, quiet=distributed.rank != 0, highlight=False)
    run = compose(request)
    if distributed.rank == 0:
        warn_unused(run.unused_options, request.names)
    recipe = run.recipe
    assert recipe.save_dir is not None
    if request.dry_run:
        trainer, notes = build(recipe, run.context, accept_changes=request.accept_changes, dry_run=True)
        show_dry_run(trainer, notes, console)
        distributed.stop()
        return
    with _lock_folder(recipe.save_dir), ExitStack() as stack:
        # Outside of the training loop there is nothing to save yet, or it is being saved.
        previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        stack.callback(signal.signal, signal.SIGUSR1, previous)
        trainer, notes = build(recipe, run.context, accept_changes=request.accept_changes)
        for note in notes:
            console.print(note)
        console.print(describe_model(trainer))
        step, last_step = trainer.state.step, recipe.train.max_update
        # Running a finished command again is no error, so that a script can be run again.
        if last_step is not None and step >= last_step:
            console.print(f"{recipe.save_dir}: has already made {step} updates; raise --max-update to go on")
            distributed.stop()
            return
        # Only the first process writes files.
        sinks: list[Sink] = []
        if distributed.rank == 0:
            sinks = _open_sinks(recipe, step)
        for sink in sinks:
            stack.callback(sink.close)
        end = follow(trainer.run(), sinks, step, last_step, console)
    distributed.stop()
    console.print(f"{end.reason} after {end.step} updates and {end.seconds:.0f} s: {recipe.save_dir}")
    # As shells do.
    if end.interrupted:
        sys.exit(128 + end.interrupted)


def _open_sinks(recipe: Recipe, step: int) -> list[Sink]:
    """Return the files that keep the events of a run; the recipe is written beside them."""
    from masscli.cli.training_events import LogFile, TensorBoard
    from masscli.core.files import write_atomic

    assert recipe.save_dir is not None
    write_atomic(recipe.save_dir / "recipe.toml", to_toml(to_dict(recipe)).encode())
    sinks: list[Sink] = [LogFile(recipe.save_dir / "log.jsonl", step)]
    if recipe.train.tensorboard_logdir is not None:
        sinks.append(TensorBoard(recipe.train.tensorboard_logdir))
    return sinks


@contextmanager
def _lock_folder(folder: Path) -> Iterator[None]:
    """Keep a second process from training into the same folder.

    The lock ends with the process, however that ends. A new folder in which nothing was written, because the
    run was refused, is removed.
    """
    from masscli.core.files import acquire_lock

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
