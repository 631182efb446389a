"""ALBERT's objectives: n-gram masking and sentence-order prediction (Lan et al. 2020, section 3.1).

    L = mean_{m in masked} -log P(x_m | corrupted text)  +  mean -log P(order | [CLS] A [SEP] B [SEP])

where A and B are consecutive segments of a document, half of them exchanged.  Its factorised embeddings and shared layers are choices
of the model (--arch albert-base); it was trained with --optimizer lamb.
"""

from __future__ import annotations

from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.masked_lm.bert import PairCollator, PairedLM, document_pairs, make_masker, no_tags
from masscli.objectives.masked_lm.options import AlbertOptions
from masscli.objectives.objective import ObjectiveContext


class Albert(PairedLM):
    """Write the masked n-grams, and say which segment came first."""

    def __init__(self, config: AlbertOptions, context: ObjectiveContext) -> None:
        super().__init__(context, "sop")
        no_tags("albert", context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Pairs of segments, half of them exchanged."""
        o = self.options
        kind = "strict-sop" if o.strict_sop else "sop"
        as_albert = o.ngram_rule == "released"
        pairs = document_pairs(data, split, self.context, o, kind, max_examples, as_albert)
        return pairs, self.collator()

    def collator(self) -> PairCollator:
        """Masks; random tokens come from the whole vocabulary."""
        released = self.options.ngram_rule == "released"
        unit = ("released-ngrams" if released else "ngrams") if self.options.ngrams else "pieces"
        masker = make_masker(self.options, unit, self.context.framing, None)
        return PairCollator(self.context.framing, self.context.dataset_name, masker, self.order)
