"""Plain data to typed sections and back: nothing is lost, nothing is guessed, every mistake is named."""

from __future__ import annotations

import importlib
import math
import sys
import tomllib
import typing
from collections import Counter
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masscli.core.config import (
    MAX_INTEGER,
    ConfigError,
    Flags,
    Problem,
    UnusedOption,
    check,
    config,
    field_docs,
    find_unused,
    from_dict,
    iter_options,
    merge,
    override,
    parse_value,
    refuse_misleading,
    suggest,
    to_dict,
    to_toml,
)
from masscli.data.prepare.config import PreprocessConfig
from masscli.generation.config import GenerateConfig, GenerationConfig
from masscli.metrics.config import ScoreConfig
from masscli.objectives.registry import OBJECTIVES
from masscli.objectives.stream_selection import StreamSelection
from masscli.training.recipe import Recipe, StreamConfig

SECTIONS = [
    Recipe,
    StreamConfig,
    StreamSelection,
    GenerateConfig,
    GenerationConfig,
    PreprocessConfig,
    ScoreConfig,
]
OBJECTIVE_SCHEMAS = {name: OBJECTIVES.load(name) for name in OBJECTIVES.builtin_names()}


@config
class Inner:
    """A section."""

    size: Annotated[int, Flags("-n", "--width")] = 3
    """How many."""
    rate: float = 0.5
    """How fast."""
    kind: Literal["flat", "round"] = "flat"
    """Which
    shape."""
    names: tuple[str, ...] = ()
    """Who."""

    def __post_init__(self) -> None:
        check(
            (self.size > 0, "size", f"must be above 0, got {self.size}"),
            (self.rate <= 1, "rate", f"at most 1, got {self.rate}"),
        )


@config
class Outer:
    """All."""

    needed: int
    """Must be given."""
    inner: Inner = Inner()
    """A section."""
    place: Path | None = None
    """Where."""
    flag: bool = False
    """Whether."""
    many: dict[str, Inner] = field(default_factory=dict)
    """By name."""


def complaints(raw: dict[str, Any], cls: type = Outer) -> list[str]:
    with pytest.raises(ConfigError) as error:
        from_dict(cls, raw)
    return error.value.message.split("\n")


FULL: dict[str, Any] = {
    "data": 'data "bin"/ä\\b', "save_dir": "runs/x", "init_from": "runs/y", "seed": 7,
    "model": {"arch": "base", "heads": 2, "norm": "pre", "dropout": 0.0, "norm_eps": 1e-12, "output_bias": True},
    "optim": {"lr": 1e-05, "adam_betas": [0.9, 0.999], "clip_norm": 0.0, "lr_scheduler": "cosine"},
    "train": {"max_tokens": 1, "update_freq": 4, "stop_time_hours": 0.25, "precision": "fp16"},
    "checkpoint": {"patience": 5}, "valid": {"eval_bleu": True},
    "stream": {
        "en": {"dataset": "en", "objective": {"name": "mass", "k": 0.25}, "loss_weight": "0:1,1000:0.5"},
        "a.b c": {"dataset": "en-de", "objective": {"name": "translate"}, "sampling_weight": 2.0, "max_examples": 10},
    },
}  # fmt: skip


@pytest.mark.parametrize("raw", [{}, FULL], ids=["defaults", "everything"])
def test_a_recipe_survives_a_file(raw: dict[str, Any]) -> None:
    recipe = from_dict(Recipe, raw)
    written = to_toml(to_dict(recipe))
    assert from_dict(Recipe, tomllib.loads(written)) == recipe
    assert from_dict(Recipe, to_dict(recipe)) == recipe
    assert (recipe == from_dict(Recipe, {})) is (raw == {})


NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(
    allow_nan=False, allow_infinity=False
)
VALUES = st.text() | NUMBERS | st.booleans() | st.lists(st.text())


@given(
    st.recursive(
        VALUES,
        lambda inner: st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=6,
    )
)
def test_any_plain_data_survives_toml(value: Any) -> None:
    assert tomllib.loads(to_toml({"key": value})) == {"key": value}


@config
class EveryKind:
    """A field of each type that a section may have."""

    flag: bool
    """A bool."""
    count: int
    """An int."""
    rate: float
    """A float."""
    name: str
    """A string."""
    place: Path
    """A path."""
    choice: Literal["a", "b,c", " d "]
    """A choice."""
    names: tuple[str, ...] = ()
    """Strings."""
    counts: tuple[int, ...] = ()
    """Ints."""
    rates: tuple[float, ...] = ()
    """Floats."""
    places: tuple[Path, ...] = ()
    """Paths."""
    maybe: tuple[str, ...] | None = None
    """Optional strings."""
    inner: Inner = Inner()
    """A section."""
    by_name: dict[str, Inner] = field(default_factory=dict)
    """Sections by name."""


