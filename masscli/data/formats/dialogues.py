"""Dialogues: one per line, with turns separated by tabs, or each followed by `__eou__` as in DailyDialog."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.record import Record
from masscli.text import corpus
from masscli.text.corpus import display_path

END_OF_TURN = "__eou__"
"""The mark after each turn in DailyDialog (Li et al. 2017)."""
_HINT = "one dialogue per line, two or more turns separated by single tabs; blank lines are skipped"


def read_dialogues(path: Path, bad_rows: BadRows) -> Iterator[Record]:
    """Yield a record for every turn but the first of each dialogue, that is, of each line.

    The text field `response` is the turn, and the list field `context` holds all turns before it. A dialogue
    with an empty turn, or with one turn only, is a bad row; blank lines are skipped and counted. In a line
    with the mark `__eou__`, this ends the turns, and tabs are part of them.
    """
    file = display_path(path)
    for number, row in enumerate(corpus.iter_lines(path), 1):
        # Tabs separate turns, even if these are empty.
        if not row.strip(" "):
            bad_rows.unread["blank line"] += 1
            continue
        turns = _turns(row)
        with bad_rows.row(file, number):
            _check_turns(turns, row, f"{file}:{number}")
            for position in range(1, len(turns)):
                yield Record(
                    number, {"response": turns[position]}, {"context": turns[:position]}
                )


def _turns(row: str) -> list[str]:
    """Return the turns of a dialogue, without white space around them."""
    if END_OF_TURN not in row:
        return [turn.strip() for turn in row.split("\t")]
    turns = [turn.strip() for turn in row.split(END_OF_TURN)]
    # The mark also follows the last turn.
    if not turns[-1]:
        turns.pop()
    return turns


def _check_turns(turns: list[str], row: str, place: str) -> None:
    """Raise MasscliError if a turn of a dialogue is empty, or if there is only one turn.

    `row` is the line that the turns come from, and `place` is its file and line, with which the message
    begins.
    """
    if not all(turns):
        empty = turns.index("") + 1
        reason = ""
        if empty == len(turns) and row.endswith("\t"):
            reason = ": the line ends in a tab"
        raise MasscliError(
            f"{place}: turn {empty} of {len(turns)} is empty{reason}", _HINT
        )
    if len(turns) < 2:
        raise MasscliError(f"{place}: has one turn only, without a response", _HINT)
