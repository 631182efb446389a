"""The blocks of UniLMv2: their share of a sequence, their lengths, and what is shown in their place."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from masscli.objectives.unilm.corruption import draw_blocks
from tests.objectives.test_pretraining import VOCAB, make_objective, pair, rngs

MASKABLE = np.array([False, *[True] * 98, False])


def test_blocks_are_disjoint_and_hold_the_share_of_the_sequence() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        blocks = draw_blocks(MASKABLE, 0.15, 0.5, 4, False, rng)
        positions = np.concatenate(blocks)
        assert (
            len(set(positions.tolist())) == len(positions) and MASKABLE[positions].all()
        )
        # The last block is the one that reaches the share.
        assert len(positions) - len(blocks[-1]) < 15 <= len(positions)
        for block in blocks:
            assert all(
                after == before + 1 for before, after in pairwise(block.tolist())
            )


def test_lengths_of_blocks_are_drawn_as_published() -> None:
    rng = np.random.default_rng(1)
    # A share so small that the first block reaches it, so that no block is drawn again.
    lengths = np.array(
        [len(draw_blocks(MASKABLE, 0.001, 0.4, 6, False, rng)[0]) for _ in range(6000)]
    )
    shares = np.bincount(lengths, minlength=8) / len(lengths)
    assert shares[1] == pytest.approx(0.6, abs=0.03)
    assert shares[2:7] == pytest.approx(0.08, abs=0.02)
    assert shares[0] == shares[7] == 0


def test_blocks_of_one_token() -> None:
    blocks = draw_blocks(MASKABLE, 0.15, 1.0, 6, True, np.random.default_rng(1))
    assert [len(block) for block in blocks] == [1] * 15


def test_where_no_block_fits_the_search_ends() -> None:
    alternating = np.arange(40) % 2 == 0
    assert draw_blocks(alternating, 0.5, 1.0, 6, False, np.random.default_rng(1)) == []
    assert (
        draw_blocks(np.zeros(9, bool), 0.5, 0.0, 6, False, np.random.default_rng(1))
        == []
    )


@pytest.mark.parametrize(
    ("corruption", "shares"),
    [("80-10-10", (0.8, 0.1, 0.1)), ("all-mask", (1.0, 0.0, 0.0))],
)
def test_replacements_of_masked_tokens_have_their_shares(
    corruption: str, shares: tuple[float, float, float]
) -> None:
    objective = make_objective("unilm", mask_prob=0.5, corruption=corruption)
    # Words are 10 to 29, so that most random tokens are recognized.
    text = np.random.default_rng(1).integers(10, 30, 3000).tolist()
    batch = objective.collator()([pair(text, [])], rngs(1))
    labels = batch.labels["ae"]
    shown, original = batch.source.ids.flatten()[labels.positions], labels.ids
    masked = float((shown == VOCAB.mask).float().mean())
    kept = float((shown == original).float().mean())
    assert (masked, kept, 1 - masked - kept) == pytest.approx(shares, abs=0.03)
