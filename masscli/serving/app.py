"""The HTTP interface: LibreTranslate's paths, health, metrics and the web page.

Every answer but the page is JSON or plain text. An error is `{"error": "..."}` with its status.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from importlib.resources import files
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from masscli.core.errors import MasscliError
from masscli.serving import answers
from masscli.serving.batcher import (
    Batcher,
    OverloadedError,
    QueueFullError,
    StoppingError,
)
from masscli.serving.config import LOCAL_HOSTS, ServeConfig
from masscli.serving.metrics import Metrics
from masscli.serving.requests import RefusedError, parse_request, read_body
from masscli.version import __version__

Result = TypeVar("Result")
Message = MutableMapping[str, Any]
ASGIApp = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Any,
]
"""An ASGI application: a function of a scope, and of functions that receive and send messages."""

SECURITY_HEADERS = {
    # Nothing is loaded from other sites, inline code is not run, and no other page may embed this one.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    # Browsers must not interpret a JSON answer as a page.
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # Texts may be private, so caches must not store them.
    "cache-control": "no-store",
}
"""The headers that every answer has."""
PAGE_FILES = {
    "/": ("index.html", "text/html"),
    "/style.css": ("style.css", "text/css"),
    "/script.js": ("script.js", "text/javascript"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""The files of the web page: the URL path of each with its file name and media type."""


class Service:
    """The request handlers of the HTTP interface; they use the queue of translations and the counters."""

    def __init__(self, batcher: Batcher, metrics: Metrics) -> None:
        self.batcher = batcher
        self.metrics = metrics

    async def translate(self, request: Request) -> Response:
        """Answer POST /translate with the translation as JSON.

        Raises RefusedError with the HTTP status for a bad request (400, 415) or one that is too long (413),
        for a queue that is full or too long to be done in time (429), for a server that is stopping (503),
        and after `request_seconds` (504).
        """
        seconds = self.batcher.models.config.request_seconds
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                return await self._translate(request, deadline)
        except MasscliError as error:
            raise RefusedError(400, error.message) from None
        except QueueFullError:
            raise RefusedError(
                429, "too many requests are waiting; try again later", 1
            ) from None
        except OverloadedError as error:
            retry = math.ceil(error.late_seconds)
            message = (
                f"would not be done within {seconds:g} seconds; try again in {retry} s"
            )
            raise RefusedError(429, message, retry) from None
        except StoppingError:
            raise RefusedError(503, "the server is stopping", 1) from None
        except TimeoutError:
            raise RefusedError(504, f"not done within {seconds:g} seconds") from None

    async def _translate(self, request: Request, deadline: float) -> Response:
        """Read and check a request, wait for its translation, and return the answer.

        The `deadline` is a time of the event loop; a request that would take longer is refused. Raises
        RefusedError for a bad request, MasscliError if no model translates in this direction, and what
        `Batcher.translate` raises.
        """
        models = self.batcher.models
        _check_head(request)
        # A client that sends slowly must not keep a server from stopping.
        body = await _unless(
            self.batcher.refusing.wait(),
            StoppingError(),
            read_body(request, models.config.max_body_bytes),
        )
        asked = parse_request(
            body, request.headers.get("content-type", ""), models.config.max_text_length
        )
        direction = models.choose(asked.model, asked.source, asked.target)
        most = models.max_alternatives(direction)
        if asked.alternatives > most:
            raise RefusedError(400, f"alternatives: at most {most} are found")
        translating = self.batcher.translate(
            asked.texts, direction, 1 + asked.alternatives, deadline
        )
        # After the body, the next message of a request is that its client is gone, which reads no error.
        gone = RefusedError(400, "the client has left")
        translated = await _unless(_next_message(request), gone, translating)
        return JSONResponse(answers.translation(asked, direction, translated))

    async def languages(self, request: Request) -> Response:
        """Answer GET /languages with the languages that the models translate, as JSON."""
        return JSONResponse(answers.languages(self.batcher.models.directions))

    async def models(self, request: Request) -> Response:
        """Answer GET /models with the models and their directions, as JSON."""
        return JSONResponse(answers.models(self.batcher.models.directions))

    async def health(self, request: Request) -> Response:
        """Answer GET /health with the status, the version and the number of waiting requests, as JSON.

        The HTTP status is 200, or 503 if the server is stopping, so that a load balancer sends nothing more.
        """
        status = "stopping" if self.batcher.stopping else "ok"
        content = {
            "status": status,
            "version": __version__,
            "waiting": len(self.batcher),
        }
        return JSONResponse(content, 503 if self.batcher.stopping else 200)

    async def render_metrics(self, request: Request) -> Response:
        """Answer GET /metrics with all counters in the text format of Prometheus."""
        return PlainTextResponse(self.metrics.render(len(self.batcher)))


