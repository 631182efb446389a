"""Build the validator of a run, which computes losses and metrics on the validation splits."""

from __future__ import annotations

from collections.abc import Mapping
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
        validators[split], warnings_of_split = _split_validator(
            split, recipe, objectives, context, framing
        )
        warnings += warnings_of_split
    first, *others = valid.valid_subset
    validator = replace(
        validators[first], others={split: validators[split] for split in others}
    )
    metric = recipe.checkpoint.best_metric
    # Checked before training, because the first validation may come hours later.
    if validator and metric not in validator.names:
        raise MasscliError(
            f"--best-metric {metric}: is not measured",
            f"choose one of {', '.join(validator.names)}",
        )
    _check_expected_curve(recipe, validator)
    # Splits may share a warning.
    return validator, list(dict.fromkeys(warnings))


def _check_expected_curve(recipe: Recipe, validator: Validator) -> None:
    """Raise MasscliError if the metric of --expected-curve is not measured by the validator."""
    curve = recipe.valid.expected_curve
    metric = curve.partition("=")[0]
    if curve and validator and metric not in validator.names:
        raise MasscliError(
            f"--expected-curve {metric}: is not measured",
            f"choose one of {', '.join(validator.names)}",
        )


def _split_validator(
    split: str,
    recipe: Recipe,
    objectives: Mapping[str, Objective],
    context: RunContext,
    framing: Framing,
) -> tuple[Validator, list[str]]:
    """Return the validator of one split, and warnings about what cannot be measured on it."""
    data = context.data
    valid = recipe.valid
    warnings: list[str] = []
    streams: list[ValidationStream] = []
    rouge_tasks: list[WritingTask] = []
    for name, objective in objectives.items():
        stream = _build_stream(
            name, split, objective, recipe, context, framing, warnings
        )
        if stream is None:
            continue
        streams.append(stream)
        # Only streams that write text from a table have outputs to compare.
        if valid.eval_rouge and _writes_text(stream):
            rouge_tasks.append(_rouge_task(stream, valid.eval_samples))
    bleu_tasks = _bleu_tasks(split, recipe, objectives, context, streams)
    retrieval_tasks = _retrieval_tasks(split, recipe, data, framing)
    source_use_tasks = _source_use_tasks(recipe, streams, framing)
    cross_use_tasks = _cross_use_tasks(split, recipe, data, framing)
    warnings += _missing_measurements(
        split, recipe, bleu_tasks, rouge_tasks, retrieval_tasks
    )
    if valid.eval_source_use and not source_use_tasks:
        warnings.append("no source use: no stream of the run predicts from a source")
    if valid.eval_cross_use and not cross_use_tasks:
        warnings.append(
            f"no cross-lingual use: the {split} split of {recipe.data} has no two pairs of this run's "
            "languages, or the model no two stacks"
        )
    tokenizer = data.tokenizer()
    validator = Validator(
        tuple(streams),
        (*bleu_tasks, *rouge_tasks),
        (*retrieval_tasks, *source_use_tasks, *cross_use_tasks),
        tokenizer,
        framing,
        valid.eval_beam,
    )
    return validator, warnings


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


