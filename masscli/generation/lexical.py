"""Beam search whose outputs contain given phrases (Post and Vilar 2018, dynamic beam allocation).

A row is not allowed to end before it has all phrases of its sentence, in any order and without overlap.
Besides the best continuations of a sentence, the next piece of each missing phrase and the best piece of each
row are candidates. They are grouped by how many pieces of phrases they have, and the rows of the beam are
dealt out to these groups in turn, the furthest first, so that no group crowds out the others.

Sentences without phrases are searched as ever. Shapes: S sentences, W rows each, V vocabulary size.
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
    """What a row has of the phrases of its sentence."""

    missing: tuple[tuple[int, ...], ...]
    """The phrases that it lacks."""
    begun: tuple[int, ...] = ()
    """The pieces of the last of them that it has begun to write."""
    pieces: int = 0
    """Pieces of phrases that it has, those of an unfinished one included."""

    def next_pieces(self) -> set[int]:
        """Return the pieces that continue the phrase that was begun, or begin another one."""
        size = len(self.begun)
        continuing = {phrase[size] for phrase in self.missing if phrase[:size] == self.begun}
        return continuing | {phrase[0] for phrase in self.missing}

    def extended(self, piece: int) -> Progress:
        """Return the progress after one more piece.

        A phrase that is not continued is given up, and begins anew where it can.
        """
        finished = self.pieces - len(self.begun)
        for begun in ((*self.begun, piece), (piece,)):
            if begun in self.missing:
                place = self.missing.index(begun)
                missing = self.missing[:place] + self.missing[place + 1 :]
                return Progress(missing, (), finished + len(begun))
            if any(phrase[: len(begun)] == begun for phrase in self.missing):
                return Progress(self.missing, begun, finished + len(begun))
        return replace(self, begun=(), pieces=finished)


class Candidate(NamedTuple):
    """A continuation of a row."""

    sum: float
    parent: int
    piece: int
    progress: Progress


class ConstrainedBeam(Beam):
    """The search strategy for S sentences with phrases, of which some sentences may have none."""

    def __init__(
        self, config: GenerationConfig, eos: int, phrases: Sequence[Sequence[Sequence[int]]]
    ) -> None:
        super().__init__(config, eos)
        self.progress = []
        for of_sentence in phrases:
            start = Progress(tuple(tuple(phrase) for phrase in of_sentence))
            self.progress.append([start] * self.width)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but these (indices)."""
        self.progress = [self.progress[number] for number in sentences.tolist()]

    def select(self, sums: Tensor, scores: Tensor) -> StepSelection:
        """Select the next rows from their sums so far (S, W) and the next pieces' scores (S, W, V)."""
        for sentence, rows in enumerate(self.progress):
            for row, progress in enumerate(rows):
                if progress.missing:
                    scores[sentence, row, self.eos] = -torch.inf
        selection = super().select(sums, scores)
        for sentence, rows in enumerate(self.progress):
            # A sentence that has had no phrases from the start is left as it is.
            if rows[0].missing or rows[0].pieces or any(row.missing for row in rows):
                self._select_in_sentence(sentence, sums[sentence], scores[sentence], selection)
        return selection

    def _select_in_sentence(
        self, sentence: int, sums: Tensor, scores: Tensor, selection: StepSelection
    ) -> None:
        """Overwrite the selection of a sentence; `sums` are (W,) and `scores` (W, V)."""
        # Complete rows may end even where rows that lack phrases are better.
        selection.ended[sentence] = sums + scores[:, self.eos]
        selection.ended_parents[sentence] = torch.arange(self.width, device=sums.device)
        chosen = self._deal_out(self._candidates(sentence, sums, scores))
        # Rows without a candidate are not used.
        selection.sums[sentence] = -torch.inf
        for row, candidate in enumerate(chosen):
            selection.sums[sentence, row] = candidate.sum
            selection.parents[sentence, row] = candidate.parent
            selection.pieces[sentence, row] = candidate.piece
        unused = [Progress(())] * (self.width - len(chosen))
        self.progress[sentence] = [candidate.progress for candidate in chosen] + unused

    def _candidates(self, sentence: int, sums: Tensor, scores: Tensor) -> list[Candidate]:
        """Return the continuations to choose from, best first."""
        totals = sums[:, None] + scores
        totals[:, self.eos] = -torch.inf
        vocab_size = scores.shape[1]
        flat = totals.flatten()
        places = set(flat.topk(min(2 * self.width, len(flat))).indices.tolist())
        # The best piece of each row, and what its phrases need next.
        for row, piece in enumerate(totals.argmax(1).tolist()):
            places.add(row * vocab_size + piece)
            for needed in self.progress[sentence][row].next_pieces():
                places.add(row * vocab_size + needed)
        candidates = []
        # Sorted, so that of equally good ones the first row and piece win.
        for place in sorted(places):
            row, piece = divmod(place, vocab_size)
            total = float(flat[place])
            if total > -torch.inf:
                progress = self.progress[sentence][row].extended(piece)
                candidates.append(Candidate(total, row, piece, progress))
        return sorted(candidates, key=lambda candidate: -candidate.sum)

    def _deal_out(self, candidates: list[Candidate]) -> list[Candidate]:
        """Choose up to W candidates: in turn the best of those with the most pieces, the second most, ..."""
        banks: dict[int, list[Candidate]] = {}
        for candidate in candidates:
            banks.setdefault(candidate.progress.pieces, []).append(candidate)
        chosen: list[Candidate] = []
        for turn in range(self.width):
            for pieces in sorted(banks, reverse=True):
                if turn < len(banks[pieces]) and len(chosen) < self.width:
                    chosen.append(banks[pieces][turn])
        return chosen
