"""The micro-batches of each update.

Every process plans the micro-batches of all processes, and prepares those that it uses itself. So the
micro-batches of an update do not depend on the number of processes. With `--batch-reuse` n, a draw of
micro-batches is prepared once and used for n updates in a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import NamedTuple

from masscli.core import distributed
from masscli.data.batches.loader import PlannedBatch, PreparedBatch, load, plan
from masscli.training.run_parts import RunParts


class UpdateBatches(NamedTuple):
    """The micro-batches of one update."""

    planned: list[PlannedBatch]
    """The plans of all micro-batches, also those of other processes."""
    prepared: list[PreparedBatch]
    """The micro-batches of this process, with their contents; there may be none."""


class MicroBatches:
    """The micro-batches of the updates of a run, drawn from its streams.

    The state of the run says how many updates have been made, and where each stream continues.
    """

    def __init__(self, parts: RunParts) -> None:
        self.recipe = parts.recipe
        self.streams = parts.streams
        self.state = parts.state

    def __iter__(self) -> Iterator[UpdateBatches]:
        """Yield the micro-batches of each update; those of a draw come `--batch-reuse` times in a row.

        The iterator begins after `state.step` updates and ends at `--max-update`; without this option it does
        not end.
        """
        train = self.recipe.train
        reuse = train.batch_reuse
        first_draw = self.state.step // reuse
        last_draw = None
        if train.max_update is not None:
            last_draw = train.max_update // reuse - 1
            if first_draw > last_draw:
                return
        # The plan is computed twice: the loader's runs ahead by the prefetched batches, and the other one
        # tracks what is consumed.
        mine = load(
            {name: stream.batch_builder for name, stream in self.streams.items()},
            self._plan(first_draw),
            rank=distributed.rank,
            world=distributed.world_size,
            last_draw=last_draw,
            workers=train.num_workers,
        )
        for draw, group in groupby(
            self._plan(first_draw), key=lambda planned: planned.draw
        ):
            if last_draw is not None and draw > last_draw:
                return
            planned = list(group)
            # Processes may have unequal shares, or none.
            own = [
                batch
                for batch in planned
                if batch.micro % distributed.world_size == distributed.rank
            ]
            prepared = [next(mine) for _ in own]
            for _ in range(reuse):
                yield UpdateBatches(planned, prepared)

    def _plan(self, first_draw: int) -> Iterator[PlannedBatch]:
        """Yield the plans of all micro-batches from draw `first_draw` on; it does not end."""
        return plan(
            {name: stream.sampler for name, stream in self.streams.items()},
            self._sampling_weights,
            self.recipe.seed,
            self.state.update_freq,
            first_draw,
            self.state.positions,
        )

    def _sampling_weights(self, draw: int) -> dict[str, float]:
        """Return the sampling weight of each stream, by name, for draw number `draw`.

        It is the `sampling_weight` of the stream, or 0 if the loss weight of the stream is 0 at this time. If
        all streams have loss weight 0, all keep their sampling weights.
        """
        update = draw * self.recipe.train.batch_reuse
        weights = {
            name: stream.sampling_weight for name, stream in self.streams.items()
        }
        inactive = [
            name
            for name, stream in self.streams.items()
            if not stream.loss_weight.value_at(update)
        ]
        # A stream with loss weight 0 need not be read, unless there is no other stream.
        if len(inactive) < len(weights):
            for name in inactive:
                weights[name] = 0.0
        return weights
