"""Signals are requests within the training loop, and SIGUSR1 waits for it."""

from __future__ import annotations

import signal

import pytest

from masscli.training.signals import Signals, hold_back_usr1


@pytest.mark.parametrize("stops", [False, True])
def test_sigusr1_before_the_loop_waits_for_it(stops: bool) -> None:
    """A process that is still reading its data when the time limit is near must save and stop, too."""
    handler = signal.getsignal(signal.SIGUSR1)
    with hold_back_usr1():
        signal.raise_signal(signal.SIGUSR1)
        with Signals(stop_on_usr1=stops) as signals:
            assert signals.received == (signal.SIGUSR1 if stops else 0)
            assert signals.save_requested == (not stops)
        # After the loop the last checkpoint is written, which a signal must not end.
        signal.raise_signal(signal.SIGUSR1)
    assert signal.getsignal(signal.SIGUSR1) == handler
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert signal.SIGUSR1 not in signal.sigpending()


def test_sigusr1_twice_stops_the_run_once() -> None:
    """A batch system may send the signal twice, and the second one must not end the process."""
    with hold_back_usr1(), Signals(stop_on_usr1=True) as signals:
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        assert signals.received == signal.SIGUSR1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_signals_that_the_caller_ignores_do_not_stop_a_run(
    number: signal.Signals,
) -> None:
    """nohup ignores SIGHUP, and a shell ignores Ctrl-C for a job in the background."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with Signals() as signals:
            signal.raise_signal(number)
            assert signals.received == 0
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)
