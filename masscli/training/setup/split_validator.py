"""Build the validator of one split: its examples, the text that the model generates for them, and probes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Dataset
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.data.storage.data_folder import MissingDataError
from masscli.objectives.input_kinds import languages_of
from masscli.objectives.objective import Objective
from masscli.objectives.shared.evaluable_objective import EvaluableObjective
from masscli.objectives.write.conditional_generation import ConditionalGeneration
from masscli.objectives.write.length_limits import source_truncation
from masscli.training.recipe import Recipe, StreamConfig
from masscli.training.setup.build_streams import SideLimit, model_lengths, side_limits
from masscli.training.setup.run_context import RunContext
from masscli.training.source_use import CrossUseTask, SourceUseTask
from masscli.training.validation import ValidationStream, Validator
from masscli.training.validation_tasks import (
    RetrievalTask,
    TranslationTask,
    WritingTask,
)


class SplitValidatorBuilder:
    """Builds the validator of one split; `warnings` collects what cannot be measured on it.

    `objectives` are those of the training streams, by name.
    """

    def __init__(
        self,
        split: str,
        recipe: Recipe,
        objectives: Mapping[str, Objective],
        context: RunContext,
        framing: Framing,
    ) -> None:
        self.split = split
        self.recipe = recipe
        self.valid = recipe.valid
        self.objectives = objectives
        self.context = context
        self.data = context.data
        self.framing = framing
        self.warnings: list[str] = []

    def build(self) -> Validator:
        """Return the validator."""
        streams = self._streams()
        # Warnings are shown in the order of these calls.
        return Validator(
            streams,
            (*self._bleu_tasks(streams), *self._rouge_tasks(streams)),
            (
                *self._retrieval_tasks(),
                *self._source_use_tasks(streams),
                *self._cross_use_tasks(),
            ),
            self.data.tokenizer(),
            self.framing,
            self.valid.eval_beam,
        )

    @property
    def _place(self) -> str:
        """Return the name of the split for messages."""
        return f"the {self.split} split of {self.recipe.data}"

    # -- validation examples --

    def _streams(self) -> tuple[ValidationStream, ...]:
        """Return the validation examples of each training stream for which there are any."""
        streams = []
        for name, objective in self.objectives.items():
            try:
                streams.append(self._stream(name, objective))
            except MissingDataError as error:
                self.warnings.append(f"{name} is not validated: {error.message}")
        return tuple(streams)

    def _stream(self, name: str, objective: Objective) -> ValidationStream:
        """Return the validation examples of a training stream.

        Raises MissingDataError if its data folder has none in this split.
        """
        recipe = self.recipe
        limit = self.valid.max_valid_rows
        data = self.context.open_data(recipe.stream[name].data_dir)
        table = None
        sides: tuple[SideLimit, ...] = ()
        if isinstance(objective, EvaluableObjective):
            # Every example is measured exactly once, whatever options repeat or select training
            # examples.
            table = data.table(recipe.stream[name].dataset, self.split).head(limit)
            dataset = objective.table_dataset(table, labeled=True)
            collator = objective.collator()
            for warning in objective.data_warnings(dataset):
                self.warnings.append(f"{name}, {self.split}: {warning}")
        else:
            dataset, collator = objective.dataset(data, self.split, limit)
            sides = side_limits(recipe, self.framing, name, dataset)
        # Noise has seed 0 in all runs, so that validation losses can be compared.
        builder = BatchBuilder(name, dataset, collator, 0)
        sampler = self._sampler(name, objective, dataset, sides)
        return ValidationStream(name, objective, builder, sampler, table)

    def _sampler(
        self,
        name: str,
        objective: Objective,
        dataset: Dataset,
        sides: Sequence[SideLimit],
    ) -> BatchSampler:
        """Return the sampler of the validation examples of a stream, which draws each of them once.

        `sides` are the limits on the lengths of both sides, which leave out longer examples, with a warning;
        there are none if the dataset truncates its examples.
        """
        recipe = self.recipe
        sizes = dataset.sizes(0, len(dataset))
        # Labeled examples are truncated to fit the model, and others that do not fit are left out.
        if sides:
            sizes = np.minimum(sizes, [side.length for side in sides])
        # The longest example must fit, even if training batches are smaller.
        longest = int(objective.batch_lengths(sizes).max(initial=0))
        max_tokens = max(
            self.valid.max_tokens_valid or recipe.train.max_tokens, longest
        )
        limits = BatchLimits(max_tokens, None, tuple(side.length for side in sides))
        sampler = BatchSampler(
            len(dataset),
            dataset.sizes,
            limits,
            recipe.seed,
            name,
            shuffle=False,
            batch_lengths=objective.batch_lengths,
        )
        if sampler.skipped:
            bounds = " or ".join(
                dict.fromkeys(
                    f"the model's {side.positions} positions" for side in sides
                )
            )
            self.warnings.append(
                f"{name}: {sampler.skipped} of {sampler.num_examples} validation examples "
                f"are longer than {bounds} and are left out"
            )
        return sampler

    # -- text that the model generates --

    def _bleu_tasks(self, streams: Sequence[ValidationStream]) -> list[TranslationTask]:
        """Return the translations to make: one task for each direction and round trip of the streams."""
        # Validation allows the same pieces as back-translation, so that it measures what training
        # generates.
        allowed: dict[str, Tensor] = {}
        for objective in self.objectives.values():
            allowed |= objective.allowed_pieces
        # Several streams may have the same direction.
        tasks: dict[str, TranslationTask] = {}
        for stream in streams:
            for task in self._bleu_tasks_of(self.recipe.stream[stream.name], allowed):
                tasks.setdefault(task.score_name(task.metric), task)
        if self.valid.eval_bleu and not any(
            task.metric == "bleu" for task in tasks.values()
        ):
            self.warnings.append(self._why_no_bleu())
        return list(tasks.values())

    def _bleu_tasks_of(
        self, stream: StreamConfig, allowed: Mapping[str, Tensor]
    ) -> list[TranslationTask]:
        """Return the translation tasks of a stream: one for --eval-bleu, one for --eval-roundtrip, or fewer.

        `allowed` has, by language, a mask of the pieces that may be generated in it.
        """
        kind = stream.objective.input_kind
        # A masked language model may read pairs, but cannot translate.
        if not kind.has_direction or not stream.objective.generates_text:
            return []
        tasks = []
        # Back-translation learns without pairs, but is compared with real translations if there are any.
        if self.valid.eval_bleu and (self._has_pairs(stream) or not kind.makes_sources):
            tasks.append(self._pairs_task(stream, allowed))
        if self.valid.eval_roundtrip and kind.makes_sources:
            tasks.append(self._round_trip_task(stream, allowed))
        return tasks

    def _has_pairs(self, stream: StreamConfig) -> bool:
        """Return whether the split has aligned text of the two languages of a stream, in either order."""
        languages = set(stream.dataset.split("-"))
        pairs = self.context.open_data(stream.data_dir).aligned_pairs(self.split)
        return any(set(pair) == languages for pair in pairs)

    def _pairs_task(
        self, stream: StreamConfig, allowed: Mapping[str, Tensor]
    ) -> TranslationTask:
        """Return the task that translates the sources of sentence pairs; it compares with their targets."""
        source, target = stream.dataset.split("-")
        limit = self.valid.max_valid_rows
        data = self.context.open_data(stream.data_dir)
        # BLEU compares with the text as it was before tokenization.
        return TranslationTask(
            (source, target),
            data.original_lines(self.split, stream.dataset, source)[:limit],
            data.original_lines(self.split, stream.dataset, target)[:limit],
            allowed,
            stream.objective.encoder_generates,
            self.valid.eval_samples,
        )

    def _round_trip_task(
        self, stream: StreamConfig, allowed: Mapping[str, Tensor]
    ) -> TranslationTask:
        """Return the task that translates text of the target language into the source language and back."""
        source, target = stream.dataset.split("-")
        data = self.context.open_data(stream.data_dir)
        lines = data.original_lines(self.split, target, target)
        lines = lines[: self.valid.max_valid_rows]
        # The text is its own reference.
        return TranslationTask(
            (target, source, target),
            lines,
            lines,
            allowed,
            samples=self.valid.eval_samples,
        )

    def _why_no_bleu(self) -> str:
        """Return a warning that says why there is no BLEU."""
        streams = self.recipe.stream.values()
        for stream in streams:
            objective = stream.objective
            if objective.input_kind.has_direction and objective.generates_text:
                datasets = ", ".join(stream.dataset for stream in streams)
                return f"no BLEU: {self._place} has no pairs of {datasets}"
        return "no BLEU: no stream of the run learns to translate"

    def _rouge_tasks(self, streams: Sequence[ValidationStream]) -> list[WritingTask]:
        """Return a task for each stream that writes text from a table; none without --eval-rouge."""
        if not self.valid.eval_rouge:
            return []
        tasks = []
        for stream in streams:
            objective = stream.objective
            if isinstance(objective, ConditionalGeneration):
                assert stream.table is not None
                options = objective.options
                sources, references = objective.sources_and_references(stream.table)
                tasks.append(
                    WritingTask(
                        stream.name,
                        options.language,
                        sources,
                        references,
                        source_truncation(options),
                        objective.limits.target,
                        options.encoder_generates,
                        self.valid.eval_samples,
                    )
                )
        if not tasks:
            self.warnings.append(
                "no ROUGE: no stream of the run writes text from a table (summarize, respond)"
            )
        return tasks

    # -- probes --

    def _retrieval_tasks(self) -> list[RetrievalTask]:
        """Return a retrieval task for each pair of the run's languages with aligned text in the split.

        There are none without --eval-retrieval, or if the model has no encoder, whose states are compared.
        """
        if not self.valid.eval_retrieval:
            return []
        tasks = []
        if self.recipe.model.encoder_layers:
            for pair, lines in self._sides_of_pairs().items():
                tasks.append(RetrievalTask(pair, lines, self.framing))
        if not tasks:
            self.warnings.append(
                f"no retrieval: {self._place} has no pairs of this run's languages, or the run no encoder"
            )
        return tasks

    def _source_use_tasks(
        self, streams: Sequence[ValidationStream]
    ) -> list[SourceUseTask]:
        """Return a task for each stream in which a decoder predicts from a source.

        There are none without --eval-source-use.
        """
        if not self.valid.eval_source_use:
            return []
        tasks = []
        for stream in streams:
            if stream.objective.predicts_from_source:
                tasks.append(
                    SourceUseTask(
                        stream.name,
                        stream.objective,
                        stream.batch_builder,
                        stream.sampler,
                        self.framing,
                    )
                )
        if not tasks:
            self.warnings.append(
                "no source use: no stream of the run predicts from a source"
            )
        return tasks

    def _cross_use_tasks(self) -> list[CrossUseTask]:
        """Return a task for each pair of the run's languages with at least two aligned lines in the split.

        Lines that are too long for the model do not count. There are none without --eval-cross-use, or if the
        model lacks an encoder or a decoder.
        """
        model = self.recipe.model
        if not self.valid.eval_cross_use:
            return []
        tasks = []
        if model.encoder_layers and model.decoder_layers:
            longest = min(model_lengths(self.recipe, self.framing)) - 2
            for pair, sides in self._sides_of_pairs().items():
                fitting = _fitting_lines(sides, longest)
                # With a single line there is no other source to use.
                if len(fitting[0]) > 1:
                    tasks.append(CrossUseTask(pair, fitting, self.framing))
        if not tasks:
            self.warnings.append(
                f"no cross-lingual use: {self._place} has no two pairs of this run's languages, "
                "or the model no two stacks"
            )
        return tasks

    def _sides_of_pairs(self) -> dict[tuple[str, str], tuple[list[Ids], list[Ids]]]:
        """Return the token ids of both sides of each pair of the run's languages with aligned text.

        At most --max-valid-rows lines of each pair are read.
        """
        datasets = [stream.dataset for stream in self.recipe.stream.values()]
        languages = set(languages_of(datasets))
        limit = self.valid.max_valid_rows
        sides = {}
        for pair in self.data.aligned_pairs(self.split):
            # The data may have pairs of languages that this run does not read.
            if set(pair) <= languages:
                sides[pair] = self.data.aligned_rows(self.split, pair, limit)
        return sides


def _fitting_lines(
    sides: tuple[Sequence[Ids], Sequence[Ids]], longest: int
) -> tuple[list[Ids], list[Ids]]:
    """Return the pairs of lines of which neither side has more than `longest` tokens, side by side."""
    fitting: tuple[list[Ids], list[Ids]] = ([], [])
    for first_ids, second_ids in zip(*sides, strict=True):
        if max(len(first_ids), len(second_ids)) <= longest:
            fitting[0].append(first_ids)
            fitting[1].append(second_ids)
    return fitting
