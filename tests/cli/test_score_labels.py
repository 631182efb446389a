"""Labels are compared as text, and whatever makes that misleading is said: other spellings, no gold label, F1 of two labels or of many."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.metrics import score
from masscli.metrics.config import ScoreConfig
from tests.cli.test_score_forms import refused, scored
from tests.commands import succeed
from tests.toy_tasks import save


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def sides(gold: Sequence[str], predicted: Sequence[str]) -> list[object]:
    """The files `hyp` and `ref`, as arguments."""
    save(Path("ref"), gold)
    return [save(Path("hyp"), predicted), "--ref", Path("ref"), "-m"]


# -- numbers -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["accuracy", "f1", "mcc"])
def test_different_spellings_of_numbers_are_reported(
    metric: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found, err = scored(
        capsys, *sides(["0", "1", "1", "2"], ["0.0", "1.0", "1e0", "2"]), metric
    )
    assert err == [
        "warning: hyp: 3 of 4 labels are numbers that ref spells differently: '0.0' is '0' there, '1.0' is '1' there, '1e0' is '1' there"
    ]
    assert next(iter(found.values())) < 50  # a warning changes no number
    numbers = [str(number) for number in range(6)]
    _, err = scored(capsys, *sides(numbers, [f"{n}.0" for n in numbers]), metric)
    assert err[0].endswith("'2.0' is '2' there, '3.0' is '3' there and 2 more")
    _, err = scored(capsys, *sides(["0.0", "1.0"], ["1", "0"]), metric)
    assert err == [
        "warning: hyp: 2 of 2 labels are numbers that ref spells differently: '0' is '0.0' there, '1' is '1.0' there"
    ]
    assert (
        scored(capsys, *sides(["0", "1", "nan", "x"], ["1", "0", "NaN", "x"]), metric)[
            1
        ]
        == []
    )


def test_correlations_do_not_depend_on_the_spelling_of_numbers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert scored(
        capsys, *sides(["0", "1", "2"], ["0.0", "1.0", "2.0"]), "pearson"
    ) == (
        {"Pearson": pytest.approx(100)},
        [],
    )


def test_labels_without_overlap_and_whole_columns_are_reported(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert (
        "warning: hyp: has no label in common with ref: 'no', 'yes' against 'neg', 'pos'"
        in (scored(capsys, *sides(["pos", "neg"], ["yes", "no"]), "accuracy,f1")[1])
    )
    none = scored(capsys, *sides(["pos", "neg"], ["", ""]), "accuracy")[1]
    assert (
        "warning: hyp: has no label in common with ref: none against 'neg', 'pos'"
        in none
    )
    many = scored(capsys, *sides(list("fghijk"), list("abcdea")), "accuracy")[1]
    assert many == [
        "warning: hyp: has no label in common with ref: 'a', 'b', 'c', 'd' and 1 more against 'f', 'g', 'h', 'i' and 2 more"
    ]
    _, err = scored(capsys, *sides(["w\tX", "v\tY"], ["w\tX", "v\tX"]), "accuracy")
    assert err == [
        f"warning: {name}: its labels contain tabs; are these columns? see --column, --hyp-column and --ref-format"
        for name in ("hyp", "ref")
    ]
    assert scored(
        capsys, *sides(["A", "b"], ["a", "B"]), "accuracy", "--lowercase"
    ) == (
        {"accuracy": 100},
        [],
    )


# -- no gold label -------------------------------------------------------------------------------------------------------------------------

NLI = ["entailment", "-", "neutral", "contradiction", "-"]
TOLD = ["entailment", "neutral", "neutral", "neutral", "entailment"]


def test_examples_without_a_gold_label_are_left_out_and_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three of five examples have a gold label, and two of these are right."""
    found, err = scored(capsys, *sides(NLI, TOLD), "accuracy,f1,mcc")
    kept = [n for n, label in enumerate(NLI) if label != "-"]
    alone, _ = scored(
        capsys,
        *sides([NLI[n] for n in kept], [TOLD[n] for n in kept]),
        "accuracy,f1,mcc",
    )
    assert found == alone and found["accuracy"] == pytest.approx(200 / 3)
    assert "warning: ref: 2 of 5 examples have no gold label ('-'): left out" in err
    assert scored(capsys, *sides(NLI, TOLD), "accuracy", "--no-gold", "")[0] == {
        "accuracy": 40
    }


