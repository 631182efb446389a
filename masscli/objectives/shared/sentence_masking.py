"""Masked language modeling of sentences: the batches of `mlm`, and of the encoder in `bert+lm`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Term
from masscli.objectives.shared.batching import example_numbers, flatten_positions
from masscli.objectives.shared.code_switching import CodeSwitcher
from masscli.objectives.shared.corruption import Bools
from masscli.objectives.shared.masking import TokenMasker
from masscli.objectives.shared.options import SentenceMaskingOptions
from masscli.objectives.shared.token_loss import token_loss
from masscli.text.vocabulary import Vocabulary


def sentence_masker(options: SentenceMaskingOptions, vocab: Vocabulary) -> TokenMasker:
    """Return the masker of an objective over sentences; its random tokens are never special tokens."""
    return TokenMasker(
        unit="sentence-tokens",
        mask_prob=options.mask_prob,
        keep_prob=options.leave_unmasked_prob,
        random_prob=options.random_token_prob,
        mask_id=vocab.mask,
        random_pool=vocab.ordinary_ids,
    )


def maskable_tokens(token_ids: Ids, vocab: Vocabulary) -> Bools:
    """Return a mask (L,) that is true for tokens that may be masked: all but special ones; <unk> may be."""
    special_ids = np.array(sorted(vocab.special_ids - {vocab.unk}))
    return ~np.isin(token_ids, special_ids)


def masked_batch(
    original: Sequence[Ids],
    corrupted: Sequence[Ids],
    masked_positions: Sequence[Ids],
    framing: Framing,
    language: str,
    numbers: Sequence[int],
) -> Batch:
    """Pad corrupted sequences into a batch for the encoder.

    The labels of the loss term `mlm` are the tokens of `original` at the `masked_positions` of each sequence.
    `language` is the language of all sequences, `numbers` are the numbers of the examples in their dataset.
    """
    ids, lengths = framing.pad_ids(corrupted)
    # Labels come from the original, because masked tokens are gone from what the encoder reads.
    masked_ids = [
        ids[positions]
        for ids, positions in zip(original, masked_positions, strict=True)
    ]
    label_ids = torch.from_numpy(np.concatenate(masked_ids))
    labels = Labels(label_ids, flatten_positions(masked_positions, ids.shape[1]))
    source = Tokens(
        ids, lengths, language=framing.language_tensor(language, len(original))
    )
    counts = {"mlm": float(len(label_ids))}
    return Batch(source, None, {"mlm": labels}, counts, torch.tensor(numbers))


def masked_lm_loss(model: Transformer, batch: Batch) -> Term:
    """Return the encoder's cross-entropy of the masked tokens (the labels `mlm`), summed over them."""
    hidden = model.encode(batch.source).hidden
    return token_loss(model, hidden, batch.labels["mlm"], "encoder")


@dataclass(frozen=True)
class SentenceMaskingCollator:
    """Make batches of sentences with masked tokens; some of the others may be replaced by translations."""

    masker: TokenMasker
    framing: Framing
    language: str
    code_switcher: CodeSwitcher

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of sentences with labels of the loss term `mlm`."""
        original = []
        corrupted = []
        masked_positions = []
        for example, rng in zip(examples, rngs, strict=True):
            token_ids = self.framing.encoder_input(example.fields[0], self.language)
            maskable = maskable_tokens(token_ids, self.framing.vocab)
            masked_ids, positions = self.masker(
                token_ids, maskable, None, example.number, rng
            )
            original.append(token_ids)
            # The dictionary has no entry for [M], so only visible tokens are translated.
            corrupted.append(self.code_switcher(masked_ids, rng))
            masked_positions.append(positions)
        numbers = example_numbers(examples)
        return masked_batch(
            original, corrupted, masked_positions, self.framing, self.language, numbers
        )
