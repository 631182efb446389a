"""`masscli doctor` reports what is installed, and nothing that is secret."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from masscli.reporting import environment
from masscli.version import __version__
from tests.commands import succeed


def test_the_report_names_versions_device_memory_and_disk(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("HF_TOKEN", "very secret")
    succeed(["doctor", "--json"])
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["masscli"], err) == (__version__, "")
    assert report["packages"]["torch"] == metadata.version("torch")
    assert report["packages"]["numpy"] == metadata.version("numpy")
    assert 0 < report["memory"]["free"] <= report["memory"]["total"]
    assert report["disk"]["folder"] == str(tmp_path) and report["disk"]["free"] > 0
    assert set(report["device"]["gflops"]) == {"float32", "bfloat16"}
    assert report["environment"]["CUDA_VISIBLE_DEVICES"] == ""
    assert "very secret" not in out
    succeed(["doctor"])
    text = capsys.readouterr().out
    assert (
        f"masscli      {__version__}\n" in text
        and f"torch {metadata.version('torch')}" in text
    )
    assert "very secret" not in text


def test_a_missing_extra_says_how_to_install_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "torch>=2.11",
        "wonders[fast]>=2,<3 ; extra == 'magic'",
        "pytest; extra == 'dev'",
    ]
    monkeypatch.setattr(environment.metadata, "requires", lambda name: lines)
    succeed(["doctor"])
    out = capsys.readouterr().out
    assert "extra magic  no wonders (pip install 'masscli[magic]')\n" in out
    assert "extra dev" not in out


def test_the_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = environment.free_memory()
    monkeypatch.setattr(environment, "_container_limit", lambda: before / 4)
    assert environment.free_memory() == pytest.approx(before / 4)
