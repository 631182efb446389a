"""Dynamic loss scaling for fp16."""

from __future__ import annotations

GROWTH_INTERVAL = 2000


class LossScale:
    """A factor on the loss that keeps fp16 gradients from vanishing (Micikevicius et al. 2018, section 3.2).

    It is halved when a gradient overflows, and doubled after every 2,000 updates in a row without an
    overflow. If `enabled` is false, its value is 1, and `record_overflow` must not be called.
    """

    def __init__(
        self, enabled: bool, value: float, updates_since_overflow: int
    ) -> None:
        self.enabled = enabled
        # The state of every run has a scale, which is used only in fp16.
        self.value = value if enabled else 1.0
        self.updates_since_overflow = updates_since_overflow

    def record_overflow(self) -> None:
        """Halve the scale after an update with a gradient that is not finite."""
        self.value /= 2
        self.updates_since_overflow = 0

    def record_success(self) -> None:
        """Count an update with a finite gradient, and double the scale after every 2,000 of them in a row."""
        self.updates_since_overflow += 1
        if self.enabled and self.updates_since_overflow % GROWTH_INTERVAL == 0:
            self.value *= 2
