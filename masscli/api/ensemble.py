"""An ensemble: one or several opened checkpoints that are used together, with their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from masscli.api.converted_model import ConvertedModel
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.token_names import token_names
from masscli.core import distributed
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.shortlist import Shortlist
from masscli.generation.shortlist_file import read_shortlist
from masscli.models.int8 import check_int8, to_int8
from masscli.models.packed_linear import pack_weights
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer
from masscli.training.precision import DTYPES, choose_device, choose_dtype

PRECISIONS = ("auto", *DTYPES, "int8")
BACKENDS = ("torch", "ctranslate2")


@dataclass(frozen=True)
class Ensemble:
    """Checkpoints (usually one) with the same vocabulary, and the device and precision that they run with."""

    paths: tuple[Path, ...]
    """The runs and checkpoints as the user named them, for messages."""
    checkpoints: tuple[Checkpoint, ...]
    device: torch.device
    dtype: torch.dtype
    int8: bool = False
    """Whether linear layers have 8-bit weights."""
    ctranslate2: ConvertedModel | None = None
    """The model that decodes in place of `models` with --backend ctranslate2; None with --backend torch."""
    shortlist: Shortlist | None = None
    """The target pieces that `models` may generate for each source piece; None allows all. `ctranslate2`
    has it as a file."""

    @classmethod
    def open(
        cls,
        paths: Sequence[Path],
        device: str = "auto",
        precision: str = "auto",
        backend: str = "torch",
        shortlist: Path | None = None,
    ) -> Ensemble:
        """Open runs or checkpoints as an ensemble. Weights are loaded when they are first needed.

        `shortlist` is a file as `masscli shortlist` writes it.

        A path that does not exist is split at its colons into several paths, as fairseq does. With `backend`
        ctranslate2, CTranslate2 decodes, and there may be only one model. Raises MasscliError unless all
        models have the same vocabulary and mark languages in the same way, and if a checkpoint, the
        shortlist, the device or the precision cannot be used.
        """
        # The command line knows the values of its options, but a program may give any.
        _check_choice("--precision", precision, PRECISIONS)
        _check_choice("--backend", backend, BACKENDS)
        members: list[Path] = []
        for path in paths:
            # The name of a folder may have a colon itself.
            if path.exists():
                members.append(path)
            else:
                members += [Path(part) for part in str(path).split(":")]
        checkpoints = [Checkpoint.open(member) for member in members]
        _check_agreement(members, checkpoints)
        read = None
        if shortlist is not None:
            # A file for another vocabulary is refused before anything is decoded.
            tokenizer = checkpoints[0].tokenizer()
            read = read_shortlist(
                shortlist, token_names(tokenizer), tokenizer.vocab.id_ranges
            )
        chosen_device = choose_device(device, distributed.local_rank)
        if backend == "ctranslate2":
            converted = ConvertedModel.of(
                checkpoints, chosen_device, precision, shortlist
            )
            return cls(
                tuple(members),
                tuple(checkpoints),
                chosen_device,
                torch.float32,
                ctranslate2=converted,
                shortlist=read,
            )
        int8 = precision == "int8"
        if int8:
            check_int8(chosen_device)
        # Between 8-bit products everything is computed in fp32.
        dtype = choose_dtype("fp32" if int8 else precision, chosen_device)
        return cls(
            tuple(members),
            tuple(checkpoints),
            chosen_device,
            dtype,
            int8,
            shortlist=read,
        )

    @property
    def first(self) -> Checkpoint:
        """The first checkpoint; the tasks of the ensemble are those in its recipe."""
        return self.checkpoints[0]

    @cached_property
    def models(self) -> tuple[Transformer, ...]:
        """The models of all checkpoints, in evaluation mode on the device; loaded at the first access."""
        models = [
            checkpoint.model(self.device, self.dtype) for checkpoint in self.checkpoints
        ]
        prepare = to_int8 if self.int8 else pack_weights
        return tuple(prepare(model) for model in models)

    def copy_weights(self) -> None:
        """Replace the weights of `models`, which are memory-mapped from files, by copies in memory.

        Without this, overwriting a checkpoint file in place would crash the process.
        """
        for model in self.models:
            for tensor in (*model.parameters(), *model.buffers()):
                tensor.data = tensor.data.clone()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the first checkpoint, which fits all models since they share a vocabulary."""
        return self.first.tokenizer()

    @cached_property
    def framing(self) -> Framing:
        """The framing of all models: which special symbols and language marks surround a sentence."""
        return self.first.framing()

    def search_config(self, given: Mapping[str, Any]) -> GenerationConfig:
        """Return the options of a search: those given, else those imported with the model, else the defaults.

        Raises ConfigError for an unknown option or an invalid value.
        """
        return from_dict(GenerationConfig, {**self.first.state.generation, **given})


def _check_choice(flag: str, value: str, choices: Sequence[str]) -> None:
    """Raise MasscliError unless `value`, given for the option `flag`, is one of `choices`."""
    if value not in choices:
        raise MasscliError(
            f"{flag} {value}: not a valid choice",
            f"give one of {', '.join(choices)}",
        )


def _check_agreement(paths: Sequence[Path], checkpoints: Sequence[Checkpoint]) -> None:
    """Raise MasscliError unless all checkpoints have the same vocabulary and mark languages equally.

    `paths` are the paths of the checkpoints, for messages.
    """
    first = checkpoints[0].framing()
    for path, checkpoint in zip(paths[1:], checkpoints[1:], strict=True):
        framing = checkpoint.framing()
        if framing.vocab.fingerprint != first.vocab.fingerprint:
            raise MasscliError(
                f"{path}: has a different vocabulary from {paths[0]}",
                "the models of an ensemble must share one",
            )
        if framing != first:
            raise MasscliError(
                f"{path}: marks languages differently from {paths[0]}",
                "the models of an ensemble must agree",
            )
