"""Files whose names say that they do not hold lines of text are named wherever lines are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from tests.commands import succeed

FILTER = ["filter", "-s", "en", "-t", "de", "--output", "clean"]
MINE = ["mine", "no-run", "-s", "en", "-t", "de"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Examples in every kind of file, two lines of text in `text`, and markup."""
    monkeypatch.chdir(tmp_path)
    text = '{"text": "one"}\n{"text": "two"}\n'
    for name in ("x.jsonl", "X.JSONL", "text"):
        Path(name).write_text(text)
    for name in ("x.tsv", "x.csv"):
        Path(name).write_text("a\tb\n1\t2\n")
    for name in ("x.tmx", "x.xlf", "x.html.gz", "x.SGM"):
        Path(name).write_bytes(b"<p>one</p>\n<p>two</p>\n")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ([*FILTER, "x.jsonl", "x.tsv"], {"x.jsonl": "jsonl", "x.tsv": "tsv"}),
        ([*FILTER, "X.JSONL", "text"], {"X.JSONL": "jsonl"}),
        ([*FILTER, "text", "text", "--clean=en=x.csv"], {"x.csv": "tsv"}),
        ([*FILTER, "text", "text", "--other-lang=fr=x.tsv"], {"x.tsv": "tsv"}),
        ([*MINE, "-i", "text", "-j", "x.csv"], {"x.csv": "tsv"}),
        (["score", "text", "--ref", "text", "--src", "x.jsonl"], {"x.jsonl": "jsonl"}),
        (
            ["compare", "x.tsv", "text", "-i", "text", "--ref", "x.tsv"],
            {"x.tsv": "tsv"},
        ),
    ],
)
def test_examples_that_are_read_as_text_are_named(
    command: list[str], named: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    masscli(command)
    lines = capsys.readouterr().err.splitlines()
    messages = {line for line in lines if "is read as text" in line}
    assert messages == {
        f"warning: {name}: is read as text, a line at a time, and not as {kind}"
        for name, kind in named.items()
    }


def test_one_file_in_two_places_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """However it is spelled; two references of one text are, too."""
    Path("link").symlink_to("text")
    Path("copy").write_text(Path("text").read_text())
    masscli([*MINE, "-i", "text", "-j", "link"])
    message = "warning: text and link are the same: is one of them the wrong file?"
    assert message in capsys.readouterr().err.splitlines()
    succeed(["compare", "text", "link", "-i", "text"])
    assert "warning: text and link are the same" in capsys.readouterr().err.splitlines()
    succeed(["score", "text", "--ref", "copy,link", "-m", "chrf"])
    message = "warning: copy and link are the same text, which counts as two references"
    assert message in capsys.readouterr().err.splitlines()
    assert masscli(["score", "text", "link", "--ref", "copy"]) == 2
    assert capsys.readouterr().err == "error: link: given twice\n"


@pytest.mark.parametrize("name", ["x.tmx", "x.xlf", "x.html.gz", "x.SGM"])
def test_markup_is_not_text(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert masscli([*FILTER, name, "text"]) == 2
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    assert (
        f"error: {name}: {suffix} is markup and not lines of text\n"
        in capsys.readouterr().err
    )
    assert not Path("clean.en").exists()
