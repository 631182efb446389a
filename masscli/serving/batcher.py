"""Translate requests in batches of those that wait at the same time.

One thread translates. While it is busy, requests wait. Then it takes the oldest request, together with
the others that wait for the same direction and number of translations, up to a number of characters. A
request therefore does not wait while the thread is idle, and batches grow with the load.

A request that will not be answered before its deadline is refused as soon as that is known: when it arrives,
or when a batch is taken from the queue before it. How long the queue takes is predicted from earlier batches.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from masscli.api.text_translation import TextTranslation
from masscli.core.errors import MasscliError
from masscli.serving.metrics import Metrics
from masscli.serving.models import Direction, ServedModels
from masscli.serving.throughput import Throughput

LONGEST_BATCH = 0.25
"""Largest part of `request_seconds` that a batch may be expected to take.

All answers of a batch come at its end. With larger batches, all answers of a slow model would come too late.
"""

LOGGER = logging.getLogger("masscli")


class QueueFullError(Exception):
    """Raised for a new request when too many requests are already waiting."""


class OverloadedError(Exception):
    """Raised for a request that is not expected to be answered before its deadline."""

    def __init__(self, late_seconds: float) -> None:
        super().__init__(late_seconds)
        self.late_seconds = late_seconds
        """Seconds from the deadline to the expected answer."""


class StoppingError(Exception):
    """Raised for a request that is not answered because the server is stopping."""


# Two requests with equal texts are not the same request.
@dataclass(slots=True, eq=False)
class _Request:
    """Texts to translate in one direction, with the future that receives their translations."""

    texts: Sequence[str]
    direction: Direction
    nbest: int
    """Maximum number of outputs for each text."""
    deadline: float
    """Time after which its answer is no longer wanted, on the clock of the event loop."""
    answer: asyncio.Future[list[TextTranslation]]

    @property
    def characters(self) -> int:
        return sum(len(text) for text in self.texts)

    @property
    def kind(self) -> tuple[Direction, int]:
        """What requests that are translated together have in common."""
        return self.direction, self.nbest


class Batcher:
    """A queue of translation requests, and the thread that answers them.

    An object must be created and used within one running event loop. `len` is the number of waiting requests.
    """

    def __init__(self, models: ServedModels, metrics: Metrics) -> None:
        self.models = models
        self.metrics = metrics
        self.stopping = False
        self.refusing = asyncio.Event()
        """Set when all that has not been translated is refused, since the server stops."""
        self._waiting: list[_Request] = []
        self._throughput = Throughput()
        self._expected_end = 0.0
        """When all that waits is expected to be translated, in the time of the event loop."""
        self._arrived = asyncio.Event()
        # A single thread, since PyTorch itself uses all cores for one batch.
        self._thread = ThreadPoolExecutor(1, "translate")
        self._worker = asyncio.get_running_loop().create_task(self._work())

    def __len__(self) -> int:
        return len(self._waiting)

    async def translate(
        self, texts: Sequence[str], direction: Direction, nbest: int, deadline: float
    ) -> list[TextTranslation]:
        """Queue texts, wait, and return the translation of each, with up to `nbest` outputs.

        The `deadline` is a time of the event loop. It is used to refuse requests that would be too late. When
        it has come, nothing is done: the caller has to cancel the task that waits, and its texts then leave
        the queue.

        Raises QueueFullError if too many requests wait, OverloadedError if the answer is expected after the
        deadline, StoppingError if the server stops, and the error of the model if it fails, such as
        MasscliError.
        """
        loop = asyncio.get_running_loop()
        if self.stopping:
            raise StoppingError
        if len(self._waiting) >= self.models.config.max_queue:
            raise QueueFullError
        request = _Request(texts, direction, nbest, deadline, loop.create_future())
        now = loop.time()
        start = max(now, self._expected_end)
        end = start + self._throughput.seconds(request.kind, request.characters)
        # While the server is idle, any request is tried.
        if start > now and end > deadline:
            raise OverloadedError(end - deadline)
        self._expected_end = end
        self._waiting.append(request)
        self._arrived.set()
        return await request.answer

    async def reload(self) -> None:
        """Load the models from their files again, between two batches.

        Raises MasscliError if one of them cannot be loaded; the old models then stay.
        """
        await asyncio.get_running_loop().run_in_executor(
            self._thread, self.models.reload
        )
        # The new models may be faster or slower.
        self._throughput = Throughput()

    def stop(self) -> None:
        """Refuse new requests from now on, and after `stop_seconds` also those that still wait."""
        self.stopping = True
        asyncio.get_running_loop().call_later(
            self.models.config.stop_seconds, self._refuse_waiting
        )

    def close(self) -> None:
        """Refuse all waiting requests, and let the thread end after its current batch; do not wait for it."""
        self._refuse_waiting()
        self._worker.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _refuse_waiting(self) -> None:
        self.refusing.set()
        for request in self._waiting:
            if not request.answer.done():
                request.answer.set_exception(StoppingError())
        self._waiting.clear()

    async def _work(self) -> None:
        """Take batches from the queue, translate them, and set their answers, until the task is canceled."""
        loop = asyncio.get_running_loop()
        while True:
            await self._arrived.wait()
            batch = self._take_batch()
            if not batch:
                self._arrived.clear()
                continue
            # If requests of the same kind are still waiting, the batch was full.
            is_full = any(request.kind == batch[0].kind for request in self._waiting)
            # The event loop keeps accepting requests while the thread translates.
            answers, seconds = await loop.run_in_executor(
                self._thread, self._timed_translate, batch
            )
            characters = sum(request.characters for request in batch)
            self._throughput.record(batch[0].kind, characters, seconds, is_full=is_full)
            self.metrics.add("masscli_batches_total")
            self.metrics.add("masscli_batch_seconds_total", seconds)
            for request, answer in zip(batch, answers, strict=True):
                # The waiting task may have been canceled.
                if request.answer.done():
                    continue
                if isinstance(answer, Exception):
                    request.answer.set_exception(answer)
                else:
                    request.answer.set_result(answer)
                    self.metrics.add("masscli_texts_total", len(request.texts))
                    self.metrics.add("masscli_characters_total", request.characters)

    def _take_batch(self) -> list[_Request]:
        """Remove the next batch from the queue and return it; refuse requests that will be too late.

        The list is empty if nothing waits. Requests that were given up are dropped. A request that waits
        alone is tried in any case, since that delays no other.
        """
        # Requests whose time is over are not worth translating.
        self._waiting = [
            request for request in self._waiting if not request.answer.done()
        ]
        can_refuse = len(self._waiting) > 1
        end = asyncio.get_running_loop().time()
        batches: list[list[_Request]] = []
        for batch in self._divide_queue():
            characters = sum(request.characters for request in batch)
            batch_end = end + self._throughput.seconds(batch[0].kind, characters)
            in_time = []
            for request in batch:
                if can_refuse and batch_end > request.deadline:
                    request.answer.set_exception(
                        OverloadedError(batch_end - request.deadline)
                    )
                else:
                    in_time.append(request)
            if in_time:
                batches.append(in_time)
                end = batch_end
        self._expected_end = end
        self._waiting = [request for batch in batches[1:] for request in batch]
        return batches[0] if batches else []

    def _divide_queue(self) -> list[list[_Request]]:
        """Return the batches in which the waiting requests are translated if nothing more arrives.

        The requests of a batch have the same direction and number of translations, and together at most
        `batch_characters` characters, or fewer if these would take too long. A longer request is a batch of
        its own. Batches are in the order of their oldest requests.
        """
        config = self.models.config
        longest = LONGEST_BATCH * config.request_seconds
        batches: list[list[_Request]] = []
        last_of_kind: dict[Hashable, list[_Request]] = {}
        room: dict[Hashable, int] = {}
        for request in self._waiting:
            kind = request.kind
            if kind not in room or request.characters > room[kind]:
                last_of_kind[kind] = []
                batches.append(last_of_kind[kind])
                room[kind] = self._throughput.characters(
                    kind, longest, config.batch_characters
                )
            last_of_kind[kind].append(request)
            room[kind] -= request.characters
        return batches

    def _timed_translate(
        self, batch: Sequence[_Request]
    ) -> tuple[list[list[TextTranslation] | Exception], float]:
        """Translate a batch; return the result of `_translate`, and the seconds that it took."""
        started = time.monotonic()
        answers = self._translate(batch)
        return answers, time.monotonic() - started

    def _translate(
        self, batch: Sequence[_Request]
    ) -> list[list[TextTranslation] | Exception]:
        """Translate a batch; return for each request its translations, or the exception that it caused.

        If a batch of several requests fails, each of them is tried separately.
        """
        first = batch[0]
        texts: list[str] = []
        for request in batch:
            texts += request.texts
        try:
            translated = self.models.translate(first.direction, texts, first.nbest)
        # Whatever happens, the thread continues with the next batch.
        except Exception as error:
            if len(batch) == 1:
                if not isinstance(error, MasscliError):
                    LOGGER.exception("a request could not be translated")
                return [error]
            # A failing request must not affect others in its batch.
            return [self._translate([request])[0] for request in batch]
        # Translations are in the order of all texts, so each request takes the next ones.
        answers: list[list[TextTranslation] | Exception] = []
        begin = 0
        for request in batch:
            end = begin + len(request.texts)
            answers.append(translated[begin:end])
            begin = end
        return answers
