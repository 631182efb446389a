"""Check that the columns of a table are consistent before examples are read from them."""

from __future__ import annotations

from collections.abc import Mapping

from masscli.data.storage.columns import Column, flat_values
from masscli.data.storage.tables import LINE_COLUMN, derived_suffix


def find_damage(columns: Mapping[str, Column], rows: int) -> str | None:
    """Return what is wrong with the columns of a table with `rows` examples, or None.

    Only the index of each column and the columns with one number per example are read.
    """
    if LINE_COLUMN not in columns:
        return f"it has no column {LINE_COLUMN}"
    for name in columns:
        damage = _find_number_damage(columns, name, rows)
        if damage is not None:
            return damage
    # The numbers above are valid, so they can determine how many rows the other columns must have.
    for name, column in columns.items():
        if name == LINE_COLUMN or derived_suffix(name) in ("items", "at"):
            continue
        expected = _rows_of_field(columns, _field_of(name), rows)
        if len(column) != expected:
            return f"{name} has {len(column)} rows instead of {expected}"
    return None


def _find_number_damage(
    columns: Mapping[str, Column], name: str, rows: int
) -> str | None:
    """Return what is wrong with a column that holds one number for each example, or None.

    These are the line numbers, `.items` and `.at`; of any other column it only checks that its field exists.
    """
    column, suffix, field = columns[name], derived_suffix(name), _field_of(name)
    if field not in columns:
        return f"it has {name} but not {field}"
    if name != LINE_COLUMN and suffix not in ("items", "at"):
        return None
    if len(column) != rows:
        return f"{name} has {len(column)} rows instead of {rows}"
    if (column.lengths() != 1).any():
        return f"{name} does not have one number in each row"
    values = flat_values(column)
    if suffix == "items" and (values < 0).any():
        return f"{name} counts below 0"
    if suffix == "at" and ((values < 0) | (values >= len(columns[field]))).any():
        return f"{name} points outside of {field}"
    return None


def _field_of(name: str) -> str:
    """Return the field that a derived column such as `text.ids` belongs to; a field is returned unchanged."""
    if derived_suffix(name):
        return name.rpartition(".")[0]
    return name


def _rows_of_field(columns: Mapping[str, Column], field: str, rows: int) -> int:
    """Return how many rows the columns of a field must have, in a table with `rows` examples."""
    # A shared field has as many rows as there are different texts.
    if f"{field}.at" in columns:
        return len(columns[field])
    if f"{field}.items" in columns:
        return int(flat_values(columns[f"{field}.items"]).sum())
    return rows
