"""Count the branches of masscli that the cases of a reader take, with coverage.py."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SLOWER = 6
"""How many times longer a case may take while its branches are counted."""


class Recorder:
    """Records the branches that forked processes take, in files of a folder, a set of them for each reader."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def recording(self, reader: str) -> Iterator[None]:
        """Record the branches that this process takes in the block."""
        import coverage

        name = str(self.folder / f"{reader}+{os.getpid()}")
        recorded = coverage.Coverage(name, branch=True, include=[f"{ROOT}/masscli/*"], config_file=False)
        recorded.start()
        try:
            yield
        finally:
            recorded.stop()
            recorded.save()

    def report(self, readers: list[str]) -> dict[str, dict[str, tuple[int, int, list[str]]]]:
        """Return the branches of functions that the readers have entered.

        By module and name of the function: how many there are, how many were taken, and which were not.
        """
        import coverage

        combined = coverage.Coverage(
            str(self.folder / "all"), branch=True, include=[f"{ROOT}/masscli/*"], config_file=False
        )
        files = [str(path) for name in readers for path in self.folder.glob(f"{name}+*")]
        combined.combine(files, keep=True)
        combined.json_report(outfile=str(self.folder / "report.json"))
        return json.loads((self.folder / "report.json").read_text())["files"]
