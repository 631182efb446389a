"""MASS: masked sequence-to-sequence pre-training (Song et al. 2019; see README.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens
from masscli.data.batches.dataset import (
    Collator,
    Dataset,
    Example,
    LineDataset,
    TokenBlockDataset,
)
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.mass.corruption import MaskedSequence, mask_fragment
from masscli.objectives.mass.options import MassOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_numbers, flatten_positions
from masscli.objectives.shared.code_switching import CodeSwitcher
from masscli.objectives.shared.sequence_to_sequence import sequence_loss

DEFAULT_WINDOW = 512
"""Number of tokens of a window if --window is not given and the model has enough positions, as in the
released code for summarization."""


@dataclass(frozen=True)
class MassCollator:
    """Make batches in which a fragment of every example is masked for the encoder.

    The decoder predicts the fragment. Random tokens are drawn from the ids in `random_pool`.
    """

    options: MassOptions
    framing: Framing
    language: str
    random_pool: Ids
    code_switcher: CodeSwitcher

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch with labels of the loss term `mass`, the tokens of the fragments.

        Words that the encoder still sees may be replaced by translations.
        """
        masked = []
        for example, rng in zip(examples, rngs, strict=True):
            sequence = mask_fragment(
                self.framing.with_special_tokens(example.fields[0], self.language),
                self.options,
                self.framing.vocab.mask,
                self.random_pool,
                rng,
                first_word=self.framing.target_prefix_length,
            )
            # Code-switching comes last: it changes the encoder's input, but never the labels.
            switched_ids = self.code_switcher(sequence.encoder_ids, rng)
            masked.append(sequence._replace(encoder_ids=switched_ids))
        return self._batch(masked, example_numbers(examples))

    def _batch(self, masked: Sequence[MaskedSequence], numbers: Sequence[int]) -> Batch:
        """Pad masked sequences into a batch; `numbers` are the numbers of the examples in their dataset."""
        # Encoder and decoder may read different special tokens before the words and after the end
        # symbol.
        first_word = self.framing.target_prefix_length
        encoder_inputs = []
        for sequence in masked:
            words_and_end = sequence.encoder_ids[first_word:]
            encoder_inputs.append(
                self.framing.with_source_tokens(words_and_end, self.language)
            )
        encoder_ids, encoder_lengths = self.framing.pad_ids(encoder_inputs)
        decoder_ids, decoder_lengths = self.framing.pad_ids(
            [sequence.decoder_ids for sequence in masked]
        )
        decoder_positions = self.framing.pad_values(
            [sequence.decoder_positions for sequence in masked]
        )
        # Without a mask, attention sees all tokens, [M] included.
        cross_attention_mask = None
        if self.options.mask_visibility != "all":
            # The special tokens that the framing has put around the words are not masked.
            around = (self.framing.prefix_length, self.framing.suffix_length - 1)
            is_masked = []
            for sequence in masked:
                is_masked.append(
                    np.pad(sequence.is_masked[first_word:].astype(np.int64), around)
                )
            cross_attention_mask = _visible_tokens(
                self.framing.pad_values(is_masked), encoder_lengths
            )
        # XLM hides [M] from the decoder only; fairseq treats [M] as padding, which is hidden from both.
        self_attention_mask = None
        if self.options.mask_visibility == "none":
            self_attention_mask = cross_attention_mask
        language = self.framing.language_tensor(self.language, len(masked))
        source = Tokens(
            encoder_ids,
            encoder_lengths,
            language=language,
            cross_attention_mask=cross_attention_mask,
            self_attention_mask=self_attention_mask,
        )
        target = Tokens(
            decoder_ids, decoder_lengths, positions=decoder_positions, language=language
        )
        label_ids = torch.from_numpy(
            np.concatenate([sequence.label_ids for sequence in masked])
        )
        label_positions = [sequence.label_positions for sequence in masked]
        labels = Labels(
            label_ids, flatten_positions(label_positions, decoder_ids.shape[1])
        )
        counts = {"mass": float(len(label_ids))}
        return Batch(source, target, {"mass": labels}, counts, torch.tensor(numbers))


