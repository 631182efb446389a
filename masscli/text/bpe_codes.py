"""BPE codes as subword-nmt and fastBPE write them (Sennrich et al. 2016).

There are two files. The codes have one merge per line, the one that was learned first at the top: `A B`
(subword-nmt, after a line `#version: ...`) or `A B COUNT` (fastBPE); `</w>` marks the end of a word. The
vocabulary has one piece and its count per line, with `@@` after all pieces of a word but the last; `getvocab`
counts them in the output of `applybpe`. Lines of the vocabulary of another form, and repeated pieces, are
skipped, as XLM does.

A word is first split into characters. Of all adjacent pairs that have a merge, the one whose merge was
learned first is merged, everywhere in the word, until no pair has a merge. A resulting piece that the
vocabulary lacks is split again, undoing its last merge first. A character that the vocabulary lacks is
unknown.

The ids are those of XLM (Lample and Conneau 2019), whose data the MASS authors used: `<s>`, `</s>`, `<pad>`,
`<unk>`, ten special ones, of which the second is the mask, then the pieces in the order of the vocabulary.
masscli stores both files as one: a header, the number of pieces, the pieces, and the merges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.core.files import read_named
from masscli.text.bpe_merging import Pair, Ranks, first_ranks, merge_pairs
from masscli.text.corpus import decode_text
from masscli.text.markers import BPE_CONTINUATION, UNKNOWN_TEXT
from masscli.text.subword_model import BadModelError, pieces_of

HEADER = b"masscli bpe-codes\n"
WORD_END = "</w>"
XLM_SPECIAL_PIECES = (
    "<s>",
    "</s>",
    "<pad>",
    "<unk>",
    *(f"<special{n}>" for n in range(10)),
)
"""XLM's special pieces in the order of their ids, which are 0 to 13."""
MASK_ID = XLM_SPECIAL_PIECES.index("<special1>")
UNKNOWN_ID = XLM_SPECIAL_PIECES.index("<unk>")


def pack_bpe_codes(pieces: Sequence[str], merges: Sequence[str]) -> bytes:
    """Return the bytes of a file that holds pieces and merges, for BpeCodesModel to read.

    `pieces` are in the order of their ids, without XLM's special pieces. `merges` are strings `A B`, the
    first learned first.
    """
    return HEADER + "\n".join([str(len(pieces)), *pieces, *merges, ""]).encode()


def read_bpe_files(codes: Path, vocab: Path, min_count: int = 0) -> bytes:
    """Read the codes and the vocabulary of a BPE, and return them as the bytes of one file.

    Pieces with a count below `min_count` are left out. Raises MasscliError, which names the file and mostly
    the line, if one of the two cannot be read or is malformed.
    """
    return pack_bpe_codes(_read_vocabulary(vocab, min_count), read_merges(codes))


def _read_vocabulary(path: Path, min_count: int) -> list[str]:
    """Return the pieces of a vocabulary file in its order, without those with a count below `min_count`.

    Lines of another form than PIECE COUNT, repeated pieces and XLM's own special pieces are skipped.

    Raises MasscliError if no piece is left or a count is not a number.
    """
    hint = "fastBPE's getvocab writes such a file"
    pieces = []
    for number, line, fields in _entries(path):
        if fields is None or fields[0] in XLM_SPECIAL_PIECES:
            continue
        piece, digits = fields
        count = parse_digits(digits)
        if count is None:
            raise MasscliError(
                f"{path}:{number}: expected PIECE COUNT, got {line!r}", hint
            )
        # XLM drops rare pieces, too; the ids of the others remain contiguous.
        if count >= min_count:
            pieces.append(piece)
    if not pieces and min_count:
        raise MasscliError(
            f"--bpe-vocab {path}: no piece has a count of {min_count}",
            "lower --bpe-min-count",
        )
    if not pieces:
        raise MasscliError(f"--bpe-vocab {path}: has no line PIECE COUNT", hint)
    return pieces


