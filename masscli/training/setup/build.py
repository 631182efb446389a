"""The composition root: from a complete recipe to a trainer, new or continued.  The one place where parts meet."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from masscli.checkpoint import checkpoint
from masscli.checkpoint.checkpoint import Checkpoint, RunState, make_framing
from masscli.checkpoint.initialize import begin, freeze
from masscli.checkpoint.word_vectors import load_vectors
from masscli.core import distributed
from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.core.schedule import parse_schedule
from masscli.data.batches.batch import Ids
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.data.storage.data_folder import DataFolder, MissingDataError
from masscli.lexicon.dictionary import unusable_entries
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, ObjectiveContext
from masscli.objectives.registry import objective_class
from masscli.objectives.shared.finetuning_base import EvaluableObjective
from masscli.objectives.shared.options import SwitchingOptions
from masscli.objectives.write.objective import ConditionalGeneration, source_truncation
from masscli.training.config import CheckpointConfig, TrainConfig, ValidConfig
from masscli.training.fsdp import Pass, refuse, shard
from masscli.training.optim import make_optimizer, restore_moments
from masscli.training.precision import bf16_pays, choose_device, choose_dtype
from masscli.training.recipe import Recipe, StreamConfig
from masscli.training.setup.compose import default_warmup
from masscli.training.setup.data_sources import data_fingerprint, languages, open_data
from masscli.training.stream import Stream
from masscli.training.trainer import Trainer
from masscli.training.validation import (
    BleuTask,
    RetrievalTask,
    RougeTask,
    Validator,
    ValidStream,
    lower_is_better,
)

FREE = {
    "data", "save_dir", "init_from", "init_stacks", "init_decoder_from", "init_vectors", "checkpoint",
    "valid", "train.max_update", "train.max_epoch", "train.stop_time_hours",
    "train.compile", "train.shard_model", "train.device", "train.num_workers", "train.log_interval", "train.update_freq", "train.threads",
    "train.min_loss_scale", "train.tensorboard_logdir",
}  # fmt: skip
"""What may differ when a run is continued; everything else would make it another run."""


def build(recipe: Recipe) -> tuple[Trainer, list[str]]:
    """A trainer for the run in `recipe.save_dir`, continued from its last checkpoint when it has one; and lines that say what was done.

    Raises MasscliError when the run there was made with another recipe or other data.
    """
    assert recipe.save_dir is not None
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    device = choose_device(recipe.train.device, distributed.local_rank)
    distributed.start(device)
    data = DataFolder.open(recipe.data)
    folder = _folder(recipe.save_dir)
    kept = _kept(folder)
    last = kept[max(kept)] if kept else None
    notes = [_continue(recipe, data, last), *_about_warmup(recipe, last.recipe)] if last else []
    state = (
        last.state
        if last
        else RunState(
            update_freq=recipe.train.update_freq or distributed.world_size, languages=_languages(recipe, data)
        )
    )
    state.vocab_fingerprint, state.data_fingerprint = (
        data.vocab.fingerprint,
        data_fingerprint(recipe.stream, data),
    )
    _same_freq(recipe, state, last is not None)
    tokenizer = data.tokenizer()
    framing = make_framing(recipe, tokenizer, state.languages)

    torch.manual_seed(recipe.seed)
    model = Transformer(recipe.model, data.vocab.size, state.languages)
    objectives = {name: _objective(stream, recipe, framing) for name, stream in recipe.stream.items()}
    if only := [name for name, made in objectives.items() if made.exclusive and len(objectives) > 1]:
        raise MasscliError(
            f"stream {only[0]}: learns alone, not beside {len(objectives) - 1} more",
            "choose one language with --langs",
        )
    if last is not None:
        model.load_state_dict(last.weights())
        _load_heads(objectives, last)
    elif recipe.init_from is not None:
        with torch.no_grad():
            notes += begin(
                model,
                recipe,
                data.vocab,
                [f"{name}.{p}" for name, o in objectives.items() for p, _ in o.named_parameters()],
            )
    if last is None:
        notes += load_vectors(model, recipe.init_vectors, data)
    notes += freeze(model, recipe.optim.freeze)
    through = Pass(model)
    if recipe.train.shard_model and distributed.world_size > 1:
        refuse(recipe, state.update_freq)
        shard(through, device)
    elif recipe.train.shard_model:
        notes.append("--shard-model: a single process keeps the whole model")
    model.to(device)
    model.compute_dtype = _compute(recipe, state, device)
    for objective in objectives.values():
        objective.to(device)
    if recipe.train.compile:
        for stack in (model.encoder, model.decoder):
            for layer in stack.layers if stack is not None else ():
                layer.compile(dynamic=True)

    streams = [
        _stream(name, recipe, objectives[name], open_data(s.data_dir, data), framing)
        for name, s in recipe.stream.items()
    ]
    notes += [
        f"{s.name}: {remark}"
        for s in streams
        for remark in s.objective.data_warnings(s.batch_builder.dataset)
    ]
    notes += _about_dictionaries(recipe, data)
    notes += _about_lengths(recipe, framing, streams)
    notes += _about_epochs(recipe, streams[0], state) if last is None else []
    named = [
        *model.named_parameters(),
        *((f"objective.{n}.{k}", p) for n, o in objectives.items() for k, p in o.named_parameters()),
    ]
    optimizer = make_optimizer(
        recipe.optim, named, max(recipe.model.encoder_layers, recipe.model.decoder_layers)
    )
    validator, warnings = _validator(recipe, objectives, data, framing)
    scores = {step: c.metrics.get(recipe.checkpoint.best_metric) for step, c in kept.items()}
    trainer = Trainer(recipe, folder, through, streams, validator, tokenizer, optimizer, state, scores)
    if last is not None:
        _pick_up(folder, recipe, last, scores)
        restore_moments(optimizer, trainer.names, last.moments())
    return trainer, notes + warnings


def _compute(recipe: Recipe, state: RunState, device: torch.device) -> torch.dtype:
    """What `auto` came to when it was measured on a CPU is kept with the run: it goes on as it began, in every process."""
    wanted = recipe.train.precision
    if wanted == "auto" and device.type == "cpu":
        if not state.cpu_precision:
            state.cpu_precision = "bf16" if distributed.broadcast(torch.tensor(int(bf16_pays()))) else "fp32"
        wanted = state.cpu_precision
    return choose_dtype(wanted, device)


def _about_dictionaries(recipe: Recipe, data: DataFolder) -> list[str]:
    switching = [s.objective for s in recipe.stream.values() if isinstance(s.objective, SwitchingOptions)]
    paths = dict.fromkeys(
        options.switch_dictionary for options in switching if options.switch_dictionary is not None
    )
    return [note for path in paths if (note := unusable_entries(path, data))]


def _about_lengths(recipe: Recipe, framing: Framing, streams: Sequence[Stream]) -> list[str]:
    """What is left out, and which limit it is above; and a limit that nothing is measured by."""
    train, notes, most = recipe.train, list[str](), 1
    wanted = (
        ("--max-source-positions", train.max_source_positions),
        ("--max-target-positions", train.max_target_positions),
    )
    above = [f"{flag} {limit}" if limit <= there else f"the model's {recipe.model.max_positions} positions"
             for (flag, limit), there in zip(wanted, _positions(recipe, framing), strict=True)]  # fmt: skip
    for s in streams:
        sides = s.sampler.sizes(0, 1).shape[1]
        most = max(most, sides)
        if s.sampler.skipped:
            limit = " or ".join(dict.fromkeys(above[:sides]))
            notes.append(
                f"{s.name}: {s.sampler.skipped} of {s.sampler.num_examples} examples are longer than {limit} and are left out"
            )
    if most == 1 and train.max_target_positions != TrainConfig().max_target_positions:
        notes.append(
            f"{wanted[1][0]} {wanted[1][1]} bounds nothing: examples have one side, whose limit is {wanted[0][0]}"
        )
    return notes


def _folder(path: Path) -> Path:
    try:
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    except (PermissionError, FileExistsError, NotADirectoryError) as error:
        raise MasscliError(
            f"{path}: cannot be written ({error.strerror})", "choose another folder with --save-dir"
        ) from None
    needed = 64 * 2**20
    if shutil.disk_usage(path).free < needed:
        raise MasscliError(
            f"{path}: less than {needed // 2**20} MiB are free",
            "make room, or choose another disk with --save-dir",
        )
    return path


def _kept(folder: Path) -> dict[int, Checkpoint]:
    """The checkpoints of the run, by step; all processes look at the same ones, after rank 0 has tidied up."""
    if distributed.rank == 0:
        checkpoint.tidy(folder)
    distributed.barrier()
    paths = checkpoint.saved(folder)
    return {step: Checkpoint.open(path) for step, path in paths.items()}


def _pick_up(folder: Path, recipe: Recipe, last: Checkpoint, scores: Mapping[int, float | None]) -> None:
    """Make good what a kill may have left between a save and its links, and what another --best-metric makes of the scores."""
    metric = recipe.checkpoint.best_metric
    best = checkpoint.ranked(scores, lower_is_better(metric))
    if metric != last.recipe.checkpoint.best_metric:
        last.state.best, last.state.stale = scores[best[0]] if best else None, 0
    if distributed.rank == 0:
        checkpoint.link(folder / "checkpoints", "last", last.path)
        if best:
            checkpoint.link(folder / "checkpoints", "best", folder / "checkpoints" / f"step-{best[0]:07d}")


def _languages(recipe: Recipe, data: DataFolder) -> tuple[str, ...]:
    """The languages the model keeps vectors for: those of its first weights, then those of the data that are new."""
    if recipe.model.languages != "embedding" and recipe.model.cross_output != "language":
        return ()
    old = Checkpoint.open(recipe.init_from).state.languages if recipe.init_from else ()
    return (*old, *(x for x in languages(recipe.stream, data) if x not in old))


def _continue(recipe: Recipe, data: DataFolder, last: Checkpoint) -> str:
    if last.state.vocab_fingerprint != data.vocab.fingerprint:
        raise MasscliError(
            f"{last.path}: the run was made with another vocabulary than {recipe.data}",
            "continue it with its own data, or start another run with --save-dir",
        )
    if last.state.data_fingerprint and last.state.data_fingerprint != data_fingerprint(recipe.stream, data):
        raise MasscliError(
            f"{last.path}: the run was made of other text than is in {recipe.data} now",
            "start another run with --save-dir, or begin from its weights with --init-from",
        )
    before, now = list(last.recipe.stream), list(recipe.stream)
    if before != now:
        raise MasscliError(
            f"{recipe.save_dir}: holds a run of {', '.join(before)}, not of {', '.join(now)}",
            "start another run with --save-dir, or begin from its weights with --init-from",
        )
    old, new = _flat(to_dict(last.recipe)), _flat(to_dict(recipe))
    free = {*FREE, *(f"stream.{name}.data_dir" for name in now)}
    fixed = [
        k for k in sorted(old.keys() | new.keys()) if not any(k == f or k.startswith(f + ".") for f in free)
    ]
    changed = [k for k in fixed if old.get(k) != new.get(k)]
    if changed:
        said = "; ".join(f"{k} is {new.get(k)}, was {old.get(k)}" for k in changed[:4])
        raise MasscliError(
            f"{recipe.save_dir}: holds a run with another recipe ({said})",
            "start another run with --save-dir, or begin from its weights with --init-from",
        )
    return f"continuing {recipe.save_dir} from update {last.state.step}"


def _about_warmup(recipe: Recipe, before: Recipe) -> list[str]:
    """A warm-up that followed from a shorter --max-update stays as it was, since a run that is continued keeps its rates."""
    kept, fresh = recipe.optim.warmup_updates, default_warmup(recipe.train.max_update)
    if kept != default_warmup(before.train.max_update) or kept == fresh:
        return []
    return [
        f"the warm-up stays at {kept} updates, as of the --max-update that the run began with; a new --save-dir would take {fresh}"
    ]


def _about_epochs(recipe: Recipe, first: Stream, state: RunState) -> list[str]:
    """A run that ends by epochs has a warm-up that knows nothing of its length."""
    train, warmup = recipe.train, recipe.optim.warmup_updates or 0
    if train.max_update is not None or train.max_epoch is None or not warmup:
        return []
    share = first.share / sum(stream.sampling_weight for stream in recipe.stream.values())
    updates = round(
        train.max_epoch * len(first.sampler.epoch()) * train.batch_reuse / (state.update_freq * share)
    )
    if warmup <= updates // 4:
        return []
    return [
        f"warning: --max-epoch {train.max_epoch} is some {updates} updates, the warm-up takes {warmup}; set it with --warmup-updates"
    ]


def _same_freq(recipe: Recipe, state: RunState, continued: bool) -> None:
    wanted = recipe.train.update_freq
    if continued and wanted is not None and wanted != state.update_freq:
        raise MasscliError(
            f"--update-freq {wanted} differs from {state.update_freq}, with which the run was started",
            "leave it out",
        )


def _flat(raw: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in raw.items():
        path = f"{at}.{key}" if at else key
        out |= _flat(value, path) if isinstance(value, Mapping) else {path: value}
    return out


def _objective(stream: StreamConfig, recipe: Recipe, framing: Framing) -> Objective:
    cls = cast(Any, objective_class(stream.objective.name))
    made = cls(stream.objective, ObjectiveContext(framing, recipe.model, stream.dataset))
    assert isinstance(made, Objective)
    return made


def _load_heads(objectives: Mapping[str, Objective], last: Checkpoint) -> None:
    tensors = last.heads()
    for name, objective in objectives.items():
        objective.load_state_dict(
            {k[len(name) + 1 :]: v for k, v in tensors.items() if k.startswith(name + ".")}
        )


def _limits(recipe: Recipe, framing: Framing) -> BatchLimits:
    train, (source, target) = recipe.train, _positions(recipe, framing)
    return BatchLimits(
        train.max_tokens,
        train.batch_size,
        (min(train.max_source_positions, source), min(train.max_target_positions, target)),
    )


def _positions(recipe: Recipe, framing: Framing) -> tuple[int, int]:
    """The longest sizes that the stacks have positions for: sizes count both symbols, a decoder and most encoders read one of them."""
    return recipe.model.max_positions + 1 - framing.prefix_length, recipe.model.max_positions + 1


def _stream(name: str, recipe: Recipe, objective: Objective, data: DataFolder, framing: Framing) -> Stream:
    config = recipe.stream[name]
    objective.read_statistics(data)
    dataset, collator = objective.dataset(data, "train", config.max_examples)
    limits = _limits(recipe, framing)
    if isinstance(objective, EvaluableObjective):
        limits = limits._replace(
            max_lengths=(), shortening_options="the lengths of the task"
        )  # such examples are cut to fit, not left out
    elif cut := config.objective.max_example_length(framing.prefix_length):
        limits = limits._replace(shortening_options=f"--{cut[0].replace('_', '-')}")
    sampler = BatchSampler(len(dataset), dataset.sizes, limits, recipe.seed, name)
    return Stream(
        name,
        objective,
        BatchBuilder(name, dataset, collator, recipe.seed),
        sampler,
        config.sampling_weight,
        parse_schedule(config.loss_weight),
    )


def _validator(
    recipe: Recipe, objectives: Mapping[str, Objective], data: DataFolder, framing: Framing
) -> tuple[Validator, list[str]]:
    split, config = recipe.valid.valid_subset, recipe.valid
    allowed = {
        language: pieces
        for objective in objectives.values()
        for language, pieces in objective.allowed_pieces.items()
    }
    streams: list[ValidStream] = []
    tasks: list[BleuTask] = []
    rouges: list[RougeTask] = []
    warnings: list[str] = []
    if all(split not in open_data(s.data_dir, data).splits() for s in recipe.stream.values()):
        asked = {
            f"--valid-subset {split}": split != ValidConfig().valid_subset, "--patience": recipe.checkpoint.patience > 0,
            "--eval-bleu": config.eval_bleu, "--eval-roundtrip": config.eval_roundtrip, "--eval-retrieval": config.eval_retrieval,
            "--eval-rouge": config.eval_rouge, "--max-valid-rows": config.max_valid_rows is not None,
            f"--best-metric {recipe.checkpoint.best_metric}": recipe.checkpoint.best_metric != CheckpointConfig().best_metric,
        }  # fmt: skip
        if wanted := [flag for flag, said in asked.items() if said]:
            there = f"it has {', '.join(data.splits())}"
            hint = f"{there}; preprocess one with --validpref, or --mono valid.LANG=FILE"
            raise MasscliError(f"{wanted[0]}: {recipe.data} has no {split} split", hint)
        nothing = Validator((), (), (), (), data.tokenizer(), framing, config.eval_beam, False)
        return nothing, [f"no {split} split in {recipe.data}: nothing is validated"]
    for name, objective in objectives.items():
        text, its = recipe.stream[name].dataset, open_data(recipe.stream[name].data_dir, data)
        try:
            if isinstance(objective, EvaluableObjective):
                # Every example is measured once, whatever was done to the examples that were learned from.
                table = its.table(text, split).head(config.max_valid_rows)
                dataset, collator = objective.table_dataset(table, labelled=True), objective.collator()
            else:
                table = None
                dataset, collator = objective.dataset(its, split, config.max_valid_rows)
        except MissingDataError as error:
            warnings.append(f"{name} is not validated: {error.message}")
            continue
        longest = _positions(recipe, framing)
        limits = BatchLimits(max(recipe.train.max_tokens, *longest), None, longest)
        if isinstance(objective, EvaluableObjective):
            warnings += [f"{name}, {split}: {remark}" for remark in objective.data_warnings(dataset)]
            limits = BatchLimits(max(recipe.train.max_tokens, int(dataset.sizes(0, len(dataset)).max())))
        sampler = BatchSampler(len(dataset), dataset.sizes, limits, recipe.seed, name, shuffle=False)
        if sampler.skipped:
            warnings.append(
                f"{name}: {sampler.skipped} of {sampler.num_examples} validation examples are longer than --max-positions"
            )
        streams.append(ValidStream(name, objective, BatchBuilder(name, dataset, collator, 0), sampler, table))
        if config.eval_rouge and isinstance(objective, ConditionalGeneration) and table is not None:
            writing, most = objective.writing, objective.limits.target
            rouges.append(
                RougeTask(
                    name,
                    writing.language,
                    *objective.lines(table),
                    source_truncation(writing),
                    most,
                    writing.encoder_generates,
                )
            )
        known = {task.name for task in tasks}
        tasks += [
            task for task in _tasks(recipe.stream[name], its, recipe.valid, allowed) if task.name not in known
        ]
    if config.eval_bleu and not any(task.metric == "bleu" for task in tasks):
        warnings.append(
            f"no BLEU: the {split} split of {recipe.data} has no pairs of {', '.join(s.dataset for s in recipe.stream.values())}"
        )
    if config.eval_rouge and not rouges:
        warnings.append("no ROUGE: no stream of the run writes text from a table (summarize, respond)")
    if recipe.checkpoint.best_metric == "loss" and any(
        s.objective.input_kind.makes_sources for s in recipe.stream.values()
    ):
        warnings.append("the best checkpoint is chosen by the loss on sources that the model makes itself, which copying lowers; rather "
                        "--eval-roundtrip --best-metric roundtrip")  # fmt: skip
    tokenizer = data.tokenizer()
    found = _retrievals(recipe, data)
    if config.eval_retrieval and not found:
        warnings.append(
            f"no retrieval: the {split} split of {recipe.data} has no pairs of this run's languages, or the run no encoder"
        )
    lowercase = tokenizer.preprocessing.lowercase
    validator = Validator(
        tuple(streams), tuple(tasks), tuple(rouges), found, tokenizer, framing, config.eval_beam, lowercase
    )
    if validator and (metric := recipe.checkpoint.best_metric) not in validator.names:
        raise MasscliError(
            f"--best-metric {metric}: is not measured", f"choose one of {', '.join(validator.names)}"
        )
    return validator, warnings


def _retrievals(recipe: Recipe, data: DataFolder) -> tuple[RetrievalTask, ...]:
    config, spoken = (
        recipe.valid,
        {side for stream in recipe.stream.values() for side in stream.dataset.split("-")},
    )
    if not config.eval_retrieval or not recipe.model.encoder_layers:
        return ()
    pairs = [
        (p.source, p.target)
        for p in data.manifest.aligned
        if p.split == config.valid_subset and {p.source, p.target} <= spoken
    ]
    return tuple(
        RetrievalTask(pair, aligned_rows(data, config.valid_subset, pair, config.max_valid_rows))
        for pair in pairs
    )


def aligned_rows(
    data: DataFolder, split: str, pair: tuple[str, str], most: int | None
) -> tuple[list[Ids], list[Ids]]:
    """Both sides of the pairs of a split."""
    first, second = data.pair(split, *pair)
    rows = range(len(first) if most is None else min(most, len(first)))
    return [first[i] for i in rows], [second[i] for i in rows]


def _tasks(
    stream: StreamConfig, data: DataFolder, config: ValidConfig, allowed: Mapping[str, Tensor]
) -> list[BleuTask]:
    """What is translated for a stream: its validation pairs, where there are any; there and back, where it reads one side alone."""
    text, kind, tasks = stream.dataset, stream.objective.input_kind, list[BleuTask]()
    if not kind.has_direction:
        return tasks
    source, target = text.split("-")
    paired = any(
        p.split == config.valid_subset and {p.source, p.target} == {source, target}
        for p in data.manifest.aligned
    )
    if config.eval_bleu and (paired or not kind.makes_sources):
        sources, references = (
            data.original_lines(config.valid_subset, text, side)[: config.max_valid_rows]
            for side in (source, target)
        )
        tasks.append(
            BleuTask((source, target), sources, references, allowed, stream.objective.encoder_generates)
        )
    if config.eval_roundtrip and kind.makes_sources:
        real = data.original_lines(config.valid_subset, target, target)[: config.max_valid_rows]
        tasks.append(BleuTask((target, source, target), real, real, allowed))
    return tasks