def _build_stream(
    name: str,
    split: str,
    objective: Objective,
    recipe: Recipe,
    context: RunContext,
    framing: Framing,
    warnings: list[str],
) -> ValidationStream | None:
    """Return the validation examples of a stream in one split; append warnings about them to `warnings`.

    None is returned if the data folder has no examples of the stream in this split.
    """
    limit = recipe.valid.max_valid_rows
    max_tokens = recipe.valid.max_tokens_valid or recipe.train.max_tokens
    data = context.open_data(recipe.stream[name].data_dir)
    table = None
    try:
        if isinstance(objective, EvaluableObjective):
            # Every example is measured exactly once, whatever options repeat or select training
            # examples.
            table = data.table(recipe.stream[name].dataset, split).head(limit)
            dataset = objective.table_dataset(table, labeled=True)
            collator = objective.collator()
        else:
            dataset, collator = objective.dataset(data, split, limit)
    except MissingDataError as error:
        warnings.append(f"{name} is not validated: {error.message}")
        return None
    sizes = dataset.sizes(0, len(dataset))
    if isinstance(objective, EvaluableObjective):
        warnings += [
            f"{name}, {split}: {warning}"
            for warning in objective.data_warnings(dataset)
        ]
        # Labeled examples are truncated to fit the model, and none is left out.
        sides: tuple[SideLimit, ...] = ()
    else:
        sides = side_limits(recipe, framing, name, dataset)
        sizes = np.minimum(sizes, [side.length for side in sides])
    # The longest example must fit, even if training batches are smaller.
    max_tokens = max(max_tokens, int(objective.batch_lengths(sizes).max(initial=0)))
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
            dict.fromkeys(f"the model's {side.positions} positions" for side in sides)
        )
        warnings.append(
            f"{name}: {sampler.skipped} of {sampler.num_examples} validation examples "
            f"are longer than {bounds} and are left out"
        )
    # Noise has seed 0 in all runs, so that validation losses can be compared.
    return ValidationStream(
        name, objective, BatchBuilder(name, dataset, collator, 0), sampler, table
    )


def _bleu_tasks(
    split: str,
    recipe: Recipe,
    objectives: Mapping[str, Objective],
    context: RunContext,
    measured: list[ValidationStream],
) -> list[TranslationTask]:
    """Return the translations to make during validation: one task for each direction and round trip.

    `measured` are the streams with validation examples; their data are translated.
    """
    # Validation allows the same pieces as back-translation, so that it measures what training
    # generates.
    allowed: dict[str, Tensor] = {}
    for objective in objectives.values():
        allowed |= objective.allowed_pieces
    # Several streams may have the same direction.
    tasks: dict[str, TranslationTask] = {}
    for valid_stream in measured:
        stream = recipe.stream[valid_stream.name]
        for task in _bleu_tasks_of(
            split, stream, context.open_data(stream.data_dir), recipe.valid, allowed
        ):
            tasks.setdefault(task.score_name(task.metric), task)
    return list(tasks.values())


def _bleu_tasks_of(
    split: str,
    stream: StreamConfig,
    data: DataFolder,
    valid: ValidConfig,
    allowed: Mapping[str, Tensor],
) -> list[TranslationTask]:
    """Return the translation tasks of a stream in one split, at most two.

    The one for --eval-bleu translates sentence pairs, and the one for --eval-roundtrip translates text of the
    target language into the source language and back. `allowed` has, by language, a mask of the pieces that
    may be generated in it.
    """
    kind = stream.objective.input_kind
    limit = valid.max_valid_rows
    # A masked language model may read pairs, but cannot translate.
    if not kind.has_direction or not stream.objective.generates_text:
        return []
    tasks = []
    source, target = stream.dataset.split("-")
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


def _writes_text(stream: ValidationStream) -> bool:
    return (
        isinstance(stream.objective, ConditionalGeneration) and stream.table is not None
    )


def _rouge_task(stream: ValidationStream, samples: int) -> WritingTask:
    """Return the task that generates text for a stream and computes ROUGE, with `samples` sample outputs."""
    objective = stream.objective
    assert isinstance(objective, ConditionalGeneration) and stream.table is not None
    options = objective.options
    sources, references = objective.sources_and_references(stream.table)
    return WritingTask(
        stream.name,
        options.language,
        sources,
        references,
        source_truncation(options),
        objective.limits.target,
        options.encoder_generates,
        samples,
    )


def _retrieval_tasks(
    split: str, recipe: Recipe, data: DataFolder, framing: Framing
) -> list[RetrievalTask]:
    """Return a retrieval task for each pair of the run's languages with aligned text in the split.

    The list is empty without --eval-retrieval, or if the model has no encoder.
    """
    # Retrieval compares the states of an encoder.
    if not recipe.valid.eval_retrieval or not recipe.model.encoder_layers:
        return []
    sides = _sides_of_pairs(split, recipe, data)
    return [RetrievalTask(pair, lines, framing) for pair, lines in sides.items()]


