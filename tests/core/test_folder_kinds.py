"""Files of one kind are not written into a folder of another."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from tests.commands import succeed
from tests.translators import random_translator


def test_kinds_of_folders_are_not_mixed(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A data folder takes no run, and neither a run nor a checkpoint takes data; nothing is written."""
    data, run, text = tmp_path / "data", tmp_path / "run", tmp_path / "text.en"
    shutil.copytree(toy, data)
    checkpoint = random_translator("default", toy, tmp_path).path
    succeed(["average", str(checkpoint), "--output", str(run)])
    text.write_text("a b c\n" * 50)
    train = ["pretrain", str(toy), "--objective", "mass", "--save-dir"]
    preprocess = ["preprocess", "--langs", "en", "--mono", f"en={text}", "--destdir"]
    before = sorted(tmp_path.rglob("*"))
    for command, folder, problem in (
        (train, data, f"--save-dir {data}: is a data folder, not a run"),
        ([*train[:-1], "--dry-run", "--save-dir"], data, "is a data folder, not a run"),
        (train, checkpoint, f"--save-dir {checkpoint}: is a checkpoint, not a run"),
        (preprocess, run, f"--destdir {run}: is a run, not a data folder"),
        (preprocess, checkpoint, f"--destdir {checkpoint}: is a checkpoint, not a"),
    ):
        assert masscli([*command, str(folder)]) == 2
        stderr = capsys.readouterr().err
        assert problem in stderr
        assert stderr.endswith("hint: choose another folder with " + command[-1] + "\n")
    # Nor does a mistake in the data leave the folders that would have held it.
    assert masscli([*preprocess, str(tmp_path / "new/deep")]) == 2
    assert "is too large for this text" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before
