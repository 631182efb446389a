"""Run the HTTP application in a uvicorn server: start it, handle signals, and stop it gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import uvicorn

from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.serving.app import build_app
from masscli.serving.batcher import Batcher
from masscli.serving.config import ServeConfig
from masscli.serving.metrics import Metrics
from masscli.serving.models import ServedModels

LOGGER = logging.getLogger("masscli")
BACKLOG = 2048
"""How many connections wait to be accepted, at most; the system may lower it."""


def run_server(
    paths: Sequence[Path], config: ServeConfig, search: Mapping[str, Any]
) -> None:
    """Load the models in `paths` and serve them until SIGTERM or Ctrl-C.

    `search` are the search options that the user gave, by field name of `GenerationConfig`.

    Raises MasscliError if a model cannot be served, or if the address cannot be used.
    """
    # A port that is in use is reported before the models are read, which takes longer.
    with _bind(config.host, config.port) as listening:
        models = ServedModels(paths, config, search)
        for direction in models.directions:
            _say(f"{direction.model}: {direction.source} to {direction.target}")
        _listen(listening, config)
        asyncio.run(_serve(models, listening))


async def _serve(models: ServedModels, listening: socket.socket) -> None:
    config = models.config
    metrics = Metrics()
    batcher = Batcher(models, metrics)
    server = uvicorn.Server(
        uvicorn.Config(
            build_app(batcher, metrics),
            # The models are read before the server starts, and the batcher is closed below.
            lifespan="off",
            log_config=None,
            # Malformed requests must not fill the log.
            log_level="error",
            access_log=False,
            server_header=False,
            # The identity of clients does not matter, so proxy headers are not trusted.
            proxy_headers=False,
            ws="none",
            # In addition to waiting requests, some are being read or answered; further connections are
            # refused (503).
            limit_concurrency=2 * config.max_queue + 100,
            # By then every request has been answered or refused.
            timeout_graceful_shutdown=int(config.stop_seconds + config.request_seconds)
            + 1,
        )
    )
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    _handle_signals(server, batcher, metrics)
    host = f"[{config.host}]" if ":" in config.host else config.host
    _say(f"serving on http://{host}:{listening.getsockname()[1]}")
    try:
        await serving
    finally:
        batcher.close()
    _say("stopped")


def _handle_signals(server: uvicorn.Server, batcher: Batcher, metrics: Metrics) -> None:
    """Install signal handlers in the event loop.

    SIGTERM or Ctrl-C stops the server gracefully, a second one at once. SIGHUP loads the models again.
    """
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def stop() -> None:
        if batcher.stopping:
            server.force_exit = True
            return
        _say(f"stopping; {count_of(len(batcher), 'request')} waiting")
        batcher.stop()
        server.should_exit = True

    def reload() -> None:
        # The loop itself does not keep a task alive.
        task = loop.create_task(_reload(batcher, metrics))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    handlers: dict[int, Callable[[], None]] = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGHUP: reload,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)


async def _reload(batcher: Batcher, metrics: Metrics) -> None:
    """Load the models from their files again, and print the result; if that fails, the old models stay."""
    try:
        await batcher.reload()
    # Whatever the error, a running server keeps its current models.
    except Exception as error:
        metrics.add("masscli_reloads_total", result="failed")
        message = str(error)
        if not isinstance(error, (MasscliError, OSError)):
            LOGGER.exception("the models could not be read")
        _say(f"error: {message}; the models that were there stay")
        return
    metrics.add("masscli_reloads_total", result="done")
    _say("the models were read again")


def _bind(host: str, port: int) -> socket.socket:
    """Return a TCP socket that is bound to a host and port, but does not listen yet.

    Raises MasscliError if the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    # The port of a server that has just ended can be used again at once.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    # What is no name at all, such as a letter that names cannot have, is a TypeError.
    except (OSError, TypeError) as error:
        bound.close()
        raise _cannot_listen(host, port, error) from None
    return bound


def _listen(bound: socket.socket, config: ServeConfig) -> None:
    """Let a bound socket accept connections, which wait until the server takes them.

    Raises MasscliError if another process listens on its port, which began to after the socket was bound.
    """
    try:
        bound.listen(BACKLOG)
    except OSError as error:
        raise _cannot_listen(config.host, config.port, error) from None


def _cannot_listen(host: str, port: int, error: Exception) -> MasscliError:
    """Return the error for an address that the system does not let us listen on."""
    if isinstance(error, (socket.gaierror, TypeError)) or (
        isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL
    ):
        return MasscliError(
            f"--host {host}: is not an address of this machine",
            "127.0.0.1 is for this machine only, 0.0.0.0 for all of its networks",
        )
    reason = error.strerror if isinstance(error, OSError) else error
    return MasscliError(
        f"--host {host} --port {port}: cannot be used ({reason})",
        "choose another --port, or 0 for a free one",
    )


def _say(message: str) -> None:
    """Print a message on standard error, if somebody still reads it."""
    # The terminal may have been closed. That must not keep the server from stopping or reloading.
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)
