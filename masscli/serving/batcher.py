"""Translate requests in batches of those that wait at the same time.

One thread translates. While it is busy, requests wait. Then it takes the oldest request, together with the
others that wait for the same direction and number of translations, up to a number of characters. So a request
does not wait while the thread is idle, and batches grow with the load.
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
    """Raised for a new request when too many requests are already waiting."""


class StoppingError(Exception):
    """Raised for a request that is not answered because the server is stopping."""


@dataclass(slots=True, eq=False)
class _Request:
    """Texts to translate in one direction, with the future that receives their translations."""

    texts: Sequence[str]
    direction: Direction
    nbest: int
    answer: asyncio.Future[list[TextTranslation]]

    @property
    def characters(self) -> int:
        return sum(len(text) for text in self.texts)


class Batcher:
    """A queue of translation requests, and the thread that answers them.

    An object must be created and used within one running event loop. `len` is the number of waiting requests.
    """

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
        """Queue texts, wait, and return the translation of each, with up to `nbest` outputs.

        If the waiting task is cancelled (by a time limit), its texts leave the queue. Raises QueueFullError
        if too many requests wait, StoppingError if the server stops, and the error of the model if it fails,
        such as MasscliError.
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
        """Load the models from their files again, between two batches.

        Raises MasscliError if one of them cannot be loaded; the old models then stay.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self.models.reload)

    def stop(self) -> None:
        """Refuse new requests from now on, and after `stop_seconds` also those that still wait."""
        self.stopping = True
        asyncio.get_running_loop().call_later(self.models.config.stop_seconds, self._refuse_waiting)

    def close(self) -> None:
        """Refuse all waiting requests, and let the thread end after its current batch; do not wait for it."""
        self._refuse_waiting()
        self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _refuse_waiting(self) -> None:
        for request in self._waiting:
            if not request.answer.done():
                request.answer.set_exception(StoppingError())
        self._waiting.clear()

    async def _work(self) -> None:
        """Take batches from the queue, translate them, and set their answers, until the task is cancelled."""
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
        """Remove the oldest request, and those that can be translated with it, from the queue; return them.

        They have the same direction and number of translations, and together at most `batch_characters`
        characters, unless the oldest alone has more. Requests that were given up are dropped. The list is
        empty if nothing waits.
        """
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
        """Translate a batch; return for each request its translations, or the exception that it caused.

        If a batch of several requests fails, each of them is tried alone.
        """
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
