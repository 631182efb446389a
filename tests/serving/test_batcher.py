"""The queue under load that cannot be done in time, with models whose speed is known."""

from __future__ import annotations

import asyncio
import json
import selectors
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
Run = Callable[["SlowModels", Callable[[Batcher], Awaitable[None]]], None]
"""A function that lets another one use a batcher with models."""


class Clock(selectors.DefaultSelector):
    """A clock whose seconds pass at once: it is put forward where an event loop would wait for a timer."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(
        self, timeout: float | None = None
    ) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select()
        self.now += max(0.0, timeout)
        return super().select(0.0)


class ClockLoop(asyncio.SelectorEventLoop):
    """An event loop by such a clock, which runs the work of threads itself; it takes as long as `models` say."""

    def __init__(self, clock: Clock, models: SlowModels) -> None:
        super().__init__(clock)
        self.clock, self.models = clock, models

    def time(self) -> float:
        return self.clock.now

    def run_in_executor(
        self, executor: Any, function: Any, *arguments: Any
    ) -> asyncio.Task[Any]:  # type: ignore[override]
        return self.create_task(self._run_slowly(function, arguments))

    async def _run_slowly(
        self, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Any:
        before = self.models.seconds
        result = function(*arguments)
        await asyncio.sleep(self.models.seconds - before)
        return result


@dataclass
class SlowModels:
    """Takes the place of ServedModels: "translates" a text to itself, at 50 characters a second."""

    config: ServeConfig
    translated: list[str] = field(default_factory=list)
    seconds: float = 0.0
    """How long all translations have taken."""

    def choose(self, *names: str | None) -> Direction:
        return DIRECTION

    def max_alternatives(self, direction: Direction) -> int:
        return 0

    def translate(
        self, direction: Direction, texts: Sequence[str], nbest: int
    ) -> list[Any]:
        self.seconds += SECONDS_PER_CHARACTER * sum(map(len, texts))
        self.translated += texts
        return [SimpleNamespace(texts=[text], lines=()) for text in texts]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """The function, by a clock that does not depend on the machine."""

    def run(models: SlowModels, use: Callable[[Batcher], Awaitable[None]]) -> None:
        async def main() -> None:
            batcher = Batcher(cast(ServedModels, models), Metrics())
            try:
                await use(batcher)
            finally:
                batcher.close()

        # The batcher measures its translations by this clock.
        clock = SimpleNamespace(monotonic=lambda: models.seconds)
        monkeypatch.setattr("masscli.serving.batcher.time", clock)
        with asyncio.Runner(loop_factory=lambda: ClockLoop(Clock(), models)) as runner:
            runner.run(main())

    return run


def test_requests_that_would_be_late_are_refused_early_and_the_others_answered(
    run: Run,
) -> None:
    models = SlowModels(ServeConfig(request_seconds=2.0, batch_characters=20))
    outcomes: list[tuple[str, float]] = []

    async def ask(batcher: Batcher, text: str) -> None:
        started = asyncio.get_running_loop().time()
        deadline = started + 2.0
        try:
            (answer,) = await batcher.translate([text], DIRECTION, 1, deadline)
        except OverloadedError as error:
            # Four seconds of work were there, and two of them too many.
            assert 0 < error.late_seconds < 2.5
            outcomes.append(("refused", asyncio.get_running_loop().time() - started))
        else:
            assert answer.texts == [text]
            outcomes.append(("answered", asyncio.get_running_loop().time() - started))

    async def use(batcher: Batcher) -> None:
        queue = [
            asyncio.create_task(ask(batcher, f"{number:05}")) for number in range(40)
        ]
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


def test_batches_take_no_more_than_a_part_of_the_time_limit(run: Run) -> None:
    models = SlowModels(ServeConfig(request_seconds=2.0, batch_characters=100))
    sizes = []

    async def use(batcher: Batcher) -> None:
        deadline = asyncio.get_running_loop().time() + 60
        asked = [
            batcher.translate(["12345"], DIRECTION, 1, deadline) for _ in range(24)
        ]
        waiting = asyncio.gather(*asked)
        before = 0
        while not waiting.done():
            await asyncio.sleep(0.01)
            if len(models.translated) > before:
                sizes.append(len(models.translated) - before)
                before = len(models.translated)

    run(models, use)
    # A fifth of the twenty that are allowed come first. Five take 0.5 seconds, a quarter of the limit.
    assert sizes == [4, 5, 5, 5, 5]


def body_of(text: str) -> dict[str, Any]:
    return {
        "type": "http.request",
        "body": json.dumps({"q": text}).encode(),
        "more_body": False,
    }


async def post(
    batcher: Batcher, text: str, leave_after: float | None = None
) -> list[dict[str, Any]]:
    """POST a text to /translate without a network; the client may leave so many seconds after it."""
    messages = [body_of(text)]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(60 if leave_after is None else leave_after)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/translate", "root_path": "", "query_string": b"",
        "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    await build_app(batcher, Metrics())(scope, receive, send)
    return sent


def test_an_early_refusal_says_when_to_try_again(run: Run) -> None:
    models = SlowModels(ServeConfig(request_seconds=1.0, batch_characters=20))

    async def use(batcher: Batcher) -> None:
        answers = await asyncio.gather(*(post(batcher, "12345") for _ in range(40)))
        statuses = Counter(start["status"] for start, _ in answers)
        assert set(statuses) == {200, 429}
        start, content = next(
            answer for answer in answers if answer[0]["status"] == 429
        )
        seconds = int(dict(start["headers"])[b"retry-after"])
        assert 1 <= seconds <= 4
        assert json.loads(content["body"]) == {
            "error": f"would not be done within 1 seconds; try again in {seconds} s"
        }

    run(models, use)


def test_texts_of_a_client_that_hangs_up_are_not_translated(run: Run) -> None:
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
