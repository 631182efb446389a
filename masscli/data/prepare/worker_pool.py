"""An ordered map over worker processes: results come in the order of the jobs, and only a few jobs are ever under way.

Workers are started afresh (not forked) and leave as soon as their parent is gone, even when it was killed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from types import TracebackType
from typing import TypeVar

from masscli.core.errors import MasscliError

J = TypeVar("J")
R = TypeVar("R")


class Pool:
    """`workers` processes; with one, everything happens in this process."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        if workers > 1:
            self._executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start)

    def map(self, function: Callable[[J], R], jobs: Iterable[J]) -> Iterator[R]:
        """function(job) for every job, in order; jobs are drawn as they are needed."""
        if self._executor is None:
            yield from map(function, jobs)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for job in jobs:
                waiting.append(self._executor.submit(function, job))
                if len(waiting) > 3 * self._workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            hint = "if memory ran out, use fewer --workers; the same command goes on from here"
            raise MasscliError("a worker process was killed", hint) from None

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _start() -> None:
    """In a worker: Ctrl-C is the parent's business, and so is our life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def leave() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=leave, daemon=True).start()
