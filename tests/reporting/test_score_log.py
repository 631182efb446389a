"""The log of scores: means, deviations and paired tests over seeds, as a table and as a plot."""

from __future__ import annotations

import itertools
import json
import statistics
from pathlib import Path

import pytest

from masscli.__main__ import run
from masscli.core.errors import MasscliError
from masscli.reporting.score_log import (
    compare_with_baseline,
    latest_scores,
    read_scores,
    student_t_p_value,
    summarize,
)
from masscli.reporting.score_table import with_x_tag
from tests.commands import succeed

SCORES = {
    ("scratch", 1): 10.0,
    ("scratch", 2): 12.0,
    ("mass", 1): 14.5,
    ("mass", 2): 15.5,
    ("mass", 3): 30.0,
}


def write_log(path: Path, scores: dict[tuple[str, int], float] = SCORES) -> Path:
    lines = []
    for (method, seed), value in scores.items():
        tags = {"method": method, "seed": str(seed)}
        lines.append(
            json.dumps(
                {"metric": "BLEU", "value": value, "signature": "s", "tags": tags}
            )
            + "\n"
        )
    path.write_text("".join(lines))
    return path


@pytest.mark.parametrize(
    ("t", "degrees"),
    [
        (12.706, 1),
        (4.303, 2),
        (3.182, 3),
        (2.776, 4),
        (2.262, 9),
        (2.228, 10),
        (2.000, 60),
    ],
)
def test_the_critical_values_of_printed_tables(t: float, degrees: int) -> None:
    """The expected values are two-sided 5% points from a printed table of Student's t."""
    assert student_t_p_value(t, degrees) == pytest.approx(0.05, abs=5e-5)
    assert student_t_p_value(-t, degrees) == student_t_p_value(t, degrees)
    assert student_t_p_value(0.0, degrees) == pytest.approx(1.0)


def test_mean_and_deviation_are_over_seeds(tmp_path: Path) -> None:
    summaries = summarize(read_scores(write_log(tmp_path / "log.jsonl")))
    scratch, mass = (
        summaries[(("method", "scratch"),), "BLEU"],
        summaries[(("method", "mass"),), "BLEU"],
    )
    assert (scratch.mean, scratch.count) == (11.0, 2)
    assert scratch.deviation == pytest.approx(statistics.stdev([10.0, 12.0]))
    assert (mass.mean, mass.count) == (20.0, 3)


def test_seeds_that_only_one_method_has_do_not_enter_the_test(tmp_path: Path) -> None:
    """Differences are 4.5 and 3.5: t = 4 / (0.7071 / sqrt(2)) = 8 with one degree of freedom, p = 1 - 2/pi * atan(8)."""
    tests = compare_with_baseline(
        read_scores(write_log(tmp_path / "log.jsonl")), {"method": "scratch"}
    )
    assert list(tests) == [((("method", "mass"),), "BLEU")]
    test = tests[(("method", "mass"),), "BLEU"]
    assert (test.difference, test.count) == (4.0, 2)
    assert test.p == pytest.approx(0.0792, abs=1e-4)


def test_a_small_p_is_not_printed_as_zero(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Differences are 4 and 4.001: t is 8001 with one degree of freedom, so p = 1 - 2/pi * atan(8001) = 0.00008."""
    path = tmp_path / "log.jsonl"
    values = {"scratch": (10.0, 12.0), "mass": (14.0, 16.001)}
    with path.open("w") as file:
        for method, seed in itertools.product(values, (1, 2)):
            tags = {"method": method, "seed": str(seed)}
            value = values[method][seed - 1]
            row = {"metric": "BLEU", "value": value, "signature": "s", "tags": tags}
            file.write(json.dumps(row) + "\n")
    succeed(["report", str(path), "--baseline", "method=scratch"])
    assert "(+4.00, p < 0.001)" in capsys.readouterr().out


def test_a_score_that_another_one_replaces_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two seeds without a tag look like one run; the same value again is a repeated command."""
    path = write_log(tmp_path / "log.jsonl")
    succeed(["report", str(path)])
    assert capsys.readouterr().err == ""
    row = {"metric": "BLEU", "value": 17.5, "signature": "s", "tags": {"method": "x"}}
    other = {**row, "value": 18.0}
    with path.open("a") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in (row, row, other, other))
    succeed(["report", str(path)])
    assert (
        f"warning: {path}: 2 scores do not count, since a later one has the same tags, "
        "such as BLEU 17.50 of method=x" in capsys.readouterr().err
    )


