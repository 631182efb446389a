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
    decode_in_threads,
)

THREADS = 3


@pytest.fixture(autouse=True)
def threads_of_torch() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def test_each_sentence_is_decoded_once_and_gets_its_own_result() -> None:
    batches = [list(range(200, 80, -1)), [5], list(range(80, 40, -1))]
    decoded: list[int] = []

    def decode(part: list[int]) -> list[str]:
        decoded.extend(part)
        return [f"output {number}" for number in part]

    results = {}
    for numbers, found in decode_in_threads(decode, batches, 5, THREADS):
        results.update(zip(numbers, found, strict=True))
    everything = [number for batch in batches for number in batch]
    assert results == {number: f"output {number}" for number in everything}
    assert sorted(decoded) == sorted(everything)


def test_parts_of_all_batches_run_at_the_same_time_with_one_thread_each() -> None:
    """Each part waits until three have begun; if threads waited for the end of a batch, the barrier would break."""
    barrier = threading.Barrier(THREADS)
    seen: list[tuple[int, bool]] = []

    def decode(part: list[int]) -> list[int]:
        barrier.wait(timeout=60)
        seen.append((torch.get_num_threads(), torch.is_inference_mode_enabled()))
        return part

    batches = [[9, 8], [7, 6], [5, 4]]
    list(decode_in_threads(decode, batches, MIN_PART_ROWS, THREADS))
    assert seen == [(1, True)] * 6


def test_threads_that_are_left_over_share_the_operations_of_the_parts() -> None:
    seen: list[int] = []

    def decode(part: list[int]) -> list[int]:
        seen.append(torch.get_num_threads())
        return part

    list(decode_in_threads(decode, [[1, 2]], MIN_PART_ROWS, 5))
    assert seen == [2, 2]


def test_a_batch_that_is_too_small_to_divide_is_decoded_by_all_threads() -> None:
    seen: list[int] = []

    def decode(part: list[int]) -> list[int]:
        seen.append(torch.get_num_threads())
        return part

    batches = [[1, 2], [3]]
    list(decode_in_threads(decode, batches, MIN_PART_ROWS // 4, THREADS))
    assert seen == [THREADS] * 2


def test_the_number_of_threads_is_restored_even_after_an_error() -> None:
    def decode(part: list[int]) -> list[int]:
        if 3 in part:
            raise ValueError("sentence 3")
        return part

    with pytest.raises(ValueError, match=r"^sentence 3$"):
        list(decode_in_threads(decode, [[5, 4, 3, 2, 1]], MIN_PART_ROWS, THREADS))
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
