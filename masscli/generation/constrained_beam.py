"""Beam search whose outputs contain given phrases (Post and Vilar 2018, dynamic beam allocation).

A row is not allowed to end before it has all phrases of its sentence, in any order and without overlap.
Besides the best continuations of a sentence, those by the next piece of each missing phrase and by the best
piece of each row are considered. They are grouped by how many pieces of phrases they contain, and the rows of
the beam are assigned to these groups in turn, starting with the most advanced, so that no group crowds
out the others.

Sentences without phrases are searched as usual. Shapes: S sentences, W rows each, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from masscli.generation.beam import Beam, StepSelection
from masscli.generation.config import GenerationConfig


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of one row with the phrases that its output must contain."""

    missing: tuple[tuple[int, ...], ...]
    """The phrases, as pieces, that the output does not have completely."""
    begun: tuple[int, ...] = ()
    """The last pieces of the output that are the beginning of a missing phrase; empty if there are none."""
    pieces: int = 0
    """Number of pieces in the output that belong to phrases, those of an unfinished one included."""

    def next_pieces(self) -> set[int]:
        """Return the pieces that would continue the phrase that was begun, or begin any missing phrase."""
        size = len(self.begun)
        continuing = {
            phrase[size] for phrase in self.missing if phrase[:size] == self.begun
        }
        return continuing | {phrase[0] for phrase in self.missing}

    def extended(self, piece: int) -> Progress:
        """Return the progress after the output is extended by `piece`; this object stays as it is.

        If the piece does not continue the phrase that was begun, that phrase is missing again, and its pieces
        no longer count; but the last of them and the piece, or the piece itself, may begin a phrase.
        """
        # If the begun phrase is not continued, its pieces no longer count.
        finished = self.pieces - len(self.begun)
        # The longest prefix comes first. A shorter one may be inside it: `a a b` continues after `a a
        # a`.
        for first in range(len(self.begun) + 1):
            begun = (*self.begun[first:], piece)
            if begun in self.missing:
                place = self.missing.index(begun)
                missing = self.missing[:place] + self.missing[place + 1 :]
                return Progress(missing, (), finished + len(begun))
            if any(phrase[: len(begun)] == begun for phrase in self.missing):
                return Progress(self.missing, begun, finished + len(begun))
        return replace(self, begun=(), pieces=finished)


class Continuation(NamedTuple):
    """A row (`parent`) extended by a piece: the new sum of log-probabilities, and progress with phrases."""

    sum: float
    parent: int
    piece: int
    progress: Progress


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
            start = Progress(tuple(tuple(phrase) for phrase in of_sentence))
            self.progress.append([start] * self.width)

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
                if progress.missing:
                    scores[sentence, row, self.eos] = -torch.inf
        selection = super().select(sums, scores)
        for sentence, rows in enumerate(self.progress):
            # A sentence that has had no phrases from the start is left as it is.
            has_phrases = rows[0].pieces > 0 or any(row.missing for row in rows)
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
        unused = [Progress(())] * (self.width - len(chosen))
        self.progress[sentence] = [item.progress for item in chosen] + unused

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
        for place in sorted(places):
            row, piece = divmod(place, vocab_size)
            total = float(flat[place])
            if total > -torch.inf:
                progress = self.progress[sentence][row].extended(piece)
                continuations.append(Continuation(total, row, piece, progress))
        return sorted(continuations, key=lambda continuation: -continuation.sum)

    def _deal_out(self, continuations: list[Continuation]) -> list[Continuation]:
        """Choose up to W of the continuations, which are sorted best first.

        They are grouped by their number of pieces of phrases. The groups take turns, that with the most
        pieces first, and each contributes its next best one.
        """
        banks: dict[int, list[Continuation]] = {}
        for continuation in continuations:
            banks.setdefault(continuation.progress.pieces, []).append(continuation)
        chosen: list[Continuation] = []
        for turn in range(self.width):
            for pieces in sorted(banks, reverse=True):
                if turn < len(banks[pieces]) and len(chosen) < self.width:
                    chosen.append(banks[pieces][turn])
        return chosen
