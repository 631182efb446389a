"""Run commands within the process of the tests, and return what they print."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from masscli.__main__ import run
from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError


def succeed(command: str | Sequence[object]) -> None:
    """Run a command, given as a list of words or as text without quotes; it has to succeed."""
    words = command.split() if isinstance(command, str) else map(str, command)
    assert dispatch([*words]) == 0


def run_command(
    capsys: pytest.CaptureFixture[str], *args: object, status: int = 0
) -> tuple[list[str], list[str]]:
    """Run a command that exits with `status`; return its lines on standard output and on standard error."""
    capsys.readouterr()
    assert run([str(arg) for arg in args]) == status
    out, err = capsys.readouterr()
    return out.split("\n")[:-1], err.split("\n")[:-1]


def refusal(capsys: pytest.CaptureFixture[str], *args: object) -> list[str]:
    """Run a command that has to be refused (status 2, no output); return its lines on standard error."""
    out, err = run_command(capsys, *args, status=2)
    assert out == []
    return err


def predict(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """Return what `masscli predict` writes to standard output."""
    capsys.readouterr()
    assert dispatch(["predict", *map(str, args), "--precision", "fp32"]) == 0
    return capsys.readouterr().out


def refused(*args: object) -> tuple[str, str | None]:
    """Return the message and the hint with which a command is refused."""
    with pytest.raises(MasscliError) as caught:
        dispatch([*map(str, args)])
    return caught.value.message, caught.value.hint
