"""Distribute the decoding of sentences over the processes started by torchrun.

The first process reads lines, encodes them and writes the results. It sends each buffer of sentences to all
others; every process decodes its share, and the first one gets the hypotheses back. A sentence's result does
not depend on its batch, so it does not depend on the number of processes either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.formats.pharaoh import Links
from masscli.generation.decoder import select
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.text_decoder import AlignmentHead, TextDecoder

PATIENCE = timedelta(days=30)
"""How long the other processes wait for the first one, whose input may come from a terminal."""


class WorkGroup:
    """The processes that torchrun has started; the first one sends objects to the others, and collects."""

    def __init__(self, device: torch.device) -> None:
        distributed.start(device)
        # The messages are Python objects in CPU memory, which NCCL cannot send.
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE)

    def send(self, message: Any) -> None:
        """Send an object from the first process to all others, which must call `receive`."""
        with distributed.naming_lost_process():
            dist.broadcast_object_list([message], src=0, group=self._group)

    def receive(self) -> Any:
        """Wait for what the first process sends; return it, or None if there is nothing more to do."""
        box: list[Any] = [None]
        with distributed.naming_lost_process():
            dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def collect(self, mine: Any) -> list[Any]:
        """Return in the first process what all processes pass, by rank, and in the others an empty list."""
        # Only the process that collects passes a list, as torch.distributed requires.
        everything: list[Any] = []
        if distributed.rank == 0:
            everything = [None] * distributed.world_size
        with distributed.naming_lost_process():
            dist.gather_object(mine, everything or None, dst=0, group=self._group)
        return everything

    def close(self) -> None:
        """Tell all other processes, from the first one, that there is nothing more to do; leave the group."""
        self.send(None)
        distributed.stop()


@dataclass(frozen=True, slots=True)
class Request:
    """Sentences for all processes to decode: `targets` are scored if given, else outputs are generated.

    `prefixes` and `phrases` are the pieces that each output must begin with, and the phrases that it must
    contain.
    """

    sources: Sequence[Ids]
    source_lang: str
    target_lang: str
    targets: Sequence[Ids] | None = None
    prefixes: Sequence[Sequence[int]] | None = None
    phrases: Sequence[Sequence[Sequence[int]]] | None = None

    def share(self) -> list[int]:
        """Return the indices of the sentences that this process decodes.

        Sentences are assigned in the order of their length, so that all processes get short and long
        ones.
        """
        by_length = sorted(
            range(len(self.sources)), key=lambda i: (-len(self.sources[i]), i)
        )
        return by_length[distributed.rank :: distributed.world_size]


class SharedDecoder:
    """A decoder that shares its sentences with the other processes of `group`, each of which has one, too.

    The first process calls `generate` and `score`, while all others run `serve`; it computes `align` alone.
    """

    def __init__(self, group: WorkGroup, decoder: TextDecoder) -> None:
        self.group = group
        self.decoder = decoder
        self.config = decoder.config
        self.single_stack = decoder.single_stack
        self.max_source_length = decoder.max_source_length

    def max_output_length(self, source_length: int) -> int:
        """Return for how many pieces of output the model has positions, after a source of this length."""
        return self.decoder.max_output_length(source_length)

    def generate(
        self,
        sources: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        phrases: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the n best outputs of each source, best first, which all processes generate together.

        The arguments are those of `TextDecoder.generate`.
        """
        return self._decode_together(
            Request(
                sources, source_lang, target_lang, prefixes=prefixes, phrases=phrases
            )
        )

    def score(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
    ) -> list[Hypothesis]:
        """Return each target as a hypothesis with its scores, which all processes compute together.

        The arguments are those of `TextDecoder.score`.
        """
        return self._decode_together(
            Request(sources, source_lang, target_lang, targets=targets)
        )

    def align(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        head: AlignmentHead,
    ) -> list[Links]:
        """Return the links of each target to its source, which this process computes alone.

        The arguments are those of `TextDecoder.align`.
        """
        return self.decoder.align(sources, targets, source_lang, target_lang, head)

    def serve(self) -> None:
        """Decode a share of each request that the first process sends, until there are no more."""
        while (request := self.group.receive()) is not None:
            self.group.collect(self._decode_share(request))

    def _decode_together(self, request: Request) -> list[Any]:
        """Let all processes decode a request, and return the result of each of its sentences, in their order.

        A result is a hypothesis if targets are scored, else a list of hypotheses. Raises the MasscliError of
        any process.
        """
        # The first process decodes a share, too, after it has sent the others theirs.
        self.group.send(request)
        results: dict[int, Any] = {}
        for share in self.group.collect(self._decode_share(request)):
            # An error is sent as a result, since only the first process can report it.
            if isinstance(share, MasscliError):
                raise share
            results |= share
        return [results[number] for number in range(len(request.sources))]

    def _decode_share(self, request: Request) -> dict[int, Any] | MasscliError:
        """Return this process's results by sentence index, or the MasscliError that it met."""
        numbers = request.share()
        sources = select(request.sources, numbers)
        results: Sequence[Any]
        try:
            if request.targets is not None:
                targets = select(request.targets, numbers)
                results = self.decoder.score(
                    sources, targets, request.source_lang, request.target_lang
                )
            else:
                prefixes = None
                if request.prefixes is not None:
                    prefixes = select(request.prefixes, numbers)
                phrases = None
                if request.phrases is not None:
                    phrases = select(request.phrases, numbers)
                results = self.decoder.generate(
                    sources,
                    request.source_lang,
                    request.target_lang,
                    prefixes=prefixes,
                    phrases=phrases,
                )
        except MasscliError as error:
            return error
        return dict(zip(numbers, results, strict=True))
