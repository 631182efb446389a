"""A subword model that was extended to further languages, while its old languages are split as before.

    ids    all ids of the old vocabulary | new languages, new pieces | those of a further extension | ...

Text of the old languages is encoded by the base model, which the file contains unchanged. Text of a
language that was added begins as pieces of the base model. A piece that this model lacks is split into
the longest known ones, new single characters included. Then the merges that were learned from text of
the new languages join neighbors, always the pair whose merge was learned first, until no pair has a
merge.

An extension never uses pieces of later ones, so that a further extension does not affect its text
either. (Imamura and Sumita 2022 also keep the segmentation of the languages that a model has been
trained with.)
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

from masscli.core.json_text import parse_json
from masscli.text.bpe_merging import Pair, first_ranks, merge_in_word
from masscli.text.continued_bpe import Word
from masscli.text.markers import SENTENCEPIECE_SPACE, UNKNOWN_TEXT
from masscli.text.packed_vocabulary import damaged, is_list_of, read_merges
from masscli.text.piece_spelling import PieceSpelling, PieceSplitter
from masscli.text.subword_model import BadModelError, SubwordModel, pieces_of
from masscli.text.word_cache import remember

HEADER = b"masscli extended-vocabulary\n"


class ExtensibleModel(SubwordModel, Protocol):
    """A subword model that can be extended: one that tells how it splits a line, unknown pieces included."""

    @property
    def text_ids(self) -> Mapping[str, int]:
        """The id of each piece that text can be encoded into, spelled as `encode_as_pieces` spells it."""
        ...

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line; one that is not in `text_ids` is unknown, and spelled by its text."""
        ...

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the text that pieces stand for."""
        ...


class OpenedBase(NamedTuple):
    """The model that an extended vocabulary began with: its kind, and the marker that its pieces have.

    The kind and the marker are constants of masscli.text.model_kinds and masscli.text.markers.
    """

    model: ExtensibleModel
    kind: str
    marker: str


@dataclass(frozen=True)
class Extension:
    """The languages that were added to a vocabulary together, and the merges learned from their text.

    `size` is the number of ids of the vocabulary with this extension: languages of this extension are encoded
    into lower ids only.
    """

    languages: tuple[str, ...]
    merges: tuple[Pair, ...]
    size: int


def pack_extended(
    base: bytes,
    special_ids: Mapping[str, int],
    new_pieces: Sequence[str],
    extensions: Sequence[Extension],
) -> bytes:
    """Return the bytes of a file that holds an extended model, for ExtendedModel to read.

    `base` is the bytes of the model that was extended. `special_ids` maps masscli's names of all special
    pieces, those of languages included, to ids. `new_pieces` are the pieces of all ids after those of the
    base model, in order. `extensions` are in the order in which they were made.
    """
    entries = []
    for extension in extensions:
        entries.append(
            {
                "languages": extension.languages,
                "merges": extension.merges,
                "size": extension.size,
            }
        )
    content = {
        # The base model may be binary, which JSON cannot hold.
        "base": base64.b64encode(base).decode(),
        "special_ids": dict(special_ids),
        "new_pieces": list(new_pieces),
        "extensions": entries,
    }
    return (
        HEADER + json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
    )


class ExtendedModel:
    """A subword model made of a base model and extensions for further languages; implements SubwordModel.

    `sides` maps each language that was added to the subword model for its text. Other text is encoded by the
    base model.
    """

    def __init__(self, data: bytes, open_base: Callable[[bytes], OpenedBase]) -> None:
        """Load the bytes that `pack_extended` returned.

        `open_base` opens the bytes of the base model. Raises BadModelError if the bytes are damaged.
        """
        content = _unpack(data)
        self.special_ids: Mapping[str, int] = content.special_ids
        self.base_bytes = content.base
        self.new_pieces = content.new_pieces
        self.extensions = content.extensions
        self.base, self.base_kind, self.marker = open_base(content.base)
        self.spelling = PieceSpelling(self.marker)
        first_new = len(self.base)
        self._pieces = [*self.base.id_to_piece(range(first_new)), *self.new_pieces]
        # Text is never encoded into special pieces, not even if it spells one.
        special = set(self.special_ids.values())
        self.text_ids = dict(self.base.text_ids)
        for number, piece in enumerate(self.new_pieces, first_new):
            if number not in special:
                self.text_ids[piece] = number
        self._spelled = {number: piece for piece, number in self.text_ids.items()}
        # No special piece and no extension may reach beyond the pieces that there are.
        sizes = [extension.size for extension in self.extensions]
        if max(special) >= len(self._pieces) or max(sizes) > len(self._pieces):
            raise damaged(HEADER)
        self._pairs = self._pairs_by_result()
        self.sides: dict[str, ExtendedSide] = {}
        for extension in self.extensions:
            side = ExtendedSide(self, extension)
            self.sides |= dict.fromkeys(extension.languages, side)

    def _pairs_by_result(self) -> dict[str, Pair]:
        """Return the pair that each merged piece was first made of.

        Raises BadModelError if the result of a merge, or one of its parts, is not a piece of the
        vocabulary with its extension.
        """
        pairs: dict[str, Pair] = {}
        for extension in self.extensions:
            for pair in extension.merges:
                piece = self.spelling.joined(*pair)
                # A piece that was merged from itself and an empty piece would have infinitely many
                # parts.
                if piece is None or piece in pair:
                    raise damaged(HEADER)
                ids = [
                    self.text_ids.get(name, extension.size) for name in (piece, *pair)
                ]
                if max(ids) >= extension.size:
                    raise damaged(HEADER)
                # Several merges may have one result, of which the first one learned counts.
                pairs.setdefault(piece, pair)
        return pairs

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def free_ids(self) -> Sequence[int]:
        """Always empty: which ids are special was decided when the vocabulary was extended."""
        return ()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, encoded by the base model."""
        return self.base.encode(lines)

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line in the base model, from which a further extension starts."""
        return self.base.encode_as_pieces(line)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that the ids stand for, with UNKNOWN_TEXT for unknown pieces."""
        # Text without new pieces looks exactly as it does in the base model.
        if all(number < len(self.base) for number in ids):
            return self.base.decode(ids)
        # The base model writes an unknown piece as a word of its own.
        unknown = UNKNOWN_TEXT
        if self.marker == SENTENCEPIECE_SPACE:
            unknown = f"{SENTENCEPIECE_SPACE}{UNKNOWN_TEXT}{SENTENCEPIECE_SPACE}"
        return self.pieces_to_text(
            [self._spelled.get(number, unknown) for number in ids]
        )

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the text that pieces stand for."""
        return self.base.pieces_to_text(pieces)

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id; an id beyond the last one is written like `<32000>`."""
        return pieces_of(ids, self._pieces)

    def begins_with(self, data: bytes) -> bool:
        """Return whether `data` is the vocabulary that was extended: the base model, or an earlier extension.

        All ids of that vocabulary are then the same here.
        """
        if data == self.base_bytes:
            return True
        if not data.startswith(HEADER):
            return False
        try:
            earlier = _unpack(data)
        except BadModelError:
            return False
        return (
            earlier.base == self.base_bytes
            and earlier.extensions == self.extensions[: len(earlier.extensions)]
            and earlier.new_pieces == self.new_pieces[: len(earlier.new_pieces)]
        )

    def parts(self, number: int, old_size: int) -> list[int]:
        """Return the ids below `old_size` of the pieces that a new piece was merged from, from left to right.

        A part without such an id, which is a character that the old vocabulary lacks, is left out.
        """
        if number < old_size:
            return [number]
        pair = self._pairs.get(self._spelled.get(number, ""))
        if pair is None:
            return []
        # A new piece is merged of two, which may be new themselves.
        first, second = (self.text_ids[piece] for piece in pair)
        return [*self.parts(first, old_size), *self.parts(second, old_size)]


