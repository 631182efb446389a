"""Dictionaries of two spaces with a known truth: learned from few anchors, voted for, and by frequency."""

from __future__ import annotations

import math
from statistics import mean

import pytest
import torch
from torch import Tensor

from masscli.lexicon.alignment import (
    align_vectors,
    learn_pairs,
    refine_pairs,
    usage_similarity,
)
from masscli.lexicon.company import company_similarity
from masscli.lexicon.cooccurrence import WordSpace
from masscli.lexicon.csls import mutual_nearest_pairs
from masscli.lexicon.frequency import frequency_similarity
from masscli.lexicon.vote import DRAWS, vote

pytestmark = pytest.mark.usefixtures("one_thread")

WORDS = 200
ANCHORS = 12
WIDTH = 24


class Languages:
    """Two languages of noisy use; word number `truth[i]` of the second means what number i of the first does.

    The vectors of the second are rotated. Company is a noisy table of its own for each.
    """

    def __init__(self, noise: float) -> None:
        draw = torch.Generator().manual_seed(3)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=draw)

        meaning = unit(normal(WORDS, WIDTH)) * WIDTH**0.5
        rotation = torch.linalg.qr(normal(WIDTH, WIDTH)).Q
        company = meaning @ meaning.T / WIDTH**0.5
        self.truth = torch.randperm(WORDS, generator=draw)
        # The number in the first language of each word of the second.
        order = torch.argsort(self.truth)
        noisy = [meaning + noise * normal(WORDS, WIDTH) for _ in range(2)]
        tables = [
            (company + 2 * noise * normal(WORDS, WORDS)).clamp_min(0) for _ in range(2)
        ]
        self.first = WordSpace(unit(noisy[0]), [tables[0]])
        self.second = WordSpace(
            unit(noisy[1] @ rotation)[order], [tables[1][order][:, order]]
        )
        self.anchors = (torch.arange(ANCHORS), self.truth[:ANCHORS])
        self.prior = torch.zeros(WORDS, WORDS)

    def right(self, scores: Tensor) -> int:
        """How many of the pairs that have their highest score with each other are translations."""
        truth = self.truth.tolist()
        return sum(truth[i] == j for i, j in mutual_nearest_pairs(scores))

    def vote(self) -> Tensor:
        odd, even = vote(self.first, self.second, self.anchors, self.prior)
        return (odd + even) / 2


def unit(vectors: Tensor) -> Tensor:
    return torch.nn.functional.normalize(vectors, dim=1)


@pytest.fixture(scope="module")
def noisy() -> Languages:
    """Languages of which each draw misses some words, and not always the same."""
    return Languages(noise=0.6)


@pytest.fixture(scope="module")
def clear() -> Languages:
    """Languages that every draw lays on each other."""
    return Languages(noise=0.45)


def test_a_vote_is_not_worse_than_its_voters(noisy: Languages) -> None:
    single = []
    for seed in range(100, 100 + DRAWS):
        pairs = learn_pairs(
            noisy.first, noisy.second, noisy.anchors, noisy.prior, seed=seed
        )
        single.append(noisy.right(usage_similarity(noisy.first, noisy.second, pairs)))
    assert len(set(single)) > 1  # chance decides some words
    assert mean(single) > 2 * ANCHORS  # more is found than was given
    voted = noisy.vote()
    assert noisy.right(voted) >= mean(single)
    refined = refine_pairs(noisy.first, noisy.second, noisy.anchors, noisy.prior, voted)
    assert noisy.right(usage_similarity(noisy.first, noisy.second, refined)) >= mean(
        single
    )


def test_a_vote_is_the_same_each_time(clear: Languages) -> None:
    torch.manual_seed(1)
    first = clear.vote()
    drawn = torch.rand(3)
    torch.manual_seed(2)
    assert torch.equal(first, clear.vote())
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))


