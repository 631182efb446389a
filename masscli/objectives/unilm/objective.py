"""UniLMv2's pseudo-masked language model: autoencoding and partially autoregressive prediction in one forward pass (Bao et al. 2020).

A set M of tokens is drawn in blocks M_1 .. M_K, whose order is the factorisation order:

    AE   prod_{m in M} P(x_m | text without M)                          read at [M]
    PAR  prod_i prod_{m in M_i} P(x_m | text without M_i .. M_K)        read at [P]

The sequence holds all tokens, and a copy [M] and a copy [P] of each masked one at the same position and segment, n + 2 |M| in all.  Signed
steps say who sees whom (masscli/models/masks.py): context and [M] are 0, the tokens of block i have i, their [P] -i.  [P] is shown as the
mask symbol, as in the authors' fine-tuning code.  Ablations leave out the copies that they do not need: ae, par, ar (blocks of one token),
ae+ar.  --max-tokens counts the tokens of the text, without copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.bert import Framed, document_pairs, frame, no_tags
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.corruption import replace_some
from masscli.objectives.shared.masking import blocks
from masscli.objectives.unilm.options import UniLMOptions


class Laid(NamedTuple):
    """One sequence: what is read, where, in which segment, at which step; and by term the labels and where they are predicted."""

    ids: Ids
    positions: Ids
    segments: Ids
    steps: Ids
    labels: dict[str, Ids]
    at: dict[str, Ids]


def lay_out(pair: Framed, order: Sequence[Ids], shown: Ids, mask: int, terms: Sequence[str]) -> Laid:
    """Originals, then [M]s, then [P]s.  `order` are the blocks; `shown` is what stands at their tokens' [M], in that order."""
    n = len(pair.ids)
    masked = np.concatenate(order) if order else np.zeros(0, np.int64)
    blocks = np.repeat(np.arange(1, len(order) + 1), [len(b) for b in order]) if order else masked
    steps = np.zeros(n, np.int64)
    steps[masked] = blocks
    kept = np.arange(n) if terms != ["ae"] else np.setdiff1d(np.arange(n), masked)
    places, ids, at = [kept], [pair.ids[kept]], {}
    signs = [steps[kept]]
    for term in terms:
        at[term] = np.arange(len(masked)) + sum(map(len, places))
        places.append(masked)
        ids.append(shown if term == "ae" else np.full(len(masked), mask))
        signs.append(np.zeros_like(blocks) if term == "ae" else -blocks)
    where = np.concatenate(places)
    return Laid(
        np.concatenate(ids),
        where,
        pair.segments[where],
        np.concatenate(signs),
        dict.fromkeys(terms, pair.ids[masked]),
        at,
    )


@dataclass(frozen=True)
class PseudoMaskingCollator:
    """Draws blocks and lays out the copies."""

    options: UniLMOptions
    framing: Framing
    language: str
    terms: tuple[str, ...]

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        o, vocab = self.options, self.framing.vocab
        laid = []
        for example, rng in zip(examples, rngs, strict=True):
            pair = frame(example, self.framing)
            order = blocks(pair.text, o.mask_prob, o.ngram_prob, o.max_ngram, "ar" in self.terms, rng)
            masked = pair.ids[np.concatenate(order)] if order else np.zeros(0, np.int64)
            shares = (0.8, 0.1) if o.corruption == "80-10-10" else (1.0, 0.0)
            shown, _ = replace_some(masked, *shares, vocab.mask, None, vocab.size, rng)
            laid.append(lay_out(pair, order, shown, vocab.mask, list(self.terms)))
        return batch_of(laid, self.terms, self.framing, self.language, [e.number for e in examples])


def batch_of(
    laid: Sequence[Laid], terms: Sequence[str], framing: Framing, language: str, numbers: Sequence[int]
) -> Batch:
    """Pad sequences into a batch."""
    ids, lengths = pad([x.ids for x in laid], framing.vocab.pad)
    columns = ([x.positions for x in laid], [x.segments for x in laid], [x.steps for x in laid])
    positions, segments, steps = (pad(column, 0)[0] for column in columns)
    labels = {}
    for term in terms:
        at = np.concatenate([row * ids.shape[1] + x.at[term] for row, x in enumerate(laid)])
        labels[term] = Labels(
            torch.from_numpy(np.concatenate([x.labels[term] for x in laid])), torch.from_numpy(at)
        )
    source = Tokens(
        ids,
        lengths,
        positions=positions,
        segments=segments,
        language=framing.language_tensor(language, len(laid)),
        steps=steps,
    )
    return Batch(
        source, None, labels, {t: float(len(v.ids)) for t, v in labels.items()}, torch.tensor(numbers)
    )


class UniLM(Objective):
    """Write the masked tokens at once, and block after block."""

    def __init__(self, config: UniLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        no_tags("unilm", context)
        self.options = config
        self.terms = tuple(config.variant.split("+"))

    @property
    def weights(self) -> Mapping[str, float]:
        """All terms count the same."""
        return dict.fromkeys(self.terms, 1.0)

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Two consecutive segments of a document."""
        return document_pairs(
            data, split, self.context, self.options, "contiguous", max_examples
        ), self.collator()

    def collator(self) -> PseudoMaskingCollator:
        """Masks, in blocks."""
        return PseudoMaskingCollator(
            self.options, self.context.framing, self.context.dataset_name, self.terms
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy at [M] and at [P]."""
        hidden = model.encode(batch.source).hidden.flatten(0, 1)
        found = {}
        for term in self.terms:
            wanted = batch.labels[term]
            found[term] = Term(*model.loss(hidden[wanted.positions], wanted.ids, stack="encoder"))
        return found
