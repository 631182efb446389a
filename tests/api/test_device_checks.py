"""The checks of a device: they cover every objective, pass on a CPU, and fail where something is computed wrongly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from masscli.api import device_checks
from masscli.api.device_check_data import make_data_folder
from masscli.objectives.registry import OBJECTIVES

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with everything that the checks read."""
    return make_data_folder(tmp_path_factory.mktemp("checks"))


def test_every_objective_is_checked() -> None:
    assert set(device_checks.CASES) == set(OBJECTIVES.names())


def test_a_cpu_agrees_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some = {name: device_checks.CASES[name] for name in ("translate", "extract")}
    monkeypatch.setattr(device_checks, "CASES", some)
    checks = list(device_checks.check_device(CPU, tmp_path))
    assert [check.name for check in checks] == [
        "translate, fp32",
        "extract, fp32",
        "translate, bf16",
        "translate, fp16",
        "search, beam 5, fp32",
        "resume, fp32",
        "FSDP2, one process, fp32",
    ]
    assert all(check.passed for check in checks), checks


def test_another_dropout_is_noticed(data: Path, tmp_path: Path) -> None:
    case = device_checks.CASES["translate"]
    wrong = replace(case, model={"dropout": 0.3})
    runs = []
    for name, variant in (("right", case), ("wrong", wrong)):
        runs.append(device_checks._train("translate", variant, data, tmp_path / name, "cpu", "fp32"))
    right, other = runs
    assert not device_checks._compare("translate", other, right, device_checks.TOLERANCES["bf16"]).passed
    assert device_checks._compare("translate", right, right, 0.0).passed


def test_gradients_that_a_sharded_model_sums_wrongly_are_noticed(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(train_step: torch.nn.Module, device: torch.device) -> None:
        with torch.no_grad():
            next(train_step.parameters()).mul_(1.5)

    monkeypatch.setattr(device_checks, "shard_model", forget)
    assert not device_checks._check_sharding(data, tmp_path, CPU).passed
