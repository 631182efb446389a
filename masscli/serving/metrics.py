"""Counters of a server, in the text format of Prometheus (exposition format 0.0.4)."""

from __future__ import annotations

import time
from collections import defaultdict

HELP = {
    "masscli_requests_total": "Requests answered, by path and status.",
    "masscli_request_seconds_total": "Seconds from requests to their answers.",
    "masscli_texts_total": "Texts translated.",
    "masscli_characters_total": "Characters of the texts translated.",
    "masscli_batches_total": "Groups of requests that were translated together.",
    "masscli_batch_seconds_total": "Seconds spent on translating.",
    "masscli_reloads_total": "Times that the models were read again, by result.",
}
"""What each counter counts, by its name."""


class Metrics:
    """Counters of a server since its start, each identified by a name and labels."""

    def __init__(self) -> None:
        self.started = time.time()
        self.sums: defaultdict[tuple[str, str], float] = defaultdict(float)

    def add(self, name: str, amount: float = 1, **labels: str | int) -> None:
        """Add `amount` to the counter with this name and these labels; a new counter begins at 0."""
        inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
        self.sums[name, f"{{{inside}}}" if inside else ""] += amount

    def render(self, waiting: int) -> str:
        """Return all counters, and the number of `waiting` requests, in the text format of Prometheus."""
        lines = []
        for name, text in HELP.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} counter"]
            for (key, labels), value in sorted(self.sums.items()):
                if key == name:
                    # With fewer digits, large counters would not change for many requests.
                    lines.append(f"{name}{labels} {value:.15g}")
        gauges = (
            (
                "masscli_waiting_requests",
                "Requests that wait for their translation.",
                waiting,
            ),
            (
                "masscli_start_time_seconds",
                "When the server was started, in Unix time.",
                self.started,
            ),
        )
        for name, text, number in gauges:
            lines += [
                f"# HELP {name} {text}",
                f"# TYPE {name} gauge",
                f"{name} {number:.15g}",
            ]
        return "\n".join(lines) + "\n"
