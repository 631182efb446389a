"""Let signals end a command as Ctrl-C does: it removes what it has half written, and says that it stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import FrameType
from typing import TypeVar

Result = TypeVar("Result")


class Stopped(KeyboardInterrupt):
    """Raised when a signal other than Ctrl-C asks the process to end; `number` is that of the signal."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def signal_of(stop: KeyboardInterrupt) -> signal.Signals:
    """Return the signal that has stopped the process: SIGINT, unless `stop` names another one."""
    return signal.Signals(stop.number if isinstance(stop, Stopped) else signal.SIGINT)


def stop_on_signals() -> None:
    """Let SIGTERM and SIGHUP raise Stopped, unless the caller ignores them, as nohup does the latter."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _stop)


def end_on_signals() -> None:
    """Let signals end the process at once, because nothing is left to be done; what is ignored stays so."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) in (signal.default_int_handler, _stop):
            signal.signal(number, signal.SIG_DFL)


def kill_children() -> None:
    """Kill the processes that Python's multiprocessing has started and that are left at the end of a command.

    They are left if a second signal interrupts their end. Python sends them SIGTERM at exit, and would wait
    forever for one that ignores it.
    """
    # Most commands do not import it.
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.kill()


def end_with_parent() -> None:
    """Let this process, which Python's multiprocessing has started, end as soon as its parent has ended.

    A parent that is killed cannot stop its children, and at their exit they would wait until somebody reads
    what they send. This must be called in the child.
    """
    # Most commands do not import it.
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    assert parent is not None

    def monitor() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=monitor, daemon=True).start()


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def call_interruptibly(function: Callable[[], Result]) -> Result:
    """Return the result of a function of C or C++ that may take minutes, but obey signals meanwhile.

    Python handles signals between its own instructions, and in the main thread only. So another thread calls
    the function, which must release Python's lock. After a signal this thread is left behind; it does not
    keep the process from ending.
    """
    future: Future[Result] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future.result()
