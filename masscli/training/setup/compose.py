"""From what a user asked for to a complete recipe: streams (choice.py), sizes (shape.py), defaults.  Integers and strings only; nothing is
built here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from masscli.checkpoint.checkpoint import Checkpoint, saved
from masscli.core.config import from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.training.config import OptimConfig
from masscli.training.recipe import Recipe, StreamConfig
from masscli.training.setup.architecture import (
    adapt_objectives,
    check_init,
    check_lengths,
    check_shared_layers,
    shape,
    single_stack,
)
from masscli.training.setup.data_sources import languages, open_data
from masscli.training.setup.streams import Request, fill_from_data, select_streams
from masscli.training.setup.unused_options import refuse_idle

DEFAULT_UPDATES = 20_000
"""When nothing says when to stop.  Said in the help of --max-update."""


def compose(request: Request) -> Recipe:
    """The recipe that a request stands for, with streams, model sizes and the run's folder filled in."""
    raw = dict(request.recipe_raw)
    said = dict(raw.pop("model", {}))
    from_dict(ModelConfig, said, "model")  # complain about what was typed before anything else is looked at
    plain = _with_an_end(from_dict(Recipe, raw))
    data = DataFolder.open(plain.data)
    streams = select_streams(request, data)
    streams = {
        name: replace(s, objective=fill_from_data(s, open_data(s.data_dir, data)))
        for name, s in streams.items()
    }
    first = next(iter(streams.values())).objective.name
    folder = plain.save_dir or Path("runs") / first.rpartition(":")[2].lower()
    plain = _as_begun(plain, folder)
    streams = adapt_objectives(streams, said, plain)
    kinds = {s.objective.stacks for s in streams.values()}
    if len(kinds) > 1:
        kinds.discard("any")
    stacks = kinds.pop() if len(kinds) == 1 else "encoder-decoder"
    for stack, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if stacks == stack and said.get(f"{other}_layers") not in (None, 0, "0"):
            raise MasscliError(
                f"--{other}-layers: {', '.join(streams)} would never train it",
                f"leave it out: it needs the {stack} alone",
            )
    model = shape(single_stack(plain, said, stacks), stacks, languages(streams, data), plain.init_from)
    check_init(plain, to_dict(model))
    _check(plain, streams)
    plain = _with_a_rate(plain, model, folder)
    whole = replace(plain, model=model, stream=streams, save_dir=folder)
    if not saved(folder):  # a run that was begun before something was refused goes on
        refuse_idle(whole, request)
        check_lengths(whole)
        check_shared_layers(whole)
    return whole


def _with_an_end(recipe: Recipe) -> Recipe:
    train = recipe.train
    if train.max_update is None and train.max_epoch is None and train.stop_time_hours is None:
        return replace(
            recipe, train=replace(train, max_update=DEFAULT_UPDATES // train.batch_reuse * train.batch_reuse)
        )
    return recipe


def _as_begun(recipe: Recipe, folder: Path) -> Recipe:
    """What a run began with is a fact of it: it is kept when the run goes on, and nothing else can be said then."""
    begun = saved(folder)
    if not begun:
        return recipe
    old = Checkpoint.open(begun[max(begun)]).recipe
    places = (
        ("--init-from", recipe.init_from, old.init_from),
        ("--init-decoder-from", recipe.init_decoder_from, old.init_decoder_from),
    )
    differ = {
        flag: (now, then)
        for flag, now, then in places
        if now is not None and (then is None or now.resolve() != then.resolve())
    }
    if recipe.init_vectors and recipe.init_vectors != old.init_vectors:
        differ["--init-vectors"] = (
            Path(",".join(recipe.init_vectors)),
            Path(",".join(old.init_vectors)) if old.init_vectors else None,
        )
    for flag, (now, then) in differ.items():
        raise MasscliError(f"{flag} {now}: {folder} holds a run that began with {then or 'none'}",
                           "start another run with --save-dir, or leave it out to go on")  # fmt: skip
    return replace(recipe, init_from=old.init_from, init_stacks=old.init_stacks, init_decoder_from=old.init_decoder_from,
                   init_vectors=old.init_vectors)  # fmt: skip


def _with_a_rate(recipe: Recipe, model: ModelConfig, folder: Path) -> Recipe:
    """Fill in the learning rate and the warm-up.  Best rates fall in proportion to width (Yang et al. 2022, tensor programs V).

    A run that is continued keeps those it has: they must not change with --max-update.
    """
    begun = saved(folder)
    last = Checkpoint.open(begun[max(begun)]).recipe.optim if begun else OptimConfig()
    lr, warmup = recipe.optim.lr or last.lr, recipe.optim.warmup_updates
    if warmup is None:
        warmup = last.warmup_updates
    if warmup is None:
        warmup = default_warmup(recipe.train.max_update)
    return replace(
        recipe, optim=replace(recipe.optim, lr=lr or 5e-4 * 512 / model.dim, warmup_updates=warmup)
    )


def default_warmup(updates: int | None) -> int:
    """Where nothing is said: a tenth of the run."""
    return min(4000, (updates or 40_000) // 10)


def _check(recipe: Recipe, streams: Mapping[str, StreamConfig]) -> None:
    if recipe.optim.lr_scheduler not in ("inverse_sqrt", "constant") and recipe.train.max_update is None:
        raise MasscliError(
            f"--lr-scheduler {recipe.optim.lr_scheduler} needs to know the last update", "add --max-update N"
        )
    idle, end = min(s.objective.warm_start_updates for s in streams.values()), recipe.train.max_update
    if end is not None and 0 < end <= idle:
        raise MasscliError(
            f"--max-update {end}: the model learns nothing in the first {idle} updates", "raise it"
        )
    if idle and recipe.init_from:
        hint = "leave it out, or choose another --variant"
        raise MasscliError(
            f"--init-from {recipe.init_from}: its weights would be replaced after {idle} updates", hint
        )
    metric = recipe.checkpoint.best_metric
    if metric == "bleu" and not recipe.valid.eval_bleu:
        raise MasscliError("--best-metric bleu needs translations of the validation set", "add --eval-bleu")
    if metric.rpartition(".")[2].startswith("rouge") and not recipe.valid.eval_rouge:
        raise MasscliError(f"--best-metric {metric} needs outputs of the validation set", "add --eval-rouge")
    if metric == "bleu" and not any(s.objective.input_kind.has_direction for s in streams.values()):
        raise MasscliError("--best-metric bleu needs a stream of pairs", "use --best-metric loss")
    there_and_back = any(s.objective.input_kind.makes_sources for s in streams.values())
    if metric == "roundtrip" and not recipe.valid.eval_roundtrip:
        raise MasscliError(
            "--best-metric roundtrip needs translations of the validation set there and back",
            "add --eval-roundtrip",
        )
    if recipe.valid.eval_roundtrip and not there_and_back:
        raise MasscliError(
            "--eval-roundtrip needs a stream of back-translation", "add --task backtranslate, or leave it out"
        )
