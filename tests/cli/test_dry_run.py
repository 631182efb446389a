"""`--dry-run` shows what a run would be and leaves the disk as it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from masscli.__main__ import run
from tests.commands import succeed

SMALL = "--dim 16 --ffn-dim 32 --heads 2 --precision=fp32 --num-workers=0".split()


def disk(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file and folder, with its time and size."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        found[str(path)] = (status.st_mtime_ns, status.st_size)
    return found


def test_nothing_is_written_and_the_first_batch_is_shown(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = disk(toy)
    command = [
        *f"finetune {toy} --task translate -s en -t de --max-update 3".split(),
        *SMALL,
    ]
    succeed([*command, "--dry-run"])
    out, err = capsys.readouterr()
    assert out == "" and disk(toy) == before and disk(tmp_path) == {}
    assert "stream translate-en-de: 240 training examples" in err
    assert "until 3 updates" in err
    assert "micro-batch 1 of 1, of translate-en-de: source" in err
    assert "dry run: nothing was written to runs/translate" in err


def test_the_number_of_updates_is_shown_if_nobody_asked_for_it(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["pretrain", str(toy), "--objective", "mass", *SMALL, "--dry-run"]
    succeed(command)
    assert "20,000 updates (--max-update)" in capsys.readouterr().err
    succeed([*command, "--max-epoch", "1"])
    assert "--max-update" not in capsys.readouterr().err


def test_the_loss_is_that_of_the_first_update(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    no_sync: None,
) -> None:
    monkeypatch.chdir(tmp_path)
    command = [
        *f"pretrain {toy} --objective mass --max-update 2 --log-interval 1".split(),
        *SMALL,
    ]

    def losses(flag: list[str], update: int) -> str:
        succeed([*command, *flag])
        lines = [
            line
            for line in capsys.readouterr().err.splitlines()
            if line.removeprefix("update ").startswith(f"{update}: ")
        ]
        return lines[-1].partition(": ")[2].partition("  lr")[0]

    tried = losses(["--dry-run"], 1)
    assert tried == losses([], 1)
    # A run that is there already is tried at the update that comes next, and stays as it is.
    before = disk(tmp_path)
    longer = ["--set", "train.max_update=3"]
    tried = losses([*longer, "--dry-run"], 3)
    assert disk(tmp_path) == before
    assert tried == losses(longer, 3)
    succeed([*command, *longer, "--dry-run"])
    assert "update 4" not in capsys.readouterr().err


def test_mistakes_are_found_by_a_dry_run(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert (
        run(f"pretrain {toy} --objective mass --heads 3 --dim 16 --dry-run".split())
        == 2
    )
    assert "--heads: must divide dim (16), got 3" in capsys.readouterr().err
    assert disk(tmp_path) == {}


def test_the_memory_is_that_of_the_optimizer(
    toy: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    wide = "--dim 512 --ffn-dim 2048 --heads 2 --precision=fp32 --num-workers=0".split()
    command = [
        *(
            f"pretrain {toy} --objective mlm --encoder-layers 1 --dry-run "
            "--max-tokens=60"
        ).split(),
        *wide,
    ]
    shown = {}
    for optimizer in ("adamw", "adafactor"):
        succeed([*command, "--optimizer", optimizer])
        lines = capsys.readouterr().err.splitlines()
        sizes = re.search(
            r"weights (\d+) MiB, gradients (\d+) MiB, optimizer (\d+) MiB",
            "\n".join(lines),
        )
        assert sizes is not None
        shown[optimizer] = [int(size) for size in sizes.groups()]
    (model,) = [line for line in lines if " parameters, " in line]
    weights = int(model.split(": ")[1].split(" ")[0].replace(",", "")) * 4 / 2**20
    assert shown["adamw"] == [round(weights), round(weights), round(2 * weights)]
    assert shown["adafactor"][2] <= 1