def test_a_dash_is_a_label_unless_the_data_use_it_for_no_label(
    capsys: pytest.CaptureFixture[str],
) -> None:
    signs = [label.replace("neutral", "+") for label in NLI]
    assert scored(capsys, *sides(signs, signs), "f1")[0] == {"F1": 100}
    assert not any(
        "gold" in line for line in scored(capsys, *sides(signs, TOLD), "accuracy")[1]
    )
    assert scored(capsys, *sides(signs, TOLD), "accuracy")[0] == {"accuracy": 20}
    found, err = scored(capsys, *sides(signs, TOLD), "accuracy", "--no-gold", "-")
    assert found == {"accuracy": pytest.approx(100 / 3)}
    assert "warning: ref: 2 of 5 examples have no gold label ('-'): left out" in err
    assert (
        "warning: ref: 0 of 5 examples have no gold label ('?'): left out"
        in scored(capsys, *sides(NLI, TOLD), "accuracy", "--no-gold", "?")[1]
    )
    assert not any(
        "gold" in line for line in scored(capsys, *sides(NLI, NLI), "chrf")[1]
    )


def test_the_signature_says_that_examples_are_left_out() -> None:
    for metric in ("accuracy", "f1", "mcc"):
        signatures = [
            score(
                ["a", "b"], [["a", "b"]], ScoreConfig(metric=(metric,), no_gold=mark)
            )[0].signature
            for mark in (None, "-")
        ]
        assert (
            "|nogold:-|" in signatures[1]
            and signatures[1].replace("|nogold:-", "") == signatures[0]
        )


