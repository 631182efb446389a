"""Tests of how the items of --auxiliary, and recipes, are read."""

from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.core.errors import MasscliError
from masscli.training.recipe_file import read_toml
from masscli.training.setup.request import AuxiliaryObjective, parse_weighted


def test_a_schedule_keeps_its_commas():
    parsed = parse_weighted(["denoise=0:1", "100:0.1", "mlm"])
    assert parsed == [
        AuxiliaryObjective("denoise", None, "0:1,100:0.1"),
        AuxiliaryObjective("mlm", None, "1"),
    ]


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        ("denoise=0:1,0:2", "updates must rise from 0, got '0:1,0:2'"),
        ("denoise=-1", "must not be negative, got '-1'"),
        (
            "mlm,denoise=often",
            "expected a number or UPDATE:VALUE,..., got 'often'",
        ),
        ("denoise=nan", "expected finite numbers, got 'nan'"),
    ],
)
def test_a_wrong_weight_names_the_flag_and_the_objective(
    items, problem, toy, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    args = ["pretrain", str(toy), "--objective", "mass", "--auxiliary", items]
    assert run(args) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"error: --auxiliary denoise: {problem}",
        "hint: write a weight, or a schedule such as 0:1,1000:0.1",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_name_is_refused():
    with pytest.raises(MasscliError, match="--auxiliary mlm@: names no folder"):
        parse_weighted(["mlm@=1"])


def test_a_run_can_be_named_in_place_of_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text("[optim]\nlr = 0.5\n")
    assert read_toml(tmp_path) == {"optim": {"lr": 0.5}}
    (tmp_path / "none").mkdir()
    with pytest.raises(MasscliError, match=r"none/recipe\.toml: there is no such file"):
        read_toml(tmp_path / "none")
    # As an import, an average or a copied checkpoint is.
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(
        MasscliError, match=r"run: has no recipe\.toml, which only training writes"
    ) as caught:
        read_toml(tmp_path / "run")
    assert str(caught.value.hint).startswith(
        f"--init-from {tmp_path / 'run'} trains from its weights"
    )
