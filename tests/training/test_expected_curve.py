"""--expected-curve: a band over updates, and whether a run is inside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.training.config import ValidConfig
from masscli.training.events import Evaluated
from masscli.training.expected_curve import parse_expected_curve
from masscli.training.setup.build import build
from tests.commands import succeed
from tests.toy import recipe
from tests.training.test_trainer import train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")


def test_the_band_is_straight_between_its_points() -> None:
    curve = parse_expected_curve("bleu=100:1-3, 300:5.5-11")
    assert curve.metric == "bleu"
    assert [curve.band_at(update) for update in (99, 100, 300, 301)] == [
        None,
        (1, 3),
        (5.5, 11),
        None,
    ]
    assert curve.band_at(150) == pytest.approx((1 + 4.5 / 4, 3 + 8 / 4))
    assert parse_expected_curve("loss=7:.5-.75").band_at(7) == (0.5, 0.75)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("loss", "expected METRIC=UPDATE:LOW-HIGH,..."),
        ("=1:2-3", "expected METRIC=UPDATE:LOW-HIGH,..."),
        ("loss=1:2", "expected METRIC=UPDATE:LOW-HIGH,..."),
        ("loss=1:3-2", "a lowest value is above the highest one"),
        ("loss=5:1-2,5:1-2", "updates must rise"),
    ],
)
def test_invalid_curves_are_refused(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        ValidConfig(expected_curve=text)
    assert error.value.message == f"expected_curve: {why}, got {text!r}"


def test_each_validation_within_the_curve_is_compared(
    toy: Path, tmp_path: Path
) -> None:
    run = recipe(toy, tmp_path, "valid.expected_curve=pairs.loss=4:1-9,8:1-5")
    events = [event for event in train(run) if isinstance(event, Evaluated)]
    assert [(event.step, dict(event.expected)) for event in events] == [
        (4, {"pairs.loss": (1, 9)}),
        (8, {"pairs.loss": (1, 5)}),
        (10, {}),
    ]
    with pytest.raises(
        MasscliError, match=r"^--expected-curve nothing: is not measured$"
    ):
        build(recipe(toy, tmp_path / "other", "valid.expected_curve=nothing=1:1-2"))


def test_a_run_says_whether_it_is_inside(
    toy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    size = (
        "--dim 16 --ffn-dim 32 --heads 2 --encoder-layers 1 --decoder-layers 1".split()
    )
    command = ["pretrain", str(toy), "--objective", "mass", *size, "--max-update", "3"]
    every = [
        "--save-interval-updates",
        "1",
        "--expected-curve",
        "loss=1:1-20,2:90-99,3:0.1-0.2",
    ]
    succeed([*command, *every, "--save-dir", str(tmp_path / "run")])
    messages = [
        line
        for line in capsys.readouterr().err.splitlines()
        if "earlier runs of this recipe" in line
    ]
    earlier = "which earlier runs of this recipe had at update"
    assert messages[0].endswith(f" is inside 1 to 20, {earlier} 1") and messages[
        0
    ].startswith("loss ")
    assert messages[1].endswith(f" is below 90 to 99, {earlier} 2") and messages[
        1
    ].startswith("warning: loss ")
    assert messages[2].endswith(f" is above 0.1 to 0.2, {earlier} 3") and messages[
        2
    ].startswith("warning: loss ")
