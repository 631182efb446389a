"""BERT+LM, the baseline of the MASS paper (section 4.2, "other pre-training methods"), and XLM's initialisation of both stacks: the encoder
learns as a masked language model, the decoder, which sees no encoder, as a causal one (Conneau and Lample 2019).

    L = mean_{m in masked} -log P_enc(x_m | corrupted x)  +  mean_t -log P_dec(x_t | x_<t)

The model is a whole encoder-decoder, so `--init-from` takes it to translation as it is; its cross-attention has not learned anything yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset, Example, LineDataset
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.objectives.causal_lm.clm import TextCollator
from masscli.objectives.causal_lm.options import BertLMOptions
from masscli.objectives.masked_lm.mlm import MaskingCollator
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.code_switching import Switching


@dataclass(frozen=True)
class BothCollator:
    """What the encoder reads as the source, what the decoder reads as the target."""

    masked: MaskingCollator
    causal: TextCollator

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        encoder, decoder = self.masked(examples, rngs), self.causal(examples, rngs)
        labels, counts = {**encoder.labels, **decoder.labels}, {**encoder.counts, **decoder.counts}
        return replace(encoder, target=decoder.source, labels=labels, counts=counts)


class BertLM(Objective):
    """Write masked tokens with the encoder, next tokens with the decoder."""

    weights: ClassVar[Mapping[str, float]] = {"mlm": 1.0, "clm": 1.0}

    def __init__(self, config: BertLMOptions, context: ObjectiveContext) -> None:
        super().__init__(context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Sentences.  Where words are exchanged, the data says which pieces they are."""
        lines = LineDataset([data.monolingual(split, self.context.dataset_name)], max_examples)
        return lines, self.collator(Switching.read(self.options, data))

    def collator(self, switching: Switching = Switching()) -> BothCollator:
        """Masks, and shifts by one."""
        framing = self.context.framing
        words = framing.vocab.ordinary_ids
        text = self.context.dataset_name
        return BothCollator(
            MaskingCollator(self.options, framing, text, words, switching), TextCollator(framing, text)
        )

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Both cross-entropies."""
        assert batch.target is not None
        states = {"mlm": model.encode(batch.source).hidden, "clm": model.decode(batch.target, None)}
        stacks = {"mlm": "encoder", "clm": "decoder"}
        found = {}
        for term, hidden in states.items():
            wanted = batch.labels[term]
            found[term] = Term(
                *model.loss(hidden.flatten(0, 1)[wanted.positions], wanted.ids, stack=stacks[term])
            )
        return found
