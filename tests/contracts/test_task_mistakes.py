"""What may be wrong with labeled files, on a real command line: one line that names it, a hint, status 2; or a count, and nothing lost."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from masscli.api.task_model import TaskModel
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.objectives.labeled.options import ClassifyOptions
from tests.commands import run_command, succeed
from tests.toy_tasks import ENCODER, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")
SMALL = ["--max-length", "24", "--max-query", "6", "--doc-stride", "5"]
TASKS = {"classify": ["--table", "one"], "tag": [], "choose": [], "extract": SMALL}


@pytest.fixture(scope="module")
def trained(labeled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of each task that has learned nothing."""
    place = tmp_path_factory.mktemp("trained")
    for task, options in TASKS.items():
        command = [
            "finetune",
            str(labeled / "data"),
            "--task",
            task,
            *ENCODER,
            *options,
            "--max-update",
            "1",
            "--save-dir",
            str(place / task),
        ]
        succeed(command)
    return place


def asked(*questions: dict[str, object], context: str = "ba bo") -> str:
    """A file of questions about one text."""
    return json.dumps(
        {"data": [{"paragraphs": [{"context": context, "qas": list(questions)}]}]}
    )


@pytest.mark.parametrize(
    ("task", "name", "text", "message", "hint"),
    [
        ("classify", "x.tsv", "text\tlabel\nba\tyes\n", "{x}: has no column 'sentence'",
         "the model was trained on a column of this name; it has text, label"),
        ("classify", "x.tsv", "sentence\n", "{x}: holds no examples", "is it the right file?"),
        ("classify", "x.jsonl", '{"sentence": ["ba"]}\n', "{x}: 'sentence' is a list in each example, and one string is needed",
         "give it in the form that the model was trained on"),
        ("classify", "x.jsonl", '{"sentence": "ba"}\n{"sentence": null}\n', "{x}:2: sentence: expected a string or a number, got null",
         'an empty text is ""; leave out an example, or a field of all examples, that has no value'),
        ("classify", "x.jsonl", '{"sentence": "ba"}\n\n{"sentence": "bo"}\n', "{x}:2: is blank",
         "JSONL has one object per line; blank lines may stand at the end only"),
        ("classify", "x.conll", "ba\tO\n", "{x}: conll: classify does not read it", "it reads tsv, jsonl; see --input-format"),
        ("tag", "x.conll", "ba\n\nbo ba\n", "{x}:3: expected 1 column as in the first line, got 'bo ba'",
         "one word per line, columns separated by tabs, a blank line between sentences"),
        ("tag", "x.conll", "\n\n", "{x}: holds no examples", "is it the right file?"),
        ("choose", "x.jsonl", '{"context": "ba", "choices": ["bo"]}\n', "{x}:1: has fewer than two choices",
         "add some, or leave the example out"),
        ("choose", "x.jsonl", '{"context": "ba", "options": ["bo", "bi"]}\n', "{x}: has no column 'choices'",
         "the model was trained on a column of this name; it has context, options"),
        ("extract", "x.json", asked({"id": "a", "question": "?", "answers": [{"text": "bi", "answer_start": 0}]}),
         "{x}: question 'a': answer 'bi' is not in the context at character 0", "answer_start counts characters of the context, from 0"),
        ("extract", "x.json", asked({"id": "a", "question": "?"}, {"id": "a", "question": "!"}),
         "{x}: question 'a': another question has this id", "question ids must be unique"),
        ("extract", "x.json", '{"data": []}', "{x}: holds no examples", "is it the right file?"),
    ],
    ids=lambda value: value if value in TASKS else "",
)  # fmt: skip
def test_inputs_that_cannot_be_predicted_are_reported(
    task: str,
    name: str,
    text: str,
    message: str,
    hint: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    out, err = run_command(capsys, "predict", trained / task, "-i", path, status=2)
    assert (out, err) == ([], [f"error: {message.format(x=path)}", f"hint: {hint}"])


def test_a_null_threshold_is_refused_where_every_question_is_answered(
    trained: Path, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where all questions it was trained on have answers, no score of there being none is ever compared with it."""
    answered, threshold = tmp_path / "all.json", ["--null-threshold", "1"]
    answered.write_text(
        asked(
            {
                "id": "a",
                "question": "bo",
                "answers": [{"text": "ba", "answer_start": 0}],
            }
        ),
        encoding="utf-8",
    )
    run_command(
        capsys,
        *finetuned(
            labeled / "data", tmp_path, answered, answered, "squad", "extract", *SMALL
        ),
        status=0,
    )
    out, err = run_command(
        capsys, "predict", tmp_path / "run", "-i", answered, *threshold, status=2
    )
    message = f"--null-threshold: all questions that {tmp_path / 'run'} was trained on have answers, so it always gives an answer"
    assert (out, err) == (
        [],
        [f"error: {message}", "hint: leave it out, or train with --unanswerable"],
    )
    assert (
        len(
            run_command(
                capsys,
                "predict",
                trained / "extract",
                "-i",
                labeled / "valid.json",
                *threshold,
                status=0,
            )[0]
        )
        == 12
    )


@pytest.mark.parametrize(
    ("task", "name", "option", "message", "hint"),
    [
        ("tag", "x.conll", "--format tsv", "--format tsv: needs a table or lines as input, {x} is conll",
         "use --format jsonl, or leave it out: tagged words are columns"),
        ("choose", "x.jsonl", "--format tsv", "--format tsv: needs a table or lines as input, {x} is jsonl", "use --format jsonl"),
        ("extract", "x.json", "--format tsv", "--format tsv: needs a table or lines as input, {x} is squad", "use --format jsonl"),
        ("classify", "x.tsv", "--format json", "--format json: is for answers to questions", "use --format jsonl"),
        ("classify", "x.tsv", "--format tsv", "--format tsv: {x} has a column 'prediction' already",
         "rename it, or use --format jsonl"),
        ("classify", "x.tsv", "--na-prob odds", "--na-prob: is for answers to questions",
         "leave it out; --format jsonl has the probabilities of a task"),
    ],
    ids=lambda value: value if value in TASKS else "",
)  # fmt: skip
def test_an_input_format_that_does_not_suit_the_task_is_refused(
    task: str,
    name: str,
    option: str,
    message: str,
    hint: str,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = save(tmp_path / name, ["sentence\tprediction", "ba\tyes"])
    out, err = run_command(
        capsys, "predict", trained / task, "-i", path, *option.split(), status=2
    )
    assert (out, err) == ([], [f"error: {message.format(x=path)}", f"hint: {hint}"])


def test_columns_beside_lines(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of lines has no header, and its columns are called 1 and 2."""
    path = save(tmp_path / "x.txt", ["ba ga", "", "bo"])
    out, _ = run_command(
        capsys,
        *f"predict {trained}/classify -i {path} --input-format lines --format tsv".split(),
        status=0,
    )
    text, _ = run_command(
        capsys,
        *f"predict {trained}/classify -i {path} --input-format lines".split(),
        status=0,
    )
    assert out[0].split("\t") == ["1", "prediction", "probability"]
    assert [row.split("\t")[:2] for row in out[1:]] == [
        list(row) for row in zip(["ba ga", "", "bo"], text, strict=True)
    ]


@pytest.mark.parametrize(
    ("task", "name", "text", "count"),
    [
        ("classify", "x.tsv", "sentence\nba\n\nbo\n", 3),
        ("classify", "x.tsv", "sentence\tlabel\nba\tnever seen\nbo\t\n", 2),
        ("classify", "x.jsonl", '{"sentence": "ba"}\n{"sentence": ""}\n\n', 2),
        ("choose", "x.jsonl", '{"context": "", "choices": ["", ""]}\n' * 2, 2),
        (
            "extract",
            "x.json",
            asked(
                {"id": "a", "question": ""}, {"id": "b", "question": "bo"}, context=""
            ),
            2,
        ),
        ("extract", "x.json", asked({"id": "a", "question": "bo"}, context=" \n"), 1),
    ],
    ids=lambda value: value if value in TASKS else "",
)
def test_empty_and_unlabeled_examples_get_a_prediction(
    task: str,
    name: str,
    text: str,
    count: int,
    trained: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    out, err = run_command(
        capsys, "predict", trained / task, "-i", path, "--precision", "fp32", status=0
    )
    assert len(out) == count
    assert err[-1].startswith(f"predicted {count} example")
    # What has no text is named.
    assert all(line.startswith("warning: there is no text in ") for line in err[:-1])


def test_truncated_examples_are_counted(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A long question loses its end, a long text is read in windows, and every question has its answer."""
    (tmp_path / "x.json").write_text(
        asked(
            *({"id": str(n), "question": "bo " * 30} for n in range(3)),
            context="ba " * 40,
        )
    )
    out, err = run_command(
        capsys,
        *f"predict {trained}/extract -i {tmp_path}/x.json --format jsonl".split(),
        status=0,
    )
    assert [json.loads(line)["id"] for line in out] == ["0", "1", "2"]
    assert err[0] == "warning: 3 of 3 questions are truncated to 6 tokens (--max-query)"
    assert err[1].startswith("warning: 3 questions are read in ")


def finetuned(
    data: Path, folder: Path, train: Path, valid: Path, kind: str, *options: object
) -> list[object]:
    """A command that fine-tunes on two files."""
    files = [f"--{kind}", f"train={train},valid={valid}"]
    succeed(
        [
            "preprocess",
            "--spm-model",
            str(data),
            *files,
            "--destdir",
            str(folder / "data"),
        ]
    )
    return [
        "finetune",
        folder / "data",
        *ENCODER,
        *([] if "--max-update" in options else ["--max-update", 1]),
        "--save-dir",
        folder / "run",
        "--task",
        *options,
    ]


def test_missing_labels_are_reported(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = save(tmp_path / "both.tsv", ["label\tsentence", "no\tba", "yes\tbo"])
    one = save(tmp_path / "one.tsv", ["label\tsentence", "no\tba", "no\tbo"])
    empty = save(tmp_path / "empty.tsv", ["label\tsentence", "no\tba", " \tbo"])
    found = {}
    for name, train, valid in (("a", one, both), ("b", empty, both), ("c", both, one)):
        (tmp_path / name).mkdir()
        args = finetuned(
            labeled / "data", tmp_path / name, train, valid, "tsv", "classify"
        )
        found[name] = run_command(capsys, *args, status=0 if name == "c" else 2)[1]
    hint = "hint: there is nothing to learn; is it the right column?"
    assert found["a"] == [f"error: {one}: has one label only, 'no'", hint]
    assert found["b"] == [
        f"error: {empty}:3: its 'label' is empty",
        "hint: fill it in, or leave such rows out: masscli preprocess --check-columns label=filled --bad-rows skip",
    ]
    asked_for = run_command(
        capsys,
        *args,
        "--labels",
        "no,yes,maybe",
        "--save-dir",
        tmp_path / "more",
        status=0,
    )[1]
    remark = "classify-tsv: no example of label 'maybe' is in the training part: it is not learned"
    assert remark in asked_for
    assert not any("no example of" in line for line in found["c"])


def test_labels_of_validation_that_were_never_learned(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such examples count as wrong and have no loss: the loss and the number of right answers are those without
    them."""
    train = ["label\tsentence", *["no\tba bo", "yes\tga bo"] * 8]
    valid = [
        "label\tsentence",
        "no\tbo",
        "maybe\tba",
        "yes\tga",
        "no\tba",
        "perhaps\tga bo",
    ]
    known = [row for row in valid if row[:2] in ("la", "no", "ye")]
    found = {}
    for name, rows in (
        ("all", valid),
        ("known", known),
        ("none", [valid[0], valid[2]]),
    ):
        (tmp_path / name).mkdir()
        args = finetuned(labeled / "data", tmp_path / name, save(tmp_path / f"{name}-train.tsv", train),
                         save(tmp_path / f"{name}.tsv", rows), "tsv", "classify", "--max-update", 12)  # fmt: skip
        found[name] = run_command(capsys, *args, status=2 if name == "none" else 0)[1]
    remark = f"2 of 5 labels do not occur in the training part (first 'maybe', {tmp_path / 'all.tsv'}:3) and count as wrong in the metrics"
    assert [line for line in found["all"] if "count as wrong" in line] == [
        f"classify-tsv, valid: {remark}"
    ]
    assert not any("count as wrong" in line for line in found["known"])
    message = f"{tmp_path / 'none.tsv'}:2: label 'maybe' does not occur in the training part, and no other one does"
    assert found["none"][0] == f"error: {message}"
    metrics = {name: [json.loads(line)["metrics"] for line in (tmp_path / name / "run" / "log.jsonl").read_text().splitlines()
                      if json.loads(line)["event"] == "evaluated"][-1] for name in ("all", "known")}  # fmt: skip
    assert metrics["all"]["loss"] == pytest.approx(metrics["known"]["loss"], rel=1e-6)
    assert (
        5 * metrics["all"]["accuracy"]
        == pytest.approx(3 * metrics["known"]["accuracy"])
        and metrics["known"]["accuracy"] > 0
    )


def test_question_at_without_questions_is_refused(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "finetune",
        labeled / "data",
        *ENCODER,
        "--max-update",
        1,
        "--save-dir",
        tmp_path / "run",
        "--task",
        "choose",
    ]
    _, err = run_command(capsys, *command, "--question-at", "context", status=2)
    assert err[0].startswith("error: --question-at context: the examples in ") and err[
        0
    ].endswith(" have no 'question'")
    assert err[1:] == ["hint: leave it out"]
    assert not (tmp_path / "run").exists()  # nothing of a run that was refused


def test_an_answer_that_no_window_holds_is_counted(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "ba " * 40 + "bo"
    answers = [{"text": "bo", "answer_start": 120}], [{"text": text, "answer_start": 0}]
    questions = [
        {"id": str(n), "question": "?", "answers": answer}
        for n, answer in enumerate(answers)
    ]
    path = tmp_path / "x.json"
    path.write_text(
        asked(
            *questions,
            {"id": "none", "question": "?", "is_impossible": True},
            context=text,
        ),
        encoding="utf-8",
    )
    args = finetuned(
        labeled / "data",
        tmp_path,
        path,
        path,
        "squad",
        "extract",
        "--max-length",
        30,
        "--max-query",
        6,
    )
    _, err = run_command(capsys, *args, status=0)
    messages = [line for line in err if "in no window" in line]
    remark = (
        ": not learned: 1 answer in no window as a whole (--max-length, --doc-stride)"
    )
    assert [line.partition("extract-squad")[2] for line in messages] == [
        remark,
        f", valid{remark}",
    ]


def test_predictions_are_not_made_if_they_cannot_be_written(
    trained: Path,
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TaskModel, "outputs", None)  # it would be called
    command = ["predict", trained / "extract", "--input", labeled / "valid.json"]
    assert run_command(capsys, *command, "-o", tmp_path / "no/x", status=2)[1] == [
        f"error: --output {tmp_path / 'no/x'}: its folder does not exist",
        "hint: name a file in a folder that exists",
    ]
    _, err = run_command(
        capsys, *command, "-o", tmp_path / "x", "--na-prob", tmp_path / "no/o", status=2
    )
    assert err == [
        f"error: --na-prob {tmp_path / 'no/o'}: its folder does not exist",
        "hint: name a file in a folder that exists",
    ]
    assert not (tmp_path / "x").exists()


def test_another_kind_of_file(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = save(tmp_path / "words", ["label\tsentence", *["1\tba"] * 2100])
    semicolons = save(tmp_path / "semicolons", ["label;sentence", "1;ba"])
    found = {
        ("--tsv", labeled / "train.jsonl"): "one per line, are read with --jsonl",
        ("--tsv", semicolons): "is the first line a header?",
        ("--conll", words): "is it a table? --tsv reads one with a header",
    }
    for (flag, path), hint in found.items():
        command = (
            f"preprocess --spm-model {labeled}/data {flag} train={path} "
            f"--destdir {tmp_path}/data"
        ).split()
        _, err = run_command(capsys, *command, status=2)
        assert str(path) in err[-2] and hint in err[-1]


def test_the_label_is_not_offered_as_text_and_a_wrong_column_has_a_short_hint(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        *f"finetune {labeled}/data --task classify --table two".split(),
        *ENCODER,
        "--save-dir",
        tmp_path / "run",
    ]
    _, err = run_command(
        capsys, *command, "--text-columns", "Label,sentence1", status=2
    )
    assert err[0] == "error: --text-columns Label,sentence1: label is the label"
    _, err = run_command(
        capsys,
        *command,
        "--label-column",
        "sentence1",
        "--text-columns",
        "sentence2",
        status=2,
    )
    assert (
        "does not occur in the training part" in err[0]
        and err[1].endswith(" more; is it the right column?")
        and len(err[1]) < 1500
    )


def test_a_missing_vocabulary_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = save(tmp_path / "x.tsv", ["label\ttext", "1\tba"])
    _, err = run_command(
        capsys,
        *(
            f"preprocess --spm-model {tmp_path}/no --tsv train={table} "
            f"--destdir {tmp_path}/d"
        ).split(),
        status=2,
    )
    assert err[0] == f"error: --spm-model {tmp_path / 'no'}: no such file or folder"


def test_questions_are_scored_whatever_answer_start_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The official scores never look at answer_start; predictions may be lines of JSON; SQuAD 1.1 has no odds."""
    answered = [
        {"id": n, "question": "?", "answers": [{"text": "bo", "answer_start": 1}]}
        for n in "ab"
    ]
    reference = save(tmp_path / "dev.json", [asked(*answered)])
    answers = [
        {"line": 1, "id": "a", "answer": "bo"},
        {"line": 2, "id": "b", "answer": "x"},
    ]
    lines = save(tmp_path / "told.jsonl", [json.dumps(answer) for answer in answers])
    odds = save(tmp_path / "odds.json", ['{"a": 0.1, "b": 0.2}'])
    out, _ = run_command(
        capsys, "score", lines, "--ref", reference, "--metric", "squad", status=0
    )
    assert [row.split()[2] for row in out[:2]] == ["50.00", "50.00"]
    _, err = run_command(
        capsys,
        *f"score {lines} --ref {reference} --metric squad --na-prob {odds}".split(),
        status=2,
    )
    assert err == [
        f"error: --na-prob: all questions of {reference} have answers",
        "hint: leave it out",
    ]
    _, err = run_command(
        capsys, "score", lines, "--ref", reference, "--metric", "f1", status=2
    )
    assert err == [
        f"error: {reference}: is in the format of SQuAD",
        "hint: score predictions with --metric squad",
    ]
    bad = save(tmp_path / "bad.jsonl", ['{"line": 1}', '{"line": 2}'])
    _, err = run_command(
        capsys, "score", bad, "--ref", reference, "--metric", "squad", status=2
    )
    assert err == [
        f"error: {bad}:1: has no id or no answer",
        "hint: `masscli predict --format jsonl` writes id and answer",
    ]


def test_examples_without_a_gold_label_are_left_out(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SNLI's mark is no label to learn, in training or in the metrics, unless the user says that it is one."""
    train = ["label\tsentence", *["neutral\tba bo", "-\tda", "entailment\tga bo"] * 8]
    valid = [
        "label\tsentence",
        "neutral\tbo",
        "-\tba",
        "entailment\tga",
        "neutral\tba",
        "-\tga bo",
    ]
    some = [row for row in valid if not row.startswith("-")]

    def learned(
        name: str, rows: Sequence[str], *more: str, status: int = 0
    ) -> list[str]:
        (tmp_path / name).mkdir()
        args = finetuned(labeled / "data", tmp_path / name, save(tmp_path / f"{name}-train.tsv", train),
                         save(tmp_path / f"{name}.tsv", rows), "tsv", "classify", "--max-update", "12", *more)  # fmt: skip
        return run_command(capsys, *args, status=status)[1]

    def recorded(name: str) -> tuple[dict[str, float], tuple[str, ...]]:
        log = [
            json.loads(line)
            for line in (tmp_path / name / "run" / "log.jsonl").read_text().splitlines()
        ]
        options = (
            Checkpoint.open(tmp_path / name / "run")
            .recipe.stream["classify-tsv"]
            .objective
        )
        assert isinstance(options, ClassifyOptions)
        return [event["metrics"] for event in log if event["event"] == "evaluated"][
            -1
        ], options.labels

    messages = learned("all", valid)
    assert (
        "classify-tsv: 8 of 24 examples have no gold label (--no-gold) and are left out"
        in messages
    )
    assert (
        "classify-tsv, valid: 2 of 5 examples have no gold label (--no-gold) and are left out"
        in messages
    )
    learned("some", some)
    (metrics, labels), (expected, _) = recorded("all"), recorded("some")
    assert (
        labels == ("entailment", "neutral")
        and metrics == pytest.approx(expected, rel=1e-6)
        and expected["accuracy"] > 0
    )
    assert not any(
        "no gold label" in line for line in learned("label", valid, "--no-gold", "")
    )
    assert recorded("label")[1] == ("-", "entailment", "neutral")
    messages = learned("none", [valid[0], valid[2]], status=2)
    assert messages[-2:] == [f"error: {tmp_path / 'none.tsv'}: no example has a gold label",
                         "hint: all are '-' (--no-gold); is it the right column?"]  # fmt: skip
    messages = learned(
        "both", valid, "--labels", "-,neutral,entailment", "--no-gold", "-", status=2
    )
    assert messages[0] == "error: --no-gold -: is among --labels, too"
