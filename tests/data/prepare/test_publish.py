"""A data folder while it is written: what happens to the folder when the work ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from masscli.data.prepare.publish import locked


def test_a_folder_that_vanishes_does_not_hide_why_the_work_ended(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "data"
    with pytest.raises(ValueError, match="the disk is gone"), locked(folder):
        shutil.rmtree(folder)
        raise ValueError("the disk is gone")
    with locked(folder):
        shutil.rmtree(folder)
    assert not folder.exists()


def test_a_failure_leaves_neither_a_new_folder_nor_files_in_an_old_one(
    tmp_path: Path,
) -> None:
    folder, old = tmp_path / "new" / "data", tmp_path / "old"
    old.mkdir()
    (old / "notes.txt").write_text("mine")
    for place in (folder, old):
        with pytest.raises(ValueError, match="no"), locked(place):
            (place / ".partial").mkdir()
            raise ValueError("no")
    assert not folder.parent.exists()
    assert sorted(path.name for path in old.iterdir()) == [".lock", "notes.txt"]
