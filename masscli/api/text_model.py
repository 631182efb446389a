"""A trained model, or an ensemble of several, that turns text into text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masscli.api.task_model import objective_of
from masscli.api.writing_task import WritingTask, select_writing_task, writing_stack
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.sequences import Truncation
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.single_stack_decoding import extract_stack
from masscli.generation.translator import Translator
from masscli.models.int8 import check_int8, to_int8
from masscli.objectives.write.conditional_generation import ConditionalGeneration
from masscli.objectives.write.length_limits import source_truncation
from masscli.objectives.write.options import ConditionalGenerationOptions
from masscli.training.precision import choose_device, choose_dtype


@dataclass(frozen=True)
class TextModel:
    """The checkpoints of an ensemble (usually one), and the task and languages that they generate for."""

    checkpoints: tuple[Checkpoint, ...]
    task: WritingTask
    device: torch.device
    dtype: torch.dtype
    int8: bool = False
    """Whether linear layers have 8-bit weights."""
    warnings: tuple[str, ...] = ()
    """What a user should know before relying on the output."""

    @classmethod
    def open(
        cls,
        paths: Sequence[Path],
        *,
        stream: str | None = None,
        source: str | None = None,
        target: str | None = None,
        device: str = "auto",
        precision: str = "auto",
    ) -> TextModel:
        """Open runs or checkpoints that decode together as an ensemble.

        `stream`, `source` and `target` choose what to generate if the model was trained for several tasks or
        directions. Weights are read only when they are needed.

        Raises MasscliError if a model cannot generate text, if the members of the ensemble do not fit each
        other, or if the choice of a task or direction is ambiguous.
        """
        # Weights are read later, so that mistakes in the request are reported at once.
        checkpoints, warnings = _open_ensemble(paths)
        task = select_writing_task(checkpoints[0], stream, source, target)
        chosen_device = choose_device(device, distributed.local_rank)
        int8 = precision == "int8"
        if int8:
            check_int8(chosen_device)
        # Between 8-bit products everything is computed in fp32.
        dtype = choose_dtype("fp32" if int8 else precision, chosen_device)
        return cls(tuple(checkpoints), task, chosen_device, dtype, int8, (*warnings, *task.warnings))

    def translator(
        self,
        search: GenerationConfig,
        *,
        batch_tokens: int = 8000,
        batch_size: int | None = None,
        buffer_size: int = 4096,
        seed: int = 1,
        allowed: Tensor | None = None,
        make_decoder: Callable[..., Decoder] = Decoder,
    ) -> Translator:
        """Read the weights and return a translator for the chosen task.

        `allowed` is a (V,) mask of the pieces that may be generated; None allows all. `make_decoder` makes
        the decoder, which may share its work (see masscli/generation/shared_decoding.py).
        """
        # Members of an ensemble may generate with different stacks.
        models = []
        for checkpoint in self.checkpoints:
            model = checkpoint.model(self.device, self.dtype)
            stack = writing_stack(checkpoint, self.task)
            if stack is not None:
                model = extract_stack(model, stack)
            if self.int8:
                model = to_int8(model)
            models.append(model)
        # A task over a table reads as much of a source as it did in training.
        truncation = Truncation()
        if self.task.stream is not None and isinstance(
            self.task.stream.objective, ConditionalGenerationOptions
        ):
            truncation = source_truncation(self.task.stream.objective)
        return Translator(
            models,
            self.checkpoints[0].tokenizer(),
            self.checkpoints[0].framing(),
            search,
            batch_tokens=batch_tokens,
            batch_size=batch_size,
            buffer_size=buffer_size,
            seed=seed,
            truncation=truncation,
            allowed=allowed,
            make_decoder=make_decoder,
        )

    def translate(self, lines: Iterable[str], **search: Any) -> list[str]:
        """Return the best output for each line, in order.

        `search` are fields of `GenerationConfig`, such as beam=5 or lenpen=0.6. Raises ConfigError for wrong
        values.
        """
        translator = self.translator(replace(GenerationConfig(), **search))
        outputs = translator.translate(lines, self.task.source, self.task.target)
        return [hypotheses[0].text for hypotheses in outputs]

    def data_folder(self, path: Path | None = None) -> DataFolder:
        """Open the data folder of the task, which is the one of the run unless `path` names another."""
        # A stream may have a folder of its own beside that of the run.
        own_folder = self.task.stream.data_dir if self.task.stream is not None else None
        return DataFolder.open(path or own_folder or self.checkpoints[0].recipe.data)

    def split(self, name: str, data: Path | None = None) -> tuple[list[str], list[str]]:
        """Return the sources and references of a split: from the table that the task reads, or from pairs."""
        folder = self.data_folder(data)
        task = self.task
        if task.stream is None or not isinstance(task.stream.objective, ConditionalGenerationOptions):
            pair = f"{task.source}-{task.target}"
            sources = folder.original_lines(name, pair, task.source)
            references = folder.original_lines(name, pair, task.target)
            return sources, references
        objective = objective_of(task.stream, self.checkpoints[0])
        table = folder.table(task.stream.dataset, name)
        assert isinstance(objective, ConditionalGeneration)
        # The dataset is made for its checks only: it complains of missing columns.
        objective.table_dataset(table, labelled=True)
        return objective.sources_and_references(table)

    def frequent_pieces(self, count: int, data: Path | None = None) -> Tensor:
        """Return a (V,) mask of the pieces that are frequent in the training text of the target language.

        A piece is frequent if it occurs at least `count` times."""
        folder = self.data_folder(data)
        # Counts by id mean something only in the vocabulary of the model.
        if folder.vocab.fingerprint != self.checkpoints[0].framing().vocab.fingerprint:
            raise MasscliError(
                f"--data {folder.folder}: has another vocabulary than {self.checkpoints[0].path}",
                "give the folder it was trained on",
            )
        frequent = folder.piece_counts(self.task.target) >= count
        if not frequent.any():
            raise MasscliError(
                f"--min-piece-count {count}: no piece of {self.task.target} occurs so often "
                f"in {folder.folder}",
                "lower it",
            )
        return torch.from_numpy(frequent)


def _open_ensemble(paths: Sequence[Path]) -> tuple[list[Checkpoint], list[str]]:
    """Open all members of an ensemble, and return them with warnings.

    A path that does not exist is taken for a list of paths with colons between them, as in fairseq. Raises
    MasscliError unless all members have the same vocabulary, and mark languages in the same way.
    """
    members: list[Path] = []
    for path in paths:
        members += [path] if path.exists() else [Path(part) for part in str(path).split(":")]
    checkpoints = [Checkpoint.open(member) for member in members]
    warnings: list[str] = []
    first = checkpoints[0].framing()
    for member, checkpoint in zip(members, checkpoints, strict=True):
        warnings += _check_generates(member, checkpoint)
        # The same ids must mean the same, and so must the marks of languages.
        framing = checkpoint.framing()
        if framing.vocab.fingerprint != first.vocab.fingerprint:
            raise MasscliError(
                f"{member}: has another vocabulary than {members[0]}",
                "the models of an ensemble must share one",
            )
        if framing != first:
            raise MasscliError(
                f"{member}: marks languages differently from {members[0]}",
                "the models of an ensemble must agree",
            )
    return checkpoints, warnings


def _check_generates(path: Path, checkpoint: Checkpoint) -> list[str]:
    """Raise MasscliError if a model cannot write text; return a warning if it was not trained to."""
    objectives = [stream.objective for stream in checkpoint.recipe.stream.values()]
    # An encoder can write if it has learned to with pseudo-masks.
    encoder_generates = any(objective.encoder_generates for objective in objectives)
    if not checkpoint.recipe.model.decoder_layers and not encoder_generates:
        raise MasscliError(
            f"{path}: has no decoder, so it cannot turn text into text",
            "fine-tune it to write: --task s2s, summarize or respond; labels are for masscli predict",
        )
    # A warning only: what an untrained decoder makes may be looked at all the same.
    if objectives and not any(objective.generates_text for objective in objectives):
        names = ", ".join(dict.fromkeys(objective.name for objective in objectives))
        return [
            f"{path}: was trained for {names}, not to write text; its decoder is still in its initial state"
        ]
    return []
