"""BERT: a masked language model and next-sentence prediction over documents (Devlin et al. 2019, section 3.1).

    L = mean_{m in masked} -log P(x_m | corrupted text)  +  mean -log P(IsNext | [CLS] A [SEP] B [SEP])

Pairs are made by masscli.objectives.shared.segment_pairs, masks by masscli.objectives.shared.masking.  The output layer and the pooler are the model's, the two-way
head is the objective's.  ALBERT and RoBERTa's pairs are this with other pairs and other masks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Ids, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.linear import Linear
from masscli.models.transformer import Transformer
from masscli.objectives.masked_lm.options import BertOptions
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.masking import Masker
from masscli.objectives.shared.options import CorruptionOptions, DocumentOptions
from masscli.objectives.shared.segment_pairs import DocumentPairs
from masscli.text.word_starts import word_starts


@dataclass(frozen=True)
class Framed:
    """[CLS] A [SEP] B [SEP], or [CLS] A [SEP]: ids, segments, which are text, which begin a word, and the label of the pair."""

    ids: Ids
    segments: Ids
    text: np.ndarray[tuple[int], np.dtype[np.bool_]]
    starts: np.ndarray[tuple[int], np.dtype[np.bool_]]
    label: int


def frame(example: Example, framing: Framing) -> Framed:
    """Put special symbols around the segments of an example of `DocumentPairs`."""
    a, b, label, starts = example.fields
    vocab = framing.vocab
    ids = np.concatenate(
        [[vocab.cls], a, [vocab.sep], b, [vocab.sep]] if len(b) else [[vocab.cls], a, [vocab.sep]]
    )
    text = np.ones(len(ids), np.bool_)
    text[[0, len(a) + 1, -1]] = False
    begins = np.ones(len(ids), np.bool_)
    begins[text] = starts != 0
    return Framed(ids, (np.arange(len(ids)) > len(a) + 1).astype(np.int64), text, begins, int(label[0]))


@dataclass(frozen=True)
class PairCollator:
    """Masks framed pairs.  `order` is the term of the pair's label, if it is learned."""

    framing: Framing
    language: str
    masker: Masker
    order: str | None

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        pairs = [frame(e, self.framing) for e in examples]
        masked = [
            self.masker(p.ids, p.text, p.starts, e.number, rng)
            for p, e, rng in zip(pairs, examples, rngs, strict=True)
        ]
        segments, _ = pad([p.segments for p in pairs], 0)
        batch = masked_batch(
            [p.ids for p in pairs],
            masked,
            self.framing,
            self.language,
            segments,
            [e.number for e in examples],
        )
        if self.order is None:
            return batch
        labels = Labels(torch.tensor([p.label for p in pairs]), torch.arange(len(pairs)))
        return Batch(
            batch.source,
            None,
            {**batch.labels, self.order: labels},
            {**batch.counts, self.order: float(len(pairs))},
            batch.example_numbers,
        )


def masked_batch(rows: Sequence[Ids], masked: Sequence[tuple[Ids, Ids]], framing: Framing, language: str, segments: Tensor | None,
                 numbers: Sequence[int]) -> Batch:  # fmt: skip
    """A batch of corrupted rows whose hidden tokens are the labels of the term `mlm`."""
    block, lengths = pad([shown for shown, _ in masked], framing.vocab.pad)
    at = np.concatenate([row * block.shape[1] + places for row, (_, places) in enumerate(masked)])
    wanted = np.concatenate([ids[places] for ids, (_, places) in zip(rows, masked, strict=True)])
    source = Tokens(block, lengths, segments=segments, language=framing.language_tensor(language, len(rows)))
    labels = {"mlm": Labels(torch.from_numpy(wanted), torch.from_numpy(at))}
    return Batch(source, None, labels, {"mlm": float(len(at))}, torch.tensor(numbers))


