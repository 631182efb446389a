"""Which data folder a stream reads: the run's, or one of its own in the same vocabulary (translations made offline, say)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.training.recipe import StreamConfig


def open_data(folder: Path | None, data: DataFolder) -> DataFolder:
    """The folder, or `data` where there is none.  Raises MasscliError when ids do not mean the same in both."""
    if folder is None:
        return data
    other = DataFolder.open(folder)
    if other.vocab.fingerprint != data.vocab.fingerprint:
        raise MasscliError(
            f"{folder}: has another vocabulary than {data.folder}",
            f"preprocess it with --spm-model {data.folder}",
        )
    return other


def languages(streams: Mapping[str, StreamConfig], data: DataFolder) -> tuple[str, ...]:
    """Those of `data`, then those that other folders add."""
    every = [data.languages, *(open_data(s.data_dir, data).languages for s in streams.values())]
    return tuple(dict.fromkeys(language for found in every for language in found))


def data_fingerprint(streams: Mapping[str, StreamConfig], data: DataFolder) -> str:
    """A fingerprint of the rows that are trained on, wherever they lie."""
    own = {
        name: open_data(s.data_dir, data).manifest.split_fingerprint("train")
        for name, s in streams.items()
        if s.data_dir is not None
    }
    found = data.manifest.split_fingerprint("train")
    return hashlib.sha256(json.dumps([found, sorted(own.items())]).encode()).hexdigest() if own else found
