"""Measures of labels, numbers and entities against their definitions, written out slowly, and published examples."""

from __future__ import annotations

import itertools
import math
import random
import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from masscli.__main__ import run as masscli
from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError
from masscli.metrics import entities, label_measures, score
from masscli.metrics.config import ScoreConfig
from masscli.metrics.corpus_metrics import F1, CorpusMetric, EntityF1
from masscli.metrics.perplexity import metric_text, perplexity
from tests.commands import succeed
from tests.oracles import chunks


def test_perplexity_is_the_exponential_of_the_mean() -> None:
    assert perplexity(3 * math.log(8), 3) == pytest.approx(8)
    # What is no number has none, and must not look like one.
    assert math.isnan(perplexity(math.nan, 3))
    assert perplexity(math.inf, 3) == math.inf
    assert perplexity(229, 1) == pytest.approx(math.exp(229))
    # Very large ones are equal, as logs of scores and the best checkpoint need finite numbers.
    assert perplexity(701, 1) == perplexity(1e9, 3) == 1e100


def test_a_perplexity_without_meaning_is_shown_as_infinite() -> None:
    assert metric_text(perplexity(701, 1), ".4g") == "inf"
    assert metric_text(perplexity(100, 1), ".2f") == "2.688e+43"
    assert metric_text(perplexity(2, 1), ".2f") == "7.39"
    assert metric_text(math.nan, ".2f") == "nan"


def slow_matthews(gold: list[int], predicted: list[int]) -> float:
    """The formula of the four counts."""
    count = {
        pair: sum((g, p) == pair for g, p in zip(gold, predicted, strict=True))
        for pair in itertools.product((0, 1), (0, 1))
    }
    tn, fp, fn, tp = count[0, 0], count[0, 1], count[1, 0], count[1, 1]
    below = math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return (tp * tn - fp * fn) / below if below else 0.0


@pytest.mark.parametrize("seed", range(6))
def test_two_labels(seed: int) -> None:
    draw = random.Random(seed)
    gold, predicted = ([draw.randint(0, 1) for _ in range(17)] for _ in range(2))
    a, b = [str(x) for x in gold], [str(x) for x in predicted]
    assert label_measures.matthews(a, b) == pytest.approx(
        slow_matthews(gold, predicted)
    )
    assert (
        label_measures.accuracy(a, b)
        == sum(x == y for x, y in zip(gold, predicted, strict=True)) / 17
    )
    precision = sum(x == y == 1 for x, y in zip(gold, predicted, strict=True)) / max(
        1, sum(predicted)
    )
    recall = sum(x == y == 1 for x, y in zip(gold, predicted, strict=True)) / max(
        1, sum(gold)
    )
    assert label_measures.f1(a, b, "1") == pytest.approx(
        2 * precision * recall / (precision + recall) if precision + recall else 0.0
    )
    assert label_measures.pearson(
        [float(x) for x in gold], [float(x) for x in predicted]
    ) == pytest.approx(slow_matthews(gold, predicted))


def test_a_constant_prediction_has_no_correlation() -> None:
    assert label_measures.matthews(["0", "1", "1"], ["1", "1", "1"]) == 0
    assert label_measures.pearson([1.0, 2.0], [3.0, 3.0]) == 0
    # The mean of these numbers is not quite 0.7.
    assert label_measures.pearson([0.7, 0.7, 0.7], [0.7, 0.7, 0.7]) == 0


@pytest.mark.parametrize("scale", [1e-200, 0.1, 1e200, 1.7e308])
def test_a_correlation_does_not_depend_on_the_scale(scale: float) -> None:
    gold, predicted = [-1.0, 0.25, 0.5, 0.75], [0.5, 0.25, 1.0, 0.75]
    expected = label_measures.pearson(gold, predicted)
    assert label_measures.pearson(
        [scale * value for value in gold], predicted
    ) == pytest.approx(expected)
    assert label_measures.pearson(gold, gold) <= 1


@pytest.mark.parametrize("size", range(2, 40))
def test_perfect_agreement_is_not_above_1(size: int) -> None:
    labels = [str(number % 3) for number in range(size)]
    assert 1 - 1e-12 <= label_measures.matthews(labels, labels) <= 1