def _visible_tokens(is_masked: Tensor, lengths: Tensor) -> Tensor:
    """Return a mask (B, L) of the encoder's tokens that may be attended to: those that are not [M].

    `is_masked` (B, L) is 1 for [M] and 0 for other tokens, `lengths` (B,) are the lengths without padding. A
    sequence of [M] alone stays visible as a whole, since attention needs something to attend to.
    """
    visible = is_masked == 0
    is_token = torch.arange(visible.shape[1]) < lengths[:, None]
    has_visible_token = (visible & is_token).any(1, keepdim=True)
    return visible | ~has_visible_token


class Mass(Objective):
    """MASS: predict the masked fragment of a sentence with the decoder."""

    weights: ClassVar[Mapping[str, float]] = {"mass": 1.0}
    predicts_from_source = True

    def __init__(self, config: MassOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config.resolved()

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the sentences of a split, or windows of its running text with --block, and their collator.

        `max_examples` limits the number of sentences, also if windows are made of them.
        """
        column = data.monolingual(split, self.context.dataset_name)
        collator = self.collator(CodeSwitcher.from_options(self.options, data))
        if not self.options.block:
            return LineDataset([column], max_examples), collator
        # Both stacks read a window, with special tokens that need positions as well. The end symbol of its
        # target is never read.
        framing = self.context.framing
        model = self.context.model
        special_tokens = framing.prefix_length + framing.suffix_length
        max_window = min(
            model.max_positions - special_tokens,
            model.max_target_positions - framing.target_prefix_length,
        )
        window = self.options.window or min(DEFAULT_WINDOW, max_window)
        return TokenBlockDataset(column, window, data.vocab.eos, max_examples), collator

    def collator(self, code_switcher: CodeSwitcher = CodeSwitcher()) -> MassCollator:
        """Return the collator; `code_switcher` replaces words that are not masked (default: none)."""
        framing = self.context.framing
        # XLM draws from the whole vocabulary, special ids included.
        random_pool = framing.vocab.ordinary_ids
        if self.options.random_ids == "all":
            random_pool = framing.vocab.all_ids
        return MassCollator(
            self.options, framing, self.context.dataset_name, random_pool, code_switcher
        )

    def visible_neighbors(self, batch: Batch, distance: int) -> Tensor | None:
        """Return a mask (B, L) of the source tokens outside of the fragment, up to `distance` places from it.

        Special tokens are not among them. None unless --decoder-positions is `original`, since otherwise a
        batch does not say where the fragment is.
        """
        if self.options.decoder_positions != "original":
            return None
        assert batch.target is not None and batch.target.positions is not None
        width = batch.target.ids.shape[1]
        labels = batch.labels["mass"].positions
        # A label follows the decoder's input of the same place. Encoder and decoder may read different
        # numbers of special tokens before the words.
        framing = self.context.framing
        shift = framing.prefix_length - framing.target_prefix_length
        places = batch.target.positions.flatten()[labels] + 1 + shift
        is_target = torch.zeros_like(batch.source.ids, dtype=torch.bool)
        is_target[torch.div(labels, width, rounding_mode="floor"), places] = True
        # Shifting the targets by each distance, to both sides, marks their neighbors.
        near = is_target.clone()
        for step in range(1, distance + 1):
            near[:, step:] |= is_target[:, :-step]
            near[:, :-step] |= is_target[:, step:]
        all_places = torch.arange(near.shape[1], device=near.device)
        ends = batch.source.lengths[:, None] - framing.suffix_length
        is_word = (all_places >= framing.prefix_length) & (all_places < ends)
        return near & is_word & ~is_target

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the fragments' tokens, summed, as the loss term `mass`."""
        return {"mass": sequence_loss(model, batch, "mass")}
