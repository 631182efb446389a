"""What `pretrain` and `finetune` have in common: all of it but the name of the flag that chooses the objective."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from masscli.cli.training_request import TrainRequest
from masscli.core import distributed
from masscli.core.config import to_dict, to_toml
from masscli.core.errors import MasscliError


def train(request: TrainRequest) -> None:
    """Compose the recipe, build the trainer, run it, and end with the exit status that the run deserves."""
    from rich.console import Console

    from masscli.cli.training_events import Board, Log, Sink, follow
    from masscli.core.files import write_atomic
    from masscli.models.transformer import count_parameters
    from masscli.training.setup.build import build
    from masscli.training.setup.compose import compose

    console = Console(stderr=True, soft_wrap=True, quiet=distributed.rank != 0)
    recipe = compose(request)
    assert recipe.save_dir is not None
    with _alone(recipe.save_dir), ExitStack() as opened:
        trainer, notes = build(recipe)
        for note in notes:
            console.print(note, highlight=False)
        size = count_parameters(trainer.model)
        streams = ", ".join(recipe.stream)
        how = str(trainer.model.compute_dtype).removeprefix("torch.")
        console.print(
            f"{recipe.model.arch}: {size:,} parameters, {how} on {trainer.device}; streams {streams}",
            highlight=False,
        )
        if recipe.train.max_update is not None and trainer.state.step >= recipe.train.max_update:
            console.print(
                f"{recipe.save_dir}: has already made {trainer.state.step} updates; raise --max-update to go on",
                highlight=False,
            )
            distributed.stop()
            return
        sinks: list[Sink] = []
        if distributed.rank == 0:
            write_atomic(recipe.save_dir / "recipe.toml", to_toml(to_dict(recipe)).encode())
            sinks.append(Log(recipe.save_dir / "log.jsonl", trainer.state.step))
            if recipe.train.tensorboard_logdir is not None:
                sinks.append(Board(recipe.train.tensorboard_logdir))
        for sink in sinks:
            opened.callback(sink.close)
        end = follow(trainer.run(), sinks, trainer.state.step, recipe.train.max_update, console)
    distributed.stop()
    console.print(
        f"{end.reason} after {end.step} updates and {end.seconds:.0f} s: {recipe.save_dir}", highlight=False
    )
    if end.interrupted:
        sys.exit(130 if end.interrupted == signal.SIGINT else 143)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second process from training into the same folder; the lock ends with the process, however it ends.

    A new folder in which nothing was written, since the run was refused, goes.
    """
    from masscli.core.files import acquire_lock

    if distributed.rank != 0:
        yield
        return
    fresh = not folder.exists()
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
            if fresh and {path.name for path in folder.rglob("*")} <= {".lock", "checkpoints"}:
                shutil.rmtree(folder)
