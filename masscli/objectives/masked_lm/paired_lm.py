"""The common part of BERT and its relatives: a masked language model, and a classifier of segment pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from masscli.data.batches.batch import Batch, Ids, Labels
from masscli.data.batches.dataset import Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.models.linear import Linear
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.options import DocumentMaskingOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_numbers
from masscli.objectives.shared.masking import MaskingUnit, TokenMasker
from masscli.objectives.shared.paired_text import add_special_tokens
from masscli.objectives.shared.segment_pairs import SegmentPairDataset
from masscli.objectives.shared.sentence_masking import masked_batch
from masscli.objectives.shared.token_loss import token_loss
from masscli.text.vocabulary import Vocabulary


def document_masker(
    options: DocumentMaskingOptions,
    unit: MaskingUnit,
    vocab: Vocabulary,
    random_pool: Ids,
) -> TokenMasker:
    """Return the masker of an objective over documents, with its options and the masking unit `unit`.

    Random tokens are drawn from the ids in `random_pool`.
    """
    return TokenMasker(
        unit=unit,
        mask_prob=options.mask_prob,
        keep_prob=options.leave_unmasked_prob,
        random_prob=options.random_token_prob,
        mask_id=vocab.mask,
        random_pool=random_pool,
        max_masked=options.max_predictions,
        static=options.masks == "static",
        seed=options.pair_seed,
    )


@dataclass(frozen=True)
class PairedLMCollator:
    """Make batches of segment pairs with masked tokens.

    `pair_term` is the loss term of the pair's label, or None if the label is not predicted.
    """

    framing: Framing
    language: str
    masker: TokenMasker
    pair_term: str | None

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch with labels of the loss term `mlm`, and of `pair_term` if it is predicted."""
        pairs = [add_special_tokens(example, self.framing) for example in examples]
        corrupted = []
        masked_positions = []
        for pair, example, rng in zip(pairs, examples, rngs, strict=True):
            ids, positions = self.masker(
                pair.ids, pair.is_text, pair.starts_word, example.number, rng
            )
            corrupted.append(ids)
            masked_positions.append(positions)
        numbers = example_numbers(examples)
        original = [pair.ids for pair in pairs]
        batch = masked_batch(
            original, corrupted, masked_positions, self.framing, self.language, numbers
        )
        # The encoder gets the segment of each token; padding counts as the first segment.
        segments = self.framing.pad_values([pair.segments for pair in pairs])
        batch = replace(batch, source=replace(batch.source, segments=segments))
        if self.pair_term is None:
            return batch
        # A pair has its label at its own row, not at a token.
        pair_labels = Labels(
            torch.tensor([pair.label for pair in pairs]), torch.arange(len(pairs))
        )
        return replace(
            batch,
            labels={**batch.labels, self.pair_term: pair_labels},
            counts={**batch.counts, self.pair_term: float(len(pairs))},
        )


class PairedLM(Objective):
    """Predict masked tokens, and a binary label of each segment pair under the loss term `pair_term`.

    If `pair_term` is None, only tokens are predicted.
    """

    def __init__(self, context: ObjectiveContext, pair_term: str | None) -> None:
        super().__init__(context)
        self.pair_term = pair_term
        # The head belongs to the objective, so it is discarded when only the model is kept.
        self.head: Linear | None = None
        if pair_term is not None:
            self.head = Linear(context.model.dim, 2)
            nn.init.normal_(self.head.weight, 0, 0.02)
            nn.init.zeros_(self.head.bias)

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights of the loss terms, all of which are 1."""
        if self.pair_term is None:
            return {"mlm": 1.0}
        return {"mlm": 1.0, self.pair_term: 1.0}

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return warnings if the labels of the segment pairs are of little use.

        This is the case if all labels are the same, or if next sentence prediction has only a single
        document.
        """
        if self.pair_term is None or not isinstance(dataset, SegmentPairDataset):
            return []
        warnings = []
        # Next-sentence prediction takes its negative examples from other documents.
        if dataset.num_documents == 1 and self.pair_term == "nsp":
            warnings.append(
                "no blank line ends a document: negative examples come from the same document"
            )
        if len(dataset) and dataset.label_sum in (0, len(dataset)):
            warnings.append(
                "all pairs have the same label, so it teaches nothing: "
                "a document needs two sentences (lines) or more"
            )
        return warnings

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed cross-entropy of the masked tokens, and that of the pair labels if predicted."""
        hidden = model.encode(batch.source).hidden
        terms = {"mlm": token_loss(model, hidden, batch.labels["mlm"], "encoder")}
        if self.head is not None and self.pair_term is not None:
            # The pooler belongs to the model, since fine-tuning uses it too.
            logits = self.head(model.pool(hidden)).float()
            loss = F.cross_entropy(
                logits, batch.labels[self.pair_term].ids, reduction="sum"
            )
            # There is no label smoothing, so the reported value equals the loss.
            terms[self.pair_term] = Term(loss, loss.detach())
        return terms
