"""From what a user asked for to a complete recipe: streams, sizes, defaults.  Integers and strings only; nothing is built here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from pathlib import Path
from typing import Any, Protocol, cast

from masscli.config import decode, encode
from masscli.data.shards import DataBin
from masscli.errors import MasscliError
from masscli.models.presets import resolve
from masscli.objectives.labelled import Measured
from masscli.recipe import OBJECTIVES, ModelConfig, ObjectiveConfig, OptimConfig, Recipe, StreamConfig
from masscli.training.checkpoint import Checkpoint, saved
from masscli.training.idle import refuse_idle
from masscli.training.sources import languages, opened


class Request(Protocol):
    """A training command as it was typed (`masscli.cli.request.TrainRequest`)."""

    @property
    def recipe_raw(self) -> Mapping[str, Any]: ...
    @property
    def streams_raw(self) -> Mapping[str, Mapping[str, Any]]: ...
    @property
    def objective(self) -> str | None: ...
    @property
    def langs(self) -> tuple[str, ...]: ...
    @property
    def source(self) -> str | None: ...
    @property
    def target(self) -> str | None: ...
    @property
    def pairs(self) -> tuple[str, ...]: ...
    @property
    def beside(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def tables(self) -> tuple[str, ...]: ...
    @property
    def temperature(self) -> float: ...
    @property
    def limit(self) -> int | None: ...
    @property
    def objective_raw(self) -> Mapping[str, Any]: ...
    @property
    def flags(self) -> frozenset[str]: ...
    def options_of(self, objective: str) -> dict[str, Any]: ...


SHAPE = (
    "encoder_layers", "decoder_layers", "dim", "ffn_dim", "heads", "norm", "norm_eps", "norm_embedding", "scale_embedding", "activation",
    "positions", "max_positions", "embeddings", "output_bias", "languages", "cross_output", "source_bos", "segments",
    "embedding_dim", "project_embeddings", "share_layers", "head_transform", "pooler", "relative_buckets", "relative_distance",
)  # fmt: skip
"""Fields of a model that its weights depend on; with --init-from they come from the checkpoint."""

DEFAULT_UPDATES = 20_000
"""When nothing says when to stop.  Said in the help of --max-update."""


def compose(request: Request) -> Recipe:
    """The recipe that a request stands for, with streams, model sizes and the run's folder filled in."""
    raw = dict(request.recipe_raw)
    said = dict(raw.pop("model", {}))
    decode(ModelConfig, said, "model")  # complain about what was typed before anything else is looked at
    plain = _with_an_end(decode(Recipe, raw))
    data = DataBin.open(plain.data)
    streams = _streams(request, data)
    streams = {name: replace(s, objective=_completed(s, opened(s.data, data))) for name, s in streams.items()}
    first = next(iter(streams.values())).objective.name
    folder = plain.save_dir or Path("runs") / first.rpartition(":")[2].lower()
    plain = _as_begun(plain, folder)
    streams = _suited(streams, said, plain)
    kinds = {s.objective.stacks for s in streams.values()}
    if len(kinds) > 1:
        kinds.discard("any")
    stacks = kinds.pop() if len(kinds) == 1 else "encoder-decoder"
    for stack, other in (("encoder", "decoder"), ("decoder", "encoder")):
        if stacks == stack and said.get(f"{other}_layers") not in (None, 0, "0"):
            raise MasscliError(f"--{other}-layers: {', '.join(streams)} would never train it", f"leave it out: it needs the {stack} alone")
    model = _model(_of_one_stack(plain, said, stacks), stacks, languages(streams, data), plain.init_from)
    _check_beginning(plain, encode(model))
    _check(plain, streams)
    plain = _with_a_rate(plain, model, folder)
    whole = replace(plain, model=model, stream=streams, save_dir=folder)
    if not saved(folder):  # a run that was begun before something was refused goes on
        refuse_idle(whole, request)
        _check_lengths(whole)
        _check_heights(whole)
    return whole


