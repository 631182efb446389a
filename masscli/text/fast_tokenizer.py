"""Use a tokenizer.json of Hugging Face through its own library, `tokenizers` (the extra `hf`).

This is for all vocabularies that masscli's own readers do not support. Ids are those of tokenizer.json.
Text is never encoded into special ids: a `[MASK]` in a line is text.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from masscli.core.errors import MasscliError
from masscli.text.gpt_bpe import show_continuations
from masscli.text.markers import (
    BPE_CONTINUATION,
    BYTE_LEVEL_SPACE,
    SENTENCEPIECE_SPACE,
    UNKNOWN_TEXT,
    WORDPIECE_CONTINUATION,
)
from masscli.text.packed_model import PackedModel
from masscli.text.packed_vocabulary import PackedVocabulary, damaged, unpack
from masscli.text.subword_model import BadModelError, pieces_of

HEADER = b"masscli fast-tokenizer\n"
_PROBE = "a \u4e2d \U0001f600"
"""A text that is encoded once when a tokenizer is loaded, to detect errors. It has characters that a
vocabulary may lack."""
MARKERS = {
    "ByteLevel": BYTE_LEVEL_SPACE,
    "Metaspace": SENTENCEPIECE_SPACE,
    "WordPiece": WORDPIECE_CONTINUATION,
    "BPEDecoder": BPE_CONTINUATION,
}
"""The marker with which pieces show where words begin or continue, for each decoder type in
tokenizer.json."""

_SPACE_PATTERN = {"String": SENTENCEPIECE_SPACE}
"""What the step `Replace` of a decoder replaces by spaces, if pieces have SentencePiece's marker."""


def pack_fast_tokenizer(
    content: Mapping[str, Any],
    role_ids: Callable[[Sequence[str]], Mapping[str, int]],
    size: int,
) -> tuple[bytes, int]:
    """Return a tokenizer.json packed as a vocabulary file, and its largest id plus one.

    The packed vocabulary has `size` ids, and those without a piece are marked as unused. `role_ids` takes the
    list of pieces and returns the ids of special pieces by masscli's names (`<s>`, `<mask>`, ...). Raises
    BadModelError if tokenizer.json has an id of `size` or above.
    """
    tokenizer = _load(json.dumps(content))
    ids = tokenizer.get_vocab(with_added_tokens=True)
    count = max(ids.values(), default=-1) + 1
    if count > size:
        raise BadModelError(
            f"has {count} pieces, but the model has {size} rows",
            "vocabulary and config.json belong to different models",
        )
    pieces = [f"<unused row {i}>" for i in range(size)]
    for piece, i in ids.items():
        pieces[i] = piece
    unused = sorted(set(range(size)).difference(ids.values()))
    packed = PackedVocabulary(
        pieces, role_ids(pieces), unused, {"tokenizer": content}
    ).pack(HEADER)
    return packed, count


def find_marker(content: Mapping[str, Any]) -> str | None:
    """Return the marker with which pieces show where words begin or continue, or None if it is not known.

    It is found by the type of the decoder in `content`, the parsed tokenizer.json.
    """
    decoder = content.get("decoder")
    if not isinstance(decoder, Mapping):
        return None
    kinds = [decoder.get("type")]
    steps = decoder.get("decoders")
    if isinstance(steps, list):
        kinds += [step.get("type") for step in steps if isinstance(step, Mapping)]
    # Tokenizers that were made from SentencePiece may have single steps instead of a Metaspace.
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping) and step.get("pattern") == _SPACE_PATTERN:
            return SENTENCEPIECE_SPACE
    # In a damaged file a type may be anything.
    known = [
        MARKERS[kind] for kind in kinds if isinstance(kind, str) and kind in MARKERS
    ]
    if not known:
        return None
    return known[0]


class FastTokenizerModel(PackedModel):
    """A subword model that is a tokenizer of Hugging Face's library; implements SubwordModel."""

    def __init__(self, data: bytes) -> None:
        """Load the bytes that `pack_fast_tokenizer` returned.

        Raises BadModelError if they are damaged or the marker of words is not known, and MasscliError if the
        library `tokenizers` is not installed.
        """
        vocabulary = unpack(data, HEADER)
        content = vocabulary.rest.get("tokenizer")
        marker = find_marker(content) if isinstance(content, Mapping) else None
        if marker is None:
            raise damaged(HEADER)
        self.marker = marker
        self._tokenizer = _load(json.dumps(content))
        super().__init__(vocabulary)
        self._unknown = vocabulary.special_ids.get("<unk>", -1)

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols.

        Raises MasscliError if the library fails.
        """
        try:
            return _encode(self._tokenizer, lines)
        except BadModelError as error:
            raise MasscliError(
                f"tokenizer.json of this vocabulary {error.message}", error.hint
            ) from None

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that the ids stand for.

        Unknown pieces, and ids beyond the vocabulary's end, are written as UNKNOWN_TEXT with spaces around
        it.
        """
        known: list[list[int]] = [[]]
        for i in ids:
            if i == self._unknown or i >= len(self._pieces):
                known.append([])
            else:
                known[-1].append(i)
        texts = [
            self._tokenizer.decode(stretch, skip_special_tokens=False)
            for stretch in known
        ]
        return f" {UNKNOWN_TEXT} ".join(texts).strip(" ")

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id; an id beyond the vocabulary's end is written like `<32000>`.

        If pieces mark the end of a word (`the</w>`, `th`), they are returned with the mark of subword-nmt
        instead (`the`, `th@@`); special pieces have no mark.
        """
        pieces = pieces_of(ids, self._pieces)
        if self.marker != BPE_CONTINUATION:
            return pieces
        return show_continuations(pieces, self._ids)


def _load(text: str) -> Any:
    """Return the library's Tokenizer for the text of a tokenizer.json, without truncation and padding.

    Raises BadModelError if the library refuses the text, and MasscliError if it is not installed.
    """
    # The library would encode in threads, and warn at each fork that follows.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        import tokenizers
    except ImportError:
        raise MasscliError(
            "this vocabulary is a tokenizer.json that needs Hugging Face's tokenizers",
            "pip install 'masscli[hf]'",
        ) from None
    tokenizer = _call(lambda: tokenizers.Tokenizer.from_str(text))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    # Some errors show only when a text is encoded.
    _encode(tokenizer, [_PROBE])
    return tokenizer


def _encode(tokenizer: Any, lines: Sequence[str]) -> list[list[int]]:
    """Return a list of token ids for each line. Raises BadModelError if the library fails."""
    encoded = _call(
        lambda: tokenizer.encode_batch(list(lines), add_special_tokens=False)
    )
    return [encoding.ids for encoding in encoded]


def _call(function: Callable[[], Any]) -> Any:
    """Call a function of the library and return its result.

    Raises BadModelError for everything that the function raises, except an interrupt, an exit or a lack of
    memory.
    """
    try:
        return function()
    except (KeyboardInterrupt, SystemExit, MemoryError):
        raise
    # The library raises plain exceptions, and a panic in it is not even an Exception.
    except BaseException as error:
        raise BadModelError(
            f"is refused by Hugging Face's tokenizers ({error})",
            "was it written by a newer version of it?",
        ) from None
