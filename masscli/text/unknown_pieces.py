"""Count the unknown pieces of encoded text, and find the lines that consist only of unknown pieces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from masscli.core.listing import list_some
from masscli.text.tokenizer import Tokenizer

PROBED_LETTERS = 100
"""Number of letters that are encoded in upper and lower case to find out whether a vocabulary has
capitals."""
MAX_LISTED = 8
"""Number of lines or examples that a warning lists before it only counts them."""


@dataclass
class UnknownPieces:
    """The number of pieces in some lines, how many are unknown, and the lines without any that is known."""

    pieces: int = 0
    unknown: int = 0
    lines: list[int] = field(default_factory=list)
    """The numbers of the lines that have unknown pieces, and apart from them only special pieces or
    word markers without text."""
    empty: list[int] = field(default_factory=list)
    """The numbers of the lines without any piece."""

    @property
    def share(self) -> float:
        """The share of unknown pieces among all pieces, from 0 to 1; 0 if there are no pieces."""
        return self.unknown / max(1, self.pieces)

    def warning(self, name: str) -> str:
        """Return a sentence on the lines of which nothing is known; `name` says where they were read."""
        return f"{list_lines(self.lines)} not understood: in {name} no piece of it is known"

    def summary(self, name: str) -> str:
        """Return how many pieces are unknown of how many; `name` says where they were read."""
        return f"{self.unknown:,} of {self.pieces:,} pieces of {name} unknown"

    def add(self, tokenizer: Tokenizer, line: int, ids: Sequence[int]) -> None:
        """Add the pieces of a line to the counts; `line` is its number, and `ids` are its token ids."""
        vocab = tokenizer.vocab
        if not ids:
            self.empty.append(line)
        self.pieces += len(ids)
        # The share is of all pieces, so special ones are counted, too.
        known = [token_id for token_id in ids if token_id != vocab.unk]
        self.unknown += len(ids) - len(known)
        if len(known) == len(ids):
            return
        # Separators between turns carry no text, like word markers.
        known = [token_id for token_id in known if token_id not in vocab.special_ids]
        if not any(tokenizer.piece_texts(known)):
            self.lines.append(line)


def lacks_capitals(tokenizer: Tokenizer) -> bool:
    """Return whether a vocabulary knows some small letters but no capital ones, although text keeps its case.

    This is tried by encoding letters, since a SentencePiece model may change the case of text itself. The
    result is False if the tokenizer lower-cases text or has no language.
    """
    if tokenizer.preprocessing.lowercase or not tokenizer.vocab.languages:
        return False
    language = next(iter(tokenizer.vocab.languages))
    small: set[str] = set()
    # Only letters that occur in its pieces can be known at all.
    for piece in tokenizer.all_pieces():
        small.update(letter for letter in piece if letter.islower())
    # Some small letters, such as ß, have no capital of one letter.
    probed = [letter for letter in sorted(small) if len(letter.upper()) == 1][
        :PROBED_LETTERS
    ]
    encoded_small = tokenizer.encode_lines(probed, language)
    encoded_capitals = tokenizer.encode_lines(
        [letter.upper() for letter in probed], language
    )
    unknown = tokenizer.vocab.unk
    # A vocabulary without small letters, such as one for Chinese, does not lack capitals.
    knows_small = any(unknown not in ids for ids in encoded_small)
    knows_capitals = any(unknown not in ids for ids in encoded_capitals)
    return knows_small and not knows_capitals


def count_unknown(
    tokenizer: Tokenizer, encoded: Iterable[Sequence[int]], first_line: int = 1
) -> UnknownPieces:
    """Count the unknown pieces of lines, which are given as token ids and are numbered from `first_line`."""
    counts = UnknownPieces()
    for line, ids in enumerate(encoded, first_line):
        counts.add(tokenizer, line, ids)
    return counts


def list_lines(numbers: Sequence[int]) -> str:
    """Return line numbers as the beginning of a sentence: `line 3 was`, or `lines 3, 7 and 12 more were`."""
    if len(numbers) == 1:
        return f"line {numbers[0]} was"
    return f"lines {list_some(numbers, MAX_LISTED)} were"
