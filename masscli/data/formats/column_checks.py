"""What a column of labeled examples must contain: something, numbers, or one of certain labels.

Only the task that reads a table knows which column is a label, and of what kind. With --check-columns
the user tells `masscli preprocess`, so that a row with a broken label is a bad row like any other. This
module imports nothing heavy, so that --help is fast.
"""

from __future__ import annotations

from dataclasses import dataclass

from masscli.core.digits import parse_number

FILLED = "filled"
NUMBER = "number"
INTEGER = "integer"


@dataclass(frozen=True, slots=True)
class ColumnCheck:
    """What the values of a column must be: one of `values` or, if there are none, of the kind `kind`.

    The kinds are `filled` (not blank), `number` (finite) and `integer`.
    """

    column: str
    kind: str
    values: tuple[str, ...] = ()

    def problem(self, value: str) -> str | None:
        """Return what is wrong with a value, as a clause to follow it, or None if nothing is."""
        if value in self.values:
            return None
        if self.values:
            return f"is none of {', '.join(self.values)}"
        if not value.strip():
            return "is blank"
        if self.kind == NUMBER and parse_number(value) is None:
            return "is not a number"
        if self.kind == INTEGER and not _is_integer(value):
            return "is not a whole number"
        return None


def parse_column_check(text: str) -> ColumnCheck:
    """Read an item of --check-columns: COLUMN=filled, =number, =integer, or COLUMN=LABEL|LABEL|...

    Raises ValueError, whose message says what is expected, for anything else.
    """
    # Split at the last one, since a column name may contain an equals sign, and a label hardly does.
    column, separator, rule = text.rpartition("=")
    if not column or not separator:
        raise ValueError(f"expected COLUMN=KIND, got {text!r}")
    if rule in (FILLED, NUMBER, INTEGER):
        return ColumnCheck(column, rule)
    values = tuple(rule.split("|"))
    if len(values) < 2 or "" in values:
        raise ValueError(
            f"expected filled, number, integer or LABEL|LABEL, got {rule!r}"
        )
    return ColumnCheck(column, FILLED, values)


def _is_integer(value: str) -> bool:
    # `int` would also take 1_000 and the digits of other scripts.
    digits = value.strip().removeprefix("-").removeprefix("+")
    return digits.isascii() and digits.isdigit()
