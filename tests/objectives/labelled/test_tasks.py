"""Fine-tuning on labelled examples from the command line: what is read, learned, measured, predicted, and said when it cannot be."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from masscli.api.task_model import TaskModel
from masscli.checkpoint.checkpoint import Checkpoint, make_framing
from masscli.cli.app import dispatch
from masscli.cli.preprocess import run
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.batches.loader import BatchBuilder
from masscli.data.batches.sequences import PairFormat, truncated_pair_lengths
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.objectives.extract.question_windows import QuestionWindowDataset
from masscli.objectives.labelled.choose import Choose
from masscli.objectives.labelled.classify import Classify
from masscli.objectives.labelled.options import ClassifyOptions, TagOptions
from masscli.objectives.labelled.tag import Tag
from masscli.objectives.objective import ObjectiveContext
from masscli.text.vocabulary import Vocabulary
from masscli.training.config import OptimConfig
from masscli.training.optim import layer_scale
from masscli.training.setup.build import build
from tests.toy_tasks import ENCODER, REST, TINY, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


@pytest.fixture(name="folder")
def tasks(labelled: Path) -> Path:
    """Files of every task, and `data` made of them.  Read only."""
    return labelled


def predict(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert dispatch(["predict", *map(str, arguments), "--precision", "fp32"]) == 0
    return capsys.readouterr().out


def refused(*arguments: object) -> tuple[str, str | None]:
    with pytest.raises(MasscliError) as caught:
        dispatch([*map(str, arguments)])
    return caught.value.message, caught.value.hint


# -- sequences -----------------------------------------------------------------------------------------------------------------------------

VOCAB = Vocabulary(60, 0, 1, 2, 3, 4, 5, 6, (), {}, "")


def test_the_worked_strings_of_the_specification() -> None:
    a, b = np.array([50, 51]), np.array([52, 53])
    bert, roberta, gpt = (PairFormat(kind, VOCAB) for kind in ("bert", "roberta", "gpt"))
    assert bert.join(a, b).ids.tolist() == [5, 50, 51, 6, 52, 53, 6]
    assert bert.join(a, b).segments.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert roberta.join(a, b).ids.tolist() == [1, 50, 51, 2, 2, 52, 53, 2]
    assert gpt.join(a, b).ids.tolist() == [1, 50, 51, 6, 52, 53, 5]
    for frame in (bert, roberta, gpt):
        for texts in ((a,), (a, b)):
            joined = frame.join(*texts)
            assert len(joined.ids) == sum(map(len, texts)) + frame.num_special_tokens(len(texts))
            assert [joined.ids[at] for at in joined.starts] == [text[0] for text in texts]


def test_pairs_are_cut_from_the_end_of_the_longer_one() -> None:
    for first in range(9):
        for second in range(9):
            for room in range(2, 12):
                a, b = first, second
                while a + b > room:
                    a, b = (a - 1, b) if a > b else (a, b - 1)
                found = truncated_pair_lengths(np.array([first]), np.array([second]), room)
                assert (int(found[0][0]), int(found[1][0])) == (a, b)


# -- classification ------------------------------------------------------------------------------------------------------------------------


def test_classify_learns_predicts_and_is_scored(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--task",
        "classify",
        "--table",
        "one",
        *ENCODER,
        "--best-metric",
        "accuracy",
        "--validate-interval-updates",
        "30",
    ]
    measured = finetune(folder, tmp_path / "run", *options, updates=60)
    assert max(m["accuracy"] for m in measured) == 1.0
    assert measured[-1]["classify-one.mcc"] == measured[-1]["mcc"]
    assert "ppl" not in measured[-1], "a choice between labels has no perplexity"
    best = Checkpoint.open(tmp_path / "run")
    assert best.recipe.stream["classify-one"].objective.labels == ("no", "yes")  # type: ignore[attr-defined]
    labels = predict(capsys, tmp_path / "run", "--input", folder / "valid.tsv")
    (tmp_path / "told").write_text(labels)
    against = ["--ref", str(folder / "valid.tsv"), "--column", "label", "--metric", "accuracy,f1,mcc"]
    assert dispatch(["score", str(tmp_path / "told"), *against]) == 0
    values = [float(line.split("=")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert values == [round(100 * best.metrics[name], 2) for name in ("accuracy", "f1", "mcc")]
    unlabelled = save(tmp_path / "new.tsv", ["sentence", "ba ga", "", "ba " * 300])
    rows = [
        json.loads(line)
        for line in predict(capsys, tmp_path / "run", "--input", unlabelled, "--format", "jsonl").splitlines()
    ]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)
    plain = save(tmp_path / "new.txt", ["ba ga", "bo"])
    assert (
        len(predict(capsys, tmp_path / "run", "--input", plain, "--input-format", "lines").splitlines()) == 2
    )
    shown = predict(capsys, tmp_path / "run", "--input", folder / "valid.tsv", "--format", "tsv").splitlines()
    assert (shown[0], len(shown)) == ("label\tsentence\tprediction\tprobability", 13)


def test_what_a_row_gets_does_not_depend_on_the_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(folder, tmp_path / "run", "--task", "classify", "--table", "two", *ENCODER)
    one, all_ = (
        predict(capsys, tmp_path / "run", "-i", folder / "valid.pairs.tsv", "--batch-tokens", n)
        for n in (1, 10_000)
    )
    assert one == all_


def test_unknown_labels_and_columns_are_named(folder: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "valid.tsv", ["label\tsentence", "no\tba", "maybe\tbo"])
    run(
        PreprocessConfig(
            spm_model=folder / "data",
            tsv=(f"train={folder / 'train.tsv'}", f"valid={path}"),
            destdir=tmp_path / "data",
        )
    )
    at = ["finetune", tmp_path / "data", "--task", "classify", "--save-dir", tmp_path / "run", *ENCODER]
    train = folder / "train.tsv"
    first = next(n for n, line in enumerate(train.read_text().splitlines(), 1) if line.startswith("yes"))
    assert refused(*at, "--labels", "no,maybe") == (
        f"{train}:{first}: label 'yes' is not among --labels",
        "the labels are no, maybe",
    )
    assert refused(*at, "--labels", "no,yes,no") == ("--labels: names 'no' twice", "name each label once")
    for option in ("--label-column", "--text-columns"):
        assert refused(*at, option, "lable") == (
            f"{train}: has no column 'lable'",
            f"choose with {option}; it has label, sentence",
        )
    assert refused(*at, "--max-length", 1000) == (
        "--max-length 1000: the model has 128 positions",
        "give at most 128",
    )
    assert refused(*at, "--both-orders") == ("--both-orders: the task has one text", "leave it out")
    no_model = ("--lm-weight: only a decoder has a language model", "leave it out, or add --read decoder")
    assert refused(*at, "--lm-weight", 0.5) == no_model
    choose = ["finetune", folder / "data", "--task", "choose", "--save-dir", tmp_path / "run"]
    assert refused(*choose, *ENCODER, "--lm-weight", 0.5) == no_model
    assert refused(*at, "--table", "nowhere") == (
        f"{tmp_path / 'data'}: has no table 'nowhere'",
        "its tables are tsv",
    )
    assert refused(*at, "-s", "en")[0] == "classify reads a table of labelled examples"
    alone = ["finetune", tmp_path / "data", "--save-dir", tmp_path / "run", *ENCODER, "--task"]
    hint = "the column 'label' must hold numbers; choose another with --label-column"
    assert refused(*alone, "regress") == (f"{train}:2: 'no' is not a number", hint)
    assert refused(*alone, "tag") == (
        f"{tmp_path / 'data'}: has no table that tag reads (conll)",
        "its tables: tsv (tsv)",
    )


def test_columns_are_found_whatever_their_case(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spelt differently in each file, they are learned, measured and predicted as if they were not."""
    found = {}
    for name, heads in (("plain", ["label\tsentence"] * 2), ("odd", ["Label\tSentence", "LABEL\tsentence"])):
        (tmp_path / name).mkdir()
        files = []
        for split, head in zip(("train", "valid"), heads, strict=True):
            rows = (folder / f"{split}.tsv").read_text().splitlines()[1:]
            files.append(f"{split}={save(tmp_path / name / f'{split}.tsv', [head, *rows])}")
        run(PreprocessConfig(spm_model=folder / "data", tsv=tuple(files), destdir=tmp_path / name / "data"))
        found[name] = finetune(tmp_path / name, tmp_path / name / "run", "--task", "classify", *ENCODER)
    assert found["plain"] == found["odd"]
    capsys.readouterr()
    new = save(tmp_path / "new.tsv", ["SENTENCE", "ba ga", "bo"])
    assert len(predict(capsys, tmp_path / "odd" / "run", "--input", new).splitlines()) == 2
    two = save(tmp_path / "two.tsv", ["sentence\tLabel\tLABEL", "ba\tno\tno"])
    run(PreprocessConfig(spm_model=folder / "data", tsv=(str(two),), destdir=tmp_path / "two"))
    at = ["finetune", tmp_path / "two", "--task", "classify", "--save-dir", tmp_path / "run", *ENCODER]
    assert refused(*at) == (
        f"{two}: has no column 'label'",
        "choose with --label-column; it has sentence, Label, LABEL",
    )


