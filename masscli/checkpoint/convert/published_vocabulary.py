"""The vocabulary of a published model as readers return it, and checks that all readers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import SETTINGS, TOKENIZER, read_json
from masscli.checkpoint.convert.tokenizer_files import TokenizerFiles
from masscli.core.errors import MasscliError
from masscli.core.listing import list_some
from masscli.text.preprocessing import TextPreprocessing

LISTED_TOKENS = 3
"""How many added tokens a message names."""
_VOCABULARY_FILES = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
)


class UnreadableError(Exception):
    """A tokenizer does something that masscli's own readers do not support.

    It may be readable through Hugging Face's own library. The message is a clause for use in a longer
    message, such as "its normalizer is not BERT's".
    """


@dataclass(frozen=True)
class PublishedVocabulary:
    """A vocabulary with the ids that it was published with.

    `model` is its content in the format that `Tokenizer.from_bytes` reads, and `preprocessing` says how
    text is preprocessed before it is split into pieces.
    """

    path: Path
    """The file that it was read from, which errors and notes name."""
    model: bytes
    pieces: int
    """The number of published pieces; rows of the token embeddings beyond them have no piece."""
    preprocessing: TextPreprocessing
    description: str = ""
    """How a note to the user describes it; if empty, the note says `cased` or `lower-cased`."""


def ordered_pieces(path: Path, ids: object) -> list[str]:
    """Return the pieces in the order of their ids, from `ids`, which should map each piece to its id.

    Raises MasscliError, which names the file `path`, if it is not such a mapping, or if the ids are not
    0, 1, ... without gaps.
    """
    # True is an int to Python, so types are compared exactly.
    if not isinstance(ids, dict) or not all(
        type(token_id) is int for token_id in ids.values()
    ):
        raise MasscliError(
            f"{path}: has no vocabulary from pieces to ids",
            "was it damaged in transfer?",
        )
    if sorted(ids.values()) != list(range(len(ids))):
        raise MasscliError(
            f"{path}: the ids of its pieces are not 0, 1, 2, ... without gaps",
            "was it damaged in transfer?",
        )
    return sorted(ids, key=ids.__getitem__)


def with_added_tokens(
    path: Path, pieces: Sequence[str], files: TokenizerFiles, vocab_size: int
) -> list[str]:
    """Return the pieces, followed by the special tokens that were added to the tokenizer.

    Raises UnreadableError if an added token is not special and would therefore be matched in text.
    Raises MasscliError, which names `path`, if the ids of added tokens do not follow the pieces, or if
    there are more than `vocab_size` in total.
    """
    text_tokens = files.text_tokens()
    if text_tokens:
        raise UnreadableError(
            f"it has added tokens ({list_some(text_tokens, LISTED_TOKENS)})"
        )
    extended = list(pieces)
    for token_id, token in files.added.items():
        # Most files list special tokens as added although the vocabulary already has them.
        if token_id < len(pieces) and pieces[token_id] == token.content:
            continue
        if token_id != len(extended) or token.content in pieces:
            raise MasscliError(
                f"{path}: the id {token_id} of the added token {token.content} does not follow its pieces",
                "was the vocabulary replaced?",
            )
        extended.append(token.content)
    check_size(path, len(extended), vocab_size)
    return extended


def check_size(path: Path, pieces: int, vocab_size: int) -> None:
    """Raise MasscliError, which names `path`, if there are more pieces than rows of token embeddings."""
    if pieces > vocab_size:
        raise MasscliError(
            f"{path}: has {pieces} pieces, but the model has {vocab_size} rows (vocab_size)",
            "vocabulary and config.json belong to different models",
        )


def with_unused_rows(
    pieces: Sequence[str], vocab_size: int
) -> tuple[list[str], list[int]]:
    """Return the pieces, filled up to `vocab_size` with names for unused rows, and the ids of these rows."""
    unused = list(range(len(pieces), vocab_size))
    # Names that contain spaces never match, since text is split at spaces.
    names = [f"<unused row {row}>" for row in unused]
    return [*pieces, *names], unused


def expect(condition: bool, reason: str) -> None:
    """Raise UnreadableError with a reason unless the condition holds."""
    if not condition:
        raise UnreadableError(reason)


def expect_bert_normalizer(files: TokenizerFiles) -> tuple[bool, bool | None]:
    """Return whether tokenizer.json lower-cases text, and whether it removes accents.

    None for the second means that it removes them if and only if it lower-cases. Raises UnreadableError
    if tokenizer.json preprocesses text differently from BERT in any other respect.
    """
    normalizer = files.part["normalizer"]
    expect(normalizer.get("type") == "BertNormalizer", "its normalizer is not BERT's")
    expect(
        normalizer.get("clean_text") is True, "its normalizer keeps control characters"
    )
    expect(
        normalizer.get("handle_chinese_chars") is True,
        "its normalizer leaves Chinese characters together",
    )
    pre_tokenizer = files.part["pre_tokenizer"].get("type")
    expect(pre_tokenizer == "BertPreTokenizer", f"it splits text by {pre_tokenizer}")
    lowercase, strip_accents = (
        normalizer.get("lowercase"),
        normalizer.get("strip_accents"),
    )
    expect(
        isinstance(lowercase, bool),
        "its normalizer does not say whether it lower-cases",
    )
    expect(
        strip_accents in (None, True, False), "its normalizer has an odd strip_accents"
    )
    return bool(lowercase), strip_accents


def read_dictionary(files: TokenizerFiles, name: str) -> tuple[Path, list[str]]:
    """Return the file to read a vocabulary from, and its pieces in the order of their ids.

    The file is tokenizer.json if there is one, else the JSON file `name`, a dictionary from pieces to ids.
    Raises MasscliError if both exist and differ, if neither exists, or if one is damaged.
    """
    # If both exist, tokenizer.json is used, which the library itself prefers.
    path = files.folder / name
    if not files.content:
        if not path.exists():
            raise missing_vocabulary(files, name)
        return path, ordered_pieces(path, read_json(path))
    json_path = files.folder / TOKENIZER
    pieces = ordered_pieces(json_path, files.part["model"].get("vocab"))
    if path.exists():
        check_same_pieces(
            json_path, pieces, path, ordered_pieces(path, read_json(path))
        )
    return json_path, pieces


def missing_vocabulary(files: TokenizerFiles, name: str) -> MasscliError:
    """Return, without raising it, the error for a folder that lacks the vocabulary file `name`.

    Its message lists the vocabulary files that do exist in the folder.
    """
    # The class name may be wrong, so the message lists the files that exist.
    others = [other for other in _VOCABULARY_FILES if (files.folder / other).exists()]
    if others:
        return MasscliError(
            f"{files.folder}: has {', '.join(others)}, but a {files.class_name} needs {name}",
            f"tokenizer_class in {SETTINGS} says how pieces are numbered, such as XLMRobertaTokenizer",
        )
    return MasscliError(
        f"{files.folder}: has no vocabulary",
        f"a {files.class_name} needs {name} or {TOKENIZER}",
    )


def check_same_pieces(
    path: Path, pieces: Sequence[str], other: Path, other_pieces: Sequence[str]
) -> None:
    """Raise MasscliError if two files of a vocabulary have different pieces for the same id.

    Ids that only the longer list has are not compared.
    """
    for token_id, (piece, other_piece) in enumerate(
        zip(pieces, other_pieces, strict=False)
    ):
        if piece != other_piece:
            raise MasscliError(
                f"{path}: the piece {token_id} is {piece!r}, but {other_piece!r} in {other.name}",
                "remove the file that does not belong to the model",
            )


def accents_rule(lowercase: bool, strip_accents: bool | None) -> TextPreprocessing:
    """Return how to preprocess text for a WordPiece vocabulary, by two settings of its published tokenizer.

    `lowercase` says whether text is lower-cased, and `strip_accents` whether accents are removed; if that is
    None, they are removed if and only if text is lower-cased.
    """
    if strip_accents is None or strip_accents is lowercase:
        return TextPreprocessing(lowercase=lowercase)
    if strip_accents:
        return TextPreprocessing(lowercase=lowercase, published="strip-accents")
    return TextPreprocessing(lowercase=lowercase, published="keep-accents")


def is_type(part: Mapping[str, Any], kind: str) -> bool:
    """Return whether `part`, an object in tokenizer.json, has `kind` as its `type`."""
    return part.get("type") == kind
