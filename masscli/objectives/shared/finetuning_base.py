"""What objectives over labelled examples share: their views, their sequences, their heads, and how their outputs are judged.

`EvaluableObjective` is the contract with validation, `PredictiveObjective` that with `masscli predict`: for every example a row of numbers (`predict`), made of
the model alone; from these rows and the examples, answers for people and measures by name.  So measures are a matter of the objective,
never of the loop.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch, Labels, Tokens, pad
from masscli.data.batches.dataset import Collator, Dataset, Example
from masscli.data.batches.framing import Framing
from masscli.data.batches.sequences import JoinedSequence, PairFormat, truncated_pair_lengths
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.tables import Table
from masscli.models.dropout import dropout
from masscli.models.linear import Linear
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, ObjectiveContext, Term
from masscli.objectives.shared.table_options import SequenceTaskOptions, TableOptions

ExampleOutput = NDArray[np.float64]
"""What a model has to say of one example, in numbers."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction: as text (a line, or several for a sentence of words), and with all its details."""

    text: str
    details: Mapping[str, Any]


class EvaluableObjective(Objective):
    """An objective over a table, whose outputs on labelled examples are measured."""

    @property
    @abstractmethod
    def metric_names(self) -> tuple[str, ...]:
        """What `measure` gives; the first is the one usually reported.  More is better, but for losses and what begins with ppl."""

    @classmethod
    @abstractmethod
    def fill_from_data(cls, config: Any, data: DataFolder, name: str) -> Any:
        """Options with what follows from the training part of table `name` filled in."""

    @abstractmethod
    def table_dataset(self, table: Table, labelled: bool) -> Dataset:
        """The view of a table; `labelled` if labels are wanted, and their absence a mistake."""

    @abstractmethod
    def forward_outputs(self, model: Transformer, batch: Batch) -> list[ExampleOutput]:
        """For each row of a batch, what is needed for `answers` and `measure`."""

    @abstractmethod
    def compute_metrics(self, table: Table, outputs: Sequence[ExampleOutput]) -> dict[str, float]:
        """The metrics, of a labelled table."""

    @abstractmethod
    def collator(self) -> Collator:
        """Return what makes batches of the examples of any table."""

    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the labelled examples to learn from, and their collator."""
        table = data.table(self.context.dataset_name, split).head(max_examples)
        return self.table_dataset(table, labelled=True), self.collator()


class PredictiveObjective(EvaluableObjective):
    """One that answers, too: labels, numbers, spans."""

    @abstractmethod
    def decode_predictions(self, table: Table, outputs: Sequence[ExampleOutput]) -> list[Prediction]:
        """An answer for each example of a table, from the outputs of its view's rows in their order."""


@dataclass(frozen=True, slots=True)
class SequenceReader:
    """Which stack is read, in what form, and for how many tokens."""

    stack: Literal["encoder", "decoder"]
    both_stacks: bool
    pair_format: PairFormat
    max_length: int
    segments: bool

    @classmethod
    def from_options(cls, options: TableOptions, context: ObjectiveContext) -> Self:
        """As the options say, if the model can."""
        model = context.model
        stack = options.read if options.read != "auto" else "encoder" if model.encoder_layers else "decoder"
        if not (model.encoder_layers if stack == "encoder" else model.decoder_layers):
            raise MasscliError(
                f"--read {stack}: the model has no {stack}", "leave it out: the stack that there is is read"
            )
        if options.max_length > model.max_positions:
            raise MasscliError(f"--max-length {options.max_length}: the model has {model.max_positions} positions",
                               f"give at most {model.max_positions}")  # fmt: skip
        kind = (
            options.pair_format if options.pair_format != "auto" else "gpt" if stack == "decoder" else "bert"
        )
        both = bool(model.encoder_layers and model.decoder_layers) and stack == "decoder"
        return cls(
            cast(Any, stack),
            both,
            PairFormat(kind, context.framing.vocab),
            options.max_length,
            model.segments > 0,
        )

    def collate(
        self, sequences: Sequence[JoinedSequence], framing: Framing, language: str, rows: Sequence[int]
    ) -> Batch:
        """Sequences as a batch that has no labels yet; a model of both stacks reads them with each where the decoder is meant."""
        ids, lengths = pad([s.ids for s in sequences], framing.vocab.pad)
        segments = pad([s.segments for s in sequences], 0)[0] if self.segments else None
        tokens = Tokens(
            ids, lengths, segments=segments, language=framing.language_tensor(language, len(sequences))
        )
        return Batch(tokens, tokens if self.both_stacks else None, {}, {}, torch.tensor(rows))

    def hidden_states(self, model: Transformer, batch: Batch) -> Tensor:
        """(B, L, D)."""
        if batch.target is not None:
            return model.decode(batch.target, model.encode(batch.source))
        return model.read(batch.source)

    def sequence_state(self, model: Transformer, batch: Batch, states: Tensor) -> Tensor:
        """(B, D): the state that stands for the whole sequence, an encoder's through the model's pooler where it has one."""
        if self.stack == "encoder":
            return model.pool(states)
        return states[torch.arange(len(states), device=states.device), batch.source.lengths - 1]