WORDS = st.text(st.characters(exclude_categories=["Cs"]))
LABELS = st.lists(
    WORDS | st.sampled_from(["pos ", "pos\u00a0", "a,b", "", " ", "#", "]", '"']),
    max_size=3,
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
PATHS = WORDS.filter(lambda text: "\0" not in text).map(Path)
INNERS = st.builds(
    Inner,
    size=st.integers(1, MAX_INTEGER),
    rate=st.floats(max_value=1, allow_nan=False, allow_infinity=False),
    kind=st.sampled_from(["flat", "round"]),
    names=LABELS.map(tuple),
)
SECTIONS_OF_EVERY_KIND = st.builds(
    EveryKind,
    flag=st.booleans(),
    count=st.integers(-MAX_INTEGER - 1, MAX_INTEGER),
    rate=FLOATS,
    name=WORDS,
    place=PATHS,
    choice=st.sampled_from(["a", "b,c", " d "]),
    names=LABELS.map(tuple),
    counts=st.lists(st.integers(-MAX_INTEGER - 1, MAX_INTEGER), max_size=3).map(tuple),
    rates=st.lists(FLOATS, max_size=3).map(tuple),
    places=st.lists(PATHS, max_size=3).map(tuple),
    maybe=st.none() | LABELS.map(tuple),
    inner=INNERS,
    by_name=st.dictionaries(WORDS, INNERS, max_size=2),
)


@given(SECTIONS_OF_EVERY_KIND)
def test_every_value_survives_a_file(section: EveryKind) -> None:
    written = to_toml(to_dict(section))
    again = from_dict(EveryKind, tomllib.loads(written))
    assert again == section
    assert to_toml(to_dict(again)) == written


def test_items_of_a_list_are_taken_as_they_are() -> None:
    raw = {"names": ["pos ", " neg", "a,b", "", "pos\u00a0"]}
    assert from_dict(Inner, raw).names == ("pos ", " neg", "a,b", "", "pos\u00a0")
    assert to_dict(from_dict(Inner, raw))["names"] == raw["names"]
    assert from_dict(Inner, {"names": " a ,b,, c d"}).names == ("a", "b", "c d")


def test_a_comma_after_a_backslash_is_part_of_an_item() -> None:
    typed = r"en=a\,b.txt, de=c.txt,x\y"
    expected = ("en=a,b.txt", "de=c.txt", r"x\y")
    assert from_dict(Inner, {"names": typed}).names == expected


def test_what_is_typed_on_a_command_line_means_what_a_file_says() -> None:
    typed = {
        "needed": "4",
        "inner": {"size": "5", "rate": "1e-3", "kind": "round", "names": "a, b"},
        "place": "x/y",
        "flag": "True",
    }
    plain = {
        "needed": 4,
        "inner": {"size": 5, "rate": 0.001, "kind": "round", "names": ["a", "b"]},
        "place": "x/y",
        "flag": True,
    }
    inner = Inner(size=5, rate=0.001, kind="round", names=("a", "b"))
    assert (
        from_dict(Outer, typed)
        == from_dict(Outer, plain)
        == Outer(needed=4, inner=inner, place=Path("x/y"), flag=True)
    )


def test_numbers_may_be_typed_as_in_commands_of_fairseq() -> None:
    """--adam-betas '(0.9, 0.98)'; brackets around texts are a part of them."""
    assert parse_value(tuple[float, ...], "(0.9, 0.98)") == (0.9, 0.98)
    assert parse_value(tuple[int, ...], "[1,2]") == (1, 2)
    assert parse_value(tuple[str, ...], "(a, b)") == ("(a", "b)")
    for wrong in ("(0.9, 0.98", "0.9)", "([1])"):
        with pytest.raises(ConfigError):
            parse_value(tuple[float, ...], wrong)


def test_all_errors_are_named_at_once() -> None:
    inner = {"size": "many", "kind": "square", "rat": 2}
    raw = {
        "need": 1,
        "inner": inner,
        "flag": "yes",
        "many": {"x": {"size": 0, "rate": 3}},
        "place": 4,
    }
    assert complaints(raw) == [
        "need: unknown key, did you mean 'needed'?",
        "inner.rat: unknown key, did you mean 'rate'?",
        "inner.size: expected int, got 'many'",
        "inner.kind: 'square' is not one of flat, round",
        "flag: expected true or false, got 'yes'",
        "many.x.size: must be above 0, got 0",
        "many.x.rate: at most 1, got 3.0",
        "place: expected Path, got 4",
        "needed: required",
    ]


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ({"needed": 1.5}, "needed: expected int, got 1.5"),
        ({"needed": True}, "needed: expected int, got True"),
        (
            {"needed": "__import__('os').getpid()"},
            "needed: expected int, got \"__import__('os').getpid()\"",
        ),
        (
            {"needed": 1, "inner": {"rate": "0.5x"}},
            "inner.rate: expected float, got '0.5x'",
        ),
        (
            {"needed": 1, "inner": {"rate": True}},
            "inner.rate: expected float, got True",
        ),
        ({"needed": 1, "inner": 3}, "inner: expected a table, got 3"),
        ({"needed": 1, "many": [1]}, "many: expected a table, got [1]"),
        ({"needed": 1, "inner": {"names": 3}}, "inner.names: expected a list, got 3"),
        (
            {"needed": 1, "inner": {"names": ["a", 3]}},
            "inner.names: expected str, got 3",
        ),
        ({"needed": 1, "flag": 1}, "flag: expected bool, got 1"),
        ({"needed": 1, "place": "a\0b"}, "place: expected a path, got 'a\\x00b'"),
        (
            {"needed": 1, "zzz": 1},
            "zzz: unknown key (known: flag, inner, many, needed, place)",
        ),
    ],
)
def test_a_value_of_another_type_is_refused(
    raw: dict[str, Any], complaint: str
) -> None:
    assert complaints(raw) == [complaint]