def test_sentences_stay_apart_in_resampling() -> None:
    """The last sentence has no blank line, which must not join it to the sentence drawn after it."""
    metric = EntityF1()
    first, last = metric.resampling_units(["I-X", "", "I-X"], ["I-X", "", "O"])
    assert metric.compute(last[0] + first[0], last[1] + first[1]) == pytest.approx(
        2 / 3
    )


def test_matthews_of_three_labels_is_that_of_gorodkin() -> None:
    """The reference is Gorodkin's R_K, computed from covariances of indicator columns."""
    gold, predicted = list("aabbccab"), list("abbbcaab")
    names = "abc"
    x = [[float(g == n) for n in names] for g in predicted]
    y = [[float(g == n) for n in names] for g in gold]

    def cov(u: list[list[float]], v: list[list[float]]) -> float:
        mu, mv = (
            [sum(column) / len(u) for column in zip(*w, strict=True)] for w in (u, v)
        )
        return sum(
            (a - p) * (b - q)
            for r, s in zip(u, v, strict=True)
            for a, p, b, q in zip(r, mu, s, mv, strict=True)
        )

    assert label_measures.matthews(gold, predicted) == pytest.approx(
        cov(x, y) / math.sqrt(cov(x, x) * cov(y, y))
    )


def test_equal_values_share_their_rank() -> None:
    assert label_measures.ranks([10, 20, 20, 5]) == [2, 3.5, 3.5, 1]
    assert label_measures.spearman([1, 2, 3, 4], [1, 4, 9, 16]) == pytest.approx(1)
    assert len(label_measures.ranks([1.0, float("nan"), 2.0])) == 3  # comes to an end
    assert label_measures.spearman([1, 2, 3, 4], [4, 3, 2, 1]) == pytest.approx(-1)


def test_macro_f1_is_the_mean_over_labels() -> None:
    assert label_measures.macro_f1(list("aab"), list("abb")) == pytest.approx(
        (2 / 3 + 2 / 3) / 2
    )


def test_labels_that_never_occur_have_no_f1() -> None:
    """conlleval and seqeval do the same."""
    assert entities.entity_f1([["O", "O"], []], [["O", "O"], []]) == 0
    assert entities.entity_f1([["O"]], [["B-X"]]) == 0


def test_entities_are_exact_spans() -> None:
    assert entities.entity_spans(["B-X", "I-X", "O", "B-Y", "B-Y", "I-X", "O"]) == [
        (0, 2, "X"),
        (3, 4, "Y"),
        (4, 5, "Y"),
        (5, 6, "X"),
    ]
    assert entities.entity_spans(["I-X", "I-X", "I-Y"]) == [(0, 2, "X"), (2, 3, "Y")], (
        "an I- without its B- starts an entity, as in conlleval"
    )
    assert entities.entity_spans(["O", "O"]) == []
    assert entities.entity_spans(["B-X", "I-X", "L-X", "U-X", "O", "U-Y"]) == [
        (0, 3, "X"),
        (3, 4, "X"),
        (5, 6, "Y"),
    ], "BILOU"
    assert entities.entity_spans(["B-X", "M-X", "E-X", "S-X", "O", "W-Y", "M-Y"]) == [
        (0, 3, "X"),
        (3, 4, "X"),
        (5, 6, "Y"),
        (6, 7, "Y"),
    ], "BMES and BMEWO"
    assert entities.entity_spans(["B", "I", "O", "B", "S", "I-X"]) == [
        (0, 2, ""),
        (3, 4, ""),
        (4, 5, ""),
        (5, 6, "X"),
    ], "without types"


