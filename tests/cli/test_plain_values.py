"""What a command receives without pydantic is what Typer itself makes of the same arguments."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer

from masscli.cli.app import Command
from masscli.cli.options import bind
from masscli.core.errors import MasscliError

SEEN: list[dict[str, Any]] = []


def everything(
    files: Annotated[list[Path] | None, typer.Argument()] = None,
    name: Annotated[str | None, typer.Option("--name")] = None,
    place: Annotated[Path, typer.Option("--place")] = Path("here"),
    tag: Annotated[list[str] | None, typer.Option("--tag")] = None,
    count: Annotated[int | None, typer.Option("--count", min=1)] = None,
    switch: Annotated[bool | None, typer.Option("--switch/--no-switch")] = None,
    device: Annotated[str, typer.Option("--device")] = "auto",
) -> None:
    """Have a parameter of each kind that the commands of masscli have."""
    SEEN.append(dict(locals()))


def parse(cls: Any, args: list[str]) -> dict[str, Any]:
    """Return what a command of the class `cls`, or of Typer's own if it is None, passes to `everything`."""
    app = typer.Typer(add_completion=False)
    run = everything if cls is None else bind(everything, "everything", [])
    app.command("everything", cls=cls)(run)
    typer.main.get_command(app).main(args, standalone_mode=False)
    return SEEN.pop()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "a b/c --name x --place there --tag s=1 --tag t=2 --count 3 --switch --device cpu",
        "- --no-switch --name 7 --place ./a/../b/",
        "a --tag= --name=",
    ],
)
def test_values_are_those_of_typer(line: str) -> None:
    plain, typers = parse(Command, line.split()), parse(None, line.split())
    assert plain == typers
    assert [type(value) for value in plain.values()] == [
        type(value) for value in typers.values()
    ]


def test_a_value_that_a_later_one_replaces_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Options that are repeatable lose nothing, and neither does one that is given once."""
    line = (
        "--count 3 --count=4 --tag s=1 --tag s=2 --place a --place b --place c --name x"
    )
    seen = parse(Command, f"{line} --switch --no-switch".split())
    assert (str(seen["place"]), seen["count"], seen["switch"]) == ("c", 4, False)
    assert capsys.readouterr().err.splitlines() == [
        "warning: --count is given 2 times, and only the last one counts: 4",
        "warning: --place is given 3 times, and only the last one counts: c",
        "warning: --switch is given 2 times, and only the last one counts: --no-switch",
    ]


def test_equal_values_are_no_contradiction(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "--count 3 --count=3 --place a --place a --no-switch --no-switch"
    assert parse(Command, line.split())["count"] == 3
    assert capsys.readouterr().err == ""
    parse(Command, ["--name", "--count", "--count=3", "--count", "4"])
    assert "warning: --count is given 2 times" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--count", "0"], "--count: must be at least 1, got 0"),
        (["--count", "three"], "--count: expected int, got 'three'"),
        (["--place="], "--place: expected a path, got ''"),
        (["a", ""], "FILES: expected a path, got ''"),
        (
            ["--place=", "--count=x"],
            "--place: expected a path, got ''\n--count: expected int, got 'x'",
        ),
    ],
)
def test_values_of_the_wrong_type_are_refused(args: list[str], message: str) -> None:
    with pytest.raises(MasscliError) as error:
        parse(Command, args)
    assert error.value.message == message


def test_a_missing_argument_is_still_reported(
    capfd: pytest.CaptureFixture[str],
) -> None:
    from masscli.__main__ import run

    assert run(["score"]) == 2
    assert "HYP" in capfd.readouterr().err


@pytest.mark.parametrize("line", ["score --help", "generate --help", "--version"])
def test_pydantic_is_not_imported(line: str) -> None:
    code = (
        "import sys; from masscli.__main__ import run; "
        f"assert run({line.split()!r}) == 0; assert 'pydantic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
