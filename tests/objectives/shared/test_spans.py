"""Spans: BART's text infilling and SpanBERT's masks, against what their papers say of them."""

from __future__ import annotations

import math
from collections import Counter
from itertools import groupby

import numpy as np
import pytest

from masscli.objectives.shared.masking import MaskingUnit, TokenMasker, place_spans
from masscli.objectives.shared.sentence_noise import infill

MASK = -1


def aligned(tokens: list[int], infilled: list[int]) -> list[tuple[int, int]]:
    """For each run of [M]: how many, and how many tokens are missing there. Tokens are 0, 1, 2, ..."""
    gaps = []
    expected = 0
    masks = 0
    for token in [*infilled, len(tokens)]:
        if token == MASK:
            masks += 1
            continue
        if masks:
            gaps.append((masks, token - expected))
        else:
            assert token == expected
        masks = 0
        expected = token + 1
    return gaps


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_infilling_replaces_its_share_and_keeps_the_order(share: float) -> None:
    rng = np.random.default_rng(1)
    for size in (0, 1, 7, 40):
        for _ in range(50):
            infilled = infill(np.arange(size), share, 3.0, MASK, rng, 99).tolist()
            kept = [token for token in infilled if token != MASK]
            assert kept == sorted(kept)
            assert size - len(kept) == round(share * size)
            assert sum(
                missing for _, missing in aligned(list(range(size)), infilled)
            ) == round(share * size)


@pytest.mark.parametrize("room", [0, 5])
def test_inserted_masks_keep_to_the_positions_of_the_model(room: int) -> None:
    """Spans are mostly of length 0 if their mean is small, so that a text would grow several times."""
    rng = np.random.default_rng(4)
    lengths = set()
    for _ in range(200):
        infilled = infill(np.arange(40), 0.3, 0.1, MASK, rng, 40 + room).tolist()
        assert sum(token != MASK for token in infilled) == 28
        lengths.add(len(infilled))
    assert max(lengths) == 40 + room


def test_lengths_of_infilled_spans_are_poisson() -> None:
    """Runs of a single [M] far apart are spans; of long texts hardly any span is cut."""
    rng = np.random.default_rng(2)
    counts: Counter[int] = Counter()
    for _ in range(300):
        infilled = infill(np.arange(1000), 0.05, 3.0, MASK, rng, 2000).tolist()
        counts.update(
            missing
            for masks, missing in aligned(list(range(1000)), infilled)
            if masks == 1
        )
    total = counts.total()
    for length in range(8):
        expected = math.exp(-3) * 3**length / math.factorial(length)
        assert counts[length] / total == pytest.approx(expected, abs=0.03)


def test_masked_spans_are_geometric_and_uniform() -> None:
    rng = np.random.default_rng(3)
    lengths: Counter[int] = Counter()
    places = np.zeros(200)
    for _ in range(2000):
        chosen = place_spans(200, 12, 0.2, 10, rng)
        assert (
            len(chosen) == 12 == len(set(chosen.tolist()))
            and sorted(chosen.tolist()) == chosen.tolist()
        )
        places[chosen] += 1
        runs = [
            list(run)
            for _, run in groupby(
                enumerate(chosen.tolist()), lambda item: item[1] - item[0]
            )
        ]
        lengths.update(len(run) for run in runs)
    # The budget cuts a span, and two spans may touch, so the mean is near that of the cut distribution, 3.8.
    mean = sum(length * count for length, count in lengths.items()) / lengths.total()
    assert 3.0 < mean < 4.2
    assert lengths[1] > lengths[2] > lengths[4] > lengths[8] > 0
    middle = places[20:180] / 2000
    assert middle.mean() == pytest.approx(12 / 200, rel=0.05)
    assert middle.std() < 0.01
    assert place_spans(5, 5, 0.2, 10, rng).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "unit", ["tokens", "words", "ngrams", "sentence-tokens", "sentence-spans"]
)
def test_a_line_without_text_has_nothing_to_predict(unit: MaskingUnit) -> None:
    """A validation set keeps empty lines, of which only special tokens are left."""
    masker = TokenMasker(
        unit, 0.15, 0.1, 0.1, MASK, np.arange(9), span_p=0.2, max_span=10
    )
    nothing, starts_word = np.array([False, False]), np.array([True, True])
    ids, positions = masker(
        np.array([1, 2]), nothing, starts_word, 0, np.random.default_rng(1)
    )
    assert ids.tolist() == [1, 2] and not len(positions)
