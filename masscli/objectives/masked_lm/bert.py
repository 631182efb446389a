"""BERT: a masked language model and next-sentence prediction (Devlin et al. 2019; see README.md)."""

from __future__ import annotations

from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.masked_lm.options import BertOptions
from masscli.objectives.masked_lm.paired_lm import (
    PairedLM,
    PairedLMCollator,
    document_masker,
)
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.masking import MaskingUnit
from masscli.objectives.shared.paired_text import refuse_language_tags, segment_pairs


class Bert(PairedLM):
    """BERT: predict masked tokens, and whether segment B follows segment A."""

    def __init__(self, config: BertOptions, context: ObjectiveContext) -> None:
        super().__init__(context, pair_term="nsp")
        refuse_language_tags("bert", context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return pairs of segments, and their collator.

        `max_examples` limits the number of sentences, not of pairs.
        """
        pairs = segment_pairs(
            data, split, self.context, self.options, "nsp", max_examples
        )
        return pairs, self.collator()

    def collator(self) -> PairedLMCollator:
        """Return the collator; random tokens are drawn from the whole vocabulary, as in the released code."""
        framing = self.context.framing
        unit: MaskingUnit = "words" if self.options.whole_words else "tokens"
        vocab = framing.vocab
        masker = document_masker(self.options, unit, vocab, vocab.all_ids)
        return PairedLMCollator(
            framing, self.context.dataset_name, masker, self.pair_term
        )
