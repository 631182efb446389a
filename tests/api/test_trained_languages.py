"""A run is asked for languages that it has never read, or that it does not tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

import masscli
from masscli.__main__ import run
from masscli.api.trained_languages import untrained_languages
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import config
from masscli.objectives.input_kinds import TABLE, InputKind
from masscli.objectives.registry import ObjectiveConfig
from tests.commands import succeed
from tests.toy import recipe

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")
UNTRAINED = "was never trained on text of de"


def pretrained(toy: Path, folder: Path, language: str, *changes: str) -> Path:
    """A run of MASS that reads one of the two languages of its data folder."""
    streams = {"one": {"dataset": language, "objective": {"name": "mass"}}}
    changes = ("train.max_update=1", *changes)
    list(masscli.pretrain(recipe(toy, folder, *changes, streams=streams)))
    return folder


@pytest.fixture(scope="module")
def english(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrained(toy, tmp_path_factory.mktemp("languages") / "english", "en")


@pytest.mark.parametrize(
    ("command", "languages", "is_warned"),
    [
        ("mine RUN -i train.en -j train.de", "-s en -t de", True),
        ("mine RUN -i train.en -j valid.en", "-s en -t en", False),
        ("generate RUN -i valid.en", "-s en -t de", True),
        ("generate RUN -i valid.en", "-s de -t en", True),
        ("generate RUN -i valid.en", "-s en -t en", False),
        ("compare RUN RUN -i valid.en", "-s en -t de", True),
        ("inspect RUN --retrieval", "", True),
        ("dictionary RUN --min-count 1 --output {folder}/out", "--langs en,de", True),
    ],
)
def test_a_language_that_was_never_read_is_named(
    command: str,
    languages: str,
    is_warned: bool,
    english: Path,
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(toy.parent)
    words = command.format(folder=tmp_path).replace("RUN", str(english)).split()
    # What the command finds after one update does not matter.
    run([*words, *languages.split()])
    err = capsys.readouterr().err
    assert (UNTRAINED in err) == is_warned


def test_mine_names_empty_lines(
    english: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some").write_text("ba be\n\n  \n")
    (tmp_path / "all").write_text("bi bo\n")
    sides = ["-i", str(tmp_path / "some"), "-j", str(tmp_path / "all")]
    succeed(["mine", str(english), *sides, "-s", "en", "-t", "en"])
    message = f"warning: {tmp_path / 'some'}: lines 2, 3 were empty, and cannot be in a pair\n"
    assert message in capsys.readouterr().err


def test_languages_of_earlier_runs_count(
    toy: Path, english: Path, tmp_path: Path
) -> None:
    later = pretrained(toy, tmp_path / "later", "de", f"init_from={english}")
    assert untrained_languages(Checkpoint.open(later), ["en", "de"]) == []

    # Nobody knows any more what the earlier run has read.
    first = pretrained(toy, tmp_path / "first", "de")
    second = pretrained(toy, tmp_path / "second", "de", f"init_from={first}")
    assert untrained_languages(Checkpoint.open(second), ["en", "de"]) == ["en"]
    first.rename(tmp_path / "moved")
    assert untrained_languages(Checkpoint.open(second), ["en", "de"]) == []
    # A run that lies where the one lay that it began with.
    second.rename(first)
    assert untrained_languages(Checkpoint.open(first), ["en", "de"]) == ["en"]


@config
class OwnTask(ObjectiveConfig):
    """A task over tables, as a plug-in may have: without an option for the language."""

    name: str = "own"
    input_kind: ClassVar[InputKind] = TABLE


def test_nobody_knows_what_a_task_of_a_plug_in_reads(english: Path) -> None:
    """The name of its table is not taken for a language."""
    checkpoint = Checkpoint.open(english)
    assert untrained_languages(checkpoint, ["en", "de"]) == ["de"]
    stream = replace(
        checkpoint.recipe.stream["one"], dataset="ratings", objective=OwnTask()
    )
    recipe = replace(checkpoint.recipe, stream={"own": stream})
    assert untrained_languages(replace(checkpoint, recipe=recipe), ["en", "de"]) == []


def test_languages_that_a_model_does_not_tell_apart_are_named(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    streams = {
        name: {"dataset": name, "objective": {"name": "clm"}} for name in ("en", "de")
    }
    text = tmp_path / "in"
    text.write_text("ba be\n")
    for languages in ("none", "embedding"):
        changes = (
            "train.max_update=1",
            "model.encoder_layers=0",
            f"model.languages={languages}",
        )
        folder = tmp_path / languages
        list(masscli.pretrain(recipe(toy, folder, *changes, streams=streams)))
        capsys.readouterr()
        succeed(["generate", str(folder), "-i", str(text), "-t", "de"])
        said = "the model does not tell languages apart" in capsys.readouterr().err
        assert said == (languages == "none")
