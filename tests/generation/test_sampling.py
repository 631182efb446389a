"""Sampling: the right distribution, and random numbers that belong to the sentence alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from masscli.generation.config import GenerationConfig
from masscli.generation.constraints import Requirements
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.sampling import SamplingStrategy
from masscli.generation.search import search
from masscli.text.vocabulary import Vocabulary

EOS, UNK, A, B, C, D = 2, 3, 9, 10, 11, 12
VOCABULARY = Vocabulary(
    size=13,
    pad=0,
    bos=1,
    eos=EOS,
    unk=UNK,
    mask=4,
    cls=5,
    sep=6,
    spare=(7,),
    languages={"en": 8},
    fingerprint="x",
)
PROBABILITIES = {UNK: 0.02, A: 0.4, B: 0.3, C: 0.2, D: 0.05, EOS: 0.03}


class Unigram:
    """The same distribution at each step."""

    vocab_size = VOCABULARY.size

    def __init__(self) -> None:
        row = torch.full((VOCABULARY.size,), -torch.inf)
        for v, p in PROBABILITIES.items():
            row[v] = math.log(p)
        self.row = row

    def __call__(self, ids: Tensor) -> Tensor:
        return self.row.expand(len(ids), -1).clone()

    def reorder(self, parents: Tensor) -> None:
        raise AssertionError("a sample has no other parent than itself")

    def keep(self, sentences: Tensor) -> None:
        pass


def draw(
    limits: list[int], keys: list[int] | None = None, seed: int = 1, **options: Any
) -> list[list[Hypothesis]]:
    config = GenerationConfig(sampling=True, **options)
    return search(
        Unigram(),
        torch.ones(len(limits), dtype=torch.int64),
        Requirements(limits),
        config,
        VOCABULARY,
        [(seed, key) for key in keys or range(len(limits))],
    )


def shares(**options: Any) -> dict[int, float]:
    """How often each piece comes first in 4000 samples."""
    found = [
        h.ids[0]
        for hypotheses in draw([1] * 40, beam=100, nbest=100, **options)
        for h in hypotheses
    ]
    assert len(found) == 4000
    return {v: found.count(v) / 4000 for v in (UNK, A, B, C, D)}


def check(actual: dict[int, float], expected: dict[int, float]) -> None:
    """Pearson's chi-square over the possible pieces, at the 1e-6 level for 4 degrees of freedom."""
    total = sum(expected.values())
    assert all(actual[v] == 0 for v in actual if v not in expected)
    assert (
        sum(
            4000 * (actual[v] - p / total) ** 2 / (p / total)
            for v, p in expected.items()
        )
        < 33.4
    )


def test_pieces_are_drawn_with_their_probabilities() -> None:
    words = {v: p for v, p in PROBABILITIES.items() if v != EOS}  # min_len = 1
    check(shares(), words)
    check(shares(temperature=2.0), {v: p**0.5 for v, p in words.items()})
    check(shares(sampling_topk=2), {A: 0.4, B: 0.3})
    check(
        shares(sampling_topp=0.7), {A: 0.4, B: 0.3}
    )  # 0.412 + 0.309 of what is allowed
    check(shares(sampling_topp=0.75), {A: 0.4, B: 0.3, C: 0.2})
    check(shares(sampling_topk=3, sampling_topp=0.4), {A: 0.4})
    check(shares(sampling_topk=99), words)


def test_the_smallest_set_that_reaches_top_p_is_sampled() -> None:
    """The nucleus is the smallest set whose probability reaches p (Holtzman et al. 2020); of equal ones, the first."""
    stepper = Unigram()
    stepper.row[:] = -torch.inf
    # The end is forbidden at first, and forced then.
    stepper.row[[EOS, A, B, C, D]] = math.log(0.25)
    for share, pieces in ((0.25, {A}), (0.5, {A, B}), (0.51, {A, B, C})):
        config = GenerationConfig(
            sampling=True, beam=200, nbest=200, sampling_topp=share
        )
        [found] = search(
            stepper,
            torch.ones(1, dtype=torch.int64),
            Requirements([1]),
            config,
            VOCABULARY,
            [(1, 0)],
        )
        assert {h.ids[0] for h in found} == pieces


