"""The checks of a device: they cover every objective, pass on a CPU, and fail where something is computed wrongly."""

from __future__ import annotations

import math
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


def test_a_cpu_agrees_with_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
        request = device_checks._request(
            "translate", variant, data, tmp_path / name, "cpu"
        )
        runs.append(device_checks._train(request))
    right, other = runs
    assert not device_checks._compare(
        "translate", other, right, device_checks.TOLERANCES["bf16"]
    ).passed
    assert device_checks._compare("translate", right, right, 0.0).passed


@pytest.mark.parametrize("second", [math.nan, math.inf, -math.inf])
def test_nan_losses_are_noticed(second: float) -> None:
    reference = [{"mass": 2.0}, {"mass": 1.0}]
    assert device_checks._compare("mass", reference, reference, 0.0).passed
    for one, other in (
        ([{"mass": 2.0}, {"mass": second}], reference),
        (reference, [{"mass": 2.0}, {"mass": second}]),
    ):
        assert not device_checks._compare("mass", one, other, 0.3).passed


@pytest.mark.parametrize("factor", [1.5, math.nan])
def test_gradients_that_a_sharded_model_sums_wrongly_are_noticed(
    factor: float, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sum_wrongly(train_step: torch.nn.Module, device: torch.device) -> None:
        """Multiply the gradient of the last parameter alone, so that all others are right."""
        list(train_step.parameters())[-1].register_hook(
            lambda gradient: gradient * factor
        )

    monkeypatch.setattr(device_checks, "shard_model", sum_wrongly)
    assert not device_checks._check_sharding(data, tmp_path, CPU).passed
