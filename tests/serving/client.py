"""A server in a process of its own, and requests to it with nothing but the standard library."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

Answer = tuple[int, Any]
"""Status, and what the body says: JSON where it is, else text."""


class Server:
    """`masscli serve` on a free port, from `with` to its end; `program` may stand for the real program."""

    def __init__(self, *arguments: object, program: Path | None = None) -> None:
        start = [sys.executable, "-m", "masscli"] if program is None else [program]
        command = [
            *start,
            *"serve --port 0 --precision fp32".split(),
            *map(str, arguments),
        ]
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.messages: list[str] = []
        self.port = 0
        self._said = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        match = re.search(r":(\d+)$", self.wait_for("serving on"))
        assert match is not None
        self.port = int(match[1])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._said:
                self.messages.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self.messages.append("end of messages")
            self._said.notify_all()

    def wait_for(self, beginning: str) -> str:
        """Return the first message that begins so."""

        def found() -> list[str]:
            return [
                line
                for line in self.messages
                if line.startswith((beginning, "end of messages"))
            ]

        with self._said:
            assert self._said.wait_for(found, timeout=120), self.messages
        assert found()[0].startswith(beginning), self.messages
        return found()[0]

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
        finally:
            connection.close()
        if response.headers.get_content_type() == "application/json":
            return response.status, json.loads(content)
        return response.status, content.decode()

    def translate(self, **fields: Any) -> Answer:
        """POST fields to /translate as JSON."""
        return self.ask(
            "POST",
            "/translate",
            json.dumps(fields),
            {"content-type": "application/json"},
        )

    def translate_all(
        self, requests: Sequence[dict[str, Any]], threads: int
    ) -> list[Answer | OSError]:
        """Send requests at the same time; a connection that is refused or closed is an OSError."""

        def one(fields: dict[str, Any]) -> Answer | OSError:
            try:
                return self.translate(**fields)
            except (OSError, http.client.RemoteDisconnected) as error:
                return error

        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(one, requests))

    def metric(self, name: str) -> float:
        """Return the sum of all values of a metric."""
        _, text = self.ask("GET", "/metrics")
        values = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE)
        return sum(map(float, values))

    def stop(self) -> int:
        """Ask the server to stop, and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def memory(self) -> float:
        """Return the resident memory in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match is not None, (self.process.poll(), self.messages[-20:])
        return int(match[1]) / 1024
