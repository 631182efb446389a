"""What every objective is: a module that turns examples into a batch and a batch into summed losses of a model.

An objective owns its own parameters (a classifier, a generator): they are saved beside the model and left behind when only the model is
wanted.  It never counts, averages, clips or steps; the loop divides its sums once, by counts taken before the forward pass.
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
from masscli.objectives.registry import ObjectiveConfig


class Term(NamedTuple):
    """One loss term of a batch, summed over its targets: `loss` carries the gradient, `nll` (nats) is what is reported."""

    loss: Tensor
    nll: Tensor


@dataclass(frozen=True, slots=True)
class ObjectiveContext:
    """Where an objective works: how text is framed for the model, the model's shape, and what it reads (`en`, or `en-de`)."""

    framing: Framing
    model: ModelConfig
    dataset_name: str

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages of the text, source first."""
        return tuple(self.dataset_name.split("-"))


class Objective(nn.Module, ABC):
    """What is to be learned from one stream."""

    Config: ClassVar[type[ObjectiveConfig]]
    training_metrics: ClassVar[tuple[str, ...]] = ()
    """What `take_training_metrics` gives, where an objective has something to say of its own work besides its losses."""
    generates_in_prepare: ClassVar[bool] = False
    """Whether `prepare` runs the model."""
    exclusive: bool = False
    """Whether no other stream may learn beside it."""
    allowed_pieces: Mapping[str, Tensor] = MappingProxyType({})
    """For a language, the (V,) pieces that may be written in it, where not all may."""

    def __init__(self, context: ObjectiveContext) -> None:
        super().__init__()
        self.context = context

    @property
    @abstractmethod
    def weights(self) -> Mapping[str, float]:
        """The weight of each loss term; its keys are the terms."""

    def read_statistics(self, data: DataFolder) -> None:
        """Read from the training data what `prepare` and `training_warnings` need. Called once before training."""

    @abstractmethod
    def dataset(
        self, data: DataFolder, split: str, max_examples: int | None = None
    ) -> tuple[Dataset, Collator]:
        """Return the first `max_examples` (default: all) of a split, and the collator that makes batches of them."""

    def begin_update(self, model: Transformer, update: int) -> None:
        """What is to be done to the model or to itself before an update, of which there have been `update`: by nothing but this number and
        the weights, so that all processes do the same."""

    def prepare(self, model: Transformer, batch: Batch) -> Batch:
        """Complete a batch with the model's help, outside of gradients; runs before targets are counted.  Back-translation lives here."""
        return batch

    @abstractmethod
    def forward(self, model: Transformer, batch: Batch) -> dict[str, Term]:
        """The summed losses of a batch, by term."""

    def data_warnings(self, view: Dataset) -> list[str]:
        """What a user should know of the examples before anything is learned: how many are cut, what cannot be learned of them."""
        return []

    def take_training_metrics(self) -> Mapping[str, tuple[float, float]]:
        """Each figure as a sum, and of how many, since last asked; the loop adds both up over processes and divides."""
        return {}

    def training_warnings(self, figures: Mapping[str, float]) -> list[str]:
        """What in its figures a user should be warned of: `what it looks like (how much)`; said when it begins and comes back."""
        return []
