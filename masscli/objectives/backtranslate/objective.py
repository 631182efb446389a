"""Back-translation: learn to write real text y from a synthetic source x that the model itself made of y (Sennrich et al. 2016; online and
in both directions at once, as in Lample et al. 2018 and the fine-tuning of MASS, section 4.2):

    x = search(P(. | y; theta)) without a gradient,        L = - sum_t log P(y_t | y_<t, x; theta)

A stream `en-fr` reads French, makes English of it with the search that `generate` uses, in eval mode and the model's compute type, and
learns English to French.  Nothing here is parallel: one stream for each direction and the model teaches itself.

The collator hands over the real sentence as the source; `prepare` puts its translation in that place, before targets are counted.  Random
numbers are the example's own, so neither batches, nor processes, nor a lack of memory change what is learned.  Counts of pieces say which
may be written (`min_piece_count`) and feed the watch (masscli/objectives/backtranslate/monitor.py).  In validation the source is made greedily, without noise.

How often a synthetic source is learned from is the loop's business (`--batch-reuse`); offline rounds (`generate`, then `preprocess` the result as
pairs) keep them for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder, MissingDataError
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.inference_copy import inference_copy
from masscli.models.transformer import Transformer
from masscli.objectives.backtranslate.monitor import BacktranslationMonitor
from masscli.objectives.backtranslate.options import BacktranslateOptions
from masscli.objectives.denoise.corruption import denoise
from masscli.objectives.mass.objective import sequence_loss
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.translate.objective import draw_seeds, pair_batch


@dataclass(frozen=True)
class BackCollator:
    """The real sentence on both sides, and a random number for each."""

    framing: Framing
    language: str

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        texts = [e.fields[0] for e in examples]
        sources = [self.framing.encoder_input(ids, self.language) for ids in texts]
        sides = (self.language, self.language)
        batch = pair_batch(self.framing, sources, texts, sides, "backtranslate", [e.number for e in examples])
        return replace(batch, seeds=draw_seeds(rngs))


class Backtranslate(Objective):
    """Write real text from one's own translation of it."""

    weights: ClassVar[Mapping[str, float]] = {"backtranslate": 1.0}
    training_metrics: ClassVar[tuple[str, ...]] = BacktranslationMonitor.names
    generates_in_prepare: ClassVar[bool] = True

    def __init__(self, config: BacktranslateOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config
        self.synthetic, self.real = context.languages
        self.monitor: BacktranslationMonitor | None = None

    def read_statistics(self, data: DataFolder) -> None:
        """Count the pieces of the training text."""
        counts = [data.piece_counts(side) for side in (self.real, self.synthetic)]
        self.monitor = BacktranslationMonitor(*counts, *_others(data, self.context.languages))
        if least := self.options.min_piece_count:
            if not (counts[1] >= least).any():
                raise MasscliError(
                    f"--min-piece-count {least}: no piece of {self.synthetic} occurs so often", "lower it"
                )
            self.allowed_pieces = {self.synthetic: torch.from_numpy(counts[1] >= least)}

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Sentences of the language that is written."""
        return LineDataset([data.monolingual(split, self.real)], max_examples), self.collator()

    def collator(self) -> BackCollator:
        """Hands the text over."""
        return BackCollator(self.context.framing, self.real)

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Put a translation in the place of the source."""
        assert batch.seeds is not None
        framing, device = self.context.framing, batch.source.ids.device
        rows, lengths = batch.source.ids.cpu().numpy(), batch.source.lengths.tolist()
        texts = [row[framing.prefix_length : n - 1] for row, n in zip(rows, lengths, strict=True)]
        found, cut = self._translate(model, texts, batch.seeds.tolist(), batch.source.ids.numel())
        if self.training:
            if self.monitor is not None:
                self.monitor.add(texts, found, cut)
            found = self._noisy(found, batch.seeds.tolist())
        ids, sizes = pad([framing.encoder_input(f, self.synthetic) for f in found], framing.vocab.pad)
        return replace(
            batch,
            source=Tokens(ids, sizes, language=framing.language_tensor(self.synthetic, len(found))).to(
                device
            ),
        )

    def _translate(
        self, model: Transformer, texts: Sequence[Ids], seeds: Sequence[int], area: int
    ) -> tuple[list[Ids], list[bool]]:
        """Words in the other language, and whether the length limit ended them."""
        o = self.options
        sampled = [
            self.training and np.random.default_rng([seed, 0]).random() < o.sampling_share for seed in seeds
        ]
        found: list[Ids] = [np.zeros(0, np.int64)] * len(texts)
        cut = [False] * len(texts)
        fast = inference_copy(model)
        for sampling in {False, True} & set(sampled):
            chosen = [i for i, s in enumerate(sampled) if s is sampling]
            # A sample is one draw: of several, the likeliest would be kept.
            drawn = (
                {"sampling": True, "beam": 1, "temperature": o.temperature} if sampling else {"beam": o.beam}
            )
            config = GenerationConfig(**drawn, max_len_a=o.max_len_a, max_len_b=o.max_len_b)
            allowed = self.allowed_pieces.get(self.synthetic)
            decoder = Decoder(
                [fast], self.context.framing, config, batch_tokens=area * config.beam, allowed=allowed
            )
            results = decoder.generate(
                [texts[i] for i in chosen], self.real, self.synthetic, sample_keys=[seeds[i] for i in chosen]
            )
            for i, hypotheses in zip(chosen, results, strict=True):
                if hypotheses:  # there are none where nothing may be written; then the source stays empty, and the watch says so
                    found[i], cut[i] = np.asarray(hypotheses[0].ids, np.int64), hypotheses[0].hit_max_len
        return found, cut

    def _noisy(self, found: Sequence[Ids], seeds: Sequence[int]) -> list[Ids]:
        o, mask = self.options, self.context.framing.vocab.mask
        if not (o.source_shuffle or o.source_dropout or o.source_blank):
            return list(found)
        rngs = (np.random.default_rng([seed, 1]) for seed in seeds)
        return [
            denoise(ids, o.source_shuffle, o.source_dropout, o.source_blank, mask, rng)
            for ids, rng in zip(found, rngs, strict=True)
        ]

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of the real text."""
        return {
            "backtranslate": Term(*sequence_loss(model, batch, "backtranslate", self.options.label_smoothing))
        }

    def take_training_metrics(self) -> Mapping[str, tuple[float, float]]:
        """Of the sources that were made; see `BacktranslationMonitor`."""
        return self.monitor.take() if self.monitor is not None else {}

    def training_warnings(self, figures: Mapping[str, float]) -> list[str]:
        """Of the sources that were made; see `BacktranslationMonitor`."""
        return self.monitor.training_warnings(figures) if self.monitor is not None else []


def _others(data: DataFolder, sides: Sequence[str]) -> Iterator[NDArray[np.int64]]:
    """Counts of pieces in the languages of the data that this direction has nothing to do with."""
    for language in data.languages:
        if language not in sides:
            try:
                yield data.piece_counts(language)
            except MissingDataError:
                continue