class ExtendedSide:
    """The subword model for text of the languages that one extension added; implements SubwordModel."""

    def __init__(self, model: ExtendedModel, extension: Extension) -> None:
        self._model = model
        self._known = {
            piece: i for piece, i in model.text_ids.items() if i < extension.size
        }
        self._splitter = PieceSplitter(model.spelling, self._known)
        self._unknown = model.special_ids["<unk>"]
        self._ranks = first_ranks(extension.merges)
        # Where only a language was added, its text is split as the base model splits it.
        self._has_new_pieces = len(self._known) > len(model.base.text_ids)
        self._cache: dict[Word, list[int]] = {}

    def __len__(self) -> int:
        return len(self._model)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The id of each special piece, by masscli's name for it, such as `<mask>`."""
        return self._model.special_ids

    @property
    def free_ids(self) -> Sequence[int]:
        """Always empty: see ExtendedModel."""
        return ()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        if not self._has_new_pieces:
            return self._model.encode(lines)
        encoded = []
        for line in lines:
            ids: list[int] = []
            pieces = self._model.encode_as_pieces(line)
            for word in words_of_pieces(pieces, self._splitter):
                ids += self.encode_word(word)
            encoded.append(ids)
        return encoded

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that the ids stand for, with UNKNOWN_TEXT for unknown pieces."""
        return self._model.decode(ids)

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id; an id beyond the last one is written like `<32000>`."""
        return self._model.id_to_piece(ids)

    def encode_word(self, word: Word) -> list[int]:
        """Return the ids of a word, given as pieces, after all merges; from the cache if it has the word."""
        ids = self._cache.get(word)
        if ids is None:
            ids = [self._known.get(piece, self._unknown) for piece in self._merge(word)]
            remember(self._cache, word, ids)
        return ids

    def _merge(self, word: Word) -> list[str]:
        """Merge the pieces of a word until no pair of neighbors has a merge."""
        pieces = list(word)
        while True:
            ranked = []
            for pair in pairwise(pieces):
                if pair in self._ranks:
                    ranked.append((self._ranks[pair], pair))
            if not ranked:
                return pieces
            # The lowest rank is the merge that was learned first.
            _, pair = min(ranked)
            piece = self._model.spelling.joined(*pair)
            assert piece is not None
            pieces = merge_in_word(pieces, pair, piece)