def test_either_language_may_come_first(clear: Languages) -> None:
    """The random numbers fall on other words then, and few words depend on them."""
    found = set(mutual_nearest_pairs(clear.vote()))
    anchors = (clear.anchors[1], clear.anchors[0])
    odd, even = vote(clear.second, clear.first, anchors, clear.prior.T)
    swapped = {(j, i) for i, j in mutual_nearest_pairs(odd + even)}
    assert len(found & swapped) > 0.9 * max(len(found), len(swapped))


def test_translations_are_near_in_the_common_space(clear: Languages) -> None:
    a, b = align_vectors(clear.first.vectors, clear.second.vectors, clear.anchors)
    few = (a * b[clear.truth]).sum(1).mean()
    pairs = learn_pairs(clear.first, clear.second, clear.anchors, clear.prior, seed=1)
    a, b = align_vectors(clear.first.vectors, clear.second.vectors, pairs)
    assert a.norm(dim=1).tolist() == pytest.approx([1.0] * WORDS)
    many = (a * b[clear.truth]).sum(1).mean()
    assert many > 0.5 and many > few + 0.05
    assert abs((a @ b.T).mean()) < 0.1
    # The axes on which the languages agree come first.
    half = WIDTH // 2
    best = unit(a[:, :half]) @ unit(b[:, :half]).T
    rest = unit(a[:, half:]) @ unit(b[:, half:]).T
    assert clear.right(best) > clear.right(rest)


def test_cooccurrence_is_compared_only_by_known_pairs() -> None:
    """Words 2 and 3 keep the company of 0 and 1; in the second language both are the other way round."""
    first = torch.tensor([[0.0, 0, 9], [0, 0, 9], [5, 0, 1], [0, 5, 2]])
    second = torch.tensor([[0.0, 0, 3], [0, 0, 3], [0, 5, 8], [5, 0, 8]])

    def nearest(pairs: tuple[list[int], list[int]]) -> list[int]:
        rows, columns = (torch.tensor(side) for side in pairs)
        found = company_similarity([first], [second], (rows, columns), None)
        return found[2:, 2:].argmax(1).tolist()

    assert nearest(([0, 1], [0, 1])) == [1, 0]
    assert nearest(([0, 1], [1, 0])) == [0, 1]
    # Word 3 is no context, since the tables have three.
    assert nearest(([0, 1, 3], [0, 1, 3])) == [1, 0]


def test_words_of_different_frequency_are_less_similar() -> None:
    """A word 2.7 times as frequent as another costs a tenth, whichever of both is rarer."""
    first, second = torch.tensor([0.01, 0.02]), torch.tensor([0.01, 0.01 * math.e])
    found = frequency_similarity(first, second)
    assert found[0].tolist() == pytest.approx([0, -0.1])
    assert found[1].tolist() == pytest.approx(
        [-0.1 * math.log(2) ** 2, -0.1 * (1 - math.log(2)) ** 2]
    )
    assert torch.equal(found, frequency_similarity(second, first).T)


def test_frequency_decides_between_words_with_the_same_cooccurrences(
    clear: Languages,
) -> None:
    """Each meaning has a twin, of nearly the same use and another frequency, which use confuses."""
    twins = torch.arange(WORDS) // 2
    draw = torch.Generator().manual_seed(4)
    spaces = []
    for _ in range(2):
        vectors = clear.first.vectors[twins]
        vectors = unit(vectors + 0.05 * torch.randn(WORDS, WIDTH, generator=draw))
        table = clear.first.information[0][twins][:, twins]
        noise = torch.rand(WORDS, WORDS, generator=draw)
        spaces.append(WordSpace(vectors, [table + noise]))
    rates = torch.where(torch.arange(WORDS) % 2 == 0, 0.01, 0.001)
    anchors = (torch.arange(ANCHORS), torch.arange(ANCHORS))

    def right(prior: Tensor) -> int:
        odd, even = vote(spaces[0], spaces[1], anchors, prior)
        return sum(i == j for i, j in mutual_nearest_pairs(odd + even))

    assert right(torch.zeros(WORDS, WORDS)) < 0.9 * WORDS
    assert right(frequency_similarity(rates, rates)) > 0.95 * WORDS