def skipped_lines(path: Path) -> list[int]:
    """Return the numbers of the lines of a vocabulary file that give no piece an id.

    They have another form than PIECE COUNT, or repeat a piece.
    """
    return [number for number, _, fields in _entries(path) if fields is None]


def _entries(path: Path) -> Iterator[tuple[int, str, list[str] | None]]:
    """Yield the number, the text and the two fields of each line of a vocabulary file.

    The fields are None for a line that XLM's reader skips, too: one of another form, or with a piece that an
    earlier line has.
    """
    seen: set[str] = set()
    for number, line in _numbered_lines(path, "--bpe-vocab"):
        fields = line.split()
        if "\u2028" in line or len(fields) != 2 or fields[0] in seen:
            yield number, line, None
            continue
        seen.add(fields[0])
        yield number, line, fields


def read_merges(path: Path) -> list[str]:
    """Return the merges of a file of BPE codes as strings `A B`, the first learned first.

    Raises MasscliError, which names file and line, if a line is not a merge.
    """
    merges = []
    for number, line in _numbered_lines(path, "--bpe-codes"):
        if number == 1 and line.startswith("#version"):
            continue
        fields = line.split(" ")
        if WORD_END in fields:
            raise MasscliError(
                f"{path}:{number}: {WORD_END} stands alone, as in files of subword-nmt 0.1",
                "learn the merges with version 0.2 or later",
            )
        if not _is_merge(fields):
            raise MasscliError(
                f"{path}:{number}: expected PIECE PIECE [COUNT], got {line!r}",
                "fastBPE's learnbpe writes such a file",
            )
        # fastBPE's counts are not needed once the order is known.
        merges.append(" ".join(fields[:2]))
    return merges


def _is_merge(fields: Sequence[str]) -> bool:
    """Return whether the fields of a line are two pieces, or two pieces and a count."""
    # Two spaces in a row would make an empty piece.
    if "" in fields:
        return False
    return len(fields) == 2 or (
        len(fields) == 3 and parse_digits(fields[2]) is not None
    )


def _numbered_lines(path: Path, flag: str) -> Iterator[tuple[int, str]]:
    """Yield the number (from 1) and the text of each line of a file.

    Only `\\n` ends a line, since a piece may be any other white space. Raises MasscliError, which names
    `flag`, if the file cannot be read.
    """
    text = decode_text(read_named(path, flag), path)
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        yield number, line.removesuffix("\r").rstrip(" ")