def build_app(batcher: Batcher, metrics: Metrics) -> ASGIApp:
    """Return the ASGI application of the server; `batcher` translates, and `metrics` counts requests."""
    service = Service(batcher, metrics)
    routes = [
        Route("/translate", service.translate, methods=["POST"]),
        Route("/languages", service.languages, methods=["GET"]),
        Route("/models", service.models, methods=["GET"]),
        Route("/health", service.health, methods=["GET"]),
        Route("/metrics", service.render_metrics, methods=["GET"]),
    ]
    for path, (name, media_type) in PAGE_FILES.items():
        routes.append(Route(path, _page_file(name, media_type), methods=["GET"]))
    app = Starlette(
        routes=routes,
        exception_handlers={
            RefusedError: _refuse,
            HTTPException: _refuse_http,
            Exception: _apologise,
        },
    )
    # A redirect would repeat the Host header.
    app.router.redirect_slashes = False
    paths = {route.path for route in routes}
    hosts = _allowed_hosts(batcher.models.config)
    guarded = TrustedHostMiddleware(app, allowed_hosts=hosts, www_redirect=False)
    return _with_headers(_counted(guarded, metrics, paths))


def _allowed_hosts(config: ServeConfig) -> list[str]:
    """Return the host names that requests may have in their Host header; others are refused.

    This protects from DNS rebinding, where the name of another site is made to point to this machine.
    """
    host = f"[{config.host}]" if ":" in config.host else config.host
    return [*LOCAL_HOSTS, host, *config.allowed_hosts]


async def _next_message(request: Request) -> None:
    """Wait until the connection of a request has something to say."""
    await request.receive()


def _check_head(request: Request) -> None:
    """Raise RefusedError if a request has fields in its address, or a body that is compressed.

    Neither is read, and without them the answer would be to something else than what was asked.
    """
    if request.url.query:
        raise RefusedError(400, "fields are read from the body, not from the address")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise RefusedError(
            415, f"content-encoding {encoding[:100]!r}: send it as it is"
        )


def _page_file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    content = files("masscli.serving").joinpath("page", name).read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return answer


async def _unless(
    obstacle: Coroutine[Any, Any, object],
    error: Exception,
    work: Coroutine[Any, Any, Result],
) -> Result:
    """Return the result of `work`; cancel it and raise `error` if `obstacle` ends before it does.

    Raises what `work` raises.
    """
    working = asyncio.create_task(work)
    hindering = asyncio.create_task(obstacle)
    try:
        await asyncio.wait((working, hindering), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise error
        return working.result()
    finally:
        working.cancel()
        hindering.cancel()


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    headers = {}
    if error.retry_seconds is not None:
        headers["retry-after"] = str(error.retry_seconds)
    # The rest of a body that is too long is not read, so the connection cannot be reused.
    if error.status == 413:
        headers["connection"] = "close"
    return JSONResponse({"error": error.message}, error.status, headers=headers)


async def _refuse_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse(
        {"error": error.detail}, error.status_code, headers=error.headers
    )


async def _apologise(request: Request, error: Exception) -> Response:
    # A bug in masscli; its traceback goes to the log.
    return JSONResponse({"error": "internal error"}, 500)


def _with_headers(app: ASGIApp) -> ASGIApp:
    """Return an application that answers as `app` does, and adds the security headers to every answer."""
    extra = [
        (name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()
    ]

    async def wrapped(scope: Message, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped


def _counted(app: ASGIApp, metrics: Metrics, paths: set[str]) -> ASGIApp:
    """Return an application that answers as `app` does, and counts requests and their seconds in `metrics`.

    `paths` are the paths that are counted by name; requests for any other path are counted as "other".
    """

    async def wrapped(scope: Message, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        # Other paths share one name, so that nobody can fill the memory with counters.
        path = scope["path"] if scope["path"] in paths else "other"
        started = time.monotonic()

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                metrics.add(
                    "masscli_requests_total", path=path, status=message["status"]
                )
                metrics.add(
                    "masscli_request_seconds_total",
                    time.monotonic() - started,
                    path=path,
                )
            await send(message)

        await app(scope, receive, send_counted)

    return wrapped