def test_the_name_of_a_plug_in_decides_its_keys() -> None:
    stream = {"dataset": "en", "objective": {"name": "mass", "k": 0.5}}
    assert from_dict(StreamConfig, stream).objective.name == "mass"
    assert complaints({**stream, "objective": {"name": "mas"}}, StreamConfig) == [
        "objective.name: no objective called 'mas', did you mean 'mass'?"
    ]
    assert complaints({**stream, "objective": {"k": 0.5}}, StreamConfig) == [
        "objective.name: required"
    ]
    (line,) = complaints(
        {**stream, "objective": {"name": "translate", "k": 0.5}}, StreamConfig
    )
    assert line.startswith("objective.k: unknown key")


def test_override_and_merge_touch_only_what_they_name() -> None:
    raw = {"inner": {"size": 1}, "needed": 2}
    assert override(raw, ["inner.rate=0.1", "many.x.size=4", "needed=a=b"]) == {
        "inner": {"size": 1, "rate": "0.1"}, "needed": "a=b", "many": {"x": {"size": "4"}}
    }  # fmt: skip
    assert raw == {"inner": {"size": 1}, "needed": 2}
    assert merge(raw, {"inner": {"rate": 2}, "flag": True}) == {
        "inner": {"size": 1, "rate": 2},
        "needed": 2,
        "flag": True,
    }
    for assignment, message in {
        "needed": "needed: expected KEY=VALUE",
        "needed.x=1": "needed.x: 'needed' is a value, not a table",
        "inner..size=1": "inner..size: a part of the key is empty",
        "needed.=1": "needed.: a part of the key is empty",
        "=1": "a part of the key is empty",
    }.items():
        with pytest.raises(ConfigError) as error:
            override(raw, [assignment])
        assert error.value.message == message


def test_rows_tell_all_that_a_help_screen_needs() -> None:
    found = {row.key: row for row in iter_options(Outer)}
    assert list(found) == [
        "needed",
        "inner.size",
        "inner.rate",
        "inner.kind",
        "inner.names",
        "place",
        "flag",
        "many",
    ]
    size, kind = found["inner.size"], found["inner.kind"]
    assert (size.type, size.default, size.help, size.flags) == (
        "int",
        3,
        "How many.",
        ("-n", "--width"),
    )
    assert (kind.type, kind.help) == ("flat|round", "Which shape.")
    assert (found["place"].type, found["inner.names"].type) == ("Path", "str,...")


@pytest.mark.parametrize(
    "cls", [*SECTIONS, *OBJECTIVE_SCHEMAS.values()], ids=lambda c: c.__name__
)
def test_every_key_has_a_help_text(cls: type) -> None:
    for row in iter_options(cls):
        if row.key == "name" and cls in OBJECTIVE_SCHEMAS.values():
            continue
        assert row.help, f"{cls.__name__}.{row.key} has no sentence"
        assert row.help[-1] in ".)", (
            f"{cls.__name__}.{row.key}: {row.help!r} is not a sentence"
        )
    for name in typing.get_type_hints(cls):
        assert name in field_docs(cls) or name in (
            "registry",
            "input_kind",
            "stacks",
            "name",
        )