class ClassificationHead(nn.Module):
    """From states to scores, in fp32."""

    def __init__(self, options: TableOptions, dim: int, outputs: int) -> None:
        super().__init__()
        self.kind, self.dropout = options.head, options.dropout
        self.dense = Linear(dim, dim) if options.head != "linear" else None
        self.out = Linear(dim, outputs)
        for layer in (self.dense, self.out):
            if layer is not None:
                nn.init.normal_(layer.weight, 0, 0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """(..., D) -> (..., outputs)."""
        x = dropout(states.float(), self.dropout, self.training)
        if self.dense is not None:
            x = self.dense(x)
            x = dropout(torch.tanh(x) if self.kind == "tanh" else F.gelu(x), self.dropout, self.training)
        scores: Tensor = self.out(x)
        return scores


class TextDataset:
    """One or two texts of each example, cut to fit, and what is to be learned of it (nothing where it is not labelled, or `unknown`)."""

    def __init__(
        self,
        table: Table,
        fields: Sequence[str],
        reader: SequenceReader,
        targets: NDArray[Any] | None,
        unknown: tuple[int, ...] = (),
    ) -> None:
        self.table, self.targets, self.unknown = table, targets, unknown
        self.columns = [table.ids(field) for field in fields]
        self.symbols = reader.pair_format.num_special_tokens(len(fields))
        self.room = reader.max_length - self.symbols

    def __len__(self) -> int:
        return len(self.table)

    def lengths(self, start: int, stop: int) -> NDArray[np.int64]:
        """(stop - start, texts): lengths after the cut."""
        found = [column.lengths(start, stop).astype(np.int64) for column in self.columns]
        return np.stack(
            truncated_pair_lengths(found[0], found[1], self.room)
            if len(found) == 2
            else [np.minimum(found[0], self.room)],
            1,
        )

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Of the whole sequence."""
        found: NDArray[np.int64] = self.lengths(start, stop).sum(1, keepdims=True) + self.symbols
        return found

    @property
    def cut(self) -> int:
        """How many examples are cut."""
        whole = np.sum([column.lengths(0, len(self)) for column in self.columns], axis=0)
        return int(np.count_nonzero(whole > self.room))

    def __getitem__(self, row: int) -> Example:
        texts = [
            column[row][:length]
            for column, length in zip(self.columns, self.lengths(row, row + 1)[0], strict=True)
        ]
        target = (
            [] if self.targets is None or self.targets[row] in self.unknown else [self.targets[row : row + 1]]
        )
        return Example(row, (*texts, *target))


class BothOrdersDataset:
    """The examples of one view, and then those of another one of as many: the same pairs the other way round."""

    def __init__(self, one: TextDataset, other: TextDataset) -> None:
        self.one, self.other = one, other

    def __len__(self) -> int:
        return len(self.one) + len(self.other)

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Of the whole sequence."""
        n = len(self.one)
        return np.concatenate(
            [
                self.one.sizes(min(start, n), min(stop, n)),
                self.other.sizes(max(start - n, 0), max(stop - n, 0)),
            ]
        )

    @property
    def cut(self) -> int:
        """How many examples are cut."""
        return self.one.cut + self.other.cut

    def __getitem__(self, row: int) -> Example:
        n = len(self.one)
        return self.one[row] if row < n else self.other[row - n]._replace(number=row)


@dataclass(frozen=True)
class TextCollator:
    """Texts to sequences; a pair also the other way round, where both orders are read (row n and row B + n)."""

    term: str
    texts: int
    reader: SequenceReader
    framing: Framing
    language: str
    both_orders: bool
    language_model: bool

    def __call__(self, examples: Sequence[Example], rngs: Sequence[np.random.Generator]) -> Batch:
        texts = [e.fields[: self.texts] for e in examples]
        sequences = [self.reader.pair_format.join(*t) for t in texts]
        if self.both_orders:
            sequences += [self.reader.pair_format.join(*t[::-1]) for t in texts]
        batch = self.reader.collate(sequences, self.framing, self.language, [e.number for e in examples])
        targets = {row: e.fields[self.texts] for row, e in enumerate(examples) if len(e.fields) > self.texts}
        ids = np.concatenate(list(targets.values())) if targets else np.zeros(0, np.int64)
        labels = {self.term: Labels(torch.from_numpy(ids), torch.tensor(list(targets), dtype=torch.int64))}
        counts = {self.term: float(len(targets))}
        if self.language_model:
            labels["lm"], counts["lm"] = next_tokens(batch.source), float(len(sequences))
        return replace(batch, labels=labels, counts=counts)


def next_tokens(tokens: Tokens) -> Labels:
    """Every token after the first, at the place of the one before it."""
    inside = torch.arange(tokens.ids.shape[1] - 1) < tokens.lengths[:, None] - 1
    places = torch.nonzero(torch.cat([inside, torch.zeros(len(inside), 1, dtype=torch.bool)], 1).flatten())[
        :, 0
    ]
    return Labels(tokens.ids.flatten()[places + 1], places)


def check_language_model(options: SequenceTaskOptions, reader: SequenceReader) -> None:
    """Complain of the language model of an encoder, which sees what is to be predicted."""
    if options.lm_weight and reader.stack != "decoder":
        raise MasscliError(
            "--lm-weight: only a decoder has a language model", "leave it out, or add --read decoder"
        )


def language_model(model: Transformer, batch: Batch, states: Tensor) -> Term:
    """Cross-entropy of each sequence under the labels `lm` (see `next_tokens`), a mean over its tokens; summed over sequences."""
    wanted, flat = batch.labels["lm"], states.flatten(0, 1)
    each = torch.split(torch.arange(len(wanted.ids), device=flat.device), (batch.source.lengths - 1).tolist())
    losses = [model.loss(flat[wanted.positions[at]], wanted.ids[at], stack="decoder") for at in each]
    loss, nll = (
        torch.stack([both[i] / len(at) for both, at in zip(losses, each, strict=True)]).sum() for i in (0, 1)
    )
    return Term(loss, nll)
