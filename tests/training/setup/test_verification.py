"""Training compares the checksums of its data once, unless it is told not to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.training.setup.run_context import RunContext


@pytest.fixture
def damaged(toy: Path, tmp_path: Path) -> Path:
    """A data folder in which one id was replaced by another, so that sizes and the vocabulary fit."""
    folder = shutil.copytree(toy, tmp_path / "data")
    (folder / ".verified.json").unlink(missing_ok=True)
    path = next(folder.glob("train.*.bin"))
    content = bytearray(path.read_bytes())
    # The first two ids of two bytes each are exchanged.
    content[:4] = content[2:4] + content[:2]
    assert content != path.read_bytes()
    path.write_bytes(content)
    return folder


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_training_on_changed_shards_is_refused(command: str, damaged: Path, tmp_path: Path) -> None:
    chooser = {"pretrain": "--objective=mass", "finetune": "--task=translate"}[command]
    save_dir = tmp_path / "run"
    with pytest.raises(MasscliError, match="does not match its checksum"):
        dispatch([command, str(damaged), chooser, "--save-dir", str(save_dir)])
    assert not save_dir.exists()


def test_no_verify_trusts_the_folder(damaged: Path, tmp_path: Path) -> None:
    assert RunContext.open(damaged, verify=False).data.folder == damaged
    # The next mistake is reported, so the folder was accepted.
    with pytest.raises(MasscliError, match="nowhere"):
        dispatch(
            [
                "pretrain",
                str(damaged),
                "--objective",
                "mass",
                "--no-verify",
                "--init-from",
                "nowhere",
                "--save-dir",
                str(tmp_path / "run"),
            ]
        )


def test_folders_of_streams_are_compared_too(toy: Path, damaged: Path) -> None:
    with pytest.raises(MasscliError, match="does not match its checksum"):
        RunContext.open(toy).open_data(damaged)
    assert RunContext.open(toy, verify=False).open_data(damaged).folder == damaged


def test_only_one_process_of_a_machine_reads_everything(
    damaged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masscli.core.distributed.local_rank", 1)
    assert RunContext.open(damaged).data.folder == damaged


def test_a_long_verification_says_how_far_it_is(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("masscli.training.setup.run_context.SECONDS_BETWEEN_REPORTS", 0.0)
    folder = shutil.copytree(toy, tmp_path / "data")
    (folder / ".verified.json").unlink(missing_ok=True)
    RunContext.open(folder)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(DataFolder.open(folder).manifest.files)
    assert lines[-1] == f"{folder}: verified 0.0 of 0.0 GB (once for each copy; --no-verify skips it)"
    # What was verified is not read again.
    RunContext.open(folder)
    assert capsys.readouterr().err == ""
