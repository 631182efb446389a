"""Sentences of a batch that threads share: each is decoded once, its result is its own, and nothing is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from masscli.generation.threads import (
    MAX_PARTS,
    MIN_PART_ROWS,
    deal,
    decoding_threads,
)

THREADS = 3


@pytest.fixture(autouse=True)
def threads_of_torch() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def test_each_sentence_is_decoded_once_and_gets_its_own_result() -> None:
    batch = list(range(200, 80, -1))
    decoded: list[int] = []

    def decode(part: list[int]) -> list[str]:
        decoded.extend(part)
        return [f"output {number}" for number in part]

    with decoding_threads(decode, 5, THREADS) as decode_in_threads:
        assert decode_in_threads(batch) == [f"output {number}" for number in batch]
        assert decode_in_threads(batch[:1]) == ["output 200"]
    assert sorted(decoded) == sorted([*batch, 200])


def test_the_parts_of_a_batch_run_at_the_same_time_with_one_thread_each() -> None:
    """Each part waits until all have begun; if they ran one after the other, the barrier would break."""
    barrier = threading.Barrier(THREADS)
    seen: list[tuple[int, bool]] = []

    def decode(part: list[int]) -> list[int]:
        barrier.wait(timeout=60)
        seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return part

    with decoding_threads(decode, MIN_PART_ROWS, THREADS) as decode_in_threads:
        decode_in_threads([5, 4, 3])
    assert seen == [(1, True)] * THREADS


def test_threads_that_are_left_over_share_the_operations_of_the_parts() -> None:
    seen: list[int] = []

    def decode(part: list[int]) -> list[int]:
        seen.append(torch.get_num_threads())
        return part

    with decoding_threads(decode, MIN_PART_ROWS, 5) as decode_in_threads:
        decode_in_threads([1, 2])
    assert seen == [2, 2]


def test_the_number_of_threads_is_given_back_even_after_an_error() -> None:
    def decode(part: list[int]) -> list[int]:
        if 3 in part:
            raise ValueError("sentence 3")
        return part

    with (
        pytest.raises(ValueError, match=r"^sentence 3$"),
        decoding_threads(decode, MIN_PART_ROWS, THREADS) as decode_in_threads,
    ):
        decode_in_threads([5, 4, 3, 2, 1])
    assert torch.get_num_threads() == THREADS
    # Threads that begin later have the same number, such as those in which autograd works.
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert later == [THREADS]


def test_parts_are_of_similar_length_and_not_too_small() -> None:
    lengths = [90, 80, 70, 60, 50, 40, 30, 20]
    assert deal(range(8), MIN_PART_ROWS // 4, 2) == [[0, 2, 4, 6], [1, 3, 5, 7]]
    first, second = deal(lengths, MIN_PART_ROWS // 4, 2)
    assert sum(first) - sum(second) == 40
    # One row less, and the second part would be too small.
    assert deal([1, 2], MIN_PART_ROWS - 1, 2) == [[1, 2]]
    assert deal([1, 2], MIN_PART_ROWS, 2) == [[1], [2]]
    assert len(deal(range(1000), MIN_PART_ROWS, 64)) == MAX_PARTS
