"""Classification from the command line: what is learned, predicted and refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from masscli.checkpoint.checkpoint import Checkpoint, make_framing
from masscli.cli.preprocess import run
from masscli.core.config import from_dict
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.objectives.labeled.classify import Classify
from masscli.objectives.labeled.options import ClassifyOptions
from masscli.objectives.objective import ObjectiveContext
from tests.commands import predict, refused, succeed
from tests.toy_tasks import ENCODER, TINY, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def test_classify_learns_predicts_and_is_scored(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    measured = finetune(labeled, tmp_path / "run", *options, updates=60)
    assert max(m["accuracy"] for m in measured) == 100.0
    assert measured[-1]["classify-one.mcc"] == measured[-1]["mcc"]
    assert "ppl" not in measured[-1], "a choice between labels has no perplexity"
    best = Checkpoint.open(tmp_path / "run")
    assert best.recipe.stream["classify-one"].objective.labels == ("no", "yes")  # type: ignore[attr-defined]
    labels = predict(capsys, tmp_path / "run", "--input", labeled / "valid.tsv")
    (tmp_path / "told").write_text(labels)
    against = (
        f"--ref {labeled}/valid.tsv --column label --metric accuracy,f1,mcc".split()
    )
    succeed(["score", str(tmp_path / "told"), *against])
    values = [
        float(line.split("=")[1].split()[0])
        for line in capsys.readouterr().out.splitlines()
    ]
    assert values == [
        round(best.metrics[name], 2) for name in ("accuracy", "f1", "mcc")
    ]
    unlabeled = save(tmp_path / "new.tsv", ["sentence", "ba ga", "", "ba " * 300])
    rows = [
        json.loads(line)
        for line in predict(
            capsys, tmp_path / "run", "--input", unlabeled, "--format", "jsonl"
        ).splitlines()
    ]
    assert [row["line"] for row in rows] == [1, 2, 3]
    assert all(sum(row["probabilities"].values()) == pytest.approx(1) for row in rows)
    plain = save(tmp_path / "new.txt", ["ba ga", "bo"])
    assert (
        len(
            predict(
                capsys, tmp_path / "run", "--input", plain, "--input-format", "lines"
            ).splitlines()
        )
        == 2
    )
    shown = predict(
        capsys, tmp_path / "run", "--input", labeled / "valid.tsv", "--format", "tsv"
    ).splitlines()
    assert (shown[0], len(shown)) == ("label\tsentence\tprediction\tprobability", 13)


def test_predictions_do_not_depend_on_the_batch(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    finetune(
        labeled, tmp_path / "run", "--task", "classify", "--table", "two", *ENCODER
    )
    one, all_ = (
        predict(
            capsys,
            *f"{tmp_path}/run -i {labeled}/valid.pairs.tsv --batch-tokens {n}".split(),
        )
        for n in (1, 10_000)
    )
    assert one == all_


def test_unknown_labels_and_columns_are_named(labeled: Path, tmp_path: Path) -> None:
    path = save(tmp_path / "valid.tsv", ["label\tsentence", "no\tba", "maybe\tbo"])
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            tsv=(f"train={labeled / 'train.tsv'}", f"valid={path}"),
            destdir=tmp_path / "data",
        )
    )
    command = [
        *f"finetune {tmp_path}/data --task classify --save-dir {tmp_path}/run".split(),
        *ENCODER,
    ]
    train = labeled / "train.tsv"
    first = next(
        n
        for n, line in enumerate(train.read_text().splitlines(), 1)
        if line.startswith("yes")
    )
    assert refused(*command, "--labels", "no,maybe") == (
        f"{train}:{first}: label 'yes' is not among --labels",
        "the labels are no, maybe",
    )
    assert refused(*command, "--labels", "no,yes,no") == (
        "--labels: names 'no' twice",
        "name each label once",
    )
    for option in ("--label-column", "--text-columns"):
        assert refused(*command, option, "lable") == (
            f"{train}: has no column 'lable'",
            f"choose with {option}; it has label, sentence",
        )
    assert refused(*command, "--max-length", 1000) == (
        "--max-length 1000: the model has 128 positions",
        "give at most 128",
    )
    assert refused(*command, "--both-orders") == (
        "--both-orders: is for pairs, and the task has one text",
        "leave it out",
    )
    no_model = (
        "--lm-weight: only a decoder without an encoder can be a language model",
        "leave it out, or add --encoder-layers 0",
    )
    assert refused(*command, "--lm-weight", 0.5) == no_model
    # On top of an encoder a decoder is shown the words that it would predict.
    on_top = [*command[: -len(ENCODER)], *TINY, "--read", "decoder"]
    assert refused(*on_top, "--lm-weight", 0.5) == no_model
    choose = f"finetune {labeled}/data --task choose --save-dir {tmp_path}/run".split()
    assert refused(*choose, *ENCODER, "--lm-weight", 0.5) == no_model
    assert refused(*command, "--table", "nowhere") == (
        f"{tmp_path / 'data'}: has no table 'nowhere'",
        "its tables are tsv",
    )
    assert (
        refused(*command, "-s", "en")[0] == "classify reads a table of labeled examples"
    )
    alone = [
        "finetune",
        tmp_path / "data",
        "--save-dir",
        tmp_path / "run",
        *ENCODER,
        "--task",
    ]
    hint = (
        "choose another column with --label-column, or leave such rows out: masscli preprocess "
        "--check-columns label=number --bad-rows skip"
    )
    assert refused(*alone, "regress") == (f"{train}:2: 'no' is not a number", hint)
    assert refused(*alone, "tag") == (
        f"{tmp_path / 'data'}: has no table that tag reads (conll)",
        "its tables: tsv (tsv)",
    )


def test_columns_are_found_whatever_their_case(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Spelled differently in each file, they are learned, measured and predicted as if they were not."""
    found = {}
    for name, heads in (
        ("plain", ["label\tsentence"] * 2),
        ("odd", ["Label\tSentence", "LABEL\tsentence"]),
    ):
        (tmp_path / name).mkdir()
        files = []
        for split, head in zip(("train", "valid"), heads, strict=True):
            rows = (labeled / f"{split}.tsv").read_text().splitlines()[1:]
            files.append(
                f"{split}={save(tmp_path / name / f'{split}.tsv', [head, *rows])}"
            )
        run(
            PreprocessConfig(
                spm_model=labeled / "data",
                tsv=tuple(files),
                destdir=tmp_path / name / "data",
            )
        )
        found[name] = finetune(
            tmp_path / name, tmp_path / name / "run", "--task", "classify", *ENCODER
        )
    assert found["plain"] == found["odd"]
    capsys.readouterr()
    new = save(tmp_path / "new.tsv", ["SENTENCE", "ba ga", "bo"])
    assert (
        len(predict(capsys, tmp_path / "odd" / "run", "--input", new).splitlines()) == 2
    )
    two = save(tmp_path / "two.tsv", ["sentence\tLabel\tLABEL", "ba\tno\tno"])
    run(
        PreprocessConfig(
            spm_model=labeled / "data", tsv=(str(two),), destdir=tmp_path / "two"
        )
    )
    command = [
        *f"finetune {tmp_path}/two --task classify --save-dir {tmp_path}/run".split(),
        *ENCODER,
    ]
    assert refused(*command) == (
        f"{two}: has no column 'label'",
        "choose with --label-column; it has sentence, Label, LABEL",
    )


