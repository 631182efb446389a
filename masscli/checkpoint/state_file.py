"""Read and write `state.json`, the file that makes a folder a checkpoint, with a checksum of its own content.

It holds the number of the checkpoint format, the state of the run, its last metrics, the checksums of the
other files of the folder, and the checksum of all of this.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from masscli.core.atomic_files import write_atomic
from masscli.core.config import config, from_dict
from masscli.core.errors import MasscliError
from masscli.core.files import read_regular
from masscli.core.json_text import parse_json
from masscli.core.sealed_json import SealError, seal, unseal

FORMAT = 2
"""The only checkpoint format that is read and written. Format 1 did not have a checksum of the state."""
STATE_FILE = "state.json"
REQUIRED_FILES = ("model.safetensors", "recipe.toml", "tokenizer.json")
"""Names of the files that every checkpoint has in addition to `state.json`."""


class DamagedStateError(Exception):
    """A state file is missing or damaged; the message says how, without the name of the file."""


@config
class StateFile:
    """The contents of `state.json`: the state of the run as plain JSON values, metrics, and checksums.

    `metrics` are the values of the validation at this checkpoint, by the name of the metric. `files`
    are the SHA-256 checksums of the other files of the folder, by file name.
    """

    state: Mapping[str, Any]
    metrics: Mapping[str, float]
    files: Mapping[str, str]


@config
class _Mappings:
    """The entries of `state.json` whose types `from_dict` can check."""

    metrics: dict[str, float]
    files: dict[str, str]


def write_state_file(folder: Path, contents: StateFile) -> None:
    """Write `state.json` to a folder, with a checksum of its content; replace an older one atomically.

    Raises ValueError if a number is not finite, and OSError if the file cannot be written.
    """
    content = {
        "format": FORMAT,
        "state": contents.state,
        "metrics": contents.metrics,
        "files": contents.files,
    }
    # Python would write NaN, which is not valid JSON.
    text = json.dumps(seal(content), indent=1, allow_nan=False)
    write_atomic(folder / STATE_FILE, text.encode())


def read_state_file(folder: Path) -> StateFile:
    """Return the contents of `state.json` in a folder.

    Raises MasscliError if the checkpoint's format is not `FORMAT`, DamagedStateError or ConfigError if
    the file is missing or damaged, and OSError if it may not be read.
    """
    try:
        content = parse_json(read_regular(folder / STATE_FILE))
    except FileNotFoundError:
        raise DamagedStateError("it is missing") from None
    except MasscliError:
        raise DamagedStateError("it is not a file") from None
    except ValueError as error:
        raise DamagedStateError(str(error)) from None
    if not isinstance(content, dict) or "format" not in content:
        raise DamagedStateError("it has no format")
    # The format is checked first, since other formats may have their checksum elsewhere.
    if content["format"] != FORMAT:
        raise MasscliError(
            f"{folder}: has checkpoint format {content['format']}, this masscli reads {FORMAT}",
            "use the version of masscli that wrote it, or train again",
        )
    try:
        return _parse_content(unseal(content))
    except SealError as error:
        raise DamagedStateError(str(error)) from None


def _parse_content(content: Mapping[str, Any]) -> StateFile:
    """Return the parsed JSON of a state file as a `StateFile`.

    Raises DamagedStateError or ConfigError if an entry is missing or has the wrong type.
    """
    mappings = from_dict(
        _Mappings, {key: content.get(key) for key in ("metrics", "files")}
    )
    for name in REQUIRED_FILES:
        if name not in mappings.files:
            raise DamagedStateError(f"it does not list {name}")
    for name in mappings.files:
        # A file in another folder does not belong to this checkpoint.
        if Path(name).name != name:
            raise DamagedStateError(f"{name!r} is not the name of a file")
    state = content.get("state")
    if not isinstance(state, dict):
        raise DamagedStateError("it has no state")
    return StateFile(state=state, metrics=mappings.metrics, files=mappings.files)
