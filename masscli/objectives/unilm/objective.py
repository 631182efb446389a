"""UniLMv2: a pseudo-masked language model (Bao et al. 2020). See README.md in this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Batch, Ids
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_numbers
from masscli.objectives.shared.corruption import replace_tokens
from masscli.objectives.shared.paired_text import (
    add_special_tokens,
    refuse_language_tags,
    segment_pairs,
)
from masscli.objectives.shared.pseudo_masking import (
    PseudoMaskExample,
    pseudo_mask_batch,
)
from masscli.objectives.shared.token_loss import token_loss
from masscli.objectives.unilm.corruption import build_example, draw_blocks, most_masked
from masscli.objectives.unilm.options import UniLMOptions


@dataclass(frozen=True)
class UniLMCollator:
    """Make batches of segment pairs with masked blocks of tokens and their pseudo-masks.

    Random tokens are drawn from the ids in `random_pool`.
    """

    options: UniLMOptions
    framing: Framing
    language: str
    random_pool: Ids

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of segment pairs with labels of all loss terms."""
        masked = [
            self._mask(example, rng)
            for example, rng in zip(examples, rngs, strict=True)
        ]
        numbers = example_numbers(examples)
        return pseudo_mask_batch(
            masked, self.options.terms, self.framing, self.language, numbers
        )

    def _mask(self, example: Example, rng: np.random.Generator) -> PseudoMaskExample:
        """Return a pair of segments with blocks of masked and pseudo-masked tokens."""
        options = self.options
        vocab = self.framing.vocab
        pair = add_special_tokens(example, self.framing)
        blocks = draw_blocks(
            pair.is_text,
            options.mask_prob,
            options.ngram_prob,
            options.max_ngram,
            # Autoregression predicts one token after another, so its blocks have one token.
            "ar" in options.terms,
            rng,
        )
        masked_ids = pair.ids[np.concatenate([np.zeros(0, np.int64), *blocks])]
        mask_prob = 1.0
        random_prob = 0.0
        if options.corruption == "80-10-10":
            mask_prob = 0.8
            random_prob = 0.1
        shown_ids, _ = replace_tokens(
            masked_ids, mask_prob, random_prob, vocab.mask, self.random_pool, rng
        )
        return build_example(pair, blocks, shown_ids, vocab.mask, options.terms)


class UniLM(Objective):
    """UniLMv2: predict the masked tokens all at once (autoencoding) and block after block, as --variant says.

    Both are done by the encoder; the latter is called partially autoregressive.
    """

    def __init__(self, config: UniLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        refuse_language_tags("unilm", context)
        self.options = config

    @property
    def weights(self) -> Mapping[str, float]:
        """The weights of the loss terms of --variant, all of which are 1."""
        return dict.fromkeys(self.options.terms, 1.0)

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return pairs of consecutive segments, and their collator.

        `max_examples` limits the number of sentences, not of pairs.
        """
        pairs = segment_pairs(
            data, split, self.context, self.options, "contiguous", max_examples
        )
        return pairs, self.collator()

    def collator(self) -> UniLMCollator:
        """Return the collator; random tokens come from the whole vocabulary, as in BERT's released code."""
        framing = self.context.framing
        return UniLMCollator(
            self.options, framing, self.context.dataset_name, framing.vocab.all_ids
        )

    def batch_lengths(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the largest number of tokens (N,) that examples of these sizes (N, 1) take up in a batch.

        These are the tokens of the text, and a copy of each masked token for each loss term. With the term
        `ae` alone there are no copies: masks replace the masked tokens.
        """
        options = self.options
        terms = options.terms
        longest_block = 1 if "ar" in terms else options.max_ngram
        masked = most_masked(sizes[:, 0], options.mask_prob, longest_block)
        copies = 0 if list(terms) == ["ae"] else len(terms)
        lengths: NDArray[np.int64] = sizes[:, 0] + copies * masked
        return lengths

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed cross-entropy of the masked tokens for each loss term of --variant.

        The encoder predicts them at [M] for `ae`, and at the pseudo-masks [P] for `par` or `ar`.
        """
        hidden = model.encode(batch.source).hidden
        terms = self.options.terms
        return {
            term: token_loss(model, hidden, batch.labels[term], "encoder")
            for term in terms
        }
