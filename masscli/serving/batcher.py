"""Translate requests together that arrive together.

One thread translates. While it is busy, requests wait; then the oldest is taken, with all others that wait
for the same direction, up to a number of characters. So nothing waits when there is nothing to do, and the
more there is to do, the larger the batches are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from masscli.api.text_translation import TextTranslation
from masscli.core.errors import MasscliError
from masscli.serving.metrics import Metrics
from masscli.serving.models import Direction, ServedModels

LOGGER = logging.getLogger("masscli")


class QueueFullError(Exception):
    """Too many requests are waiting."""


class StoppingError(Exception):
    """The server is about to stop."""


@dataclass(slots=True, eq=False)
class _Request:
    """Texts for one direction, and where their translations go."""

    texts: Sequence[str]
    direction: Direction
    nbest: int
    answer: asyncio.Future[list[TextTranslation]]

    @property
    def characters(self) -> int:
        return sum(len(text) for text in self.texts)


class Batcher:
    """A queue of requests and the thread that answers them. All methods belong to one event loop."""

    def __init__(self, models: ServedModels, metrics: Metrics) -> None:
        self.models = models
        self.metrics = metrics
        self.stopping = False
        self._waiting: list[_Request] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "translate")
        self._worker = asyncio.get_running_loop().create_task(self._work())

    def __len__(self) -> int:
        return len(self._waiting)

    async def translate(
        self, texts: Sequence[str], direction: Direction, nbest: int
    ) -> list[TextTranslation]:
        """Return the translation of each text.

        A request whose task is cancelled, since it takes too long, leaves the queue. Raises QueueFullError if
        too many requests wait, StoppingError if the server stops, and MasscliError if the model refuses the
        texts.
        """
        if self.stopping:
            raise StoppingError
        if len(self._waiting) >= self.models.config.max_queue:
            raise QueueFullError
        request = _Request(texts, direction, nbest, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._arrived.set()
        return await request.answer

    async def reload(self) -> None:
        """Read the models again, between two batches. Raises MasscliError if one cannot be read."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self.models.reload)

    def stop(self) -> None:
        """Take no more requests, and refuse those that still wait when the time for stopping is over."""
        self.stopping = True
        asyncio.get_running_loop().call_later(self.models.config.stop_seconds, self._refuse_waiting)

    def close(self) -> None:
        """End the thread when it has finished its batch."""
        self._refuse_waiting()
        self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _refuse_waiting(self) -> None:
        for request in self._waiting:
            if not request.answer.done():
                request.answer.set_exception(StoppingError())
        self._waiting.clear()

    async def _work(self) -> None:
        """Answer requests for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._next_batch()
            if not batch:
                self._arrived.clear()
                continue
            started = time.monotonic()
            answers = await loop.run_in_executor(self._thread, self._translate, batch)
            self.metrics.add("masscli_batches_total")
            self.metrics.add("masscli_batch_seconds_total", time.monotonic() - started)
            for request, answer in zip(batch, answers, strict=True):
                # Who waited for it may have given up.
                if request.answer.done():
                    continue
                if isinstance(answer, Exception):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)
                    self.metrics.add("masscli_texts_total", len(request.texts))
                    self.metrics.add("masscli_characters_total", request.characters)

    def _next_batch(self) -> list[_Request]:
        """Take the oldest request and those that can be translated with it out of the queue."""
        # Requests whose time is over are not worth translating.
        self._waiting = [request for request in self._waiting if not request.answer.done()]
        batch: list[_Request] = []
        characters = 0
        for request in self._waiting:
            first = batch[0] if batch else request
            fits = characters + request.characters <= self.models.config.batch_characters
            if (request.direction, request.nbest) == (first.direction, first.nbest) and (fits or not batch):
                batch.append(request)
                characters += request.characters
        taken = set(batch)
        self._waiting = [request for request in self._waiting if request not in taken]
        return batch

    def _translate(self, batch: Sequence[_Request]) -> list[list[TextTranslation] | Exception]:
        """Return the translations of each request, or what went wrong with it."""
        first = batch[0]
        texts = [text for request in batch for text in request.texts]
        try:
            translated = iter(self.models.translate(first.direction, texts, first.nbest))
        # Whatever happens, the thread goes on with the next batch.
        except Exception as error:
            if len(batch) == 1:
                if not isinstance(error, MasscliError):
                    LOGGER.exception("a request could not be translated")
                return [error]
            # One request must not spoil those that happened to arrive with it.
            return [self._translate([request])[0] for request in batch]
        return [[next(translated) for _ in request.texts] for request in batch]
