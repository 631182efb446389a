"""Share the decoding of sentences among the processes that torchrun has started.

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
from masscli.generation.decoder import Decoder, select
from masscli.generation.hypotheses import Hypothesis

PATIENCE = timedelta(days=30)
"""How long the others wait for a line of input, which may come from a terminal."""


class WorkGroup:
    """All processes, of which the first one sends objects to the others and gets theirs back."""

    def __init__(self, device: torch.device) -> None:
        distributed.start(device)
        # What is sent are Python objects, which NCCL cannot send from the memory of a CPU.
        self._group = dist.new_group(backend="gloo", timeout=PATIENCE)

    def send(self, message: Any) -> None:
        """Send an object from the first process to the others."""
        dist.broadcast_object_list([message], src=0, group=self._group)

    def receive(self) -> Any:
        """Return what the first process sends; None if there is nothing more to do."""
        box: list[Any] = [None]
        dist.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def collect(self, mine: Any) -> list[Any]:
        """Return what all processes pass to this function, in the first process; an empty list in others."""
        everything: list[Any] = []
        if distributed.rank == 0:
            everything = [None] * distributed.world_size
        dist.gather_object(mine, everything or None, dst=0, group=self._group)
        return everything

    def close(self) -> None:
        """Tell the other processes, from the first one, that there is nothing more to do."""
        self.send(None)
        distributed.stop()


@dataclass(frozen=True, slots=True)
class Request:
    """Sentences to decode: given targets are scored, or else outputs are generated."""

    sources: Sequence[Ids]
    source: str
    target: str
    targets: Sequence[Ids] | None = None
    prefixes: Sequence[Sequence[int]] | None = None
    phrases: Sequence[Sequence[Sequence[int]]] | None = None

    def share(self) -> list[int]:
        """Return the numbers of the sentences that this process decodes: of any length, as the others do."""
        by_length = sorted(range(len(self.sources)), key=lambda i: (-len(self.sources[i]), i))
        return by_length[distributed.rank :: distributed.world_size]


class SharedDecoder(Decoder):
    """A decoder that shares its sentences with the decoders of the other processes, which `serve`."""

    def __init__(self, group: WorkGroup, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.group = group

    def generate(
        self,
        sources: Sequence[Ids],
        source: str,
        target: str,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        sample_keys: Sequence[int] | None = None,
        phrases: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the n best outputs of each source, as `Decoder.generate` does with its own keys."""
        assert sample_keys is None
        return self._decode_together(Request(sources, source, target, prefixes=prefixes, phrases=phrases))

    def score(
        self, sources: Sequence[Ids], targets: Sequence[Ids], source: str, target: str
    ) -> list[Hypothesis]:
        """Return given targets as hypotheses, as `Decoder.score` does."""
        return self._decode_together(Request(sources, source, target, targets=targets))

    def serve(self) -> None:
        """Decode a share of whatever the first process sends, until there is nothing more to do."""
        while (request := self.group.receive()) is not None:
            self.group.collect(self._decode_share(request))

    def _decode_together(self, request: Request) -> list[Any]:
        """Return the result of each sentence. Raises the MasscliError of any process."""
        self.group.send(request)
        results: dict[int, Any] = {}
        for share in self.group.collect(self._decode_share(request)):
            if isinstance(share, MasscliError):
                raise share
            results |= share
        return [results[number] for number in range(len(request.sources))]

    def _decode_share(self, request: Request) -> dict[int, Any] | MasscliError:
        """Return the results of this process by the numbers of their sentences, or what went wrong."""
        numbers = request.share()
        sources = select(request.sources, numbers)
        results: Sequence[Any]
        try:
            if request.targets is not None:
                targets = select(request.targets, numbers)
                results = super().score(sources, targets, request.source, request.target)
            else:
                prefixes = None
                if request.prefixes is not None:
                    prefixes = select(request.prefixes, numbers)
                phrases = None
                if request.phrases is not None:
                    phrases = select(request.phrases, numbers)
                results = super().generate(
                    sources, request.source, request.target, prefixes=prefixes, phrases=phrases
                )
        except MasscliError as error:
            return error
        return dict(zip(numbers, results, strict=True))
