"""Heads of downstream tasks in Hugging Face's folders: labels, what is left behind and why, and messages.

test_task_heads_peer.py compares with the library.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.export import export_checkpoint
from masscli.checkpoint.convert.head_classes import why_not_imported
from masscli.checkpoint.convert.import_ import import_folder
from masscli.checkpoint.convert.post_processor import (
    DamagedTemplateError,
    count_separators,
)
from tests.commands import predict, refused, succeed
from tests.published import D, P, Published, Tensors, error_of, tensors, write

pytestmark = pytest.mark.usefixtures("no_sync")


def with_head(outputs: int, name: str = "classifier") -> Tensors:
    """Return the weights of a BERT with a pooler and a head of one layer."""
    draw = torch.Generator().manual_seed(2)
    body = {n: t for n, t in tensors("bert").items() if not n.startswith("cls.")}
    weight = torch.randn((outputs, D), generator=draw)
    return body | {f"{name}.weight": weight, f"{name}.bias": weight[:, 0].clone()}


def write_head(folder: Path, kind: str, weights: Tensors, **settings: Any) -> Tensors:
    """Write the folder of a BERT whose class has a head."""
    return write(folder, "bert", weights, architectures=[f"BertFor{kind}"], **settings)


LABELS = {"0": "bad", "1": "good", "2": "so so"}
TEXTS, WORDS = "SequenceClassification", "TokenClassification"


def scores(weights: Tensors, ids: list[int]) -> Tensor:
    """Compute the scores of a classifier for one sequence, slowly."""
    model = Published("bert", weights)
    segments = torch.zeros(len(ids), dtype=torch.long)
    first = model.hidden(torch.tensor(ids), segments)[0]
    pooled = torch.tanh(model.dense("bert.pooler.dense", first))
    return model.dense("classifier", pooled)


@torch.no_grad()
def test_a_classifier_predicts_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = write_head(tmp_path / "theirs", TEXTS, with_head(3), id2label=LABELS)
    _, notes = import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), False)
    assert notes[2:] == [
        "BertForSequenceClassification: a model of --task classify with labels bad, good, so so; "
        f"masscli predict gives it texts framed as those of bert, of at most {P} tokens"
    ]
    # [CLS] a b [SEP] and [CLS] c [SEP], by their ids in the vocabulary.
    expected = [scores(weights, ids) for ids in ([12, 15, 16, 13], [12, 17, 13])]
    labels = [[*LABELS.values()][int(row.argmax())] for row in expected]
    (tmp_path / "lines").write_text("a b\nc\n")
    (tmp_path / "t.tsv").write_text("id\tText\tlabel\n7\ta b\tbad\n8\tc\tbad\n")
    (tmp_path / "u.tsv").write_text("Label\treview\nbad\ta b\nbad\tc\n")
    lines = ["--input-format", "lines"]
    for file, options in (("lines", lines), ("t.tsv", []), ("u.tsv", [])):
        found = predict(capsys, tmp_path / "run", "-i", tmp_path / file, *options)
        assert found.splitlines() == labels
    jsonl = ["--input-format", "lines", "--format", "jsonl"]
    found = predict(capsys, tmp_path / "run", "-i", tmp_path / "lines", *jsonl)
    for line, row in zip(found.splitlines(), expected, strict=True):
        probabilities = dict(zip(LABELS.values(), row.softmax(0).tolist(), strict=True))
        told = json.loads(line)["probabilities"]
        assert told == pytest.approx(probabilities, abs=1e-5)


def test_columns_without_a_known_name_are_not_guessed(tmp_path: Path) -> None:
    write_head(tmp_path / "theirs", TEXTS, with_head(3), id2label=LABELS)
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), False)
    table, lines = tmp_path / "t.tsv", tmp_path / "lines"
    # The first line of the second file may be text instead of a header.
    for header in ("review\tid\tlabel", "review"):
        row = header.replace("review", "a").replace("label", "bad")
        table.write_text(f"{header}\n{row}\n")
        columns = header.replace("\t", ", ")
        assert refused("predict", tmp_path / "run", "-i", table) == (
            f"{table}: it is unclear which of its columns hold the text ({columns})",
            "call it sentence, or sentence1 and sentence2 if the model reads pairs",
        )
    lines.write_text("a\tb\tc\n")
    options = ("-i", lines, "--input-format", "lines")
    assert refused("predict", tmp_path / "run", *options) == (
        f"{lines}: has 3 columns, the model reads 1 or 2",
        "one text per line, or two with a tab between them",
    )


def test_data_that_an_imported_head_does_not_read_are_refused_by_score(
    tmp_path: Path,
) -> None:
    """It is not known which table of a data folder an imported model was trained for."""
    run, table, data = (tmp_path / name for name in ("run", "t.tsv", "data"))
    write_head(tmp_path / "theirs", TEXTS, with_head(3), id2label=LABELS)
    import_folder(tmp_path / "theirs", run, ("en",), False)
    table.write_text("sentence\tlabel\na\tbad\n")
    command = f"preprocess --spm-model {run} --langs en --tsv train={table},valid={table} --destdir {data}"
    succeed(command.split())
    options = ("--data", data, "--gen-subset", "valid")
    assert refused("score", run, *options) == (
        f"{data}: has no valid split of en",
        "score what `masscli generate` or `predict` writes",
    )


def test_words_are_tagged_up_to_the_length_of_the_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = with_head(2)
    # Only the second label is ever the best.
    weights["classifier.bias"] = torch.tensor([-1e4, 1e4])
    labels = {"0": "O", "1": "B-X"}
    write_head(tmp_path / "theirs", WORDS, weights, id2label=labels)
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": 10}
    path = tmp_path / "theirs" / "tokenizer_config.json"
    path.write_text(json.dumps(settings))
    import_folder(tmp_path / "theirs", tmp_path / "run", ("en",), False)
    words = [*"abcdefghijkl"]
    (tmp_path / "t.conll").write_text("".join(f"{word}\n" for word in words))
    found = predict(capsys, tmp_path / "run", "-i", tmp_path / "t.conll")
    # Two of ten tokens are special; the rest of the words get the label O.
    tags = ["B-X"] * 8 + ["O"] * 4
    expected = [f"{word}\t{tag}" for word, tag in zip(words, tags, strict=True)]
    assert found.splitlines() == [*expected, ""]
    # The model has more positions, but an export cuts texts where this run does.
    export_checkpoint(tmp_path / "run", tmp_path / "back", None)
    exported = json.loads((tmp_path / "back/tokenizer_config.json").read_text())
    assert exported["model_max_length"] == 10


@pytest.mark.parametrize(
    ("kind", "outputs", "settings", "reason"),
    [
        (
            TEXTS,
            3,
            {"problem_type": "multi_label_classification"},
            "problem_type is 'multi_label_classification' with 3 labels, for which masscli has no task",
        ),
        (
            TEXTS,
            3,
            {"problem_type": "regression"},
            "problem_type is 'regression' with 3 labels, for which masscli has no task",
        ),
        (
            TEXTS,
            3,
            {"id2label": {"0": "a", "1": "b", "2": "a"}},
            "id2label in config.json has several labels 'a'",
        ),
        (
            TEXTS,
            3,
            {"id2label": {"0": "a", "1": " ", "2": "c"}},
            "id2label in config.json has a blank label",
        ),
        (
            TEXTS,
            3,
            {"id2label": {"0": "a", "1": "b", "3": "c"}},
            "id2label in config.json has no label for each id",
        ),
        (
            TEXTS,
            3,
            {"id2label": {"0": "a", "1": None, "2": "c"}},
            "id2label in config.json has no label for each id",
        ),
        (
            TEXTS,
            3,
            {"id2label": ["a", "b", "c"]},
            "id2label in config.json has no label for each id",
        ),
        (
            "Nothing",
            3,
            {},
            "architectures in config.json is ['BertForNothing'], no class with a head that masscli knows; "
            "if the head is that of BertForSequenceClassification or another one, name the class there",
        ),
        (TEXTS, 3, {"max_position_embeddings": 7}, "it reads 7 tokens, and masscli at least 8"),
    ],
)  # fmt: skip
def test_a_head_that_no_task_computes_is_named(
    kind: str, outputs: int, settings: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    weights = with_head(outputs)
    positions = "bert.embeddings.position_embeddings.weight"
    weights[positions] = weights[positions][
        : settings.get("max_position_embeddings", P)
    ]
    write_head(tmp_path, kind, weights, **{"id2label": LABELS, **settings})
    _, notes = import_folder(tmp_path, tmp_path / "run", ("en",), False)
    assert f"the head of its task is not imported: {reason}" in notes
    assert notes[-1] == "left behind: classifier.bias, classifier.weight"
    assert [*Checkpoint.open(tmp_path / "run").recipe.stream] == ["bert"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("GPT2ForSequenceClassification", "texts without special tokens around them"),
        ("OpenAIGPTForSequenceClassification", "texts without special tokens"),
        ("GPT2DoubleHeadsModel", "the state of a token that each example names"),
        ("XLMForMultipleChoice", "the scores of labels"),
    ],
)
def test_why_a_class_is_not_imported(name: str, reason: str) -> None:
    assert reason in str(why_not_imported(name))


def test_a_tokenizer_that_cuts_off_the_start_is_named(tmp_path: Path) -> None:
    for side in ("left", "right"):
        write_head(tmp_path / side, TEXTS, with_head(3), id2label=LABELS)
        settings = {"tokenizer_class": "BertTokenizer", "truncation_side": side}
        (tmp_path / side / "tokenizer_config.json").write_text(json.dumps(settings))
        _, notes = import_folder(
            tmp_path / side, tmp_path / f"{side}.run", ("en",), False
        )
        is_named = any("cuts off the start of a text" in note for note in notes)
        assert is_named == (side == "left")


def test_heads_that_the_class_does_not_have(tmp_path: Path) -> None:
    def note(name: str, weights: Tensors) -> str:
        write_head(tmp_path / name, TEXTS, weights, id2label=LABELS)
        _, notes = import_folder(
            tmp_path / name, tmp_path / f"{name}.run", ("en",), False
        )
        return next(n for n in notes if n.startswith("the head of its task"))

    start = "the head of its task is not imported: "
    whole = with_head(3)
    more = whole | {"classifier.dense.weight": torch.ones(D, D)}
    assert note("more", more) == (
        f"{start}BertForSequenceClassification has no classifier.dense.weight"
    )
    none = {n: t for n, t in whole.items() if not n.startswith("classifier")}
    path = tmp_path / "none" / "model.safetensors"
    assert note("none", none) == f"{start}{path} has no classifier.weight"
    flat = {n: t for n, t in whole.items() if "pooler" not in n}
    assert note("flat", flat) == (
        f"{start}that of BertForSequenceClassification reads a pooler, which is missing"
    )


def test_an_electra_that_summarizes_otherwise_is_left_behind(tmp_path: Path) -> None:
    weights = {n: t for n, t in tensors("electra").items() if "predictions" not in n}
    for name, rows in (("sequence_summary.summary", D), ("classifier", 1)):
        weights |= {
            f"{name}.weight": torch.ones(rows, D),
            f"{name}.bias": torch.ones(rows),
        }
    kind = ["ElectraForMultipleChoice"]
    write(tmp_path, "electra", weights, architectures=kind, summary_type="last")
    _, notes = import_folder(tmp_path, tmp_path / "run", ("en",), False)
    reason = "summary_type is 'last', not 'first'"
    assert f"the head of its task is not imported: {reason}" in notes


def test_damaged_heads_are_refused(tmp_path: Path) -> None:
    def error(name: str, weights: Tensors, **settings: Any) -> tuple[str, str | None]:
        write_head(tmp_path / name, TEXTS, weights, **settings)
        return error_of(
            lambda: import_folder(tmp_path / name, tmp_path / "run", ("en",), False)
        )

    whole = with_head(3)
    half = {n: t for n, t in whole.items() if n != "classifier.bias"}
    assert error("half", half, id2label=LABELS) == (
        f"{tmp_path / 'half' / 'model.safetensors'}: has no classifier.bias, but the rest of this head",
        "is the file damaged?",
    )
    # Without names, the library has two labels.
    assert error("two", whole) == (
        f"{tmp_path / 'two' / 'model.safetensors'}: classifier.weight is (3, {D}), by config.json (2, {D})",
        "weights and config.json belong to different models",
    )
    assert error("odd", whole, id2label=LABELS, classifier_dropout=1.5) == (
        f"{tmp_path / 'odd' / 'config.json'}: classifier_dropout is 1.5",
        "expected a probability below 1",
    )
    # A number of labels that would use up the memory is refused before there are names for them.
    for number, count in enumerate(("3", 0, 10**15)):
        name = f"count{number}"
        assert error(name, whole, num_labels=count) == (
            f"{tmp_path / name / 'config.json'}: num_labels is {count!r}",
            "expected the number of labels that the head of the weights scores",
        )
    assert not (tmp_path / "run").exists()


def test_labels_without_names_are_numbered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_head(tmp_path, TEXTS, with_head(3), num_labels=3, classifier_dropout=0.25)
    run = Checkpoint.open(import_folder(tmp_path, tmp_path / "run", ("en",), False)[0])
    options: Any = run.recipe.stream["classify"].objective
    assert options.labels == ("LABEL_0", "LABEL_1", "LABEL_2")
    assert options.head_dropout == 0.25
    succeed(["inspect", str(tmp_path / "run")])
    assert 'labels = ["LABEL_0", "LABEL_1", "LABEL_2"]' in capsys.readouterr().out


def test_separators_of_two_texts() -> None:
    a, b, sep = (
        {"Sequence": {"id": "A"}},
        {"Sequence": {"id": "B"}},
        {"SpecialToken": {}},
    )
    template = {"type": "TemplateProcessing", "pair": [sep, a, sep, sep, b, sep]}
    assert count_separators({"type": "BertProcessing"}) == 1
    assert count_separators({"type": "RobertaProcessing"}) == 2
    assert count_separators(template) == 2
    byte_level = {"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]}
    assert count_separators(byte_level) == 2
    assert count_separators({}) is None
    for damaged in ({**template, "pair": [a]}, {"type": "Sequence", "processors": 1}):
        with pytest.raises(DamagedTemplateError):
            count_separators(damaged)