def test_of_several_tables_one_must_be_chosen(labeled: Path, tmp_path: Path) -> None:
    command = (
        f"finetune {labeled}/data --task classify --save-dir {tmp_path}/run"
    ).split()
    assert refused(*command) == (
        "the data has several tables that fit",
        "choose one with --table; classify can read one, two, jsonl",
    )
    assert (
        refused(*command, "--table", "one", *ENCODER, "--best-metric", "pearson")[0]
        == "--best-metric pearson: is not measured"
    )
    assert refused(*command, "--table", "conll") == (
        "stream conll: classify does not read conll",
        "it reads tsv, jsonl",
    )


def test_a_classifier_reports_unreadable_input(labeled: Path) -> None:
    data = DataFolder.open(labeled / "data")
    model = from_dict(
        ModelConfig,
        {
            "encoder_layers": 1,
            "decoder_layers": 0,
            "dim": 16,
            "ffn_dim": 32,
            "heads": 2,
            "languages": "none",
        },
    )
    options = Classify.fill_from_data(ClassifyOptions(read="decoder"), data, "one")
    framing = make_framing(model, data.vocab, ())
    with pytest.raises(MasscliError) as caught:
        Classify(options, ObjectiveContext(framing, model, "one"))
    assert caught.value.message == "--read decoder: the model has no decoder"
