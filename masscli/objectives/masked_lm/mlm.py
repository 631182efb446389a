"""A masked language model over single sentences, with the encoder alone. See README.md in this folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, LineDataset
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.options import MaskedLMOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.code_switching import CodeSwitcher
from masscli.objectives.shared.sentence_masking import (
    SentenceMaskingCollator,
    masked_lm_loss,
    sentence_masker,
)


class MaskedLM(Objective):
    """Masked language model: predict the masked tokens of a sentence with the encoder."""

    weights: ClassVar[Mapping[str, float]] = {"mlm": 1.0}

    def __init__(self, config: MaskedLMOptions, context: ObjectiveContext) -> None:
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

    def collator(
        self, code_switcher: CodeSwitcher = CodeSwitcher()
    ) -> SentenceMaskingCollator:
        """Return the collator; `code_switcher` replaces words that are not masked (default: none)."""
        framing = self.context.framing
        masker = sentence_masker(self.options, framing.vocab)
        if self.options.span_p is not None:
            masker = replace(
                masker,
                unit="sentence-spans",
                span_p=self.options.span_p,
                max_span=self.options.max_span,
            )
        return SentenceMaskingCollator(
            masker, framing, self.context.dataset_name, code_switcher
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the masked tokens, summed, as the loss term `mlm`."""
        return {"mlm": masked_lm_loss(model, batch)}