def words_of_pieces(pieces: Sequence[str], splitter: PieceSplitter) -> Iterator[Word]:
    """Yield the words of a line, which is given as pieces of a base model, each as a tuple of pieces.

    A piece that the splitter does not know is split into the longest pieces that it knows, and into single
    characters where there are none.
    """
    word: list[str] = []
    for piece in pieces:
        parts = [piece]
        if piece not in splitter.known:
            parts = splitter.split(piece)
        for part in parts:
            if word and splitter.spelling.begins_word(word[-1], part):
                yield tuple(word)
                word = []
            word.append(part)
    if word:
        yield tuple(word)


class _Content(NamedTuple):
    """What the bytes of an extended model hold; see `pack_extended`."""

    base: bytes
    special_ids: dict[str, int]
    new_pieces: list[str]
    extensions: list[Extension]


def _unpack(data: bytes) -> _Content:
    """Return what the bytes of an extended model hold.

    Raises BadModelError if a part is missing or malformed.
    """
    error = damaged(HEADER)
    try:
        content = parse_json(data.removeprefix(HEADER))
        base = base64.b64decode(content["base"], validate=True)
        special_ids, new_pieces = content["special_ids"], content["new_pieces"]
        extensions = [_read_extension(entry) for entry in content["extensions"]]
    except (ValueError, TypeError, KeyError):
        raise error from None
    # Names and numbers of a file are validated here, once, so that other code can rely on them.
    valid = (
        isinstance(special_ids, dict)
        and "<unk>" in special_ids
        and is_list_of(list(special_ids.values()), int)
        and min(special_ids.values()) >= 0
        and is_list_of(new_pieces, str)
        and extensions
    )
    if not valid:
        raise error
    return _Content(base, special_ids, new_pieces, extensions)


def _read_extension(entry: Any) -> Extension:
    """Return an extension from its JSON object. Raises BadModelError if a value has another type."""
    languages, size = entry["languages"], entry["size"]
    if not is_list_of(languages, str) or type(size) is not int:
        raise damaged(HEADER)
    return Extension(tuple(languages), tuple(read_merges(entry, HEADER)), size)
