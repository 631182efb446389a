"""The interface of an objective: examples become batches, and a batch becomes summed losses of a model.

An objective owns its parameters, such as a classifier or a generator. They are stored separately from
the model, and discarded when only the model is needed. An objective never counts updates, averages
losses, clips gradients or steps an optimizer: the training loop divides its sums once, by counts that
are taken before the forward pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.batches.framing import Framing
from masscli.data.batches.sampler import longest_sides
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer


class Term(NamedTuple):
    """The value of one loss term for a batch, summed over the term's targets: two scalars.

    `loss` is differentiated. `nll` is what is reported: for cross-entropies the negative log-likelihood in
    nats, without label smoothing.
    """

    loss: Tensor
    nll: Tensor


@dataclass(frozen=True, slots=True)
class ObjectiveContext:
    """What an objective is built from: special tokens (`framing`), the model's configuration, the dataset.

    `dataset_name` is a language (`en`), a direction (`en-de`) or the name of a table; see
    masscli/objectives/input_kinds.py.
    """

    framing: Framing
    model: ModelConfig
    dataset_name: str

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that `dataset_name` consists of: one, or source and target of a direction.

        They mean nothing if the dataset is a table, whose name need not be a language.
        """
        return tuple(self.dataset_name.split("-"))


class Objective(nn.Module, ABC):
    """The base class of objectives: what a model learns from one training stream of a run."""

    training_metrics: ClassVar[tuple[str, ...]] = ()
    """The names of the metrics that `take_training_metrics` returns."""
    generates_in_prepare: ClassVar[bool] = False
    """Whether `prepare` generates text with the model."""
    predicts_from_source: bool = False
    """Whether a decoder predicts the targets from a source that the encoder reads, so that the use of the
    source can be measured (--eval-source-use)."""
    exclusive: bool = False
    """Whether a stream of this objective must be the only training stream of its run."""
    # The default cannot be changed, because all objectives share it.
    allowed_pieces: Mapping[str, Tensor] = MappingProxyType({})
    """By language, a mask (V,) of the pieces that may be generated in it; languages without a mask allow all
    pieces."""

    def __init__(self, context: ObjectiveContext) -> None:
        super().__init__()
        self.context = context

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """The weights by which the loss terms are multiplied before they are added, by name of the term."""

    @property
    def validated_terms(self) -> tuple[str, ...]:
        """The names of the loss terms that are measured in validation, by default all of `weights`."""
        return tuple(self.weights)

    def read_statistics(self, data: DataFolder) -> None:
        """Read statistics of the training data and keep them for `prepare` and `training_warnings`.

        It is called once for each training stream, before training. By default nothing is read.
        """

    @abstractmethod
    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the examples of a split as a dataset, and their collator.

        `max_examples` (default: all) is the number of sentences, pairs or rows of a table, from the first,
        that examples are made of. The collator makes batches of the examples. It runs in worker processes, so
        it must not hold parameters.
        """

    def batch_lengths(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of tokens (N,) that examples of these sizes (N, sides) take up in a batch.

        --max-tokens limits their sum, padding included. By default it is the length of the longest side; an
        objective whose batches hold more, such as pseudo-masks, returns the most that there can be.
        """
        return longest_sides(sizes)

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return warnings about a dataset of this objective, such as how many examples are truncated."""
        return []

    def begin_update(self, model: Transformer, update: int) -> None:
        """Change the model or the objective, if needed, before an update of the weights begins.

        `update` is the number of updates made so far. The change must depend only on this number and
        the weights, so that all processes agree. By default nothing is changed.
        """

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Return a batch to train on or validate with, made from `batch` with the help of the model.

        Back-translation makes its sources here. The training loop calls this without gradients, before it
        counts the targets. By default the batch is returned unchanged.
        """
        return batch

    def visible_neighbors(self, batch: Batch, distance: int) -> Tensor | None:
        """Return a mask (B, L) of the words of the source that are near a target, but no targets themselves.

        Near means at most `distance` positions away; special tokens are left out. Returns None, as by
        default, if targets are not parts of the source, or if the batch does not say where they stand.
        """
        return None

    @abstractmethod
    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the loss terms of a batch by name, each summed over its targets."""

    def take_training_metrics(self) -> Mapping[str, tuple[float, float]]:
        """Return a sum and a count for each training metric since the last call, and set both to 0.

        The training loop adds up the sums and the counts of all processes; a metric's value is the total sum
        divided by the total count.
        """
        return {}

    def training_warnings(self, metrics: Mapping[str, float]) -> list[str]:
        """Return warnings about training metrics with suspicious values; `metrics` are values by name.

        In a warning, the text before ` (` identifies the problem; numbers follow in parentheses. The
        training loop shows a warning when its problem first occurs, and again when it recurs.
        """
        return []
