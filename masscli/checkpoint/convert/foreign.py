"""What the importers of other programs' single-file checkpoints (fairseq, XLM) have in common.

The importer of each program gets an `ImportRequest` and returns a `ForeignModel`. It takes each tensor
by name from a `TensorTable`, so that none is forgotten and none is used twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masscli.checkpoint.convert.published import to_float32, without_wrapper
from masscli.checkpoint.convert.torch_file import StoredTensor
from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class ImportRequest:
    """The file to import, and the options of `masscli import` that describe it; None if one is not given."""

    path: Path
    config: Path | None = None
    """The file that has the options of the model; None if it is `path` itself."""
    source: str | None = None
    """The source language (-s)."""
    target: str | None = None
    """The target language (-t)."""
    dictionaries: Mapping[str, Path] = field(default_factory=dict)
    """File of fairseq's dictionary by language; the empty key is for all languages (--dict)."""
    spm_model: Path | None = None
    """SentencePiece model that split the text of the model (--spm-model)."""
    bpe_codes: Path | None = None
    """BPE merges of fastBPE or subword-nmt (--bpe-codes)."""
    vocab_file: Path | None = None
    """BERT's vocab.txt, for MASS for summarization (--vocab-file)."""
    encoder_json: Path | None = None
    """GPT-2's encoder.json, which has its pieces and their ids (--encoder-json)."""
    vocab_bpe: Path | None = None
    """GPT-2's vocab.bpe, which has its merges (--vocab-bpe)."""
    arch: str | None = None
    """fairseq's name of the architecture, which overrides the one in the file (--arch)."""
    heads: int | None = None
    """Number of attention heads of each layer, which overrides the one in the file (--heads)."""
    moses: bool = False
    """Whether the model's text is tokenized by Moses' rules (--moses)."""
    lowercase: bool = False
    """Whether the model's text is lower-cased (--lowercase)."""
    own_preprocessing: TextPreprocessing | None = None
    """How the model's own tokenizer preprocesses text, if its files say so; replaces --moses and
    --lowercase."""
    bos: bool = False
    """Whether BART's sources and outputs begin with `<s>` although it was fine-tuned without it (--bos)."""

    @property
    def options_path(self) -> Path:
        """The file that errors about an option of the model name."""
        return self.config or self.path

    @property
    def preprocessing(self) -> TextPreprocessing:
        """How text is preprocessed before it is split into pieces."""
        if self.own_preprocessing is not None:
            return self.own_preprocessing
        return TextPreprocessing(moses=self.moses, lowercase=self.lowercase)

    def text_note(self) -> str:
        """Return the end of a note that says whether text is tokenized by Moses' rules, and lower-cased.

        Only the options determine it, not the file; the note allows the user to notice a wrong choice.
        """
        if self.own_preprocessing is not None:
            return "text is preprocessed as its own tokenizer does"
        moses = "not tokenized (see --moses)"
        if self.moses:
            moses = "tokenized by Moses' rules (--moses)"
        case = "cased (see --lowercase)"
        if self.lowercase:
            case = "lower-cased (--lowercase)"
        return f"text is {moses} and {case}"

    def refuse(self, title: str, *options: str) -> None:
        """Raise MasscliError if a field is set that does not apply to a kind of model.

        `options` are the names of such fields, and `title` names the kind of model in the error.
        """
        flags = {"dictionaries": "--dict", "source": "-s", "target": "-t"}
        values = asdict(self)
        for option in options:
            if values[option]:
                name = flags.get(option, f"--{option.replace('_', '-')}")
                raise MasscliError(
                    f"{name}: {self.path} is of {title}, to which it does not apply",
                    "leave it out",
                )


@dataclass(frozen=True)
class ForeignModel:
    """Another program's model, converted to masscli's form, with everything needed to write its run."""

    title: str
    """The kind of model, such as `fairseq roberta`, for messages."""
    config: ModelConfig
    tokenizer: Tokenizer
    languages: tuple[str, ...]
    """Languages that have their own embeddings or projections in the model, in the order of their rows."""
    tensors: Mapping[str, Tensor]
    """All weights, under masscli's names."""
    streams: Mapping[str, Any]
    """The objectives that it was trained with, as `stream` tables of a recipe, by name of the stream."""
    generation: Mapping[str, Any]
    """The other program's default search, as fields of `GenerationConfig`; empty for masscli's defaults."""
    notes: Sequence[str]
    """Lines for the user, for example on the vocabulary and on tensors that were left out."""
    heads: Mapping[str, Tensor] = field(default_factory=dict)
    """The tensors of the heads of `streams`, by the name of the stream and of the tensor."""


