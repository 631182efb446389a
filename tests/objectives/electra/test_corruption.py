"""What the generator of ELECTRA predicts: how many positions, which ones, and how they are masked."""

from __future__ import annotations

import numpy as np
import pytest

from masscli.objectives.electra.corruption import choose_positions, mask_positions

MASKABLE = np.array([False, *[True] * 8, False, *[True] * 9, False])


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize(
    ("mask_prob", "most", "count"),
    [(0.0, 9, 1), (0.15, 9, 3), (0.5, 9, 9), (0.5, 20, 10), (1.0, 99, 20)],
)
def test_the_number_of_drawn_positions_is_a_share_of_the_sequence(
    mask_prob: float, most: int, count: int, replacement: bool
) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        found = choose_positions(MASKABLE, mask_prob, most, replacement, rng)
        # There are 17 different positions.
        assert len(found) == (count if replacement else min(count, 17))
        assert found.tolist() == sorted(found) and MASKABLE[found].all()


def test_every_position_is_drawn_as_often_as_others_and_twice_only_with_replacement() -> (
    None
):
    rng = np.random.default_rng(1)
    for replacement in (False, True):
        drawn = [
            choose_positions(MASKABLE, 0.25, 20, replacement, rng) for _ in range(4000)
        ]
        counts = np.bincount(np.concatenate(drawn), minlength=20)
        assert counts[~MASKABLE].sum() == 0
        assert counts[MASKABLE] == pytest.approx(4000 * 5 / 17, rel=0.12)
        assert any(len(set(found.tolist())) < 5 for found in drawn) == replacement


@pytest.mark.parametrize("replacement", [False, True])
def test_without_maskable_positions_none_are_drawn(replacement: bool) -> None:
    nothing = np.zeros(6, bool)
    assert (
        choose_positions(
            nothing, 0.5, 3, replacement, np.random.default_rng(1)
        ).tolist()
        == []
    )


def test_positions_are_masked_or_kept_once() -> None:
    ids, positions = np.arange(10, 30), np.array([2, 2, 5, 7, 7])
    rng = np.random.default_rng(1)
    assert mask_positions(ids, positions, 1.0, 4, rng).tolist() == ids.tolist()
    masked = ids.copy()
    masked[[2, 5, 7]] = 4
    assert mask_positions(ids, positions, 0.0, 4, rng).tolist() == masked.tolist()
    assert ids.tolist() == list(range(10, 30))
    shares = np.mean(
        [mask_positions(ids, positions, 0.15, 4, rng) == 4 for _ in range(4000)], axis=0
    )
    assert shares[[2, 5, 7]] == pytest.approx(0.85, abs=0.03)
    assert shares.sum() == pytest.approx(shares[[2, 5, 7]].sum())
