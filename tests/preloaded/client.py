"""Do in a process that a server forks what `python -m` does:  python -IS client.py SOCKET MODULE ARGUMENTS

Only a few modules of the standard library are imported, since the purpose is to start quickly.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


def main(address: str, module: str, arguments: list[str]) -> None:
    """Have the module run, and end as it ends: with its exit code, or by the signal that ended it."""
    # Descriptors of a closed stream would be given to the socket.
    if not all(is_open(number) for number in (0, 1, 2)):
        run_here(module, arguments)
    # A signal that comes before the process is known waits until it is.
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    request = {
        "module": module,
        "arguments": arguments,
        "environment": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109
        "umask": os.umask(0),
        "ignored": [
            number for number in FORWARDED if signal.getsignal(number) == signal.SIG_IGN
        ],
    }
    os.umask(request["umask"])
    content = json.dumps(request).encode("ascii")
    socket.send_fds(connection, [len(content).to_bytes(8, "big")], [0, 1, 2])
    connection.sendall(content)
    answers = connection.makefile("r")
    process = json.loads(answers.readline())
    if process is None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        run_here(module, arguments)
    for number in FORWARDED:
        if number not in request["ignored"]:
            signal.signal(number, lambda received, frame: os.kill(process, received))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
    # Python calls its handlers between instructions: one for a signal that comes just before a read would wait for its end.
    while not select.select([connection], [], [], 0.1)[0]:
        pass
    code = json.loads(answers.readline())
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def is_open(number: int) -> bool:
    """Return whether a file descriptor is open."""
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def run_here(module: str, arguments: list[str]) -> None:
    """Become the real program."""
    os.execv(sys.executable, [sys.executable, "-m", module, *arguments])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
