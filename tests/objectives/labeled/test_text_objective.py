"""Tasks over one or two texts: both orders, the auxiliary language model, padding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from masscli.api.model import load
from masscli.api.task_model import TaskModel
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.preprocess import run
from masscli.data.batches.loader import BatchBuilder
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.labeled.classify import Classify
from masscli.training.setup.build import build
from tests.commands import predict, refused
from tests.toy_tasks import ENCODER, TINY, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def built(
    labeled: Path, run_folder: Path, *options: str
) -> tuple[TaskModel, Classify, BatchBuilder]:
    """A trained classifier of pairs, and its validation examples."""
    finetune(
        labeled,
        run_folder,
        "--task",
        "classify",
        "--table",
        "two",
        *TINY,
        *options,
        updates=2,
    )
    predictor = load(run_folder, device="cpu", precision="fp32").task_model()
    objective = predictor.objective
    assert isinstance(objective, Classify)
    data = DataFolder.open(labeled / "data")
    return predictor, objective, BatchBuilder("x", *objective.dataset(data, "valid"), 0)


def test_similarity_does_not_depend_on_the_order_of_a_pair(
    labeled: Path, tmp_path: Path
) -> None:
    gpt = ["--encoder-layers", "0", "--both-orders", "--lm-weight", "0.5"]
    predictor, objective, batch_builder = built(labeled, tmp_path / "run", *gpt)
    batch = batch_builder(np.arange(6), 0)
    swapped_examples = []
    for number in range(6):
        example = batch_builder.dataset[number]
        first, second, label = example.fields
        swapped_examples.append(example._replace(fields=(second, first, label)))
    swapped = objective.collator()(swapped_examples, [])
    with torch.no_grad():
        scores, _ = objective.scores(predictor.model, batch)
        others, _ = objective.scores(predictor.model, swapped)
        torch.testing.assert_close(scores, others)
        losses = objective(predictor.model, batch)
        twice = objective(
            predictor.model,
            batch_builder(np.concatenate([np.arange(6), np.arange(6)]), 0),
        )
    assert objective.weights == {"classify": 1.0, "lm": 0.5}
    for term in losses:
        assert float(twice[term].loss) == pytest.approx(
            2 * float(losses[term].loss), rel=1e-5
        )


def test_both_orders_of_a_pair_are_within_the_tokens_of_a_batch(
    labeled: Path, tmp_path: Path
) -> None:
    options = ["--encoder-layers", "0", "--both-orders", "--max-tokens", "200"]
    built(labeled, tmp_path / "run", *options)
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    (stream,) = trainer.streams.values()
    sizes = []
    for numbers in stream.sampler.epoch():
        batch = stream.batch_builder(numbers, 0)
        assert len(batch.source.ids) == 2 * len(numbers)
        sizes.append(batch.source.ids.numel())
    # Full, but not over the limit.
    assert 150 < max(sizes) <= 200


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_pairs_without_an_order_are_learned_in_both(
    task: str, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice as many examples to learn from, and as many as there are to validate on."""
    column = {"classify": "label", "regress": "score"}[task]
    own = [
        "--task",
        task,
        *"--table two --text-columns sentence1,sentence2 --label-column".split(),
        column,
    ]
    small = ["--max-length", "20", "--double-unordered", "--valid-subset", "train"]
    measured = finetune(labeled, tmp_path / "run", *own, *ENCODER, *small, updates=1)
    assert measured, "validated, too, on the split that is learned"
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    stream = next(iter(trainer.streams.values()))
    view = stream.batch_builder.dataset
    assert (len(view), len(trainer.validator.streams[0].batch_builder.dataset)) == (
        128,
        64,
    )
    cut = 0
    for n in range(64):
        (a, b, label), (c, d, same) = view[n].fields, view[64 + n].fields
        assert (view[n].number, view[64 + n].number, label.tolist()) == (
            n,
            64 + n,
            same.tolist(),
        )
        for x, y in (
            (a, d),
            (b, c),
        ):  # cut to fit in their own order: of two equal ones the second loses a token more
            assert (
                x[: min(len(x), len(y))].tolist() == y[: min(len(x), len(y))].tolist()
            )
            assert abs(len(x) - len(y)) <= 1
        cut += len(a) + len(b) == 17
    assert cut
    sizes = [
        len(field)
        for n in range(128)
        for field in (np.concatenate([*view[n].fields[:2], np.zeros(3)]),)
    ]
    assert view.sizes(0, 128)[:, 0].tolist() == sizes
    assert view.sizes(50, 70)[:, 0].tolist() == sizes[50:70]
    assert (
        len(
            predict(
                capsys, tmp_path / "run", "-i", labeled / "valid.pairs.tsv"
            ).splitlines()
        )
        == 12
    )
    command = [
        "finetune",
        labeled / "data",
        "--save-dir",
        tmp_path / "other",
        *ENCODER,
        "--double-unordered",
        "--task",
        task,
        "--table",
    ]
    assert (
        refused(*command, "two", "--both-orders")[0]
        == "--double-unordered: both_orders already reads every pair in both orders"
    )
    one = refused(*command, "two", *own[6:], "--text-columns", "sentence1")
    assert one == (
        "--double-unordered: is for pairs, and the task has one text",
        "leave it out",
    )


