"""What labeled tasks make of scores that are given to them: predictions, metrics and losses, computed by hand.

No model is trained or run, so every expected value follows from the scores and the table alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import make_framing
from masscli.cli.preprocess import run
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.objectives.labeled.choose import Choose
from masscli.objectives.labeled.classify import Classify
from masscli.objectives.labeled.options import (
    ChooseOptions,
    ClassifyOptions,
    RegressOptions,
    TagOptions,
)
from masscli.objectives.labeled.regress import Regress
from masscli.objectives.labeled.tag import Tag
from masscli.objectives.objective import ObjectiveContext
from tests.toy_tasks import save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")

ENCODER = {
    "encoder_layers": 1,
    "decoder_layers": 0,
    "dim": 16,
    "ffn_dim": 32,
    "heads": 2,
    "languages": "none",
}


def data_of(labeled: Path, folder: Path, kind: str, lines: Sequence[str]) -> Any:
    """A data folder whose only table, called by its format, has these lines in its training part."""
    path = save(folder / f"x.{kind}", lines)
    options: dict[str, Any] = {kind: (f"train={path}",)}
    destdir = folder / "data"
    run(PreprocessConfig(spm_model=labeled / "data", destdir=destdir, **options))
    return DataFolder.open(destdir)


def make_objective(objective: Any, options: Any, data: DataFolder, name: str) -> Any:
    """An objective of a tiny encoder, whose options are filled in from the training part."""
    model = from_dict(ModelConfig, ENCODER)
    framing = make_framing(model, data.vocab, ())
    filled = objective.fill_from_data(options, data, name)
    return objective(filled, ObjectiveContext(framing, model, name))


# -- numbers -----------------------------------------------------------------------------------------------------------

NUMBERS = ["sentence\tscore", "ba\t-3", "bo\t1", "ga\t7"]


def regression(labeled: Path, folder: Path, **options: Any) -> tuple[Regress, Any]:
    data = data_of(labeled, folder, "tsv", NUMBERS)
    columns = RegressOptions(label_column="score", **options)
    return make_objective(Regress, columns, data, "tsv"), data.table("tsv", "train")


@pytest.mark.parametrize(
    ("scale", "scaled"),
    [
        ({}, [0.0, 0.4, 1.0]),
        ({"low": -5.0}, [2 / 12, 6 / 12, 1.0]),
        ({"high": 17.0}, [0.0, 0.2, 0.5]),
        ({"low": 1.0, "high": 2.0}, [-4.0, 0.0, 6.0]),
    ],
    ids=str,
)
def test_a_prediction_of_the_target_is_the_number_of_the_table(
    scale: dict[str, float], scaled: list[float], labeled: Path, tmp_path: Path
) -> None:
    make_objective, table = regression(labeled, tmp_path, **scale)
    assert make_objective.targets(table) == pytest.approx(scaled)
    # Only the first output of a row is the number.
    outputs = [np.array([target, 55.0]) for target in scaled]
    predictions = make_objective.decode_predictions(table, outputs)
    assert [p.text for p in predictions] == ["-3.0000", "1.0000", "7.0000"]
    assert [p.details["value"] for p in predictions] == pytest.approx([-3, 1, 7])


def test_correlations_of_predictions_with_the_numbers(
    labeled: Path, tmp_path: Path
) -> None:
    make_objective, table = regression(labeled, tmp_path)
    found = make_objective.compute_metrics(
        table, [np.array([x, 9.0]) for x in (1.0, 0.0, 5.0)]
    )
    # Means 5/3 and 2; deviations (-14, -2, 16)/3 and (-1, -2, 3).
    assert found["pearson"] == pytest.approx(100 * 22 / math.sqrt(152 / 3 * 14))
    # Ranks 1 2 3 and 2 1 3.
    assert found["spearman"] == pytest.approx(50)


def test_the_loss_of_numbers_is_the_sum_of_squares(
    labeled: Path, tmp_path: Path
) -> None:
    make_objective, _ = regression(labeled, tmp_path)
    scores = torch.tensor([[1.0], [0.5], [-1.0]])
    loss, reported = make_objective.loss(scores, torch.tensor([0.0, 0.5, 1.0]))
    assert float(loss) == float(reported) == 5.0


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (["2", "2"], "all numbers of 'score' are 2"),
        (["2", "x"], "'x' is not a number"),
        (["nan", "1"], "'nan' is not a number"),
        (["1", "-inf"], "'-inf' is not a number"),
    ],
)
def test_numbers_from_which_nothing_can_be_learned_are_refused(
    numbers: list[str], message: str, labeled: Path, tmp_path: Path
) -> None:
    rows = [f"ba\t{number}" for number in numbers]
    data = data_of(labeled, tmp_path, "tsv", ["sentence\tscore", *rows])
    # A scale that is given makes equal numbers no better.
    options = RegressOptions(label_column="score", low=0.0, high=9.0)
    with pytest.raises(MasscliError) as caught:
        Regress.fill_from_data(options, data, "tsv")
    assert caught.value.message.endswith(message)


# -- labels ------------------------------------------------------------------------------------------------------------


def classification(
    labeled: Path, folder: Path, gold: Sequence[str], **options: Any
) -> tuple[Classify, Any]:
    """A classifier, and the table of these labels, from which it has its own."""
    lines = ["sentence\tlabel", *(f"ba\t{label}" for label in gold)]
    data = data_of(labeled, folder, "tsv", lines)
    objective = make_objective(Classify, ClassifyOptions(**options), data, "tsv")
    return objective, data.table("tsv", "train")


def outputs_of(labels: Sequence[str], *chosen: str) -> list[Any]:
    """Scores of all labels for each row, of which that of the chosen one is the largest."""
    return [np.array([2.0 * (x == y) - 1 for y in labels]) for x in chosen]


def test_f1_is_that_of_one_of_two_labels_or_the_mean_over_more(
    labeled: Path, tmp_path: Path
) -> None:
    gold = ["no", "yes", "yes", "yes", "no"]
    predicted = ["no", "yes", "no", "yes", "yes"]
    objective, table = classification(labeled, tmp_path, gold)
    found = objective.compute_metrics(table, outputs_of(["no", "yes"], *predicted))
    # 2 right and 1 wrong "yes" of 3; 1 right and 1 wrong "no" of 2.
    assert found["accuracy"] == pytest.approx(100 * 3 / 5)
    assert found["f1"] == pytest.approx(100 * 4 / 6)
    assert found["mcc"] == pytest.approx(100 * (2 * 1 - 1 * 1) / 6)
    data = DataFolder.open(tmp_path / "data")
    other = make_objective(Classify, ClassifyOptions(positive="no"), data, "tsv")
    found = other.compute_metrics(table, outputs_of(["no", "yes"], *predicted))
    assert found["f1"] == pytest.approx(100 * 2 / 4)


def test_examples_without_a_gold_label_are_not_measured(
    labeled: Path, tmp_path: Path
) -> None:
    gold = ["a", "?", "b", "c", "?"]
    make_objective, table = classification(labeled, tmp_path, gold, no_gold="?")
    assert make_objective.options.labels == ("a", "b", "c")
    targets = make_objective.targets(table).tolist()
    assert [targets[0], *targets[2:4]] == [0, 1, 2]
    assert {targets[1], targets[4]} <= set(make_objective.ignored_targets)
    [warning] = make_objective.data_warnings(
        make_objective.table_dataset(table, labeled=True)
    )
    assert warning.startswith("2 of 5 examples have no gold label")
    assert (
        make_objective.data_warnings(make_objective.table_dataset(table, labeled=False))
        == []
    )
    found = make_objective.compute_metrics(
        table, outputs_of("abc", "a", "a", "b", "b", "b")
    )
    assert found["accuracy"] == pytest.approx(100 * 2 / 3)
    # 1 for "a", 2/3 for "b", 0 for "c".
    assert found["f1"] == pytest.approx(100 * (1 + 2 / 3) / 3)


def test_a_label_comes_with_the_softmax_of_its_scores(
    labeled: Path, tmp_path: Path
) -> None:
    make_objective, table = classification(labeled, tmp_path, ["a", "b", "c"])
    scores = [math.log(2), math.log(1), math.log(5)]
    [found] = make_objective.decode_predictions(table, [np.array(scores)])
    assert found.text == found.details["label"] == "c"
    assert found.details["probability"] == pytest.approx(5 / 8)
    assert found.details["probabilities"] == pytest.approx(
        {"a": 2 / 8, "b": 1 / 8, "c": 5 / 8}
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ("a", "b"), "no_gold": "b"}, "--no-gold b: is among --labels, too"),
        ({"positive": "c"}, "--positive c: is not a label of "),
    ],
)
def test_labels_that_contradict_each_other_are_refused(
    options: dict[str, Any], message: str, labeled: Path, tmp_path: Path
) -> None:
    with pytest.raises(MasscliError) as caught:
        classification(labeled, tmp_path, ["a", "b"], **options)
    assert caught.value.message.startswith(message)


# -- tags --------------------------------------------------------------------------------------------------------------


def tagging(labeled: Path, folder: Path, tags: str, **options: Any) -> tuple[Tag, Any]:
    """A tagger, and the table of sentences of `ba`, whose tags are letters and which blanks separate."""
    lines = []
    for sentence in tags.split():
        lines += [*(f"ba\t{tag}" for tag in sentence), ""]
    data = data_of(labeled, folder, "conll", lines)
    objective = make_objective(Tag, TagOptions(**options), data, "conll")
    return objective, data.table("conll", "train")


def tag_outputs(objective: Tag, *sentences: str) -> list[Any]:
    """The best label and its probability, 1/2, for each word of sentences."""
    ids = {
        label: float(number) for number, label in enumerate(objective.options.labels)
    }
    return [
        np.array([[ids[tag], 0.5] for tag in sentence]).ravel()
        for sentence in sentences
    ]


@pytest.mark.parametrize(
    ("tags", "given", "label"),
    [
        ("XXXXXXXO XX", "", "O"),
        ("XYYYYYYX YXY", "", "Y"),
        ("YXXYYYXX", "", "X"),
        ("XXOOOOOO", "X", "X"),
    ],
)
def test_which_label_words_have_that_are_not_read(
    tags: str, given: str, label: str, labeled: Path, tmp_path: Path
) -> None:
    """O, or else the most frequent one, of equally frequent ones the first of the alphabet."""
    make_objective, table = tagging(labeled, tmp_path, tags, truncated_label=given)
    assert make_objective.options.truncated_label == label
    short = Tag(replace(make_objective.options, max_length=8), make_objective.context)
    # Two of the eight tokens are special, and a word is read if its first one fits.
    tokenizer = DataFolder.open(tmp_path / "data").tokenizer()
    pieces = len(tokenizer.encode("ba", "en"))
    read = math.ceil(6 / pieces)
    outputs = tag_outputs(short, *(sentence[:read] for sentence in tags.split()))
    predictions = short.decode_predictions(table, outputs)
    for sentence, prediction in zip(tags.split(), predictions, strict=True):
        unread = len(sentence[read:])
        expected = [*sentence[:read], *[label] * unread]
        assert prediction.text == "".join(f"ba\t{tag}\n" for tag in expected)
        assert prediction.details["tags"] == expected
        assert prediction.details["probabilities"] == [
            *[0.5] * len(sentence[:read]),
            *[None] * unread,
        ]


def test_a_label_for_words_that_are_not_read_must_be_one(
    labeled: Path, tmp_path: Path
) -> None:
    with pytest.raises(MasscliError) as caught:
        tagging(labeled, tmp_path, "XO", truncated_label="Z")
    assert caught.value.message.startswith("--truncated-label Z: is not a label of ")


def test_labels_without_entities_are_measured_one_by_one(
    labeled: Path, tmp_path: Path
) -> None:
    make_objective, table = tagging(labeled, tmp_path, "XXY YO")
    assert make_objective.metric_names == ("accuracy", "f1")
    found = make_objective.compute_metrics(
        table, tag_outputs(make_objective, "XYY", "XO")
    )
    # F1 is 1/2 for X (one of two, and one too many), 1/2 for Y and 1 for O.
    assert found == pytest.approx({"accuracy": 100 * 3 / 5, "f1": 100 * 2 / 3})


# -- choices -----------------------------------------------------------------------------------------------------------


def choosing(labeled: Path, folder: Path, labels: Sequence[Any]) -> tuple[Choose, Any]:
    """A task of examples with two, three, four, ... choices."""
    rows = [
        json.dumps(
            {"context": "ba", "choices": ["bo", "ga", "du", "fe"][:n], "label": label}
        )
        for n, label in enumerate(labels, 2)
    ]
    data = data_of(labeled, folder, "jsonl", rows)
    return make_objective(Choose, ChooseOptions(), data, "jsonl"), data.table(
        "jsonl", "train"
    )


def test_a_choice_is_that_with_the_best_score(labeled: Path, tmp_path: Path) -> None:
    make_objective, table = choosing(labeled, tmp_path, [1, "C", 0])
    outputs = [
        np.log([1.0, 3.0]),
        np.log([2.0, 2.0, 1.0]),
        np.log([4.0, 1.0, 2.0, 1.0]),
    ]
    predictions = make_objective.decode_predictions(table, outputs)
    assert [p.text for p in predictions] == ["1", "0", "0"]
    assert [p.details["choice"] for p in predictions] == ["ga", "bo", "bo"]
    assert predictions[1].details["probabilities"] == pytest.approx([0.4, 0.4, 0.2])
    assert make_objective.compute_metrics(table, outputs) == {
        "accuracy": pytest.approx(100 * 2 / 3)
    }


def test_choices_that_an_example_does_not_have_get_no_probability(
    labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_objective, table = choosing(labeled, tmp_path, [1, "C", 0])
    scores = [[0.0, 1.0], [0.5, -1.0, 2.0], [3.0, 0.0, 0.0, 1.0]]

    def given(model: Any, batch: Any) -> tuple[list[Tensor], Tensor]:
        return [torch.tensor(row) for row in scores], torch.zeros(0)

    monkeypatch.setattr(make_objective, "scores", given)
    dataset = make_objective.table_dataset(table, labeled=True)
    batch = make_objective.collator()([dataset[row] for row in range(3)], [])
    losses = make_objective(None, batch)
    expected = sum(
        math.log(sum(map(math.exp, row))) - row[right]
        for row, right in zip(scores, [1, 2, 0], strict=True)
    )
    assert list(losses) == ["choose"]
    assert float(losses["choose"].loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_a_decoder_that_chooses_can_be_a_language_model_of_what_it_reads(
    weight: float, labeled: Path, tmp_path: Path
) -> None:
    _, table = choosing(labeled, tmp_path, [1, "C"])
    data = DataFolder.open(tmp_path / "data")
    model = from_dict(
        ModelConfig, {**ENCODER, "encoder_layers": 0, "decoder_layers": 1}
    )
    context = ObjectiveContext(make_framing(model, data.vocab, ()), model, "jsonl")
    options = ChooseOptions(lm_weight=weight)
    make_objective = Choose(Choose.fill_from_data(options, data, "jsonl"), context)
    dataset = make_objective.table_dataset(table, labeled=True)
    batch = make_objective.collator()([dataset[row] for row in range(2)], [])
    losses = make_objective(Transformer(model, data.vocab.size, ()), batch)
    expected = {"choose": 1.0, "lm": 0.5} if weight else {"choose": 1.0}
    assert dict(make_objective.weights) == expected
    assert set(losses) == set(batch.counts) == set(expected)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"choices": ["bo"], "label": 0}, "has fewer than two choices"),
        ({"choices": ["bo", "ga"], "label": "C"}, "'C' is none of its 2 choices"),
        ({"choices": ["bo", "ga"], "label": -1}, "'-1' is none of its 2 choices"),
    ],
)
def test_an_example_without_anything_to_choose_is_named(
    row: dict[str, Any], message: str, labeled: Path, tmp_path: Path
) -> None:
    rows = [{"context": "ba", "choices": ["bo", "ga"], "label": 1}, row]
    lines = [json.dumps({"context": "ba", **each}) for each in rows]
    data = data_of(labeled, tmp_path, "jsonl", lines)
    with pytest.raises(MasscliError) as caught:
        Choose.fill_from_data(ChooseOptions(), data, "jsonl")
    assert caught.value.message == f"{tmp_path / 'x.jsonl'}:2: {message}"
