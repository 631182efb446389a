"""Build the validator of a run, which computes losses and metrics on the validation splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.data.storage.data_folder import DataFolder, MissingDataError
from masscli.objectives.input_kinds import languages_of
from masscli.objectives.objective import Objective
from masscli.objectives.shared.evaluable_objective import EvaluableObjective
from masscli.objectives.write.conditional_generation import ConditionalGeneration
from masscli.objectives.write.length_limits import source_truncation
from masscli.training.config import CheckpointConfig, ValidConfig
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


def build_validator(
    recipe: Recipe,
    objectives: Mapping[str, Objective],
    context: RunContext,
    framing: Framing,
) -> tuple[Validator, list[str]]:
    """Return the validator of a run, and warnings for the user.

    It measures nothing if validation is disabled, or if one of the splits to validate on is in no data
    folder. Raises MasscliError if an option asks for a measurement in such a run, or if the metric that
    decides which checkpoint is best is not measured.
    """
    data = context.data
    valid = recipe.valid
    # A run without validation data is allowed, as long as nobody asked for a measurement.
    nothing = Validator((), (), (), data.tokenizer(), framing, valid.eval_beam)
    if valid.disable_validation:
        _refuse_validation_options(
            recipe,
            "validation is off",
            "leave out --disable-validation, or this option",
        )
        return nothing, []
    # Streams may read folders of their own, and one with the split is enough.
    splits: set[str] = set()
    for config in recipe.stream.values():
        splits.update(context.open_data(config.data_dir).splits())
    for split in valid.valid_subset:
        if split not in splits:
            problem = f"{recipe.data} has no {split} split"
            present = ", ".join(data.splits())
            hint = f"it has {present}; preprocess one with --validpref, or --mono valid.LANG=FILE"
            _refuse_validation_options(recipe, problem, hint)
            return nothing, [f"no {split} split in {recipe.data}: nothing is validated"]

    validators = {}
    warnings: list[str] = []
    for split in valid.valid_subset:
        # A metric of the split and of the stream would have the same name.
        if split in recipe.stream and len(valid.valid_subset) > 1:
            raise MasscliError(
                f"stream {split}: has the name of a split in --valid-subset",
                "rename it",
            )
        builder = _SplitBuilder(split, recipe, objectives, context, framing)
        validators[split] = builder.build()
        warnings += builder.warnings
    first, *others = valid.valid_subset
    validator = replace(
        validators[first], others={split: validators[split] for split in others}
    )
    # Checked before training, because the first validation may come hours later.
    if validator:
        _check_measured(recipe, validator)
    else:
        _refuse_validation_options(
            recipe,
            f"no stream of the run has {first} examples in {recipe.data}",
            f"preprocess some, such as with --{first}pref; or leave it out",
        )
    # Splits may share a warning.
    return validator, list(dict.fromkeys(warnings))


def _check_measured(recipe: Recipe, validator: Validator) -> None:
    """Raise MasscliError if the metric of --best-metric or of --expected-curve is not measured."""
    curve = recipe.valid.expected_curve.partition("=")[0]
    for flag, metric in (
        ("--best-metric", recipe.checkpoint.best_metric),
        ("--expected-curve", curve),
    ):
        if metric and metric not in validator.names:
            raise MasscliError(
                f"{flag} {metric}: is not measured",
                f"choose one of {', '.join(validator.names)}",
            )


def _refuse_validation_options(recipe: Recipe, problem: str, hint: str) -> None:
    """Raise MasscliError with this problem and hint if the user gave an option that needs a validation.

    This is called for runs without validation.
    """
    valid = recipe.valid
    checkpoint = recipe.checkpoint
    metric = checkpoint.best_metric
    # Only options that differ from their defaults are refused.
    is_asked_for = {
        f"--valid-subset {','.join(valid.valid_subset)}": valid.valid_subset
        != ValidConfig().valid_subset,
        "--patience": checkpoint.patience > 0,
        "--lr-scheduler reduce_lr_on_plateau": recipe.optim.lr_scheduler
        == "reduce_lr_on_plateau",
        "--eval-bleu": valid.eval_bleu,
        "--eval-roundtrip": valid.eval_roundtrip,
        "--eval-retrieval": valid.eval_retrieval,
        "--eval-source-use": valid.eval_source_use,
        "--eval-cross-use": valid.eval_cross_use,
        "--eval-rouge": valid.eval_rouge,
        "--max-valid-rows": valid.max_valid_rows is not None,
        "--expected-curve": bool(valid.expected_curve),
        f"--best-metric {metric}": metric != CheckpointConfig().best_metric,
    }
    for flag, asked in is_asked_for.items():
        if asked:
            raise MasscliError(f"{flag}: {problem}", hint)


class _SplitBuilder:
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
        # Noise has seed 0 in all runs, so that validation losses can be compared.
        return ValidationStream(
            name, objective, BatchBuilder(name, dataset, collator, 0), sampler, table
        )

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
        """Return the translation tasks of a stream, at most two.

        The one for --eval-bleu translates sentence pairs, and the one for --eval-roundtrip translates text of
        the target language into the source language and back. `allowed` has, by language, a mask of the
        pieces that may be generated in it.
        """
        split = self.split
        valid = self.valid
        limit = valid.max_valid_rows
        kind = stream.objective.input_kind
        # A masked language model may read pairs, but cannot translate.
        if not kind.has_direction or not stream.objective.generates_text:
            return []
        tasks = []
        source, target = stream.dataset.split("-")
        data = self.context.open_data(stream.data_dir)
        pairs = _pairs_of(data, split)
        has_pairs = (source, target) in pairs or (target, source) in pairs
        # Back-translation learns without pairs, but is compared with real translations if there are any.
        if valid.eval_bleu and (has_pairs or not kind.makes_sources):
            sources = data.original_lines(split, stream.dataset, source)[:limit]
            # BLEU compares with the text as it was before tokenization.
            references = data.original_lines(split, stream.dataset, target)[:limit]
            tasks.append(
                TranslationTask(
                    (source, target),
                    sources,
                    references,
                    allowed,
                    stream.objective.encoder_generates,
                    valid.eval_samples,
                )
            )
        if valid.eval_roundtrip and kind.makes_sources:
            # The text is its own reference.
            lines = data.original_lines(split, target, target)[:limit]
            path = (target, source, target)
            tasks.append(
                TranslationTask(path, lines, lines, allowed, samples=valid.eval_samples)
            )
        return tasks

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
        for pair in _pairs_of(self.data, self.split):
            # The data may have pairs of languages that this run does not read.
            if set(pair) <= languages:
                sides[pair] = aligned_rows(self.data, self.split, pair, limit)
        return sides


def _pairs_of(data: DataFolder, split: str) -> list[tuple[str, str]]:
    """Return the language pairs (source, target) for which a split has aligned text."""
    return [
        (entry.source, entry.target)
        for entry in data.manifest.aligned
        if entry.split == split
    ]


def aligned_rows(
    data: DataFolder, split: str, pair: tuple[str, str], limit: int | None
) -> tuple[list[Ids], list[Ids]]:
    """Return the token ids of both sides of the first `limit` (None: all) sentence pairs of a split."""
    first, second = data.pair(split, *pair)
    count = len(first)
    if limit is not None:
        count = min(limit, count)
    first_rows = [first[row] for row in range(count)]
    second_rows = [second[row] for row in range(count)]
    return first_rows, second_rows


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
