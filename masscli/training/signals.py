"""Turn signals into requests that the training loop carries out after the current update, or in a validation.

SIGTERM, Ctrl-C and SIGHUP, which comes when the terminal is closed, stop the run. SIGUSR1, which SLURM sends
some time before a limit (`sbatch --signal=USR1@120`), saves a checkpoint and continues the run, or stops it
with --stop-on-signal usr1.

An update takes seconds, but a validation may take many minutes, so it is interrupted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOP_SIGNALS: tuple[signal.Signals, ...] = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
)


class Interruption(BaseException):
    """Raised in `Signals.interruptible` when a signal comes.

    Like KeyboardInterrupt it is not an Exception, so that no `except Exception` catches it.
    """


class Signals:
    """A context manager within which SIGTERM, SIGINT, SIGHUP and SIGUSR1 are only recorded.

    They are recorded in `received` if they stop the run, and in `save_requested` otherwise. What the caller
    ignores stays ignored: nohup does it with SIGHUP, and shells with the SIGINT of a job in the background.

    If a signal that stops the run comes a second time, the handler from before the context is called, which
    by default ends the process. Outside of the main thread nothing is recorded.
    """

    def __init__(self, stop_on_usr1: bool = False) -> None:
        self._stop_signals = STOP_SIGNALS
        if stop_on_usr1:
            self._stop_signals = (*STOP_SIGNALS, signal.SIGUSR1)
        self.received = 0
        """Number of the first signal received that stops the run; 0 for none."""
        self.save_requested = False
        """Whether a signal has asked to save a checkpoint and continue. The code that saves it sets
        this to False."""
        self._stop_interrupts = False
        self._save_interrupts = False

    def __enter__(self) -> Signals:
        def remember(number: int, frame: object) -> None:
            self.received = self.received or number
            # With the previous handler back, an impatient second Ctrl-C ends the process.
            signal.signal(number, self._previous[number])
            self._interrupt()

        def request_save(number: int, frame: object) -> None:
            self.save_requested = True
            self._interrupt()

        self._previous = {}
        # Python delivers signals only to the main thread, and only that thread may set handlers.
        if threading.current_thread() is not threading.main_thread():
            return self
        self._previous[int(signal.SIGUSR1)] = signal.signal(
            signal.SIGUSR1, request_save
        )
        for number in self._stop_signals:
            if signal.getsignal(number) is signal.SIG_IGN:
                continue
            previous = signal.signal(number, remember)
            self._previous.setdefault(int(number), previous)
        # A SIGUSR1 that arrived while it was blocked is handled now.
        self._mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        return self

    def stop(self) -> None:
        """Act as if SIGTERM had come: the run is to end."""
        self.received = self.received or signal.SIGTERM

    def __exit__(self, *error: object) -> None:
        if self._previous:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def interruptible(self, by_save: bool) -> Iterator[None]:
        """Raise Interruption in the `with` block as soon as a signal has come, also one from before it.

        Signals that only ask for a checkpoint do so only if `by_save`.
        """
        self._stop_interrupts, self._save_interrupts = True, by_save
        try:
            self._interrupt()
            yield
        finally:
            self._stop_interrupts = self._save_interrupts = False

    def _interrupt(self) -> None:
        """Raise Interruption if a signal has come that may interrupt what is being done; but only once."""
        stops = self._stop_interrupts and self.received
        saves = self._save_interrupts and self.save_requested
        if stops or saves:
            # Cleaning up after the interruption must not be interrupted again.
            self._stop_interrupts = self._save_interrupts = False
            raise Interruption


@contextmanager
def hold_back_usr1() -> Iterator[None]:
    """Delay a SIGUSR1 that arrives in the `with` block until `Signals` is entered there.

    Without this, the signal would end the process, which is the default action. A signal that is still
    pending at the end of the block is dropped. Only the main thread may call this.
    """

    def do_nothing(number: int, frame: object) -> None:
        pass

    previous = signal.signal(signal.SIGUSR1, do_nothing)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield
    finally:
        # A pending signal is delivered here, before the previous handler is restored.
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGUSR1, previous)
