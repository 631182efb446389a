"""How one or two texts become one sequence."""

from __future__ import annotations

import numpy as np
import pytest

from masscli.data.batches.sequences import PairFormat, truncated_pair_lengths
from masscli.text.vocabulary import Vocabulary

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


VOCAB = Vocabulary(60, 0, 1, 2, 3, 4, 5, 6, (), {}, "")


def test_the_worked_strings_of_the_specification() -> None:
    a, b = np.array([50, 51]), np.array([52, 53])
    bert, roberta, gpt = (
        PairFormat(kind, VOCAB) for kind in ("bert", "roberta", "gpt")
    )
    assert bert.join(a, b).ids.tolist() == [5, 50, 51, 6, 52, 53, 6]
    assert bert.join(a, b).segments.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert roberta.join(a, b).ids.tolist() == [1, 50, 51, 2, 2, 52, 53, 2]
    assert gpt.join(a, b).ids.tolist() == [1, 50, 51, 6, 52, 53, 5]
    for frame in (bert, roberta, gpt):
        for texts in ((a,), (a, b)):
            joined = frame.join(*texts)
            assert len(joined.ids) == sum(map(len, texts)) + frame.num_special_tokens(
                len(texts)
            )
            assert [joined.ids[at] for at in joined.starts] == [
                text[0] for text in texts
            ]


def test_pairs_are_cut_from_the_end_of_the_longer_one() -> None:
    for first in range(9):
        for second in range(9):
            for room in range(2, 12):
                a, b = first, second
                while a + b > room:
                    a, b = (a - 1, b) if a > b else (a, b - 1)
                found = truncated_pair_lengths(
                    np.array([first]), np.array([second]), room
                )
                assert (int(found[0][0]), int(found[1][0])) == (a, b)


def test_the_formats_of_roberta_and_gpt_have_no_segments() -> None:
    a, b = np.array([50, 51]), np.array([52, 53])
    assert (
        not PairFormat("roberta", VOCAB).join(a, b).segments.any()
        and not PairFormat("gpt", VOCAB).join(a, b).segments.any()
    )
