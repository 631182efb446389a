"""The example of a plug-in: a package with an objective of its own is installed, listed, trained and continued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.preloaded import Preloaded

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "examples/masscli-plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed the example, without its dependencies and without the network."""
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        *"-m pip install --quiet --no-deps --no-build-isolation".split(),
    ]
    result = subprocess.run(
        [*command, "--target", folder, PLUGIN], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return folder


@pytest.fixture(scope="module")
def program(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A `masscli` that finds the example."""
    search_path = f"{site}:{os.environ.get('PYTHONPATH', '')}"
    with pytest.MonkeyPatch.context() as patch:
        # The program and those who start it have the same environment.
        patch.setenv("PYTHONPATH", search_path)
        server = Preloaded(tmp_path_factory.mktemp("plugin"))
        yield server.program
        server.stop()


def masscli(program: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True
    )


def test_its_options_are_in_the_help(program: Path) -> None:
    result = masscli(program, "pretrain", "--objective", "prefix-lm", "--help")
    assert result.returncode == 0, result.stderr
    assert "--prefix-share" in result.stdout
    assert "Share of each sentence that the encoder reads" in " ".join(
        result.stdout.replace("│", " ").split()
    )


def test_it_can_be_trained_continued_and_used_to_generate(
    program: Path, toy: Path, tmp_path: Path
) -> None:
    """The loss falls, the recipe keeps the option, and `generate` accepts the run."""
    run = tmp_path / "run"
    shape = [
        "--dim",
        32,
        "--ffn-dim",
        64,
        "--heads",
        2,
        "--encoder-layers",
        1,
        "--decoder-layers",
        1,
    ]
    loop = [
        "--lr",
        0.01,
        "--warmup-updates",
        2,
        "--log-interval",
        5,
        "--precision",
        "fp32",
        "--num-workers",
        0,
    ]
    for updates in (10, 30):
        command = [
            "pretrain",
            toy,
            "--objective",
            "prefix-lm",
            "--prefix-share",
            0.4,
            "--langs",
            "en",
        ]
        result = masscli(
            program, *command, *shape, *loop, "--max-update", updates, "--save-dir", run
        )
        assert result.returncode == 0, result.stderr
    reports = [
        json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()
    ]
    losses = [
        report["losses"]["prefix-lm-en.prefix-lm"]
        for report in reports
        if "losses" in report
    ]
    assert losses[-1] < losses[0]
    assert "prefix_share = 0.4" in (run / "recipe.toml").read_text()
    result = masscli(program, "generate", run, "--input", toy / "no such file")
    assert result.returncode == 2 and "no such file" in result.stderr
    # Where the package is not installed, the message says what is missing.
    without = {**os.environ, "PYTHONPATH": os.environ["PYTHONPATH"].partition(":")[2]}
    command = [sys.executable, "-m", "masscli", "inspect", str(run)]
    result = subprocess.run(command, capture_output=True, text=True, env=without)
    assert result.returncode == 2
    assert "no objective called 'prefix-lm'" in result.stderr
    assert "a plug-in that is not installed" in result.stderr


def test_a_wrong_value_is_refused_by_name(
    program: Path, toy: Path, tmp_path: Path
) -> None:
    command = [
        "pretrain",
        toy,
        "--objective",
        "prefix-lm",
        "--prefix-share",
        1.5,
        "--save-dir",
        tmp_path / "run",
    ]
    result = masscli(program, *command)
    assert result.returncode == 2
    assert (
        result.stderr.splitlines()[0]
        == "error: --prefix-share: must lie between 0 and 1, got 1.5"
    )
