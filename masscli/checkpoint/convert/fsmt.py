"""Read the vocabulary of FSMT, Hugging Face's name for fairseq's WMT19 models (Ng et al. 2019).

Text is tokenized by Moses' rules and then by BPE. Source and target each have a dictionary,
vocab-src.json and vocab-tgt.json, which may be the same; merges.txt has the merges of both. In these
files `</w>` marks a piece that ends a word; masscli marks those that do not end one with `@@`, as
fairseq does. Sources are `words </s>`, and a decoder begins with `</s>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import SETTINGS, read_json_if_present
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    direction,
    place_pieces,
    read_ids,
    read_model,
)
from masscli.core.errors import MasscliError
from masscli.text.bpe_codes import WORD_END, read_merges
from masscli.text.dictionary_model import pack_dictionary
from masscli.text.markers import BPE_CONTINUATION
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.two_vocabularies import pack_two_vocabularies

_SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")


def read_fsmt(
    folder: Path, config: Mapping[str, Any], sizes: Sizes, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Return the vocabulary of the FSMT model in `folder`, from its two dictionaries and its merges.

    `sizes` are the numbers of rows of both tables of embeddings, and `languages` are source and target.
    Raises MasscliError if files are missing or inconsistent, if the content of config.json (`config`)
    names another direction, or if the tokenizer lower-cases text.
    """
    source, target = direction(folder, languages)
    published = config.get("langs")
    # Otherwise the two dictionaries would be swapped.
    if isinstance(published, list) and published != [source, target]:
        raise MasscliError(
            f"{folder}: translates from {' to '.join(map(str, published))}",
            f"--langs {','.join(map(str, published))}",
        )
    if read_json_if_present(folder / SETTINGS).get("do_lower_case") is True:
        raise MasscliError(
            f"{folder / SETTINGS}: do_lower_case is true",
            "only cased models can be imported",
        )
    # If the file is missing, the error says how to continue without it.
    path, _ = read_model(folder, "merges.txt")
    merges = read_merges(path)
    packed = []
    for name, size in zip(("vocab-src.json", "vocab-tgt.json"), sizes, strict=True):
        pieces, special_ids, unused = _read_dictionary(folder / name, size)
        packed.append(pack_dictionary(pieces, special_ids, merges, unused))
    model = packed[0]
    # Two equal dictionaries are one vocabulary, whose embeddings may be shared.
    if packed[0] != packed[1]:
        model = pack_two_vocabularies((source, packed[0]), (target, packed[1]))
    return Seq2SeqVocabulary(
        folder / "vocab-src.json",
        model,
        preprocessing=TextPreprocessing(published="fsmt"),
    )


def _read_dictionary(
    path: Path, size: int
) -> tuple[list[str], dict[str, int], list[int]]:
    """Return the pieces of a dictionary by id, the ids of its special pieces by name, and its unused ids.

    Pieces are written with `@@` instead of `</w>`. `size` is the number of rows of the embeddings; an
    unused id is one without a piece. Raises MasscliError, which names `path`, if the file does not
    match the embeddings, or is not FSMT's.
    """
    ids = read_ids(path)
    missing = [piece for piece in _SPECIAL if piece not in ids]
    if missing:
        raise MasscliError(
            f"{path}: has no {', '.join(missing)}", "expected a dictionary of FSMT"
        )
    special_ids = {piece: ids[piece] for piece in _SPECIAL}
    renamed = {}
    for piece, number in ids.items():
        if piece not in special_ids:
            piece = _with_continuation(piece)
        if piece in renamed:
            raise MasscliError(
                f"{path}: has two pieces that are written {piece} in fairseq"
            )
        renamed[piece] = number
    pieces, unused = place_pieces(renamed, size, path)
    return pieces, special_ids, unused


def _with_continuation(piece: str) -> str:
    """Return a piece without `</w>` if it ends a word, else with `@@` appended."""
    if piece.endswith(WORD_END):
        return piece.removesuffix(WORD_END)
    return f"{piece}{BPE_CONTINUATION}"