def _with_an_end(recipe: Recipe) -> Recipe:
    train = recipe.train
    if train.max_update is None and train.max_epoch is None and train.stop_time_hours is None:
        return replace(recipe, train=replace(train, max_update=DEFAULT_UPDATES // train.reuse * train.reuse))
    return recipe


def _as_begun(recipe: Recipe, folder: Path) -> Recipe:
    """What a run began with is a fact of it: it is kept when the run goes on, and nothing else can be said then."""
    begun = saved(folder)
    if not begun:
        return recipe
    old = Checkpoint.open(begun[max(begun)]).recipe
    places = (("--init-from", recipe.init_from, old.init_from), ("--init-decoder-from", recipe.init_decoder_from, old.init_decoder_from))
    differ = {flag: (now, then) for flag, now, then in places if now is not None and (then is None or now.resolve() != then.resolve())}
    if recipe.init_vectors and recipe.init_vectors != old.init_vectors:
        differ["--init-vectors"] = Path(",".join(recipe.init_vectors)), Path(",".join(old.init_vectors)) if old.init_vectors else None
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
        warmup = usual_warmup(recipe.train.max_update)
    return replace(recipe, optim=replace(recipe.optim, lr=lr or 5e-4 * 512 / model.dim, warmup_updates=warmup))


def usual_warmup(updates: int | None) -> int:
    """Where nothing is said: a tenth of the run."""
    return min(4000, (updates or 40_000) // 10)


def _check(recipe: Recipe, streams: Mapping[str, StreamConfig]) -> None:
    if recipe.optim.lr_scheduler not in ("inverse_sqrt", "constant") and recipe.train.max_update is None:
        raise MasscliError(f"--lr-scheduler {recipe.optim.lr_scheduler} needs to know the last update", "add --max-update N")
    idle, end = min(s.objective.waits for s in streams.values()), recipe.train.max_update
    if end is not None and 0 < end <= idle:
        raise MasscliError(f"--max-update {end}: the model learns nothing in the first {idle} updates", "raise it")
    if idle and recipe.init_from:
        hint = "leave it out, or choose another --variant"
        raise MasscliError(f"--init-from {recipe.init_from}: its weights would be replaced after {idle} updates", hint)
    metric = recipe.checkpoint.best_metric
    if metric == "bleu" and not recipe.valid.eval_bleu:
        raise MasscliError("--best-metric bleu needs translations of the validation set", "add --eval-bleu")
    if metric.rpartition(".")[2].startswith("rouge") and not recipe.valid.eval_rouge:
        raise MasscliError(f"--best-metric {metric} needs outputs of the validation set", "add --eval-rouge")
    if metric == "bleu" and not any(s.objective.reads in ("pairs", "target") for s in streams.values()):
        raise MasscliError("--best-metric bleu needs a stream of pairs", "use --best-metric loss")
    there_and_back = any(s.objective.reads == "target" for s in streams.values())
    if metric == "roundtrip" and not recipe.valid.eval_roundtrip:
        raise MasscliError("--best-metric roundtrip needs translations of the validation set there and back", "add --eval-roundtrip")
    if recipe.valid.eval_roundtrip and not there_and_back:
        raise MasscliError("--eval-roundtrip needs a stream of back-translation", "add --task backtranslate, or leave it out")


def _suited(streams: Mapping[str, StreamConfig], said: Mapping[str, Any], recipe: Recipe) -> dict[str, StreamConfig]:
    """Objectives that can do with one stack or with both are told what there is before anything is added for them."""
    if recipe.init_from is None:
        there = resolve(said)
    else:
        there = _shape_of(Checkpoint.open(recipe.init_from).recipe.model, said, "any", recipe.init_from)
    encoder, decoder = there.encoder_layers > 0, there.decoder_layers > 0 or recipe.init_decoder_from is not None
    return {name: replace(s, objective=s.objective.suited(encoder, decoder)) for name, s in streams.items()}


def _of_one_stack(recipe: Recipe, said: dict[str, Any], stacks: str) -> dict[str, Any]:
    """What was said of the model; the stack that is not taken from the first weights is left out where no stream needs it."""
    stack = recipe.init_stacks
    if recipe.init_from is None or stack == "both" or stacks not in ("any", stack):
        return said
    _check_beginning(recipe, encode(Checkpoint.open(recipe.init_from).recipe.model))
    _check_beginning(recipe, {f"{stack}_layers": 1, **said})
    return {("decoder" if stack == "encoder" else "encoder") + "_layers": 0, **said}


def _check_beginning(recipe: Recipe, model: Mapping[str, Any]) -> None:
    """A stack that is begun with must be there."""
    stack = recipe.init_stacks
    if stack != "both" and model[f"{stack}_layers"] in (0, "0"):
        raise MasscliError(f"--init-stacks {stack}: the model has no {stack}", "leave it out, or take another run")
    if recipe.init_decoder_from is not None and not model["decoder_layers"]:
        raise MasscliError(f"--init-decoder-from {recipe.init_decoder_from}: the model has no decoder", "leave it out")


def _check_lengths(recipe: Recipe) -> None:
    """The pieces that running text is cut into must have positions; else nearly all of them would be left out."""
    model = recipe.model
    for stream in recipe.stream.values():
        option, tokens = stream.objective.longest(int(model.source_bos or model.languages == "tag")) or ("", 0)
        if (over := tokens - model.max_positions) > 0:
            size = encode(stream.objective)[option]
            larger = "" if recipe.init_from else f", or add --max-positions {tokens}"
            message = f"--{option.replace('_', '-')} {size}: the model has {model.max_positions} positions"
            raise MasscliError(message, f"give at most {size - over}{larger}")


def _check_heights(recipe: Recipe) -> None:
    """What layers share stands at no height of its own: it can be neither among the lowest nor have a rate of its own."""
    model, optim = recipe.model, recipe.optim
    if model.share_layers == "none" or max(model.encoder_layers, model.decoder_layers) == 1:
        return
    why = f"the layers share weights (--share-layers {model.share_layers})"
    if lowest := next((part for part in optim.freeze if part.isdecimal()), None):
        raise MasscliError(f"--freeze {lowest}: {why}, so none can be told apart", "name embeddings or a stack, or leave it out")
    if optim.layer_decay != 1:
        raise MasscliError(f"--layer-decay {optim.layer_decay}: {why}, and so their rate", "leave it out")


def _model(said: Mapping[str, Any], stacks: str, spoken: Sequence[str], init_from: Path | None) -> ModelConfig:
    model = resolve(said, stacks) if init_from is None else _shape_of(Checkpoint.open(init_from).recipe.model, said, stacks, init_from)
    for stack, layers in (("encoder", model.encoder_layers), ("decoder", model.decoder_layers)):
        if not layers and stack in stacks:
            raise MasscliError(f"--arch {model.arch} has no {stack}, which the objective needs", f"add --{stack}-layers N")
    if model.languages == "auto":
        several = "embedding" if len(spoken) > 1 else "none"
        model = replace(model, languages=cast(Any, several))
    return model


def _shape_of(old: ModelConfig, said: Mapping[str, Any], stacks: str, path: Path) -> ModelConfig:
    """The shape that weights come with; a stack that they lack and that is needed is as its named size, or the user, has it, and one that
    they have and that is not needed may be left out."""
    fresh = resolve({"arch": old.arch, **said}, stacks)
    had, wanted = encode(old), encode(fresh)
    halves = {"encoder": "encoder_layers", "decoder": "decoder_layers"}
    lacking = [layers for layers in halves.values() if not had[layers] and (stacks != "any" or layers in said)]
    left_out = [layers for stack, layers in halves.items() if layers in said and not wanted[layers] and stack not in stacks]
    for field in SHAPE:
        if field in (*lacking, *left_out) or wanted[field] in (had[field], "auto") or not (field in said or fresh.arch != old.arch):
            continue
        typed = f"--{field.replace('_', '-')} {wanted[field]}" if field in said else f"--arch {fresh.arch}"
        raise MasscliError(f"{typed} differs from the weights in {path}: their {field} is {had[field]}",
                           "leave it out: a model's shape comes with its weights")  # fmt: skip
    kept = {field: had[field] for field in SHAPE if field not in (*lacking, *left_out)}
    return decode(ModelConfig, had | {k: v for k, v in wanted.items() if k in said or k in lacking} | kept, "model")


def _streams(request: Request, data: DataBin) -> dict[str, StreamConfig]:
    streams = _written(request) if request.streams_raw else _chosen(request, data)
    for name, stream in streams.items():
        _check_text(name, stream, opened(stream.data, data))
    if request.limit is not None:
        streams = {name: replace(s, limit=request.limit) for name, s in streams.items()}
    return streams


def _written(request: Request) -> dict[str, StreamConfig]:
    """The streams of a recipe, with the options of objectives that were given by flags; what would need other streams is refused."""
    foreign = {
        "--beside": request.beside, "--langs": request.langs, "-s": request.source, "-t": request.target, "--pairs": request.pairs,
        "--table": request.tables, "--lang-temperature": request.temperature != 1.0,
    }  # fmt: skip
    if given := [flag for flag, value in foreign.items() if value]:
        raise MasscliError(f"{given[0]} chooses streams, and the recipe has its own", "change its [stream] tables, or leave --config out")
    decode(_Streams, {"stream": request.streams_raw})  # complain of their form before anything is laid over them
    known = {name: _override(raw, request) for name, raw in request.streams_raw.items()}
    streams = decode(_Streams, {"stream": known}).stream
    names = {s.objective.name for s in streams.values()}
    if request.objective is not None and names != {request.objective}:
        raise MasscliError(f"the recipe learns {', '.join(sorted(names))}, not {request.objective}",
                           "leave the recipe out, or the objective, or change its [stream] tables")  # fmt: skip
    return streams


def _override(raw: Mapping[str, Any], request: Request) -> dict[str, Any]:
    objective = dict(raw.get("objective", {}))
    given = request.options_of(objective["name"]) if isinstance(objective.get("name"), str) else {}
    return {**raw, "objective": {**objective, **given}}


def _chosen(request: Request, data: DataBin) -> dict[str, StreamConfig]:
    if request.objective is None:
        raise MasscliError("nothing says what to learn", "add --objective mass, --task translate, ... or a recipe with --config")
    name = request.objective
    schema = OBJECTIVES.schema(name)
    objective = cast(ObjectiveConfig, decode(schema, {"name": name, **request.options_of(name)}))
    short = name.rpartition(":")[2].lower()
    if request.tables and objective.reads != "table":
        raise MasscliError(f"--table: {name} does not learn from labelled examples", "leave it out")
    if objective.reads == "table":
        if request.source or request.target or request.pairs or request.langs:
            raise MasscliError(f"{name} reads a table of labelled examples", "choose it with --table, and its language with --language")
        texts = list(request.tables) or [_table(name, objective, data)]
    elif objective.reads == "pairs":
        texts = list(request.pairs) or [f"{a}-{b}" for a, b in [_direction(request, data)]]
    elif objective.reads == "target":
        texts = _both_ways(request, data)
    else:
        if request.source or request.target or request.pairs:
            raise MasscliError(f"{name} reads one language at a time", "choose languages with --langs")
        texts = list(request.langs or data.languages)
    _check_directions(request)
    streams = _named(short, texts, objective, "1", request, data)
    if request.temperature != 1 and (len(texts) == 1 or objective.reads == "target") and not request.beside:
        why = "directions of back-translation are drawn equally often" if objective.reads == "target" else f"{short} has one text"
        raise MasscliError(f"--lang-temperature {request.temperature}: {why}", "leave it out")
    share = sum(s.share for s in streams.values())
    for other, weight in request.beside:
        more = _beside(other, weight, texts, share, request, data)
        if twice := next((key for key in more if key in streams), None):
            raise MasscliError(f"--beside {other}: there is a stream {twice} already",
                               "name an objective once; folders of one name must be given another")  # fmt: skip
        streams |= more
    return streams


def _check_directions(request: Request) -> None:
    """Two ways to name them may not say different things."""
    named = {side for side in (request.source, request.target) if side is not None}
    sides = {side for pair in request.pairs for side in pair.split("-")}
    if request.pairs and (named or (request.langs and sides != set(request.langs))):
        raise MasscliError(f"--pairs {','.join(request.pairs)} names the directions, and so do -s, -t and --langs", "give one of them")
    if named and request.langs and not named <= set(request.langs):
        raise MasscliError(f"--langs {','.join(request.langs)} and -s, -t ({', '.join(sorted(named))}) differ", "give one of them")


def _named(
    short: str, texts: Sequence[str], objective: ObjectiveConfig, weight: str, request: Request, data: DataBin
) -> dict[str, StreamConfig]:
    """A stream for each text, drawn by its size; the directions of back-translation equally often, as XLM and MASS have them: a model is
    to write its smaller language, too."""
    sizes = [_rows(text, objective, data, request.limit) if objective.reads != "target" else 1 for text in texts]
    return {
        f"{short}-{text}": StreamConfig(text=text, objective=objective, weight=weight, share=float(size ** (1 / request.temperature)))
        for text, size in zip(texts, sizes, strict=True)
    }


def _beside(name: str, weight: str, texts: Sequence[str], share: float, request: Request, data: DataBin) -> dict[str, StreamConfig]:
    """The streams of --beside NAME=WEIGHT or NAME@FOLDER=WEIGHT, on the languages of the main ones; all of them are drawn as often as all
    of those."""
    name, at, folder = name.partition("@")
    if at and not folder:
        raise MasscliError(f"--beside {name}@: names no folder", f"write {name}@FOLDER, or {name} for the run's own data")
    own_data = Path(folder) if folder else None
    data = opened(own_data, data)
    objective = cast(ObjectiveConfig, decode(OBJECTIVES.schema(name), {"name": name, **request.options_of(name)}))
    own = list(dict.fromkeys(side for text in texts for side in text.split("-")))
    if objective.reads == "pairs":
        wanted = [text for text in texts if "-" in text] or [f"{a}-{b}" for a, b in permutations(own, 2)]
        # In a folder of its own one side may be synthetic, and must not be learned to be written.
        known = {*data.pairs, *(() if own_data else ("-".join(reversed(pair.split("-"))) for pair in data.pairs))}
        found = [text for text in wanted if text in known]
        if not found:
            raise MasscliError(f"--beside {name}: {data.folder} has no pairs of {', '.join(own)}", "preprocess them with --trainpref")
    elif objective.reads == "target":
        found = [f"{a}-{b}" for a, b in permutations(own, 2)]
    else:
        found = own
    short = name.rpartition(":")[2].lower()
    streams = _named(f"{short}-{own_data.resolve().name}" if own_data else short, found, objective, weight, request, data)
    total = sum(s.share for s in streams.values())
    return {key: replace(s, share=s.share * share / total, data=own_data) for key, s in streams.items()}


def _both_ways(request: Request, data: DataBin) -> list[str]:
    """The directions of back-translation: those named, or all between the languages."""
    if request.pairs:
        return list(request.pairs)
    if request.source and request.target:
        return [f"{request.source}-{request.target}"]
    wanted = request.langs or data.languages
    if len(wanted) < 2:
        raise MasscliError("back-translation goes between languages", f"add --langs; the data has {', '.join(data.languages)}")
    return [f"{a}-{b}" for a, b in permutations(wanted, 2)]


def _direction(request: Request, data: DataBin) -> tuple[str, str]:
    if request.source and request.target:
        return request.source, request.target
    if request.langs and not (request.source or request.target):
        if len(request.langs) != 2:
            raise MasscliError(f"--langs {','.join(request.langs)}: a direction has two languages", "use -s and -t, or --pairs en-de,de-en")
        return request.langs[0], request.langs[1]
    if len(data.pairs) == 1:
        a, b = data.pairs[0].split("-")
        if request.source in (None, a) and request.target in (None, b):
            return a, b
        if request.source in (None, b) and request.target in (None, a):
            return b, a
    raise MasscliError("the direction is not clear", f"add -s LANG -t LANG; the data has {', '.join(data.pairs) or 'no pairs'}")


def _table(name: str, objective: ObjectiveConfig, data: DataBin) -> str:
    """The only table that the objective can mean: of the kind that it usually reads, else of another."""
    by_kind = [[table for table, kind in data.tables.items() if kind == wanted] for wanted in objective.formats]
    usual = next((tables for tables in by_kind if tables), [])
    if len(usual) == 1:
        return usual[0]
    if fitting := [table for tables in by_kind for table in tables]:
        raise MasscliError("which table?", f"say it with --table; {name} can read {', '.join(fitting)}")
    has = ", ".join(f"{table} ({kind})" for table, kind in data.tables.items()) or "none"
    raise MasscliError(f"{data.folder}: has no table that {name} reads ({', '.join(objective.formats)})", f"its tables: {has}")


def _check_table(name: str, stream: StreamConfig, data: DataBin) -> None:
    """The table must be there, and of a kind that is read."""
    kind = data.tables.get(stream.text)
    if kind is None:
        raise MasscliError(f"{data.folder}: has no table {stream.text!r}", f"its tables are {', '.join(data.tables) or 'none'}")
    if kind not in stream.objective.formats:
        wanted = ", ".join(stream.objective.formats)
        raise MasscliError(f"stream {name}: {stream.objective.name} does not read {kind}", f"it reads {wanted}")


def _completed(stream: StreamConfig, data: DataBin) -> ObjectiveConfig:
    """The objective's options with what follows from the data filled in."""
    if stream.objective.reads != "table":
        return stream.objective
    objective = cast(type[Measured], OBJECTIVES.load(stream.objective.name))
    return cast(ObjectiveConfig, objective.complete(stream.objective, data, stream.text))


def _rows(text: str, objective: ObjectiveConfig, data: DataBin, limit: int | None) -> int:
    _check_text(text, StreamConfig(text=text, objective=objective), data)
    if objective.reads == "table":
        return max(1, len(data.table(text, "train").head(limit)))
    sides = text.split("-")
    alone = objective.reads != "pairs"
    rows = len(data.monolingual("train", sides[-1])) if alone else len(data.pair("train", sides[0], sides[1])[0])
    return max(1, rows if limit is None else min(limit, rows))


def _check_text(name: str, stream: StreamConfig, data: DataBin) -> None:
    if stream.objective.reads == "table":
        _check_table(name, stream, data)
        return
    sides, reads = stream.text.split("-"), stream.objective.reads
    if len(sides) != (1 if reads == "sentences" else 2):
        raise MasscliError(f"stream {name}: {stream.text!r} is not a {'language' if reads == 'sentences' else 'direction such as en-de'}",
                           f"the data has languages {', '.join(data.languages)} and pairs {', '.join(data.pairs) or 'none'}")  # fmt: skip
    for side in sides:
        if side not in data.languages:
            raise MasscliError(f"{data.folder}: has no language {side!r}", f"it has {', '.join(data.languages)}")
    if reads == "target" and sides[0] == sides[1]:
        raise MasscliError(f"stream {name}: {stream.text} goes from a language to itself", "back-translation needs two languages")
    if reads == "pairs" and "-".join(sides) not in data.pairs and "-".join(reversed(sides)) not in data.pairs:
        raise MasscliError(f"{data.folder}: has no pair {'-'.join(sides)}", f"it has {', '.join(data.pairs) or 'no pairs at all'}")


@dataclass(frozen=True)
class _Streams:
    stream: dict[str, StreamConfig]
