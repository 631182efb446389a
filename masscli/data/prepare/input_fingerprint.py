"""The fingerprint of the input of `masscli preprocess`: runs with the same one make the same data folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from masscli.core.config import to_dict
from masscli.core.errors import MasscliError
from masscli.core.files import sha256_of
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.requested_inputs import RequestedInputs
from masscli.data.prepare.text_groups import TextGroup
from masscli.data.storage.manifest import FORMAT
from masscli.text import bpe_codes
from masscli.text.corpus import FileScan
from masscli.text.stored_vocabulary import find_model_file
from masscli.text.tokenizer_card import read_card

INPUT_OPTIONS = frozenset(
    [
        "langs", "source_lang", "target_lang", "pairs", "table_lang",
        "trainpref", "validpref", "testpref", "mono",
        "tsv", "jsonl", "conll", "squad", "dialogues", "aligned", "swag", "race",
        "spm_model", "extend", "bpe_codes", "bpe_vocab", "bpe_min_count",
        "destdir", "workers", "overwrite", "max_bad_rows", "part",
    ]
)  # fmt: skip
"""Options that name inputs or control how the work is done. They are not stored as settings: the
languages, pairs, texts and vocabulary that they name are themselves part of the fingerprint of the
input."""
FILTER_OPTIONS = frozenset(
    ["dedup", "drop_copies", "drop_held_out", "filter_lang", "bad_rows"]
)
"""Options that are stored as settings only if they are on, since they change nothing otherwise."""


def input_settings(config: PreprocessConfig) -> dict[str, str]:
    """Return the options that influence the resulting data folder, each value as JSON.

    A given vocabulary is represented by a hash of its contents, in hexadecimal, which is not JSON.
    Raises MasscliError if its file cannot be read.
    """
    settings = {}
    for name, value in to_dict(config).items():
        # The location of files does not matter; their contents are part of the fingerprint.
        if name in INPUT_OPTIONS or (
            name in FILTER_OPTIONS and value in (False, "refuse")
        ):
            continue
        # It has no effect on other vocabularies.
        if name == "new_pieces" and config.extend is None:
            continue
        settings[name] = json.dumps(value)
    if config.spm_model:
        try:
            settings["spm_model"] = sha256_of(find_model_file(config.spm_model))
        except OSError as error:
            raise MasscliError(
                f"--spm-model {config.spm_model}: {error.strerror}",
                "name a model's file, a data folder or a run",
            ) from None
    if config.extend:
        settings["extend"] = read_card(
            find_model_file(config.extend).parent
        ).fingerprint
    if config.bpe_codes and config.bpe_vocab:
        codes = bpe_codes.read_bpe_files(
            config.bpe_codes, config.bpe_vocab, config.bpe_min_count
        )
        settings["bpe_codes"] = hashlib.sha256(codes).hexdigest()
    return settings


def input_fingerprint(
    settings: dict[str, str],
    inputs: RequestedInputs,
    groups: Sequence[TextGroup],
    scans: Mapping[Path, FileScan],
) -> str:
    """Return a sha256 of everything that influences the resulting data folder: settings and text."""
    texts: list[object] = []
    for group in groups:
        digests = [scans[path].sha256 for path in group.paths]
        texts.append([group.name, group.languages, group.pairs, digests])
    for labeled in inputs.tables:
        digests = [scans[path].sha256 for path in labeled.files]
        language = inputs.table_language
        texts.append([labeled.table, labeled.split, labeled.format, language, digests])
    # Another format would give other bytes for the same text.
    everything = [FORMAT, settings, inputs.languages, inputs.pairs, texts]
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()