def test_which_table(folder: Path, tmp_path: Path) -> None:
    at = ["finetune", folder / "data", "--task", "classify", "--save-dir", tmp_path / "run"]
    assert refused(*at) == ("which table?", "say it with --table; classify can read one, two, jsonl")
    assert (
        refused(*at, "--table", "one", *ENCODER, "--best-metric", "pearson")[0]
        == "--best-metric pearson: is not measured"
    )
    assert refused(*at, "--table", "conll") == (
        "stream conll: classify does not read conll",
        "it reads tsv, jsonl",
    )


def test_a_checkpoint_without_a_task_predicts_nothing(folder: Path, tmp_path: Path) -> None:
    at = [str(folder / "data"), "--max-update", "1", *TINY]
    dispatch(["pretrain", *at, "--objective", "mass", "--save-dir", str(tmp_path / "mass")])
    assert (
        refused("predict", tmp_path / "mass")[0]
        == f"{tmp_path / 'mass'}: was not trained for a task that predicts"
    )
    finetune(
        folder,
        tmp_path / "sum",
        "--task",
        "summarize",
        "--init-from",
        str(tmp_path / "mass"),
        "--table",
        "heads",
        *TINY,
        updates=1,
    )
    assert refused("predict", tmp_path / "sum") == (
        f"{tmp_path / 'sum'}: writes text",
        f"masscli generate {tmp_path / 'sum'}",
    )


