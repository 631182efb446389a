"""Predict how long batches of requests take, from the speed of the full batches before them."""

from __future__ import annotations

from collections.abc import Hashable

FIRST_BATCH = 0.2
"""Largest share of a full batch that is tried before the speed is known."""


class Throughput:
    """The seconds that a character takes to translate, measured for each kind of batch.

    The kind of a batch is what all of its requests have in common, such as their direction.
    """

    def __init__(self) -> None:
        self._seconds_per_character: dict[Hashable, float] = {}

    def record(
        self, kind: Hashable, characters: int, seconds: float, *, is_full: bool
    ) -> None:
        """Note that a batch of this kind, with so many characters, took so many seconds.

        `is_full` says that more requests of the kind waited than the batch could hold. A small batch is
        slower per character, and a long queue is translated in full ones. So a batch that is not full counts
        only if there is an estimate and it was faster; it never makes the estimate of a queue longer. The
        estimate moves halfway to the new measurement, so that it follows changes of speed.
        """
        measured = seconds / max(1, characters)
        earlier = self._seconds_per_character.get(kind)
        if earlier is None:
            if is_full:
                self._seconds_per_character[kind] = measured
        elif is_full or measured < earlier:
            self._seconds_per_character[kind] = (earlier + measured) / 2

    def seconds(self, kind: Hashable, characters: int) -> float:
        """Return the seconds that so many characters are expected to take; 0 if nothing was recorded."""
        return characters * self._seconds_per_character.get(kind, 0.0)

    def characters(self, kind: Hashable, seconds: float, limit: int) -> int:
        """Return how many characters are expected to take so many seconds, but at most `limit`.

        If nothing was recorded, this is FIRST_BATCH of the limit, so that the speed is soon known.
        """
        if kind not in self._seconds_per_character:
            return int(FIRST_BATCH * limit)
        needed = self.seconds(kind, limit)
        if needed <= seconds:
            return limit
        return int(limit * seconds / needed)
