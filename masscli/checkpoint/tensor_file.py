"""Write tensor files with safetensors, but with the usual errors and permissions of a new file."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from masscli.core.atomic_files import set_default_mode


def save_tensors(
    tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None
) -> None:
    """Write tensors by name to a safetensors file, with `metadata` in its header.

    They must be contiguous, on the CPU, and must not share memory. Raises OSError, with the system's
    error number (errno), if the file cannot be written.
    """
    try:
        save_file(dict(tensors), path, metadata)
    except SafetensorError as error:
        # The library gives the number, which distinguishes a full disk from a file size limit, as text.
        told = re.search(r"\(os error (\d+)\)", str(error))
        if told is None:
            raise OSError(errno.EIO, str(error), str(path)) from None
        number = int(told.group(1))
        raise OSError(number, os.strerror(number), str(path)) from None
    # safetensors creates a file that only its owner may read.
    set_default_mode(path)
