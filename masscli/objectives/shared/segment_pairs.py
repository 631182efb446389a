"""Pairs of segments out of documents: the examples of BERT, ALBERT, ELECTRA and UniLM (spec: objectives.md 1.1, 3.2, 4.1, 6.3).

    nsp         A, and what really follows it (label 0) or a place of another document (1); BERT's procedure
    sop         A, and what follows it (0), or the two exchanged (1); a chunk of one sentence gets a place of another document (1)
    strict-sop  the same without chunks of one sentence
    sentences   one sentence and the next (0), or one of another document (1); RoBERTa's sentence-pair
    contiguous  A and what follows it, no label; UniLM
    electra     A and B by ELECTRA's rule, no label

A corpus of one document takes its random places from that document, anywhere but right after A.  A segment that is too long is cut as the
method cuts it.  The corpus is gone through `copies` times with new draws.  Pairs are made a block of documents at a time from
(seed, copy, document) and kept for as many examples as the sampler shuffles at once, so memory does not grow with the corpus but by the
lengths of its lines.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from masscli.core.rng import Purpose, make_generator
from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example
from masscli.data.batches.packed_sentences import DocumentColumn
from masscli.text.word_starts import WordStarts

BLOCK = 2**14
"""Sentences after which a block of documents is full."""
KEPT = 2**21
"""Pairs that are kept; twice the window of the sampler."""
REDRAWS = 10


class Pair(NamedTuple):
    """Rows first..split are A, or B where they are exchanged; other..end the other one, empty where there is only one segment."""

    a: int
    a_end: int
    b: int
    b_end: int
    label: int


class DocumentPairs:
    """Pairs of segments, at most `size` tokens with the three symbols of their frame.

    Examples have the ids of A and of B, the label, and which tokens of A and B begin a word (`starts`).  `second` is how many pairs have
    the label 1, `documents` how many documents there are.
    """

    def __init__(self, column: DocumentColumn, kind: str, size: int, *, short: float, copies: int, seed: int, starts: WordStarts,
                 limit: int | None = None) -> None:  # fmt: skip
        self.column, self.kind, self.size, self.short, self.seed, self.starts = (
            column,
            kind,
            size,
            short,
            seed,
            starts,
        )
        rows = len(column) if limit is None else min(limit, len(column))
        self.ends = np.concatenate([[0], np.cumsum(column.lengths(0, rows), dtype=np.int64)])
        firsts = column.document_starts
        self.bounds = np.append(firsts[firsts < rows], rows)
        cuts = (
            np.flatnonzero(np.diff(self.bounds[:-1] // BLOCK, prepend=-1)) if rows else np.zeros(0, np.int64)
        )
        self._blocks = np.append(cuts, len(self.bounds) - 1)
        self._made: OrderedDict[int, NDArray[np.int64]] = OrderedDict()
        units = [
            (len(pairs), int(pairs[:, 4].sum()))
            for pairs in map(self._make, range(copies * (len(self._blocks) - 1)))
        ]
        self._counts = np.concatenate([[0], np.cumsum([count for count, _ in units], dtype=np.int64)])
        self.second = sum(labels for _, labels in units)
        self.documents = len(self.bounds) - 1

    def __len__(self) -> int:
        return int(self._counts[-1])

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Lengths, frame included."""
        first, last = np.searchsorted(self._counts, [start, stop], side="right") - 1
        parts = [self._block(u)[max(0, start - self._counts[u]) : stop - self._counts[u]]
                 for u in range(int(first), min(int(last) + 1, len(self._counts) - 1))]  # fmt: skip
        pairs = np.concatenate(parts) if parts else np.zeros((0, 5), np.int64)
        a, b = (self.ends[pairs[:, at + 1]] - self.ends[pairs[:, at]] for at in (0, 2))
        found: NDArray[np.int64] = np.minimum(a + b + 2 + (b > 0), self.size)[:, None]
        return found

    def __getitem__(self, row: int) -> Example:
        unit = int(np.searchsorted(self._counts, row, side="right")) - 1
        pair = Pair(*self._block(unit)[row - int(self._counts[unit])].tolist())
        a, b = self._text(pair.a, pair.a_end), self._text(pair.b, pair.b_end)
        if self.kind == "electra":
            a = a[: self.size - 2]
            b = b[: max(0, self.size - len(a) - 3)]
        else:
            rng = make_generator(self.seed, Purpose.PAIR_TRUNCATION, row)
            a, b = cut(a, b, self.size - 2 - bool(len(b)), rng)
        starts = self.starts(np.concatenate([a, b])).astype(np.int64)
        return Example(row, (a, b, np.array([pair.label]), starts))

    def _text(self, start: int, stop: int) -> Ids:
        rows = [self.column[row] for row in range(start, stop)]
        return np.concatenate(rows) if rows else np.zeros(0, np.int64)

    # -- pairs -----------------------------------------------------------------------------------------------------------------------

    def _block(self, unit: int) -> NDArray[np.int64]:
        """The pairs of one copy of one block of documents."""
        if unit not in self._made:
            self._made[unit] = self._make(unit)
            while len(self._made) > 1 and sum(map(len, self._made.values())) > KEPT:
                self._made.popitem(last=False)
        self._made.move_to_end(unit)
        return self._made[unit]

    def _make(self, unit: int) -> NDArray[np.int64]:
        copy, block = divmod(unit, len(self._blocks) - 1)
        pairs: list[Pair] = []
        for document in range(int(self._blocks[block]), int(self._blocks[block + 1])):
            rng = make_generator(self.seed, Purpose.SENTENCE_PAIRS, document, copy)
            made = self._electra(document, rng) if self.kind == "electra" else self._pairs(document, rng)
            pairs += [
                pair
                for pair in made
                if self._length(pair.a, pair.a_end) and (self._labelled(pair) or pair.b == pair.b_end)
            ]
        return np.array(pairs, np.int64).reshape(-1, 5)

    def _labelled(self, pair: Pair) -> bool:
        return self._length(pair.b, pair.b_end) > 0

    def _length(self, start: int, stop: int) -> int:
        return int(self.ends[stop] - self.ends[start])

    def _pairs(self, document: int, rng: np.random.Generator) -> Iterator[Pair]:
        """One pass over a document as BERT makes it: a target length for the pass, chunks of sentences that reach it, each cut in two."""
        row, last = self.bounds[document : document + 2].tolist()
        room, kind = self.size - 3, self.kind
        target = int(rng.integers(2, room + 1)) if rng.random() < self.short else room
        while row < last:
            stop = min(last, row + 2) if kind == "sentences" else min(last, self._reach(row, target))
            sentences = stop - row
            middle = row + 1 if sentences == 1 else row + int(rng.integers(1, sentences))
            chance = rng.random() < 0.5
            if kind == "contiguous":
                yield Pair(row, middle, middle, stop, 0)
            elif sentences == 1 and kind == "strict-sop":
                pass
            elif sentences == 1 or (chance and kind in ("nsp", "sentences")):
                b = self._elsewhere(document, middle, rng)
                end = self.bounds[np.searchsorted(self.bounds, b, side="right")]
                b_end = (
                    b + 1
                    if kind == "sentences"
                    else min(int(end), self._reach(b, target - self._length(row, middle)))
                )
                yield Pair(row, middle, b, b_end, 1)
                stop = middle
            elif chance and kind in ("sop", "strict-sop"):
                yield Pair(middle, stop, row, middle, 1)
            else:
                yield Pair(row, middle, middle, stop, 0)
            row = stop

    def _reach(self, row: int, target: int) -> int:
        """The row after the one with which `target` tokens from `row` on are reached."""
        return int(np.searchsorted(self.ends, self.ends[row] + max(1, target), side="left"))

    def _elsewhere(self, document: int, follows: int, rng: np.random.Generator) -> int:
        """A sentence of another document; of this one, but not the one that follows, where there is no other."""
        documents = len(self.bounds) - 1
        row = follows
        for _ in range(REDRAWS):
            other = int(rng.integers(documents))
            row = int(rng.integers(self.bounds[other], self.bounds[other + 1]))
            if other != document or (documents == 1 and row != follows):
                break
        return row

    def _electra(self, document: int, rng: np.random.Generator) -> Iterator[Pair]:
        """Sentences until a target is reached; the first segment takes about half, or one time in ten everything."""
        row, last = self.bounds[document : document + 2].tolist()
        whole = self._length(row, last) + 1
        while row < last:
            target = int(rng.integers(5, self.size + 1)) if rng.random() < self.short else self.size
            stop = min(last, self._reach(row, target))
            half = whole if rng.random() < 0.1 else (target - 3) // 2
            middle = row + 1
            while middle < stop:
                so_far, more = self._length(row, middle), self._length(row, middle + 1)
                if not (more < half or (so_far < half and rng.random() < 0.5)):
                    break
                middle += 1
            yield Pair(row, middle, middle, stop, 0)
            row = stop


def cut(a: Ids, b: Ids, room: int, rng: np.random.Generator) -> tuple[Ids, Ids]:
    """BERT's truncation: while there is too much, a token of the longer segment (B when they are equal) goes, from either end at random."""
    over = max(0, len(a) + len(b) - room)
    half = -(-room // 2)
    kept = (
        room - len(b) if len(b) <= room // 2 else min(len(a), half)
    )  # what the longer one keeps when the shorter is spared
    from_a = len(a) - kept if over else 0
    out = []
    for text, gone in ((a, from_a), (b, over - from_a)):
        front = int(rng.binomial(gone, 0.5)) if gone else 0
        out.append(text[front : len(text) - (gone - front)])
    return out[0], out[1]
