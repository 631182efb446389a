"""What a run says about its data before it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.training.setup.build import build
from tests.toy import recipe
from tests.toy_tasks import ENCODER, finetune

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")


def test_validation_examples_that_are_left_out_are_counted(
    toy: Path, tmp_path: Path
) -> None:
    _, notes = build(recipe(toy, tmp_path / "run", "model.max_positions=7"))
    left_out = [note for note in notes if "validation examples" in note]
    assert left_out
    for note in left_out:
        assert note.endswith("are longer than the model's 7 positions and are left out")


@pytest.mark.parametrize("objective", ["mass", "denoise", "translate"])
def test_lines_without_decoder_positions_are_left_out(
    objective: str, toy: Path, tmp_path: Path
) -> None:
    """A text that encoder and decoder read is limited by the one with fewer positions."""
    dataset = "en-de" if objective == "translate" else "en"
    streams = {"one": {"dataset": dataset, "objective": {"name": objective}}}
    changes = ("model.decoder_max_positions=7", "train.max_update=1")
    trainer, notes = build(recipe(toy, tmp_path / "run", *changes, streams=streams))
    (note,) = (note for note in notes if "longer" in note and "validation" not in note)
    assert "the model's 7 positions" in note
    list(trainer.run())


def test_columns_that_were_chosen_are_named(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "classify",
        "--table",
        "one",
        *ENCODER,
        updates=1,
    )
    assert "one: reads the columns sentence, label" in capsys.readouterr().err