class BpeCodesModel:
    """A subword model that is a BPE of subword-nmt or fastBPE with the ids of XLM; implements SubwordModel.

    Lines are split into words at white space.
    """

    def __init__(self, data: bytes) -> None:
        """Load the bytes that `pack_bpe_codes` returned. Raises BadModelError if they are damaged."""
        try:
            count, *lines = (
                data.removeprefix(HEADER).decode("utf-8").removesuffix("\n").split("\n")
            )
            piece_count = int(count)
        except ValueError:
            raise BadModelError(
                "is not made of BPE codes", "make it again with --bpe-codes"
            ) from None
        self._pieces = [*XLM_SPECIAL_PIECES, *lines[:piece_count]]
        # Special pieces have no entry here, so text never becomes one of them.
        self._ids = {
            piece: i
            for i, piece in enumerate(self._pieces)
            if i >= len(XLM_SPECIAL_PIECES)
        }
        self._ranks = rank_merges(lines[piece_count:])
        # From which two halves each merged part was made, to take it apart again.
        self._halves = {
            first + second: (first, second) for first, second in self._ranks
        }

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The id of each special piece, by masscli's name for it, such as `<mask>`."""
        ids = {
            name: XLM_SPECIAL_PIECES.index(name)
            for name in ("<s>", "</s>", "<pad>", "<unk>")
        }
        return {**ids, "<mask>": MASK_ID}

    @property
    def free_ids(self) -> Sequence[int]:
        """The ids of XLM's pieces `<special0>` to `<special9>` without `<special1>`, which is the mask."""
        special = [
            i
            for i, piece in enumerate(XLM_SPECIAL_PIECES)
            if piece.startswith("<special")
        ]
        special.remove(MASK_ID)
        return special

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        return [
            [self._ids.get(piece, UNKNOWN_ID) for piece in self.encode_as_pieces(line)]
            for line in lines
        ]

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line; a character that the vocabulary lacks is a piece of its own."""
        pieces: list[str] = []
        for word in line.split():
            pieces += self._split_word(word)
        return pieces

    @property
    def text_ids(self) -> Mapping[str, int]:
        """The id of each piece that text can be encoded into: all but XLM's special pieces."""
        return self._ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words that the ids stand for, with spaces between them.

        Unknown pieces, and ids beyond the vocabulary's end, are written as UNKNOWN_TEXT.
        """
        pieces = []
        for i in ids:
            if i == UNKNOWN_ID or i >= len(self._pieces):
                pieces.append(UNKNOWN_TEXT)
            else:
                pieces.append(self._pieces[i])
        return self.pieces_to_text(pieces)

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the words that pieces stand for, with spaces between them."""
        return join_bpe_pieces(pieces)

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, as in the vocabulary, and like `<32000>` for an id beyond its end."""
        return pieces_of(ids, self._pieces)

    def _split_word(self, word: str) -> list[str]:
        """Return the pieces of a word, with `@@` at the end of all but the last."""
        parts = merge_marked_word(word, self._ranks)
        pieces: list[str] = []
        for part in parts[:-1]:
            pieces += self._known_pieces(part, ends_word=False)
        return pieces + self._known_pieces(parts[-1], ends_word=True)

    def _known_pieces(self, part: str, ends_word: bool) -> list[str]:
        """Split a part of a word into pieces of the vocabulary, and return them.

        They are spelled as in the vocabulary: with `@@` unless they end the word. A part that the vocabulary
        lacks is split again into the two halves that it was merged from, and so on until each is in the
        vocabulary or is a single character.
        """
        if ends_word:
            piece = part.removesuffix(WORD_END)
        else:
            piece = part + BPE_CONTINUATION
        if piece in self._ids or part not in self._halves:
            return [piece]
        first, second = self._halves[part]
        return self._known_pieces(first, ends_word=False) + self._known_pieces(
            second, ends_word
        )


def join_bpe_pieces(pieces: Sequence[str]) -> str:
    """Join pieces into words, with spaces between them; `@@` marks a piece that the next one continues."""
    # The space at the end lets a mark on the last piece be removed like any other.
    return f"{' '.join(pieces)} ".replace(f"{BPE_CONTINUATION} ", "").rstrip(" ")


def rank_merges(merges: Sequence[str]) -> dict[Pair, int]:
    """Return the rank of each merge, which is its position in `merges`.

    Merges are strings `A B`, the first learned first. If a merge occurs twice, the first occurrence counts.
    """
    pairs = []
    for line in merges:
        first, _, second = line.partition(" ")
        pairs.append((first, second))
    return first_ranks(pairs)


def merge_word(word: str, ranks: Ranks) -> list[str]:
    """Split a word into pieces only by the merges, whether or not a vocabulary has the pieces.

    `ranks` gives the rank of each merge. The pieces have no marks of where a word ends.
    """
    parts = merge_marked_word(word, ranks)
    return [*parts[:-1], parts[-1].removesuffix(WORD_END)]


def merge_marked_word(word: str, ranks: Ranks) -> list[str]:
    """Split a word into pieces by the merges; the last piece has `</w>` at its end, as merges are learned.

    `ranks` gives the rank of each merge.
    """
    return merge_pairs([*word[:-1], word[-1] + WORD_END], ranks, together=True)
