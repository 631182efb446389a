"""Measure a trained run on any split: its losses and everything else that validation measures."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.generation.running_text import negative_log_likelihood
from masscli.metrics.perplexity import perplexity
from masscli.objectives.causal_lm.options import GptOptions
from masscli.objectives.objective import Objective
from masscli.objectives.write.options import ConditionalGenerationOptions
from masscli.training.precision import choose_dtype
from masscli.training.recipe import Recipe
from masscli.training.setup.build_streams import build_objectives, restore_objectives
from masscli.training.setup.build_validator import build_validator
from masscli.training.setup.run_context import RunContext


@dataclass(slots=True)
class Measurement:
    """The result of measuring a run on a split: the checkpoint measured, and its metrics by name."""

    checkpoint: Path
    metrics: dict[str, float] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    """How a metric was computed, by its name, for those metrics that have a signature."""
    warnings: list[str] = field(default_factory=list)


class TrainedRun:
    """A checkpoint with its model and objectives, ready to be measured on a data folder."""

    def __init__(
        self, path: Path, data_dir: Path | None, device: torch.device, precision: str
    ) -> None:
        """Open a run or checkpoint, and load its model to `device` with matrix products in `precision`.

        `data_dir` is the data folder to measure on; None stands for the one of the run. Raises MasscliError
        if the data have another vocabulary, or if the checkpoint has no training streams.
        """
        self.checkpoint = Checkpoint.open(path)
        if not self.checkpoint.recipe.stream:
            raise MasscliError(
                f"{path}: was not trained here, and has no objective to measure",
                "fine-tune it, or score what it generates",
            )
        self.recipe = replace(
            self.checkpoint.recipe, data=data_dir or self.checkpoint.find_data()
        )
        self.context = RunContext.open(self.recipe.data)
        self.framing = self.checkpoint.framing()
        if self.context.data.vocab.fingerprint != self.framing.vocab.fingerprint:
            raise MasscliError(
                f"{self.recipe.data}: was made with a different vocabulary from {path}",
                "name the right folder with --data",
            )
        self.model = self.checkpoint.model(device)
        # As in training: weights in fp32, and products in the requested precision.
        self.model.compute_dtype = choose_dtype(precision, device)
        self.objectives = self._objectives(device)

    def measure(self, split: str) -> Measurement:
        """Return all metrics of the run on a split.

        Validation pairs are also translated (BLEU), and outputs of tasks that write text are generated
        (ROUGE). Raises MasscliError if the data folder has nothing of this split.
        """
        # Without the split, building a validator would raise errors about options that the user did not
        # give.
        splits = set(self.context.data.splits())
        for stream in self.recipe.stream.values():
            splits.update(self.context.open_data(stream.data_dir).splits())
        if split not in splits:
            hint = f"it has {', '.join(self.context.data.splits())}"
            raise self._missing_split(split, hint)
        validator, warnings = build_validator(
            _recipe_for(self.recipe, split),
            self.objectives,
            self.context,
            self.framing,
        )
        # The folder may have the split, but nothing of the streams in it.
        if not validator:
            hint = "score what `masscli generate` or `predict` writes"
            raise self._missing_split(split, hint)
        result = validator.measure(self.model)
        return Measurement(
            self.checkpoint.path, result.metrics, result.signatures, warnings
        )

    def _missing_split(self, split: str, hint: str) -> MasscliError:
        """Return the error that says that the data have nothing of a split for the run's streams."""
        datasets = dict.fromkeys(
            stream.dataset for stream in self.recipe.stream.values()
        )
        return MasscliError(
            f"{self.recipe.data}: has no {split} split of {', '.join(datasets)}", hint
        )

    def measure_running_text(self, split: str, context: int) -> Measurement:
        """Return the perplexity of language models over running text in overlapping windows.

        The metrics of each stream of --objective gpt are `STREAM.ppl-piece`, `STREAM.ppl-word` and
        `STREAM.bits-per-byte`. Each token after the first window is predicted from at least `context` tokens
        before it. Raises MasscliError if the run has no such stream, or if `context` is not smaller than a
        window.
        """
        streams = {}
        for name, stream in self.recipe.stream.items():
            if isinstance(stream.objective, GptOptions):
                streams[name] = stream.objective
        if not streams:
            raise MasscliError(
                f"--context-window: {self.checkpoint.path} reads no running text",
                "it is for runs of --objective gpt",
            )
        measurement = Measurement(self.checkpoint.path)
        for name, options in streams.items():
            size = options.tokens_per_sample
            if not 0 <= context < size:
                raise MasscliError(
                    f"--context-window {context}: a window of {name} has {size} tokens",
                    f"give a number from 0 to {size - 1}",
                )
            stream = self.recipe.stream[name]
            data = self.context.open_data(stream.data_dir)
            metrics = self._running_text(data, split, stream.dataset, size, context)
            for metric, value in metrics.items():
                measurement.metrics[f"{name}.{metric}"] = value
        signature = f"context:{context}"
        measurement.signatures = dict.fromkeys(measurement.metrics, signature)
        return measurement

    def _running_text(
        self, data: DataFolder, split: str, language: str, size: int, context: int
    ) -> dict[str, float]:
        """Return the perplexity per piece and per word and the bits per byte of running text.

        The text is that of `language` in the split. `size` is the number of tokens in a window, and `context`
        the least number of tokens from which one is predicted after the first window. The end of a line
        counts as a piece, a word and a byte.
        """
        column = data.monolingual(split, language)
        # Lines follow each other with an end symbol after each, as in training.
        end = np.array([data.vocab.eos])
        parts = []
        for row in range(len(column)):
            parts += [column[row], end]
        text = np.concatenate(parts)
        lines = data.original_lines(split, language, language)
        words = sum(len(line.split()) + 1 for line in lines)
        size_in_bytes = sum(len(line.encode()) + 1 for line in lines)
        nats = negative_log_likelihood(
            self.model,
            self.framing,
            text,
            language,
            size,
            context,
            self.recipe.train.max_tokens,
        )
        return {
            "ppl-piece": perplexity(nats, len(text)),
            "ppl-word": perplexity(nats, words),
            "bits-per-byte": nats / math.log(2) / size_in_bytes,
        }

    def _objectives(self, device: torch.device) -> dict[str, Objective]:
        """Return the objectives by stream, with their trained parameters, on the device."""
        objectives = build_objectives(self.recipe, self.framing)
        restore_objectives(objectives, self.checkpoint)
        for name, objective in objectives.items():
            objective.to(device)
            # Some corruptions depend on counts of the data.
            objective.read_statistics(
                self.context.open_data(self.recipe.stream[name].data_dir)
            )
        return objectives


def _recipe_for(recipe: Recipe, split: str) -> Recipe:
    """Return the recipe with options to measure everything on one split: all examples, BLEU and ROUGE.

    What training needs of validation (a best metric, an expected curve), perhaps of another split, is left
    out.
    """
    objectives = [stream.objective for stream in recipe.stream.values()]
    valid = replace(
        recipe.valid,
        valid_subset=(split,),
        max_valid_rows=None,
        disable_validation=False,
        eval_samples=0,
        expected_curve="",
        eval_bleu=any(objective.input_kind.has_direction for objective in objectives),
        eval_rouge=any(
            isinstance(objective, ConditionalGenerationOptions)
            for objective in objectives
        ),
    )
    # These metrics do not select a checkpoint.
    return replace(
        recipe,
        valid=valid,
        checkpoint=replace(recipe.checkpoint, best_metric="loss", patience=0),
    )
