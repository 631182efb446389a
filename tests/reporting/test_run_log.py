"""Tables of runs: speeds are medians, metrics are those of the best checkpoint, and they can be added to a log of scores."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.core.errors import MasscliError
from masscli.reporting.run_log import cost_rows, read_run
from tests.commands import succeed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run of 150 updates whose best checkpoint is its first; its log ends in the middle of a line."""
    events: list[dict[str, object]] = []
    for step, seconds, targets, memory in [
        (50, 20.0, 1000, 0.5),
        (100, 10.0, 900, 1.5),
        (150, 30.0, 3000, 0.5),
    ]:
        event = {
            "event": "stepped",
            "step": step,
            "seconds": seconds,
            "targets": targets,
            "memory": memory,
        }
        events.append(event)
    for step, loss in ((100, 7.25), (150, 8.5)):
        events.append(
            {
                "event": "evaluated",
                "step": step,
                "metrics": {"loss": loss, "ppl-word": 40.0},
            }
        )
        events.append({"event": "saved", "step": step, "best": step == 100})
    events.append({"event": "finished", "step": 150, "seconds": 90.0})
    (tmp_path / "mass").mkdir()
    lines = "".join(json.dumps(event) + "\n" for event in events)
    (tmp_path / "mass/log.jsonl").write_text(lines + '{"event": "stepp')
    return tmp_path / "mass"


def cells(printed: str) -> list[list[str]]:
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in printed.splitlines()
    ]


def test_costs_and_metrics_of_a_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    succeed(["report", str(folder), "--metric", "loss", "--curve", "loss"])
    head, _, row = cells(capsys.readouterr().out)
    costs = ["run", "updates", "minutes", "s/update", "targets/s", "GiB"]
    assert head == [*costs, "loss", "loss@100", "loss@150"]
    assert row == ["mass", "150", "1.5", "0.40", "90", "1.5", "7.25", "7.25", "8.5"]


def test_metrics_that_all_runs_have_are_shown(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = folder.parent / "other"
    other.mkdir()
    metrics = {"mass-en.loss": 3.0, "loss": 3.5, "bleu": 20.0}
    events = [
        {"event": "evaluated", "step": 10, "metrics": metrics},
        {"event": "evaluated", "step": 20, "metrics": metrics | {"loss": 3.25}},
    ]
    (other / "log.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    for names, expected in (
        (["mass"], [["loss", "ppl-word"], ["7.25", "40"]]),
        (["other"], [["loss", "bleu"], ["3.25", "20"]]),
        (["mass", "other"], [["loss"], ["7.25"], ["3.25"]]),
    ):
        succeed(["report", *(str(folder.parent / name) for name in names)])
        head, _, *rows = cells(capsys.readouterr().out)
        assert [row[6:] for row in (head, *rows)] == expected


def test_metrics_are_added_to_a_log_of_scores(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "scores.jsonl"
    succeed(f"report {folder} --metric ppl-word --append {log} --tag k=0.5")
    capsys.readouterr()
    succeed(["report", str(log)])
    assert cells(capsys.readouterr().out)[2] == ["0.5", "1", "40.00"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mass", "--metric", "bleu"], "mass: its log has no metric 'bleu'"),
        (["mass", "--curve", "los"], "--curve los: no validation has this metric"),
        (["mass", "--append", "log"], "--append: adds the metrics of one run"),
        (
            ["mass", "--tag", "k=1"],
            "--tag: tags are written to the log of --append only",
        ),
        (["mass", "--plot", "k.svg"], "--plot: is for logs of scores, not for runs"),
        (["other.jsonl", "--curve", "loss"], "--curve: is for folders of runs"),
        (["a.jsonl", "b.jsonl"], "report: expected one log of scores, got 2"),
        (["mass", "mass/checkpoints"], "mass/checkpoints/log.jsonl: no such file"),
        (["mass", "scores.jsonl"], "scores.jsonl: is a file, not the folder of a run"),
    ],
)
def test_mistakes_are_named(
    arguments: list[str],
    message: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / "checkpoints").mkdir()
    Path("scores.jsonl").touch()
    assert run(["report", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"error: {message}"


def test_a_folder_of_runs_is_recognized(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder.parent.parent)
    runs = folder.parent.name
    assert run(["report", runs]) == 2
    assert capsys.readouterr().err == (
        f"error: {runs}/log.jsonl: no such file\n"
        f"hint: it is a folder of runs: name them, as masscli report {runs}/*\n"
    )


def test_another_file_in_place_of_a_log_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "log.jsonl").write_text("<!doctype html>\n<p>\n")
    assert run(["report", str(folder)]) == 2
    assert capsys.readouterr().err.splitlines()[0] == (
        f"error: {folder / 'log.jsonl'}: holds no event of a run"
    )


def test_a_pipe_in_place_of_a_log_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "log.jsonl").unlink()
    os.mkfifo(folder / "log.jsonl")
    assert run(["report", str(folder)]) == 2
    message = capsys.readouterr().err.splitlines()[0]
    assert message.endswith(
        "log.jsonl: is not a file, but a folder, a pipe or a device"
    )


@pytest.mark.parametrize(
    "line",
    [
        '"text"',
        "[]",
        '{"event": "stepped", "step": 1}',
        '{"event": "evaluated", "step": 1, "metrics": {"loss": "low"}}',
    ],
)
def test_a_line_that_is_not_an_event_is_named(line: str, folder: Path) -> None:
    path = folder / "log.jsonl"
    number = len(path.read_text(encoding="utf-8").splitlines()) + 1
    with open(path, "a", encoding="utf-8") as log:
        log.write("\n" + line + "\n")
    with pytest.raises(MasscliError) as caught:
        read_run(folder)
    assert caught.value.message == f"{path}:{number}: is not an event of a run"


def test_a_metric_that_was_not_finite(folder: Path) -> None:
    with open(folder / "log.jsonl", "a", encoding="utf-8") as log:
        log.write('\n{"event": "evaluated", "step": 999, "metrics": {"loss": null}}\n')
    assert cost_rows([read_run(folder)], [], "loss")[1][-1] == "nan"
