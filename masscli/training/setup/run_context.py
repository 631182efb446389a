"""The data folders and checkpoints that a run reads: each is opened once and passed along."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from masscli.checkpoint.checkpoint import Checkpoint, DamagedCheckpointError
from masscli.checkpoint.find_checkpoint import saved_checkpoints
from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.verification import open_verified
from masscli.training.recipe import Recipe, StreamConfig


class RunCheckpoints(NamedTuple):
    """The checkpoints of a run that can be opened, by step, and a message about each damaged one."""

    by_step: dict[int, Checkpoint]
    damage: list[str]

    @property
    def last(self) -> Checkpoint | None:
        """The checkpoint with the highest step, from which the run continues; None if there is none."""
        if not self.by_step:
            return None
        return self.by_step[max(self.by_step)]


class RunContext:
    """The data folders and checkpoints that a run reads, each opened once.

    `data` is the data folder of the run. A stream may read another one, such as one with synthetic
    translations, if both have the same vocabulary. With `verify`, folders are compared with their checksums
    when they are opened.
    """

    def __init__(self, data: DataFolder, verify: bool = True) -> None:
        self.data = data
        self._verify = verify
        self._folders: dict[Path, DataFolder] = {}
        self._checkpoints: dict[Path, Checkpoint] = {}

    @classmethod
    def open(cls, data_dir: Path, verify: bool = True) -> RunContext:
        """Open the data folder of a run. Raises MasscliError if it is damaged or not there.

        With `verify`, all files of this folder are compared with their checksums, unless they have been
        before. The folders of streams are treated alike when `open_data` opens them.
        """
        return cls(_open_data(data_dir, verify), verify)

    def open_data(self, data_dir: Path | None) -> DataFolder:
        """Return the data folder of a stream, or that of the run if `data_dir` is None.

        Raises MasscliError if the folder is damaged or not there, or if its vocabulary differs from the
        run's, because token ids would not mean the same in both.
        """
        if data_dir is None:
            return self.data
        if data_dir not in self._folders:
            other = _open_data(data_dir, self._verify)
            if other.vocab.fingerprint != self.data.vocab.fingerprint:
                raise MasscliError(
                    f"{data_dir}: has a different vocabulary from {self.data.folder}",
                    f"preprocess it with --spm-model {self.data.folder}",
                )
            self._folders[data_dir] = other
        return self._folders[data_dir]

    def open_checkpoint(self, path: Path) -> Checkpoint:
        """Return the checkpoint at `path`; if this is the folder of a run, its best or else its last one.

        Raises MasscliError if there is no checkpoint, or if it is damaged.
        """
        if path not in self._checkpoints:
            self._checkpoints[path] = Checkpoint.open(path)
        return self._checkpoints[path]

    def last_checkpoint(self, save_dir: Path) -> Checkpoint | None:
        """Return the last undamaged checkpoint of the run in `save_dir`, or None if nothing was saved there.

        Raises MasscliError if there are checkpoints, but all are damaged.
        """
        return self.run_checkpoints(save_dir).last

    def run_checkpoints(self, save_dir: Path) -> RunCheckpoints:
        """Open the checkpoints of the run in `save_dir`, and verify the last one.

        The run continues from this one. If it is damaged, the one before it is verified and takes its place,
        and so on; older checkpoints are opened, but their tensors are not read. Raises MasscliError if there
        are checkpoints, but all are damaged.
        """
        checkpoints = RunCheckpoints({}, [])
        steps = saved_checkpoints(save_dir)
        for step in sorted(steps, reverse=True):
            try:
                opened = self.open_checkpoint(steps[step])
                # Tensors of earlier ones are not read.
                if not checkpoints.by_step:
                    opened.verify()
            except DamagedCheckpointError as error:
                checkpoints.damage.append(error.message)
                continue
            checkpoints.by_step[step] = opened
        if steps and not checkpoints.by_step:
            raise MasscliError(
                "\n".join(checkpoints.damage),
                f"no checkpoint of {save_dir} is complete: start over with another --save-dir",
            )
        return checkpoints

    def languages(self, streams: Mapping[str, StreamConfig]) -> tuple[str, ...]:
        """Return the languages of the run's data folder, then those that only folders of streams have."""
        languages = list(self.data.languages)
        for stream in streams.values():
            languages += self.open_data(stream.data_dir).languages
        # A dictionary drops what occurs twice and keeps the order, on which language ids depend.
        return tuple(dict.fromkeys(languages))

    def data_fingerprint(
        self, streams: Mapping[str, StreamConfig], split: str = "train"
    ) -> str:
        """Return a hash of the examples of a split in all data folders of a run.

        It does not depend on where the folders are.
        """
        main = self.data.manifest.split_fingerprint(split)
        # A run that reads one folder has the fingerprint of that folder.
        others = {}
        for name, stream in streams.items():
            if stream.data_dir is not None:
                others[name] = self.open_data(
                    stream.data_dir
                ).manifest.split_fingerprint(split)
        if not others:
            return main
        # Sorted by the names of streams, since their order does not change what is read.
        return hashlib.sha256(
            json.dumps([main, sorted(others.items())]).encode()
        ).hexdigest()

    def valid_fingerprints(self, recipe: Recipe) -> dict[str, str]:
        """Return a hash of the examples of each split to validate on, as in `RunState.valid_fingerprints`.

        Only scores on the same examples can be compared.
        """
        first, *others = recipe.valid.valid_subset
        fingerprints = {}
        for prefix, split in {"": first, **{name: name for name in others}}.items():
            examples = [
                self.data_fingerprint(recipe.stream, split),
                recipe.valid.max_valid_rows,
            ]
            fingerprints[prefix] = hashlib.sha256(
                json.dumps(examples).encode()
            ).hexdigest()
        return fingerprints


def _open_data(data_dir: Path, verify: bool) -> DataFolder:
    """Open a data folder; with `verify`, compare it with its checksums in one process of each machine.

    Raises MasscliError if the folder is damaged or not there.
    """
    if verify and distributed.local_rank == 0:
        return open_verified(data_dir, "once for each copy; --no-verify skips it")
    return DataFolder.open(data_dir)
