"""Handle SIGTERM and Ctrl-C as requests to stop, which the training loop follows after the current update."""

from __future__ import annotations

import signal


class Signals:
    """A context manager that remembers the first signal; a second signal of the same kind acts at once."""

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
