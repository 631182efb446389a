"""Scores and tokens of 1,000 random inputs each, as other people's libraries compute them."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from masscli.metrics import label_measures
from masscli.metrics.config import ScoreConfig
from masscli.metrics.entities import entity_f1
from masscli.metrics.scoring import score
from masscli.reporting.score_log import student_t_p_value
from masscli.text.wordpiece import WordPieceModel

pytestmark = pytest.mark.peer
CASES = 1000
WORDS = [
    "the",
    "a",
    "an",
    "cat",
    "cats",
    "sat",
    "running",
    "ran",
    "mat",
    "on",
    "of",
    "in",
    "he's",
    "don't",
    "3,000.50",
    "U.S.",
    "“quoted”",
    "—",
    "state-of-the-art",
    "ΑΒΓ",
    "straße",
    "İstanbul",
    "naïve",
    "éte",
    "東京",
    "東",
    "京",
    "привет",
    "؟",
    "...",
    "!?",
    "$5",
    "50%",
    "A.",
    "b)",
    "_x_",
    "@-@",
    "&amp;",
    "news",
    "relational",
    "generalization",
    "dying",
    "skies",
]
ASCII_WORDS = [word for word in WORDS if word.isascii()]


def cases(name: str) -> Iterator[random.Random]:
    """Yield a source of chance for each case."""
    for number in range(CASES):
        yield random.Random(f"{name} {number}")


def line(draw: random.Random, most: int = 12, words: Sequence[str] = WORDS) -> str:
    return " ".join(draw.choices(words, k=draw.randint(0, most)))


def similar(draw: random.Random, text: str, words: Sequence[str] = WORDS) -> str:
    """Return a text with some words of another one, in another order."""
    words = [word for word in text.split() if draw.random() < 0.8] + line(
        draw, 3, words
    ).split()
    if draw.random() < 0.3:
        draw.shuffle(words)
    return " ".join(words)


@pytest.mark.parametrize("metric", ["bleu", "chrf", "chrf++", "ter"])
def test_sacrebleu(metric: str) -> None:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    for draw in cases(metric):
        references = [[line(draw) for _ in range(draw.randint(1, 5))]]
        hypotheses = [similar(draw, reference) for reference in references[0]]
        for _ in range(draw.randint(0, 2)):
            references.append([similar(draw, reference) for reference in references[0]])
        lowercase = draw.random() < 0.5
        tokenize = draw.choice(["13a", "intl", "char", "none"])
        peer = {"bleu": BLEU(lowercase=lowercase, tokenize=tokenize), "chrf": CHRF(lowercase=lowercase),
                "chrf++": CHRF(lowercase=lowercase, word_order=2), "ter": TER(case_sensitive=not lowercase)}[metric]  # fmt: skip
        # The options of one metric are refused for another.
        options = ScoreConfig(metric=(metric,), lowercase=lowercase)
        if metric == "bleu":
            options = ScoreConfig(
                metric=(metric,), lowercase=lowercase, tokenize=tokenize
            )  # type: ignore[arg-type]
        (found,) = score(hypotheses, references, options)
        assert found.value == pytest.approx(
            peer.corpus_score(hypotheses, references).score, abs=1e-9
        )


@pytest.mark.parametrize("stem", [False, True])
def test_rouge_score(stem: bool) -> None:
    scorers = pytest.importorskip("rouge_score.rouge_scorer")
    peer = scorers.RougeScorer(
        ["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=stem
    )
    options = ScoreConfig(
        metric=("rouge-1", "rouge-2", "rouge-l", "rouge-lsum"), stem=stem
    )
    for draw in cases("rouge"):
        # Their words are those of ASCII, and ours those of every alphabet.
        sentences = [line(draw, 8, ASCII_WORDS) for _ in range(draw.randint(1, 4))]
        others = [similar(draw, sentence, ASCII_WORDS) for sentence in sentences]
        reference, hypothesis = "\n".join(sentences), "\n".join(others)
        expected = peer.score(reference, hypothesis)
        actual = score(
            [hypothesis.replace("\n", "<q>")],
            [[reference.replace("\n", "<q>")]],
            options,
        )
        for ours, theirs in zip(actual, expected.values(), strict=True):
            assert ours.value == pytest.approx(100 * theirs.fmeasure, abs=1e-9), (
                ours.name,
                reference,
                hypothesis,
            )


@pytest.mark.parametrize("prefixes", ["BIO", "BIOES"])
def test_seqeval(prefixes: str) -> None:
    measures = pytest.importorskip("seqeval.metrics")
    tags = [
        "O",
        *(
            f"{prefix}-{kind}"
            for prefix in prefixes
            if prefix != "O"
            for kind in ("PER", "LOC", "X-Y")
        ),
    ]
    for draw in cases(prefixes):
        gold = [
            draw.choices(tags, k=draw.randint(1, 10)) for _ in range(draw.randint(1, 4))
        ]
        predicted = [
            [tag if draw.random() < 0.7 else draw.choice(tags) for tag in sentence]
            for sentence in gold
        ]
        expected = measures.f1_score(gold, predicted, zero_division=0)
        assert entity_f1(gold, predicted) == pytest.approx(expected, abs=1e-12), (
            gold,
            predicted,
        )


def labels(draw: random.Random, names: Sequence[str]) -> tuple[list[str], list[str]]:
    gold = draw.choices(names, k=draw.randint(1, 30))
    return gold, [
        label if draw.random() < 0.6 else draw.choice(names) for label in gold
    ]


@pytest.mark.filterwarnings("ignore")
def test_scikit_learn() -> None:
    measures = pytest.importorskip("sklearn.metrics")
    for draw in cases("labels"):
        gold, predicted = labels(
            draw, ["yes", "no", "maybe", "é"][: draw.randint(2, 4)]
        )
        assert label_measures.accuracy(gold, predicted) == pytest.approx(
            measures.accuracy_score(gold, predicted)
        )
        expected = measures.f1_score(gold, predicted, average="macro", zero_division=0)
        assert label_measures.macro_f1(gold, predicted) == pytest.approx(expected)
        expected = measures.f1_score(
            gold, predicted, labels=["yes"], average="macro", zero_division=0
        )
        assert label_measures.f1(gold, predicted, "yes") == pytest.approx(expected)
        expected = measures.matthews_corrcoef(gold, predicted)
        assert label_measures.matthews(gold, predicted) == pytest.approx(
            expected, abs=1e-12
        )


@pytest.mark.filterwarnings("ignore")
def test_scipy_correlations() -> None:
    stats = pytest.importorskip("scipy.stats")
    for draw in cases("numbers"):
        size = draw.randint(2, 40)
        # Few values give ties; large ones with small differences lose digits.
        values = [
            draw.choice((0.0, 1.0, 2.5, -3.0))
            if draw.random() < 0.5
            else draw.gauss(0, 1)
            for _ in range(size)
        ]
        other = [
            value + draw.gauss(0, 1) if draw.random() < 0.8 else draw.choice(values)
            for value in values
        ]
        assert label_measures.ranks(values) == stats.rankdata(values).tolist()
        for ours, theirs in (
            (label_measures.pearson, stats.pearsonr),
            (label_measures.spearman, stats.spearmanr),
        ):
            expected = theirs(values, other)[0]
            # A constant has no correlation, which is 0 here.
            expected = 0.0 if math.isnan(expected) else expected
            assert ours(values, other) == pytest.approx(expected, abs=1e-9)


def test_scipy_t_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    for draw in cases("t-test"):
        first = [draw.gauss(20, 2) for _ in range(draw.randint(2, 25))]
        second = [value + draw.gauss(draw.choice((0, 0.5, 3)), 1) for value in first]
        differences = [one - other for one, other in zip(first, second, strict=True)]
        t = statistics.fmean(differences) / (
            statistics.stdev(differences) / math.sqrt(len(differences))
        )
        expected = stats.ttest_rel(first, second).pvalue
        assert student_t_p_value(t, len(first) - 1) == pytest.approx(
            expected, abs=1e-12
        )


@pytest.mark.parametrize("lowercase", [True, False])
def test_transformers_wordpiece(lowercase: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    letters = sorted(set("".join(WORDS).lower() + "".join(WORDS)))
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters[::2]), "cat", "##s", "run",
              "##ning", "the", "strasse", "##ra"]  # fmt: skip
    text = "".join(f"{piece}\n" for piece in dict.fromkeys(pieces))
    (tmp_path / "vocab.txt").write_text(text, encoding="utf-8")
    peer = transformers.BertTokenizer(
        str(tmp_path / "vocab.txt"), do_lower_case=lowercase
    )
    ours = WordPieceModel(text.encode(), keep_accents=not lowercase)
    extra = [
        "\t",
        "\u00a0",
        "\u200b",
        "\ufeff",
        "\u0301",
        "\u4e00x",
        "a\x00b",
        "\ufffd",
        "x" * 101,
        "¿",
        "№",
        "𝔘",
        "ﬁ",
        "Ⅻ",
        "·",
    ]
    for draw in cases("wordpiece"):
        words = line(draw).split() + draw.choices(extra, k=draw.randint(0, 3))
        draw.shuffle(words)
        text = draw.choice((" ", "", " ")).join(words)
        prepared = text.lower() if lowercase else text
        expected = peer.encode(text, add_special_tokens=False)
        assert ours.encode([prepared])[0] == expected, repr(text)
