"""Share the sentences of a batch among the threads of a processor.

PyTorch shares each single operation among its threads, and a step of decoding is a hundred operations that
are too small for it: threads wait for each other most of the time. Here each thread decodes some sentences
of a batch by itself, from the first step to the last. A sentence's result does not depend on its batch, so
it does not depend on the number of threads either (in fp32; see masscli/generation/search.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Result = TypeVar("Result")

MIN_PART_ROWS = 40
"""Minimum number of rows (beams of all sentences) that a thread decodes by itself. Each row of a smaller
matrix product takes longer, which costs more than threads lose when they share each product
(docs/results/speed.md)."""
MAX_PARTS = 8
"""Maximum number of parts of a batch, and of parts that are decoded at the same time. Only one thread at a
time can run Python, which takes a tenth of the time of decoding; further threads share the operations of
the parts."""


def decode_in_threads(
    decode: Callable[[list[int]], list[Result]],
    batches: Iterable[Sequence[int]],
    width: int,
    threads: int,
) -> Iterator[tuple[list[int], list[Result]]]:
    """Decode batches of sentences in `threads`; yield the indices of some sentences and their results.

    `decode` returns the results of the sentences with given indices, each of `width` rows. It is called once
    for a batch that is too small to be divided, and for each part of another one. Parts wait in a queue, so
    that no thread is idle before the last one, and those that are decoded at the same time take as much
    memory as a batch.
    """
    small = []
    parts = []
    for batch in batches:
        divided = deal(batch, width, threads)
        if len(divided) == 1:
            small += divided
        else:
            parts += divided
    for part in small:
        yield part, decode(part)
    if not parts:
        return
    workers = min(threads, MAX_PARTS, len(parts))
    # Inference mode and the number of threads belong to the thread that sets them.
    pool = ThreadPoolExecutor(
        workers,
        "decode",
        initializer=torch.set_num_threads,
        initargs=(threads // workers,),
    )
    try:
        results = pool.map(torch.inference_mode()(decode), parts)
        yield from zip(parts, results, strict=True)
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
