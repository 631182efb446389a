"""Pseudo-masks: an encoder predicts each token from the tokens before it (UniLMv2, Bao et al. 2020).

A sequence holds its own tokens and, at the same positions, a copy [P] of each token that is to be predicted.
Signed steps say which token attends to which (masscli/models/masks.py): step 0 is context, a token of step i
is visible from later steps, and its copy has step -i. Pre-training (masscli/objectives/unilm) and fine-tuning
share the batch layout of this module.

This module also has fine-tuning for generation (section 3.4; s2s-ft), since two families use it:

    [CLS] source [SEP]  y_1 .. y_T end   [P]_1 .. [P]_{T+1}

The source (step 0) sees itself. Target token t (step t) sees the source and the target up to itself.
Its pseudo-mask (step -t, at the same position) sees the source and the target before t, and predicts
token t. Positions continue after the source, and the target is segment 1. In training, the target that
later tokens see is itself corrupted (`target_mask_prob`) by the 80/10/10 rule. `masscli generate`
decodes with such a model through masscli/generation/single_stack_decoding.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.models.transformer import Transformer
from masscli.objectives.objective import ObjectiveContext, Term
from masscli.objectives.shared.batching import example_numbers, flatten_positions
from masscli.objectives.shared.corruption import replace_tokens
from masscli.objectives.shared.options import PseudoMaskingOptions
from masscli.objectives.shared.paired_text import refuse_language_tags
from masscli.objectives.shared.token_loss import token_loss

NUM_SPECIAL_TOKENS = 3
"""The number of special tokens of an example: [CLS], [SEP] and the end symbol of the target."""


class PseudoMaskExample(NamedTuple):
    """One sequence of N input tokens, pseudo-masks included, and its labels.

    `ids`, `positions`, `segments` and `steps` have shape (N,). `labels` has the label ids of each loss term,
    `label_positions` the indices of the input tokens that predict them.
    """

    ids: Ids
    positions: Ids
    segments: Ids
    steps: Ids
    labels: dict[str, Ids]
    label_positions: dict[str, Ids]


def pseudo_mask_batch(
    examples: Sequence[PseudoMaskExample],
    terms: Sequence[str],
    framing: Framing,
    language: str,
    numbers: Sequence[int],
) -> Batch:
    """Pad sequences with pseudo-masks into a batch for the encoder, with labels for the loss terms `terms`.

    `language` is the language of all sequences, `numbers` are the numbers of the examples in their dataset.
    """
    ids, lengths = framing.pad_ids([example.ids for example in examples])
    # Padding is hidden from attention, so its values in the other fields do not matter.
    positions = framing.pad_values([example.positions for example in examples])
    segments = framing.pad_values([example.segments for example in examples])
    steps = framing.pad_values([example.steps for example in examples])
    source = Tokens(
        ids,
        lengths,
        positions=positions,
        segments=segments,
        language=framing.language_tensor(language, len(examples)),
        steps=steps,
    )
    labels = {}
    for term in terms:
        # Each term has labels of its own, in the order of the rows.
        label_ids = torch.from_numpy(
            np.concatenate([example.labels[term] for example in examples])
        )
        label_positions = [example.label_positions[term] for example in examples]
        labels[term] = Labels(
            label_ids, flatten_positions(label_positions, ids.shape[1])
        )
    counts = {term: float(len(labels[term].ids)) for term in terms}
    return Batch(source, None, labels, counts, torch.tensor(numbers))


def build_example(
    source: Ids, target: Ids, visible_target: Ids, mask_id: int, term: str
) -> PseudoMaskExample:
    """Return one pair as a sequence for fine-tuning: source, target, and a pseudo-mask for each target token.

    `source` has its special tokens, `target` ends with the end symbol. `visible_target`, of the same length,
    is the possibly corrupted target that later tokens attend to. The labels of the loss term `term` are
    `target`, predicted at the pseudo-masks, which have the id `mask_id`.
    """
    source_length = len(source)
    target_length = len(target)
    steps = np.arange(1, target_length + 1)
    target_positions = np.arange(source_length, source_length + target_length)
    first_mask = source_length + target_length
    return PseudoMaskExample(
        # A pseudo-mask [P] is the mask symbol at a position of the target.
        ids=np.concatenate([source, visible_target, np.full(target_length, mask_id)]),
        # A copy has the position of its token.
        positions=np.concatenate(
            [np.arange(source_length), target_positions, target_positions]
        ),
        # The target and its copies are segment 1.
        segments=np.repeat([0, 1], [source_length, 2 * target_length]),
        # Context has step 0, target token t has step t, and its copy step -t.
        steps=np.concatenate([np.zeros(source_length, np.int64), steps, -steps]),
        labels={term: target},
        label_positions={term: np.arange(first_mask, first_mask + target_length)},
    )


@dataclass(frozen=True)
class PseudoMaskingCollator:
    """Make batches of (source, target) pairs with corrupted targets and pseudo-masks.

    `language` is the language given to the model, `term` the name of the loss term. Random tokens are
    drawn from the ids in `random_pool`.
    """

    options: PseudoMaskingOptions
    framing: Framing
    language: str
    term: str
    random_pool: Ids

    @classmethod
    def create(
        cls,
        options: PseudoMaskingOptions,
        context: ObjectiveContext,
        language: str,
        term: str,
    ) -> Self:
        """Create the collator for the model of `context`, with random tokens that are not special tokens.

        Raises MasscliError if the model marks languages by tags.
        """
        refuse_language_tags(options.name, context)
        vocab = context.framing.vocab
        random_pool = vocab.ordinary_ids
        return cls(options, context.framing, language, term, random_pool)

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of pairs; every target token and the end of each target has a label."""
        pseudo_masked = []
        for example, rng in zip(examples, rngs, strict=True):
            pseudo_masked.append(self._pseudo_mask(example, rng))
        numbers = example_numbers(examples)
        return pseudo_mask_batch(
            pseudo_masked, (self.term,), self.framing, self.language, numbers
        )

    def _pseudo_mask(
        self, example: Example, rng: np.random.Generator
    ) -> PseudoMaskExample:
        """Return a pair whose target is corrupted where later tokens see it, with labels for all of it."""
        options = self.options
        vocab = self.framing.vocab
        source_ids, target_ids = example.fields
        # The end symbol is predicted like any other token.
        target = np.concatenate([target_ids, [vocab.eos]])
        corrupted = np.flatnonzero(rng.random(len(target)) < options.target_mask_prob)
        random_prob = options.random_token_prob
        mask_prob = 1 - options.leave_unmasked_prob - random_prob
        # Only what later tokens see is corrupted; the labels are the target itself.
        visible_target = target.copy()
        visible_target[corrupted], _ = replace_tokens(
            target[corrupted],
            mask_prob,
            random_prob,
            vocab.mask,
            self.random_pool,
            rng,
        )
        source = np.concatenate([[vocab.cls], source_ids, [vocab.sep]])
        return build_example(source, target, visible_target, vocab.mask, self.term)


def uncorrupt(batch: Batch, term: str) -> Batch:
    """Return a copy of a batch of `PseudoMaskingCollator` in which no target token is corrupted.

    `term` is the loss term whose labels are the original target tokens. The perplexity of such a batch is
    that of generation, in which later tokens always see the true target.
    """
    assert batch.source.steps is not None
    ids = batch.source.ids.clone()
    # Only visible targets have steps above 0 in these batches, and each of them has a label.
    ids[batch.source.steps > 0] = batch.labels[term].ids
    return replace(batch, source=replace(batch.source, ids=ids))


def pseudo_mask_loss(
    model: Transformer, batch: Batch, term: str, label_smoothing: float = 0.0
) -> Term:
    """Return the encoder's cross-entropy of the labels of the loss term `term`, summed over them."""
    hidden = model.encode(batch.source).hidden
    return token_loss(model, hidden, batch.labels[term], "encoder", label_smoothing)
