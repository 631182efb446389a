"""What is said of the labels of a training part."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from masscli.objectives.labeled.labels import label_warnings


@pytest.mark.parametrize(
    ("labels", "alike"),
    [
        (("1", "1 ", "2"), "'1' and '1 '"),
        (("01", "1", "1.0", "x"), "'01' and '1' and '1.0'"),
        (("Yes", "no", "yes"), "'Yes' and 'yes'"),
        (("a  b", "a b"), "'a  b' and 'a b'"),
        (("1", "2", "1_0", "10"), None),
        (("B-PER", "I-PER", "O"), None),
    ],
)
def test_labels_that_look_alike_are_named(
    labels: tuple[str, ...], alike: str | None
) -> None:
    """Each is a class of its own, which a stray space hardly was meant to make."""
    table: Any = SimpleNamespace(split="train")
    warnings = label_warnings(labels, table, "label", np.arange(len(labels)))
    expected = (
        f"labels {alike} are different ones, although they differ in case, white space or the spelling of a "
        "number alone"
    )
    assert warnings == ([expected] if alike else [])
