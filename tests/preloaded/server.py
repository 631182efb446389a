"""Import masscli and PyTorch once, and fork a process for each client:  python -m tests.preloaded.server SOCKET

Prints `ready` when clients may connect, and ends when its standard input does. A client sends the length of its request, with
its standard streams attached, and the request in JSON. The answer is a line with the id of the forked process and one with its
exit code, or `null` if a new interpreter is needed.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Mapping
from typing import NamedTuple

import masscli
from masscli.core import distributed

BESIDES = (
    "torch._dynamo",
    "torch.distributed.launcher.api",
    "sacrebleu.tokenizers.tokenizer_13a",
    "sacremoses",
)
"""What commands import only when they need it."""


class Running(NamedTuple):
    """A forked process, a descriptor that becomes readable when it ends, and the connection of its client."""

    process: int
    end: int
    connection: socket.socket


class Request(NamedTuple):
    """What a client asks for: a module with arguments, and what a process inherits from the one that starts it."""

    module: str
    arguments: list[str]
    environment: dict[str, str]
    folder: str
    umask: int
    ignored: list[int]
    """The signals that are ignored."""


def main(address: str) -> None:
    """Serve until standard input ends; or, in a forked process, run the module that a client names."""
    import_everything()
    # The collector would write to pages that all processes share.
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    print("ready", flush=True)
    request = Server(listener).serve()
    if request is not None:
        run_module(request)


def import_everything() -> None:
    """Import the modules of masscli, but for those that need an extra which is not installed."""
    names = {
        module.name for module in pkgutil.walk_packages(masscli.__path__, "masscli.")
    }
    # Python warns of a main module that is there already.
    for name in (*(names - {"masscli.__main__"}), *BESIDES):
        try:
            importlib.import_module(name)
        except ImportError:
            if name in BESIDES:
                raise


class Server:
    """Forks a process for each client, and waits for the ends of both."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._running: set[Running] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(sys.stdin, selectors.EVENT_READ)

    def serve(self) -> Request | None:
        """Return the request of a client in the process that is forked for it, and None when standard input has ended."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    for each in self._running:
                        os.kill(each.process, signal.SIGKILL)
                    return None
                if key.fileobj is self._listener:
                    request = self._accept()
                    if request is not None:
                        return request
                elif key.data in self._running:
                    if key.fileobj == key.data.end:
                        self._report_end(key.data)
                    else:
                        # The client has been killed.
                        self._selector.unregister(key.data.connection)
                        os.kill(key.data.process, signal.SIGKILL)

    def _accept(self) -> Request | None:
        """Fork for the next client; return its request in the new process, and None in this one."""
        connection, _ = self._listener.accept()
        request, streams = receive(connection)
        process = None
        if start_up(request.environment) == start_up(os.environ):
            process = os.fork()
        if process == 0:
            self._selector.close()
            for each in (
                self._listener,
                connection,
                *(one.connection for one in self._running),
            ):
                each.close()
            take_over(streams)
            return request
        for stream in streams:
            os.close(stream)
        answer(connection, process)
        if process is None:
            connection.close()
        else:
            begun = Running(process, os.pidfd_open(process), connection)
            self._running.add(begun)
            self._selector.register(begun.end, selectors.EVENT_READ, begun)
            self._selector.register(connection, selectors.EVENT_READ, begun)
        return None

    def _report_end(self, ended: Running) -> None:
        """Pass on the exit code of a process that has ended: -15 if SIGTERM has ended it."""
        answer(
            ended.connection, os.waitstatus_to_exitcode(os.waitpid(ended.process, 0)[1])
        )
        self._running.remove(ended)
        self._selector.unregister(ended.end)
        os.close(ended.end)
        # It is registered unless the client has been killed.
        if ended.connection in self._selector.get_map():
            self._selector.unregister(ended.connection)
        ended.connection.close()


def start_up(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python and PyTorch read when they start, too early for a forked process."""
    beginnings = ("PYTHON", "LC_", "LANG", "OMP_", "MKL_")
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(beginnings)
    }


def receive(connection: socket.socket) -> tuple[Request, list[int]]:
    """Return the request of a client, and descriptors of its standard streams."""
    length, streams, _, _ = socket.recv_fds(connection, 8, 3, socket.MSG_WAITALL)
    content = b""
    while len(content) < int.from_bytes(length, "big"):
        content += connection.recv(1 << 20)
    return Request(**json.loads(content)), streams


def answer(connection: socket.socket, message: int | None) -> None:
    """Send a line to a client, if it is still there."""
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass


def take_over(streams: list[int]) -> None:
    """Put the streams of a client in the place of this process's own, as a new interpreter opens them."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # They stay open until the process ends.
    sys.stdin = open(0, errors=sys.stdin.errors, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", errors=sys.stdout.errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115


def run_module(request: Request) -> None:
    """Run a module as `python -m` does, and exit."""
    os.environ.clear()
    os.environ.update(request.environment)
    os.umask(request.umask)
    os.chdir(request.folder)
    for number in request.ignored:
        signal.signal(number, signal.SIG_IGN)
    sys.path[0] = request.folder
    sys.argv[1:] = request.arguments
    # The rank was read from the environment of the server.
    importlib.reload(distributed)
    code = 1
    try:
        runpy.run_module(request.module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    # What an interpreter does at its end, but for clearing a thousand modules.
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
