"""Read files of arrays (.npz) that may be damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.files import require_regular


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Return all arrays of a file that `numpy.savez` has written, by name; pickled objects are refused.

    Raises ValueError if the file is missing or damaged.
    """
    try:
        require_regular(path)
        # If NumPy opened the file itself, it would leave a damaged one open.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    # NumPy and its zip reader raise many kinds of errors for a damaged file.
    except Exception as error:
        raise ValueError(str(error)) from None
