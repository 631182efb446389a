"""Examples that a program gives: what a task cannot read is refused by the number of the example."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from masscli.api.examples import records_of
from masscli.core.errors import MasscliError
from masscli.objectives.labeled.options import ClassifyOptions, TagOptions
from masscli.objectives.shared.table_options import TableOptions


@pytest.mark.parametrize("options", [ClassifyOptions(), TagOptions(word_column="1")])
@pytest.mark.parametrize(
    "example",
    [
        3,
        None,
        b"ba",
        ["ba", 3],
        {"1": {"2": "ba"}},
        {"1": 3},
        {"1": "ba", "2": ["bo", None]},
    ],
)
def test_values_that_are_not_strings_are_refused(
    example: Any, options: TableOptions
) -> None:
    with pytest.raises(
        MasscliError, match=r"^examples:2: a \w+ is neither a text nor a list of texts$"
    ):
        records_of(["ba", example], options)


def test_tuples_and_arrays_are_lists_of_texts() -> None:
    words = ["ba", "bo"]
    examples: list[Any] = [words, tuple(words), np.array(words)]
    for example in examples:
        _, [record] = records_of([example], TagOptions(word_column="1"))
        assert record.lists == {"1": words}
