"""Turn a training request into a complete recipe: choose streams, architecture and default values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import Problem, from_dict, is_changed, to_dict
from masscli.core.errors import MasscliError
from masscli.core.files import real_path
from masscli.core.folder_kinds import require_kind
from masscli.models.config import ModelConfig
from masscli.training.config import OptimConfig
from masscli.training.recipe import Recipe, StreamConfig
from masscli.training.setup.architecture import (
    adapt_objectives,
    check_init,
    check_lengths,
    check_shared_layers,
    choose_architecture,
    needed_stacks,
    single_stack,
)
from masscli.training.setup.goals import check_end, check_goals, check_rates
from masscli.training.setup.request import TrainRequest
from masscli.training.setup.run_context import RunContext
from masscli.training.setup.streams import fill_from_data, select_streams
from masscli.training.setup.unused_options import check_unused_options

DEFAULT_UPDATES = 20_000
"""Number of updates of a run if no option says when it ends. The help of --max-update gives the same
number."""

DEFAULT_LR = 5e-4
"""The learning rate of a model of width 512 if no option gives one."""

DEFAULT_LR_IMPORTED = 7.5e-5
"""The same for a model that begins with imported weights, which were trained for long. It is 5e-5 for a width
of 768, the largest of the rates that Devlin et al. (2019, appendix A.3) recommend for BERT-base."""


@dataclass(frozen=True)
class ComposedRun:
    """A complete recipe, with the data folders and checkpoints that were opened to make it."""

    recipe: Recipe
    context: RunContext
    """The data folders and checkpoints that have been opened so far."""
    unused_options: list[Problem]
    """Options that the user gave although they have no effect, for a warning."""


def compose(request: TrainRequest) -> ComposedRun:
    """Turn a training request into a complete recipe: streams, architecture and the run's folder filled in.

    If there is a run in the folder already, the recipe continues it, with its initial weights. Raises
    MasscliError if the request contradicts itself, the data, the run in the folder or the checkpoint of
    --init-from.
    """
    options = dict(request.recipe_options)
    # Report errors in the options before anything is read from disk.
    from_dict(ModelConfig, options.get("model", {}), "model")
    model_options = dict(options.pop("model", {}))
    recipe = _with_default_end(from_dict(Recipe, options))

    context = RunContext.open(recipe.data, request.verify)
    streams = fill_from_data(select_streams(request, context), context)
    save_dir = recipe.save_dir or _default_folder(streams)
    require_kind(save_dir, "a run", "--save-dir")
    # A repeated command line continues its run, so the stored choices of the run apply from here on.
    last = context.last_checkpoint(save_dir)
    if last is not None:
        recipe = _keep_initialization(recipe, last.recipe, save_dir)
    initial = None
    if recipe.init_from is not None:
        initial = _architecture_source(recipe.init_from, last, context)

    # The existing stacks determine the objectives, which in turn determine the needed stacks.
    streams = adapt_objectives(streams, model_options, recipe, initial)
    stacks = needed_stacks(streams, model_options)
    model_options = single_stack(recipe, model_options, stacks, initial)
    model = choose_architecture(
        model_options, stacks, context.languages(streams), recipe, initial
    )
    check_init(recipe, to_dict(model))
    check_goals(recipe, streams)
    recipe = _with_learning_rate(recipe, model, last, initial)
    recipe = replace(recipe, model=model, stream=streams, save_dir=save_dir)

    # A run that was started before masscli refused its options may be continued.
    if last is not None:
        return ComposedRun(recipe, context, [])
    unused = check_unused_options(recipe, request)
    check_lengths(recipe)
    check_shared_layers(recipe)
    check_rates(recipe)
    check_end(recipe)
    return ComposedRun(recipe, context, unused)


def _architecture_source(
    init_from: Path, last: Checkpoint | None, context: RunContext
) -> Checkpoint:
    """Return the checkpoint that gives the architecture of a run with initial weights from `init_from`.

    A continued run does not need `init_from`, which may be on another machine by now: without it, the
    architecture is that of `last`, its own last checkpoint. Raises MasscliError if neither is there.
    """
    if last is not None and not init_from.exists():
        return last
    return context.open_checkpoint(init_from)


def default_warmup(max_update: int | None) -> int:
    """Return the default number of warm-up updates: a tenth of `max_update`, but at most 4000.

    Without `max_update` it is 4000.
    """
    return min(4000, (max_update or 40_000) // 10)


def _with_default_end(recipe: Recipe) -> Recipe:
    """Return the recipe, with the default --max-update if no option says when the run ends."""
    train = recipe.train
    if (
        train.max_update is None
        and train.max_epoch is None
        and train.stop_time_hours is None
    ):
        # The last update must end a list of batches that is used several times.
        updates = DEFAULT_UPDATES // train.batch_reuse * train.batch_reuse
        return replace(recipe, train=replace(train, max_update=updates))
    return recipe


def _default_folder(streams: Mapping[str, StreamConfig]) -> Path:
    """Return `runs/OBJECTIVE`, where OBJECTIVE is the name of the first stream's objective.

    For an objective called `module:Class` it is the class in lower case.
    """
    first = next(iter(streams.values()))
    # An objective outside of masscli is called module:Class.
    return Path("runs") / first.objective.name.rpartition(":")[2].lower()


def _keep_initialization(recipe: Recipe, stored: Recipe, save_dir: Path) -> Recipe:
    """Return the recipe with the initial weights and vectors of the existing run in `save_dir`.

    These are all --init-* options. `stored` is the recipe of this run. Raises MasscliError if `recipe` names
    other initial weights.
    """
    # The first change is enough for an error.
    for flag, asked, begun_with in _changed_initialization(recipe, stored):
        began = f"with {begun_with}" if begun_with else "without it"
        raise MasscliError(
            f"{flag} {asked}: {save_dir} holds a run that began {began}",
            "start another run with --save-dir, or leave it out to continue",
        )
    return replace(
        recipe,
        init_from=stored.init_from,
        init_stacks=stored.init_stacks,
        init_decoder_from=stored.init_decoder_from,
        init_new=stored.init_new,
        init_vectors=stored.init_vectors,
    )


def _changed_initialization(
    recipe: Recipe, stored: Recipe
) -> Iterator[tuple[str, object, object]]:
    """Yield each flag that names other initial weights than the run began with: flag, given and stored value.

    `recipe` is the new recipe, and `stored` the one of the run.
    """
    paths = (
        ("--init-from", recipe.init_from, stored.init_from),
        ("--init-decoder-from", recipe.init_decoder_from, stored.init_decoder_from),
    )
    for flag, asked, begun_with in paths:
        # Paths are compared as places, since one run may be named in several ways.
        if asked is not None and (
            begun_with is None or real_path(asked) != real_path(begun_with)
        ):
            yield flag, asked, begun_with
    # An option with its default was most likely left out.
    if is_changed(recipe, "init_stacks") and recipe.init_stacks != stored.init_stacks:
        yield "--init-stacks", recipe.init_stacks, stored.init_stacks
    if is_changed(recipe, "init_new") and recipe.init_new != stored.init_new:
        yield "--init-new", recipe.init_new, stored.init_new
    if recipe.init_vectors and recipe.init_vectors != stored.init_vectors:
        yield (
            "--init-vectors",
            ",".join(recipe.init_vectors),
            ",".join(stored.init_vectors),
        )


def _with_learning_rate(
    recipe: Recipe,
    model: ModelConfig,
    last: Checkpoint | None,
    initial: Checkpoint | None,
) -> Recipe:
    """Return the recipe with the learning rate and the warm-up filled in.

    Values that the user gives come first, then those of the run to be continued (`last` is its checkpoint),
    then the defaults. The default rate is inversely proportional to the width of the model (Yang et al. 2022,
    Tensor Programs V), and lower if the initial weights, those of `initial`, were imported or trained from
    imported ones. A continued run keeps its values, so that they do not change with --max-update.
    """
    default = DEFAULT_LR
    if initial is not None and initial.state.has_imported_weights:
        default = DEFAULT_LR_IMPORTED
    stored = OptimConfig()
    if last is not None:
        stored = last.recipe.optim
    # Values given by the user override those of the run, which override the defaults.
    lr = recipe.optim.lr or stored.lr or default * 512 / model.dim
    warmup = recipe.optim.warmup_updates
    if warmup is None:
        warmup = stored.warmup_updates
    if warmup is None:
        warmup = default_warmup(recipe.train.max_update)
    return replace(recipe, optim=replace(recipe.optim, lr=lr, warmup_updates=warmup))