@pytest.mark.parametrize("marks", ["BI", "BIES"])
@pytest.mark.parametrize("seed", range(5))
def test_entities_are_those_of_conlleval(seed: int, marks: str) -> None:
    """Tags are random: an I- without its B- starts an entity, and another type ends one."""
    draw = random.Random(seed)
    tags = ["O", *(f"{mark}-{kind}" for mark in marks for kind in ("X", "Y"))]
    gold = [draw.choices(tags, k=draw.randint(0, 9)) for _ in range(60)]
    found = [
        [draw.choice(tags) if draw.random() < 0.3 else tag for tag in sentence]
        for sentence in gold
    ]
    for sentence in (*gold, *found):
        assert entities.entity_spans(sentence) == chunks(sentence)
    right = sum(
        len(set(chunks(a)) & set(chunks(b))) for a, b in zip(gold, found, strict=True)
    )
    precision, recall = (
        right / sum(len(chunks(b)) for b in found),
        right / sum(len(chunks(a)) for a in gold),
    )
    assert entities.entity_f1(gold, found) == pytest.approx(
        2 * precision * recall / (precision + recall)
    )
    assert 0.2 < entities.entity_f1(gold, found) < 0.95


def test_conllevals_own_example() -> None:
    """One right of two found and three wanted: precision 1/2, recall 1/3, F1 0.4."""
    gold = [["B-NP", "I-NP", "O", "B-VP"], ["B-NP"]]
    found = [["B-NP", "I-NP", "O", "O"], ["B-VP"]]
    assert entities.entity_f1(gold, found) == pytest.approx(0.4)


