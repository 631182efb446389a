"""Names to classes: built-ins, other people's packages and `module:Class` through one door."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from masscli.catalog import OBJECTIVES
from masscli.config import ConfigError, decode
from masscli.recipe import Recipe, StreamConfig
from masscli.registry import Registry

PLUGIN = '''
from masscli.config import config
from masscli.catalog import ObjectiveConfig

class SpanBert:
    @config
    class Config(ObjectiveConfig):
        name: str = "spanbert"
        """Which."""
        max_span: int = 10
        """Longest hidden span."""
'''


def install(folder: Path, package: str, source: str, points: str) -> None:
    """What `pip install` leaves behind: a module, and a `.dist-info` with its entry points."""
    (folder / f"{package}.py").write_text(source)
    info = folder / f"{package}-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text(f"[masscli.objectives]\n{points}\n")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_an_installed_plug_in_is_found_by_its_name(site: Path) -> None:
    install(site, "plug_one", PLUGIN, "spanbert = plug_one:SpanBert")
    stream = decode(StreamConfig, {"text": "en", "objective": {"name": "spanbert", "max_span": "4"}})
    assert stream.objective.name == "spanbert"
    assert vars(stream.objective)["max_span"] == 4
    assert OBJECTIVES.names()["spanbert"] == "plug_one:SpanBert"
    assert OBJECTIVES.load("spanbert").__name__ == "SpanBert"


def test_a_module_needs_no_packaging(site: Path) -> None:
    (site / "plug_two.py").write_text(PLUGIN)
    recipe = decode(Recipe, {"stream": {"en": {"text": "en", "objective": {"name": "plug_two:SpanBert", "max_span": 3}}}})
    assert recipe.stream["en"].objective.name == "plug_two:SpanBert"


def test_keys_of_another_objective_are_unknown_keys(site: Path) -> None:
    (site / "plug_three.py").write_text(PLUGIN)
    with pytest.raises(ConfigError) as error:
        decode(StreamConfig, {"text": "en", "objective": {"name": "plug_three:SpanBert", "max_spam": 3}})
    assert error.value.message == "objective.max_spam: unknown key, did you mean 'max_span'?"


def test_two_packages_that_claim_one_name_are_both_named(site: Path) -> None:
    install(site, "plug_four", PLUGIN, "spanbert = plug_four:SpanBert")
    install(site, "plug_five", PLUGIN, "spanbert = plug_five:SpanBert")
    with pytest.raises(ConfigError) as error:
        OBJECTIVES.load("clm")
    assert re.fullmatch(r"objective 'spanbert' is claimed by plug_(four|five):SpanBert and plug_(four|five):SpanBert", error.value.message)


def test_a_built_in_cannot_be_hidden(site: Path) -> None:
    install(site, "plug_six", PLUGIN, "mass = plug_six:SpanBert")
    with pytest.raises(ConfigError) as error:
        OBJECTIVES.schema("mass")
    assert error.value.message == "objective 'mass' is claimed by masscli.objectives.mass:Mass and plug_six:SpanBert"


def test_nothing_is_imported_before_it_is_named(site: Path) -> None:
    install(site, "plug_seven", "raise RuntimeError('the plug-in is broken')", "broken = plug_seven:Broken")
    OBJECTIVES.schema("mass")
    assert "broken" in OBJECTIVES.names()
    assert "plug_seven" not in sys.modules
    with pytest.raises(RuntimeError, match="the plug-in is broken"):
        OBJECTIVES.load("broken")


def test_names_that_lead_nowhere(site: Path) -> None:
    (site / "plug_eight.py").write_text("import no_such_dependency\n")
    registry: Registry[object] = Registry("metric", {"bleu": "masscli.scoring.sacre:Bleu", "chrf": "masscli.scoring.sacre:Chrf"})
    for name, message in {
        "blue": "name: no metric called 'blue', did you mean 'bleu'?",
        "comet": "name: no metric called 'comet' (known: bleu, chrf)",
        "nowhere.at_all:Thing": "metric 'nowhere.at_all:Thing': there is no module 'nowhere'",
        "masscli.errors:Thing": "metric 'masscli.errors:Thing': the module has no such class",
    }.items():
        with pytest.raises(ConfigError) as error:
            registry.load(name)
        assert error.value.message == message
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):  # the plug-in's own trouble keeps its traceback
        registry.load("plug_eight:Thing")


def test_every_built_in_objective_has_its_class_and_options() -> None:
    for name in OBJECTIVES.light():
        assert OBJECTIVES.schema(name)(name=name).name == name
        assert OBJECTIVES.load(name).Config is OBJECTIVES.schema(name)  # type: ignore[attr-defined]
