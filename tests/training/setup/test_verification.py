"""Training compares the checksums of its data once, unless it is told not to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.training.setup.run_context import RunContext
from tests.toy import recipe
from tests.training.test_trainer import train


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


@pytest.fixture(scope="module")
def run_folder(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has learned to translate for one update."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    streams = {"pairs": {"dataset": "en-de", "objective": {"name": "translate"}}}
    train(recipe(toy, folder, "train.max_update=1", streams=streams))
    return folder


READERS = {
    "words of pairs": ["dictionary", "DATA", "--langs", "en,de", "--from", "pairs"],
    "words of text": ["dictionary", "DATA", "--langs", "en,de", "--from", "text"],
    "words of a model": ["dictionary", "RUN", "--langs", "en,de", "--data", "DATA"],
    "alignments": ["align", "DATA", "-s", "en", "-t", "de"],
    "shortlist": ["shortlist", "DATA", "-s", "en", "-t", "de"],
    "split": ["generate", "RUN", "--gen-subset", "valid", "--data", "DATA"],
    "frequent pieces": "generate RUN --min-piece-count 1 --data DATA --input in.txt".split(),
    "retrieval": ["inspect", "RUN", "--retrieval", "--data", "DATA"],
    "measurement": ["score", "RUN", "--gen-subset", "valid", "--data", "DATA"],
}
"""Commands besides training that read shards."""


@pytest.mark.parametrize("reader", READERS)
def test_nothing_is_learned_or_measured_on_changed_shards(
    reader: str,
    damaged: Path,
    run_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"DATA": str(damaged), "RUN": str(run_folder)}
    (tmp_path / "in.txt").write_text("ba\n")
    before = set(tmp_path.iterdir())
    with pytest.raises(MasscliError, match="does not match its checksum"):
        dispatch([places.get(argument, argument) for argument in READERS[reader]])
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_training_on_changed_shards_is_refused(
    command: str, damaged: Path, tmp_path: Path
) -> None:
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
            (
                f"pretrain {damaged} --objective mass --no-verify "
                f"--init-from nowhere --save-dir {tmp_path}/run"
            ).split()
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


def test_a_long_verification_reports_its_progress(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "masscli.data.storage.verification.SECONDS_BETWEEN_REPORTS", 0.0
    )
    folder = shutil.copytree(toy, tmp_path / "data")
    (folder / ".verified.json").unlink(missing_ok=True)
    RunContext.open(folder)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(DataFolder.open(folder).manifest.files)
    assert (
        lines[-1]
        == f"{folder}: verified 0.0 of 0.0 GB (once for each copy; --no-verify skips it)"
    )
    # What was verified is not read again.
    RunContext.open(folder)
    assert capsys.readouterr().err == ""