def test_the_auxiliary_language_model_is_a_mean_over_the_tokens_of_each_sequence(
    labeled: Path, tmp_path: Path
) -> None:
    predictor, objective, batch_builder = built(
        labeled, tmp_path / "run", "--encoder-layers", "0", "--lm-weight", "0.5"
    )
    batch = batch_builder(np.arange(4), 0)
    with torch.no_grad():
        shares = torch.log_softmax(
            predictor.model.logits(predictor.model.decode(batch.source, None)), -1
        )
        expected = 0.0
        for ids, length, row in zip(
            batch.source.ids.tolist(),
            batch.source.lengths.tolist(),
            shares,
            strict=True,
        ):
            expected -= sum(float(row[t, ids[t + 1]]) for t in range(length - 1)) / (
                length - 1
            )
        assert float(objective(predictor.model, batch)["lm"].loss) == pytest.approx(
            expected, rel=1e-4
        )
    assert batch.counts["lm"] == 4


def test_padding_changes_no_score(labeled: Path, tmp_path: Path) -> None:
    predictor, objective, batch_builder = built(
        labeled, tmp_path / "run", "--decoder-layers", "0"
    )
    together = objective.forward_outputs(
        predictor.model, batch_builder(np.arange(8), 0)
    )
    alone = [
        objective.forward_outputs(predictor.model, batch_builder(np.array([n]), 0))[0]
        for n in range(8)
    ]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def preprocessed(labeled: Path, place: Path, name: str, lines: Sequence[str]) -> Path:
    """A training file in a data folder of `place` with the vocabulary of `labeled`; returns the file."""
    path = save(place / name, lines)
    files = {path.suffix[1:]: (str(path),)}
    spm = labeled / "data"
    run(PreprocessConfig(spm_model=spm, destdir=place / "data", **files))  # type: ignore[arg-type]
    return path


@pytest.mark.parametrize("task", ["classify", "regress"])
@pytest.mark.parametrize(
    ("name", "lines", "label"),
    [
        ("x.tsv", ["Grade\tReview", "0\tba", "1\tbo"], "grade"),
        # A list is no text, and a label no text either, whatever it is called.
        ("x.jsonl", ['{"cuts": ["a"], "review": "b", "text": 0}', '{"cuts": [], "review": "b", "text": 1}'], "text"),
    ],
)  # fmt: skip
def test_the_only_column_beside_the_label_is_the_text(
    task: str,
    name: str,
    lines: list[str],
    label: str,
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preprocessed(labeled, tmp_path, name, lines)
    options = ["--task", task, "--label-column", label, *ENCODER]
    finetune(tmp_path, tmp_path / "run", *options, updates=1)
    told = capsys.readouterr().err.lower()
    assert f"reads the columns review, {label}\n" in told


@pytest.mark.parametrize(
    ("header", "message", "hint"),
    [
        ("label\tid\treview", "it is unclear which columns hold the text", "choose one or two with --text-columns; it has id, review"),
        ("Label", "has no column of text beside 'label'", "it has Label"),
    ],
)  # fmt: skip
def test_columns_that_leave_a_choice_or_none_are_refused(
    header: str, message: str, hint: str, labeled: Path, tmp_path: Path
) -> None:
    rows = [header.replace("abel", "a"), header.replace("abel", "o")]
    path = preprocessed(labeled, tmp_path, "x.tsv", [header, *rows])
    options = ["--task", "classify", "--save-dir", tmp_path / "run", *ENCODER]
    assert refused("finetune", tmp_path / "data", *options) == (
        f"{path}: {message}",
        hint,
    )
