"""Windows, answers and scores of extractive question answering."""

from __future__ import annotations

import itertools
import math
import random
from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from masscli.data.batches import windows
from masscli.metrics import squad
from masscli.metrics.squad import Question, evaluate_squad, normalize_answer
from tests.commands import succeed
from tests.oracles import squad_means, squad_words

# -- windows -------------------------------------------------------------------------------------------------------------------------------


SHAPES = [
    (0, 10, 4),
    (1, 10, 4),
    (10, 10, 4),
    (11, 10, 4),
    (57, 10, 4),
    (400, 300, 128),
    (30, 5, 9),
]


@pytest.mark.parametrize(("length", "room", "stride"), SHAPES)
def test_windows_cover_every_token_and_one_has_the_most_context(
    length: int, room: int, stride: int
) -> None:
    found = windows.split_into_windows(length, room, stride)
    seen = [
        {n for n, (start, size) in enumerate(found) if start <= token < start + size}
        for token in range(length)
    ]
    assert all(seen)
    owner = windows.best_window_per_token(found, length)
    for token in range(length):
        assert owner[token] in seen[token]

        def context(n: int, token: int = token) -> float:
            start, size = found[n]
            return min(token - start, start + size - 1 - token) + 0.01 * size

        assert context(int(owner[token])) == max(context(n) for n in seen[token])
        assert owner[token] == min(
            n for n in seen[token] if context(n) == context(int(owner[token]))
        )


def test_how_many_windows_there_are() -> None:
    for length, room in itertools.product(
        (0, 1, 100, 128, 129, 300, 511, 1000), (128, 200, 317)
    ):
        assert len(windows.split_into_windows(length, room, 128)) == 1 + math.ceil(
            max(0, length - room) / 128
        )


# -- scores --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gold", "predicted", "exact", "f1"),
    [
        ("The Cat!", "cat", 1, 1),
        ("", "", 1, 1),
        ("", "x", 0, 0),
        ("x", "", 0, 0),
        ("the red house", "a red car", 0, 0.5),
        ("U.S.A.", "usa", 1, 1),
        ("an  apple\tpie", "Apple Pie", 1, 1),
        ("b b a", "b", 0, 2 / 3),
        ("cat\u00a0dog", "Cat dog", 1, 1),
        ("\u201ccat\u201d", "cat", 0, 0),  # only ASCII punctuation goes
        ("the", "", 1, 1),
        ("a", "an", 1, 1),
        ("a_b$c", "abc", 1, 1),
        ("2 - 3", "2 3", 1, 1),
        ("d b", "b d", 0, 1),
    ],
)
def test_normal_forms(gold: str, predicted: str, exact: float, f1: float) -> None:
    assert (squad.exact_match(gold, predicted), squad.f1(gold, predicted)) == (
        exact,
        pytest.approx(f1),
    )


def test_articles_are_words_of_their_own() -> None:
    assert (
        normalize_answer("Another theatre; an anthem of THE-man")
        == "another theatre anthem of theman"
    )


def test_without_a_shared_word_there_is_no_f1_in_version_1() -> None:
    assert (squad.f1("the", "a", v2=False), squad.f1("the", "a", v2=True)) == (0.0, 1.0)


def test_gold_answers_that_normalize_to_nothing_are_dropped_in_version_2() -> None:
    found = evaluate_squad(
        [Question("a", ("the", "dog")), Question("b", ("the",)), Question("c", ())],
        {"a": "", "b": "", "c": ""},
        v2=True,
    )
    assert found["exact"] == pytest.approx(200 / 3)
    assert (found["HasAns_total"], found["NoAns_total"], found["NoAns_exact"]) == (
        2,
        1,
        100,
    )


def test_always_predicting_no_answer_scores_the_share_of_unanswerable_questions() -> (
    None
):
    """SQuAD 2.0's development set has 5,928 questions with an answer and 5,945 without: 50.07."""
    asked = [Question(str(n), ("x",) if n < 5928 else ()) for n in range(11873)]
    found = evaluate_squad(asked, {q.id: "" for q in asked}, v2=True)
    assert (round(found["exact"], 2), round(found["f1"], 2)) == (50.07, 50.07)


def test_a_question_without_a_prediction_is_refused_or_wrong() -> None:
    asked = [Question("a", ("x",)), Question("b", ("y",))]
    with pytest.raises(MasscliError) as caught:
        evaluate_squad(asked, {"a": "x"}, v2=False)
    assert caught.value.message == "no prediction for question 'b'"
    assert (
        evaluate_squad(asked, {"a": "x"}, v2=False, missing_is_wrong=True)["exact"]
        == 50
    )


