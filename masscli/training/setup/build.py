"""Build the trainer of a run from its complete recipe. This is the only place that combines all parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import torch

from masscli.checkpoint.checkpoint import MODEL, Checkpoint, load_tensors, make_framing
from masscli.checkpoint.initialize import freeze, initialize_model
from masscli.checkpoint.run_state import RunState
from masscli.checkpoint.word_vectors import load_vectors
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.models.stack import Stack
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective
from masscli.training.config import OLD_EMBEDDINGS
from masscli.training.frozen_rows import FrozenRows
from masscli.training.fsdp import TrainStep, check_can_shard, shard_model
from masscli.training.kept_checkpoints import KeptCheckpoints
from masscli.training.optim import make_optimizer, restore_optimizer_state
from masscli.training.precision import bf16_is_faster, choose_device, choose_dtype
from masscli.training.recipe import Recipe
from masscli.training.run_parts import RunParts, name_parameters
from masscli.training.setup.architecture import check_vocabularies
from masscli.training.setup.batch_changes import rescale_positions
from masscli.training.setup.build_streams import (
    build_objectives,
    build_stream,
    restore_objectives,
)
from masscli.training.setup.build_validator import build_validator
from masscli.training.setup.notes import (
    note_best_metric,
    note_data,
    note_export,
    note_untrained_streams,
    note_waiting_processes,
)
from masscli.training.setup.rate_notes import (
    note_changed_rate,
    note_kept_warmup,
    note_schedule,
)
from masscli.training.setup.run_context import RunCheckpoints, RunContext
from masscli.training.setup.run_folder import (
    check_same_run,
    comparable_score,
    note_damage,
    note_other_examples,
    open_checkpoints,
    prepare_folder,
    repair_links,
)
from masscli.training.stream import Stream
from masscli.training.trainer import Trainer


def build(
    recipe: Recipe,
    context: RunContext | None = None,
    *,
    accept_changes: bool = False,
    dry_run: bool = False,
) -> tuple[Trainer, list[str]]:
    """Build the trainer of the run in `recipe.save_dir`; also return notes for the user.

    The run continues from its last checkpoint if it has one. `context` has the folders that `compose` has
    opened; without it they are opened here. With `accept_changes` a continued run may have another learning
    rate, schedule, dropout or batch size. With `dry_run`, the folder is left as it is. Raises MasscliError if
    the run in the folder was made with another recipe or other data.
    """
    assert recipe.save_dir is not None
    # The group of processes comes first, because opening checkpoints waits for all of them.
    device = _start_process(recipe)
    if context is None:
        context = RunContext.open(recipe.data)
    check_vocabularies(recipe, context.data.vocab)
    folder = recipe.save_dir
    checkpoints = _open_run(folder, context, device, dry_run)
    last = checkpoints.last
    notes = note_damage(checkpoints)
    if last is not None:
        notes += _check_continued(recipe, last, context, accept_changes)
    state = _run_state(recipe, last, context, accept_changes)
    notes += note_waiting_processes(state.update_freq)
    tokenizer = context.data.tokenizer()
    framing = make_framing(recipe.model, tokenizer.vocab, state.languages)
    framing = replace(framing, length_multiple=recipe.train.length_multiple)

    # Random weights are drawn from here on, in the same order in every process and every run.
    torch.manual_seed(recipe.seed)
    vocab = context.data.vocab
    model = Transformer(recipe.model, vocab.size, state.languages, vocab.id_ranges)
    objectives = build_objectives(recipe, framing)
    if last is not None:
        load_tensors(model, last.weights(), last.path / MODEL)
        restore_objectives(objectives, last)
    else:
        notes += _initialize(model, objectives, recipe, context, state)
    # Frozen parameters must be known before the optimizer is made.
    notes += freeze(
        model, [part for part in recipe.optim.freeze if part != OLD_EMBEDDINGS]
    )
    train_step = TrainStep(model)
    # Sharding comes before the move, so that no device has to hold the whole model.
    notes += _shard(train_step, recipe, state, device)
    _move_to_device(model, objectives, recipe, state, device)

    # The rows are now on their devices.
    frozen_rows = FrozenRows(model, state, recipe.optim.freeze)
    notes += frozen_rows.notes
    streams = [
        build_stream(name, recipe, objectives[name], context, framing)
        for name in recipe.stream
    ]
    notes += note_data(recipe, streams, context.data, framing)
    notes += note_untrained_streams(streams)
    if last is None:
        notes += note_schedule(recipe, streams[0], state)
        notes += note_export(recipe)
    else:
        notes += rescale_positions(streams, last.recipe.train, recipe.train, state)
    optimizer = _make_optimizer(recipe, model, streams)
    validator, warnings = build_validator(recipe, objectives, context, framing)
    warnings += note_best_metric(recipe, validator)
    # Without any validation, the scores so far stay what they are.
    measured_on = state.valid_fingerprints
    if validator:
        measured_on = context.valid_fingerprints(recipe)
    notes += note_other_examples(state, recipe, measured_on)
    kept = _kept_checkpoints(folder, recipe, checkpoints, measured_on)
    parts = RunParts(recipe, folder, train_step, streams, tokenizer, optimizer, state)
    trainer = Trainer(parts, validator, kept, frozen_rows)
    # The folder is changed last, when no more errors are possible.
    if last is not None and not dry_run:
        repair_links(folder, recipe, last, kept.scores, measured_on)
    state.valid_fingerprints = measured_on
    if last is not None:
        restore_optimizer_state(
            optimizer, parts.parameter_names, last.optimizer_state()
        )
        _restore_trained_weights(parts, last)
    return trainer, notes + warnings


def _check_continued(
    recipe: Recipe, last: Checkpoint, context: RunContext, accept_changes: bool
) -> list[str]:
    """Return notes on a run that continues from the checkpoint `last`, and on what has changed in it.

    Raises MasscliError if the checkpoint belongs to another recipe or other data.
    """
    changes = check_same_run(recipe, last, context, accept_changes)
    return [
        f"continuing {recipe.save_dir} from update {last.state.step}",
        *(f"changed: {change}" for change in changes),
        *note_kept_warmup(recipe, last.recipe),
        *note_changed_rate(recipe, last.recipe, last.state),
    ]


def _make_optimizer(
    recipe: Recipe, model: Transformer, streams: Sequence[Stream]
) -> torch.optim.Optimizer:
    """Return the optimizer of all trained parameters of the model and of the objectives."""
    # Weight decay and layer decay depend on the names of parameters.
    names = name_parameters(model, streams)
    layers = max(recipe.model.encoder_layers, recipe.model.decoder_layers)
    return make_optimizer(
        recipe.optim, [(name, parameter) for parameter, name in names.items()], layers
    )


def _kept_checkpoints(
    folder: Path,
    recipe: Recipe,
    checkpoints: RunCheckpoints,
    measured_on: Mapping[str, str],
) -> KeptCheckpoints:
    """Return the object that keeps track of the checkpoints in `folder`, with those that exist already.

    `measured_on` has the fingerprints of the examples to validate on, by split.
    """
    kept = KeptCheckpoints(folder / "checkpoints", recipe.checkpoint)
    for step, saved in checkpoints.by_step.items():
        score = comparable_score(saved, recipe, measured_on)
        kept.add(step, score, saved.state.ends_epoch)
    return kept


def _start_process(recipe: Recipe) -> torch.device:
    """Set the number of threads, join the process group, and return the device of this process."""
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    device = choose_device(recipe.train.device, distributed.local_rank)
    distributed.start(device, timedelta(minutes=recipe.train.process_timeout))
    return device


def _open_run(
    folder: Path, context: RunContext, device: torch.device, dry_run: bool
) -> RunCheckpoints:
    """Create the folder of a run, unless this is a dry run, and return the checkpoints in it."""
    if not dry_run:
        prepare_folder(folder)
    return open_checkpoints(folder, context, device)


def _run_state(
    recipe: Recipe, last: Checkpoint | None, context: RunContext, accept_changes: bool
) -> RunState:
    """Return the state to start from: that of the last checkpoint, or a new one if `last` is None.

    Raises MasscliError if a continued run would get another --update-freq without `accept_changes`.
    """
    update_freq = recipe.train.update_freq
    if last is not None:
        state = last.state
        # It decides which examples make an update, so a run keeps it unless the user wants otherwise.
        if update_freq is not None and update_freq != state.update_freq:
            if not accept_changes:
                raise MasscliError(
                    f"--update-freq {update_freq} differs from the {state.update_freq} that the run began "
                    "with",
                    "leave it out, or add --accept-changes",
                )
            state.update_freq = update_freq
    else:
        state = RunState(
            update_freq=update_freq or distributed.world_size,
            languages=_model_languages(recipe, context),
        )
        # The generation defaults of an imported model are kept, since its users expect them.
        if recipe.init_from is not None:
            initial = context.open_checkpoint(recipe.init_from)
            state.generation = initial.state.generation
            state.attribution = initial.state.attribution
            state.began_with_import = initial.state.has_imported_weights
            state.initial_ids = initial.tokenizer().vocab.size
            state.initial_languages = len(initial.state.languages)
    # Both fingerprints have been compared with those of the last checkpoint, or are new.
    state.vocab_fingerprint = context.data.vocab.fingerprint
    state.data_fingerprint = context.data_fingerprint(recipe.stream)
    return state


def _model_languages(recipe: Recipe, context: RunContext) -> tuple[str, ...]:
    """Return the languages that have parameters of their own in the model; none for most models.

    Those of the initial weights (--init-from) come first and keep their order.
    """
    if (
        recipe.model.languages != "embedding"
        and recipe.model.cross_output != "language"
    ):
        return ()
    # The order is that of the vectors: those that exist must keep their rows.
    languages: tuple[str, ...] = ()
    if recipe.init_from is not None:
        languages = context.open_checkpoint(recipe.init_from).state.languages
    return tuple(dict.fromkeys([*languages, *context.languages(recipe.stream)]))


def _restore_trained_weights(parts: RunParts, last: Checkpoint) -> None:
    """Replace a moving average in the model by the trained weights from which the run continues.

    A checkpoint with --ema-decay has both; with any other one nothing is changed.
    """
    trained = last.trained_weights()
    with torch.no_grad():
        for parameter, name in parts.parameter_names.items():
            if name in trained:
                parameter.copy_(trained[name])


def _initialize(
    model: Transformer,
    objectives: Mapping[str, Objective],
    recipe: Recipe,
    context: RunContext,
    state: RunState,
) -> list[str]:
    """Load the initial weights and word vectors that the recipe names into a new model; return notes."""
    notes: list[str] = []
    if recipe.init_from is not None:
        # Heads are not taken over from a checkpoint, and the report names them as new.
        names = []
        for name, objective in objectives.items():
            names += [f"{name}.{key}" for key, _ in objective.named_parameters()]
        with torch.no_grad():
            notes += initialize_model(
                model, recipe, context.open_checkpoint, context.data.tokenizer(), names
            )
    # Where a vocabulary was extended, the rows of --init-from are kept.
    first_id = state.initial_ids if state.initial_ids < context.data.vocab.size else 0
    return notes + load_vectors(model, recipe.init_vectors, context.data, first_id)


def _shard(
    train_step: TrainStep, recipe: Recipe, state: RunState, device: torch.device
) -> list[str]:
    """Shard the model over the processes if --shard-model is given and there are several; return notes."""
    if not recipe.train.shard_model:
        return []
    if distributed.world_size == 1:
        return ["--shard-model: a single process keeps the whole model"]
    check_can_shard(recipe, state.update_freq)
    shard_model(train_step, device)
    return []


def _move_to_device(
    model: Transformer,
    objectives: Mapping[str, Objective],
    recipe: Recipe,
    state: RunState,
    device: torch.device,
) -> None:
    """Move model and objectives to the device, set the precision, and compile the layers if asked to.

    Activation checkpointing is set as well.
    """
    model.to(device)
    model.compute_dtype = _choose_precision(recipe, state, device)
    for objective in objectives.values():
        objective.to(device)
    # Objectives may have layers of their own, as ELECTRA's generator has.
    modules = [
        module for whole in (model, *objectives.values()) for module in whole.modules()
    ]
    for stack in modules:
        if isinstance(stack, Stack):
            stack.checkpoint_activations = recipe.train.checkpoint_activations
            if recipe.train.compile:
                _compile_layers(stack)


def _compile_layers(stack: Stack) -> None:
    """Compile each layer of the stack separately, with dynamic shapes, because batches differ in size."""
    for layer in stack.layers:
        layer.compile(dynamic=True)


def _choose_precision(
    recipe: Recipe, state: RunState, device: torch.device
) -> torch.dtype:
    """Return the dtype of matrix products.

    On a CPU, `--precision auto` is decided by a measurement. The result is kept in `state`, so that all
    processes and continuations of the run agree.
    """
    precision = recipe.train.precision
    if precision == "auto" and device.type == "cpu":
        if not state.cpu_precision:
            # Machines may differ, and processes with different precisions would not train the same
            # model.
            is_faster = distributed.broadcast(torch.tensor(int(bf16_is_faster())))
            state.cpu_precision = "bf16" if is_faster else "fp32"
        precision = state.cpu_precision
    return choose_dtype(precision, device)
