"""Names to classes: built-ins, other people's packages and `module:Class` through one door."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from masscli.core.config import ConfigError, from_dict
from masscli.metrics import METRICS
from masscli.objectives.registry import OBJECTIVES, objective_class
from masscli.training.recipe import Recipe, StreamConfig

PLUGIN = '''
from typing import ClassVar
from masscli.core.config import config
from masscli.objectives.registry import ObjectiveConfig, objective_class

@config
class SpanBertOptions(ObjectiveConfig):
    implementation: ClassVar[str] = "MODULE:SpanBert"
    name: str = "spanbert"
    """Which."""
    max_span: int = 10
    """Longest hidden span."""

class SpanBert:
    pass
'''


def install(folder: Path, package: str, source: str, points: str) -> None:
    """What `pip install` leaves behind: a module, and a `.dist-info` with its entry points."""
    (folder / f"{package}.py").write_text(source.replace("MODULE", package))
    info = folder / f"{package}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n"
    )
    (info / "entry_points.txt").write_text(f"[masscli.objectives]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_installed_plug_in_is_found_by_its_name(site: Path) -> None:
    install(site, "plug_one", PLUGIN, "spanbert = plug_one:SpanBertOptions")
    stream = from_dict(
        StreamConfig,
        {"dataset": "en", "objective": {"name": "spanbert", "max_span": "4"}},
    )
    assert stream.objective.name == "spanbert"
    assert vars(stream.objective)["max_span"] == 4
    assert OBJECTIVES.names()["spanbert"] == "plug_one:SpanBertOptions"
    assert objective_class("spanbert").__name__ == "SpanBert"


def test_a_module_needs_no_packaging(site: Path) -> None:
    (site / "plug_two.py").write_text(PLUGIN.replace("MODULE", "plug_two"))
    OBJECTIVES.allow("plug_two:SpanBertOptions")
    recipe = from_dict(
        Recipe,
        {
            "stream": {
                "en": {
                    "dataset": "en",
                    "objective": {"name": "plug_two:SpanBertOptions", "max_span": 3},
                }
            }
        },
    )
    assert recipe.stream["en"].objective.name == "plug_two:SpanBertOptions"


def test_a_module_that_nobody_allowed_is_not_imported(site: Path) -> None:
    (site / "plug_nine.py").write_text(PLUGIN.replace("MODULE", "plug_nine"))
    table = {"dataset": "en", "objective": {"name": "plug_nine:SpanBertOptions"}}
    with pytest.raises(ConfigError) as error:
        from_dict(StreamConfig, table)
    assert error.value.message == (
        "objective.name: objective 'plug_nine:SpanBertOptions' is neither built in nor installed, "
        "so its code is not run"
    )
    assert (
        error.value.hint
        == "if you trust this code, add --allow-code plug_nine:SpanBertOptions"
    )
    assert "plug_nine" not in sys.modules


def test_keys_of_another_objective_are_unknown_keys(site: Path) -> None:
    (site / "plug_three.py").write_text(PLUGIN.replace("MODULE", "plug_three"))
    OBJECTIVES.allow("plug_three:SpanBertOptions")
    with pytest.raises(ConfigError) as error:
        from_dict(
            StreamConfig,
            {
                "dataset": "en",
                "objective": {"name": "plug_three:SpanBertOptions", "max_spam": 3},
            },
        )
    assert (
        error.value.message
        == "objective.max_spam: unknown key, did you mean 'max_span'?"
    )


def test_two_packages_that_claim_one_name_are_both_named(site: Path) -> None:
    install(site, "plug_four", PLUGIN, "spanbert = plug_four:SpanBertOptions")
    install(site, "plug_five", PLUGIN, "spanbert = plug_five:SpanBertOptions")
    with pytest.raises(ConfigError) as error:
        objective_class("clm")
    assert re.fullmatch(
        r"objective 'spanbert' is claimed by plug_(four|five):SpanBertOptions and plug_(four|five):SpanBertOptions",
        error.value.message,
    )


def test_a_built_in_cannot_be_hidden(site: Path) -> None:
    install(site, "plug_six", PLUGIN, "mass = plug_six:SpanBertOptions")
    with pytest.raises(ConfigError) as error:
        OBJECTIVES.load("mass")
    assert (
        error.value.message
        == "objective 'mass' is claimed by masscli.objectives.mass.options:MassOptions and plug_six:SpanBertOptions"
    )


def test_nothing_is_imported_before_it_is_named(site: Path) -> None:
    install(
        site,
        "plug_seven",
        "raise RuntimeError('the plug-in is broken')",
        "broken = plug_seven:Broken",
    )
    OBJECTIVES.load("mass")
    assert "broken" in OBJECTIVES.names()
    assert "plug_seven" not in sys.modules
    with pytest.raises(RuntimeError, match="the plug-in is broken"):
        objective_class("broken")


def test_names_of_missing_modules_or_classes_are_refused(site: Path) -> None:
    (site / "plug_eight.py").write_text("import no_such_dependency\n")
    for name, message in {
        "blue": "name: no metric called 'blue', did you mean 'bleu'?",
        "nowhere.at_all:Thing": "metric 'nowhere.at_all:Thing': there is no module 'nowhere'",
        "masscli.core.errors:Thing": "metric 'masscli.core.errors:Thing': the module has no such class",
    }.items():
        METRICS.allow(name)
        with pytest.raises(ConfigError) as error:
            METRICS.load(name)
        assert error.value.message == message
    with pytest.raises(
        ConfigError,
        match=r"name: no metric called 'comet' \(known: accuracy, bleu, .*\)",
    ):
        METRICS.load("comet")
    # The plug-in's own trouble keeps its traceback, whatever the missing module is called.
    (site / "plug_nine.py").write_text("import plug_ni\n")
    for name, missing in {
        "plug_eight:Thing": "no_such_dependency",
        "plug_nine:Thing": "plug_ni",
    }.items():
        METRICS.allow(name)
        with pytest.raises(ModuleNotFoundError, match=missing):
            METRICS.load(name)
    for name in (":Thing", ".relative:Thing", "no such form:Thing"):
        METRICS.allow(name)
        with pytest.raises(ConfigError, match="is not of the form module:Class"):
            METRICS.load(name)


def test_every_built_in_objective_has_its_class_and_options() -> None:
    assert len(OBJECTIVES.builtin_names()) == 22
    for name in OBJECTIVES.builtin_names():
        options = OBJECTIVES.load(name)
        assert options(name=name).name == name
        assert (
            objective_class(name).__module__ == options.implementation.partition(":")[0]
        )


def test_an_attribute_error_inside_a_plug_in_keeps_its_traceback(site: Path) -> None:
    (site / "plug_ten.py").write_text("import math\n\nmath.no_such_function()\n")
    METRICS.allow("plug_ten:Thing")
    with pytest.raises(AttributeError, match="no_such_function"):
        METRICS.load("plug_ten:Thing")
