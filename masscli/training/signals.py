"""SIGTERM and Ctrl-C as requests to stop, which the training loop grants after the current update."""

from __future__ import annotations

import signal


class Signals:
    """While entered, remember the first signal; the same signal once more acts at once."""

    def __init__(self) -> None:
        self.received = 0
        """Number of the first signal; 0 for none."""

    def __enter__(self) -> Signals:
        def remember(number: int, frame: object) -> None:
            self.received = self.received or number
            signal.signal(number, self._previous[number])

        self._previous = {}
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[int(number)] = signal.signal(number, remember)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
