"""Writing with an encoder alone by pseudo-masks: UniLMv2's fine-tuning for generation (Bao et al. 2020, section 3.4; s2s-ft).

    [CLS] source [SEP]  y_1 .. y_T end   [P]_1 .. [P]_{T+1}

The source (step 0) sees itself; target token t (step t) sees the source and the target up to itself; its pseudo-mask (step -t, at the same
position) sees the source and the target before t, and predicts it.  Positions go on after the source, the target is segment 1.  What later
places see of the target is in training itself corrupted (`target_mask_prob`): of the chosen tokens 80% are [M], 10% random, 10% as they
were.  Where the pairs come from, this does not know.
`masscli generate` writes with such a model by masscli/generation/single_stack_decoding.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.bert import no_tags
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.corruption import replace_some
from masscli.objectives.shared.options import PseudoMaskOptions
from masscli.objectives.unilm.objective import Laid, batch_of

FRAME = 3
"""Symbols of an example: [CLS] and [SEP] of the source, the end of the target.  Pseudo-masks share positions with what they predict."""


def lay_out(source: Ids, target: Ids, shown: Ids, mask: int, term: str) -> Laid:
    """One example: the framed source, the target with its end (as it is, and as later places see it), and the pseudo-masks."""
    m, n = len(source), len(target)
    steps, places = np.arange(1, n + 1), np.arange(m, m + n)
    return Laid(
        ids=np.concatenate([source, shown, np.full(n, mask)]),
        positions=np.concatenate([np.arange(m), places, places]),
        segments=np.repeat([0, 1], [m, 2 * n]),
        steps=np.concatenate([np.zeros(m, np.int64), steps, -steps]),
        labels={term: target},
        at={term: np.arange(m + n, m + 2 * n)},
    )


@dataclass(frozen=True)
class PseudoCollator:
    """Corrupts the targets of pairs (source, target) and adds pseudo-masks.  `words` are the ids that are not special."""

    options: PseudoMaskOptions
    framing: Framing
    language: str
    term: str
    words: Ids

    @classmethod
    def of(cls, options: PseudoMaskOptions, context: ObjectiveContext, language: str, term: str) -> Self:
        """Refuses a model that has no place for what is laid out."""
        no_tags(options.name, context)
        vocab = context.framing.vocab
        return cls(
            options,
            context.framing,
            language,
            term,
            vocab.ordinary_ids,
        )

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        o, vocab, laid = self.options, self.framing.vocab, []
        shares = 1 - o.leave_unmasked_prob - o.random_token_prob, o.random_token_prob
        for example, rng in zip(examples, rngs, strict=True):
            target = np.concatenate([example.fields[1], [vocab.eos]])
            shown, chosen = target.copy(), np.flatnonzero(rng.random(len(target)) < o.target_mask_prob)
            shown[chosen], _ = replace_some(target[chosen], *shares, vocab.mask, self.words, vocab.size, rng)
            framed = np.concatenate([[vocab.cls], example.fields[0], [vocab.sep]])
            laid.append(lay_out(framed, target, shown, vocab.mask, self.term))
        return batch_of(laid, (self.term,), self.framing, self.language, [e.number for e in examples])


def undone(batch: Batch, term: str) -> Batch:
    """The batch with its targets as they are, so that a perplexity is that of writing."""
    assert batch.source.steps is not None
    ids = batch.source.ids.clone()
    ids[batch.source.steps > 0] = batch.labels[term].ids
    return replace(batch, source=replace(batch.source, ids=ids))


def pseudo_loss(model: Transformer, batch: Batch, term: str, smoothing: float) -> Term:
    """Cross-entropy at the pseudo-masks."""
    wanted = batch.labels[term]
    states = model.encode(batch.source).hidden.flatten(0, 1)[wanted.positions]
    return Term(*model.loss(states, wanted.ids, smoothing, stack="encoder"))
