"""RoBERTa: a masked language model with new masks in every epoch (Liu et al. 2019; see README.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.packed_sentences import PackedSentenceDataset
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.masked_lm.options import RobertaOptions
from masscli.objectives.masked_lm.paired_lm import (
    PairedLM,
    PairedLMCollator,
    document_masker,
)
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.shared.batching import example_numbers
from masscli.objectives.shared.masking import MaskingUnit, TokenMasker
from masscli.objectives.shared.pair_maker import PairKind
from masscli.objectives.shared.paired_text import refuse_language_tags, segment_pairs
from masscli.objectives.shared.sentence_masking import masked_batch
from masscli.text.word_starts import word_starts

PAIR_KINDS: dict[str, PairKind] = {"segment-pair": "nsp", "sentence-pair": "sentences"}
"""The kind of pairs in `SegmentPairDataset` for each value of --input-form that reads pairs."""


@dataclass(frozen=True)
class BlockMaskingCollator:
    """Make batches of blocks of running text with masked tokens.

    A block begins with the start symbol, or with the tag of its language. `mask_special_tokens` says whether
    start and end symbols may be masked too.
    """

    framing: Framing
    language: str
    masker: TokenMasker
    mask_special_tokens: bool

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of blocks with labels of the loss term `mlm`."""
        start_id = self.framing.source_start(self.language)
        end_id = self.framing.vocab.eos
        original = []
        corrupted = []
        masked_positions = []
        for example, rng in zip(examples, rngs, strict=True):
            block, block_starts_word = example.fields
            token_ids = np.concatenate([[start_id], block])
            # A block has an end symbol after each of its sentences.
            is_text = (token_ids != start_id) & (token_ids != end_id)
            # No word continues after a special token.
            starts_word = np.concatenate(
                [[True], (block_starts_word != 0) | ~is_text[:-1]]
            )
            # fairseq masks start and end symbols like any other token.
            maskable = is_text | self.mask_special_tokens
            ids, positions = self.masker(
                token_ids, maskable, starts_word, example.number, rng
            )
            original.append(token_ids)
            corrupted.append(ids)
            masked_positions.append(positions)
        numbers = example_numbers(examples)
        return masked_batch(
            original, corrupted, masked_positions, self.framing, self.language, numbers
        )


class Roberta(PairedLM):
    """RoBERTa: predict masked tokens and, if --input-form has pairs, whether segment B follows segment A."""

    def __init__(self, config: RobertaOptions, context: ObjectiveContext) -> None:
        pair_term = "nsp" if config.reads_pairs else None
        super().__init__(context, pair_term)
        if config.reads_pairs:
            refuse_language_tags(f"--input-form {config.input_form}", context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return pairs of segments, or blocks of sentences, and their collator.

        `max_examples` limits the number of sentences, not of examples.
        """
        options = self.options
        if options.reads_pairs:
            kind = PAIR_KINDS[options.input_form]
            return segment_pairs(
                data, split, self.context, options, kind, max_examples
            ), self.collator()
        # One position is left for the symbol that a block begins with.
        blocks = PackedSentenceDataset(
            data.monolingual(split, self.context.dataset_name),
            options.tokens_per_sample - 1,
            data.vocab.eos,
            cross=options.input_form == "full-sentences",
            starts=word_starts(data.tokenizer()),
            limit=max_examples,
        )
        return blocks, self.collator()

    def collator(self) -> Collator:
        """Return the collator of pairs or blocks; random tokens are never special tokens, as in fairseq."""
        framing = self.context.framing
        vocab = framing.vocab
        language = self.context.dataset_name
        unit: MaskingUnit = (
            "dynamic-words" if self.options.whole_words else "dynamic-tokens"
        )
        masker = document_masker(self.options, unit, vocab, vocab.ordinary_ids)
        if self.options.reads_pairs:
            return PairedLMCollator(framing, language, masker, self.pair_term)
        return BlockMaskingCollator(
            framing, language, masker, self.options.mask_specials
        )
