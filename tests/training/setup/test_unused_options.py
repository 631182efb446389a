"""Options without effect: a warning names them, or they are refused; and what has no effect changes nothing indeed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.preprocess import run as preprocess
from masscli.core.config import iter_options, to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.models.presets import presets
from masscli.objectives.mass.options import MASS_PRESETS
from masscli.objectives.registry import OBJECTIVES, ObjectiveConfig
from masscli.objectives.stream_selection import StreamSelection
from masscli.training.recipe import Recipe
from masscli.training.setup.build import build
from masscli.training.setup.compose import compose
from masscli.training.setup.request import TrainRequest
from masscli.training.setup.unused_options import section_rules
from tests.commands import succeed
from tests.toy import composed, composed_run, recipe
from tests.training.test_trainer import train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

SMALL = ["--dim", "16", "--ffn-dim", "16", "--heads", "2", "--max-update", "1"]
PAIRS, FORM = ["roberta", "--input-form", "segment-pair"], "--input-form full-sentences"
DRAWN = f"{FORM} makes no pairs, and --masks dynamic draws by --seed"


@pytest.mark.parametrize(
    ("idle", "flags", "why", "useful"),
    [
        (["roberta"], ["--short-seq-prob", "0.5"], f"{FORM} always aims at the full length", PAIRS),
        (["roberta"], ["--dupe-factor", "1"], f"{FORM} makes the same examples each time", PAIRS),
        (["roberta"], ["--pair-seed", "3"], DRAWN, ["roberta", "--masks", "static"]),
        (PAIRS, ["--no-mask-specials"], "--input-form segment-pair never masks [CLS] and [SEP]", ["roberta"]),
        (["electra", "--variant", "replace-mlm"], ["--disc-weight", "20"],
         "--variant replace-mlm has no discriminator, and its two losses have equal weights", ["electra"]),
        (["unilm", "--variant", "ar"], ["--ngram-prob", "0.4"], "--variant ar has blocks of one token", ["unilm"]),
        (["unilm", "--ngram-prob", "0"], ["--max-ngram", "3"], "--ngram-prob 0 makes blocks of one token", ["unilm"]),
        (["unilm", "--variant", "par"], ["--corruption", "all-mask"], "--variant par has no [M]", ["unilm"]),
        (["s2s", "--target-mask-prob", "0"], ["--random-token-prob", "0.2"], "--target-mask-prob 0 corrupts nothing", ["s2s"]),
        (["mass"], ["--switch-share", "0.3"], "there is nothing to switch by without --switch-dictionary",
         ["mass", "--switch-dictionary", "x"]),
        (["mass"], ["--window", "64"], "there are no windows without --block", ["mass", "--block", "8"]),
        (["mass", "--k-tokens", "2"], ["--k-of", "sequence"], "--k-tokens is a count", ["mass"]),
        (["mass", "--block", "8"], ["--mask-eos"], "a window of blocks (--block) has no start and end symbols of its own", ["mass"]),
        (["mass", "--random-share", "0"], ["--random-ids", "all"], "no token is replaced by a random one",
         ["mass", "--random-share", "0", "--decoder-random-share", "0.1"]),
        (["mass", "--feed", "all"], ["--decoder-positions", "restart"], "with --feed all both values are the same", ["mass"]),
        (["mlm"], ["--layer-decay-offset", "2"], "all layers have one learning rate without --layer-decay", ["mlm", "--layer-decay", "0.9"]),
        (["mlm"], ["--warmup-init-lr", "0", "--lr-scheduler", "linear"], "--lr-scheduler linear warms up from 0", []),
        (["mlm"], ["--end-lr", "1e-9"], "--lr-scheduler inverse_sqrt approaches no such value", ["mlm", "--lr-scheduler", "cosine"]),
        (["mlm"], ["--decay-all"], "no weights decay without --weight-decay", ["mlm", "--optimizer", "lamb"]),
        (["mlm"], ["--relative-distance", "128"], "there are no relative positions without --relative-buckets",
         ["mlm", "--relative-buckets", "32"]),
        (["clm"], ["--relative-buckets", "32"], "only an encoder has relative positions", ["mlm"]),
        (["mlm"], ["--cross-output", "language"], "the model has no cross-attention", ["mass"]),
        (["mlm"], ["--min-loss-scale", "1"], "only --precision fp16 scales the loss", ["mlm", "--fp16"]),
        (["translate", "-s", "en", "-t", "de"], ["--eval-beam", "2"], "nothing is searched for without --eval-bleu or --eval-rouge",
         ["translate", "-s", "en", "-t", "de", "--eval-bleu"]),
        (["translate", "-s", "en", "-t", "de"], ["--eval-samples", "2"],
         "nothing is written without --eval-bleu, --eval-rouge or --eval-roundtrip",
         ["backtranslate", "-s", "en", "-t", "de", "--eval-roundtrip"]),
        (["mass", "--languages", "tag"], ["--source-bos"],
         "the tag of --source-tag first is in the place of the start symbol",
         ["mass", "--languages", "tag", "--source-tag", "last"]),
        (["mass", "--positions", "none"], ["--position-offset", "2"], "the model has no positions",
         ["mass", "--positions", "none", "--decoder-position-type", "learned"]),
        (["clm", "--decoder-position-type", "learned"], ["--sinusoids", "marian"], "the model has no sinusoidal positions",
         ["mass", "--decoder-position-type", "learned"]),
        (["mlm"], ["--decay-updates", "1"], "--lr-scheduler inverse_sqrt has no decay of its own; use --lr-scheduler wsd",
         ["mlm", "--lr-scheduler", "wsd"]),
        (["mlm"], ["--lr-patience", "2"],
         "--lr-scheduler inverse_sqrt does not depend on validations; use --lr-scheduler reduce_lr_on_plateau",
         ["mlm", "--lr-scheduler", "reduce_lr_on_plateau"]),
        (["mlm", "--lr-scheduler", "constant"], ["--stop-min-lr", "1e-5"], "the rate of --lr-scheduler constant does not fall", ["mlm"]),
        (["mlm", "--optimizer", "adafactor"], ["--adam-eps", "1e-6"], "--optimizer adafactor has no such numbers", ["mlm"]),
        (["mlm", "--no-save"], ["--keep-last", "2"], "--no-save saves no checkpoints", ["mlm"]),
        (["mlm", "--disable-validation"], ["--keep-best", "2"], "no checkpoint is best with --disable-validation", ["mlm"]),
        (["mlm", "--disable-validation"], ["--max-tokens-valid", "99"], "--disable-validation is given", ["mlm"]),
        (["mlm"], ["--max-span", "5"], "single tokens are masked without --span-p", ["mlm", "--span-p", "0.2"]),
        (["denoise"], ["--infill-length", "2"], "--infill-share 0 replaces nothing", ["denoise", "--infill-share", "0.3"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) and value and value[0].startswith("--") else "",
)  # fmt: skip
def test_a_flag_without_effect_is_named(
    idle: list[str],
    flags: list[str],
    why: str,
    useful: list[str],
    toy: Path,
    tmp_path: Path,
) -> None:
    small = [str(toy), *SMALL, "--save-dir", str(tmp_path / "run"), "--objective"]
    if flags[0] in ("--relative-buckets", "--cross-output"):
        with pytest.raises(MasscliError) as error:
            composed(*small, *idle, *flags)
        assert (error.value.message, error.value.hint) == (
            f"{flags[0]}: would have no effect: {why}",
            "leave it out",
        )
    else:
        assert unused(*small, *idle, *flags) == [(flags[0], why)]
    if useful:
        assert unused(*small, *useful, *flags) == []


def unused(*args: str) -> list[tuple[str, str]]:
    """The flags of a command line that have no effect, as they were typed, and why."""
    run, request = composed_run(*args)
    return [
        (request.names[problem.key], problem.message) for problem in run.unused_options
    ]


def test_a_run_with_one_flag_too_many_warns_once_and_trains(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = f"--objective mass --eval-beam 2 --save-dir {tmp_path}/run".split()
    succeed(["pretrain", str(toy), *SMALL, *flags])
    lines = capsys.readouterr().err.splitlines()
    warning = "warning: --eval-beam has no effect: nothing is searched for without --eval-bleu or --eval-rouge"
    assert lines.count(warning) == 1
    assert (tmp_path / "run" / "checkpoints" / "last").exists()


def test_a_flag_is_accepted_if_one_stream_uses_it(toy: Path, tmp_path: Path) -> None:
    made = composed(
        str(toy),
        *SMALL,
        *"--objective roberta --auxiliary bert --short-seq-prob 0.5".split(),
    )
    assert {s.objective.name for s in made.stream.values()} == {"roberta", "bert"}
    flags = unused(
        str(toy),
        *SMALL,
        "--objective",
        "roberta",
        "--auxiliary",
        "mlm",
        "--short-seq-prob",
        "0.5",
    )
    assert [flag for flag, _ in flags] == ["--short-seq-prob"]


def test_tables_have_limits_of_their_own(labeled: Path, tmp_path: Path) -> None:
    command = [str(labeled / "data"), *SMALL, "--task", "classify", "--table", "one"]
    composed(*command)
    assert unused(*command, "--max-source-positions", "64") == [
        (
            "--max-source-positions",
            "labeled examples that are too long are truncated as the options of the task say",
        )
    ]
    squad = [str(labeled / "data"), *SMALL, "--task", "extract"]
    composed(
        *squad, "--null-threshold", "1", "--qa-head", "albert", "--head-dropout", "0.2"
    )
    for more in (
        ["--null-threshold", "1"],
        ["--qa-head", "albert", "--head-dropout", "0.2"],
    ):
        flags = unused(*squad, "--no-unanswerable", *more)
        assert more[-2] in [flag for flag, _ in flags]


# -- what is not refused -----------------------------------------------------------------------------------------------------------------


def asked(
    toy: Path, objective: str, arch: str = "tiny", **options: str
) -> TrainRequest:
    """The request of a command line that says no more."""
    sides = (
        ("en", "de")
        if OBJECTIVES.load(objective).input_kind.has_direction
        else (None, None)
    )
    return TrainRequest(
        recipe_options={"data": str(toy), "model": {"arch": arch}},
        objective=objective,
        objective_options=options,
        selection=StreamSelection(source_lang=sides[0], target_lang=sides[1]),
    )


def test_defaults_and_named_sizes_cause_no_warning(toy: Path) -> None:
    own = {"unilmv2-base": "unilm", "electra-small": "electra", "albert-base": "albert"}
    for arch, raw in presets().items():
        objective = own.get(arch, "roberta")
        if raw["decoder_layers"]:
            objective = "mass" if raw["encoder_layers"] else "gpt"
        assert compose(asked(toy, objective, arch)).unused_options == []
    for name in OBJECTIVES.builtin_names():
        if not OBJECTIVES.load(name).input_kind.is_table:
            assert compose(asked(toy, name)).unused_options == []
    for preset in MASS_PRESETS:
        assert compose(asked(toy, "mass", preset=preset)).unused_options == []


def test_the_recipe_of_a_run_holds_every_default_and_is_used_again(
    toy: Path, tmp_path: Path
) -> None:
    streams = {
        "one": {
            "dataset": "en",
            "objective": {"name": "roberta", "tokens_per_sample": 24},
        }
    }
    train(
        recipe(
            toy,
            tmp_path / "old",
            "train.max_update=1",
            "model.decoder_layers=0",
            streams=streams,
        )
    )
    file = tmp_path / "old.toml"
    written = to_toml(to_dict(Checkpoint.open(tmp_path / "old").recipe))
    file.write_text(written, encoding="utf-8")
    command = f"--objective roberta --config {file} --save-dir {tmp_path}/new".split()
    assert (
        "short_seq_prob = 0.0" in written
        and composed(*command).stream["one"].objective.name == "roberta"
    )
    file.write_text(
        written.replace("short_seq_prob = 0.0", "short_seq_prob = 0.5"),
        encoding="utf-8",
    )
    reason = f"{FORM} always aims at the full length"
    assert unused(*command) == [
        (f"{file}: stream.one.objective.short_seq_prob", reason)
    ]
    sets = [
        "--set",
        "stream.one.objective.short_seq_prob=0",
        "--set",
        "optim.layer_decay_offset=2",
    ]
    assert [name for name, _ in unused(*command, *sets)] == [
        "--set optim.layer_decay_offset"
    ]


def test_a_run_started_before_an_option_was_refused_can_be_continued(
    toy: Path, tmp_path: Path
) -> None:
    streams = {
        "one": {
            "dataset": "en",
            "objective": {
                "name": "roberta",
                "tokens_per_sample": 24,
                "short_seq_prob": 0.5,
            },
        }
    }
    old = recipe(
        toy,
        tmp_path / "run",
        "train.max_update=1",
        "model.decoder_layers=0",
        streams=streams,
    )
    file = tmp_path / "old.toml"
    train(old)
    file.write_text(
        (tmp_path / "run/checkpoints/last/recipe.toml").read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    again = composed(
        "--objective", "roberta", "--config", str(file), "--max-update", "2"
    )
    assert again.save_dir == tmp_path / "run"
    assert any(note.endswith("from update 1") for note in build(again)[1])


# -- what is refused is idle ---------------------------------------------------------------------------------------------------------------


def test_rules_name_existing_options() -> None:
    """A rule for a name that no option has would never be broken."""
    for name in OBJECTIVES.builtin_names():
        schema: Any = OBJECTIVES.load(name)
        assert {
            key for rule in schema().unused_options for key in rule.options.split()
        } <= {row.key for row in iter_options(schema)}, name
    found = {
        f"{section}.{key}"
        for section, rules in section_rules(Recipe()).items()
        for rule in rules
        for key in rule.options.split()
    }
    assert found <= {row.key for row in iter_options(Recipe)}
    assert ObjectiveConfig(name="mine").unused_options == ()


def learned(toy: Path, folder: Path, options: Mapping[str, Any]) -> list[Any]:
    """All that an objective makes of the first examples, and how it weighs its losses."""
    streams = {"one": {"dataset": "en", "objective": options}}
    layers = (
        ["model.decoder_layers=0", "model.segments=2"]
        if options["name"] != "mass"
        else []
    )
    trainer, _ = build(recipe(toy, folder, *layers, streams=streams))
    stream = trainer.streams["one"]
    view = stream.batch_builder.dataset
    batch = stream.batch_builder(np.arange(min(20, len(view))), 0)
    sides = [side for side in (batch.source, batch.target) if side is not None]
    tokens = [t for side in sides for t in (side.ids, side.positions, side.steps)]
    tokens += [
        side.cross_attention_mask
        for side in sides
        if side.cross_attention_mask is not None
        and not bool(side.cross_attention_mask.all())
    ]  # all may be seen: said or not
    labels = [
        t
        for term in sorted(batch.labels)
        for t in (batch.labels[term].ids, batch.labels[term].positions)
    ]
    return [
        len(view),
        dict(stream.objective.weights),
        *(t.tolist() for t in (*tokens, *labels) if t is not None),
    ]


@pytest.mark.parametrize(
    ("name", "key", "values", "idle", "useful"),
    [
        ("roberta", "short_seq_prob", (0.0, 1.0), {}, {"input_form": "segment-pair"}),
        (
            "roberta",
            "dupe_factor",
            (1, 3),
            {"input_form": "doc-sentences"},
            {"input_form": "sentence-pair"},
        ),
        ("roberta", "pair_seed", (1, 2), {}, {"masks": "static"}),
        (
            "roberta",
            "mask_specials",
            (True, False),
            {"input_form": "segment-pair", "mask_prob": 1.0},
            {"mask_prob": 1.0},
        ),
        (
            "electra",
            "disc_weight",
            (1.0, 50.0),
            {"variant": "all-tokens-mlm"},
            {"variant": "adversarial"},
        ),
        (
            "unilm",
            "ngram_prob",
            (0.0, 1.0),
            {"variant": "ae+ar"},
            {"variant": "ae+par"},
        ),
        ("unilm", "max_ngram", (2, 6), {"ngram_prob": 0.0}, {"ngram_prob": 1.0}),
        ("unilm", "corruption", ("all-mask", "80-10-10"), {"variant": "par"}, {}),
        ("mass", "k_of", ("words", "sequence"), {"k_tokens": 2}, {}),
        (
            "mass",
            "k_rounding",
            ("nearest", "floor"),
            {"block": 5, "window": 20},
            {"k": 0.3},
        ),
        ("mass", "mask_eos", (True, False), {"block": 5, "window": 20}, {}),
        (
            "mass",
            "random_ids",
            ("words", "all"),
            {"random_share": 0.0},
            {"random_share": 0.9, "mask_share": 0.0},
        ),
        ("mass", "mask_visibility", ("all", "encoder"), {"mask_share": 0.0}, {}),
        ("mass", "decoder_positions", ("original", "restart"), {"feed": "all"}, {}),
        ("mass", "window", (20, 30), {}, {"block": 5}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_option_that_is_refused_changes_nothing_and_else_something(
    name: str,
    key: str,
    values: tuple[Any, Any],
    idle: dict[str, Any],
    useful: dict[str, Any],
    toy: Path,
    tmp_path: Path,
) -> None:
    base = {"name": name} | (
        {"tokens_per_sample": 24}
        if "tokens_per_sample" in OBJECTIVES.load(name).__dataclass_fields__
        else {}
    )
    for more, alike in ((idle, True), (useful, False)):
        one, other = (
            learned(toy, tmp_path / str(n), {**base, **more, key: value})
            for n, value in enumerate(values)
        )
        assert (one == other) is alike, more
        names = {
            option
            for rule in OBJECTIVES.load(name)(**base, **more).unused_options
            if rule.condition
            for option in rule.options.split()
        }
        assert (key in names) is alike


# -- lengths and heights -------------------------------------------------------------------------------------------------------------------

BLOCKS = [("bert", "tokens_per_sample", 24), ("roberta", "tokens_per_sample", 24), ("albert", "tokens_per_sample", 24),
          ("electra", "tokens_per_sample", 24), ("unilm", "tokens_per_sample", 24), ("gpt", "tokens_per_sample", 24),
          ("mass", "window", 23)]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "option", "size"),
    [("gpt", "tokens_per_sample", 24), ("mass", "window", 23)],
)
def test_an_example_that_does_not_fit_a_batch_causes_a_hint_how_to_shorten_it(
    name: str, option: str, size: int, toy: Path, tmp_path: Path
) -> None:
    """Running text is cut into pieces of its length; --max-source-positions would leave the whole ones out."""
    streams = {
        "one": {
            "dataset": "en",
            "objective": {
                "name": name,
                option: size,
                **({"block": 5} if name == "mass" else {}),
            },
        }
    }
    one_stack = ("model.encoder_layers=0",) if name == "gpt" else ()
    with pytest.raises(MasscliError) as error:
        build(recipe(toy, tmp_path, "train.max_tokens=20", *one_stack, streams=streams))
    assert error.value.message.endswith("does not fit --max-tokens 20")
    assert error.value.hint is not None and error.value.hint.endswith(
        f" or more, or lower --{option.replace('_', '-')}"
    )


@pytest.mark.parametrize(
    ("name", "option", "most"), BLOCKS, ids=[name for name, *_ in BLOCKS]
)
def test_blocks_must_fit_the_positions(
    name: str, option: str, most: int, toy: Path, tmp_path: Path
) -> None:
    """One more is refused; the longest that is not leaves nothing out, and is learned with a table of positions that ends there."""
    flag = "--" + option.replace("_", "-")
    own = ["--block", "5"] if name == "mass" else []
    command = [
        str(toy),
        *SMALL,
        "--objective",
        name,
        *own,
        "--max-positions",
        "24",
        flag,
    ]
    with pytest.raises(MasscliError) as error:
        composed(*command, str(most + 1))
    message = f"{flag} {most + 1}: the model has 24 positions"
    assert (error.value.message, error.value.hint) == (
        message,
        f"give at most {most}, or add --max-positions 25",
    )
    assert composed(*command, str(most)).model.max_positions == 24
    streams = {
        "one": {
            "dataset": "en",
            "objective": {
                "name": name,
                option: most,
                **({"block": 5} if name == "mass" else {}),
            },
        }
    }
    one_stack = {"mass": (), "gpt": ("model.encoder_layers=0",)}.get(
        name, ("model.decoder_layers=0", "model.segments=2")
    )
    model = (
        "model.max_positions=24",
        "model.positions=learned",
        "train.max_update=3",
        *one_stack,
    )
    trainer, _ = build(recipe(toy, tmp_path, *model, streams=streams))
    sampler = trainer.streams["one"].sampler
    assert sampler.skipped == 0
    view = trainer.streams["one"].batch_builder.dataset
    longest = int(np.argmax(view.sizes(0, len(view)).max(1)))
    batch = trainer.streams["one"].batch_builder(np.array([longest]), 0)
    read = [side.ids.shape[1] if side.positions is None else int(side.positions.max()) + 1
            for side in (batch.source, batch.target) if side is not None]  # fmt: skip
    assert max(read) == 24, "the bound is not lower than it must be"
    with torch.no_grad():
        trainer.streams["one"].objective(trainer.model, batch)


def test_a_decoder_alone_has_its_own_positions(toy: Path) -> None:
    """It may have more than --max-positions, which has no effect then."""
    command = [
        str(toy),
        *SMALL,
        *"--objective gpt --max-positions 24 --decoder-max-positions 40".split(),
    ]
    assert (
        composed(*command, "--tokens-per-sample", "40").model.max_target_positions == 40
    )
    with pytest.raises(MasscliError) as error:
        composed(*command, "--tokens-per-sample", "41")
    assert error.value.message == "--tokens-per-sample 41: the model has 40 positions"
    assert error.value.hint == "give at most 40, or add --decoder-max-positions 41"


def test_a_source_that_begins_with_a_symbol_needs_a_position_more(toy: Path) -> None:
    command = [
        str(toy),
        *SMALL,
        *"--objective mass --block 5 --max-positions 24 --source-bos --window".split(),
    ]
    composed(*command, "22")
    with pytest.raises(
        MasscliError, match=r"^--window 23: the model has 24 positions$"
    ):
        composed(*command, "23")


@pytest.mark.parametrize(("positions", "tokens"), [("24", 23), ("600", 512)])
def test_windows_are_as_long_as_the_positions_allow(
    positions: str, tokens: int, toy: Path
) -> None:
    trainer, _ = build(
        composed(
            str(toy),
            *SMALL,
            *f"--objective mass --block 5 --max-positions {positions}".split(),
        )
    )
    stream = next(iter(trainer.streams.values()))
    assert stream.sampler.skipped == 0
    assert len(stream.batch_builder.dataset[0].fields[0]) == tokens
    with torch.no_grad():
        stream.objective(trainer.model, stream.batch_builder(np.array([0]), 0))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--freeze", "embeddings,1"],
            "--freeze 1: the layers share weights (--share-layers all), so none can be frozen alone",
        ),
        (
            ["--layer-decay", "0.8"],
            "--layer-decay 0.8: the layers share weights (--share-layers all), so they have one learning rate",
        ),
    ],
)
def test_options_for_single_layers_are_refused_where_layers_share_weights(
    flags: list[str], message: str, toy: Path
) -> None:
    command = [str(toy), *SMALL, "--objective", "albert", "--share-layers"]
    for shared, layers, refused in (
        ("all", "2", True),
        ("all", "1", False),
        ("none", "2", False),
    ):
        if not refused:
            composed(*command, shared, "--encoder-layers", layers, *flags)
            continue
        with pytest.raises(MasscliError) as error:
            composed(*command, shared, "--encoder-layers", layers, *flags)
        assert error.value.message == message
    composed(*command, "all", "--encoder-layers", "2", "--freeze", "embeddings")


# -- streams -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["translate", "--pairs", "en-de", "-s", "de"],
            "--pairs en-de names the directions, and so do -s, -t and --langs",
        ),
        (
            ["translate", "--langs", "en,fr", "-s", "en", "-t", "de"],
            "--langs en,fr and -s, -t (de, en) differ",
        ),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_contradictory_choices_of_streams_are_refused(
    args: list[str], message: str, toy: Path
) -> None:
    with pytest.raises(MasscliError) as error:
        composed(str(toy), *SMALL, "--objective", *args)
    assert error.value.message == message


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["mass", "--langs", "en"], "the run has one stream"),
        (["backtranslate"], "directions of back-translation are sampled equally often"),
    ],
)
def test_a_temperature_without_effect_is_reported(
    args: list[str], reason: str, toy: Path
) -> None:
    flags = unused(str(toy), *SMALL, "--objective", *args, "--lang-temperature", "5")
    assert flags == [("--lang-temperature", reason)]


def test_valid_choices_of_streams_are_accepted(toy: Path) -> None:
    composed(str(toy), *SMALL, "--objective", "mass", "--lang-temperature", "5")
    composed(
        str(toy), *SMALL, *"--objective translate --langs de,en -s en -t de".split()
    )
    assert list(
        composed(
            str(toy), *SMALL, "--objective", "translate", "--langs", "de,en", "-s", "de"
        ).stream
    ) == ["translate-de-en"]
    assert (
        len(
            composed(
                str(toy),
                *SMALL,
                *"--objective translate --langs de,en --pairs en-de,de-en".split(),
            ).stream
        )
        == 2
    )


def test_examples_left_out_are_reported_with_the_limit_that_they_exceed(
    toy: Path, tmp_path: Path
) -> None:
    one = {"one": {"dataset": "en", "objective": {"name": "mlm"}}}
    both = {"one": {"dataset": "en-de", "objective": {"name": "translate"}}}
    for n, (streams, changes, expected) in enumerate((
        (one, ["model.max_positions=8"], ["the model's 8 positions"]),
        (one, ["train.max_source_positions=8"], ["--max-source-positions 8"]),
        (both, ["train.max_source_positions=8", "model.max_positions=9"], ["--max-source-positions 8 or the model's 9 positions"]),
    )):  # fmt: skip
        _, notes = build(recipe(toy, tmp_path / str(n), *changes, streams=streams))
        # Validation has a note of its own.
        of_training = [
            note for note in notes if "left out" in note and "validation" not in note
        ]
        limits = [note.partition("longer than ")[2] for note in of_training]
        assert limits == [f"{limit} and are left out" for limit in expected]
    _, notes = build(
        recipe(toy, tmp_path / "bound", "train.max_target_positions=8", streams=one)
    )
    nothing = "--max-target-positions 8 bounds nothing: examples have one side, whose limit is --max-source-positions"
    assert nothing in notes
    _, notes = build(
        recipe(toy, tmp_path / "used", "train.max_target_positions=8", streams=both)
    )
    assert nothing not in notes and any(
        "longer than --max-source-positions 1024 or" in note or "left out" in note
        for note in notes
    )


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ("valid.max_valid_rows=5", "--max-valid-rows"), ("checkpoint.best_metric=bleu", "--best-metric bleu"),
        ("checkpoint.patience=2", "--patience"), ("valid.eval_retrieval=true", "--eval-retrieval"),
    ],
)  # fmt: skip
def test_validation_options_without_validation_are_refused(
    change: str, flag: str, toy: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.en"
    text.write_text("ba be bi bo\n" * 9, encoding="utf-8")
    preprocess(
        PreprocessConfig(
            langs=("en",),
            mono=(f"en={text}",),
            spm_model=toy / "vocab.model",
            destdir=tmp_path / "data",
        )
    )
    one = {"one": {"dataset": "en", "objective": {"name": "mass"}}}
    _, notes = build(recipe(tmp_path / "data", tmp_path / "run", streams=one))
    assert f"no valid split in {tmp_path / 'data'}: nothing is validated" in notes
    with pytest.raises(MasscliError) as error:
        build(recipe(tmp_path / "data", tmp_path / "run", change, streams=one))
    assert error.value.message == f"{flag}: {tmp_path / 'data'} has no valid split"