PLUG_IN = """\
from masscli.core.config import config

try:
    import a_library_that_nobody_has
except ImportError:

    @config
    class Options:
        size: int = 1
        'The size.'
"""


def test_a_module_that_is_changed_and_loaded_again_has_its_new_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The author of an objective edits and reloads modules in a notebook."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "changing_plug_in.py"
    path.write_text(PLUG_IN)
    module = importlib.import_module("changing_plug_in")
    assert field_docs(module.Options) == {"size": "The size."}
    more = "\n\n@config\nclass Others:\n    depth: int = 2\n    'The depth.'\n"
    path.write_text(PLUG_IN.replace("The size", "Another size") + more)
    importlib.reload(module)
    assert field_docs(module.Options) == {"size": "Another size."}
    assert field_docs(module.Others) == {"depth": "The depth."}


COMMANDS: dict[str, list[type]] = {
    "preprocess": [PreprocessConfig],
    "generate": [GenerateConfig, GenerationConfig],
    "score": [ScoreConfig],
    "training": [Recipe, StreamSelection],
    **{
        name: [Recipe, StreamSelection, schema]
        for name, schema in OBJECTIVE_SCHEMAS.items()
    },
}


@pytest.mark.parametrize("classes", COMMANDS.values(), ids=list(COMMANDS))
def test_a_flag_means_one_thing_in_one_command(classes: list[type]) -> None:
    """The options of a command share one name space, without prefixes."""
    options = [row for cls in classes for row in iter_options(cls) if row.key != "name"]
    spellings = Counter(
        "--" + row.key.rpartition(".")[2].replace("_", "-") for row in options
    )
    spellings += Counter(flag for row in options for flag in row.flags)
    reserved = Counter(
        "--objective --task --config --set --fp16 --bf16 --help --ref -r --src".split()
    )
    assert [flag for flag, times in (spellings + reserved).items() if times > 1] == []


def test_a_weight_may_be_a_schedule() -> None:
    objective = {"name": "translate"}
    assert complaints(
        {"dataset": "en-de", "objective": objective, "loss_weight": "a"}, StreamConfig
    ) == ["loss_weight: expected a number or UPDATE:VALUE,..., got 'a'"]
    assert complaints(
        {"dataset": "en-de", "objective": objective, "loss_weight": "5:1,3:2"},
        StreamConfig,
    ) == ["loss_weight: updates must rise from 0, got '5:1,3:2'"]
    # A single number needs no quotes in TOML.
    for number, text in ((2, "2"), (0.5, "0.5"), ("0:1,9:0", "0:1,9:0")):
        table = {"dataset": "en-de", "objective": objective, "loss_weight": number}
        assert from_dict(StreamConfig, table).loss_weight == text
    for wrong in (True, [1], math.nan):
        table = {"dataset": "en-de", "objective": objective, "loss_weight": wrong}
        assert len(complaints(table, StreamConfig)) == 1


def test_options_without_effect_are_found_by_their_rules() -> None:
    @config
    class Search:
        sampling: bool = False
        """Sample."""
        topk: int = 0
        """Sample among k tokens."""
        folder: Path = Path("x")
        """Where to."""

        @property
        def unused_options(self) -> tuple[UnusedOption, ...]:
            return (
                UnusedOption(
                    not self.sampling, "topk", "nothing is sampled", misleading=True
                ),
                UnusedOption(
                    True, "topk folder", "nothing is written", misleading=True
                ),
            )

    assert {key: rule.reason for key, rule in find_unused(Search()).items()} == {
        "topk": "nothing is sampled",
        "folder": "nothing is written",
    }
    # Defaults mislead nobody.
    assert refuse_misleading(find_unused(Search())) == [
        Problem("topk", "nothing is sampled"),
        Problem("folder", "nothing is written"),
    ]
    with pytest.raises(
        ConfigError, match=r"^topk: would have no effect: nothing is sampled$"
    ):
        refuse_misleading(find_unused(Search(topk=3)))
    assert "topk" in find_unused(Search(sampling=True))


def test_a_word_that_begins_several_names_is_told_all_of_them() -> None:
    """The most similar one comes first."""
    known = ["loss_weight", "dataset", "data_dir"]
    assert suggest("data", known) == ", did you mean 'dataset' or 'data_dir'?"
    assert suggest("dataste", known) == ", did you mean 'dataset'?"
    assert suggest("d", known) == ", did you mean 'data_dir' or 'dataset'?", "unlike"
    assert suggest("", known) == " (known: data_dir, dataset, loss_weight)"
