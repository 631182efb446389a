"""--mbr: chrF against sacreBLEU, and the choice against all sums by hand."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from sacrebleu.metrics.chrf import CHRF

from masscli.core.config import ConfigError
from masscli.generation.config import GenerationConfig
from masscli.generation.minimum_risk import chrf_matrix, rank_by_utility


def random_texts(count: int, seed: int) -> list[str]:
    draw = random.Random(seed)
    words = [
        "ein",
        "Hund",
        "läuft",
        "über",
        "die",
        "grüne",
        "Wiese",
        "a",
        "🙂",
        ".",
        ",",
    ]
    texts = [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(count)]
    return [*texts, "", "x", texts[0]]


def test_likeness_is_sentence_chrf_of_sacrebleu() -> None:
    texts = random_texts(12, 1)
    chrf = CHRF()
    matrix = chrf_matrix(texts)
    for row, hypothesis in enumerate(texts):
        for column, reference in enumerate(texts):
            expected = chrf.sentence_score(hypothesis, [reference]).score
            assert matrix[row, column] == pytest.approx(expected, abs=1e-9), (
                hypothesis,
                reference,
            )


@pytest.mark.parametrize("seed", range(5))
def test_the_best_text_is_the_one_that_is_most_like_all(seed: int) -> None:
    texts = random_texts(8, seed)
    chrf = CHRF()
    utilities = [
        sum(chrf.sentence_score(text, [other]).score for other in texts)
        for text in texts
    ]
    ranking = rank_by_utility(texts)
    assert sorted(ranking) == list(range(len(texts)))
    assert utilities[ranking[0]] == pytest.approx(max(utilities))
    ranked = [utilities[number] for number in ranking]
    assert all(better >= worse - 1e-6 for better, worse in pairwise(ranked))


def test_an_outlier_loses_and_the_first_of_equals_wins() -> None:
    assert (
        rank_by_utility(["the dog runs", "zzz", "the dog ran", "the dog runs"])[0] == 0
    )
    assert rank_by_utility(["same", "same"]) == [0, 1]
    assert rank_by_utility(["", ""]) == [0, 1]


def test_one_output_leaves_no_choice() -> None:
    with pytest.raises(ConfigError, match="needs several outputs to choose from"):
        GenerationConfig(beam=1, mbr=True)
