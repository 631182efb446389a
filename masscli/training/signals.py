"""SIGTERM and Ctrl-C as a wish to stop, which the loop grants after the update it is in."""

from __future__ import annotations

import signal


class Signals:
    """While entered: `told` is the signal that this process was sent first, 0 for none; the same signal once more acts at once."""

    def __init__(self) -> None:
        self.told = 0

    def __enter__(self) -> Signals:
        def wish(number: int, frame: object) -> None:
            self.told = self.told or number
            signal.signal(number, self._before[number])

        self._before = {int(n): signal.signal(n, wish) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
