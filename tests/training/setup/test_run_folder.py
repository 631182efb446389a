"""The folder of a run: what keeps it from being made is an error of one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from masscli.core.errors import MasscliError
from masscli.training.setup.run_context import RunContext
from masscli.training.setup.run_folder import open_checkpoints, prepare_folder


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    # 300 bytes are more than file systems allow for a name.
    for folder in (
        tmp_path / "file",
        tmp_path / "file" / "run",
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(MasscliError) as error:
            prepare_folder(folder)
        assert error.value.message.startswith(f"{folder}: cannot be written (")
        assert error.value.hint == "choose another folder with --save-dir"


def test_a_run_does_not_begin_on_a_disk_that_is_nearly_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first checkpoint, perhaps hours later, would be lost."""
    for free, is_refused in ((64 << 20, False), ((64 << 20) - 1, True)):
        usage = SimpleNamespace(free=free)
        monkeypatch.setattr(shutil, "disk_usage", lambda path, usage=usage: usage)
        if not is_refused:
            prepare_folder(tmp_path / "run")
            continue
        with pytest.raises(MasscliError) as error:
            prepare_folder(tmp_path / "run")
        assert error.value.message == f"{tmp_path / 'run'}: less than 64 MiB are free"
        assert error.value.hint == "make room, or choose another disk with --save-dir"


def test_only_the_first_process_removes_leftovers_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process might remove what the first one is about to write."""
    partial = tmp_path / "run" / "checkpoints" / ".step-0000002.new"
    partial.mkdir(parents=True)
    monkeypatch.setattr("masscli.core.distributed.rank", 1)
    prepare_folder(tmp_path / "run")
    assert partial.exists()
    monkeypatch.setattr("masscli.core.distributed.rank", 0)
    prepare_folder(tmp_path / "run")
    assert not partial.exists()


def test_processes_that_see_different_checkpoints_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder lies on a disk of each machine, and one of them has lost its last checkpoint."""
    checkpoints = SimpleNamespace(by_step={2: None, 4: None})
    context = cast(
        RunContext, SimpleNamespace(run_checkpoints=lambda save_dir: checkpoints)
    )
    device = torch.device("cpu")
    assert open_checkpoints(tmp_path, context, device) is checkpoints
    # The first process has a checkpoint of update 6, which this one lacks.
    monkeypatch.setattr(
        "masscli.core.distributed.broadcast", lambda tensor: tensor * 0 + 6
    )
    with pytest.raises(MasscliError) as error:
        open_checkpoints(tmp_path, context, device)
    assert error.value.message == (
        f"{tmp_path}: the processes see different checkpoints; the last one here is of update 4"
    )
