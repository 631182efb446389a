"""Tagging from the command line: words, their labels, and the columns of CoNLL-U."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.app import dispatch
from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.labeled.options import TagOptions
from masscli.objectives.labeled.tag import Tag
from tests.commands import predict, refused, succeed
from tests.toy_tasks import ENCODER, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


def test_every_word_is_tagged_even_beyond_the_truncation(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = finetune(
        labeled,
        tmp_path / "run",
        "--task",
        "tag",
        *ENCODER,
        "--max-length",
        "8",
        updates=60,
    )
    assert "words beyond 8 tokens (--max-length)" in capsys.readouterr().err
    predictions = predict(capsys, tmp_path / "run", "--input", labeled / "valid.conll")
    gold = (labeled / "valid.conll").read_text()
    assert [line.split("\t")[0] for line in predictions.splitlines()] == [
        line.split("\t")[0] for line in gold.splitlines()
    ]
    assert 30 < measured[-1]["entity-f1"] < 100, "what is not read cannot be found"
    (tmp_path / "told").write_text(predictions)
    succeed(f"score {tmp_path}/told --ref {labeled}/valid.conll --metric entity-f1")
    assert f"entity F1 = {measured[-1]['entity-f1']:.2f}" in capsys.readouterr().out


def test_a_word_without_a_piece_has_a_label(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A space of no width, which normal forms drop; first, last, and alone."""
    words = [["ga", "\u200b", "ba"], ["\u200b"], ["\u200b", "ga", "\u200b"]]
    assert DataFolder.open(labeled / "data").tokenizer().encode("\u200b", "en") == []
    finetune(labeled, tmp_path / "run", "--task", "tag", *ENCODER, updates=1)
    path = save(
        tmp_path / "x.conll", [line for sentence in words for line in (*sentence, "")]
    )
    predictions = predict(capsys, tmp_path / "run", "--input", path)
    assert [
        [line.split("\t")[0] for line in part.split("\n")]
        for part in predictions.split("\n\n")[:-1]
    ] == words
    assert predictions.count("\u200b\tO\n") == 4


def test_words_without_a_piece_are_not_called_too_long(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ga\tO", "\u200b\tO", *["ba\tB-X"] * 12, "\u200b\tO", ""]
    path = save(tmp_path / "x.conll", words)
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            conll=(f"train={path}", f"valid={path}"),
            destdir=tmp_path / "data",
        )
    )
    options = ["--task", "tag", *ENCODER, "--max-length", "8"]
    finetune(tmp_path, tmp_path / "run", *options, updates=1)
    message = capsys.readouterr().err
    # The last word has no piece either, but is beyond the limit.
    assert "not read: 1 word without a token in the vocabulary" in message
    assert "words beyond 8 tokens (--max-length)" in message


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


def first_column(text: str) -> list[list[str]]:
    """The words of each sentence of a table whose sentences are separated by empty lines."""
    sentences = []
    for part in text.split("\n\n"):
        if part:
            sentences.append([line.split("\t")[0] for line in part.split("\n")])
    return sentences


