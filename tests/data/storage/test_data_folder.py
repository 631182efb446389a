"""Data folders: opening one is light, and whatever is missing is named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder


def test_importing_it_needs_no_tokenizer_and_no_preprocessing() -> None:
    code = "import sys, masscli.data.storage.data_folder; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    heavy = (
        "torch",
        "sentencepiece",
        "masscli.text.tokenizer",
        "masscli.data.prepare",
        "masscli.data.formats",
    )
    assert [name for name in heavy if name in modules] == []


def test_what_is_no_data_folder(tmp_path: Path) -> None:
    def message(path: Path) -> tuple[str, str | None]:
        with pytest.raises(MasscliError) as caught:
            DataFolder.open(path)
        return caught.value.message, caught.value.hint

    nowhere = tmp_path / "x"
    assert message(nowhere)[0] == f"{nowhere}: is not a data folder"
    assert (
        message(nowhere)[1]
        == f"there is no folder {nowhere}; masscli preprocess --destdir {nowhere} makes one"
    )
    assert message(tmp_path)[1] == "it has no manifest.json; give the --destdir of masscli preprocess"
    (tmp_path / ".partial").mkdir()
    assert (
        message(tmp_path)[1]
        == "masscli preprocess has not finished there; run the same command again to resume it"
    )
