"""BPE as subword-nmt and fastBPE write it (Sennrich et al. 2016), behind the few methods of SentencePiece that the tokenizer needs.

    codes   a merge a line, the first made first: `A B` (subword-nmt, after a line `#version: ...`) or `A B COUNT` (fastBPE);
            `</w>` ends a word
    vocab   a piece a line with its count, `@@` behind all pieces of a word but the last: what `getvocab` counts after `applybpe`; lines of
            another form, and pieces that were there before, are passed over, as XLM does

A word is its characters; of all neighbours that have a merge the earliest is made, everywhere in the word, until none is left.  A piece
that the vocabulary lacks is taken apart again, its last merge first.  A character that it lacks is unknown.

The ids are those of XLM (Lample & Conneau 2019), from whose data the MASS authors set out: `<s>`, `</s>`, `<pad>`, `<unk>`, ten special
ones, of which the second is the mask, then the pieces of the vocabulary in their order.  Both files are kept as one, the vocabulary first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from masscli.core.errors import MasscliError

HEAD = b"masscli bpe-codes\n"
WORD_END = "</w>"
BPE_CONTINUATION = "@@"
XLM_SPECIAL_PIECES = ("<s>", "</s>", "<pad>", "<unk>", *(f"<special{n}>" for n in range(10)))
MASK_ID, UNKNOWN_ID = XLM_SPECIAL_PIECES.index("<special1>"), XLM_SPECIAL_PIECES.index("<unk>")


def is_bpe_codes(model: bytes) -> bool:
    """Whether a file is what `join` makes."""
    return model.startswith(HEAD)


def read_bpe_files(codes: Path, vocab: Path) -> bytes:
    """One file of the two.  Raises MasscliError, which names file and line, where one of them is of another form."""
    pieces: dict[str, None] = {}
    for number, line in _lines(vocab, "--bpe-vocab"):
        fields = line.split()
        if "\u2028" in line or len(fields) != 2 or fields[0] in pieces or fields[0] in XLM_SPECIAL_PIECES:
            continue  # XLM's own reader passes over them as well, and gives them no id
        if not fields[1].isdigit():
            raise MasscliError(
                f"{vocab}:{number}: expected PIECE COUNT, got {line!r}",
                "fastBPE's getvocab writes such a file",
            )
        pieces[fields[0]] = None
    if not pieces:
        raise MasscliError(
            f"--bpe-vocab {vocab}: has no line PIECE COUNT", "fastBPE's getvocab writes such a file"
        )
    merges = list[str]()
    for number, line in _lines(codes, "--bpe-codes"):
        fields = line.split(" ")
        if number == 1 and line.startswith("#version"):
            continue
        if WORD_END in fields:
            message = f"{codes}:{number}: {WORD_END} stands alone, as in files of subword-nmt 0.1"
            raise MasscliError(message, "learn the merges with version 0.2 or later")
        if len(fields) not in (2, 3) or not all(fields) or (len(fields) == 3 and not fields[2].isdigit()):
            raise MasscliError(
                f"{codes}:{number}: expected PIECE PIECE [COUNT], got {line!r}",
                "fastBPE's learnbpe writes such a file",
            )
        merges.append(" ".join(fields[:2]))
    return pack_bpe_codes(list(pieces), merges)


def pack_bpe_codes(pieces: Sequence[str], merges: Sequence[str]) -> bytes:
    """One file of both, as `BpeCodes` reads it."""
    return HEAD + "\n".join([str(len(pieces)), *pieces, *merges, ""]).encode()


class BpeCodes:
    """The vocabulary and its merges, and text to ids and back.  Words are what spaces separate."""

    def __init__(self, model: bytes) -> None:
        count, *lines = model.removeprefix(HEAD).decode("utf-8").removesuffix("\n").split("\n")
        self._pieces = [*XLM_SPECIAL_PIECES, *lines[: int(count)]]
        self._ids = {piece: n for n, piece in enumerate(self._pieces) if n >= len(XLM_SPECIAL_PIECES)}
        pairs = [(a, b) for a, _, b in (line.partition(" ") for line in lines[int(count) :])]
        self._rank = {pair: n for n, pair in reversed(list(enumerate(pairs)))}
        self._made_of = {a + b: (a, b) for a, b in self._rank}

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special(self) -> dict[str, int]:
        """Ids of the special symbols, by the names that SentencePiece's have here."""
        return {name: XLM_SPECIAL_PIECES.index(name) for name in ("<s>", "</s>", "<pad>", "<unk>")} | {
            "<mask>": MASK_ID
        }

    @property
    def free(self) -> list[int]:
        """Special ids without a meaning."""
        return [
            n for n, piece in enumerate(XLM_SPECIAL_PIECES) if piece.startswith("<special") and n != MASK_ID
        ]

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Ids of every line."""
        return [[i for word in line.split() for i in self._word(word)] for line in lines]

    def decode(self, ids: Sequence[int]) -> str:
        """Words with spaces between them; what is unknown leaves its mark (U+2047)."""
        text = " ".join("\u2047" if i == UNKNOWN_ID else self._pieces[i] for i in ids)
        return f"{text} ".replace(f"{BPE_CONTINUATION} ", "").rstrip(" ")

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Pieces as they stand in the vocabulary; an id beyond it has none."""
        return [self._pieces[i] if i < len(self._pieces) else f"<{i}>" for i in ids]

    def _word(self, word: str) -> list[int]:
        parts = [*word[:-1], word[-1] + WORD_END]
        while len(parts) > 1:
            pair = min(itertools.pairwise(parts), key=lambda pair: self._rank.get(pair, len(self._rank)))
            if pair not in self._rank:
                break
            parts = list(_merged(parts, pair))
        last = len(parts) - 1
        return [
            self._ids.get(piece, UNKNOWN_ID)
            for n, part in enumerate(parts)
            for piece in self._known(part, n == last)
        ]

    def _known(self, part: str, last: bool) -> Iterator[str]:
        """The part as the vocabulary writes it, or the pieces it was made of that the vocabulary has; the `last` of a word ends it."""
        piece = part.removesuffix(WORD_END) if last else part + BPE_CONTINUATION
        if piece in self._ids or part not in self._made_of:
            yield piece
        else:
            first, second = self._made_of[part]
            yield from self._known(first, False)
            yield from self._known(second, last)


def _merged(parts: Sequence[str], pair: tuple[str, str]) -> Iterator[str]:
    at = 0
    while at < len(parts):
        both = tuple(parts[at : at + 2]) == pair
        yield parts[at] + parts[at + 1] if both else parts[at]
        at += 2 if both else 1


def _lines(path: Path, flag: str) -> Iterator[tuple[int, str]]:
    """Numbered lines, as `\\n` alone ends them: a piece may be any other kind of white space."""
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise MasscliError(f"{flag} {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise MasscliError(f"{flag} {path}: is not UTF-8 (byte {error.start})") from None
    for number, line in enumerate(text.removesuffix("\n").split("\n"), 1):
        yield number, line.removesuffix("\r").rstrip(" ")