def test_the_columns_of_conllu_are_known(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Words and labels are FORM and UPOS; a table of these two columns alone gives the same weights."""
    sentences = first_column((labeled / "train.conll").read_text())
    two_columns = []
    for words in sentences:
        two_columns += [f"{w}\t{'NOUN' if w == 'ga' else 'X'}" for w in words] + [""]
    weights = {}
    for name, lines in {"conllu": conllu(sentences), "conll": two_columns}.items():
        (tmp_path / name).mkdir()
        path = save(tmp_path / f"x.{name}", lines)
        run(
            PreprocessConfig(
                spm_model=labeled / "data",
                conll=(f"train={path}", f"valid={path}"),
                destdir=tmp_path / name / "data",
            )
        )
        finetune(tmp_path / name, tmp_path / name / "run", "--task", "tag", *ENCODER)
        weights[name] = Checkpoint.open(tmp_path / name / "run").weights()
    for key, tensor in weights["conllu"].items():
        assert torch.equal(tensor, weights["conll"][key])
    recipe = Checkpoint.open(tmp_path / "conllu" / "run").recipe
    options = recipe.stream["tag-conll"].objective
    assert (options.word_column, options.tag_column) == ("2", "4")  # type: ignore[attr-defined]
    assert options.labels == ("NOUN", "X")  # type: ignore[attr-defined]
    table = DataFolder.open(tmp_path / "conllu" / "data").table("conll", "train")
    command = f"finetune {tmp_path}/conllu/data --task tag --save-dir {tmp_path}/z --labels X,Y"
    message, _ = refused(*command.split(), *ENCODER)
    row = next(row for row in range(len(table)) if "ga" in table.strings("2", row))
    number = table.strings("2", row).index("ga") + 1
    assert message.startswith(f"{table.location(row)} (word {number}): label 'NOUN'")
    predictions = predict(
        capsys, tmp_path / "conllu" / "run", "--input", tmp_path / "x.conllu"
    )
    assert first_column(predictions) == sentences


def test_ten_columns_without_numbers_are_not_conllu(
    labeled: Path, tmp_path: Path
) -> None:
    lines = [
        f"{word}" + "\ta" * 8 + f"\t{tag}" for word, tag in (("ba", "O"), ("ga", "B-X"))
    ]
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            conll=(f"train={save(tmp_path / 'x.conll', lines)}",),
            destdir=tmp_path / "data",
        )
    )
    options = Tag.fill_from_data(
        TagOptions(), DataFolder.open(tmp_path / "data"), "conll"
    )
    assert (options.word_column, options.tag_column, options.labels) == (
        "1",
        "10",
        ("B-X", "O"),
    )


def test_numbers_of_words_are_not_taken_for_words(
    labeled: Path, tmp_path: Path
) -> None:
    """GermEval has them in its first column, and CoNLL-U Plus; neither has ten columns."""
    lines = ["# http://x\t[2009]", "1\tba\tO\tO", "2\tga\tB-X\tO", "", "1\tbo\tO\tB-X"]
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            conll=(f"train={save(tmp_path / 'x.conll', lines)}",),
            destdir=tmp_path / "data",
        )
    )
    data = DataFolder.open(tmp_path / "data")
    with pytest.raises(MasscliError, match="column 1 has no words, but their numbers"):
        Tag.fill_from_data(TagOptions(), data, "conll")
    options = Tag.fill_from_data(TagOptions(word_column="2"), data, "conll")
    assert (options.word_column, options.tag_column) == ("2", "4")
    # A sentence may consist of a number.
    lines = ["1\tO", "", "ba\tB-X"]
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            conll=(f"train={save(tmp_path / 'y.conll', lines)}",),
            destdir=tmp_path / "other",
        )
    )
    other = DataFolder.open(tmp_path / "other")
    assert Tag.fill_from_data(TagOptions(), other, "conll").word_column == "1"


def test_an_unknown_tag_is_named_with_its_line_and_is_wrong(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown tag in validation has no loss and counts as wrong, as in `masscli score`; in the training split
    it is an error."""
    rows = ["ba\tO", "ga\tB-X", "", "ba\tO", "bo\tI-Z", "bo\tO"]
    path, clean = (
        save(tmp_path / "x.conll", rows),
        save(tmp_path / "y.conll", [row.replace("I-Z", "O") for row in rows]),
    )
    made, found = {}, {}
    for name, valid in (("x", path), ("y", clean)):
        (tmp_path / name).mkdir()
        files = (f"train={labeled / 'train.conll'}", f"valid={valid}")
        run(
            PreprocessConfig(
                spm_model=labeled / "data",
                conll=files,
                destdir=tmp_path / name / "data",
            )
        )
        found[name] = finetune(
            tmp_path / name,
            tmp_path / name / "run",
            "--task",
            "tag",
            *ENCODER,
            updates=60,
        )[-1]
        made[name] = capsys.readouterr().err
    assert (
        f"tag-conll, valid: 1 of 5 labels do not occur in the training part (first 'I-Z', {path}:5) and count as wrong"
        in made["x"]
    )
    assert "count as wrong" not in made["y"]
    assert (found["y"]["accuracy"], found["x"]["accuracy"]) == (100, 80)
    rows = predict(
        capsys, tmp_path / "x" / "run", "--input", path, "--format", "jsonl"
    ).splitlines()
    shares = [json.loads(row)["probabilities"] for row in rows]
    known = [*shares[0], shares[1][0], shares[1][2]]  # all are right
    assert found["x"]["loss"] == pytest.approx(-sum(map(math.log, known)) / 4, rel=1e-4)
    (tmp_path / "told").write_text(
        predict(capsys, tmp_path / "x" / "run", "--input", path)
    )
    dispatch(
        ["score", str(tmp_path / "told"), "--ref", str(path), "--metric", "entity-f1"]
    )
    assert f"entity F1 = {found['x']['entity-f1']:.2f}" in capsys.readouterr().out
    command = [
        *f"finetune {tmp_path}/x/data --task tag --save-dir {tmp_path}/run".split(),
        *ENCODER,
    ]
    assert refused(*command, "--labels", "O,B-Y")[0].endswith(
        ": label 'B-X' is not among --labels"
    )
    assert refused(*command, "--tag-column", "1") == (
        f"{labeled / 'train.conll'}: has no column of labels",
        "give words and their labels in columns; see --tag-column",
    )