def test_no_gold_is_refused_where_it_makes_no_sense(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert refused(
        capsys, *sides(["-", "-"], ["a", "b"]), "accuracy", "--no-gold", "-"
    ) == [
        "error: ref: no example has a gold label",
        "hint: all are '-'; is it the right column?",
    ]
    assert refused(capsys, *sides(NLI, TOLD), "accuracy", "--sentence-level") == [
        "error: --sentence-level: 2 of 5 examples have no gold label ('-')",
        "hint: take them out of both files",
    ]
    with pytest.raises(
        ConfigError, match="no_gold: goes with --metric accuracy, f1, mcc"
    ):
        ScoreConfig(metric=("pearson",), no_gold="-")


# -- what F1 is of -------------------------------------------------------------------------------------------------------------------------


def f1(gold: Sequence[str], predicted: Sequence[str], label: str) -> float:
    hits = sum(a == b == label for a, b in zip(gold, predicted, strict=True))
    return 200 * hits / (list(gold).count(label) + list(predicted).count(label))


def test_f1_reports_which_labels_it_measures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gold, predicted, other = list("01101"), list("01011"), list("01021")
    assert scored(capsys, *sides(gold, predicted), "f1") == (
        {"F1": pytest.approx(f1(gold, predicted, "1"))},
        [],
    )
    found, err = scored(capsys, *sides(gold, other), "f1")
    assert found == {
        "F1": pytest.approx((f1(gold, other, "0") + f1(gold, other, "1") + 0) / 3)
    }
    of_all = (
        "F1 is the mean over all 3 labels, not that of one; choose one with --positive"
    )
    assert err == [f"warning: hyp: has labels that ref lacks ('2'): {of_all}"]
    assert scored(capsys, *sides(other, gold), "f1")[1] == [
        f"warning: ref: has labels that hyp lacks ('2'): {of_all}"
    ]
    assert scored(capsys, *sides(gold, other), "f1", "--positive", "1") == (
        {"F1": pytest.approx(f1(gold, other, "1"))},
        [],
    )
    assert scored(capsys, *sides(["1", "1"], ["1", "1"]), "f1")[1][-1] == (
        "warning: hyp: '1' is the only label on both sides, and F1 is that of this label; choose another with --positive"
    )
    assert (
        scored(capsys, *sides(list("abc"), list("acb")), "f1")[1] == []
    )  # a task of three labels is one
    assert (
        scored(capsys, *sides(list("abcd"), list("acba")), "f1")[1] == []
    )  # one that is never predicted does not change what it is
    for rows, expected in (
        (predicted, "positive:1|labels:2"),
        (other, "average:macro|labels:3"),
    ):
        assert (
            f"nrefs:1|{expected}|version:"
            in score(rows, [gold], ScoreConfig(metric=("f1",)))[0].signature
        )


def test_a_missing_prediction_is_not_a_label(
    capsys: pytest.CaptureFixture[str],
) -> None:
    gold, predicted = list("0110"), ["0", "", "1", "0"]
    assert scored(capsys, *sides(gold, predicted), "f1")[0] == {
        "F1": pytest.approx(f1(gold, predicted, "1"))
    }
    gold, predicted = list("abcab"), ["a", "", "c", "b", "b"]
    assert scored(capsys, *sides(gold, predicted), "f1")[0] == {
        "F1": pytest.approx(sum(f1(gold, predicted, label) for label in "abc") / 3)
    }


def test_blank_lines_between_sentences_are_not_labels(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """F1 and Matthews of tagged words are those of the words in one row."""
    gold, predicted = (
        ["X", "Y", "", "X", "Z", "", "Y"],
        ["X", "Z", "", "Y", "Z", "", "Y"],
    )
    words = [[label for label in rows if label] for rows in (gold, predicted)]
    assert (
        scored(capsys, *sides(gold, predicted), "f1,mcc,accuracy")[0]
        == scored(capsys, *sides(*words), "f1,mcc,accuracy")[0]
    )


@pytest.mark.parametrize("positive", ["", "c"])
def test_every_bootstrap_sample_measures_the_same_label(positive: str) -> None:
    """The label `c` is rare, so many samples lack it. Macro F1 of a perfect copy is still 100 in every sample."""
    rows = ["a"] * 8 + ["b"] * 8 + ["c"]
    options = ScoreConfig(
        metric=("f1",), confidence=True, bootstrap=100, positive=positive
    )
    (found,) = score(rows, [rows], options)
    assert found.value == 100
    (bad,) = score(["a"] * 16 + ["c"], [rows], options)
    assert bad.mean is not None
    if positive:  # right where it is drawn, with a chance of about 0.64
        assert bad.value == 100 and 50 < bad.mean < 80
    else:  # F1 of a is about 2/3, that of b is 0: 5/9 with c, 1/3 without, and never that of b alone
        assert bad.value == pytest.approx(500 / 9) and 42 < bad.mean < 53


@pytest.mark.parametrize("metric", ["accuracy", "f1", "mcc"])
def test_case_is_ignored_on_request(metric: str) -> None:
    """The signature also says so."""
    gold, predicted = ["Yes", "no", "yes", "No"], ["yes", "no", "no", "No"]
    low = [[label.lower() for label in rows] for rows in (predicted, gold)]
    (found,) = score(
        predicted,
        [gold],
        ScoreConfig(
            metric=(metric,), lowercase=True, positive="YES" if metric == "f1" else ""
        ),
    )
    assert (
        found.value == score(low[0], [low[1]], ScoreConfig(metric=(metric,)))[0].value
    )
    assert (
        found.value != score(predicted, [gold], ScoreConfig(metric=(metric,)))[0].value
    )
    assert "|case:lc|" in found.signature


def test_positive_must_be_a_label() -> None:
    with pytest.raises(MasscliError, match="--positive z: no line has this label"):
        score(["a"], [["b"]], ScoreConfig(metric=("f1",), positive="z"))


def test_a_metric_for_another_kind_of_task_causes_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = save(tmp_path / "labels", ["yes", "no"] * 20)
    text = save(tmp_path / "text", [f"word{n}" for n in range(40)])
    tagged = save(tmp_path / "x.conll", ["a\tB-X", "b\tO"])
    parts = save(tmp_path / "y.conll", ["a\tNOUN", "b\tDET"])
    few = "the same few words, one a line; labels are for --metric accuracy or f1"
    tags = "no label begins or continues an entity (B-, I-); such labels are for --metric accuracy or f1"
    for path, metric, expected in ((labels, "bleu", few), (text, "bleu", ""), (labels, "accuracy", ""),
                                   (parts, "entity-f1", tags), (tagged, "entity-f1", ""), (parts, "accuracy", "")):  # fmt: skip
        capsys.readouterr()
        succeed(["score", str(path), "--ref", str(path), "--metric", metric])
        err = capsys.readouterr().err
        assert (
            f"warning: {path}: {few}" in err,
            f"warning: {path}: {tags}" in err,
        ) == (
            expected == few,
            expected == tags,
        )
