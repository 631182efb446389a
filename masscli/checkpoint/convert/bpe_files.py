"""Read the BPE of GPT, and the byte-level BPE of GPT-2, RoBERTa and BART, from Hugging Face's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import TOKENIZER
from masscli.checkpoint.convert.merges_txt import Merges, read_merges_txt
from masscli.checkpoint.convert.published_vocabulary import (
    PublishedVocabulary,
    expect,
    expect_bert_normalizer,
    is_type,
    read_dictionary,
    with_added_tokens,
    with_unused_rows,
)
from masscli.checkpoint.convert.tokenizer_files import TokenizerFiles
from masscli.core.errors import MasscliError
from masscli.text.byte_level_bpe import BYTE_LETTERS, pack_byte_level_bpe
from masscli.text.gpt_bpe import WORD_END, pack_gpt_bpe
from masscli.text.preprocessing import TextPreprocessing

VOCAB = "vocab.json"
MERGES = "merges.txt"


def read_byte_level(files: TokenizerFiles, vocab_size: int) -> PublishedVocabulary:
    """Return the byte-level BPE of a tokenizer, for a model with `vocab_size` rows of token embeddings.

    Raises UnreadableError if the tokenizer processes text differently from GPT-2's, or lacks a piece
    for one of the 256 bytes, and MasscliError if its files are damaged or inconsistent with each other
    or with the number of rows.
    """
    if files.content:
        _expect_bpe(files.part["model"], word_end="")
        expect(not files.part["normalizer"], "it has a normalizer")
        byte_level = files.part["pre_tokenizer"]
        expect(
            is_type(byte_level, "ByteLevel"),
            f"it splits text by {byte_level.get('type')}",
        )
        expect(
            byte_level.get("use_regex", True) is True,
            "it does not split text into words",
        )
        add_prefix_space = byte_level.get("add_prefix_space")
        expect(
            isinstance(add_prefix_space, bool),
            "it does not say whether text begins with a space",
        )
    else:
        add_prefix_space = files.flag("add_prefix_space", False)
    path, pieces = read_dictionary(files, VOCAB)
    merges = _read_merges(files)
    pieces = with_added_tokens(path, pieces, files, vocab_size)
    _check_merges(path, merges, pieces)
    special_ids = files.role_ids(pieces)
    # Special tokens without a role must not be produced from text either.
    special_ids |= {
        token.content: i for i, token in files.added.items() if token.special
    }
    # The published tokenizers likewise drop what they have no piece for.
    missing = [letter for letter in BYTE_LETTERS if letter not in pieces]
    expect(not missing, f"it lacks {len(missing)} of the 256 bytes")
    named, unused = with_unused_rows(pieces, vocab_size)
    model = pack_byte_level_bpe(
        named,
        merges,
        special_ids,
        unused_ids=unused,
        add_prefix_space=bool(add_prefix_space),
    )
    return PublishedVocabulary(
        path, model, len(pieces), TextPreprocessing(), "bytes, cased"
    )


def read_gpt(files: TokenizerFiles, vocab_size: int) -> PublishedVocabulary:
    """Return the BPE of the first GPT, for a model with `vocab_size` rows of token embeddings.

    Raises UnreadableError if the tokenizer processes text differently from GPT's, or has no unknown
    piece, and MasscliError if its files are damaged or inconsistent with each other or with the number
    of rows.
    """
    if files.content:
        _expect_bpe(files.part["model"], WORD_END)
        # Without spaCy and ftfy, the library's tokenizer of GPT cleans and splits text as BERT's does.
        lowercase, strip_accents = expect_bert_normalizer(files)
        expect(lowercase and strip_accents in (None, True), "it keeps case or accents")
    path, pieces = read_dictionary(files, VOCAB)
    merges = _read_merges(files)
    pieces = with_added_tokens(path, pieces, files, vocab_size)
    _check_merges(path, merges, pieces)
    special_ids = files.role_ids(pieces)
    expect("<unk>" in special_ids, "it has no unknown piece")
    named, unused = with_unused_rows(pieces, vocab_size)
    model = pack_gpt_bpe(named, merges, special_ids, unused)
    return PublishedVocabulary(
        path, model, len(pieces), TextPreprocessing(lowercase=True)
    )


def _expect_bpe(model: Mapping[str, Any], word_end: str) -> None:
    """Raise UnreadableError unless `model`, a part of tokenizer.json, is a plain BPE.

    It must have `word_end` as its end-of-word suffix (none if empty), no prefix for continued words,
    and none of byte_fallback, ignore_merges, dropout and fuse_unk.
    """
    expect(is_type(model, "BPE"), f"its pieces are a {model.get('type')}")
    expect(
        (model.get("end_of_word_suffix") or "") == word_end,
        "it marks the ends of words in another way",
    )
    expect(not model.get("continuing_subword_prefix"), "it marks continued words")
    for flag in ("byte_fallback", "ignore_merges", "dropout", "fuse_unk"):
        expect(not model.get(flag), f"its BPE has {flag}")


def _read_merges(files: TokenizerFiles) -> Merges:
    """Return the BPE merges, in their order, from tokenizer.json, or from merges.txt if there is none.

    Raises MasscliError if they are missing or damaged.
    """
    if not files.content:
        return read_merges_txt(files.folder / MERGES)
    path = files.folder / TOKENIZER
    merges = files.part["model"].get("merges")
    if not isinstance(merges, list):
        raise MasscliError(f"{path}: has no merges")
    pairs = []
    for merge in merges:
        # Up to version 0.19 of the library a merge was one string.
        parts = merge.split(" ") if isinstance(merge, str) else merge
        if (
            not isinstance(parts, list)
            or len(parts) != 2
            or not all(isinstance(part, str) for part in parts)
        ):
            raise MasscliError(f"{path}: expected a merge of two pieces, got {merge!r}")
        pairs.append((parts[0], parts[1]))
    return pairs


def _check_merges(path: Path, merges: Merges, pieces: Sequence[str]) -> None:
    """Raise MasscliError, which names the file `path`, if the result of a merge is not among `pieces`."""
    known = set(pieces)
    for first, second in merges:
        if first + second not in known:
            raise MasscliError(
                f"{path}: has no piece for the merge of {first!r} and {second!r}",
                "vocabulary and merges belong to different models",
            )
