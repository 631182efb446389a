"""The interface of an objective: examples become batches, and a batch becomes summed losses of a model.

An objective owns its parameters, such as a classifier or a generator. They are stored beside the model, and
left behind when only the model is wanted. An objective never counts updates, averages losses, clips gradients
or steps an optimizer: the training loop divides its sums once, by counts that are taken before the forward
pass.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import Collator, Dataset
from masscli.data.batches.framing import Framing
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer


class Term(NamedTuple):
    """One loss term of a batch, summed over its targets.

    `loss` carries the gradient. `nll` is the negative log-likelihood in nats, without label smoothing; it is
    what is reported.
    """

    loss: Tensor
    nll: Tensor


@dataclass(frozen=True, slots=True)
class ObjectiveContext:
    """The context of an objective: how inputs are framed, the configuration of the model, the dataset.

    `dataset_name` is a language (`en`), a direction (`en-de`) or a table; see
    masscli/objectives/input_kinds.py.
    """

    framing: Framing
    model: ModelConfig
    dataset_name: str

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the dataset's name consists of, source first."""
        return tuple(self.dataset_name.split("-"))


class Objective(nn.Module, ABC):
    """The base class of objectives: what a model learns from one training stream of a run."""

    training_metrics: ClassVar[tuple[str, ...]] = ()
    """The names of the metrics of `take_training_metrics`."""
    generates_in_prepare: ClassVar[bool] = False
    """Whether `prepare` generates text with the model."""
    predicts_from_source: ClassVar[bool] = False
    """Whether a decoder predicts the targets from a source that the encoder reads, so that the use of the
    source can be measured (--eval-source-use)."""
    exclusive: bool = False
    """Whether the objective must be the only stream of a run."""
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
        """The weight of each loss term; its keys are the terms."""

    def read_statistics(self, data: DataFolder) -> None:
        """Read from the training data what `prepare` and `training_warnings` need.

        Called once before training.
        """

    @abstractmethod
    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` examples (default: all) of a split, and their collator.

        The collator makes batches of the examples. It runs in worker processes, so it must not hold
        parameters.
        """

    def data_warnings(self, dataset: Dataset) -> list[str]:
        """Return warnings about the examples, such as how many are truncated."""
        return []

    def begin_update(self, model: Transformer, update: int) -> None:
        """Prepare the model or the objective for an update; `update` updates were made before.

        This may change the model or the objective. It must depend on nothing but this number and the weights,
        so that all processes agree.
        """

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Complete a batch with the help of the model, before targets are counted.

        Back-translation makes its sources here. Runs without gradients.
        """
        return batch

    def visible_neighbours(self, batch: Batch, distance: int) -> Tensor | None:
        """Return which words (B, L) of the source are no targets, and up to `distance` places away from one.

        None if targets are not parts of the source.
        """
        return None

    @abstractmethod
    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """Return the summed loss terms of a batch."""

    def take_training_metrics(self) -> Mapping[str, tuple[float, float]]:
        """Return each training metric as a sum and a count since the last call, and reset them.

        The training loop adds both up over all processes, and divides.
        """
        return {}

    def training_warnings(self, metrics: Mapping[str, float]) -> list[str]:
        """Return warnings about training metrics that look wrong.

        The text before ` (` names the problem, and numbers follow in parentheses: a warning is shown when a
        problem begins, and when it comes back.
        """
        return []
