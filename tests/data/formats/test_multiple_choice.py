"""Multiple choice as SWAG and RACE are distributed: read as they are, the same in every form, learned, and what is broken named."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from masscli.cli.app import dispatch
from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.registry import guess_format, input_files, read_records
from masscli.data.storage.data_folder import DataFolder
from tests.commands import succeed
from tests.toy_tasks import ENCODER, WORDS, finetune

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")

HEADER = [
    "",
    "video-id",
    "fold-ind",
    "startphrase",
    "sent1",
    "sent2",
    "gold-source",
    *(f"ending{n}" for n in range(4)),
    "label",
]
ROWS = [
    ["0", "v1", "3", "\"Old\", a man. He", "\"Old\", a man.", "He", "gold", "runs.", "sees a _.", "is, well, a dog.", "two\nlines", "2"],
    ["1", "v2", "4", "A dog. It", "A dog.", "It _", "gen", "barks.", "sings.", "reads.", "flies.", "0"],
]  # fmt: skip
ARTICLES = {
    "high/2.txt": {"article": "The dog barks.", "questions": ["Who _ or _ ?", "Why?"], "options": [["barks", "sings"], ["No.", "Yes."]],
                   "answers": ["A", "B"], "id": "high2.txt"},
    "middle/1.txt": {"article": "A house.", "questions": ["What?"], "options": [["A dog", "A house", "A cat"]], "answers": ["B"]},
}  # fmt: skip


def swag(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    """As the name says."""
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            csv.writer(file).writerows([HEADER, *rows])
        elif path.suffix == ".tsv":
            file.writelines(
                "\t".join(row).replace("\n", " ") + "\n" for row in [HEADER, *rows]
            )
        else:
            file.writelines(
                json.dumps(dict(zip(HEADER[1:], row[1:], strict=True))) + "\n"
                for row in rows
            )
    return path


def race(folder: Path, articles: dict[str, dict[str, object]]) -> Path:
    for name, article in articles.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(article), encoding="utf-8")
    return folder


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl"])
def test_swag_is_the_same_in_every_form(ending: str, tmp_path: Path) -> None:
    found = list(read_records(swag(tmp_path / f"x.{ending}", ROWS), "swag"))
    last = "two lines" if ending == "tsv" else "two\nlines"
    assert [dict(r.texts) for r in found] == [{"context": '"Old", a man.', "question": "He", "label": "2"},
                                              {"context": "A dog.", "question": "It _", "label": "0"}]  # fmt: skip
    assert found[0].lists["choices"] == ["runs.", "sees a _.", "is, well, a dog.", last]
    assert found[0].lists["choices+question"] == [
        "He runs.",
        "He sees a _.",
        "He is, well, a dog.",
        f"He {last}",
    ]
    assert found[1].lists["choices+question"][0] == "It _ barks.", (
        "a _ is no blank there"
    )
    assert [r.line for r in found] == {"csv": [2, 4], "tsv": [2, 3], "jsonl": [1, 2]}[
        ending
    ]
    assert guess_format(tmp_path / "train.csv.gz") == "swag"


def test_race_is_an_example_for_each_question(tmp_path: Path) -> None:
    folder = race(tmp_path / "train", ARTICLES)
    (tmp_path / "x.jsonl").write_text(
        "".join(json.dumps(a) + "\n" for a in ARTICLES.values()), encoding="utf-8"
    )
    found, lines = (
        list(read_records(folder, "race")),
        list(read_records(tmp_path / "x.jsonl", "race")),
    )
    assert [r.texts["id"] for r in found] == [
        "high/2.txt-1",
        "high/2.txt-2",
        "middle/1.txt-1",
    ]
    assert [r.texts["id"] for r in lines] == ["1-1", "1-2", "2-1"]
    for a, b in zip(found, lines, strict=True):
        assert a.lists == b.lists and {**a.texts, "id": ""} == {**b.texts, "id": ""}
    assert [r.lists["choices+question"] for r in found] == [["Who barks or barks ?", "Who sings or sings ?"], ["Why? No.", "Why? Yes."],
                                                            ["What? A dog", "What? A house", "What? A cat"]]  # fmt: skip
    assert [(r.texts["context"], r.texts["label"]) for r in found] == [
        ("The dog barks.", "A"),
        ("The dog barks.", "B"),
        ("A house.", "B"),
    ]
    assert guess_format(folder) == "race" and len(input_files(folder, "race")) == 2


def test_other_files_among_the_articles_of_race_are_counted(tmp_path: Path) -> None:
    folder = race(tmp_path / "train", ARTICLES)
    (folder / "more").mkdir()
    for name in ("1.TXT", "2.json", "more/README"):
        (folder / name).write_text("x", encoding="utf-8")
    bad_rows = BadRows()
    assert len(list(read_records(folder, "race", bad_rows))) > 0
    assert bad_rows.unread_text() == "3 other files"


def toy(draw: random.Random) -> tuple[str, list[str], int]:
    """A context, choices, and which is right: the one that says `ga`."""
    wrong = [
        " ".join(draw.choices([w for w in WORDS if w != "ga"], k=2)) for _ in range(4)
    ]
    right = draw.randrange(4)
    wrong[right] = f"ga {draw.choice(WORDS)}"
    return " ".join(draw.choices(WORDS, k=4)), wrong, right


def write_swag(path: Path, questions: list[tuple[str, list[str], int]]) -> Path:
    rows = []
    for text, choices, right in questions:
        rows.append(["0", "v", "1", "", text, "bo", "gold", *choices, str(right)])
    return swag(path.with_suffix(".csv"), rows)


def write_race(folder: Path, questions: list[tuple[str, list[str], int]]) -> Path:
    """An article for every two questions."""
    articles: dict[str, dict[str, object]] = {}
    for n in range(0, len(questions), 2):
        pair = questions[n : n + 2]
        articles[f"{n // 2:03}.txt"] = {
            "article": pair[0][0],
            "questions": ["bo?", "bo _"],
            "options": [choices for _, choices, _ in pair],
            "answers": ["ABCD"[right] for _, _, right in pair],
        }
    return race(folder, articles)


@pytest.mark.parametrize("kind", ["swag", "race"])
def test_swag_and_race_are_learned_and_predicted_without_conversion(
    kind: str, labeled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw, places, gold = random.Random(kind), {}, list[int]()
    write = write_swag if kind == "swag" else write_race
    for split, count in (("train", 32), ("valid", 6)):
        questions = [toy(draw) for _ in range(2 * count)]
        gold = [right for _, _, right in questions]
        places[split] = write(tmp_path / split, questions)
    command = f"preprocess --spm-model {labeled}/data --destdir {tmp_path}/data --{kind}".split()
    succeed([*command, f"train={places['train']},valid={places['valid']}"])
    table = DataFolder.open(tmp_path / "data").table(kind, "valid")
    assert (len(table), table.format) == (12, kind)
    where = {
        "swag": f"{places['valid']}:3",
        "race": f"{places['valid']}: question '000.txt-2'",
    }
    assert table.location(1) == where[kind]
    assert (
        finetune(tmp_path, tmp_path / "run", "--task", "choose", *ENCODER, updates=40)[
            -1
        ]["accuracy"]
        == 100.0
    )
    capsys.readouterr()
    succeed(f"predict {tmp_path}/run -i {places['valid']} --precision fp32")
    assert capsys.readouterr().out.split() == list(map(str, gold))
    succeed(
        f"predict {tmp_path}/run --input {places['valid']} --format jsonl "
        "--precision fp32"
    )
    predictions = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["label"] for row in predictions] == gold
    named = [f"{n:03}.txt-{question}" for n in range(6) for question in (1, 2)]
    assert [row.get("id") for row in predictions] == (
        named if kind == "race" else [None] * 12
    )


def test_choices_with_letters_are_read_as_they_are_distributed(tmp_path: Path) -> None:
    """CommonsenseQA and ARC, of which some questions have digits, and the form of the library `datasets`."""
    choices = [{"label": "A", "text": "a dog"}, {"label": "B", "text": "a cat"}]
    digits = [{"text": "a dog", "label": "1"}, {"text": "a cat", "label": "2"}]
    lists = {"label": ["A", "B"], "text": ["a dog", "a cat"]}
    question = {"stem": "What barks?", "question_concept": "bark"}
    forms = {
        "csqa": [
            {"answerKey": "A", "id": "x", "question": {**question, "choices": choices}},
            {"answerKey": "2", "id": "y", "question": {**question, "choices": digits}},
        ],
        "datasets": [
            {
                "id": "x",
                "question": "What barks?",
                "question_concept": "bark",
                "choices": lists,
                "answerKey": "A",
            },
            {
                "id": "y",
                "question": "What barks?",
                "question_concept": "bark",
                "choices": lists,
                "answerKey": "B",
            },
        ],
    }
    for name, rows in forms.items():
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        for record, label in zip(read_records(path, "jsonl"), "01", strict=True):
            assert record.texts["label"] == label
            assert record.texts["question"] == "What barks?"
            assert record.texts["question_concept"] == "bark"
            assert record.lists["choices"] == ["a dog", "a cat"]
            assert record.lists["choices+question"][1] == "What barks? a cat"
    # A test part keeps its answers back.
    rows = [{**row, "answerKey": ""} for row in forms["datasets"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [record.texts["label"] for record in read_records(path, "jsonl")] == ["", ""]


def test_a_line_of_underscores_is_one_blank(tmp_path: Path) -> None:
    article = {
        "article": "a",
        "questions": ["On ____ he\\_."],
        "options": [["b", "c\\1"]],
        "answers": ["A"],
    }
    path = race(tmp_path / "race", {"1.txt": article})
    [record] = read_records(path, "race")
    assert record.lists["choices+question"] == ["On b he\\b.", "On c\\1 he\\c\\1."]


BROKEN = [
    ("swag", "sent1,sent2,ending0,label\na,b,c,0\n", "{path}:2: has no 'ending1'"),
    ("swag", "sent1,sent2,ending0,ending1\na,b,c,d\na,b,c\n", "{path}:3: has 3 columns, the header has 4"),
    ("swag", "sent1,sent2,ending0,ending1\na,b,c,d\n\na,b,c,d\n", "{path}:3: has 0 columns, the header has 4"),
    ("swag", "\nsent1,sent2,ending0,ending1\na,b,c,d\n", "{path}:2: has 4 columns, the header has 0"),
    ("swag", 'sent1,sent2,ending0,ending1\na,b,c,d\na,b,c,"d\n', "{path}:3: not CSV (unexpected end of data)"),
    ("swag", "sent1,sent2,ending0,ending1\n", "{path}: holds no examples"),
    ("race", "{}\n", "{path}:1: is not a RACE article (KeyError('article'))"),
    ("race", "[]\n", "{path}:1: is not a RACE article (TypeError('list indices must be integers or slices, not str'))"),
    ("race", '{"article": "a", "questions": ["b"], "options": "cd", "answers": ["A"]}\n',
     "{path}:1: is not a RACE article (TypeError('questions, options and answers are not lists'))"),
    ("race", '{"article": "a", "questions": ["b"], "options": [["c"], ["d"]], "answers": ["A"]}\n',
     "{path}:1: is not a RACE article (ValueError('zip() argument 2 is longer than argument 1'))"),
    ("race", '{"article": "a", "questions": ["b"], "options": [["c", "d"]], "answers": {"A": 1}}\n',
     "{path}:1: is not a RACE article (TypeError('questions, options and answers are not lists'))"),
    ("race", '{"article": "a", "questions": "b", "options": [["c", "d"]], "answers": ["A"]}\n',
     "{path}:1: is not a RACE article (TypeError('questions, options and answers are not lists'))"),
    ("race", '{"article": "a", "questions": ["b"], "options": ["c"], "answers": ["A"]}\n',
     "{path}:1: is not a RACE article (TypeError('the options of a question are not a list'))"),
    ("race", '{"article": "a", "questions": ["b"], "options": [["c", null]], "answers": ["A"]}\n',
     "{path}:1: is not a RACE article (TypeError('a text is not a string'))"),
    ("race", '{"article": "a", "questions": ["b"], "options": [["c", "d"]], "answers": ["A"]}\n'
             '{"article": "a", "questions": [], "options": []}\n',
     "{path}:2: is not a RACE article (KeyError('answers'))"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "message"), BROKEN)
def test_broken_rows_are_named(
    kind: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text(text, encoding="utf-8")
    with pytest.raises(MasscliError) as caught:
        list(read_records(tmp_path / "x", kind))
    assert (caught.value.message, caught.value.hint is None) == (
        message.replace("{path}", str(tmp_path / "x")),
        False,
    )


def test_a_folder_without_an_article_is_named(tmp_path: Path) -> None:
    with pytest.raises(MasscliError) as caught:
        dispatch(
            (
                f"preprocess --langs en --race train={tmp_path} "
                f"--destdir {tmp_path}/data"
            ).split()
        )
    assert (
        caught.value.message
        == f"--race train={tmp_path}: {tmp_path} holds no .txt file"
    )