@pytest.mark.parametrize("objective", ["mlm", "clm", "mass"])
def test_every_pre_training_can_be_fine_tuned(
    objective: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = {"mlm": ["--decoder-layers", "0"], "clm": ["--encoder-layers", "0"], "mass": []}[objective]
    at = ["--objective", objective, "--max-update", "2", "--save-dir", str(tmp_path / "a"), *TINY, *half]
    dispatch(["pretrain", str(folder / "data"), *at])
    decoder = [["--read", "decoder"]] if objective == "mass" else []
    for n, more in enumerate(([], *decoder)):
        task = ["--task", "classify", "--table", "two", "--init-from", str(tmp_path / "a"), *REST, *more]
        assert finetune(folder, tmp_path / f"b{n}", *task)
    assert "tensors from" in capsys.readouterr().err
    old, new = Checkpoint.open(tmp_path / "a").recipe.model, Checkpoint.open(tmp_path / "b0").recipe.model
    assert (old.encoder_layers, old.decoder_layers) == (new.encoder_layers, new.decoder_layers)


def built(folder: Path, run_folder: Path, *options: str) -> tuple[TaskModel, Classify, BatchBuilder]:
    """A trained classifier of pairs, and its validation examples."""
    finetune(folder, run_folder, "--task", "classify", "--table", "two", *TINY, *options, updates=2)
    predictor = TaskModel.open(run_folder, None, None, torch.device("cpu"), torch.float32)
    objective = predictor.objective
    assert isinstance(objective, Classify)
    data = DataFolder.open(folder / "data")
    return predictor, objective, BatchBuilder("x", *objective.dataset(data, "valid"), 0)


def test_similarity_does_not_know_the_order_of_a_pair(folder: Path, tmp_path: Path) -> None:
    gpt = ["--encoder-layers", "0", "--both-orders", "--lm-weight", "0.5"]
    predictor, objective, batch_builder = built(folder, tmp_path / "run", *gpt)
    batch = batch_builder(np.arange(6), 0)
    swapped = objective.collator()([batch_builder.dataset[n]._replace(fields=(batch_builder.dataset[n].fields[1], batch_builder.dataset[n].fields[0],
                                                                       batch_builder.dataset[n].fields[2])) for n in range(6)], [])  # fmt: skip
    with torch.no_grad():
        scores, _ = objective.scores(predictor.model, batch)
        others, _ = objective.scores(predictor.model, swapped)
        torch.testing.assert_close(scores, others)
        losses = objective(predictor.model, batch)
        twice = objective(predictor.model, batch_builder(np.concatenate([np.arange(6), np.arange(6)]), 0))
    assert objective.weights == {"classify": 1.0, "lm": 0.5}
    for term in losses:
        assert float(twice[term].loss) == pytest.approx(2 * float(losses[term].loss), rel=1e-5)


@pytest.mark.parametrize("task", ["classify", "regress"])
def test_pairs_without_an_order_are_learned_in_both(
    task: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice as many examples to learn from, and as many as there are to validate on."""
    column = {"classify": "label", "regress": "score"}[task]
    own = [
        "--task",
        task,
        "--table",
        "two",
        "--text-columns",
        "sentence1,sentence2",
        "--label-column",
        column,
    ]
    small = ["--max-length", "20", "--double-unordered", "--valid-subset", "train"]
    measured = finetune(folder, tmp_path / "run", *own, *ENCODER, *small, updates=1)
    assert measured, "validated, too, on the split that is learned"
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    stream = next(iter(trainer.streams.values()))
    view = stream.batch_builder.dataset
    assert (len(view), len(trainer.validator.streams[0].batch_builder.dataset)) == (128, 64)
    cut = 0
    for n in range(64):
        (a, b, label), (c, d, same) = view[n].fields, view[64 + n].fields
        assert (view[n].number, view[64 + n].number, label.tolist()) == (n, 64 + n, same.tolist())
        for x, y in (
            (a, d),
            (b, c),
        ):  # cut to fit in their own order: of two equal ones the second loses a token more
            assert x[: min(len(x), len(y))].tolist() == y[: min(len(x), len(y))].tolist()
            assert abs(len(x) - len(y)) <= 1
        cut += len(a) + len(b) == 17
    assert cut
    sizes = [
        len(field) for n in range(128) for field in (np.concatenate([*view[n].fields[:2], np.zeros(3)]),)
    ]
    assert view.sizes(0, 128)[:, 0].tolist() == sizes
    assert view.sizes(50, 70)[:, 0].tolist() == sizes[50:70]
    assert len(predict(capsys, tmp_path / "run", "-i", folder / "valid.pairs.tsv").splitlines()) == 12
    at = [
        "finetune",
        folder / "data",
        "--save-dir",
        tmp_path / "other",
        *ENCODER,
        "--double-unordered",
        "--task",
        task,
        "--table",
    ]
    assert (
        refused(*at, "two", "--both-orders")[0]
        == "--double-unordered: both_orders reads every pair in both orders as it is"
    )
    one = refused(*at, "two", *own[6:], "--text-columns", "sentence1")
    assert one == ("--double-unordered: the task has one text", "leave it out")


def test_the_auxiliary_language_model_is_a_mean_over_the_tokens_of_each_sequence(
    folder: Path, tmp_path: Path
) -> None:
    predictor, objective, batch_builder = built(
        folder, tmp_path / "run", "--encoder-layers", "0", "--lm-weight", "0.5"
    )
    batch = batch_builder(np.arange(4), 0)
    with torch.no_grad():
        shares = torch.log_softmax(predictor.model.logits(predictor.model.decode(batch.source, None)), -1)
        expected = 0.0
        for ids, length, row in zip(
            batch.source.ids.tolist(), batch.source.lengths.tolist(), shares, strict=True
        ):
            expected -= sum(float(row[t, ids[t + 1]]) for t in range(length - 1)) / (length - 1)
        assert float(objective(predictor.model, batch)["lm"].loss) == pytest.approx(expected, rel=1e-4)
    assert batch.counts["lm"] == 4


def test_padding_changes_no_score(folder: Path, tmp_path: Path) -> None:
    predictor, objective, batch_builder = built(folder, tmp_path / "run", "--decoder-layers", "0")
    together = objective.forward_outputs(predictor.model, batch_builder(np.arange(8), 0))
    alone = [objective.forward_outputs(predictor.model, batch_builder(np.array([n]), 0))[0] for n in range(8)]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


# -- the other tasks -----------------------------------------------------------------------------------------------------------------------


def test_regress_says_numbers_on_the_scale_of_the_data(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--task",
        "regress",
        "--table",
        "two",
        "--label-column",
        "score",
        "--text-columns",
        "sentence1",
        "--best-metric",
        "pearson",
    ]
    measured = finetune(folder, tmp_path / "run", *options, *ENCODER, updates=60)
    assert measured[-1]["pearson"] > 0.8
    said = [
        float(line)
        for line in predict(capsys, tmp_path / "run", "--input", folder / "valid.pairs.tsv").splitlines()
    ]
    assert len(said) == 12
    assert 3 < sum(said) / 12 < 14


def test_every_word_is_tagged_even_beyond_the_cut(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = finetune(folder, tmp_path / "run", "--task", "tag", *ENCODER, "--max-length", "8", updates=60)
    assert "words beyond 8 tokens (--max-length) are not read" in capsys.readouterr().err
    told = predict(capsys, tmp_path / "run", "--input", folder / "valid.conll")
    gold = (folder / "valid.conll").read_text()
    assert [line.split("\t")[0] for line in told.splitlines()] == [
        line.split("\t")[0] for line in gold.splitlines()
    ]
    assert 0.3 < measured[-1]["entity-f1"] < 1.0, "what is not read cannot be found"
    (tmp_path / "told").write_text(told)
    assert (
        dispatch(
            ["score", str(tmp_path / "told"), "--ref", str(folder / "valid.conll"), "--metric", "entity-f1"]
        )
        == 0
    )
    assert f"entity F1 = {100 * measured[-1]['entity-f1']:.2f}" in capsys.readouterr().out


def test_a_word_without_a_piece_has_a_label(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A space of no width, which normal forms drop; first, last, and alone."""
    words = [["ga", "\u200b", "ba"], ["\u200b"], ["\u200b", "ga", "\u200b"]]
    assert DataFolder.open(folder / "data").tokenizer().encode("\u200b", "en") == []
    finetune(folder, tmp_path / "run", "--task", "tag", *ENCODER, updates=1)
    path = save(tmp_path / "x.conll", [line for sentence in words for line in (*sentence, "")])
    told = predict(capsys, tmp_path / "run", "--input", path)
    assert [[line.split("\t")[0] for line in part.split("\n")] for part in told.split("\n\n")[:-1]] == words
    assert told.count("\u200b\tO\n") == 4


def conllu(sentences: list[list[str]]) -> list[str]:
    """The columns of CoNLL-U with a comment, a contraction and an empty node; `ga` is a NOUN, all else X."""
    lines = []
    for words in sentences:
        lines += ["# text = " + " ".join(words), "1-2\tx\t_\t_" + "\t_" * 6]
        lines += [
            f"{n}\t{w}\tlemma\t{'NOUN' if w == 'ga' else 'X'}\tN\t_\t0\troot\t_\tSpace=No"
            for n, w in enumerate(words, 1)
        ]
        lines += ["1.1\te" + "\t_" * 8, ""]
    return lines


def test_the_columns_of_conllu_are_known(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words and labels are FORM and UPOS: what is learned of them is byte for byte what is learned of these two columns alone."""
    read = [
        [line.split("\t")[0] for line in part.split("\n")]
        for part in (folder / "train.conll").read_text().split("\n\n")
        if part
    ]
    tags = [[*(f"{w}\t{'NOUN' if w == 'ga' else 'X'}" for w in words), ""] for words in read]
    made = {"conllu": conllu(read), "conll": [line for lines in tags for line in lines]}
    weights = {}
    for name, lines in made.items():
        (tmp_path / name).mkdir()
        path = save(tmp_path / f"x.{name}", lines)
        run(
            PreprocessConfig(
                spm_model=folder / "data",
                conll=(f"train={path}", f"valid={path}"),
                destdir=tmp_path / name / "data",
            )
        )
        finetune(tmp_path / name, tmp_path / name / "run", "--task", "tag", *ENCODER)
        weights[name] = Checkpoint.open(tmp_path / name / "run").weights()
    assert all(torch.equal(tensor, weights["conll"][key]) for key, tensor in weights["conllu"].items())
    options = Checkpoint.open(tmp_path / "conllu" / "run").recipe.stream["tag-conll"].objective
    assert (options.word_column, options.tag_column, options.labels) == ("2", "4", ("NOUN", "X"))  # type: ignore[attr-defined]
    table = DataFolder.open(tmp_path / "conllu" / "data").table("conll", "train")
    found = refused(
        *[
            "finetune",
            tmp_path / "conllu" / "data",
            "--task",
            "tag",
            "--save-dir",
            tmp_path / "z",
            "--labels",
            "X,Y",
            *ENCODER,
        ]
    )
    row = next(row for row in range(len(table)) if "ga" in table.strings("2", row))
    assert found[0].startswith(
        f"{table.location(row)} (word {table.strings('2', row).index('ga') + 1}): label 'NOUN'"
    )
    told = predict(capsys, tmp_path / "conllu" / "run", "--input", tmp_path / "x.conllu")
    assert [[line.split("\t")[0] for line in part.split("\n")] for part in told.split("\n\n")[:-1]] == read


def test_ten_columns_without_numbers_are_not_conllu(folder: Path, tmp_path: Path) -> None:
    lines = [f"{word}" + "\ta" * 8 + f"\t{tag}" for word, tag in (("ba", "O"), ("ga", "B-X"))]
    run(
        PreprocessConfig(
            spm_model=folder / "data",
            conll=(f"train={save(tmp_path / 'x.conll', lines)}",),
            destdir=tmp_path / "data",
        )
    )
    options = Tag.fill_from_data(TagOptions(), DataFolder.open(tmp_path / "data"), "conll")
    assert (options.word_column, options.tag_column, options.labels) == ("1", "10", ("B-X", "O"))


def test_an_unknown_tag_is_named_with_its_line_and_is_wrong(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Learned as without it, measured as `score` measures what is predicted, and lost nowhere; in the training part it is a mistake."""
    rows = ["ba\tO", "ga\tB-X", "", "ba\tO", "bo\tI-Z", "bo\tO"]
    path, clean = (
        save(tmp_path / "x.conll", rows),
        save(tmp_path / "y.conll", [row.replace("I-Z", "O") for row in rows]),
    )
    made, found = {}, {}
    for name, valid in (("x", path), ("y", clean)):
        (tmp_path / name).mkdir()
        files = (f"train={folder / 'train.conll'}", f"valid={valid}")
        run(PreprocessConfig(spm_model=folder / "data", conll=files, destdir=tmp_path / name / "data"))
        found[name] = finetune(
            tmp_path / name, tmp_path / name / "run", "--task", "tag", *ENCODER, updates=60
        )[-1]
        made[name] = capsys.readouterr().err
    assert (
        f"tag-conll, valid: 1 of 5 labels do not occur in the training part (first 'I-Z', {path}:5) and count as wrong"
        in made["x"]
    )
    assert "count as wrong" not in made["y"]
    assert (found["y"]["accuracy"], found["x"]["accuracy"]) == (1.0, 0.8)
    rows = predict(capsys, tmp_path / "x" / "run", "--input", path, "--format", "jsonl").splitlines()
    shares = [json.loads(row)["probabilities"] for row in rows]
    known = [*shares[0], shares[1][0], shares[1][2]]  # all are right
    assert found["x"]["loss"] == pytest.approx(-sum(map(math.log, known)) / 4, rel=1e-4)
    (tmp_path / "told").write_text(predict(capsys, tmp_path / "x" / "run", "--input", path))
    dispatch(["score", str(tmp_path / "told"), "--ref", str(path), "--metric", "entity-f1"])
    assert f"entity F1 = {100 * found['x']['entity-f1']:.2f}" in capsys.readouterr().out
    at = ["finetune", tmp_path / "x" / "data", "--task", "tag", "--save-dir", tmp_path / "run", *ENCODER]
    assert refused(*at, "--labels", "O,B-Y")[0].endswith(": label 'B-X' is not among --labels")
    assert refused(*at, "--tag-column", "1") == (f"{folder / 'train.conll'}: has no column of labels",
                                                 "give words and their labels in columns; see --tag-column")  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "options", "frame"),
    [
        ("roberta", [], "roberta"),
        ("roberta", ["--input-form", "segment-pair", "--segments", "2"], "auto"),
        ("mlm", [], "auto"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_texts_are_joined_as_the_run_that_is_begun_with_has_read_them(
    objective: str, options: list[str], frame: str, labelled: Path, tmp_path: Path
) -> None:
    rows = [line.split("\t") for line in (labelled / "train.pairs.tsv").read_text().splitlines()[1:]]
    text = save(tmp_path / "text.en", [f"{row[1]}\n{row[2]}\n" for row in rows])
    tables = tuple(f"{split}={labelled / split}.pairs.tsv" for split in ("train", "valid"))
    run(
        PreprocessConfig(
            langs=("en",),
            mono=(f"en={text}", f"valid.en={text}"),
            tsv=tables,
            destdir=tmp_path / "data",
            vocab_size=60,
        )
    )
    size = ["--tokens-per-sample", "24"] if objective == "roberta" else []
    learn = ["pretrain", "--objective", objective, *options, *size, *ENCODER, "--save-dir", tmp_path / "pre"]
    tune = ["finetune", "--task", "classify", "--init-from", tmp_path / "pre", *REST, "--save-dir"]
    for command in (learn, [*tune, tmp_path / "a"], [*tune, tmp_path / "b", "--pair-format", "bert"]):
        assert (
            dispatch([str(arg) for arg in (command[0], tmp_path / "data", *command[1:], "--max-update", 1)])
            == 0
        )
    for name, wanted in (("a", frame), ("b", "bert")):
        [stream] = Checkpoint.open(tmp_path / name).recipe.stream.values()
        assert isinstance(stream.objective, ClassifyOptions) and stream.objective.pair_format == wanted


@pytest.mark.parametrize(
    "task",
    [("classify", "--table", "two"), ("choose",), ("extract", "--max-length", "100")],
    ids=lambda t: t[0],
)
def test_a_model_with_one_kind_of_segment_reads_pairs(
    task: tuple[str, ...], folder: Path, tmp_path: Path
) -> None:
    """RoBERTa's; what would be of the second kind is of the first."""
    finetune(
        folder,
        tmp_path / "run",
        "--task",
        *task,
        "--pair-format",
        "roberta",
        "--segments",
        "1",
        *ENCODER,
        updates=1,
    )
    finetune(folder, tmp_path / "bert", "--task", *task, "--segments", "1", *ENCODER, updates=1)


def test_the_frames_of_roberta_and_gpt_have_no_segments() -> None:
    a, b = np.array([50, 51]), np.array([52, 53])
    assert (
        not PairFormat("roberta", VOCAB).join(a, b).segments.any()
        and not PairFormat("gpt", VOCAB).join(a, b).segments.any()
    )


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"sentence": ["a", "b"], "label": 0}, ["classify"], "'sentence' is a list in each example, and one string is needed"),
        ({"sentence": "a", "label": ["0"]}, ["classify"], "'label' is a list in each example, and one string is needed"),
        ({"sentence": "a", "label": ["0"]}, ["regress"], "'label' is a list in each example, and one string is needed"),
        ({"source": ["a"], "target": "b"}, ["summarize"], "'source' is a list in each example, and one string is needed"),
        ({"context": "a", "response": "b"}, ["respond"], "'context' is one string in each example, and a list is needed"),
        ({"context": "a", "choices": "b", "label": 0}, ["choose"], "'choices' is one string in each example, and a list is needed"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)  # fmt: skip
def test_a_list_is_no_text(
    row: dict[str, object], options: list[str], message: str, folder: Path, tmp_path: Path
) -> None:
    other = {**row, "label": 1} if row.get("label") == 0 else row
    path = save(tmp_path / "x.jsonl", [json.dumps(row), json.dumps(other)])
    run(PreprocessConfig(spm_model=folder / "data", jsonl=(str(path),), destdir=tmp_path / "data"))
    found = refused("finetune", tmp_path / "data", "--task", *options, "--save-dir", tmp_path / "run", *TINY)
    assert found[0] == f"{path}: {message}"


def test_the_question_is_read_whatever_the_choices_are_called(folder: Path, tmp_path: Path) -> None:
    """As in RACE, where they are called options."""
    rows = [json.dumps({"article": "ba bo", "question": "di", "options": ["ba", "bo _"], "answer": "A"})] * 2
    run(
        PreprocessConfig(
            spm_model=folder / "data",
            jsonl=(str(save(tmp_path / "x.jsonl", rows)),),
            destdir=tmp_path / "data",
        )
    )
    data, task = (
        DataFolder.open(tmp_path / "data"),
        ["--context-column", "article", "--choices-column", "options", "--label-column", "answer"],
    )
    finetune(tmp_path, tmp_path / "run", "--task", "choose", *task, *ENCODER, updates=1)
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    example = next(iter(trainer.streams.values())).batch_builder.dataset[0]
    assert data.tokenizer().decode(example.fields[1].tolist(), "en") == "di ba"


@pytest.mark.parametrize("frame", ["gpt", "bert"])
def test_where_a_question_is_read(frame: str, folder: Path, tmp_path: Path) -> None:
    """GPT: start context question delimiter choice extract; BERT: [CLS] context [SEP] question + choice [SEP]."""
    rows = [
        json.dumps({"context": "ba bo da fe", "question": "di _ du", "choices": ["ka", "ge ki"], "label": 1})
    ] * 2
    path = save(tmp_path / "x.jsonl", rows)
    run(
        PreprocessConfig(
            spm_model=folder / "data", jsonl=(f"train={path}", f"valid={path}"), destdir=tmp_path / "data"
        )
    )
    data = DataFolder.open(tmp_path / "data")
    tokenizer, v = data.tokenizer(), data.vocab

    def pieces(text: str) -> list[int]:
        return tokenizer.encode(text, "en")

    context, question, (first, second) = (
        pieces("ba bo da fe"),
        pieces("di _ du"),
        map(pieces, ("ka", "ge ki")),
    )
    model = [*TINY, "--encoder-layers", "0"] if frame == "gpt" else ENCODER
    finetune(tmp_path, tmp_path / "run", "--task", "choose", *model, updates=1)
    objective = TaskModel.open(tmp_path / "run", None, None, torch.device("cpu"), torch.float32).objective
    assert isinstance(objective, Choose)

    def sequences(**options: object) -> list[list[int]]:
        made = Choose(replace(objective.options, **options), objective.context)  # type: ignore[arg-type]
        view = made.dataset(data, "valid")[0]
        batch = made.collator()([view[0]], [])
        lengths = batch.source.lengths.tolist()
        assert view.sizes(0, 2).tolist() == [[2 * max(lengths)]] * 2
        assert bool(made.data_warnings(view)) is (max(lengths) == made.options.max_length)
        return [row[:length].tolist() for row, length in zip(batch.source.ids, lengths, strict=True)]

    after = [[v.bos, *context, *question, v.sep, *choice, v.cls] for choice in (first, second)]
    within = [[v.cls, *context, v.sep, *pieces(text), v.sep] for text in ("di ka du", "di ge ki du")]
    assert sequences() == (after if frame == "gpt" else within)
    if frame == "bert":
        framed = [[v.cls, *context, *question, v.sep, *choice, v.sep] for choice in (first, second)]
        assert sequences(question_at="context") == framed
        first_choice = [
            [v.cls, *pieces(text), v.sep, *context, v.sep] for text in ("di ka du", "di ge ki du")
        ]
        assert sequences(choice_first=True) == first_choice
        return
    short = 3 + len(context) + len(question) + len(second) - 1  # one token too few, and the context gives it
    assert sequences(max_length=short)[1] == [v.bos, *context[:-1], *question, v.sep, *second, v.cls]
    assert sequences(max_length=short, keep="end")[1] == [
        v.bos,
        *context[1:],
        *question,
        v.sep,
        *second,
        v.cls,
    ]
    least = 3 + len(question) + len(second) - 1  # too few for the question
    assert sequences(max_length=least)[1] == [v.bos, *question[1:], v.sep, *second, v.cls]


def test_choose_finds_the_right_one_wherever_it_stands(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = finetune(folder, tmp_path / "run", "--task", "choose", *ENCODER, updates=60)
    assert measured[-1]["accuracy"] > 0.9
    row = {"context": "ba bo", "choices": ["bi", "ga", "du", "fe"]}
    order = [2, 0, 3, 1]
    moved = {**row, "choices": [row["choices"][n] for n in order]}
    save(tmp_path / "x.jsonl", [json.dumps(row), json.dumps(moved)])
    told = predict(capsys, tmp_path / "run", "-i", tmp_path / "x.jsonl", "--format", "jsonl")
    first, second = map(json.loads, told.splitlines())
    assert [first["probabilities"][n] for n in order] == pytest.approx(second["probabilities"], abs=1e-5)
    bad = save(tmp_path / "y.jsonl", [json.dumps({**row, "label": 4})])
    run(PreprocessConfig(spm_model=folder / "data", jsonl=(str(bad),), destdir=tmp_path / "data"))
    found = refused("finetune", tmp_path / "data", "--task", "choose", "--save-dir", tmp_path / "r", *ENCODER)
    assert found == (
        f"{bad}:1: '4' is none of its 4 choices",
        "'label' must be a number from 0, or a letter from A",
    )


@pytest.mark.parametrize(
    ("head", "stack"),
    [("linear", "encoder"), ("roberta", "encoder"), ("albert", "encoder"), ("electra", "decoder")],
)
def test_extract_answers_every_question(
    head: str, stack: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--max-length", "24", "--max-query", "8", "--doc-stride", "4", "--best-metric", "f1"]
    model = ENCODER if stack == "encoder" else [*TINY, "--encoder-layers", "0"]
    measured = finetune(
        folder, tmp_path / "run", "--task", "extract", *model, *small, "--qa-head", head, updates=60
    )
    assert measured[-1]["f1"] > 0.7
    told = json.loads(
        predict(
            capsys,
            tmp_path / "run",
            "-i",
            folder / "valid.json",
            "--format",
            "json",
            "--na-prob",
            tmp_path / "odds",
        )
    )
    assert len(told) == 12
    (tmp_path / "told").write_text(json.dumps(told))
    assert (
        dispatch(["score", str(tmp_path / "told"), "--ref", str(folder / "valid.json"), "--metric", "squad"])
        == 0
    )
    best = Checkpoint.open(tmp_path / "run").metrics
    assert f"f1           = {100 * best['f1']:.2f}" in capsys.readouterr().out
    never = json.loads(
        predict(
            capsys,
            tmp_path / "run",
            "-i",
            folder / "valid.json",
            "--format",
            "json",
            "--null-threshold",
            "1e9",
        )
    )
    always = json.loads(
        predict(
            capsys,
            tmp_path / "run",
            "-i",
            folder / "valid.json",
            "--format",
            "json",
            "--null-threshold",
            "-1e9",
        )
    )
    assert all(never.values())
    assert not any(always.values())
    searched = str(next(value for name, value in best.items() if name.endswith("best-f1-threshold")))
    told = predict(
        capsys,
        tmp_path / "run",
        "-i",
        folder / "valid.json",
        "--format",
        "json",
        "--null-threshold",
        searched,
    )
    (tmp_path / "told").write_text(told)
    assert (
        dispatch(["score", str(tmp_path / "told"), "--ref", str(folder / "valid.json"), "--metric", "squad"])
        == 0
    )
    assert f"f1           = {100 * best['best-f1']:.2f}" in capsys.readouterr().out, (
        "the threshold that validation found"
    )


@pytest.mark.parametrize("head", ["linear", "roberta", "albert"])
def test_that_there_is_no_answer_is_for_the_least_sure_window_to_say(
    head: str, folder: Path, tmp_path: Path
) -> None:
    """Of a classifier its score, else by how much it is above that of the best answer; answers are given up to a threshold."""
    small = ["--max-length", "14", "--max-query", "6", "--doc-stride", "3"]
    finetune(folder, tmp_path / "run", "--task", "extract", *ENCODER, *small, "--qa-head", head, updates=8)

    def opened(threshold: float) -> TaskModel:
        return TaskModel.open(tmp_path / "run", None, threshold, torch.device("cpu"), torch.float32)

    predictor = opened(0.0)
    table = predictor.read(folder / "valid.json", "squad")
    outputs, _ = predictor.outputs(table, 1000)
    view, answers = (
        predictor.objective.table_dataset(table, labelled=False),
        predictor.answers(table, outputs),
    )
    assert isinstance(view, QuestionWindowDataset) and len(view) > len(table)
    odds = []
    for row, answer in enumerate(answers):
        null = min(output[0] for w, output in zip(view.windows, outputs, strict=True) if w.question == row)
        best = next(
            each["score"] for each in answer.details["n_best"] if each["text"] == answer.details["best"]
        )
        odds.append(null if head != "linear" else null - best)
        assert answer.details["null_odds"] == pytest.approx(odds[-1])
        assert answer.details["na_prob"] == pytest.approx(1 / (1 + math.exp(-odds[-1])))
        shares = [each["probability"] for each in answer.details["n_best"]]
        assert sum(shares) == pytest.approx(1)
        assert ("" in [each["text"] for each in answer.details["n_best"]]) is (head == "linear")
    for at in sorted(odds)[::3]:
        told = opened(at).answers(table, outputs)
        assert [bool(answer.text) for answer in told] == [x <= at for x in odds]


def test_a_span_lies_in_its_window_or_nowhere(folder: Path, tmp_path: Path) -> None:
    small = ["--max-length", "14", "--max-query", "6", "--doc-stride", "3"]
    finetune(folder, tmp_path / "run", "--task", "extract", *ENCODER, *small, updates=1)
    objective = TaskModel.open(tmp_path / "run", None, None, torch.device("cpu"), torch.float32).objective
    data = DataFolder.open(folder / "data")
    view, tokenizer, positive = objective.dataset(data, "train")[0], data.tokenizer(), 0
    assert len(view) > 64
    for row in range(len(view)):
        batch = objective.collator()([view[row]], [])
        start, end, _ = batch.labels["extract"].ids[0].tolist()
        if (start, end) != (0, 0):
            positive += 1
            assert tokenizer.decode(batch.source.ids[0, start : end + 1].tolist(), "en") == "ga"
    assert positive >= 32


def test_a_question_that_leaves_no_room_is_named(folder: Path, tmp_path: Path) -> None:
    at = ["finetune", folder / "data", "--task", "extract", "--save-dir", tmp_path / "run", *ENCODER]
    message = "--max-length: 20 leaves a text no room beside max_query (64) and four symbols"
    assert refused(*at, "--max-length", 20)[0] == message
    answered = {"id": "q", "question": "ba", "answers": [{"text": "bo", "answer_start": 3}]}
    text = {"context": "ba bo", "qas": [answered, {"id": "r", "question": "?"}]}
    (tmp_path / "x.json").write_text(json.dumps({"data": [{"paragraphs": [text]}]}))
    run(
        PreprocessConfig(
            spm_model=folder / "data", squad=(str(tmp_path / "x.json"),), destdir=tmp_path / "data"
        )
    )
    at[1] = tmp_path / "data"
    assert refused(*at, "--max-length", 60, "--max-query", 30) == (
        f"{tmp_path / 'x.json'}: question 'r': has no answer, and is not said to be impossible",
        'add its answers, or "is_impossible": true',
    )


def test_two_tasks_on_one_model(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    toml = f"""
data = "{folder / "data"}"
save_dir = "{tmp_path / "run"}"
[stream.sentiment]
dataset = "one"
objective = {{ name = "classify" }}
[stream.entities]
dataset = "conll"
objective = {{ name = "tag" }}
"""
    (tmp_path / "r.toml").write_text(toml)
    assert dispatch(["finetune", "--config", str(tmp_path / "r.toml"), "--max-update", "6", *ENCODER]) == 0
    metrics = Checkpoint.open(tmp_path / "run").metrics
    assert {
        "sentiment.accuracy",
        "sentiment.f1",
        "entities.entity-f1",
        "entities.accuracy",
        "f1",
        "entity-f1",
    } <= metrics.keys()
    assert "accuracy" not in metrics, "both have one"
    assert refused("predict", tmp_path / "run") == (
        f"{tmp_path / 'run'}: which task?",
        "say it with --stream; it has sentiment, entities",
    )
    assert (
        len(
            predict(
                capsys, tmp_path / "run", "--stream", "sentiment", "-i", folder / "valid.tsv"
            ).splitlines()
        )
        == 12
    )


def test_writing_cuts_counts_and_says_perplexity_by_two_units(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = finetune(
        folder, tmp_path / "sum", "--task", "summarize", "--table", "heads", *TINY, "--max-source", "5"
    )
    assert "sources are cut to 5 tokens (--max-source)" in capsys.readouterr().err
    assert measured[-1]["ppl-piece"] == pytest.approx(measured[-1]["ppl"], rel=1e-4), (
        "the loss is unsmoothed in validation"
    )
    assert measured[-1]["ppl-word"] > measured[-1]["ppl-piece"]
    short_target = ["--task", "summarize", "--table", "heads", *TINY, "--max-target", "3", "--lr", "1e-9"]
    measured = finetune(folder, tmp_path / "cut", *short_target)
    assert measured[-1]["ppl-word"] > measured[-1]["ppl-piece"], (
        "words that are cut off are not counted as if they had been predicted"
    )
    room = len(DataFolder.open(folder / "data").tokenizer().encode("di ga fe", "en"))
    end = ["--max-source", str(room), "--keep", "end"]
    finetune(folder, tmp_path / "end", "--task", "summarize", "--table", "heads", *TINY, *end)
    long, short = save(tmp_path / "long", ["ba bo di ga fe"]), save(tmp_path / "short", ["di ga fe"])
    told = []
    for text in (long, short):  # what is read of a long source is what was read in training
        capsys.readouterr()
        at = [
            "generate",
            str(tmp_path / "end"),
            "-i",
            str(text),
            "--max-len-b",
            "4",
            "--format",
            "jsonl",
            "--precision",
            "fp32",
        ]
        assert dispatch(at) == 0
        out = capsys.readouterr()
        told.append(json.loads(out.out)["hypotheses"])
        assert (f"warning: line 1 was cut to the {room} pieces the model reads" in out.err) == (text is long)
    assert told[0] == told[1]
    finetune(folder, tmp_path / "dia", "--task", "respond", "--table", "dialogues", *TINY, "--turns", "2")
    lines = save(tmp_path / "x", ["ba\tbo\tga", "ga", ""])
    capsys.readouterr()
    assert (
        dispatch(
            ["generate", str(tmp_path / "dia"), "-i", str(lines), "--max-len-b", "3", "--precision", "fp32"]
        )
        == 0
    )
    out = capsys.readouterr()
    assert len(out.out.split("\n")) == 4
    assert "warning" not in out.err


def test_rouge_in_validation_is_that_of_generate_and_score(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And chooses the best checkpoint.  The toy's summary is the first two words of a text."""
    options = ["--task", "summarize", "--table", "heads", *TINY, "--max-source", "20", "--max-target", "6"]
    judged = [
        "--eval-rouge",
        "--eval-beam",
        "2",
        "--best-metric",
        "rouge-l",
        "--validate-interval-updates",
        "60",
    ]
    measured = finetune(folder, tmp_path / "run", *options, *judged, updates=120)
    best = Checkpoint.open(tmp_path / "run").metrics
    assert best["rouge-l"] == max(m["rouge-l"] for m in measured) > 10
    at = [
        "--beam",
        "2",
        "--max-len-a",
        "0",
        "--max-len-b",
        "6",
        "--precision",
        "fp32",
        "-o",
        str(tmp_path / "told"),
    ]
    assert dispatch(["generate", str(tmp_path / "run"), "-i", str(folder / "valid.src"), *at]) == 0
    capsys.readouterr()
    assert (
        dispatch(["score", str(tmp_path / "told"), "--ref", str(folder / "valid.tgt"), "--metric", "rouge"])
        == 0
    )
    values = [line.split("=")[1].split()[0] for line in capsys.readouterr().out.splitlines()]
    assert values == [f"{best[name]:.2f}" for name in ("rouge-1", "rouge-2", "rouge-l")]
    found = refused(
        "finetune", folder / "data", *options, "--best-metric", "rouge-l", "--save-dir", tmp_path / "other"
    )
    assert found == ("--best-metric rouge-l needs outputs of the validation set", "add --eval-rouge")


def test_a_dialogue_is_written_from_what_generate_would_read(folder: Path, tmp_path: Path) -> None:
    finetune(
        folder,
        tmp_path / "run",
        "--task",
        "respond",
        "--table",
        "dialogues",
        *TINY,
        "--turns",
        "2",
        "--eval-rouge",
        updates=1,
    )
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    (task,) = trainer.validator.rouges
    first = (folder / "valid.txt").read_text().split("\n")[0].split("\t")
    assert (task.sources[0], task.references[0], task.cut.turns) == (first[0], first[1], 2)
    assert (task.sources[1], task.references[1]) == ("\t".join(first[:2]), first[2])


# -- what learns, and how fast -------------------------------------------------------------------------------------------------------------


def test_what_is_frozen_stays(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    at = [*ENCODER, "--encoder-layers", "2"]
    finetune(folder, tmp_path / "a", "--task", "classify", "--table", "one", *at, updates=1)
    rest = [*REST, "--init-from", str(tmp_path / "a")]
    finetune(folder, tmp_path / "b", "--task", "tag", *rest, "--freeze", "embeddings,1", updates=3)
    assert "frozen: embeddings, 1 (" in capsys.readouterr().err
    before, after = Checkpoint.open(tmp_path / "a").weights(), Checkpoint.open(tmp_path / "b").weights()
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.startswith(("token_embeddings.", "encoder.layers.0."))}
    assert refused("finetune", folder / "data", "--task", "tag", *rest, "--freeze", "decoder", "--save-dir", tmp_path / "c") == (
        "--freeze decoder: the model has nothing of the kind", "name embeddings, a stack or layers that it has",
    )  # fmt: skip
    assert refused("finetune", folder / "data", "--task", "tag", *rest, "--freeze", "head")[0] == (
        "--freeze: expected embeddings, encoder, decoder or a number of layers, got 'head'"
    )


def test_an_encoder_and_a_decoder_of_two_runs(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for objective, half in (("mlm", "--decoder-layers"), ("clm", "--encoder-layers")):
        at = [
            "--objective",
            objective,
            "--max-update",
            "1",
            "--save-dir",
            str(tmp_path / objective),
            *TINY,
            half,
            "0",
        ]
        dispatch(["pretrain", str(folder / "data"), *at])
    rest = [*REST, "--init-from", str(tmp_path / "mlm"), "--init-decoder-from", str(tmp_path / "clm")]
    capsys.readouterr()
    frozen = ["--freeze", "embeddings,encoder,decoder", "--save-dir", tmp_path / "x"]
    found = refused("finetune", folder / "data", "--task", "summarize", "--table", "heads", *rest, *frozen)
    assert found == ("nothing is left to learn", "freeze less")
    finetune(
        folder,
        tmp_path / "run",
        "--task",
        "summarize",
        "--table",
        "heads",
        *rest,
        "--freeze",
        "embeddings,encoder",
        updates=1,
    )
    assert "new, drawn at random: decoder (" in capsys.readouterr().err, (
        "a language model has no cross-attention"
    )
    ours, mlm = Checkpoint.open(tmp_path / "run").weights(), Checkpoint.open(tmp_path / "mlm").weights()
    assert all(torch.equal(ours[name], tensor) for name, tensor in mlm.items())


def test_the_rates_of_electra() -> None:
    """Base: 12 layers, decay 0.8, the code's offset: head 1, layer 11 .64, layer 0 .0550, embeddings .0440; N + 2 rates in all."""
    config = from_dict(OptimConfig, {"layer_decay": 0.8, "layer_decay_offset": 2})
    names = [
        "objective.x.head.out.weight",
        "encoder.layers.11.fc1.weight",
        "encoder.layers.0.fc1.weight",
        "token_embeddings.shared",
    ]
    assert [round(layer_scale(config, name, 12), 4) for name in names] == [1, 0.64, 0.055, 0.044]
    every = [*(f"encoder.layers.{n}.fc1.weight" for n in range(12)), *names]
    assert len({layer_scale(config, name, 12) for name in every}) == 14
    plain = from_dict(OptimConfig, {"layer_decay": 0.5})
    assert [layer_scale(plain, f"encoder.layers.{n}.fc1.weight", 2) for n in (1, 0)] == [0.5, 0.25]


def test_a_classifier_says_what_it_cannot_read(folder: Path) -> None:
    data = DataFolder.open(folder / "data")
    model = from_dict(
        ModelConfig,
        {"encoder_layers": 1, "decoder_layers": 0, "dim": 16, "ffn_dim": 32, "heads": 2, "languages": "none"},
    )
    options = Classify.fill_from_data(ClassifyOptions(read="decoder"), data, "one")
    from masscli.training.recipe import Recipe

    framing = make_framing(Recipe(model=model), data.tokenizer(), ())
    with pytest.raises(MasscliError) as caught:
        Classify(options, ObjectiveContext(framing, model, "one"))
    assert caught.value.message == "--read decoder: the model has no decoder"
