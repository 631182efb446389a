"""Multiple choice from the command line: where the question is read, and which choice is right."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from masscli.api.model import load
from masscli.checkpoint.checkpoint import Checkpoint
from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.labeled.choose import Choose
from masscli.training.setup.build import build
from tests.commands import predict, refused
from tests.toy_tasks import ENCODER, TINY, finetune, save

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")


@pytest.mark.parametrize(
    ("row", "options", "message"),
    [
        ({"sentence": ["a", "b"], "label": 0}, ["classify"], "'sentence' is a list in each example, and one string is needed"),
        ({"sentence": "a", "label": ["0"]}, ["classify"], "'label' is a list in each example, and one string is needed"),
        ({"sentence": "a", "label": ["0"]}, ["regress"], "'label' is a list in each example, and one string is needed"),
        ({"source": ["a"], "target": "b"}, ["summarize"], "'source' is a list in each example, and one string is needed"),
        ({"context": "a", "response": "b"}, ["respond"], "'context' is one string in each example, and a list is needed"),
        ({"context": "a", "choices": "b", "label": 0}, ["choose"], "'choices' is one string in each example, and a list is needed"),
        ({"context": "a", "question": "a", "choices": "b", "label": 0}, ["choose"], "'choices' is one string in each example, and a list is needed"),
        ({"context": "a", "question": ["a"], "choices": ["b", "a"], "label": 0}, ["choose"], "'question' is a list in each example, and would not be read"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)  # fmt: skip
def test_a_list_field_is_refused_as_text(
    row: dict[str, object],
    options: list[str],
    message: str,
    labeled: Path,
    tmp_path: Path,
) -> None:
    other = {**row, "label": 1} if row.get("label") == 0 else row
    path = save(tmp_path / "x.jsonl", [json.dumps(row), json.dumps(other)])
    run(
        PreprocessConfig(
            spm_model=labeled / "data", jsonl=(str(path),), destdir=tmp_path / "data"
        )
    )
    found = refused(
        "finetune",
        tmp_path / "data",
        "--task",
        *options,
        "--save-dir",
        tmp_path / "run",
        *TINY,
    )
    assert found[0] == f"{path}: {message}"


@pytest.mark.parametrize(
    ("fields", "options", "problem", "hint"),
    [
        # PIQA, Social IQa and COPA have a field for each choice.
        ("goal sol1 sol2 label", "choose --context-column goal", "has no column 'choices'",
         "jq -c '.choices = [.sol1, .sol2]' joins columns into a list for --choices-column choices"),
        ("context answerA answerB answerC label", "choose", "has no column 'choices'",
         "jq -c '.choices = [.answerA, .answerB, .answerC]' joins columns into a list for --choices-column choices"),
        ("premise choice1 choice2 label", "choose --context-column premise --choices-column choice1,choice2",
         "has no column 'choice1,choice2'",
         "jq -c '.list = [.choice1, .choice2]' joins columns into a list for --choices-column list"),
        ("context response", "respond", "'context' is one string in each example, and a list is needed",
         "jq -c '.context = [.FIRST, .SECOND]' joins columns into a list for --context-column context"),
    ],
)  # fmt: skip
def test_a_table_without_lists_is_told_how_to_make_one(
    fields: str, options: str, problem: str, hint: str, labeled: Path, tmp_path: Path
) -> None:
    row = json.dumps({**dict.fromkeys(fields.split(), "ba"), "label": "0"})
    path = save(tmp_path / "x.jsonl", [row])
    run(
        PreprocessConfig(
            spm_model=labeled / "data", jsonl=(str(path),), destdir=tmp_path / "data"
        )
    )
    command = f"finetune {tmp_path}/data --save-dir {tmp_path}/run --task {options}"
    message, advice = refused(*command.split(), *TINY)
    assert message == f"{path}: {problem}"
    assert advice is not None
    # Where a column is missing, those that there are follow.
    assert advice.split(";")[0] == hint


@pytest.mark.parametrize("question", ["question", "Question"])
def test_the_question_is_read_whatever_the_choices_are_called(
    question: str, labeled: Path, tmp_path: Path
) -> None:
    """RACE, for example, calls them options."""
    rows = [
        json.dumps(
            {
                "article": "ba bo",
                question: "di",
                "options": ["ba", "bo _"],
                "answer": "A",
            }
        )
    ] * 2
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            jsonl=(str(save(tmp_path / "x.jsonl", rows)),),
            destdir=tmp_path / "data",
        )
    )
    data, task = (
        DataFolder.open(tmp_path / "data"),
        "--context-column article --choices-column options --label-column answer".split(),
    )
    finetune(tmp_path, tmp_path / "run", "--task", "choose", *task, *ENCODER, updates=1)
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    example = next(iter(trainer.streams.values())).batch_builder.dataset[0]
    assert data.tokenizer().decode(example.fields[1].tolist(), "en") == "di ba"


def test_the_question_may_be_all_that_there_is(labeled: Path, tmp_path: Path) -> None:
    """Tests of common sense have no text to read: the question is read once, as the context."""
    rows = [{"Question": "di bo", "choices": ["ba", "bo"], "label": n} for n in (0, 1)]
    path = save(tmp_path / "x.jsonl", [json.dumps(row) for row in rows])
    run(
        PreprocessConfig(
            spm_model=labeled / "data", jsonl=(str(path),), destdir=tmp_path / "data"
        )
    )
    task = ["--task", "choose", "--context-column", "question", *ENCODER]
    finetune(tmp_path, tmp_path / "run", *task, updates=1)
    trainer, _ = build(Checkpoint.open(tmp_path / "run").recipe)
    example = next(iter(trainer.streams.values())).batch_builder.dataset[0]
    decode = DataFolder.open(tmp_path / "data").tokenizer().decode
    assert [decode(ids.tolist(), "en") for ids in example.fields[:4]] == [
        "di bo",
        "ba",
        "di bo",
        "bo",
    ]
    asked = {"Question": "di bo", "choices": ["ba", "bo"]}
    assert load(tmp_path / "run").predict([asked])[0].text in ("0", "1")
    command = ["--question-at", "context", "--save-dir", tmp_path / "other", *TINY]
    found = refused("finetune", tmp_path / "data", *task, *command)
    assert found == (
        "--question-at context: 'question' is the --context-column",
        "leave it out",
    )


def test_the_name_of_what_is_joined_with_the_question_is_reserved(
    labeled: Path, tmp_path: Path
) -> None:
    row = {"context": "a", "choices": ["b", "a"], "choices+question": ["b", "a"]}
    path = save(tmp_path / "x.jsonl", [json.dumps(row)])
    with pytest.raises(MasscliError) as error:
        run(
            PreprocessConfig(
                spm_model=labeled / "data", jsonl=(str(path),), destdir=tmp_path / "d"
            )
        )
    assert error.value.message == (
        f"{path}:1: a column cannot be called 'choices+question'"
    )


@pytest.mark.parametrize("frame", ["gpt", "bert"])
def test_where_a_question_is_read(frame: str, labeled: Path, tmp_path: Path) -> None:
    """GPT reads the question after the context, BERT joins it with each choice."""
    rows = [
        json.dumps(
            {
                "context": "ba bo da fe",
                "question": "di _ du",
                "choices": ["ka", "ge ki"],
                "label": 1,
            }
        )
    ] * 2
    path = save(tmp_path / "x.jsonl", rows)
    run(
        PreprocessConfig(
            spm_model=labeled / "data",
            jsonl=(f"train={path}", f"valid={path}"),
            destdir=tmp_path / "data",
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
    objective = (
        load(tmp_path / "run", device="cpu", precision="fp32").task_model().objective
    )
    assert isinstance(objective, Choose)

    def sequences(**options: object) -> list[list[int]]:
        made = Choose(replace(objective.options, **options), objective.context)  # type: ignore[arg-type]
        view = made.dataset(data, "valid")[0]
        batch = made.collator()([view[0]], [])
        lengths = batch.source.lengths.tolist()
        assert view.sizes(0, 2).tolist() == [[2 * max(lengths)]] * 2
        assert bool(made.data_warnings(view)) is (
            max(lengths) == made.options.max_length
        )
        return [
            row[:length].tolist()
            for row, length in zip(batch.source.ids, lengths, strict=True)
        ]

    after = [
        [v.bos, *context, *question, v.sep, *choice, v.cls]
        for choice in (first, second)
    ]
    within = [
        [v.cls, *context, v.sep, *pieces(text), v.sep]
        for text in ("di ka du", "di ge ki du")
    ]
    assert sequences() == (after if frame == "gpt" else within)
    if frame == "bert":
        framed = [
            [v.cls, *context, *question, v.sep, *choice, v.sep]
            for choice in (first, second)
        ]
        assert sequences(question_at="context") == framed
        first_choice = [
            [v.cls, *pieces(text), v.sep, *context, v.sep]
            for text in ("di ka du", "di ge ki du")
        ]
        assert sequences(choice_first=True) == first_choice
        return
    short = (
        3 + len(context) + len(question) + len(second) - 1
    )  # one token too few, and the context gives it
    assert sequences(max_length=short)[1] == [
        v.bos,
        *context[:-1],
        *question,
        v.sep,
        *second,
        v.cls,
    ]
    assert sequences(max_length=short, keep="end")[1] == [
        v.bos,
        *context[1:],
        *question,
        v.sep,
        *second,
        v.cls,
    ]
    least = 3 + len(question) + len(second) - 1  # too few for the question
    assert sequences(max_length=least)[1] == [
        v.bos,
        *question[1:],
        v.sep,
        *second,
        v.cls,
    ]


def test_choose_finds_the_right_choice_at_any_position(
    labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = finetune(
        labeled, tmp_path / "run", "--task", "choose", *ENCODER, updates=60
    )
    assert measured[-1]["accuracy"] > 90
    row = {"context": "ba bo", "choices": ["bi", "ga", "du", "fe"]}
    order = [2, 0, 3, 1]
    moved = {**row, "choices": [row["choices"][n] for n in order]}
    save(tmp_path / "x.jsonl", [json.dumps(row), json.dumps(moved)])
    predictions = predict(
        capsys, tmp_path / "run", "-i", tmp_path / "x.jsonl", "--format", "jsonl"
    )
    first, second = map(json.loads, predictions.splitlines())
    assert [first["probabilities"][n] for n in order] == pytest.approx(
        second["probabilities"], abs=1e-5
    )
    bad = save(tmp_path / "y.jsonl", [json.dumps({**row, "label": 4})])
    run(
        PreprocessConfig(
            spm_model=labeled / "data", jsonl=(str(bad),), destdir=tmp_path / "data"
        )
    )
    found = refused(
        *f"finetune {tmp_path}/data --task choose --save-dir {tmp_path}/r".split(),
        *ENCODER,
    )
    assert found == (
        f"{bad}:1: '4' is none of its 4 choices",
        "'label' must be a number from 0, or a letter from A",
    )
