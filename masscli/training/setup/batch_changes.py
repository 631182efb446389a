"""Continue a run with micro-batches of another size: find the position of each stream in its epoch."""

from __future__ import annotations

from collections.abc import Sequence

from masscli.checkpoint.run_state import RunState
from masscli.data.batches.sampler import BatchSampler, Position
from masscli.training.config import TrainConfig
from masscli.training.stream import Stream


def rescale_positions(
    streams: Sequence[Stream], before: TrainConfig, now: TrainConfig, state: RunState
) -> list[str]:
    """Adapt the positions of the streams in `state` to a changed size of micro-batches.

    `before` and `now` are the options of the run so far and from now on. Micro-batches of another size
    come in another order, so each stream continues after the same share of its epoch: some of its
    examples are read twice in this epoch, and others not at all. A note about this is returned, or an
    empty list if the size has not changed.
    """
    if _batch_limits(before) == _batch_limits(now):
        return []
    for stream in streams:
        if stream.name in state.positions:
            limits = stream.sampler.limits._replace(
                max_tokens=before.max_tokens,
                batch_size=before.batch_size,
                batch_size_multiple=before.batch_size_multiple,
            )
            position = state.positions[stream.name]
            old_sampler = stream.sampler.with_limits(limits)
            state.positions[stream.name] = _rescale(
                position, old_sampler, stream.sampler
            )
    return [
        "batches have another size, so the order of this epoch changes: some of its examples are read twice, "
        "others not at all"
    ]


def _batch_limits(train: TrainConfig) -> tuple[int | None, ...]:
    """Return those options that decide which examples form a micro-batch."""
    return train.max_tokens, train.batch_size, train.batch_size_multiple


def _rescale(position: Position, before: BatchSampler, now: BatchSampler) -> Position:
    """Return the position in the order of the sampler `now` after the same share of micro-batches.

    `position` is one in the order of the sampler `before`. The share is that of its window, which is the part
    of the epoch whose examples are shuffled together.
    """
    count_before = before.batches_in_window(position)
    # All examples of a window may have been left out.
    if not count_before:
        return position
    share = position.batch / count_before
    return position._replace(batch=round(share * now.batches_in_window(position)))
