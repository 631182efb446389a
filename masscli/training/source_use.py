"""How much a decoder uses its source: the loss with another source minus the loss with the right one.

Targets and inputs of the decoder stay the same, so a difference of 0 means that the decoder predicts
what it would predict without its source. Values are in nats per target. Each metric is the loss with the
first of two sources minus the loss with the second one:

    source_use          another example's source (of the same language, about as long) - the right source
    source_use_far      the same, but the other source has the right source's two visible tokens on each side
                        of every target: what the decoder gains from these alone is not counted
    source_use_masked   the right source with every token replaced by [M] - the right source
    cross_use           a random sentence of the other language - the translation of the target

The noise of examples has a fixed seed and there is no dropout, so that values of different runs can be
compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Labels, Tokens
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchSampler
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective
from masscli.objectives.shared.sequence_to_sequence import (
    sequence_loss,
    sequence_pair_batch,
)
from masscli.training.evaluate_outputs import with_less_memory
from masscli.training.validation_tasks import names_by_direction

NEIGHBOR_DISTANCE = 2
"""How far from a target a visible source token may be to count as its neighbor (source_use_far)."""
BATCH_SIZE = 64
"""Number of sentence pairs in a batch for cross_use."""


@dataclass(frozen=True)
class SourceUseTask:
    """Measures how much the predictions of one training stream depend on their sources."""

    mean: ClassVar[str] = ""
    stream: str
    objective: Objective
    batch_builder: BatchBuilder
    sampler: BatchSampler
    framing: Framing

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the names of the metrics, such as `source_use.STREAM`.

        `source_use_far` is among them only if the targets are parts of the source. Raises MasscliError if
        there are fewer than two validation examples.
        """
        if len(self._other_examples) < 2:
            raise MasscliError(
                f"--eval-source-use: {self.stream} has a single validation example",
                "raise --max-valid-rows, or leave it out",
            )
        batch = self.batch_builder(self.sampler.epoch()[0], 0)
        kinds = ["source_use", "source_use_masked"]
        if self.objective.visible_neighbors(batch, NEIGHBOR_DISTANCE) is not None:
            kinds.insert(1, "source_use_far")
        return tuple(f"{kind}.{self.stream}" for kind in kinds)

    @torch.no_grad()
    def measure(self, model: Transformer) -> dict[str, float]:
        """Return the metrics by name, in nats per target.

        Each is the loss with another source minus the loss with the right source. All processes must
        call this together.
        """
        device = next(model.parameters()).device
        self.objective.eval()
        # The summed losses with the right source and with each of the others, and the number of
        # targets.
        totals = torch.zeros(len(self.names) + 2, dtype=torch.float64)
        losses_of = partial(self._losses, model, device)
        for position, numbers in enumerate(self.sampler.epoch()):
            if position % distributed.world_size == distributed.rank:
                # If memory runs out, the examples are computed in several parts, which are added up here.
                totals += torch.stack(with_less_memory(numbers, losses_of)).sum(0)
        self.objective.train()
        *sums, targets = distributed.all_reduce_sum(totals.to(device)).tolist()
        own, *others = [value / targets for value in sums]
        return {
            name: other - own for name, other in zip(self.names, others, strict=True)
        }

    def _losses(self, model: Transformer, device: torch.device, numbers: Ids) -> Tensor:
        """Return the summed loss of some examples with each kind of source, and the number of targets.

        `numbers` are those of the examples. The losses, in nats, are in the order of `_sources`; the count is
        the last entry of the tensor.
        """
        batch = self.objective.prepare(model, self.batch_builder(numbers, 0).to(device))
        other_numbers = np.array(
            [self._other_examples[int(number)] for number in numbers]
        )
        other = self.objective.prepare(
            model, self.batch_builder(other_numbers, 0).to(device)
        )
        sums = []
        for source in self._sources(batch, other.source):
            losses = self.objective(model, replace(batch, source=source))
            sums.append(sum(float(term.nll) for term in losses.values()))
        return torch.tensor([*sums, sum(batch.counts.values())], dtype=torch.float64)

    def _sources(self, batch: Batch, other: Tokens) -> Iterator[Tokens]:
        """Yield the sources from which the targets of a batch are predicted.

        These are the right source, the source `other`, then (only if targets are parts of the source)
        `other` with the tokens next to the targets taken from the right source, and last the right
        source with [M] for every token.
        """
        yield batch.source
        yield other
        neighbors = self.objective.visible_neighbors(batch, NEIGHBOR_DISTANCE)
        if neighbors is not None:
            yield _with_tokens_of(
                other, batch.source, neighbors, self.framing.suffix_length
            )
        vocab = self.framing.vocab
        ordinary = torch.zeros(
            vocab.size, dtype=torch.bool, device=batch.source.ids.device
        )
        ordinary[torch.from_numpy(vocab.ordinary_ids)] = True
        yield replace(
            batch.source,
            ids=batch.source.ids.masked_fill(ordinary[batch.source.ids], vocab.mask),
        )

    @cached_property
    def _other_examples(self) -> dict[int, int]:
        """Return, by number of an example, the number of the example whose source it gets instead of its own.

        In the order of source lengths this is the next example; for the last, it is the one before.
        """
        numbers = np.concatenate(self.sampler.epoch())
        lengths = self.sampler.sizes(0, self.sampler.num_examples)[numbers, 0]
        # Ties are in the order of the data, whatever the batches are.
        ordered = numbers[np.lexsort((numbers, lengths))].tolist()
        # A single example has no other, and gets no entry; `names` refuses it.
        others = [*ordered[1:], *ordered[-2:-1]]
        return dict(zip(ordered, others, strict=False))


