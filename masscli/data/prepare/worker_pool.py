"""A map over worker processes that keeps the order of its tasks.

Only a few tasks are submitted at any time, so that memory is bounded. Workers are spawned, not forked, and
exit as soon as their parent is gone, even if it was killed.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import resource_tracker
from types import TracebackType
from typing import TypeVar

from masscli.core.errors import MasscliError, cannot_start_processes
from masscli.core.stopping import end_with_parent

Task = TypeVar("Task")
Result = TypeVar("Result")

TASKS_PER_WORKER = 3
"""Number of submitted tasks for each worker, so that no worker has to wait for its next one."""


class WorkerPool:
    """Runs tasks in `workers` processes, or in this process if `workers` is 1.

    Raises MasscliError if there is no room for the queues between the processes.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._executor: ProcessPoolExecutor | None = None
        # A forked process would inherit locks that threads of this one hold, and might wait for them forever.
        if workers > 1:
            # A helper of Python ignores SIGINT and SIGTERM, but a SIGHUP to all processes would end it first.
            before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
            resource_tracker.ensure_running()
            signal.signal(signal.SIGHUP, before)
            context = multiprocessing.get_context("spawn")
            try:
                self._executor = ProcessPoolExecutor(workers, context, _start_worker)
            except OSError as error:
                raise cannot_start_processes(
                    f"--workers {workers}", error, "--workers 1"
                ) from None

    def map(
        self, function: Callable[[Task], Result], tasks: Iterable[Task]
    ) -> Iterator[Result]:
        """Yield function(task) for every task, in order.

        Tasks are taken from the iterable as they are needed. Raises MasscliError if a worker process was
        killed, and passes on an error of `function`.
        """
        if self._executor is None:
            yield from map(function, tasks)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for task in tasks:
                waiting.append(self._executor.submit(function, task))
                if len(waiting) > TASKS_PER_WORKER * self._workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        # One worker that is killed, usually for lack of memory, breaks the whole pool.
        except BrokenProcessPool:
            raise MasscliError(
                "a worker process was killed",
                "if memory ran out, use fewer --workers; the same command resumes the run",
            ) from None

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # After an error, tasks that have not begun are of no use.
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    """Prepare a worker process: it ignores SIGINT and SIGHUP, which the parent handles, and exits with it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
