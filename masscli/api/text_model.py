"""A trained model, or an ensemble of several, that turns text into text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from masscli.api.converted_model import ConvertedModel
from masscli.api.ensemble import Ensemble
from masscli.api.task_model import objective_of
from masscli.api.writing_task import WritingTask, select_writing_task, writing_stack
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.batches.framing import Framing
from masscli.data.batches.sequences import Truncation
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder, TextDecoder
from masscli.generation.single_stack_decoding import extract_stack
from masscli.generation.translator import Translator
from masscli.models.transformer import Transformer
from masscli.objectives.write.conditional_generation import ConditionalGeneration
from masscli.objectives.write.length_limits import source_truncation
from masscli.objectives.write.options import ConditionalGenerationOptions


@dataclass(frozen=True)
class TextModel:
    """The models of an ensemble (usually one), and the task and languages that they generate for."""

    ensemble: Ensemble
    task: WritingTask
    warnings: tuple[str, ...] = ()
    """What a user should know before relying on the output."""

    @classmethod
    def open(
        cls,
        ensemble: Ensemble,
        *,
        stream: str | None = None,
        source: str | None = None,
        target: str | None = None,
    ) -> TextModel:
        """Choose what models generate.

        `stream`, `source` and `target` are needed if the model was trained for several tasks or directions.
        Raises MasscliError if a model cannot generate text, or if the choice is ambiguous.
        """
        warnings: list[str] = []
        for path, checkpoint in zip(ensemble.paths, ensemble.checkpoints, strict=True):
            warnings += _check_generates(path, checkpoint)
        task = select_writing_task(ensemble.first, stream, source, target)
        ensemble.framing.vocab.check_direction(task.source, task.target)
        return cls(ensemble, task, (*warnings, *task.warnings))

    def on_device(self, device: torch.device) -> TextModel:
        """Return the same model on another device; its weights are read anew."""
        return replace(self, ensemble=replace(self.ensemble, device=device))

    def translator(
        self,
        search: GenerationConfig,
        *,
        batch_tokens: int = 8000,
        batch_size: int | None = None,
        buffer_size: int = 4096,
        seed: int = 1,
        allowed: Tensor | None = None,
        make_decoder: Callable[..., TextDecoder] = Decoder,
        piece_scores: bool = True,
    ) -> Translator:
        """Return a translator for the chosen task.

        `allowed` is a (V,) mask of the pieces that may be generated; None allows all. `make_decoder` makes
        the decoder, which may share its work (see masscli/generation/shared_decoding.py). Without
        `piece_scores` outputs may have no scores of their single pieces, which saves time with CTranslate2.
        """
        models: list[Transformer] = []
        if self.ensemble.ctranslate2 is not None:
            make_decoder = self._make_ctranslate2_decoder(self.ensemble.ctranslate2, piece_scores)
        else:
            # Members of an ensemble may generate with different stacks.
            for checkpoint, model in zip(self.ensemble.checkpoints, self.ensemble.models, strict=True):
                stack = writing_stack(checkpoint, self.task)
                models.append(model if stack is None else extract_stack(model, stack))
        # A task over a table reads as much of a source as it did in training.
        truncation = Truncation()
        if self.task.stream is not None and isinstance(
            self.task.stream.objective, ConditionalGenerationOptions
        ):
            truncation = source_truncation(self.task.stream.objective)
        return Translator(
            models,
            self.ensemble.tokenizer,
            self.ensemble.framing,
            search,
            batch_tokens=batch_tokens,
            batch_size=batch_size,
            buffer_size=buffer_size,
            seed=seed,
            truncation=truncation,
            allowed=allowed,
            make_decoder=make_decoder,
        )

    def search_config(self, given: Mapping[str, Any]) -> GenerationConfig:
        """Return the options of the search: those given, else those that were imported with the model.

        Raises ConfigError for wrong values.
        """
        return from_dict(GenerationConfig, {**self.ensemble.first.state.generation, **given})

    def _make_ctranslate2_decoder(
        self, converted: ConvertedModel, piece_scores: bool
    ) -> Callable[..., TextDecoder]:
        """Return a function that makes a decoder of CTranslate2, with the arguments of `Decoder`."""

        def make_decoder(
            models: Sequence[Transformer],
            framing: Framing,
            config: GenerationConfig,
            *,
            batch_tokens: int,
            batch_size: int | None,
            seed: int,
            allowed: Tensor | None,
        ) -> TextDecoder:
            # Nothing is drawn, so that the seed has no effect.
            return converted.make_decoder(
                self.task,
                framing,
                config,
                batch_tokens=batch_tokens,
                batch_size=batch_size,
                allowed=allowed,
                piece_scores=piece_scores,
            )

        return make_decoder

    def data_folder(self, path: Path | None = None) -> DataFolder:
        """Open the data folder of the task, which is the one of the run unless `path` names another."""
        # A stream may have a folder of its own beside that of the run.
        own_folder = self.task.stream.data_dir if self.task.stream is not None else None
        return DataFolder.open(path or own_folder or self.ensemble.first.recipe.data)

    def split(self, name: str, data: Path | None = None) -> tuple[list[str], list[str]]:
        """Return the sources and references of a split: from the table that the task reads, or from pairs."""
        folder = self.data_folder(data)
        task = self.task
        if task.stream is None or not isinstance(task.stream.objective, ConditionalGenerationOptions):
            pair = f"{task.source}-{task.target}"
            sources = folder.original_lines(name, pair, task.source)
            references = folder.original_lines(name, pair, task.target)
            return sources, references
        objective = objective_of(task.stream, self.ensemble.first)
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
        if folder.vocab.fingerprint != self.ensemble.framing.vocab.fingerprint:
            raise MasscliError(
                f"--data {folder.folder}: has another vocabulary than {self.ensemble.first.path}",
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
