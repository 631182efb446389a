"""Supervised translation: maximum likelihood of the target given the source. See README.md in this folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Tokens
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.formats.pharaoh import read_alignments
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_fields, example_numbers
from masscli.objectives.shared.sequence_to_sequence import (
    draw_seeds,
    sequence_loss,
    sequence_pair_batch,
)
from masscli.objectives.shared.token_loss import token_loss
from masscli.objectives.translate.guided_alignment import (
    AlignedPairDataset,
    alignment_labels,
    alignment_loss,
    guided_layer,
)
from masscli.objectives.translate.options import TranslateOptions


@dataclass(frozen=True)
class TranslationCollator:
    """Make batches of sentence pairs for the encoder and the decoder.

    With `needs_seeds` each example gets a random seed, from which `Translate.prepare` draws the tokens that
    it replaces by [M].
    """

    framing: Framing
    source_language: str
    target_language: str
    needs_seeds: bool
    source_prefix: Ids
    """Token ids that are put before each source: the tag of synthetic sources, or nothing."""
    with_alignments: bool = False
    """Whether there is a loss term `alignment`, for which an example may have links as its third field."""

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of sentence pairs with labels of `translate` and, if it is learned, `alignment`."""
        sources = []
        for example in examples:
            ids = np.concatenate([self.source_prefix, example.fields[0]])
            sources.append(
                self.framing.encoder_input(
                    ids, self.source_language, self.target_language
                )
            )
        targets = example_fields(examples, 1)
        numbers = example_numbers(examples)
        languages = (self.source_language, self.target_language)
        batch = sequence_pair_batch(
            self.framing, sources, targets, languages, "translate", numbers
        )
        if self.with_alignments:
            batch = self._with_links(batch, examples)
        if not self.needs_seeds:
            return batch
        return replace(batch, seeds=draw_seeds(rngs))

    def _with_links(self, batch: Batch, examples: Sequence[Example]) -> Batch:
        """Return the batch with the labels of `alignment`, which has no targets where there are no links."""
        no_links = np.zeros((0, 2), np.int64)
        links = [
            example.fields[2] if len(example.fields) > 2 else no_links
            for example in examples
        ]
        assert batch.target is not None
        labels = alignment_labels(
            links,
            batch.target.ids.shape[1],
            self.framing.prefix_length + len(self.source_prefix),
            self.framing.target_prefix_length - 1,
        )
        # A target is a token with a link, however many links it has.
        count = float(len(torch.unique(labels.positions)))
        return replace(
            batch,
            labels={**batch.labels, "alignment": labels},
            counts={**batch.counts, "alignment": count},
        )


class Translate(Objective):
    """Translation: predict the target sentence from the source."""

    predicts_from_source = True

    def __init__(self, config: TranslateOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        layer = config.guided_alignment_layer
        if layer is not None and layer > context.model.decoder_layers:
            raise MasscliError(
                f"--guided-alignment-layer {layer}: the decoder has {context.model.decoder_layers} layers",
                "layers are counted from 1",
            )

    @property
    def weights(self) -> Mapping[str, float]:
        """The weight of `translate`, and that of `alignment` with --guided-alignment."""
        if self.options.guided_alignment is None:
            return {"translate": 1.0}
        return {"translate": 1.0, "alignment": self.options.guided_alignment_weight}

    @property
    def validated_terms(self) -> tuple[str, ...]:
        """Only `translate`, since --guided-alignment has no alignments of validation pairs."""
        return ("translate",)

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` sentence pairs (default: all) of a split, and their collator.

        Training pairs have the alignments of --guided-alignment. Raises MasscliError if this file does not
        belong to the pairs.
        """
        source, target = self.context.languages
        columns = data.pair(split, source, target)
        pairs = LineDataset(columns, max_examples, len(self._source_prefix))
        path = self.options.guided_alignment
        if path is None or split != "train":
            return pairs, self.collator()
        alignments = read_alignments(path, columns[0].lengths(), columns[1].lengths())
        return AlignedPairDataset(pairs, alignments), self.collator()

    def collator(self) -> TranslationCollator:
        """Return the collator, which makes batches of sentence pairs."""
        source, target = self.context.languages
        needs_seeds = bool(self.options.source_blank or self.options.target_blank)
        return TranslationCollator(
            self.context.framing,
            source,
            target,
            needs_seeds,
            self._source_prefix,
            with_alignments=self.options.guided_alignment is not None,
        )

    @property
    def _source_prefix(self) -> Ids:
        """The token ids that are put before each source: the synthetic tag with --tag-sources, else none."""
        tag = [self.context.framing.synthetic_tag] if self.options.tag_sources else []
        return np.array(tag, np.int64)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Return the batch, in training with some tokens replaced by [M].

        --source-blank and --target-blank are the shares of tokens that are replaced.
        """
        if not self.training or batch.seeds is None:
            return batch
        assert batch.target is not None
        # Noise is drawn here and not in the collator, so that validation has none.
        seeds = batch.seeds.tolist()
        source = self._blank(batch.source, self.options.source_blank, seeds, side=0)
        target = self._blank(batch.target, self.options.target_blank, seeds, side=1)
        return replace(batch, source=source, target=target)

    def _blank(
        self, tokens: Tokens, blank_prob: float, seeds: Sequence[int], side: int
    ) -> Tokens:
        """Return a copy of a block in which tokens are replaced by [M], each with probability `blank_prob`.

        Special tokens are kept. The random numbers of a row depend on its seed in `seeds` and on `side`: 0
        for source, 1 for target.
        """
        if not blank_prob:
            return tokens
        vocab = self.context.framing.vocab
        width = tokens.ids.shape[1]
        # The numbers of an example depend on its seed and side, but those of padding are drawn and not used.
        draws = np.stack(
            [np.random.default_rng([seed, side]).random(width) for seed in seeds]
        )
        # Start, end and padding are kept: masking them would hide where a sentence ends.
        special_ids = torch.tensor(sorted(vocab.special_ids), device=tokens.ids.device)
        is_ordinary = ~torch.isin(tokens.ids, special_ids)
        is_drawn = torch.from_numpy(draws).to(tokens.ids.device) < blank_prob
        return replace(
            tokens, ids=tokens.ids.masked_fill(is_ordinary & is_drawn, vocab.mask)
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the target tokens, summed, as the loss term `translate`.

        With --guided-alignment, also return the loss of a head of cross-attention as the term `alignment`.
        """
        if self.options.guided_alignment is None:
            return {
                "translate": sequence_loss(
                    model, batch, "translate", self.options.label_smoothing
                )
            }
        assert batch.target is not None
        layer = guided_layer(self.options, self.context.model.decoder_layers)
        memory = model.encode(batch.source)
        hidden, log_weights = model.decode_with_weights(
            batch.target, memory, layer, heads=1
        )
        labels = batch.labels["translate"]
        return {
            "translate": token_loss(
                model, hidden, labels, "decoder", self.options.label_smoothing
            ),
            "alignment": alignment_loss(log_weights[:, 0], batch.labels["alignment"]),
        }
