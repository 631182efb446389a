"""Share the sentences of a batch among the threads of a processor.

PyTorch shares each single operation among its threads, and a step of decoding is a hundred operations that
are too small for it: threads wait for each other most of the time. Here each thread decodes some sentences
of a batch by itself, from the first step to the last. A sentence's result does not depend on its batch, so
it does not depend on the number of threads either (in fp32; see masscli/generation/search.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Result = TypeVar("Result")
Decode = Callable[[list[int]], list[Result]]
"""Decodes the sentences with these indices, and returns their results in this order."""

MIN_PART_ROWS = 40
"""Fewest rows (beams of all sentences) that a thread decodes by itself. Products of fewer rows take more time
for each row than threads that share them lose (docs/results/speed.md)."""
MAX_PARTS = 8
"""Most parts of a batch. Only one thread at a time can run Python, which is a tenth of the time of decoding;
further threads share the operations of the parts."""


@contextmanager
def decoding_threads(
    decode: Decode[Result], width: int, threads: int
) -> Iterator[Decode[Result]]:
    """Make a function that decodes a batch as `decode` does, but shares its sentences among `threads`.

    A sentence has `width` rows. Batches are decoded one after another, so that they take as much memory as
    without threads. With one thread, and for a small batch, `decode` is called once for the whole batch.
    """
    if threads == 1:
        yield decode
        return

    @torch.inference_mode()
    def decode_part(part: list[int], inner_threads: int) -> list[Result]:
        # Inference mode and the number of threads belong to the thread that sets them.
        torch.set_num_threads(inner_threads)
        return decode(part)

    def decode_in_parts(batch: list[int]) -> list[Result]:
        parts = deal(batch, width, threads)
        if len(parts) == 1:
            return decode(batch)
        inner_threads = [threads // len(parts)] * len(parts)
        results: dict[int, Result] = {}
        for part, found in zip(
            parts, pool.map(decode_part, parts, inner_threads), strict=True
        ):
            results.update(zip(part, found, strict=True))
        return [results[number] for number in batch]

    pool = ThreadPoolExecutor(min(threads, MAX_PARTS), "decode")
    try:
        yield decode_in_parts
    finally:
        # An interrupted program waits for the parts that have begun, and not for the others.
        pool.shutdown(cancel_futures=True)
        # Threads that begin later, as those of a data loader, take the number that was set last.
        torch.set_num_threads(threads)


def deal(batch: Sequence[int], width: int, threads: int) -> list[list[int]]:
    """Divide a batch into at most `threads` parts, each with MIN_PART_ROWS rows or more; at least one part.

    Sentences have `width` rows, and are dealt out in turn: where they are sorted by length, the parts take
    about the same time.
    """
    parts = min(threads, MAX_PARTS, len(batch) * width // MIN_PART_ROWS)
    if parts < 2:
        return [list(batch)]
    return [list(batch[first::parts]) for first in range(parts)]
