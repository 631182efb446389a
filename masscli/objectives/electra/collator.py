"""Batches of ELECTRA: segment pairs, masked as the generator reads them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from masscli.data.batches.batch import Batch, Ids, Labels, Tokens
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.objectives.electra.corruption import choose_positions, mask_positions
from masscli.objectives.electra.options import ElectraOptions
from masscli.objectives.shared.batching import (
    example_numbers,
    flatten_positions,
    non_padding_positions,
)
from masscli.objectives.shared.paired_text import PairedText, add_special_tokens


@dataclass(frozen=True)
class ElectraCollator:
    """Make batches of segment pairs, masked as the generator reads them.

    The labels of the loss term `mlm` are the tokens that the generator predicts. The labels `real` are the
    original tokens at all positions, to tell which tokens of the discriminator's input are replaced.
    `model_term` is the name of the loss term of the model (the discriminator).
    """

    options: ElectraOptions
    framing: Framing
    language: str
    model_term: str

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of segment pairs, with the number of targets of both loss terms."""
        vocab = self.framing.vocab
        pairs = [add_special_tokens(example, self.framing) for example in examples]
        masked_ids = []
        positions = []
        for pair, rng in zip(pairs, rngs, strict=True):
            chosen = self._choose_positions(pair, rng)
            positions.append(chosen)
            masked_ids.append(
                mask_positions(
                    pair.ids, chosen, self.options.mask_keep, vocab.mask, rng
                )
            )
        ids, lengths = self.framing.pad_ids(masked_ids)
        segments = self.framing.pad_values([pair.segments for pair in pairs])
        width = ids.shape[1]
        # Labels are the tokens of the text, not what the generator sees there.
        generator_ids = [
            pair.ids[chosen] for pair, chosen in zip(pairs, positions, strict=True)
        ]
        generator_labels = Labels(
            torch.from_numpy(np.concatenate(generator_ids)),
            flatten_positions(positions, width),
        )
        all_ids = torch.from_numpy(np.concatenate([pair.ids for pair in pairs]))
        all_labels = Labels(all_ids, non_padding_positions(lengths, width))
        language = self.framing.language_tensor(self.language, len(pairs))
        counts = {
            "mlm": float(len(generator_labels.ids)),
            self.model_term: float(
                self._num_model_targets(generator_labels, all_labels)
            ),
        }
        return Batch(
            Tokens(ids, lengths, segments=segments, language=language),
            None,
            {"mlm": generator_labels, "real": all_labels},
            counts,
            torch.tensor(example_numbers(examples)),
        )

    def _choose_positions(self, pair: PairedText, rng: np.random.Generator) -> Ids:
        """Return the positions of a pair that the generator predicts, the share --mask-prob of its text."""
        options = self.options
        # The bound of the released code, max_predictions_per_seq.
        max_masked = int((options.mask_prob + 0.005) * options.tokens_per_sample)
        maskable = pair.is_text & (pair.ids != self.framing.vocab.mask)
        replacement = options.sampling == "with"
        return choose_positions(
            maskable, options.mask_prob, max_masked, replacement, rng
        )

    def _num_model_targets(self, generator_labels: Labels, all_labels: Labels) -> int:
        """Return the number of targets of the model's loss term.

        All tokens are targets, except in two variants: the distinct masked positions for electra-15, and all
        of the generator's labels for replace-mlm.
        """
        # Positions that were drawn twice are detected once, but predicted twice.
        if self.options.variant == "electra-15":
            return len(torch.unique(generator_labels.positions))
        if self.options.variant == "replace-mlm":
            return len(generator_labels.positions)
        return len(all_labels.positions)
