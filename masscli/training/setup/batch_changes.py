"""Go on with other batches: where a stream stands when the size of its micro-batches changes."""

from __future__ import annotations

from collections.abc import Sequence

from masscli.checkpoint.checkpoint import RunState
from masscli.data.batches.sampler import BatchSampler, Position
from masscli.training.config import TrainConfig
from masscli.training.stream import Stream


def rescale_positions(
    streams: Sequence[Stream], before: TrainConfig, now: TrainConfig, state: RunState
) -> list[str]:
    """Change the positions of a state to those after an equal share of the epoch; return a note if any moved.

    Micro-batches of another size come in another order. The share of an epoch that has been read is kept, but
    not which examples: of this epoch some are read twice and others not at all.
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
            state.positions[stream.name] = _rescale(position, old_sampler, stream.sampler)
    return [
        "batches have another size, so the order of this epoch changes: some of its examples are read twice, "
        "others not at all"
    ]


def _batch_limits(train: TrainConfig) -> tuple[int | None, ...]:
    """Return the options that decide which examples form a micro-batch."""
    return train.max_tokens, train.batch_size, train.batch_size_multiple


def _rescale(position: Position, before: BatchSampler, now: BatchSampler) -> Position:
    """Return the position after the same share of its window."""
    count_before = before.batches_in_window(position)
    # All examples of a window may have been left out.
    if not count_before:
        return position
    share = position.batch / count_before
    return position._replace(batch=round(share * now.batches_in_window(position)))
