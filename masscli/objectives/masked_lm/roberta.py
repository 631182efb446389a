"""RoBERTa: a masked language model whose masks are new at every visit (Liu et al. 2019).

The four input forms of its study (section 4.2): BERT's pairs of segments, or pairs of sentences, both with next-sentence prediction;
blocks of whole sentences across documents (full-sentences, what RoBERTa is) or within them (doc-sentences), <s> S1 </s> S2 </s> ...
Start and end symbols may be masked like any other token, and random tokens are drawn from the ids that are not special, as in fairseq;
so does --mask-whole-words, where words are counted and a word meets one fate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.packed_sentences import PackedSentenceDataset
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.masked_lm.bert import (
    PairCollator,
    PairedLM,
    document_pairs,
    make_masker,
    masked_batch,
    no_tags,
)
from masscli.objectives.masked_lm.options import RobertaOptions
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.masking import Masker
from masscli.text.word_starts import word_starts

PAIRS = {"segment-pair": "nsp", "sentence-pair": "sentences"}


@dataclass(frozen=True)
class BlockCollator:
    """Masks blocks of running text, which begin with the start symbol (or the language's tag)."""

    framing: Framing
    language: str
    masker: Masker
    specials: bool

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        start, end = self.framing.decoder_start(self.language), self.framing.vocab.eos
        rows = [np.concatenate([[start], e.fields[0]]) for e in examples]
        masked = []
        for row, example, rng in zip(rows, examples, rngs, strict=True):
            text = (row != start) & (row != end)
            begins = np.concatenate(
                [[True], (example.fields[1] != 0) | ~text[:-1]]
            )  # no word goes on behind a symbol
            choosable = text | self.specials
            masked.append(self.masker(row, choosable, begins, example.number, rng))
        return masked_batch(rows, masked, self.framing, self.language, None, [e.number for e in examples])


class Roberta(PairedLM):
    """Write the masked tokens."""

    def __init__(self, config: RobertaOptions, context: ObjectiveContext) -> None:
        super().__init__(context, "nsp" if config.input_form in PAIRS else None)
        if config.input_form in PAIRS:
            no_tags(f"--input-form {config.input_form}", context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Pairs, or blocks of sentences."""
        o = self.options
        if o.input_form in PAIRS:
            kind = PAIRS[o.input_form]
            return document_pairs(data, split, self.context, o, kind, max_examples), self.collator()
        blocks = PackedSentenceDataset(
            data.monolingual(split, self.context.dataset_name),
            o.tokens_per_sample - 1,
            data.vocab.eos,
            cross=o.input_form == "full-sentences",
            starts=word_starts(data.tokenizer()),
            limit=max_examples,
        )
        return blocks, self.collator()

    def collator(self) -> Collator:
        """Masks."""
        framing, o = self.context.framing, self.options
        ordinary = framing.vocab.ordinary_ids
        masker = make_masker(o, "dynamic-words" if o.whole_words else "dynamic", framing, ordinary)
        if o.input_form in PAIRS:
            return PairCollator(framing, self.context.dataset_name, masker, self.order)
        return BlockCollator(framing, self.context.dataset_name, masker, o.mask_specials)