def _source_use_tasks(
    recipe: Recipe, streams: list[ValidationStream], framing: Framing
) -> list[SourceUseTask]:
    """Return a task for each stream in which a decoder predicts from a source.

    The list is empty without --eval-source-use.
    """
    if not recipe.valid.eval_source_use:
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
                    framing,
                )
            )
    return tasks


def _cross_use_tasks(
    split: str, recipe: Recipe, data: DataFolder, framing: Framing
) -> list[CrossUseTask]:
    """Return a task for each pair of the run's languages with at least two aligned lines in the split.

    Lines that are too long for the model do not count. The list is empty without --eval-cross-use, or if the
    model lacks an encoder or a decoder.
    """
    model = recipe.model
    if (
        not recipe.valid.eval_cross_use
        or not model.encoder_layers
        or not model.decoder_layers
    ):
        return []
    longest = min(model_lengths(recipe, framing)) - 2
    tasks = []
    for pair, (first, second) in _sides_of_pairs(split, recipe, data).items():
        # Lines that the model has no positions for are left out on both sides.
        fitting_first, fitting_second = [], []
        for first_ids, second_ids in zip(first, second, strict=True):
            if max(len(first_ids), len(second_ids)) <= longest:
                fitting_first.append(first_ids)
                fitting_second.append(second_ids)
        # With a single line there is no other source to use.
        if len(fitting_first) > 1:
            tasks.append(CrossUseTask(pair, (fitting_first, fitting_second), framing))
    return tasks


def _sides_of_pairs(
    split: str, recipe: Recipe, data: DataFolder
) -> dict[tuple[str, str], tuple[list[Ids], list[Ids]]]:
    """Return the token ids of both sides of each pair of the run's languages with aligned text in a split.

    At most --max-valid-rows lines of each pair are read.
    """
    datasets = [stream.dataset for stream in recipe.stream.values()]
    languages = set(languages_of(datasets))
    sides = {}
    for pair in _pairs_of(data, split):
        # The data may have pairs of languages that this run does not read.
        if set(pair) <= languages:
            sides[pair] = aligned_rows(data, split, pair, recipe.valid.max_valid_rows)
    return sides


def _pairs_of(data: DataFolder, split: str) -> list[tuple[str, str]]:
    """Return the language pairs (source, target) for which a split has aligned text."""
    return [
        (entry.source, entry.target)
        for entry in data.manifest.aligned
        if entry.split == split
    ]


def _missing_measurements(
    split: str,
    recipe: Recipe,
    bleu_tasks: list[TranslationTask],
    rouge_tasks: list[WritingTask],
    retrieval_tasks: list[RetrievalTask],
) -> list[str]:
    """Return warnings about measurements that are asked for, but impossible on a split."""
    valid = recipe.valid
    place = f"the {split} split of {recipe.data}"
    warnings = []
    if valid.eval_bleu and not any(task.metric == "bleu" for task in bleu_tasks):
        warnings.append(_why_no_bleu(recipe, place))
    if valid.eval_rouge and not rouge_tasks:
        warnings.append(
            "no ROUGE: no stream of the run writes text from a table (summarize, respond)"
        )
    if valid.eval_retrieval and not retrieval_tasks:
        warnings.append(
            f"no retrieval: {place} has no pairs of this run's languages, or the run no encoder"
        )
    return warnings


def _why_no_bleu(recipe: Recipe, place: str) -> str:
    """Return a warning that says why there is no BLEU on a split; `place` names the split in words."""
    streams = recipe.stream.values()
    for stream in streams:
        objective = stream.objective
        if objective.input_kind.has_direction and objective.generates_text:
            datasets = ", ".join(stream.dataset for stream in streams)
            return f"no BLEU: {place} has no pairs of {datasets}"
    return "no BLEU: no stream of the run learns to translate"
