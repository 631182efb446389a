"""Beam search whose outputs contain given phrases (Post and Vilar 2018, dynamic beam allocation).

A row is not allowed to end before it has all phrases of its sentence, in any order and without overlap.
Besides the best continuations of a sentence, those by the next piece of each missing phrase and by the best
piece of each row are considered. They are grouped by how many pieces of phrases they contain, and the rows of
the beam are assigned to these groups in turn, starting with the most advanced, so that no group crowds
out the others.

Sentences without phrases are searched as usual. Shapes: S sentences, W rows each, V vocabulary size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from masscli.generation.beam import Beam, StepSelection
from masscli.generation.config import GenerationConfig


@dataclass(slots=True, eq=False)
class Node:
    """A node in a tree of phrases: the beginning of some of them, `depth` pieces long."""

    depth: int = 0
    children: dict[int, Node] = field(default_factory=dict)
    """The nodes one piece longer, by that piece."""
    phrase: tuple[int, ...] | None = None
    """The phrase that is complete here, if there is one."""
    inside: Node | None = None
    """The longest beginning of a phrase that ends like this one but begins later; None for the root."""


class Phrases:
    """Phrases, each a tuple of pieces, that an output lacks. The object does not change.

    They are also kept as a tree, in which phrases that begin alike share nodes; its root stands for no piece.
    As in the algorithm of Aho and Corasick (1975), each node links to the longest beginning inside it, so
    that a piece is looked up in the same time for any number of phrases.
    """

    def __init__(self, phrases: Sequence[tuple[int, ...]]) -> None:
        self.phrases = phrases
        self.root = Node()
        for phrase in phrases:
            node = self.root
            for piece in phrase:
                node = node.children.setdefault(piece, Node(node.depth + 1))
            node.phrase = phrase
        self._link_nodes()

    def _link_nodes(self) -> None:
        """Set the links `inside` of all nodes below the root."""
        waiting = deque([self.root])
        # Shorter beginnings come first, since the links of longer ones follow from theirs.
        while waiting:
            node = waiting.popleft()
            for piece, child in node.children.items():
                child.inside = _find(node.inside, piece) or self.root
                waiting.append(child)

    def without(self, phrase: tuple[int, ...]) -> Phrases:
        """Return the same phrases, but for the first that is equal to `phrase`."""
        place = self.phrases.index(phrase)
        return Phrases([*self.phrases[:place], *self.phrases[place + 1 :]])


def _find(node: Node | None, piece: int) -> Node | None:
    """Return the child by `piece` of a node or, if it has none, of the next beginning inside it that has one.

    The result is None if `piece` neither continues nor begins a phrase, or if `node` is None.
    """
    while node is not None and piece not in node.children:
        node = node.inside
    return None if node is None else node.children[piece]


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one row with the phrases that its output must contain."""

    missing: Phrases
    """The phrases that the output does not have completely."""
    begun: Node
    """The beginning of a missing phrase with which the output ends, a node of their tree."""
    pieces: int = 0
    """Number of pieces in the output that belong to phrases, those of an unfinished one included."""

    @classmethod
    def start(cls, phrases: Sequence[Sequence[int]]) -> Progress:
        """Return the progress of an output without pieces that must contain `phrases`."""
        missing = Phrases([tuple(phrase) for phrase in phrases])
        return cls(missing, missing.root)

    @property
    def is_complete(self) -> bool:
        """Whether the output has all phrases."""
        return not self.missing.phrases

    def next_pieces(self) -> set[int]:
        """Return the pieces that would continue the phrase that was begun, or begin any missing phrase."""
        return {*self.begun.children, *self.missing.root.children}

    def pieces_with(self, piece: int) -> int:
        """Return the number of pieces that would belong to phrases if the output were extended by `piece`.

        If the piece does not continue the phrase that was begun, the pieces of that no longer count; but the
        last of them and the piece, or the piece itself, may begin a phrase.
        """
        node = _find(self.begun, piece)
        depth = 0 if node is None else node.depth
        return self.pieces - self.begun.depth + depth

    def extended(self, piece: int) -> Progress:
        """Return the progress after the output is extended by `piece`; this object stays as it is."""
        pieces = self.pieces_with(piece)
        # The longest beginning counts. A shorter one may be inside it: `a a b` continues after `a a a`.
        node = _find(self.begun, piece) or self.missing.root
        if node.phrase is None:
            return Progress(self.missing, node, pieces)
        # A phrase that was not continued is missing again.
        missing = self.missing.without(node.phrase)
        return Progress(missing, missing.root, pieces)


class Continuation(NamedTuple):
    """A row (`parent`) extended by a piece: the new sum of log-probabilities, and its pieces of phrases."""

    sum: float
    parent: int
    piece: int
    phrase_pieces: int


