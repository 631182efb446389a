"""The folder of a run: what keeps it from being made is an error of one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from masscli.training.setup.run_folder import prepare_folder


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    # 300 bytes are more than file systems allow for a name.
    for folder in (
        tmp_path / "file",
        tmp_path / "file" / "run",
        tmp_path / ("x" * 300),
    ):
        with pytest.raises(MasscliError) as error:
            prepare_folder(folder)
        assert error.value.message.startswith(f"{folder}: cannot be written (")
        assert error.value.hint == "choose another folder with --save-dir"
