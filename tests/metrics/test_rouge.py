"""ROUGE beyond its plain form: stems, whole summaries (Lin 2004, section 3.2), words of any script."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from masscli.core.config import ConfigError
from masscli.metrics import score
from masscli.metrics.config import ScoreConfig
from masscli.metrics.rouge import (
    common_subsequence_length,
    common_subsequence_positions,
    rouge_words,
)
from tests.cli.test_score_forms import refused, scored
from tests.toy_tasks import save


def test_stems_are_compared_on_request() -> None:
    hypothesis, reference = (
        ["connected generalizations was"],
        [["connections generalization wa"]],
    )
    for stem, expected in (
        (False, 0),
        (True, 2 / 3),
    ):  # a word of three letters is left as it is
        options = ScoreConfig(metric=("rouge-1", "rouge-l", "rouge-lsum"), stem=stem)
        for found in score(hypothesis, reference, options):
            assert found.value == pytest.approx(100 * expected)
            assert f"|stem:{'nltk' if stem else 'no'}|" in found.signature
    for words_ in (("naïves",), ("naïve",)):
        assert score(
            list(words_), [["naïve"]], ScoreConfig(metric=("rouge-1",), stem=True)
        )[0].value == (100 if words_ == ("naïve",) else 0)
    for bad in ({"metric": ("bleu",)}, {"metric": ("rouge",), "lang": "de"}):
        with pytest.raises(
            ConfigError, match="stem: goes with --metric rouge and English text"
        ):
            ScoreConfig(stem=True, **bad)  # type: ignore[arg-type]


# -- whole summaries -----------------------------------------------------------------------------------------------------------------------


def lsum(hypothesis: str, reference: str, **options: str) -> float:
    return (
        score(
            [hypothesis], [[reference]], ScoreConfig(metric=("rouge-lsum",), **options)
        )[0].value
        / 100
    )  # type: ignore[arg-type]


def test_the_union_of_lins_example() -> None:
    """w1 w2 w3 w4 w5 against w1 w2 w6 w7 w8 and w1 w3 w8 w9 w5: w1 w2 w3 w5, a recall of 4/5; precision 4/10."""
    hypothesis = "w1 w2 w6 w7 w8<q>w1 w3 w8 w9 w5"
    assert lsum(hypothesis, "w1 w2 w3 w4 w5") == pytest.approx(
        2 * (4 / 5) * (4 / 10) / (4 / 5 + 4 / 10)
    )


def longest(a: Sequence[str], b: Sequence[str]) -> list[frozenset[int]]:
    """Every set of places in `a` whose words are a longest common subsequence with `b`."""
    for size in range(min(len(a), len(b)), -1, -1):
        theirs = {
            tuple(b[j] for j in at)
            for at in itertools.combinations(range(len(b)), size)
        }
        if found := [
            frozenset(at)
            for at in itertools.combinations(range(len(a)), size)
            if tuple(a[i] for i in at) in theirs
        ]:
            return found
    raise AssertionError("the empty one is common")


def unions(hypothesis: list[list[str]], reference: list[list[str]]) -> Iterator[float]:
    """F1 for every choice among longest common subsequences."""
    ours, theirs = (Counter(itertools.chain(*side)) for side in (hypothesis, reference))
    for choice in itertools.product(
        *(longest(r, h) for r in reference for h in hypothesis)
    ):
        hits: Counter[str] = Counter()
        for n, sentence in enumerate(reference):
            hits.update(
                sentence[at]
                for at in frozenset().union(
                    *choice[n * len(hypothesis) : (n + 1) * len(hypothesis)]
                )
            )
        shared = sum(min(hits[w], ours[w], theirs[w]) for w in hits)
        yield 2 * shared / (ours.total() + theirs.total()) if shared else 0.0


def test_rouge_lsum_is_its_definition() -> None:
    """Where the choice among longest common subsequences does not matter, that number; else one of those."""
    draw, clear = random.Random(5), 0
    for _ in range(150):
        hypothesis, reference = (
            [draw.choices("abcde", k=draw.randint(1, 4)) for _ in range(2)]
            for _ in range(2)
        )
        found = lsum(
            "<q>".join(map(" ".join, hypothesis)), "<q>".join(map(" ".join, reference))
        )
        possible = {round(value, 9) for value in unions(hypothesis, reference)}
        assert round(found, 9) in possible
        clear += len(possible) == 1
    assert clear > 50


def test_the_places_of_a_common_subsequence() -> None:
    draw = random.Random(6)
    for _ in range(100):
        a, b = (draw.choices("abc", k=draw.randint(0, 7)) for _ in range(2))
        assert frozenset(common_subsequence_positions(a, b)) in longest(a, b)
    assert common_subsequence_positions("ab", "ba") == {0}, (
        "of two that are as long, the one without the last word of the reference"
    )


def places_by_table(a: Sequence[str], b: Sequence[str]) -> set[int]:
    """The places in `a` by the whole table of lengths, as rouge-score and ROUGE-1.5.5 follow it back."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
        longer = max(table[i - 1][j], table[i][j - 1])
        table[i][j] = table[i - 1][j - 1] + 1 if a[i - 1] == b[j - 1] else longer
    i, j, places = len(a), len(b), set()
    while i and j:
        if a[i - 1] == b[j - 1]:
            i, j = i - 1, j - 1
            places.add(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places


def test_the_places_are_those_of_the_whole_table_without_its_memory() -> None:
    draw = random.Random(8)
    for _ in range(300):
        a, b = (draw.choices("abcdefgh", k=draw.randint(0, 90)) for _ in range(2))
        assert common_subsequence_positions(a, b) == places_by_table(a, b)
    long = [f"w{n}" for n in range(20_000)]
    # A table would have 400 million cells.
    assert len(common_subsequence_positions(long, long[::-1])) == 1


def test_sentences_without_order_and_a_repeated_one() -> None:
    assert lsum("c d<q>a b", "a b<q>c d") == 1, "the order of sentences does not matter"
    assert (
        score(["c d a b"], [["a b c d"]], ScoreConfig(metric=("rouge-l",)))[0].value
        == 50
    )
    assert lsum("a b", "a b<q>a b") == pytest.approx(2 * 1 * (2 / 4) / (1 + 2 / 4)), (
        "a word counts no more often than both have it"
    )
    assert lsum("<q>", "a") == 0 and lsum("", "") == 0


def test_one_sentence_is_rouge_l() -> None:
    draw = random.Random(7)
    hypotheses, references = (
        [" ".join(draw.choices("abcd", k=draw.randint(1, 9))) for _ in range(30)]
        for _ in range(2)
    )
    one, other = (
        score(hypotheses, [references], ScoreConfig(metric=(name,)))[0]
        for name in ("rouge-l", "rouge-lsum")
    )
    assert one.value == pytest.approx(other.value) and 20 < one.value < 80
    assert "|lcs:union|" in other.signature and "lcs" not in one.signature
    assert all(
        len(common_subsequence_positions(a.split(), b.split()))
        == common_subsequence_length(a.split(), b.split())
        for a in hypotheses
        for b in references
    )


def test_how_sentences_are_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is <q>, or the given one, or a line end in JSONL; no kind of ROUGE counts it as a word."""
    monkeypatch.chdir(tmp_path)
    hyp, ref = save(Path("hyp"), ["c d<q>a b"]), save(Path("ref"), ["a b<q>c d"])
    expected = {
        "ROUGE-Lsum": pytest.approx(100),
        "ROUGE-1": pytest.approx(100),
        "ROUGE-2": pytest.approx(200 / 3),
    }
    metrics = ["-m", "rouge-lsum,rouge-1,rouge-2"]
    assert scored(capsys, hyp, "--ref", ref, *metrics) == (expected, [])
    other = [
        save(Path(f"{path}.other"), [path.read_text().strip().replace("<q>", " \\n ")])
        for path in (hyp, ref)
    ]
    assert scored(
        capsys, other[0], "--ref", other[1], *metrics, "--summary-separator", "\\n"
    ) == (
        expected,
        [],
    )
    gold = save(Path("ref.jsonl"), [json.dumps({"summary": "a b\nc d"})])
    assert scored(capsys, hyp, "--ref", gold, "--column", "summary", *metrics) == (
        expected,
        [],
    )
    hypotheses = save(Path("hyp.jsonl"), [json.dumps({"summary": "c d\na b"})])
    assert scored(
        capsys,
        hypotheses,
        "--hyp-column",
        "summary",
        "--ref",
        gold,
        "--column",
        "summary",
        *metrics,
    ) == (expected, [])
    see = "so ROUGE-Lsum takes each for one sentence; see --summary-separator"
    bare = save(Path("bare"), ["c d a b"])
    assert scored(capsys, bare, "--ref", ref, *metrics)[1] == [
        f"warning: bare: no line contains '<q>', {see}"
    ]
    assert scored(capsys, hyp, "--ref", bare, *metrics)[1] == [
        f"warning: bare: no line contains '<q>', {see}"
    ]
    assert scored(capsys, *other[:1], "--ref", other[1], *metrics)[1] == [
        f"warning: hyp.other and ref.other: no line contains '<q>', {see}"
    ]
    assert scored(capsys, bare, "--ref", ref, "-m", "rouge")[1] == []
    assert refused(capsys, hyp, "--ref", ref, *metrics, "--summary-separator", " ") == [
        "error: --summary-separator: must not be blank",
        "hint: masscli score --help",
    ]


# -- words ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("The cat's U.S._flag, 3.5!", ["the", "cat", "s", "u", "s", "flag", "3", "5"]),
        ("हिन्दी में लिखा।", ["हिन्दी", "में", "लिखा"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("tiê\u0301ng Viê\u0323t", ["ti\u1ebfng", "vi\u1ec7t"]),
        ("e\u0301le\u0300ve", ["\u00e9l\u00e8ve"]),
        ("q\u0307x", ["q\u0307x"]),  # a letter that has no composed form
        ("I \u2764\ufe0f it", ["i", "it"]),  # a mark on what is no letter is no word
        ("\u0301a", ["a"]),
        ("İstanbul", ["i\u0307stanbul"]),
    ],
)
def test_marks_belong_to_their_words(line: str, expected: list[str]) -> None:
    assert rouge_words(line) == expected


def test_plain_text_has_the_words_it_had() -> None:
    """Without marks, words are runs of letters and digits of the lower-cased line."""
    draw = random.Random(8)
    for _ in range(200):
        line = "".join(draw.choices("abZ09 .,'_-<>\tßÄéñЖ中", k=30))
        assert rouge_words(line) == re.findall(r"[^\W_]+", line.lower())


def test_composed_and_decomposed_spellings_are_the_same_word() -> None:
    assert (
        score(["tiê\u0301ng"], [["ti\u1ebfng"]], ScoreConfig(metric=("rouge-1",)))[
            0
        ].value
        == 100
    )
    assert (
        score(["हिन्दी"], [["हिन्दु"]], ScoreConfig(metric=("rouge-1",)))[0].value == 0
    ), "vowel signs tell words apart"