def test_a_run_that_is_scored_again_counts_once(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl")
    with path.open("a") as file:
        tags = {"method": "scratch", "seed": "1"}
        file.write(
            json.dumps(
                {"metric": "BLEU", "value": 20.0, "signature": "s", "tags": tags}
            )
            + "\n"
        )
    scores = latest_scores(read_scores(path))
    assert summarize(scores)[(("method", "scratch"),), "BLEU"].mean == 16.0


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"metric": "BLEU"}',
        '{"metric": 1, "value": "x", "tags": {}}',
        "1",
        "[" * 100_000,
        '{"metric": "BLEU", "value": 1, "signature": "s", "tags": {"a": "\\ud800"}}',
    ],
)
def test_a_line_that_is_not_a_score_is_named(tmp_path: Path, line: str) -> None:
    path = write_log(tmp_path / "log.jsonl")
    with path.open("a") as file:
        file.write(line + "\n")
    with pytest.raises(MasscliError, match=r"log.jsonl:6: not a logged score"):
        read_scores(path)


@pytest.mark.parametrize(
    "value",
    ["NaN", "-Infinity", "1e400", "1e200", "1" + "0" * 400, "true", '"20"', "null"],
)
def test_a_value_that_is_not_a_number_is_named(tmp_path: Path, value: str) -> None:
    path = write_log(tmp_path / "log.jsonl")
    with path.open("a") as file:
        file.write(
            f'{{"metric": "BLEU", "value": {value}, "signature": "s", "tags": {{}}}}\n'
        )
    with pytest.raises(
        MasscliError, match=r"log.jsonl:6: the value of BLEU is not a finite number"
    ):
        read_scores(path)


def test_the_largest_scores_have_a_mean_and_a_test(tmp_path: Path) -> None:
    scores = {("scratch", n): -1e100 for n in range(4)} | {
        ("mass", n): 1e100 - n * 1e98 for n in range(4)
    }
    read = read_scores(write_log(tmp_path / "log.jsonl", scores))
    assert summarize(read)[(("method", "mass"),), "BLEU"].mean == pytest.approx(
        0.985e100
    )
    assert compare_with_baseline(read, {"method": "scratch"})[
        (("method", "mass"),), "BLEU"
    ].p == pytest.approx(0, abs=1e-4)