def test_score_reads_a_column_of_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gold.tsv").write_text(
        'label\tsentence\n1\tone "two\n0\tb\n1\tc\n0\td\n', encoding="utf-8"
    )
    (tmp_path / "told").write_text("1\n1\n0\n0\n", encoding="utf-8")
    command = f"score {tmp_path}/told --ref {tmp_path}/gold.tsv --column".split()
    succeed([*command, "label", "--metric", "accuracy,f1,mcc,pearson,spearman"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("nrefs")[0].split() for line in lines] == [
        ["accuracy", "=", "50.00"], ["F1", "=", "50.00"], ["Matthews", "=", "0.00"], ["Pearson", "=", "0.00"], ["Spearman", "=", "0.00"],
    ]  # fmt: skip
    assert "positive:1" in lines[1]
    with pytest.raises(MasscliError) as caught:
        dispatch([*command, "lable"])
    assert (caught.value.message, caught.value.hint) == (
        f"{tmp_path / 'gold.tsv'}: has no column 'lable'",
        "it has label, sentence",
    )
    with pytest.raises(MasscliError) as caught:
        dispatch([*command, "sentence", "--metric", "pearson"])
    assert (
        caught.value.message
        == f"{tmp_path / 'gold.tsv'}: example 1 is not a number: 'one \"two'"
    )
    with pytest.raises(MasscliError) as caught:
        dispatch([*command, "label", "--metric", "f1", "--sentence-level"])
    assert caught.value.message == "F1: is defined for a whole corpus, not for a line"


def test_score_of_tagged_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gold").write_text("a\tB-X\nb\tI-X\n\nc\tB-Y\n", encoding="utf-8")
    (tmp_path / "told").write_text("a\tB-X\nb\tI-X\n\nc\tO\n\n", encoding="utf-8")
    succeed(f"score {tmp_path}/told --ref {tmp_path}/gold --metric entity-f1")
    assert capsys.readouterr().out.startswith(
        "entity F1 = 66.67  nrefs:1|spans:exact|tags:bio|average:micro|"
    )


def test_comments_and_blank_lines_of_column_files_are_not_scored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The reference has the form of CoNLL-2003; the predictions have only words."""
    gold = "-DOCSTART- -X- -X- O\n\nEU NNP I-NP B-ORG\n# # I-NP O\nrejects VBZ I-VP O\n\n\n# # I-NP B-MISC\n"
    (tmp_path / "gold").write_text(gold, encoding="utf-8")
    (tmp_path / "told").write_text(
        "EU\tB-ORG\n#\tO\nrejects\tO\n\n#\tO\n\n", encoding="utf-8"
    )
    succeed(f"score {tmp_path}/told --ref {tmp_path}/gold --metric entity-f1")
    assert capsys.readouterr().out.startswith("entity F1 = 66.67  ")


def test_blank_lines_between_sentences_are_not_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns with three words, one of them wrong, in two sentences: 2 of 3, not 3 of 4, and no word of empty predictions."""
    gold, found = tmp_path / "gold.conll", tmp_path / "found.conll"
    gold.write_text("a\tB-X\nb\tO\n\nc\tO\n", encoding="utf-8")
    found.write_text("a\tB-X\nb\tB-X\n\nc\tO\n", encoding="utf-8")
    succeed(["score", str(found), "--ref", str(gold), "--metric", "entity-f1,accuracy"])
    out, err = capsys.readouterr()
    assert re.search(r"^accuracy +=  *66\.67 ", out, re.MULTILINE) and err == ""
    predicted = tmp_path / "labels.txt"
    predicted.write_text("1\n", encoding="utf-8")
    (tmp_path / "gold").write_text("label\tsentence\n1\ta film\n", encoding="utf-8")
    assert (
        masscli(f"score {predicted} --ref {tmp_path}/gold --metric accuracy".split())
        == 2
    )
    assert capsys.readouterr().err.endswith(
        "hint: is that a table with a header? name its column: --column label\n"
    )
    assert (
        masscli(["score", "nowhere", "--ref", str(predicted), "--metric", "entity"])
        == 2
    )
    assert "entity" in capsys.readouterr().err.splitlines()[0]


@pytest.mark.parametrize("metric", ["pearson", "spearman"])
def test_values_that_are_not_finite_have_no_correlation(
    metric: str, tmp_path: Path
) -> None:
    for name, lines in (("ref", "1\n2\n3\n"), ("hyp", "0.5\nnan\n2\n")):
        (tmp_path / name).write_text(lines, encoding="utf-8")
    with pytest.raises(
        MasscliError,
        match=f"^{tmp_path / 'hyp'}: example 2 is not a number: 'nan'$",
    ):
        dispatch(
            [*f"score {tmp_path}/hyp --ref {tmp_path}/ref --metric".split(), metric]
        )


class MeanOfNumbers(CorpusMetric):
    """The mean of the gold numbers, whose distribution over samples is known."""

    title = "mean"

    def compute(self, gold: Sequence[str], predicted: Sequence[str]) -> float:
        return sum(map(float, gold)) / len(gold)

    def signature_fields(self) -> dict[str, str]:
        return {}


def test_the_interval_of_a_mean_is_that_of_the_central_limit_theorem() -> None:
    draw = random.Random(5)
    numbers = [draw.gauss(0.5, 1.0) for _ in range(30)]
    lines = list(map(str, numbers))
    metric = MeanOfNumbers.from_options(ScoreConfig())
    found = metric.corpus_score(lines, [lines], n_bootstrap=8000)
    assert found.score == pytest.approx(100 * statistics.fmean(numbers))
    error = 100 * statistics.pstdev(numbers) / 30**0.5
    assert found._mean == pytest.approx(found.score, abs=0.1 * error)
    assert found._ci == pytest.approx(1.96 * error, rel=0.02)
    # The samples are those that sacreBLEU draws by default.
    draws = np.random.default_rng(12345).integers(0, 30, (8000, 30))
    assert found._mean == pytest.approx(100 * np.array(numbers)[draws].mean())
    for plain in (metric, F1.from_options(ScoreConfig())):
        assert plain.corpus_score(lines, [lines])._ci == -1, "nothing was resampled"


@pytest.mark.parametrize("told", ["yes", "no"])
def test_one_line_is_all_right_or_all_wrong(told: str) -> None:
    options = ScoreConfig(metric=("accuracy", "f1"), positive="yes")
    for found in score([told], [["yes"]], options):
        assert found.value == (100 if told == "yes" else 0)
        assert "nogold" not in found.signature
    # The command has left out the lines with this mark, and the signature says so.
    options = ScoreConfig(metric=("accuracy",), no_gold="-")
    [found] = score([told], [["yes"]], options)
    assert "nogold:-|" in found.signature


@pytest.mark.parametrize("metric", ["accuracy", "f1"])
def test_case_counts_unless_the_user_says_otherwise(metric: str) -> None:
    for lowercase in (False, True):
        options = ScoreConfig(metric=(metric,), lowercase=lowercase)
        [found] = score(["Yes", "no"], [["yes", "NO"]], options)
        assert found.value == (100 if lowercase else 0)
        assert ("case:lc" in found.signature) is lowercase
