"""Open a data folder whose files match their checksums, and report on long comparisons."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from masscli.data.storage.data_folder import DataFolder

SECONDS_BETWEEN_REPORTS = 5.0
"""Minimum number of seconds between two lines about the progress of a verification."""


class VerificationReport:
    """Prints the progress of the verification of a data folder to stderr, so that it does not seem to hang.

    `advice` is printed in parentheses at the end of each line.
    """

    def __init__(self, data_dir: Path, advice: str) -> None:
        self.data_dir = data_dir
        self.advice = advice
        self.last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Print that `done` of `total` bytes are verified, unless the last line was printed just before.

        The time between two lines is at least SECONDS_BETWEEN_REPORTS.
        """
        if time.monotonic() - self.last >= SECONDS_BETWEEN_REPORTS:
            self.last = time.monotonic()
            share = f"{done / 1e9:.1f} of {total / 1e9:.1f} GB"
            print(f"{self.data_dir}: verified {share} ({self.advice})", file=sys.stderr)


def open_verified(data_dir: Path, advice: str = "once for each copy") -> DataFolder:
    """Open a data folder, and compare with their checksums the files that have not matched them before.

    A file that has changed since it matched is compared again. If that takes long, lines on stderr
    report the progress, with `advice` in parentheses. Raises MasscliError, which names the file, if one
    is damaged, or if there is no data folder.
    """
    data = DataFolder.open(data_dir)
    # Files that matched once are not read again, so every start except the first is quick.
    data.verify(again=False, progress=VerificationReport(data_dir, advice))
    return data
