"""The counters of the server are exact, however large they have become."""

from __future__ import annotations

from masscli.serving.metrics import Metrics


def test_a_large_counter_moves_with_every_addition() -> None:
    metrics = Metrics()
    metrics.add("masscli_characters_total", 123_456_789)
    before = metrics.render(waiting=0)
    metrics.add("masscli_characters_total", 1)
    after = metrics.render(waiting=0)
    assert "\nmasscli_characters_total 123456789\n" in before
    assert "\nmasscli_characters_total 123456790\n" in after
