"""BERT+LM: a masked language model for the encoder and a causal one for the decoder (see README.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.causal_lm.clm import SentenceCollator
from masscli.objectives.causal_lm.options import BertLMOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.code_switching import CodeSwitcher
from masscli.objectives.shared.sentence_masking import (
    SentenceMaskingCollator,
    sentence_masker,
)
from masscli.objectives.shared.token_loss import token_loss


@dataclass(frozen=True)
class BertLMCollator:
    """Make batches with a masked sentence for the encoder, and the sentence itself for the decoder."""

    masked: SentenceMaskingCollator
    causal: SentenceCollator

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of sentences with labels of both loss terms, `mlm` and `clm`."""
        # Only the encoder's side draws random numbers.
        masked = self.masked(examples, rngs)
        causal = self.causal(examples, rngs)
        return replace(
            masked,
            target=causal.source,
            labels={**masked.labels, **causal.labels},
            counts={**masked.counts, **causal.counts},
        )


class BertLM(Objective):
    """Predict masked tokens with the encoder, and next tokens with the decoder.

    The decoder reads the same sentence, and does not attend to the encoder.
    """

    weights: ClassVar[Mapping[str, float]] = {"mlm": 1.0, "clm": 1.0}

    def __init__(self, config: BertLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` sentences (default: all) of a split, and their collator."""
        sentences = LineDataset(
            [data.monolingual(split, self.context.dataset_name)], max_examples
        )
        return sentences, self.collator(CodeSwitcher.from_options(self.options, data))

    def collator(self, code_switcher: CodeSwitcher = CodeSwitcher()) -> BertLMCollator:
        """Return the collator; `code_switcher` replaces words that the encoder reads (default: none)."""
        framing = self.context.framing
        language = self.context.dataset_name
        masker = sentence_masker(self.options, framing.vocab)
        masked = SentenceMaskingCollator(masker, framing, language, code_switcher)
        return BertLMCollator(masked, SentenceCollator(framing, language))

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed cross-entropies of masked tokens (`mlm`) and of all tokens (`clm`).

        The encoder predicts the masked tokens, the decoder each token from those before it.
        """
        assert batch.target is not None
        # Both stacks run before the losses, so that the order of random numbers and of sums stays the same.
        encoder_states = model.encode(batch.source).hidden
        decoder_states = model.decode(batch.target, None)
        return {
            "mlm": token_loss(model, encoder_states, batch.labels["mlm"], "encoder"),
            "clm": token_loss(model, decoder_states, batch.labels["clm"], "decoder"),
        }