WORDS = [
    "red",
    "dog",
    "The",
    "cat!",
    "a",
    "an",
    "U.S.",
    "\u201cthe\u201d",
    "the-man",
    "\u00e9t\u00e9",
    "3,5",
    "...",
    "\t",
]


def drawn(seed: int, missing: int = 0) -> tuple[list[Question], dict[str, str]]:
    """Questions with several answers, one or none; predictions near to them or far, and some missing."""
    draw = random.Random(seed)

    def text() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(1, 4)))

    asked = [
        Question(str(n), tuple(text() for _ in range(draw.choice([0, 1, 1, 3]))))
        for n in range(40)
    ]
    answers = {
        q.id: draw.choice([text(), draw.choice([*q.answers, ""]), ""]) for q in asked
    }
    for key in draw.sample(sorted(answers), missing):
        del answers[key]
    return asked, answers


@pytest.mark.parametrize("seed", range(6))
def test_version_1_is_that_of_an_oracle(seed: int) -> None:
    asked, answers = drawn(seed)
    asked = [q for q in asked if q.answers]
    for key in [q.id for q in asked][:: 3 + seed]:
        del answers[key]
    found = evaluate_squad(asked, answers, v2=False, missing_is_wrong=True)
    assert (found["exact"], found["f1"]) == pytest.approx(
        squad_means({q.id: list(q.answers) for q in asked}, answers, v2=False)
    )
    assert all(0 < found[name] < 100 for name in ("exact", "f1"))


def no_answer_odds(questions: list[Question], seed: int) -> dict[str, float]:
    """Probabilities of no answer (odd seeds), or differences of scores."""
    draw = random.Random(seed)
    if seed % 2:
        return {question.id: draw.random() for question in questions}
    return {question.id: draw.gauss(-3, 2) for question in questions}


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_version_2_is_that_of_an_oracle_at_some_threshold(
    seed: int, missing: bool
) -> None:
    """Over all questions, over those with an answer and those without."""
    asked, answers = drawn(seed, 7 if missing else 0)
    odds = no_answer_odds(asked, seed)
    threshold = sorted(odds.values())[25]
    scores = evaluate_squad(
        asked,
        answers,
        v2=True,
        no_answer_probabilities=odds,
        threshold=threshold,
        missing_is_wrong=missing,
    )
    golds = {question.id: list(question.answers) for question in asked}
    parts = {
        "": golds,
        "HasAns_": {key: gold for key, gold in golds.items() if gold},
        "NoAns_": {key: gold for key, gold in golds.items() if not gold},
    }
    for name, part in parts.items():
        expected = squad_means(part, answers, True, odds, threshold)
        assert (scores[f"{name}exact"], scores[f"{name}f1"]) == pytest.approx(expected)
        assert scores[f"{name}total"] == len(part)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_the_best_threshold_is_the_best_of_all(seed: int, missing: bool) -> None:
    asked, answers = drawn(seed, 7 if missing else 0)
    # The official search takes a prediction such as "the", a normal form without a word, for an answer; scores take it for none.
    answers = {key: text if squad_words(text) else "" for key, text in answers.items()}
    odds = no_answer_odds(asked, seed)
    scores = evaluate_squad(
        asked, answers, v2=True, no_answer_probabilities=odds, missing_is_wrong=missing
    )
    golds = {question.id: list(question.answers) for question in asked}
    thresholds = (-math.inf, *odds.values())
    means = [squad_means(golds, answers, True, odds, one) for one in thresholds]
    for side, name in enumerate(("exact", "f1")):
        best = max(mean[side] for mean in means)
        assert scores[f"best_{name}"] == pytest.approx(best)
        threshold = scores[f"best_{name}_thresh"]
        at_best = squad_means(golds, answers, True, odds, threshold)
        assert at_best[side] == pytest.approx(best)


@pytest.mark.parametrize("seed", range(4))
def test_empty_predictions_score_the_share_of_questions_without_an_answer(
    seed: int,
) -> None:
    asked, _ = drawn(seed)
    share = (
        100
        * sum(not any(normalize_answer(a) for a in q.answers) for q in asked)
        / len(asked)
    )
    found = evaluate_squad(asked, {q.id: "" for q in asked}, v2=True)
    assert (found["exact"], found["f1"]) == (pytest.approx(share), pytest.approx(share))


