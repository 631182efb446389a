"""The page of `masscli report --html`: complete, self-contained, and safe whatever the log holds."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from masscli.__main__ import run
from masscli.reporting.svg_chart import MAX_POINTS, Curve, line_chart, ticks
from tests.commands import succeed


class Page(HTMLParser):
    """Checks that every element is closed, and collects what a test looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def parse(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert page.open == []
    return page


def stepped(step: int, loss: float | None, **changes: Any) -> dict[str, Any]:
    fields = {"event": "stepped", "step": step, "losses": {"bt.backtranslate": loss}, "objective_metrics": {"bt.copied": 0.5},
              "lr": 1e-4, "grad_norm": 1.0, "targets": 100, "seconds": 2.0, "memory": 1.0, "warnings": []}  # fmt: skip
    return fields | changes


def write_run(folder: Path, events: list[dict[str, Any]], recipe: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "log.jsonl").write_text(
        "".join(json.dumps(event) + "\n" for event in events), encoding="utf-8"
    )
    (folder / "recipe.toml").write_text(recipe, encoding="utf-8")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[str]:
    sample = {
        "task": "bleu.en-de",
        "source": "<b>a & b</b>",
        "reference": "ref",
        "output": "<script>alert(1)</script>",
    }
    evaluated = {
        "event": "evaluated",
        "step": 20,
        "metrics": {"loss": 2.5, "bt.loss": 2.5, "bleu": None},
        "samples": [sample],
    }
    alarms = ["bt: back-translation collapses (0.9 of 1.0)"]
    first = [stepped(10, 3.0), stepped(20, None, warnings=alarms), evaluated, stepped(30, 2.0, warnings=alarms),
             {"event": "warned", "step": 15, "warning": "no core (for 6 s)"}, {"event": "saved", "step": 20, "best": True}, {"event": "finished", "step": 30, "seconds": 60.0}]  # fmt: skip
    second = [stepped(10, 3.5), {**evaluated, "metrics": {"loss": 2.0}}]
    one = write_run(
        tmp_path / "one", first, "seed = 1\nsave_dir = 'one'\n[optim]\nlr = 0.001\n"
    )
    two = write_run(
        tmp_path / "two", second, "seed = 1\nsave_dir = 'two'\n[optim]\nlr = 0.002\n"
    )
    return [str(one), str(two)]


def test_a_page_shows_curves_alarms_samples_and_differing_settings(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    html = tmp_path / "report.html"
    succeed(["report", *runs, "--html", str(html)])
    assert capsys.readouterr().out.startswith("| run ")
    page = parse(html)
    charts = [attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"]
    # The loss of the only stream repeats that of the run, and a metric that was never a number has no curve.
    assert charts[0] == "loss" and "bleu" not in charts
    assert {"bt.backtranslate", "learning rate", "bt.copied"} <= set(charts)
    cells = re.findall(r"<tr>(.*?)</tr>", html.read_text())
    assert (
        '<td>one</td><td>bt: back-translation collapses</td><td class="number">20</td><td class="number">30</td>'
        in "".join(cells)
    )
    assert '<td>one</td><td>no core</td><td class="number">15</td>' in "".join(cells)
    assert "<td>optim.lr</td><td>0.001</td><td>0.002</td>" in "".join(cells)
    differing = (
        html.read_text()
        .partition("Settings that differ</h2>")[2]
        .partition("</section>")[0]
    )
    assert "seed" not in differing and "save_dir" not in differing
    assert "alert(1)" in "".join(page.text)


def test_a_page_loads_nothing_and_executes_nothing(
    runs: list[str], tmp_path: Path
) -> None:
    html = tmp_path / "report.html"
    succeed(["report", runs[0], "--html", str(html)])
    page = parse(html)
    assert not {"script", "link", "img", "iframe", "object"} & {
        tag for tag, _ in page.tags
    }
    for _, attributes in page.tags:
        assert not [
            name
            for name in attributes
            if name.startswith("on") or name in ("src", "style")
        ]
        assert (attributes.get("href") or "#").startswith("#")
    text = html.read_text()
    assert "url(" not in text and "@import" not in text and "default-src 'none'" in text
    assert "<b>a" not in text


def test_a_page_of_scores(tmp_path: Path) -> None:
    log = tmp_path / "scores.jsonl"
    lines = []
    for k, value in (("0.5", 20.0), ("0.1", 10.0), ("0.9", 15.0)):
        lines.append(
            {
                "metric": "BLEU",
                "value": value,
                "signature": "s",
                "tags": {"k": k, "seed": "1"},
            }
        )
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = tmp_path / "scores.html"
    succeed(["report", str(log), "--html", str(html), "--x", "k"])
    page = parse(html)
    assert [
        attributes["aria-label"] for tag, attributes in page.tags if tag == "svg"
    ] == ["BLEU"]
    points = next(
        str(attributes["points"]) for tag, attributes in page.tags if tag == "polyline"
    ).split()
    xs, ys = zip(*(map(float, point.split(",")) for point in points), strict=True)
    assert xs == tuple(sorted(xs)) and len(xs) == 3
    # SVG counts from the top: 20 is above 15, and 15 above 10.
    assert ys[1] < ys[2] < ys[0]


def test_mistakes(
    runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = write_run(
        tmp_path / "broken",
        [{"event": "stepped", "step": 1, "seconds": 1.0, "targets": 1, "memory": 1.0}],
    )
    assert run(["report", str(broken), "--html", str(tmp_path / "x.html")]) == 2
    assert f"{broken}/log.jsonl:1: is not an event of a run" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
    (Path(runs[0]) / "recipe.toml").write_text("seed = = 1")
    assert run(["report", runs[0], "--html", str(tmp_path / "x.html")]) == 2
    assert "recipe.toml: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.0, 1.0), (-3.2, 11.0), (1e-7, 5e-4), (12.0, 12.001), (0.0, 123456.0)],
)
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    values = ticks(low, high)
    assert 3 <= len(values) <= 6
    assert all(
        low - 1e-9 * abs(high) <= value <= high + 1e-9 * abs(high) for value in values
    )
    step = values[1] - values[0]
    mantissa = float(f"{step:e}".split("e")[0])
    assert round(mantissa, 6) in (1, 2, 5, 10)


def test_a_long_curve_keeps_its_mean() -> None:
    points = tuple((float(x), float(x % 7)) for x in range(10_000))
    drawn = line_chart("x", [Curve("run", points, 0)])
    assert drawn.count("<circle") <= MAX_POINTS
    assert "nothing was logged" in line_chart(
        "x", [Curve("run", ((1.0, float("nan")),), 0)]
    )
