"""Commands of the tests of tasks over labeled examples."""

from __future__ import annotations

import pytest

from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return what `masscli predict` writes to standard output."""
    capsys.readouterr()
    assert dispatch(["predict", *map(str, arguments), "--precision", "fp32"]) == 0
    return capsys.readouterr().out


def refused(*arguments: object) -> tuple[str, str | None]:
    """Return the message and the hint with which a command is refused."""
    with pytest.raises(MasscliError) as caught:
        dispatch([*map(str, arguments)])
    return caught.value.message, caught.value.hint
