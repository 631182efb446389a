"""XLM's translation language model, over a sentence and its translation (see README.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.options import TranslationLMOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_numbers
from masscli.objectives.shared.code_switching import CodeSwitcher
from masscli.objectives.shared.masking import TokenMasker
from masscli.objectives.shared.sentence_masking import (
    maskable_tokens,
    masked_batch,
    masked_lm_loss,
    sentence_masker,
)


class JoinedPairDataset:
    """Sentence pairs that the encoder reads as one sequence; its size is the sum of both sentences' sizes."""

    def __init__(self, pairs: LineDataset) -> None:
        self.pairs = pairs

    def __len__(self) -> int:
        return len(self.pairs)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths (stop - start, 1) of the joined sequences."""
        lengths: NDArray[np.int64] = self.pairs.sizes(start, stop).sum(1, keepdims=True)
        return lengths

    def __getitem__(self, number: int) -> Example:
        return self.pairs[number]


@dataclass(frozen=True)
class TranslationLMCollator:
    """Make batches of sentences joined with their translations, with masked tokens in both.

    In each of the two, positions count from 0, and the tokens carry the language of their sentence.
    """

    masker: TokenMasker
    framing: Framing
    languages: tuple[str, ...]
    code_switcher: CodeSwitcher

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of joined pairs with labels of the loss term `mlm`."""
        framing = self.framing
        original = []
        corrupted = []
        masked_positions = []
        positions = []
        token_languages = []
        for example, rng in zip(examples, rngs, strict=True):
            # Both sentences have a start symbol, as in XLM, whether or not the model's sources have one.
            sentences = []
            for token_ids, language in zip(example.fields, self.languages, strict=True):
                start = framing.source_start(language)
                sentences.append(
                    np.concatenate([[start], token_ids, [framing.vocab.eos]])
                )
            # Words of one sentence can be predicted from the other, which is the point of the method.
            joined = np.concatenate(sentences)
            maskable = maskable_tokens(joined, framing.vocab)
            masked_ids, masked = self.masker(
                joined, maskable, None, example.number, rng
            )
            original.append(joined)
            corrupted.append(self.code_switcher(masked_ids, rng))
            masked_positions.append(masked)
            lengths = [len(sentence) for sentence in sentences]
            positions.append(np.concatenate([np.arange(length) for length in lengths]))
            # A model without language embeddings has no indices; the zeros are dropped below.
            indices = [
                framing.language_index(language) or 0 for language in self.languages
            ]
            token_languages.append(np.repeat(indices, lengths))
        numbers = example_numbers(examples)
        # At the start of the translation, positions restart and the language changes.
        batch = masked_batch(
            original, corrupted, masked_positions, framing, self.languages[0], numbers
        )
        source = replace(batch.source, positions=framing.pad_values(positions))
        if framing.languages:
            source = replace(source, language=framing.pad_values(token_languages))
        return replace(batch, source=source)


class TranslationLM(Objective):
    """Translation language model: predict the masked tokens of a sentence and of its translation.

    The encoder reads both as one sequence.
    """

    weights: ClassVar[Mapping[str, float]] = {"mlm": 1.0}

    def __init__(self, config: TranslationLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` sentence pairs (default: all) of a split, and their collator."""
        source, target = self.context.languages
        pairs = LineDataset(data.pair(split, source, target), max_examples)
        return JoinedPairDataset(pairs), self.collator(
            CodeSwitcher.from_options(self.options, data)
        )

    def collator(
        self, code_switcher: CodeSwitcher = CodeSwitcher()
    ) -> TranslationLMCollator:
        """Return the collator; `code_switcher` replaces words that are not masked (default: none)."""
        framing = self.context.framing
        masker = sentence_masker(self.options, framing.vocab)
        return TranslationLMCollator(
            masker, framing, self.context.languages, code_switcher
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the masked tokens, summed, as the loss term `mlm`."""
        return {"mlm": masked_lm_loss(model, batch)}
