"""Run a training command: what `pretrain` and `finetune` share."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing

from masscli.cli.unused_options import warn_unused
from masscli.core import distributed
from masscli.core.listing import count_of
from masscli.core.memory import tune_heap
from masscli.training.setup.request import TrainRequest
from masscli.training.signals import hold_back_usr1


def train(request: TrainRequest) -> None:
    """Compose the recipe of a request, train its run, and show the events on the console.

    A dry run is only described, and a finished run is only reported. If a signal stopped the training, the
    process exits with status 128 plus the number of the signal.
    """
    from rich.console import Console

    from masscli.api.training import open_run
    from masscli.cli.dry_run import describe_model, show_dry_run
    from masscli.cli.training_events import follow
    from masscli.training.setup.build import build
    from masscli.training.setup.compose import compose

    # A program that trains with masscli decides about its memory itself.
    tune_heap()
    # Under torchrun only the first process speaks.
    console = Console(
        stderr=True, soft_wrap=True, quiet=distributed.rank != 0, highlight=False
    )
    composed = compose(request)
    if distributed.rank == 0:
        warn_unused(composed.unused_options, request.names)
    recipe = composed.recipe
    if request.dry_run:
        trainer, notes = build(
            recipe,
            composed.context,
            accept_changes=request.accept_changes,
            dry_run=True,
        )
        show_dry_run(trainer, notes, console)
        distributed.stop()
        return
    with ExitStack() as stack:
        # Before the training loop there is nothing to save yet, and after it all is being saved.
        stack.enter_context(hold_back_usr1())
        run = stack.enter_context(open_run(composed, request.accept_changes))
        for note in run.notes:
            console.print(note)
        console.print(describe_model(run.trainer))
        step = run.trainer.state.step
        # Running a finished command again is not an error, so that scripts can be rerun.
        if run.is_finished:
            console.print(
                f"{recipe.save_dir}: has already made {count_of(step, 'update')}; raise --max-update to go on"
            )
            distributed.stop()
            return
        # If the console fails, such as by a pipe that nobody reads, this saves the run while its folder is
        # locked.
        events = stack.enter_context(closing(run.events()))
        end = follow(events, step, recipe.train.max_update, console)
    distributed.stop()
    console.print(
        f"{end.reason} after {count_of(end.step, 'update')} and {end.seconds:.0f} s: {recipe.save_dir}"
    )
    # As shells do.
    if end.interrupted:
        sys.exit(128 + end.interrupted)
