"""Weights that change over the updates."""

from __future__ import annotations

import math

import pytest

from masscli.core.schedule import Schedule, parse_schedule


def test_a_number_is_the_same_for_all_updates() -> None:
    assert parse_schedule("2.5") == Schedule(((0, 2.5),))
    assert parse_schedule("0.5").value_at(7) == 0.5


def test_schedules_are_straight_lines_between_their_points() -> None:
    schedule = parse_schedule("0:1,100:0.5,300:0")
    assert [schedule.value_at(n) for n in (0, 50, 100, 200, 300, 999)] == [
        1.0,
        0.75,
        0.5,
        0.25,
        0.0,
        0.0,
    ]


@pytest.mark.parametrize(
    ("text", "update"),
    [
        ("0", 0),
        ("0.5", math.inf),
        ("0:1,100:0", 100),
        ("0:1,100:0,300:0", 100),
        ("0:0,100:1", math.inf),
        ("0:0,100:1,200:0", 200),
    ],
)
def test_a_schedule_stays_0_from_the_first_of_its_last_points_that_are_0(
    text: str, update: float
) -> None:
    assert parse_schedule(text).zero_from() == update


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "expected a number or UPDATE:VALUE,..."),
        ("0:1,2", "expected a number or UPDATE:VALUE,..."),
        ("nan", "expected finite numbers"),
        ("0:1,5:-1", "must not be negative"),
        ("5:1,3:2", "updates must rise from 0"),
        ("0:1,0:2", "updates must rise from 0"),
    ],
)
def test_invalid_schedules_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_schedule(text)
