"""Read the vocabularies of M2M100 (Fan et al. 2021) and NLLB (2022): SentencePiece, and a tag per language.

M2M100 lists the ids of its pieces in vocab.json, and the ids of its tags `__en__` follow them. NLLB has
fairseq's ids for its pieces, followed by those of its tags `eng_Latn`. In both, a decoder reads `</s> TAG
words`. Sources are `TAG words </s>`, or `words </s> TAG` in early checkpoints of NLLB (`legacy_behaviour`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import SETTINGS, read_flag, read_json_if_present
from masscli.checkpoint.convert.mbart import FAIRSEQ_SPECIAL, fairseq_ids
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    added_token_ids,
    language_ids,
    place_pieces,
    read_ids,
    read_model,
    special_tokens_in_order,
)
from masscli.core.errors import MasscliError
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece


def read_m2m100(
    folder: Path, config: Mapping[str, Any], sizes: Sizes, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Return the vocabulary of the M2M100 or NLLB model in `folder`; it is M2M100 if it has a vocab.json.

    The first of `sizes` is the number of rows of the token embeddings. The tags of `languages`, such as
    `__en__`, get masscli's names for language tags. `config` is not used, but is a parameter of every
    family's reader. Raises MasscliError if files are missing or inconsistent, or if a language has no
    tag.
    """
    size = sizes[0]
    path, data = read_model(folder, "sentencepiece.bpe.model")
    settings = read_json_if_present(folder / SETTINGS)
    is_m2m100 = (folder / "vocab.json").exists()
    if is_m2m100:
        ids = read_ids(folder / "vocab.json")
    else:
        ids = fairseq_ids(data)
    # Tags follow the pieces in the order in which they are listed, unless a file gives their ids.
    first = max(ids.values()) + 1
    tags = {
        name: first + number
        for number, name in enumerate(special_tokens_in_order(folder))
    }
    for name, number in added_token_ids(folder).items():
        if name not in ids:
            tags[name] = number
    if not tags:
        raise MasscliError(
            f"{folder}: no file lists the tags of the languages",
            f"add special_tokens_map.json or {SETTINGS} of the tokenizer",
        )
    # The mask of NLLB comes last; M2M100 has none.
    mask = tags.pop("<mask>", None)
    if mask is None and not is_m2m100:
        mask = max(tags.values()) + 1
    special_ids = dict(FAIRSEQ_SPECIAL)
    if is_m2m100:
        special_ids = {name: _id_of(name, ids, folder) for name in FAIRSEQ_SPECIAL}
    all_ids = {**ids, **tags}
    if mask is not None:
        special_ids["<mask>"] = mask
        all_ids["<mask>"] = mask
    pieces, unused = place_pieces(all_ids, size, path)
    codes = {
        name.removeprefix("__").removesuffix("__"): number
        for name, number in tags.items()
    }
    special_ids |= tags | language_ids(languages, codes, path)
    is_legacy = read_flag(settings, "legacy_behaviour", False, folder / SETTINGS)
    framing = {
        "languages": "tag",
        "source_tag": "last" if is_legacy else "first",
        "target_tag": "forced",
    }
    model = pack_numbered_sentencepiece(data, pieces, special_ids, unused)
    return Seq2SeqVocabulary(path, model, framing)


def _id_of(name: str, ids: dict[str, int], folder: Path) -> int:
    if name not in ids:
        raise MasscliError(
            f"{folder / 'vocab.json'}: has no {name}", "expected M2M100's vocabulary"
        )
    return ids[name]
