"""Shortlists from pairs: Model 1 in chunks is Model 1, and the likeliest pieces of each piece are taken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon import model1 as module
from masscli.lexicon.model1 import ROUNDS, align_pieces, model1
from masscli.lexicon.shortlist import learn_shortlist, measure_coverage


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_do_not_change_the_probabilities(
    chunk: int, toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = DataFolder.open(toy)
    source, target = data.pair("train", "en", "de")
    monkeypatch.setattr(module, "PIECE_ROUNDS", ROUNDS)
    monkeypatch.setattr(module, "CHUNK_LINES", chunk)
    e, f, t = align_pieces(source, target, 40, data.vocab.size)
    made = dict(zip(zip(e.tolist(), f.tolist(), strict=True), t.tolist(), strict=True))
    lines = [[column[row].tolist() for row in range(40)] for column in (source, target)]
    assert made == pytest.approx(model1(*lines))


def test_candidates_are_the_likeliest_pieces(toy: Path) -> None:
    data = DataFolder.open(toy)
    columns = data.pair("train", "en", "de")
    e, f, t = align_pieces(*columns, len(columns[0]), data.vocab.size)
    shortlist = learn_shortlist(data, "en", "de", 3, 2, None)
    counts = np.zeros(data.vocab.size, int)
    for row in range(len(columns[1])):
        for piece in columns[1][row]:
            counts[piece] += 1
    assert shortlist.candidates[()].tolist() == sorted(
        sorted(range(len(counts)), key=lambda n: (-counts[n], n))[:2]
    )
    for piece in data.vocab.ordinary_ids.tolist():
        likeliest = sorted((-t[n], f[n]) for n in np.flatnonzero(e == piece))[:3]
        assert shortlist.candidates[(piece,)].tolist() == sorted(
            {piece, *(int(n) for _, n in likeliest)}
        )


def test_coverage_is_counted_piece_by_piece(toy: Path) -> None:
    data = DataFolder.open(toy)
    shortlist = learn_shortlist(data, "en", "de", 1, 0, 20)
    sources, targets = data.pair("valid", "en", "de")
    sizes, covered, pieces = [], 0, 0
    for row in range(len(sources)):
        allowed = {
            int(n)
            for piece in sources[row].tolist()
            for n in shortlist.candidates[(piece,)]
        }
        sizes.append(len(allowed))
        covered += sum(piece in allowed for piece in targets[row].tolist())
        pieces += len(targets[row])
    coverage = measure_coverage(shortlist, data, "en", "de")
    assert coverage == pytest.approx((np.mean(sizes), covered / pieces))
    assert 0.3 < coverage.pieces < 1
