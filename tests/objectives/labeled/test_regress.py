"""Regression from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError
from tests.commands import predict
from tests.toy_tasks import ENCODER, finetune

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def test_regress_predicts_numbers_on_the_scale_of_the_data(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = (
        "--task regress --table two --label-column score "
        "--text-columns sentence1 --best-metric pearson"
    ).split()
    measured = finetune(labeled, tmp_path / "run", *options, *ENCODER, updates=60)
    assert measured[-1]["pearson"] > 80
    predicted = [
        float(line)
        for line in predict(
            capsys, tmp_path / "run", "--input", labeled / "valid.pairs.tsv"
        ).splitlines()
    ]
    assert len(predicted) == 12
    assert 3 < sum(predicted) / 12 < 14


def test_an_invalid_scale_is_refused(labeled: Path, tmp_path: Path) -> None:
    options = "--task regress --table two --label-column score --text-columns sentence1".split()
    command = [
        "finetune",
        str(labeled / "data"),
        *options,
        *ENCODER,
        "--save-dir",
        str(tmp_path / "run"),
    ]
    with pytest.raises(MasscliError) as caught:
        dispatch([*command, "--low", "5", "--high", "1"])
    assert (
        caught.value.message
        == "--low 5, --high 1: the smallest value must be below the largest"
    )
    assert caught.value.hint is not None and "'score'" in caught.value.hint