def test_where_nothing_should_be_answered_the_threshold_found_answers_nothing() -> None:
    asked = [Question(str(n), ()) for n in range(4)]
    answers, odds = (
        {q.id: "x" for q in asked},
        {q.id: -5.0 - n for n, q in enumerate(asked)},
    )
    found = evaluate_squad(asked, answers, v2=True, no_answer_probabilities=odds)
    assert (found["f1"], found["best_f1"]) == (0, 100)
    assert (
        evaluate_squad(
            asked,
            answers,
            v2=True,
            no_answer_probabilities=odds,
            threshold=found["best_f1_thresh"],
        )["f1"]
        == 100
    )


# -- the command ---------------------------------------------------------------------------------------------------------------------------

DATA = (
    '{"data": [{"paragraphs": [{"context": "the red dog", "qas": [{"id": "a", "question": "?", "answers": '
    '[{"text": "red", "answer_start": 4}]}, {"id": "b", "question": "?", "answers": [], "is_impossible": true}]}]}]}'
)


def test_score_reads_the_official_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from masscli.cli.app import dispatch

    for name, text in (
        ("gold.json", DATA),
        ("told.json", '{"a": "The red.", "b": "dog"}'),
        ("odds.json", '{"a": 0.1, "b": 0.9}'),
    ):
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = f"{tmp_path}/told.json --ref {tmp_path}/gold.json --metric squad".split()
    succeed(
        [
            "score",
            *command,
            "--na-prob",
            str(tmp_path / "odds.json"),
            "--na-prob-thresh",
            "0.5",
        ]
    )
    out = capsys.readouterr().out
    assert "exact             = 100.00\n" in out
    assert "best_exact_thresh = 0.1\n" in out
    assert out.endswith("squad:2.0|missing:refuse|version:masscli-0.1.0\n")
    with pytest.raises(MasscliError, match=r"told\.json: not JSON"):
        (tmp_path / "told.json").write_text("{", encoding="utf-8")
        dispatch(["score", *command])


def score_files(
    folder: Path,
    predictions: str,
    probabilities: str = '{"a": 0.1, "b": 0.9}',
    *more: str,
) -> int:
    """Run `masscli score` on DATA."""
    from masscli.cli.app import dispatch

    paths = {"gold.json": DATA, "told.json": predictions, "odds.json": probabilities}
    for name, text in paths.items():
        (folder / name).write_text(text, encoding="utf-8")
    answers, gold, odds = (
        str(folder / name) for name in ("told.json", "gold.json", "odds.json")
    )
    return dispatch(
        ["score", answers, "--ref", gold, "--metric", "squad", "--na-prob", odds, *more]
    )


@pytest.mark.parametrize(
    "answer", ["null", "1912", "true", '["red"]', '{"text": "red"}']
)
def test_an_answer_that_is_not_a_string_is_refused(tmp_path: Path, answer: str) -> None:
    """A null scored as the word "None" would be right where the gold answer is "None"."""
    with pytest.raises(
        MasscliError,
        match=r"told\.json: the answer to question 'a' is .*, expected a text",
    ):
        score_files(tmp_path, f'{{"a": {answer}, "b": ""}}')
    lines = f'{{"id": "a", "answer": {answer}}}\n{{"id": "b", "answer": ""}}\n'
    with pytest.raises(
        MasscliError, match=r"the answer to question 'a' is .*, expected a text"
    ):
        score_files(tmp_path, lines)


@pytest.mark.parametrize(
    "value",
    ['"high"', '"0.5"', "null", "true", "NaN", "Infinity", "[0.5]", "1" + "0" * 400],
)
def test_a_probability_that_is_not_a_number_is_refused(
    tmp_path: Path, value: str
) -> None:
    with pytest.raises(
        MasscliError,
        match=r"--na-prob .*odds\.json: question 'a' has .*, expected a number",
    ):
        score_files(tmp_path, '{"a": "red", "b": ""}', f'{{"a": {value}, "b": 0.9}}')


def test_a_question_without_a_probability_is_refused(tmp_path: Path) -> None:
    """If a missing probability counted as 0, the best threshold would be that of other predictions."""
    with pytest.raises(
        MasscliError,
        match="no probability of no answer for 1 of 2 predicted questions, such as 'b'",
    ):
        score_files(tmp_path, '{"a": "red", "b": ""}', '{"a": 0.1}')
    # What has no prediction is wrong at any threshold.
    assert (
        score_files(tmp_path, '{"a": "red"}', '{"a": 0.1}', "--missing", "wrong") == 0
    )


@pytest.mark.parametrize("text", ['{"a": ', "[" * 100_000, '{"a": ' + "1" * 5000 + "}"])
def test_damaged_predictions_are_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(MasscliError, match=r"told\.json: not JSON"):
        score_files(tmp_path, text)