def test_scores_are_those_of_the_model() -> None:
    for hypothesis in draw([4], beam=20, nbest=20, temperature=3.0, sampling_topk=4)[0]:
        parts = [math.log(PROBABILITIES[v]) for v in (*hypothesis.ids, EOS)]
        torch.testing.assert_close(
            torch.tensor(hypothesis.token_scores), torch.tensor(parts)
        )
        assert math.isclose(hypothesis.score, sum(parts) / len(parts), rel_tol=1e-5)
        assert hypothesis.hit_max_len == (len(hypothesis.ids) == 4)


def test_samples_depend_only_on_the_sentence() -> None:
    together = draw([9, 3, 12, 9], keys=[5, 6, 7, 5], beam=3, nbest=3)
    alone = [
        draw([limit], keys=[key], beam=3, nbest=3)[0]
        for limit, key in zip([9, 3, 12, 9], [5, 6, 7, 5], strict=True)
    ]
    assert together == alone
    assert together[0] == together[3] != together[2]
    assert draw([9], keys=[5], seed=2, beam=3, nbest=3)[0] != alone[0]


def test_the_best_of_the_samples_come_first() -> None:
    many = draw([6], beam=10, nbest=10)[0]
    assert draw([6], beam=10, nbest=2)[0] == many[:2]
    assert [h.score for h in many] == sorted((h.score for h in many), reverse=True)


def drawn(scores: Tensor, ids: Tensor, **options: Any) -> Tensor:
    """The piece that each of the rows (S, V) of log-probabilities gets; row s has seed s."""
    config = GenerationConfig(sampling=True, beam=1, nbest=1, **options)
    strategy = SamplingStrategy(config, EOS, [(s,) for s in range(len(scores))], 1, ids)
    found = strategy.select(
        strategy.start(len(scores), scores.device), scores[:, None]
    ).pieces
    return ids[found[:, 0]]


@pytest.mark.parametrize(
    "options",
    [{}, {"sampling_topp": 0.9}, {"sampling_topk": 500}, {"temperature": 0.7}],
    ids=str,
)
def test_rounding_changes_a_draw_as_rarely_as_it_can(options: dict[str, Any]) -> None:
    """Log-probabilities that differ by d change at most a share of about 2 d of the draws, however many pieces there are.

    Half of the probability is that of a long tail, as label smoothing makes it.
    """
    rows, size, d = 2000, 8000, 1e-4
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(rows, size, generator=generator)
    logits[:, 17] = math.log(size)
    exact = logits.log_softmax(1)
    rounded = exact + d * torch.randn(rows, size, generator=generator)
    ids = torch.arange(size)
    found = drawn(exact, ids, **options)
    # 0.4 draws are expected to change if they are coupled as well as possible.
    assert int((drawn(rounded, ids, **options) != found).sum()) <= 5
    assert len(set(found.tolist())) > 100


@pytest.mark.parametrize(
    "options", [{}, {"sampling_topp": 0.9}, {"sampling_topk": 5}], ids=str
)
def test_a_draw_depends_on_ids_and_not_on_which_others_are_candidates(
    options: dict[str, Any],
) -> None:
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(500, 3000, generator=generator)
    few = torch.tensor([0, 1, 2, 3, 70, 1023, 1024, 2000, 2999])
    others = torch.ones(3000, dtype=torch.bool)
    others[few] = False
    scores = scores.masked_fill(others, -torch.inf).log_softmax(1)
    whole = drawn(scores, torch.arange(3000), **options)
    assert torch.equal(drawn(scores[:, few], few, **options), whole)
    assert len(set(whole.tolist())) == len(few)