class TensorTable:
    """The tensors of a file, by their names without the prefixes of PyTorch's wrappers.

    Taking a tensor removes it, and returns it in float32.
    """

    def __init__(self, path: Path, tensors: Mapping[str, Any]) -> None:
        """Make a table of the tensors of the file `path`, read or not yet read; errors name the file.

        Raises MasscliError if `tensors` contains anything but tensors, or if two have the same name.
        """
        self._path = path
        for name, tensor in tensors.items():
            is_tensor = isinstance(tensor, (StoredTensor, Tensor))
            if not isinstance(name, str) or not is_tensor:
                raise MasscliError(
                    f"{path}: {name!r} is not a tensor",
                    "expected the weights of a model",
                )
        self._tensors: dict[str, StoredTensor | Tensor] = without_wrapper(
            tensors, str(path)
        )

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    def names(self) -> list[str]:
        """Return the names of the tensors that have been neither taken nor dropped."""
        return list(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor without taking it. Raises MasscliError if it is missing."""
        return tuple(self._require(name).shape)

    def take(self, name: str) -> Tensor:
        """Remove a tensor from the table and return it in float32.

        Raises MasscliError if it is missing, if the file is damaged, or if it holds anything but finite
        floating-point numbers.
        """
        tensor = self.read(name)
        del self._tensors[name]
        return tensor

    def read(self, name: str) -> Tensor:
        """Return a tensor in float32 without removing it. Raises MasscliError as `take` does."""
        stored = self._require(name)
        if isinstance(stored, StoredTensor):
            stored = stored.read()
        return to_float32(name, stored, str(self._path))

    def take_stacked(self, names: Sequence[str]) -> Tensor:
        """Take tensors, and return them concatenated along dimension 0.

        Raises MasscliError if one is missing.
        """
        return torch.cat([self.take(name) for name in names])

    def take_linear(self, ours: str, *theirs: str) -> dict[str, Tensor]:
        """Take weight and bias of the modules `theirs`; return them as those of masscli's module `ours`.

        With several modules, such as query, key and value, they are concatenated along dimension 0. Raises
        MasscliError if a tensor is missing.
        """
        taken = {}
        for part in ("weight", "bias"):
            names = [f"{name}.{part}" for name in theirs]
            taken[f"{ours}.{part}"] = self.take_stacked(names)
        return taken

    def drop(self, name: str) -> None:
        """Remove a tensor that is not needed from the table; do nothing if it is not there."""
        self._tensors.pop(name, None)

    def count_layers(self, prefix: str) -> int:
        """Return the number of layers whose tensors are in the table, 0 if there are none.

        It is one more than the largest number that follows `prefix` (such as `encoder.layers.`) in a
        name, so a layer missing in between is reported when its tensors are taken.
        """
        # Without any layer, the largest number is taken to be -1, so that the count is 0.
        numbers = [-1]
        for name in self._tensors:
            if name.startswith(prefix):
                number = parse_digits(name.removeprefix(prefix).partition(".")[0])
                if number is not None:
                    numbers.append(number)
        return max(numbers) + 1

    def require_empty(self, title: str) -> None:
        """Raise MasscliError, naming the first one, if there are tensors that were neither taken nor dropped.

        They belong to a part that masscli's model lacks. `title` names the kind of model in the error.
        """
        if self._tensors:
            first, *others = sorted(self._tensors)
            more = f" (and {len(others)} more)" if others else ""
            raise MasscliError(
                f"{self._path}: {first}{more} has no place in {title}",
                "a model with other parts than the published ones cannot be imported",
            )

    def _require(self, name: str) -> StoredTensor | Tensor:
        if name not in self._tensors:
            raise MasscliError(
                f"{self._path}: has no tensor {name}",
                "is it the checkpoint of another model?",
            )
        return self._tensors[name]


def take_with_new_rows(tensor: Tensor, size: int) -> Tensor:
    """Return a copy of a tensor (V, ...) with rows of zeros appended, up to `size` rows.

    The new rows are those of symbols that masscli adds to the vocabulary.
    """
    new = tensor.new_zeros(size - len(tensor), *tensor.shape[1:])
    return torch.cat([tensor, new])


def check_tensors(model: ForeignModel, path: Path) -> None:
    """Raise MasscliError if a tensor that the model's configuration needs is missing or has another shape.

    `path` is the file that errors name.
    """
    vocab = model.tokenizer.vocab
    # It was checked before that no tensor of the file is left over; here it is checked that none of the
    # model is missing. On this device a model has names and shapes, but takes no memory.
    with torch.device("meta"):
        expected = Transformer(
            model.config, vocab.size, model.languages, vocab.id_ranges
        ).state_dict()
    for name, like in expected.items():
        if name not in model.tensors:
            raise MasscliError(
                f"{path}: lacks {name}", "is it the checkpoint of another model?"
            )
        if model.tensors[name].shape != like.shape:
            raise MasscliError(
                f"{path}: {name} would be {tuple(model.tensors[name].shape)}, but by its options it is "
                f"{tuple(like.shape)}",
                "weights and options belong to different models",
            )
