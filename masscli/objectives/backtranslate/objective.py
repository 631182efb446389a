"""Back-translation: learn to generate real text from a source that the model has made (see README.md).

The collator uses the real sentence as the source, and `prepare` replaces it by its
translation before targets are counted. Random numbers depend on the example, so neither batches, nor
processes, nor a retry after running out of memory change the results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Tokens
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder, MissingDataError
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.inference_copy import inference_copy
from masscli.models.transformer import Transformer
from masscli.objectives.backtranslate.monitor import BacktranslationMonitor
from masscli.objectives.backtranslate.options import BacktranslateOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.batching import example_fields, example_numbers
from masscli.objectives.shared.sentence_noise import add_noise
from masscli.objectives.shared.sequence_to_sequence import (
    draw_seeds,
    sequence_loss,
    sequence_pair_batch,
)


@dataclass(frozen=True)
class BacktranslationCollator:
    """Make batches with the real sentence as both source and target, and a seed for each example."""

    framing: Framing
    language: str

    def __call__(
        self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """Make a batch of sentences with labels of the loss term `backtranslate`."""
        sentences = example_fields(examples, 0)
        sources = [
            self.framing.encoder_input(sentence, self.language)
            for sentence in sentences
        ]
        numbers = example_numbers(examples)
        # Until `prepare` has made the source, it is in the target's language.
        languages = (self.language, self.language)
        batch = sequence_pair_batch(
            self.framing, sources, sentences, languages, "backtranslate", numbers
        )
        return replace(batch, seeds=draw_seeds(rngs))


class Translations:
    """The translations of `size` sentences, empty at first.

    `token_ids` are the ids of each translation, and `hit_max_length` says which of them were ended by the
    length limit.
    """

    def __init__(self, size: int) -> None:
        # A sentence for which nothing may be generated has an empty translation.
        self.token_ids: list[Ids] = [np.zeros(0, np.int64)] * size
        self.hit_max_length = [False] * size


class Backtranslate(Objective):
    """Back-translation: learn to generate real text from the model's own translation of it."""

    weights: ClassVar[Mapping[str, float]] = {"backtranslate": 1.0}
    predicts_from_source = True
    training_metrics: ClassVar[tuple[str, ...]] = BacktranslationMonitor.names
    generates_in_prepare: ClassVar[bool] = True

    def __init__(self, config: BacktranslateOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.source_language, self.target_language = context.languages
        # A vocabulary without a free symbol is refused before training.
        if config.tag_sources:
            _ = context.framing.synthetic_tag
        # Statistics of the data are read for training only; without them nothing is monitored.
        self.monitor: BacktranslationMonitor | None = None

    def read_statistics(self, data: DataFolder) -> None:
        """Read piece counts of the training text: of all languages for the BacktranslationMonitor.

        Those of the source language also determine which pieces --min-piece-count allows the model to
        generate. Raises MasscliError if source or target language has no training text, or if no piece
        of the source language occurs --min-piece-count times.
        """
        target_counts = data.piece_counts(self.target_language)
        source_counts = data.piece_counts(self.source_language)
        # Outputs are compared with every language of the data, not only with the source.
        other_counts = _piece_counts_of_others(data, self.context.languages)
        # Here the model reads the target language, and generates the source language.
        self.monitor = BacktranslationMonitor(
            target_counts, source_counts, *other_counts
        )
        min_count = self.options.min_piece_count
        if not min_count:
            return
        is_allowed = source_counts >= min_count
        if not is_allowed.any():
            raise MasscliError(
                f"--min-piece-count {min_count}: no piece of {self.source_language} occurs so often",
                "lower it",
            )
        self.allowed_pieces = {self.source_language: torch.from_numpy(is_allowed)}

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the sentences of the target language (at most `max_examples`), and their collator."""
        sentences = LineDataset(
            [data.monolingual(split, self.target_language)], max_examples
        )
        return sentences, self.collator()

    def collator(self) -> BacktranslationCollator:
        """Return the collator, which makes batches of sentences."""
        return BacktranslationCollator(self.context.framing, self.target_language)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Return the batch with each source, a real sentence, replaced by the model's translation of it.

        In training, noise is added to the translations, and they are counted by the monitor.
        """
        assert batch.seeds is not None
        framing = self.context.framing
        seeds = batch.seeds.tolist()
        # The collator has used the real sentence as the source; remove its special tokens.
        sentences = []
        for row, length in zip(
            batch.source.ids.cpu().numpy(), batch.source.lengths.tolist(), strict=True
        ):
            sentences.append(
                row[framing.prefix_length : length - framing.suffix_length]
            )
        translations = self._translate(
            model, sentences, seeds, batch.source.ids.numel()
        )
        # The monitor sees the model's output before noise is added.
        sources = translations.token_ids
        if self.training:
            if self.monitor is not None:
                self.monitor.add(sentences, sources, translations.hit_max_length)
            sources = self._add_noise(sources, seeds)
        if self.options.tag_sources:
            # The tag needs a position: a source of maximum length loses a token.
            longest = (
                model.config.max_positions
                - framing.prefix_length
                - framing.suffix_length
                - 1
            )
            tag = [framing.synthetic_tag]
            sources = [np.concatenate([tag, source[:longest]]) for source in sources]
        languages = (self.source_language, self.target_language)
        inputs = [framing.encoder_input(source, *languages) for source in sources]
        ids, lengths = framing.pad_ids(inputs)
        language = framing.language_tensor(self.source_language, len(sources))
        tokens = Tokens(ids, lengths, language=language)
        return replace(batch, source=tokens.to(batch.source.ids.device))

    def _translate(
        self,
        model: Transformer,
        sentences: Sequence[Ids],
        seeds: Sequence[int],
        batch_tokens: int,
    ) -> Translations:
        """Translate sentences from the target language into the source language with the model.

        In training, the share --sampling-share of them, drawn from `seeds`, is sampled; all others are
        translated by beam search. `batch_tokens` is the size of the batch in tokens, padding included.
        """
        options = self.options
        # In validation all sources come from beam search, so that losses do not depend on random
        # numbers.
        is_sampled = [False] * len(seeds)
        if self.training:
            is_sampled = [
                np.random.default_rng([seed, 0]).random() < options.sampling_share
                for seed in seeds
            ]
        translations = Translations(len(sentences))
        # The copy is optimized for decoding, and used for this batch only, since the weights change.
        generator = inference_copy(model)
        # A search has one strategy, so searched and sampled sources are generated one after the other.
        for sampling in (False, True):
            numbers = [i for i, sampled in enumerate(is_sampled) if sampled is sampling]
            if not numbers:
                continue
            config = self._generation_config(sampling)
            decoder = Decoder(
                [generator],
                self.context.framing,
                config,
                # A batch that fits into memory for training is generated from as a whole.
                batch_tokens=batch_tokens * config.beam,
                allowed=self.allowed_pieces.get(self.source_language),
            )
            results = decoder.generate(
                [sentences[i] for i in numbers],
                self.target_language,
                self.source_language,
                # Samples depend on the example and epoch; keys by content would repeat them in every
                # epoch.
                sample_keys=[seeds[i] for i in numbers],
            )
            for i, hypotheses in zip(numbers, results, strict=True):
                if hypotheses:
                    translations.token_ids[i] = np.asarray(hypotheses[0].ids, np.int64)
                    translations.hit_max_length[i] = hypotheses[0].hit_max_len
        return translations

    def _generation_config(self, sampling: bool) -> GenerationConfig:
        """Return the options with which sources are generated, by sampling or by beam search."""
        options = self.options
        # Draw a single sample: of several, the most likely would be kept.
        return GenerationConfig(
            sampling=sampling,
            beam=1 if sampling else options.beam,
            temperature=options.temperature if sampling else 1.0,
            max_len_a=options.max_len_a,
            max_len_b=options.max_len_b,
        )

    def _add_noise(self, sources: Sequence[Ids], seeds: Sequence[int]) -> list[Ids]:
        """Return sources with the noise of the options: shuffled, dropped and blanked tokens.

        The noise of each source is drawn from its seed.
        """
        options = self.options
        mask_id = self.context.framing.vocab.mask
        if not (
            options.source_shuffle or options.source_dropout or options.source_blank
        ):
            return list(sources)
        noisy = []
        for source, seed in zip(sources, seeds, strict=True):
            # The number after the seed separates the draws: 0 for sampling, 1 for noise.
            rng = np.random.default_rng([seed, 1])
            noisy.append(
                add_noise(
                    source,
                    options.source_shuffle,
                    options.source_dropout,
                    options.source_blank,
                    mask_id,
                    rng,
                )
            )
        return noisy

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the cross-entropy of the real sentences, summed, as the loss term `backtranslate`."""
        return {
            "backtranslate": sequence_loss(
                model, batch, "backtranslate", self.options.label_smoothing
            )
        }

    def take_training_metrics(self) -> Mapping[str, tuple[float, float]]:
        """Return a sum and a count for each metric of the synthetic sources, and reset them.

        The metrics are those of `BacktranslationMonitor`; empty if there is no monitor.
        """
        if self.monitor is None:
            return {}
        return self.monitor.take()

    def training_warnings(self, metrics: Mapping[str, float]) -> list[str]:
        """Return the warnings of `BacktranslationMonitor` about the synthetic sources, or none without it."""
        if self.monitor is None:
            return []
        return self.monitor.training_warnings(metrics)


def _piece_counts_of_others(
    data: DataFolder, languages: Sequence[str]
) -> list[NDArray[np.int64]]:
    """Return the piece counts (V,) of every language of the data that is not among `languages`.

    Languages without training text are left out.
    """
    counts = []
    for language in data.languages:
        if language in languages:
            continue
        try:
            counts.append(data.piece_counts(language))
        except MissingDataError:
            continue
    return counts
