"""Sequence to sequence with an encoder alone: UniLMv2's fine-tuning for generation (Bao et al. 2020, section 3.4; s2s-ft).

    [CLS] source [SEP]  y_1 .. y_T end   [P]_1 .. [P]_{T+1}

The source (step 0) sees itself; target token t (step t) sees the source and the target up to itself; its pseudo-mask (step -t, at the same
position) sees the source and the target before t, and predicts it.  Positions go on after the source, the target is segment 1.  What later
places see of the target is in training itself corrupted (`target_mask_prob`): of the chosen tokens 80% are [M], 10% random, 10% as they
were.
`masscli generate` writes with such a model by masscli/generation/continuation.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from masscli.data.batch import Batch, Ids
from masscli.data.framing import Framing
from masscli.data.noise import replace_some
from masscli.data.shards import DataBin
from masscli.data.view import Example, Lines, View
from masscli.models.transformer import Transformer
from masscli.objectives.base import Objective, Setting, Term
from masscli.objectives.bert import no_tags
from masscli.objectives.unilm import Laid, batch_of
from masscli.pretraining import PseudoMaskedOptions


def lay_out(source: Ids, target: Ids, shown: Ids, mask: int) -> Laid:
    """One example: the framed source, the target with its end (as it is, and as later places see it), and the pseudo-masks."""
    m, n = len(source), len(target)
    steps, places = np.arange(1, n + 1), np.arange(m, m + n)
    return Laid(
        ids=np.concatenate([source, shown, np.full(n, mask)]),
        positions=np.concatenate([np.arange(m), places, places]),
        segments=np.repeat([0, 1], [m, 2 * n]),
        steps=np.concatenate([np.zeros(m, np.int64), steps, -steps]),
        labels={"s2s": target},
        at={"s2s": np.arange(m + n, m + 2 * n)},
    )


class Joined:
    """Pairs of lines; the sizes are those of the source, and of source and target together, which the model must have positions for."""

    def __init__(self, pairs: Lines) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """(rows, 2)."""
        both = self.pairs.sizes(start, stop)
        return np.stack([both[:, 0], both.sum(1)], 1)

    def __getitem__(self, row: int) -> Example:
        return self.pairs[row]


@dataclass(frozen=True)
class PseudoCollator:
    """Corrupts the target and adds pseudo-masks.  `words` are the ids that are not special."""

    options: PseudoMaskedOptions
    framing: Framing
    language: str
    words: Ids

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        o, vocab, laid = self.options, self.framing.vocab, []
        for example, rng in zip(examples, rngs, strict=True):
            target = np.concatenate([example.fields[1], [vocab.eos]])
            shown, chosen = target.copy(), np.flatnonzero(rng.random(len(target)) < o.target_mask_prob)
            shares = 1 - o.leave_unmasked_prob - o.random_token_prob, o.random_token_prob
            shown[chosen], _ = replace_some(target[chosen], *shares, vocab.mask, self.words, vocab.size, rng)
            laid.append(lay_out(np.concatenate([[vocab.cls], example.fields[0], [vocab.sep]]), target, shown, vocab.mask))
        return batch_of(laid, ("s2s",), self.framing, self.language, [e.row for e in examples])


class PseudoMasked(Objective):
    """Write the target at its pseudo-masks."""

    Config = PseudoMaskedOptions
    weights: ClassVar[Mapping[str, float]] = {"s2s": 1.0}

    def __init__(self, config: PseudoMaskedOptions, setting: Setting) -> None:
        super().__init__(setting)
        no_tags("s2s", setting)
        self.options = config

    def view(self, data: DataBin, split: str) -> View:
        """Pairs of lines."""
        source, target = self.setting.sides
        return Joined(Lines(data.pair(split, source, target), self.setting.limit))

    def collator(self) -> PseudoCollator:
        """Lays out the copies; the language told to the model is the target's."""
        vocab = self.setting.framing.vocab
        words = np.setdiff1d(np.arange(vocab.size), list(vocab.specials))
        return PseudoCollator(self.options, self.setting.framing, self.setting.sides[1], words)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Validation sees the target as it is, so that its perplexity is that of writing."""
        if self.training or batch.source.steps is None:
            return batch
        ids = batch.source.ids.clone()
        ids[batch.source.steps > 0] = batch.labels["s2s"].ids
        return replace(batch, source=replace(batch.source, ids=ids))

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy at the pseudo-masks."""
        hidden, wanted = model.encode(batch.source).hidden, batch.labels["s2s"]
        states = hidden.flatten(0, 1)[wanted.positions]
        return {"s2s": Term(*model.loss(states, wanted.ids, self.options.label_smoothing, stack="encoder"))}