def make_masker(options: CorruptionOptions, unit: str, framing: Framing, pool: Ids | None) -> Masker:
    """The masker of some options."""
    o = options
    return Masker(unit, o.mask_prob, o.leave_unmasked_prob, o.random_token_prob, o.max_predictions, framing.vocab.mask, pool,
                  framing.vocab.size, o.masks == "static", o.pair_seed)  # fmt: skip


def document_pairs(
    data: DataFolder,
    split: str,
    context: ObjectiveContext,
    options: DocumentOptions,
    kind: str,
    max_examples: int | None,
    as_albert: bool = False,
) -> DocumentPairs:
    """The pairs of a split; validation reads each document once.  `as_albert` is that of `word_starts`."""
    o = options
    copies = o.dupe_factor if split == "train" else 1
    column = data.monolingual(split, context.dataset_name)
    found = DocumentPairs(column, kind, o.tokens_per_sample, short=o.short_seq_prob, copies=copies, seed=o.pair_seed,
                          starts=word_starts(data.tokenizer(), as_albert), limit=max_examples)  # fmt: skip
    if kind == "strict-sop" and not len(found) and len(column):
        raise MasscliError(f"{data.folder}: no document of {context.dataset_name} ({split}) has two sentences",
                           "a sentence a line, a blank line ends a document; or leave out --strict-sop")  # fmt: skip
    return found


def no_tags(name: str, context: ObjectiveContext) -> None:
    """Complain of a model that knows languages by a tag, for which [CLS] A [SEP] B [SEP] has no place."""
    if context.framing.language_tag:
        raise MasscliError(f"{name} has no place for a language's tag", "use --languages embedding, or none")


class PairedLM(Objective):
    """A masked language model, and a two-way label of each pair under the term `order`."""

    def __init__(self, context: ObjectiveContext, order: str | None) -> None:
        super().__init__(context)
        self.order = order
        self.head = Linear(context.model.dim, 2) if order is not None else None
        if self.head is not None:
            nn.init.normal_(self.head.weight, 0, 0.02)
            nn.init.zeros_(self.head.bias)

    @property
    def weights(self) -> Mapping[str, float]:
        """Both terms count the same."""
        return {"mlm": 1.0} if self.order is None else {"mlm": 1.0, self.order: 1.0}

    def data_warnings(self, view: Dataset) -> list[str]:
        """Pairs of which nothing can be learned."""
        if self.order is None or not isinstance(view, DocumentPairs):
            return []
        found = []
        if view.documents == 1 and self.order == "nsp":
            found.append("no blank line ends a document: what does not follow comes from the same one")
        if len(view) and view.second in (0, len(view)):
            found.append(
                "all pairs have the same label, so it teaches nothing: a document needs two sentences (lines) or more"
            )
        return found

    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Cross-entropy of the masked tokens, and of the pair's label."""
        hidden, wanted = model.encode(batch.source).hidden, batch.labels["mlm"]
        found = {
            "mlm": Term(*model.loss(hidden.flatten(0, 1)[wanted.positions], wanted.ids, stack="encoder"))
        }
        if self.head is not None and self.order is not None:
            loss = F.cross_entropy(
                self.head(model.pool(hidden)).float(), batch.labels[self.order].ids, reduction="sum"
            )
            found[self.order] = Term(loss, loss.detach())
        return found


class Bert(PairedLM):
    """Write the masked tokens, and say whether B follows A."""

    def __init__(self, config: BertOptions, context: ObjectiveContext) -> None:
        super().__init__(context, "nsp")
        no_tags("bert", context)
        self.options = config

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Pairs of segments."""
        return document_pairs(data, split, self.context, self.options, "nsp", max_examples), self.collator()

    def collator(self) -> PairCollator:
        """Masks; random tokens come from the whole vocabulary."""
        unit = "words" if self.options.whole_words else "pieces"
        masker = make_masker(self.options, unit, self.context.framing, None)
        return PairCollator(self.context.framing, self.context.dataset_name, masker, self.order)
