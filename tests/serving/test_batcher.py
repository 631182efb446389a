"""The queue under load that cannot be done in time, with models whose speed is known."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

pytest.importorskip("starlette", reason="needs the extra masscli[serve]")
pytest.importorskip("uvicorn", reason="needs the extra masscli[serve]")

from masscli.serving.app import build_app
from masscli.serving.batcher import Batcher, OverloadedError
from masscli.serving.config import ServeConfig
from masscli.serving.metrics import Metrics
from masscli.serving.models import Direction, ServedModels

DIRECTION = Direction("slow", "en", "de")
SECONDS_PER_CHARACTER = 0.02


@dataclass
class SlowModels:
    """Takes the place of ServedModels: "translates" a text to itself, at 50 characters a second."""

    config: ServeConfig
    translated: list[str] = field(default_factory=list)

    def choose(self, *names: str | None) -> Direction:
        return DIRECTION

    def max_alternatives(self, direction: Direction) -> int:
        return 0

    def translate(self, direction: Direction, texts: Sequence[str], nbest: int) -> list[Any]:
        time.sleep(SECONDS_PER_CHARACTER * sum(map(len, texts)))
        self.translated += texts
        return [SimpleNamespace(texts=[text], lines=()) for text in texts]


def run(models: SlowModels, use: Callable[[Batcher], Awaitable[None]]) -> None:
    async def main() -> None:
        batcher = Batcher(cast(ServedModels, models), Metrics())
        try:
            await use(batcher)
        finally:
            batcher.close()

    asyncio.run(main())


def test_what_would_be_too_late_is_refused_early_and_the_rest_is_answered() -> None:
    models = SlowModels(ServeConfig(request_seconds=2.0, batch_characters=20))
    outcomes: list[tuple[str, float]] = []

    async def ask(batcher: Batcher, text: str) -> None:
        started = time.monotonic()
        deadline = asyncio.get_running_loop().time() + 2.0
        try:
            (answer,) = await batcher.translate([text], DIRECTION, 1, deadline)
        except OverloadedError as error:
            # Four seconds of work were there, and two of them too many.
            assert 0 < error.late_seconds < 2.5
            outcomes.append(("refused", time.monotonic() - started))
        else:
            assert answer.texts == [text]
            outcomes.append(("answered", time.monotonic() - started))

    async def use(batcher: Batcher) -> None:
        queue = [asyncio.create_task(ask(batcher, f"{number:05}")) for number in range(40)]
        await asyncio.sleep(1.0)
        # By now the speed is known, so that a long text is refused when it arrives.
        await ask(batcher, "x" * 90)
        assert outcomes[-1][0] == "refused"
        assert outcomes[-1][1] < 0.2
        await asyncio.gather(*queue)
        # Nothing else waits, so even what is expected to be late is tried.
        await ask(batcher, "y" * 101)
        assert outcomes.pop()[0] == "answered"

    run(models, use)
    counts = Counter(outcome for outcome, _ in outcomes)
    assert set(counts) == {"answered", "refused"}
    assert 10 <= counts["answered"] <= 20
    # The first batch takes 0.4 seconds. Refused ones need not wait for two.
    assert max(seconds for outcome, seconds in outcomes if outcome == "refused") < 1.5
    # Nothing was translated in vain.
    assert len(models.translated) == counts["answered"] + 1


def test_batches_take_no_more_than_a_part_of_the_time_limit() -> None:
    models = SlowModels(ServeConfig(request_seconds=2.0, batch_characters=100))
    sizes = []

    async def use(batcher: Batcher) -> None:
        deadline = asyncio.get_running_loop().time() + 60
        asked = [batcher.translate(["12345"], DIRECTION, 1, deadline) for _ in range(24)]
        waiting = asyncio.gather(*asked)
        before = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            if len(models.translated) > before:
                sizes.append(len(models.translated) - before)
                before = len(models.translated)

    run(models, use)
    # A fifth of the twenty that are allowed come first. Five take 0.5 seconds, a quarter of the limit.
    assert sizes[0] == 4
    assert all(3 <= size <= 5 for size in sizes[1:-1])


def body_of(text: str) -> dict[str, Any]:
    return {"type": "http.request", "body": json.dumps({"q": text}).encode(), "more_body": False}


async def post(batcher: Batcher, text: str, leave_after: float | None = None) -> list[dict[str, Any]]:
    """POST a text to /translate without a network; the client may leave so many seconds after it."""
    messages = [body_of(text)]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(60 if leave_after is None else leave_after)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/translate", "root_path": "", "query_string": b"",
        "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await build_app(batcher, Metrics())(scope, receive, send)
    return sent


def test_an_early_refusal_says_when_to_try_again() -> None:
    models = SlowModels(ServeConfig(request_seconds=1.0, batch_characters=20))

    async def use(batcher: Batcher) -> None:
        answers = await asyncio.gather(*(post(batcher, "12345") for _ in range(40)))
        statuses = Counter(start["status"] for start, _ in answers)
        assert set(statuses) == {200, 429}
        start, content = next(answer for answer in answers if answer[0]["status"] == 429)
        seconds = int(dict(start["headers"])[b"retry-after"])
        assert 1 <= seconds <= 4
        assert json.loads(content["body"]) == {
            "error": f"would not be done within 1 seconds; try again in {seconds} s"
        }

    run(models, use)


def test_a_client_that_leaves_is_not_translated_for() -> None:
    models = SlowModels(ServeConfig(batch_characters=20))

    async def use(batcher: Batcher) -> None:
        first = asyncio.create_task(post(batcher, "a" * 20))
        await asyncio.sleep(0.1)
        await post(batcher, "left", leave_after=0.05)
        start, _ = await first
        assert start["status"] == 200
        start, _ = await post(batcher, "stays")
        assert start["status"] == 200

    run(models, use)
    assert models.translated == ["a" * 20, "stays"]
