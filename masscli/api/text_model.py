"""A trained model, or an ensemble of several, that turns text into text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from masscli.api.ensemble import Ensemble
from masscli.api.writing_task import WritingTask, select_writing_task, writing_stack
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.core.files import given_again
from masscli.data.batches.sequences import Truncation
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.generation.single_stack_decoding import extract_stack
from masscli.generation.text_decoder import AlignmentHead, TextDecoder
from masscli.generation.translator import Translator
from masscli.models.transformer import Transformer
from masscli.objectives.translate.guided_alignment import guided_layer
from masscli.objectives.translate.options import TranslateOptions
from masscli.objectives.write.length_limits import source_truncation
from masscli.objectives.write.options import ConditionalGenerationOptions

if TYPE_CHECKING:
    from masscli.data.storage.data_folder import DataFolder


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
        """Return the models of an ensemble with the generation task that they are to perform.

        `stream` (name of a training stream), `source` and `target` (languages) choose it; they are
        needed if the first model was trained for several tasks or directions. A model that was only
        pre-trained gets a direction anyway, with a warning. Raises MasscliError if a model cannot
        generate text, or if no task or several tasks fit.
        """
        warnings: list[str] = []
        for path, checkpoint in zip(ensemble.paths, ensemble.checkpoints, strict=True):
            warnings += _check_generates(path, checkpoint)
        task = select_writing_task(ensemble.first, stream, source, target)
        ensemble.framing.vocab.check_direction(task.source, task.target)
        warnings += task.warnings
        warnings += _untrained_members(ensemble, task)
        for path in given_again(checkpoint.path for checkpoint in ensemble.checkpoints):
            warnings.append(f"{path}: is in the ensemble twice, and so counts twice")
        return cls(ensemble, task, tuple(warnings))

    def on_device(self, device: torch.device) -> TextModel:
        """Return the same models and task on another device, for which the weights are loaded again."""
        return replace(self, ensemble=replace(self.ensemble, device=device))

    def decoder(
        self,
        search: GenerationConfig,
        *,
        batch_tokens: int = 8000,
        batch_size: int | None = None,
        seed: int = 1,
        allowed: Tensor | None = None,
        piece_scores: bool = True,
    ) -> TextDecoder:
        """Return a decoder for the chosen task.

        A batch has at most `batch_tokens` source tokens times beams, and `batch_size` sentences. `seed`
        decides what is sampled. `allowed` is a (V,) mask of the pieces that may be generated; None allows
        all. If `piece_scores` is False, CTranslate2 may leave out the scores of single pieces, which saves
        time. Raises MasscliError for a negative seed.
        """
        if seed < 0:
            raise MasscliError(f"seed: must not be negative, got {seed}")
        ensemble = self.ensemble
        if ensemble.shortlist is not None:
            ensemble.shortlist.require_direction(self.task.source, self.task.target)
        if ensemble.ctranslate2 is not None:
            # CTranslate2 does not sample here, so the seed has no effect; the converted model already has
            # the shortlist.
            return ensemble.ctranslate2.make_decoder(
                self.task,
                ensemble.framing,
                search,
                batch_tokens=batch_tokens,
                batch_size=batch_size,
                allowed=allowed,
                piece_scores=piece_scores,
            )
        # Members of an ensemble may generate with different stacks.
        models: list[Transformer] = []
        for checkpoint, model in zip(
            ensemble.checkpoints, ensemble.models, strict=True
        ):
            stack = writing_stack(checkpoint, self.task)
            models.append(model if stack is None else extract_stack(model, stack))
        return Decoder(
            models,
            ensemble.framing,
            search,
            batch_tokens=batch_tokens,
            batch_size=batch_size,
            seed=seed,
            allowed=allowed,
            shortlist=ensemble.shortlist,
        )

    def translator(
        self,
        decoder: TextDecoder,
        *,
        buffer_size: int = 4096,
        alignments: bool = False,
    ) -> Translator:
        """Return a translator for the chosen task, which also aligns its outputs with `alignments`.

        `decoder` is one of `self.decoder`. The translator reads `buffer_size` lines ahead, to put lines of
        similar length into one batch.
        """
        # A task over a table reads as much of a source as it did in training.
        truncation = Truncation()
        if self.task.stream is not None and isinstance(
            self.task.stream.objective, ConditionalGenerationOptions
        ):
            truncation = source_truncation(self.task.stream.objective)
        return Translator(
            decoder,
            self.ensemble.tokenizer,
            buffer_size=buffer_size,
            truncation=truncation,
            alignment_head=self.alignment_head() if alignments else None,
        )

    def alignment_head(self) -> AlignmentHead:
        """Return the heads of cross-attention that align outputs to sources.

        This is the head that --guided-alignment has taught for the direction of the task, or else all heads
        of the last decoder layer but one.
        """
        recipe = self.ensemble.first.recipe
        layers = recipe.model.decoder_layers
        for stream in recipe.stream.values():
            options = stream.objective
            if stream.dataset != f"{self.task.source}-{self.task.target}":
                continue
            if (
                isinstance(options, TranslateOptions)
                and options.guided_alignment is not None
            ):
                return AlignmentHead(guided_layer(options, layers), 1)
        return AlignmentHead(guided_layer(TranslateOptions(), layers), None)

    def search_config(self, given: Mapping[str, Any]) -> GenerationConfig:
        """Return the options of a search: those given, else those imported with the model, else the defaults.

        Raises ConfigError for an unknown option or an invalid value.
        """
        return self.ensemble.search_config(given)

    def search_warnings(self, search: GenerationConfig) -> list[str]:
        """Return a list with a warning if CTranslate2 finishes lines in another way than `search` says."""
        # Greedy search ends with its first hypothesis in any case.
        is_other = not search.early_stop and search.beam > 1
        if self.ensemble.ctranslate2 is None or not is_other:
            return []
        return [
            "CTranslate2 finishes a line as soon as --beam hypotheses have ended, as with --early-stop"
        ]

    def data_folder(self, path: Path | None = None) -> DataFolder:
        """Open and verify the data folder `path`; if it is None, the folder that the task was trained on.

        Raises MasscliError if there is none, or if it is damaged.
        """
        # Most commands that generate read no data folder, and start sooner without what reads them.
        from masscli.data.storage.verification import open_verified

        # A stream may have its own data folder, which differs from that of the run.
        own_folder = self.task.stream.data_dir if self.task.stream is not None else None
        return open_verified(path or self.ensemble.first.find_data(own_folder))

    def split(self, name: str, data: Path | None = None) -> tuple[list[str], list[str]]:
        """Return (sources, references) of a split such as valid, as original lines.

        They come from the table that the task reads, or else from the parallel text of its two languages.
        `data` is a data folder that replaces the one trained on. Raises MasscliError if it lacks this split.
        """
        # Most commands that generate read no table, and start sooner without the tasks over tables.
        from masscli.api.task_model import objective_of
        from masscli.objectives.write.conditional_generation import (
            ConditionalGeneration,
        )

        folder = self.data_folder(data)
        task = self.task
        if task.stream is None or not isinstance(
            task.stream.objective, ConditionalGenerationOptions
        ):
            pair = f"{task.source}-{task.target}"
            sources = folder.original_lines(name, pair, task.source)
            references = folder.original_lines(name, pair, task.target)
            return sources, references
        objective = objective_of(task.stream, self.ensemble.first)
        table = folder.table(task.stream.dataset, name)
        assert isinstance(objective, ConditionalGeneration)
        # The dataset is built only for its checks: it raises an error for missing columns.
        objective.table_dataset(table, labeled=True)
        return objective.sources_and_references(table)

    def frequent_pieces(self, count: int, data: Path | None = None) -> Tensor:
        """Return a (V,) mask of the pieces that occur at least `count` times in the target language.

        They are counted in the training text of the data folder `data`, or of the folder trained on. Raises
        MasscliError if that folder has a different vocabulary from the model, or if no piece is so frequent.
        """
        folder = self.data_folder(data)
        # Counts by id mean something only in the vocabulary of the model.
        if folder.vocab.fingerprint != self.ensemble.framing.vocab.fingerprint:
            raise MasscliError(
                f"--data {folder.folder}: has a different vocabulary from {self.ensemble.first.path}",
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


def _untrained_members(ensemble: Ensemble, task: WritingTask) -> list[str]:
    """Return a warning for each model except the first that was not trained for the translation direction.

    The task of the ensemble is chosen by the first model, which has warnings of its own.
    """
    if task.stream is not None or task.source == task.target:
        return []
    warnings = []
    for path, checkpoint in zip(
        ensemble.paths[1:], ensemble.checkpoints[1:], strict=True
    ):
        if (task.source, task.target) not in checkpoint.directions:
            warnings.append(
                f"{path}: was not trained to translate {task.source}-{task.target}"
            )
    return warnings


def _check_generates(path: Path, checkpoint: Checkpoint) -> list[str]:
    """Raise MasscliError if a model cannot generate text; else return warnings about it.

    The list holds a warning if none of the training objectives generates text, and is empty otherwise.
    """
    objectives = [stream.objective for stream in checkpoint.recipe.stream.values()]
    # An encoder can write if it has learned to with pseudo-masks.
    encoder_generates = any(objective.encoder_generates for objective in objectives)
    if not checkpoint.recipe.model.decoder_layers and not encoder_generates:
        raise MasscliError(
            f"{path}: has no decoder, so it cannot turn text into text",
            "fine-tune it to write: --task s2s, summarize or respond; labels are for masscli predict",
        )
    # A warning only: one may still want to look at the output of an untrained decoder.
    if objectives and not any(objective.generates_text for objective in objectives):
        names = ", ".join(dict.fromkeys(objective.name for objective in objectives))
        return [
            f"{path}: was trained for {names}, not to write text; its decoder is still in its initial state"
        ]
    return []
