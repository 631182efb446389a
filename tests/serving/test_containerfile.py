"""Tests that the Containerfile agrees with the server that its image starts. No image is built here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from masscli.serving.config import ServeConfig

CONTAINERFILE = Path(__file__).parents[2] / "Containerfile"


@pytest.fixture(scope="module")
def instructions() -> str:
    """Return the text of the Containerfile without its comments."""
    lines = CONTAINERFILE.read_text(encoding="utf-8").splitlines()
    return "\n".join(line for line in lines if not line.startswith("#"))


def health_check(instructions: str, port: int) -> int:
    """Run the health check against `port` of this machine, and return its exit status."""
    match = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", instructions, re.MULTILINE)
    assert match is not None
    program, *arguments = json.loads(match[1])
    assert program == "python"
    arguments = [
        text.replace(f":{ServeConfig().port}/", f":{port}/") for text in arguments
    ]
    process = subprocess.run([sys.executable, *arguments], capture_output=True)
    return process.returncode


def test_port_is_the_default_of_serve(instructions: str) -> None:
    port = ServeConfig().port
    assert f"\nEXPOSE {port}\n" in instructions
    assert f"http://127.0.0.1:{port}/health" in instructions


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_health_check_tells_a_server_that_answers(
    instructions: str, status: int, healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert (health_check(instructions, server.server_port) == 0) is healthy
    finally:
        server.shutdown()
        server.server_close()


def test_health_check_fails_without_a_server(instructions: str) -> None:
    assert health_check(instructions, port=9) != 0


def test_image_does_not_run_as_root(instructions: str) -> None:
    assert re.search(r"^USER masscli$", instructions, re.MULTILINE)
    assert instructions.index("\nUSER ") > instructions.rindex("\nRUN ")
