"""What a training run shows on the console."""

from __future__ import annotations

import io
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from rich.console import Console

from masscli.cli import training_events
from masscli.training.events import Evaluated, Event, Finished, Stepped, Warned


def stepped(step: int) -> Stepped:
    return Stepped(
        step,
        0,
        {"mass.mass": 3.0},
        1e-3,
        1.0,
        100,
        0.0,
        10.0,
        1.0,
        0,
        0,
        1.0,
        0.0,
        {},
        (),
    )


def shown(last: int | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The lines of a run of ten seconds an update, from update 100 on."""
    clock = iter(range(0, 10_000, 1000))

    def events() -> Iterator[Event]:
        for number in range(1, 4):
            yield stepped(100 + 100 * number)
        yield Finished(400, "done", 3000.0)

    monkeypatch.setattr(
        training_events, "time", SimpleNamespace(monotonic=lambda: float(next(clock)))
    )
    output = io.StringIO()
    training_events.follow(events(), 100, last, Console(file=output, soft_wrap=True))
    return output.getvalue()


def test_the_time_left_follows_the_speed_of_this_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines = shown(1000, monkeypatch).splitlines()
    # Ten seconds an update: of 800, 700 and 600 updates.
    for line, left in zip(
        lines, ("2 h 13 min left", "1 h 57 min left", "1 h 40 min left"), strict=True
    ):
        assert left in line


def test_without_a_last_update_no_time_is_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert "left" not in shown(None, monkeypatch)


def test_a_number_is_shown_once_in_every_split() -> None:
    """With one stream, its loss and BLEU are the means; the log has both names."""
    metrics = {"loss": 7.5, "ppl": 1808.0, "en-de.loss": 7.5, "bleu.en-de": 3.0}
    metrics |= {"bleu": 3.0, "test.en-de.loss": 7.25, "test.loss": 7.25}
    metrics |= {"test.bleu.en-de": 4.0, "test.bleu": 4.0}
    event = Evaluated(9, metrics, {}, 2.0)
    output = io.StringIO()
    events: list[Event] = [event, Finished(9, "done", 3.0)]
    console = Console(file=output, soft_wrap=True)
    training_events.follow(iter(events), 0, 9, console)
    assert output.getvalue() == (
        "valid 9: loss 7.5  ppl 1808  bleu 3  test.loss 7.25  test.bleu 4  (2 s)\n"
    )


def test_a_warning_about_the_machine_is_shown() -> None:
    output = io.StringIO()
    events: list[Event] = [Warned(7, "no core (for 6 s)"), Finished(9, "done", 3.0)]
    console = Console(file=output, soft_wrap=True)
    training_events.follow(iter(events), 0, 9, console)
    assert output.getvalue() == "warning: no core (for 6 s)\n"
