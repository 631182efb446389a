"""Build the validator of a run, which computes losses and metrics on the validation splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from masscli.core.errors import MasscliError
from masscli.data.batches.framing import Framing
from masscli.objectives.objective import Objective
from masscli.training.config import CheckpointConfig, ValidConfig
from masscli.training.recipe import Recipe
from masscli.training.setup.run_context import RunContext
from masscli.training.setup.split_validator import SplitValidatorBuilder
from masscli.training.validation import Validator


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
        builder = SplitValidatorBuilder(split, recipe, objectives, context, framing)
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