@dataclass(frozen=True)
class CrossUseTask:
    """Measures how much better a sentence is predicted from its translation than from a random sentence.

    The decoder predicts the words of the sentence; the end symbol is left out, because MASS need not learn
    it. `pair` are the two languages, and `sides` the token ids of their aligned lines, with at least two
    lines.
    """

    mean: ClassVar[str] = "cross_use"
    pair: tuple[str, str]
    sides: tuple[Sequence[Ids], Sequence[Ids]]
    framing: Framing

    @property
    def names(self) -> tuple[str, str]:
        """Return the names of the metrics, one for each direction, such as `cross_use.en-de`."""
        return names_by_direction(self.mean, self.pair)

    @torch.no_grad()
    def measure(self, model: Transformer) -> dict[str, float]:
        """Return the loss with a random source minus that with the translation, by metric, in nats per piece.

        All processes must call this together.
        """
        forward, backward = self.names
        first, second = self.pair
        return {
            forward: self._difference(
                model, self.sides[0], self.sides[1], (first, second)
            ),
            backward: self._difference(
                model, self.sides[1], self.sides[0], (second, first)
            ),
        }

    def _difference(
        self,
        model: Transformer,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        languages: tuple[str, str],
    ) -> float:
        """Return the loss with random sources minus the loss with translations, in nats per piece.

        Line n of `sources` is the translation of line n of `targets`; `languages` are those of sources and
        targets. All processes must call this together.
        """
        device = next(model.parameters()).device
        # In a random order, each line reads the source of the next one, so none reads its own.
        order = np.random.default_rng(0).permutation(len(targets))
        random_sources = dict(
            zip(order.tolist(), np.roll(order, -1).tolist(), strict=True)
        )

        def losses(numbers: Ids) -> Tensor:
            lines = [targets[int(number)] for number in numbers]
            own_numbers = numbers.tolist()
            random_numbers = [random_sources[number] for number in own_numbers]
            sums = []
            for source_numbers in (random_numbers, own_numbers):
                inputs = [
                    self.framing.encoder_input(sources[n], *languages)
                    for n in source_numbers
                ]
                batch = sequence_pair_batch(
                    self.framing, inputs, lines, languages, "cross", own_numbers
                )
                words = _words_alone(batch.labels["cross"], self.framing)
                batch = replace(batch, labels={"cross": words})
                sums.append(float(sequence_loss(model, batch.to(device), "cross").nll))
            num_words = sum(len(line) for line in lines)
            return torch.tensor([*sums, num_words], dtype=torch.float64)

        totals = torch.zeros(3, dtype=torch.float64)
        # Sentences of similar length need little padding.
        by_length = np.array(
            sorted(range(len(targets)), key=lambda number: len(targets[number]))
        )
        for start in range(
            BATCH_SIZE * distributed.rank,
            len(targets),
            BATCH_SIZE * distributed.world_size,
        ):
            numbers = by_length[start : start + BATCH_SIZE]
            totals += torch.stack(with_less_memory(numbers, losses)).sum(0)
        with_random, with_translation, words = distributed.all_reduce_sum(
            totals.to(device)
        ).tolist()
        difference: float = (with_random - with_translation) / max(1.0, words)
        return difference


def _with_tokens_of(
    source: Tokens, other: Tokens, chosen: Tensor, suffix_length: int
) -> Tokens:
    """Return a copy of `source` that has the tokens of `other` at the places marked in `chosen`.

    `chosen` is a mask (B, L), where L is the length of `other`. The last `suffix_length` tokens of each text
    in `source`, which are special tokens, and the padding after them are left as they are.
    """
    width = min(source.ids.shape[1], other.ids.shape[1])
    places = torch.arange(width, device=source.ids.device)
    chosen = chosen[:, :width] & (places < source.lengths[:, None] - suffix_length)

    def mixed(ours: Tensor, theirs: Tensor) -> Tensor:
        copied = ours.clone()
        copied[:, :width][chosen] = theirs[:, :width][chosen]
        return copied

    def mixed_masks(ours: Tensor | None, theirs: Tensor | None) -> Tensor | None:
        if ours is None or theirs is None:
            return ours
        return mixed(ours, theirs)

    return replace(
        source,
        ids=mixed(source.ids, other.ids),
        cross_attention_mask=mixed_masks(
            source.cross_attention_mask, other.cross_attention_mask
        ),
        self_attention_mask=mixed_masks(
            source.self_attention_mask, other.self_attention_mask
        ),
    )


def _words_alone(labels: Labels, framing: Framing) -> Labels:
    """Return the labels of words (pieces and unknown pieces), without special tokens.

    Special tokens are the end symbol and, in some models, a tag that every output begins with.
    """
    vocab = framing.vocab
    # An unknown piece stands for a word.
    special_ids = torch.tensor(sorted(vocab.special_ids - {vocab.unk}))
    is_word = ~torch.isin(labels.ids, special_ids)
    return Labels(labels.ids[is_word], labels.positions[is_word])
