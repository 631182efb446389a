"""A link to something that does not exist is named as such wherever its target would be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.__main__ import run as masscli

ENDS = ["-s", "en", "-t", "de"]
TRAIN = ["--task", "translate", *ENDS, "--save-dir", "new"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text, a folder, and links with three names that lead nowhere."""
    monkeypatch.chdir(tmp_path)
    Path("text.en").write_text("one\ntwo\n")
    Path("folder").mkdir()
    for name in ("link", "text.de", "folder/log.jsonl"):
        Path(name).symlink_to("elsewhere")


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "link", *ENDS, "-i", "text.en"],
        ["generate", "link/checkpoints/best", *ENDS, "-i", "text.en"],
        ["inspect", "link"],
        ["finetune", "link", *TRAIN],
        ["finetune", "data", "--config", "link", *TRAIN],
        ["score", "link", "--ref", "text.en"],
        ["compare", "link", "text.en", "-i", "text.en"],
        ["import", "link", "--output", "new"],
    ],
    ids=" ".join,
)
def test_a_broken_link_is_named(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert masscli(command) == 2
    hint = "hint: link is a link to elsewhere, which does not exist"
    assert capsys.readouterr().err.splitlines()[-1] == hint


def test_a_broken_link_among_files_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """It was itself named as a file with a similar name."""
    assert masscli(["preprocess", "--trainpref", "text", "--langs", "en,de"]) == 2
    assert (
        capsys.readouterr()
        .err.splitlines()[-1]
        .endswith("text.de is a link to elsewhere, which does not exist")
    )
    assert masscli(["report", "folder"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "hint: folder/log.jsonl is a link to elsewhere, which does not exist"
    )


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "model.safetensors", "vocab.txt"]
)
def test_a_model_folder_with_a_broken_link_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such a folder is a copy of a cache folder without what its links lead to.

    It must not be imported with what is left.
    """
    Path("model").mkdir()
    (Path("model") / "config.json").write_text('{"model_type": "bert"}')
    (Path("model") / name).unlink(missing_ok=True)
    (Path("model") / name).symlink_to("../../blobs/0123")
    assert masscli(["import", "model", "--output", "new"]) == 2
    assert capsys.readouterr().err == (
        f"error: model/{name}: no such file\nhint: model/{name} is a link to ../../blobs/0123, which does not exist; "
        "`cp -rL` copies the files in place of links\n"
    )


def test_the_lock_of_an_editor_is_no_part_of_a_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("model").mkdir()
    (Path("model") / ".#config.json").symlink_to("me@host.1")
    assert masscli(["import", "model", "--output", "new"]) == 2
    assert (
        capsys.readouterr().err.splitlines()[0]
        == "error: model/config.json: no such file"
    )
