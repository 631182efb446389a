"""Join the parts of a corpus that was encoded on several machines (see part.py), for `masscli merge-data`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.core.files import real_path
from masscli.data.prepare.folder_contents import column_entries
from masscli.data.prepare.part_files import PartInfo, read_chunks
from masscli.data.prepare.pipeline import check_lines_are_left, complete_manifest
from masscli.data.prepare.publish import is_up_to_date, locked, publish, remove_partial
from masscli.data.prepare.resume_state import ResumeState
from masscli.data.prepare.shard_builder import ShardBuilder
from masscli.data.storage.manifest import PARTIAL_FOLDER, Manifest
from masscli.text.tokenizer import Tokenizer
from masscli.text.tokenizer_card import MODEL_FILE, TOKENIZER_FILE
from masscli.text.vocabulary import Vocabulary

_VOCABULARY_HINT = f"copy {MODEL_FILE} and {TOKENIZER_FILE} from another part"


def merge_parts(folders: Sequence[Path], destdir: Path, overwrite: bool) -> Manifest:
    """Join all parts of a corpus in the data folder `destdir`, and return its manifest.

    If the folder was already made from the same text and settings, it is left as it is. Raises MasscliError
    unless `folders` are all parts of the same text and settings, if a part is damaged, and if the folder has
    other data, unless `overwrite` is set.
    """
    infos = _check_parts(folders)
    for folder in folders:
        # The data would lie among the files of the part.
        if real_path(folder) == real_path(destdir):
            raise MasscliError(
                f"--destdir {destdir}: is one of the parts", "name another folder"
            )
    first_folder, first = infos[0]
    manifest = first.manifest
    # The setting is in MiB.
    max_shard_bytes = int(json.loads(manifest.settings["shard_size"])) << 20
    with locked(destdir):
        if not is_up_to_date(destdir, manifest.input_fingerprint, overwrite):
            # The data is written next to its final location and moved there when it is complete.
            partial = destdir / PARTIAL_FOLDER
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            # All parts have the same vocabulary, which their key includes.
            vocab = _copy_vocabulary(first_folder, partial, manifest.vocab_fingerprint)
            state = ResumeState(key=first.key, writers={})
            with ShardBuilder(
                partial, first.groups, vocab, max_shard_bytes, state
            ) as builder:
                for folder, info in infos:
                    for chunk in read_chunks(folder, info):
                        builder.add(chunk)
                state = builder.finish()
            check_lines_are_left(state)
            columns = column_entries(first.groups, state.writers)
            complete_manifest(manifest, first.groups, state, columns, partial).write(
                partial
            )
            publish(partial, destdir)
        remove_partial(destdir)
        return Manifest.read(destdir)


def _copy_vocabulary(part: Path, folder: Path, fingerprint: str) -> Vocabulary:
    """Copy the files of the vocabulary from the folder of a part into another folder, and return it.

    Raises MasscliError if one is missing, or if the vocabulary does not have this fingerprint.
    """
    for name in (MODEL_FILE, TOKENIZER_FILE):
        # A missing file must not look like a bug in masscli.
        if not (part / name).is_file():
            raise MasscliError(f"{part / name}: is missing", _VOCABULARY_HINT)
        shutil.copyfile(part / name, folder / name)
    vocab = Tokenizer.load(folder).vocab
    if vocab.fingerprint != fingerprint:
        raise MasscliError(
            f"{part}: its vocabulary is not the one that it was encoded with",
            _VOCABULARY_HINT,
        )
    return vocab


def _check_parts(folders: Sequence[Path]) -> list[tuple[Path, PartInfo]]:
    """Return the folders with their descriptions, sorted by the number of the part.

    Raises MasscliError unless they are parts of the same text and settings, and no part is missing or
    repeated.
    """
    infos = [(folder, PartInfo.read(folder)) for folder in folders]
    infos.sort(key=lambda pair: pair[1].part)
    _, first = infos[0]
    for folder, info in infos:
        if (info.key, info.parts) != (first.key, first.parts):
            raise MasscliError(
                f"{folder}: has different text, settings or versions from {infos[0][0]}",
                "all parts need the same command, except for --part and --destdir, "
                "and the same masscli version",
            )
    numbers = [info.part for _, info in infos]
    for number in range(1, first.parts + 1):
        if numbers.count(number) != 1:
            problem = "is missing" if number not in numbers else "is given twice"
            raise MasscliError(
                f"part {number} of {first.parts} {problem}",
                "name the folder of each part once",
            )
    return infos