def test_scores_of_different_signatures_are_not_mixed(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl")
    with path.open("a") as file:
        file.write(
            json.dumps(
                {"metric": "BLEU", "value": 1.0, "signature": "other", "tags": {}}
            )
            + "\n"
        )
    with pytest.raises(
        MasscliError,
        match=r"log.jsonl:6: BLEU was computed with different settings from line 1",
    ):
        read_scores(path)


def test_from_score_to_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The test runs the commands of an experiment with three seeds."""
    (tmp_path / "ref").write_text("a b c d e\nf g h i j\n")
    log = str(tmp_path / "scores.jsonl")
    for method, words in {
        "scratch": ["a b c d x", "a b x y z", "f g h i x"],
        "mass": ["a b c d e"] * 3,
    }.items():
        for seed, line in enumerate(words, 1):
            (tmp_path / "hyp").write_text(f"{line}\nf g h i j\n")
            command = (
                f"score {tmp_path}/hyp --ref {tmp_path}/ref --metric bleu,chrf".split()
            )
            tags = ["--tag", f"method={method}", "--tag", f"seed={seed}"]
            succeed([*command, "--append", log, *tags])
    capsys.readouterr()
    succeed(["report", log, "--baseline", "method=scratch"])
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
    ]
    assert rows[0] == ["method", "runs", "BLEU", "chrF2"]
    assert [row[0] for row in rows[2:]] == ["scratch", "mass"]
    assert [row[1] for row in rows[2:]] == ["3", "3"]
    assert rows[3][2].startswith("100.00 ± 0.00 (+")
    assert "p = 0." in rows[3][2]


def test_mistakes_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = str(write_log(tmp_path / "log.jsonl"))
    (tmp_path / "empty").write_text("\n")
    for command, message in {
        (
            "report",
            log,
            "--baseline",
            "method=other",
        ): "--baseline method=other: no score has this tag",
        (
            "report",
            log,
            "--baseline",
            "methd=scratch",
        ): "--baseline methd=scratch: no score has this tag",
        (
            "report",
            log,
            "--baseline",
            "method",
        ): "--baseline method: expected NAME=VALUE",
        ("report", log, "--plot", "k.svg"): "--plot needs --x",
        ("report", str(tmp_path / "empty")): f"{tmp_path / 'empty'}: holds no scores",
        (
            "score",
            log,
            "--ref",
            log,
            "--tag",
            "a=1",
        ): "--tag: tags are written to the log of --append only",
    }.items():
        assert run(command) == 2
        assert capsys.readouterr().err.splitlines()[0] == f"error: {message}"


def test_a_baseline_without_anything_to_compare_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = write_log(tmp_path / "log.jsonl", {("scratch", 1): 1.0, ("mass", 2): 2.0})
    succeed(["report", str(log), "--baseline", "method=scratch"])
    assert capsys.readouterr().err == (
        "warning: --baseline method=scratch: no other score has the same tags otherwise, "
        "and a seed in common\n"
    )


def test_a_plot_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    log, picture = str(write_log(tmp_path / "log.jsonl")), tmp_path / "plot.svg"
    succeed(["report", log, "--plot", str(picture), "--x", "method"])
    text = picture.read_text()
    assert text.startswith("<?xml")
    assert "scratch" in text
    assert (
        run(["report", log, "--plot", str(tmp_path / "plot.xyz"), "--x", "method"]) == 2
    )
    assert "unknown image format" in capsys.readouterr().err


def test_a_metric_can_be_drawn_against_another_one(tmp_path: Path) -> None:
    path = write_log(tmp_path / "log.jsonl")
    with path.open("a") as file:
        for seed, speed in (("1", 40.0), ("2", 60.0)):
            row = {"metric": "sentences/s", "value": speed, "signature": "s"}
            file.write(
                json.dumps({**row, "tags": {"method": "mass", "seed": seed}}) + "\n"
            )
    summaries = summarize(read_scores(path))
    [(group, metric)] = with_x_tag(summaries, "sentences/s")
    assert (dict(group), metric) == ({"method": "mass", "sentences/s": "50"}, "BLEU")
    assert (
        with_x_tag(summaries, "method") == summaries
        and with_x_tag(summaries, "nothing") == {}
    )
    succeed(f"report {path} --html {tmp_path}/page.html --x sentences/s")
    assert "By sentences/s" in (tmp_path / "page.html").read_text()


def test_answers_to_questions_are_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"text": "a dog", "answer_start": 0}
    question = {"id": "1", "question": "who?", "answers": [answer]}
    data = {
        "version": "1.1",
        "data": [
            {"title": "", "paragraphs": [{"context": "a dog ran", "qas": [question]}]}
        ],
    }
    (tmp_path / "dev.json").write_text(json.dumps(data))
    (tmp_path / "hyp.json").write_text(json.dumps({"1": "dog"}))
    log = tmp_path / "scores.jsonl"
    command = (
        f"score {tmp_path}/hyp.json --ref {tmp_path}/dev.json --metric squad".split()
    )
    succeed([*command, "--append", str(log), "--tag", "seed=1"])
    assert {score.metric: score.value for score in read_scores(log)} == {
        "exact": 100.0,
        "f1": 100.0,
    }
