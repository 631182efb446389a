"""What checkpoints of other programs that are single files have in common.

A converter of one family reads its file and returns a `ForeignModel`. It takes each tensor by its name from
`TensorTable`, so that none is forgotten and none is used twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint.convert.torch_file import StoredTensor
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ImportRequest:
    """The file to import, and what the user says about it."""

    path: Path
    source: str | None = None
    """Language of the source (-s)."""
    target: str | None = None
    """Language of the target (-t)."""
    dictionaries: Mapping[str, Path] = field(default_factory=dict)
    """fairseq's dictionary of each language, or of all languages under the empty name (--dict)."""
    spm_model: Path | None = None
    bpe_codes: Path | None = None
    vocab_file: Path | None = None
    encoder_json: Path | None = None
    vocab_bpe: Path | None = None
    arch: str | None = None
    """Architecture of a file that does not say it (--arch)."""
    heads: int | None = None
    """Number of attention heads of a file that does not say it (--heads)."""
    moses: bool = False
    lowercase: bool = False

    def refuse(self, title: str, *options: str) -> None:
        """Raise MasscliError if one of these options is given, which means nothing for a model of `title`."""
        flags = {"dictionaries": "--dict"}
        for option in options:
            if getattr(self, option):
                name = flags.get(option, f"--{option.replace('_', '-')}")
                raise MasscliError(
                    f"{name}: {self.path} is of {title}, for which it has no meaning", "leave it out"
                )


@dataclass(frozen=True)
class ForeignModel:
    """A converted model."""

    title: str
    """What it is, for messages."""
    config: ModelConfig
    tokenizer: Tokenizer
    languages: tuple[str, ...]
    """The languages for which it has vectors or projections, in their order."""
    tensors: Mapping[str, Tensor]
    streams: Mapping[str, Any]
    """What it was trained for, as tables of a recipe."""
    generation: Mapping[str, Any]
    """How its program generates by default: fields of GenerationConfig."""
    notes: Sequence[str]


class TensorTable:
    """The tensors of a file by name, of which each is taken once, in float32."""

    def __init__(self, path: Path, tensors: Mapping[str, Any]) -> None:
        self._path = path
        self._tensors: dict[str, StoredTensor] = {}
        for name, tensor in tensors.items():
            if not isinstance(name, str) or not isinstance(tensor, StoredTensor):
                raise MasscliError(f"{path}: {name!r} is not a tensor", "expected the weights of a model")
            # Models that were trained on several GPUs keep the name of their wrapper.
            self._tensors[name.removeprefix("module.")] = tensor

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self) -> list[str]:
        """Return the names of the tensors that have not been taken."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor. Raises MasscliError if it is missing."""
        return self._require(name).shape

    def take(self, name: str) -> Tensor:
        """Return a tensor, which cannot be taken again. Raises MasscliError if it is missing."""
        tensor = self._require(name).read().float()
        del self._tensors[name]
        return tensor

    def take_stacked(self, names: Sequence[str]) -> Tensor:
        """Return tensors stacked along their first dimension, as our fused projections are."""
        return torch.cat([self.take(name) for name in names])

    def take_linear(self, ours: str, *theirs: str) -> dict[str, Tensor]:
        """Return weight and bias of our module `ours`, stacked from their modules."""
        parts = ("weight", "bias")
        return {f"{ours}.{part}": self.take_stacked([f"{name}.{part}" for name in theirs]) for part in parts}

    def drop(self, name: str) -> None:
        """Leave out a tensor that is known to have no use."""
        self._tensors.pop(name, None)

    def count_layers(self, prefix: str) -> int:
        """Return one more than the largest number that follows `prefix` in a name."""
        numbers = [-1]
        for name in self._tensors:
            number = name.removeprefix(prefix).partition(".")[0]
            if name.startswith(prefix) and number.isdecimal():
                numbers.append(int(number))
        return max(numbers) + 1

    def require_empty(self, title: str) -> None:
        """Raise MasscliError if nobody has taken a tensor: the model has a part that ours lacks."""
        if self._tensors:
            first, *others = sorted(self._tensors)
            more = f" (and {len(others)} more)" if others else ""
            raise MasscliError(
                f"{self._path}: {first}{more} has no place in {title}",
                "a model with other parts than the published ones cannot be imported",
            )

    def _require(self, name: str) -> StoredTensor:
        if name not in self._tensors:
            raise MasscliError(
                f"{self._path}: has no tensor {name}", "is it the checkpoint of another model?"
            )
        return self._tensors[name]


def take_with_new_rows(tensor: Tensor, size: int) -> Tensor:
    """Return a table or a bias with rows of zeros behind it, for the symbols that masscli adds."""
    new = tensor.new_zeros(size - len(tensor), *tensor.shape[1:])
    return torch.cat([tensor, new])


def check_tensors(model: ForeignModel, path: Path) -> None:
    """Raise MasscliError if the tensors are not those of a model with this configuration."""
    vocab = model.tokenizer.vocab
    with torch.device("meta"):
        expected = Transformer(model.config, vocab.size, model.languages, vocab.id_ranges).state_dict()
    for name, like in expected.items():
        if name not in model.tensors:
            raise MasscliError(f"{path}: lacks {name}", "is it the checkpoint of another model?")
        if model.tensors[name].shape != like.shape:
            raise MasscliError(
                f"{path}: {name} would be {tuple(model.tensors[name].shape)}, but by its options it is "
                f"{tuple(like.shape)}",
                "weights and options are of different models",
            )
