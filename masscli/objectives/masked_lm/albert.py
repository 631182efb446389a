"""ALBERT: masked n-grams and sentence-order prediction (Lan et al. 2020, section 3.1; see README.md)."""

from __future__ import annotations

from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.masked_lm.options import AlbertOptions
from masscli.objectives.masked_lm.paired_lm import (
    PairedLM,
    PairedLMCollator,
    document_masker,
)
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.masking import MaskingUnit
from masscli.objectives.shared.pair_maker import PairKind
from masscli.objectives.shared.paired_text import refuse_language_tags, segment_pairs


class Albert(PairedLM):
    """ALBERT: predict masked n-grams, and whether the two segments of a pair are in the wrong order.

    With --no-ngrams single tokens are masked.
    """

    def __init__(self, config: AlbertOptions, context: ObjectiveContext) -> None:
        super().__init__(context, pair_term="sop")
        refuse_language_tags("albert", context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return pairs of segments, and their collator.

        About half of the pairs are exchanged. A chunk of a single sentence is paired with a random segment,
        or left out with --strict-sop. `max_examples` limits the number of sentences, not of pairs.
        """
        kind: PairKind = "strict-sop" if self.options.strict_sop else "sop"
        # The released code has its own rule for where words begin.
        released = self.options.ngram_rule == "released"
        pairs = segment_pairs(
            data, split, self.context, self.options, kind, max_examples, released
        )
        return pairs, self.collator()

    def collator(self) -> PairedLMCollator:
        """Return the collator; random tokens are drawn from the whole vocabulary, as in the released code."""
        unit: MaskingUnit = "tokens"
        # The paper's n-grams end with their segment; those of the released code may not.
        if self.options.ngrams:
            unit = (
                "released-ngrams" if self.options.ngram_rule == "released" else "ngrams"
            )
        framing = self.context.framing
        vocab = framing.vocab
        masker = document_masker(self.options, unit, vocab, vocab.all_ids)
        return PairedLMCollator(
            framing, self.context.dataset_name, masker, self.pair_term
        )
