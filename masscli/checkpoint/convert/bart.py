"""The vocabulary of BART (Lewis et al. 2020): byte-level BPE with RoBERTa's ids.

The encoder reads `<s> words </s>`, and the decoder `</s> <s> words`: every output begins with `<s>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.bpe_files import read_byte_level
from masscli.checkpoint.convert.folder import (
    SETTINGS,
    TOKENIZER,
    read_flag,
    read_json_if_present,
)
from masscli.checkpoint.convert.merges_txt import read_merges_txt
from masscli.checkpoint.convert.published_vocabulary import UnreadableError
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    place_pieces,
    read_ids,
)
from masscli.checkpoint.convert.tokenizer_files import read_tokenizer_files
from masscli.core.errors import MasscliError
from masscli.text.byte_level_bpe import pack_byte_level_bpe
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

_SPECIAL = {
    "<s>": "<s>",
    "<pad>": "<pad>",
    "</s>": "</s>",
    "<unk>": "<unk>",
    "<mask>": "<mask>",
    "<cls>": "<s>",
    "<sep>": "</s>",
}
"""BART's special pieces, by masscli's names for them."""


def read_bart(
    folder: Path, config: Mapping[str, Any], sizes: Sizes, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Read BART's vocabulary from vocab.json and merges.txt, or from tokenizer.json if there are none.

    The first of `sizes` is the number of rows of the token embeddings; `config` and `languages` are not used.
    Raises MasscliError if the files are missing, damaged, or not those of BART.
    """
    # BART has one table of embeddings for source and target.
    size = sizes[0]
    path = folder / "vocab.json"
    if not path.exists() and (folder / TOKENIZER).exists():
        return _read_tokenizer_json(folder, size)
    ids = read_ids(path)
    missing = [piece for piece in _SPECIAL.values() if piece not in ids]
    if missing:
        raise MasscliError(
            f"{path}: has no {', '.join(missing)}", "expected BART's vocabulary"
        )
    pieces, unused = place_pieces(ids, size, path)
    special_ids = {name: ids[piece] for name, piece in _SPECIAL.items()}
    settings = read_json_if_present(folder / SETTINGS)
    model = pack_byte_level_bpe(
        pieces,
        read_merges_txt(folder / "merges.txt"),
        special_ids,
        unused_ids=unused,
        add_prefix_space=read_flag(
            settings, "add_prefix_space", False, folder / SETTINGS
        ),
    )
    # Every output begins with <s>, which is forced rather than predicted.
    return Seq2SeqVocabulary(
        path, model, {"source_bos": True}, forced_prefix=(ids["<s>"],)
    )


def _read_tokenizer_json(folder: Path, size: int) -> Seq2SeqVocabulary:
    """Read BART's vocabulary from tokenizer.json, the only vocabulary file that transformers 5 writes.

    `size` is the number of rows of the token embeddings. Raises MasscliError if the file is damaged, or
    if it asks for anything that GPT-2's byte-level BPE does not do.
    """
    files = read_tokenizer_files(folder, "BartTokenizer")
    try:
        published = read_byte_level(files, size)
    except UnreadableError as error:
        raise MasscliError(
            f"{folder / TOKENIZER}: {error}", "expected BART's tokenizer"
        ) from None
    # tokenizer.json may give its start symbol any name, so the tokenizer is asked for the id.
    start = Tokenizer.from_bytes(
        published.path, published.model, TextPreprocessing(), ()
    ).vocab.bos
    return Seq2SeqVocabulary(
        published.path,
        published.model,
        {"source_bos": True},
        forced_prefix=(start,),
        notes=tuple(files.notes),
    )
