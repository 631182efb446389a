"""What is predicted of a queue from the batches before it."""

from __future__ import annotations

import pytest

from masscli.serving.throughput import Throughput


def test_nothing_is_predicted_before_a_full_batch() -> None:
    throughput = Throughput()
    throughput.record("en-de", 10, 5.0, is_full=False)
    assert throughput.seconds("en-de", 1000) == 0
    # A small batch comes first, so that the speed is soon known.
    assert throughput.characters("en-de", 0.1, limit=1000) == 200


def test_full_batches_move_the_estimate_and_others_only_make_it_shorter() -> None:
    throughput = Throughput()
    throughput.record("en-de", 100, 10.0, is_full=True)
    assert throughput.seconds("en-de", 50) == pytest.approx(5.0)
    assert throughput.seconds("de-en", 50) == 0
    assert throughput.characters("en-de", 3.0, limit=1000) == 30
    assert throughput.characters("en-de", 3.0, limit=10) == 10
    throughput.record("en-de", 10, 9.0, is_full=False)
    assert throughput.seconds("en-de", 50) == pytest.approx(5.0)
    throughput.record("en-de", 10, 0.5, is_full=False)
    assert throughput.seconds("en-de", 100) == pytest.approx(7.5)
    throughput.record("en-de", 100, 12.5, is_full=True)
    assert throughput.seconds("en-de", 100) == pytest.approx(10.0)