class ConstrainedBeam(Beam):
    """Beam search whose outputs contain given phrases.

    `phrases` has the phrases of each of S sentences, as pieces; some sentences may have none. `config` must
    have a single group of beams. `eos` is the id of the end symbol.
    """

    def __init__(
        self,
        config: GenerationConfig,
        eos: int,
        phrases: Sequence[Sequence[Sequence[int]]],
    ) -> None:
        super().__init__(config, eos)
        self.progress = []
        for of_sentence in phrases:
            self.progress.append([Progress.start(of_sentence)] * self.width)

    def keep(self, sentences: Tensor) -> None:
        """Drop the progress of all sentences but those with these indices (1-D)."""
        self.progress = [self.progress[number] for number in sentences.tolist()]

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """Select the rows of the next step, and the hypotheses that end in this one.

        `sums` (S, W) are the sums of log-probabilities of the rows so far, and `scores` (S, W, V) the
        log-probabilities of their next pieces, in which the end symbol of rows that lack a phrase is set to
        -inf.
        """
        for sentence, rows in enumerate(self.progress):
            for row, progress in enumerate(rows):
                if not progress.is_complete:
                    scores[sentence, row, self.eos] = -torch.inf
        selection = super().select(sums, scores)
        for sentence, rows in enumerate(self.progress):
            # A sentence that has had no phrases from the start is left as it is.
            has_phrases = rows[0].pieces > 0 or any(not row.is_complete for row in rows)
            if has_phrases:
                self._select_in_sentence(
                    sentence, sums[sentence], scores[sentence], selection
                )
        return selection

    def _select_in_sentence(
        self, sentence: int, sums: Tensor, scores: Tensor, selection: StepSelection
    ) -> None:
        """Overwrite, in place, what `selection` holds for one sentence (an index), and update its progress.

        `sums` (W,) and `scores` (W, V) are the log-probabilities of its rows so far and of their next pieces.
        """
        # Complete rows may end even if rows that lack phrases are better.
        selection.ended[sentence] = sums + scores[:, self.eos]
        selection.ended_parents[sentence] = torch.arange(self.width, device=sums.device)
        chosen = self._deal_out(self._continuations(sentence, sums, scores))
        # Rows without a continuation are not used.
        selection.sums[sentence] = -torch.inf
        for row, continuation in enumerate(chosen):
            selection.sums[sentence, row] = continuation.sum
            selection.parents[sentence, row] = continuation.parent
            selection.pieces[sentence, row] = continuation.piece
        rows = self.progress[sentence]
        extended = [rows[item.parent].extended(item.piece) for item in chosen]
        unused = [Progress.start(())] * (self.width - len(chosen))
        self.progress[sentence] = extended + unused

    def _continuations(
        self, sentence: int, sums: Tensor, scores: Tensor
    ) -> list[Continuation]:
        """Return the continuations of a sentence's rows to choose from, best sum first.

        They are the 2W best ones, the best one of each row, and those by the next piece of a phrase; none of
        them ends the sentence, and none has the sum -inf.
        """
        totals = sums[:, None] + scores
        totals[:, self.eos] = -torch.inf
        vocab_size = scores.shape[1]
        flat = totals.flatten()
        count = min(2 * self.width, len(flat))
        places = set(flat.topk(count).indices.tolist())
        # The best piece of each row, and what its phrases need next.
        for row, piece in enumerate(totals.argmax(1).tolist()):
            places.add(row * vocab_size + piece)
            for needed in self.progress[sentence][row].next_pieces():
                places.add(row * vocab_size + needed)
        continuations = []
        # Sorted, so that of equally good ones the first row and piece win.
        ordered = sorted(places)
        for place, total in zip(ordered, flat[ordered].tolist(), strict=True):
            row, piece = divmod(place, vocab_size)
            if total > -torch.inf:
                phrase_pieces = self.progress[sentence][row].pieces_with(piece)
                continuations.append(Continuation(total, row, piece, phrase_pieces))
        return sorted(continuations, key=lambda continuation: -continuation.sum)

    def _deal_out(self, continuations: list[Continuation]) -> list[Continuation]:
        """Choose up to W of the continuations, which are sorted best first.

        They are grouped by their number of pieces of phrases. The groups take turns, that with the most
        pieces first, and each contributes its next best one.
        """
        banks: dict[int, list[Continuation]] = {}
        for continuation in continuations:
            banks.setdefault(continuation.phrase_pieces, []).append(continuation)
        chosen: list[Continuation] = []
        for turn in range(self.width):
            for pieces in sorted(banks, reverse=True):
                if turn < len(banks[pieces]) and len(chosen) < self.width:
                    chosen.append(banks[pieces][turn])
        return chosen
