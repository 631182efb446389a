"""A `masscli` that starts in milliseconds, for tests that run many command lines.

A server imports masscli and PyTorch once, and forks a process for each command line (server.py). The program that tests start
(client.py) passes it its arguments, environment, folder and standard streams, and ends as the forked process does.
"""

from __future__ import annotations

import multiprocessing
import shlex
import subprocess
import sys
from pathlib import Path

CLIENT = Path(__file__).parent / "client.py"
ROOT = Path(__file__).parents[2]


class Preloaded:
    """The server, and a program `masscli` in the folder `bin` that has its command lines run there."""

    def __init__(self, folder: Path) -> None:
        """Start the server, whose files lie in the empty folder `folder`."""
        self._address = folder / "socket"
        self.bin = folder / "bin"
        self.program = self.bin / "masscli"
        self.bin.mkdir()
        self.program.write_text(
            f'#!/bin/sh\nexec {shlex.join(self.module("masscli"))} "$@"\n'
        )
        self.program.chmod(0o755)
        # The server ends with its standard input, so that nothing is left of it however the tests end.
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.preloaded.server", self._address],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n"

    def module(self, name: str) -> list[str]:
        """Return what stands for `python -m NAME`."""
        return [sys.executable, "-IS", str(CLIENT), str(self._address), name]

    def stop(self) -> None:
        """End the server, and whatever still runs in it."""
        # The worker processes of a test that failed would keep the server's standard input open.
        for worker in multiprocessing.active_children():
            worker.kill()
        self._server.communicate()
