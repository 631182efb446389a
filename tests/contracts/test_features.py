"""The page of features names flags that exist and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

from masscli.cli.app import COMMANDS, build_command
from tests.cli.foreign.test_table import own_flags

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/features.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (.+) \| (.+) \| `(tests/[\w/]+\.py)` \|$", PAGE, re.MULTILINE)


def test_every_test_is_there() -> None:
    assert len(ROWS) > 100
    assert [path for _, _, path in ROWS if not (ROOT / path).is_file()] == []


def test_every_command_and_flag_exists() -> None:
    known = own_flags() - {"--output"}
    for name in COMMANDS:
        for parameter in build_command(name, []).params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    known |= {"--help"}
    for feature, use, _ in ROWS:
        assert [
            flag for flag in re.findall(r"--[a-z][a-z0-9-]+", use) if flag not in known
        ] == [], feature
        assert [
            name
            for name in re.findall(r"masscli ([a-z-]+)", use)
            if name not in COMMANDS
        ] == [], feature
