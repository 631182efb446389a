"""`masscli score` reads what `masscli predict` writes and the tasks read: the number is that of an independent count, or it refuses."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from masscli.__main__ import run
from tests.commands import refusal, succeed
from tests.toy_tasks import ENCODER, save


def scored(
    capsys: pytest.CaptureFixture[str], *args: object
) -> tuple[dict[str, float], list[str]]:
    """Values by the name of their metric, and the lines on standard error."""
    capsys.readouterr()
    assert run(["score", *map(str, args), "--format", "json"]) == 0, (
        capsys.readouterr().err
    )
    out, err = capsys.readouterr()
    return {
        score["name"]: score["value"] for score in json.loads(out)
    }, err.splitlines()


def refused(capsys: pytest.CaptureFixture[str], *args: object) -> list[str]:
    """The error and the hint with which `masscli score` refuses its arguments."""
    return refusal(capsys, "score", *args)


def share(gold: Sequence[object], predicted: Sequence[object]) -> float:
    return 100 * sum(a == b for a, b in zip(gold, predicted, strict=True)) / len(gold)


def objects(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    return save(path, [json.dumps(row, ensure_ascii=False) for row in rows])


# -- from end to end -----------------------------------------------------------------------------------------------------------------------

RUNS = {
    "classify": (
        ["--table", "one"],
        "valid.tsv",
        ["--column", "label"],
        ("text", "tsv", "jsonl"),
    ),
    "regress": (
        ["--table", "two", "--label-column", "score"],
        "valid.pairs.tsv",
        ["--column", "score"],
        ("text", "tsv", "jsonl"),
    ),
    "tag": ([], "valid.conll", [], ("text", "jsonl")),
    "choose": ([], "valid.jsonl", ["--column", "label"], ("text", "jsonl")),
}


def gold_of(folder: Path, task: str) -> list[str]:
    rows = (folder / RUNS[task][1]).read_text(encoding="utf-8").splitlines()
    if task == "choose":
        return [str(json.loads(row)["label"]) for row in rows]
    if task == "tag":
        return [row.split("\t")[1] for row in rows if row]
    return [row.split("\t")[0 if task == "classify" else 3] for row in rows[1:]]


@pytest.mark.usefixtures("one_thread", "no_sync")
@pytest.mark.parametrize("task", RUNS)
def test_whatever_predict_writes_has_the_same_score(
    task: str,
    labeled: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options, name, column, formats = RUNS[task]
    command = [
        "finetune",
        str(labeled / "data"),
        "--task",
        task,
        *ENCODER,
        *options,
        "--max-update",
        "3",
        "--save-dir",
        str(tmp_path / "run"),
    ]
    succeed(command)
    gold, metric = (
        gold_of(labeled, task),
        "pearson" if task == "regress" else "accuracy",
    )
    for form in formats:
        made = (
            tmp_path / f"{task}.{form}"
        )  # .text says nothing; .tsv and .jsonl say what they are
        asked = [
            *f"predict {tmp_path}/run -i {labeled}/{name} --precision fp32 --format".split(),
            form,
            "-o",
            str(made),
        ]
        succeed(asked)
        text = made.read_text(encoding="utf-8")
        if form == "text":
            predicted = [row.split("\t")[-1] for row in text.splitlines() if row]
            assert len(predicted) == len(gold)
        found, err = scored(
            capsys, made, "--ref", labeled / name, *column, "-m", metric
        )
        if metric == "accuracy":
            assert found == {"accuracy": pytest.approx(share(gold, predicted))}
        else:
            x, y = [float(a) for a in gold], [float(b) for b in predicted]
            mx, my = sum(x) / len(x), sum(y) / len(y)
            below = (
                sum((a - mx) ** 2 for a in x) * sum((b - my) ** 2 for b in y)
            ) ** 0.5
            expected = (
                100
                * sum((a - mx) * (b - my) for a, b in zip(x, y, strict=True))
                / below
            )
            assert found == {
                "Pearson": pytest.approx(expected, abs=0.5)
            }  # text has four digits of numbers that hardly differ yet
        assert not any("words" in line or "same labels" in line for line in err)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        assert (
            scored(capsys, "-", "--ref", labeled / name, *column, "-m", metric)[0]
            == found
        )


# -- fields of JSONL -----------------------------------------------------------------------------------------------------------------------


def test_fields_of_jsonl_on_either_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = [
        {"text": "a", "gold": label, "n": n}
        for n, label in enumerate(["x", "y", "y", "x"])
    ]
    predicted = [
        {"line": n, "label": label, "second": "x", "probability": 0.5}
        for n, label in enumerate(["x", "x", "y", "y"], 1)
    ]
    ref, hyp = (
        objects(tmp_path / "ref.jsonl", gold),
        objects(tmp_path / "hyp.jsonl", predicted),
    )
    assert scored(capsys, hyp, "--ref", ref, "--column", "gold", "-m", "accuracy")[
        0
    ] == {"accuracy": 50}
    assert (
        scored(
            capsys,
            hyp,
            "--ref",
            ref,
            "--column",
            "gold",
            "--hyp-column",
            "second",
            "-m",
            "accuracy,f1",
        )[0]["accuracy"]
        == 50
    )
    numbers = objects(
        tmp_path / "numbers.jsonl", [{"line": n, "value": 2.5 - n} for n in range(4)]
    )
    assert scored(capsys, numbers, "--ref", ref, "--column", "n", "-m", "pearson") == (
        {"Pearson": pytest.approx(-100)},
        [],
    )
    packed = tmp_path / "ref.jsonl.gz"
    packed.write_bytes(gzip.compress(ref.read_bytes()))
    assert scored(capsys, hyp, "--ref", packed, "--column", "gold", "-m", "accuracy")[
        0
    ] == {"accuracy": 50}
    renamed = objects(tmp_path / "ref.json", gold)
    assert scored(capsys, hyp, "--ref", renamed, "--column", "gold", "-m", "accuracy")[
        0
    ] == {"accuracy": 50}
    ended = save(tmp_path / "ended.jsonl", [*ref.read_text().splitlines(), "", ""])
    assert scored(capsys, hyp, "--ref", ended, "--column", "GOLD", "-m", "accuracy")[
        0
    ] == {"accuracy": 50}, "in whatever case"
    strange = objects(tmp_path / "ref.txt", gold)
    assert scored(
        capsys,
        hyp,
        "--ref",
        strange,
        "--ref-format",
        "jsonl",
        "--column",
        "gold",
        "-m",
        "accuracy",
    )[0] == {"accuracy": 50}


def test_jsonl_is_not_scored_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a field it is refused by its name; objects under another name are pointed out, since text may be JSON."""
    gold, predicted = (
        objects(tmp_path / "ref.jsonl", [{"gold": "x"}]),
        objects(tmp_path / "hyp.jsonl", [{"guess": "x", "sure": 0.5}]),
    )
    labels, other = (
        save(tmp_path / "labels", ["x"]),
        objects(tmp_path / "other", [{"guess": "x"}]),
    )
    assert refused(capsys, labels, "--ref", gold, "-m", "accuracy") == [
        f"error: {gold}: is JSONL, but no field is chosen",
        "hint: choose with --column; it has gold",
    ]
    assert refused(capsys, predicted, "--ref", labels, "-m", "accuracy") == [
        f"error: {predicted}: is JSONL, but no field is chosen",
        "hint: choose with --hyp-column; it has guess, sure",
    ]
    assert refused(
        capsys, predicted, "--ref", labels, "--hyp-column", "label", "-m", "accuracy"
    ) == [
        f"error: {predicted}:1: has no field 'label'",
        "hint: it has guess, sure; choose with --hyp-column",
    ]
    bare = "its lines are JSON and are compared as they are; "
    same = objects(tmp_path / "same", [{"guess": "x"}])
    assert (
        f"warning: {same}: {bare}--column reads a field"
        in scored(capsys, other, "--ref", same, "-m", "accuracy")[1]
    )
    assert (
        f"warning: {other}: {bare}--hyp-column reads a field"
        in scored(capsys, other, "--ref", labels, "-m", "accuracy")[1]
    )
    assert (
        f"warning: {other}: {bare}--column reads a field"
        in scored(capsys, labels, "--ref", other, "-m", "accuracy")[1]
    )
    assert scored(
        capsys, other, "--ref", labels, "--hyp-column", "guess", "-m", "accuracy"
    )[0] == {"accuracy": 100}


def test_json_lines_of_generate_are_scored_by_their_best_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The references are in the same file."""
    rows = [{"line": n, "source": "x", "reference": r, "hypotheses": [{"text": t, "score": -1}, {"text": "b"}]}
            for n, (r, t) in enumerate([("a b c", "a b c"), ("d e", "d f")], 1)]  # fmt: skip
    written = objects(tmp_path / "written.jsonl", rows)
    found, _ = scored(
        capsys,
        written,
        "--ref",
        written,
        "--column",
        "reference",
        "-m",
        "accuracy,rouge-1",
    )
    assert found == {"accuracy": 50, "ROUGE-1": 75}
    broken = objects(tmp_path / "broken.jsonl", [*rows, {"line": 3, "hypotheses": []}])
    assert refused(capsys, broken, "--ref", written, "--column", "reference") == [
        f"error: {broken}:3: has no hypothesis with a text",
        "hint: masscli generate --format jsonl writes one in each line",
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ['{"gold": "x"}', "x"],
            "2: not JSON (Expecting value: line 1 column 1 (char 0))",
        ),
        (['{"gold": "x"}', '["x"]'], '2: expected an object, got ["x"]'),
        (
            ['{"gold": "x"}', '{"gold": null}'],
            "2: 'gold' is null, expected a string or a number",
        ),
        (
            ['{"gold": "x"}', '{"gold": {"x": 1}}'],
            "2: 'gold' is {\"x\": 1}, expected a string or a number",
        ),
        (['{"gold": "x"}', '{"gold": ["x"]}'], "2: 'gold' is a list, unlike in line 1"),
        (
            ['{"gold": ["x"]}', '{"gold": "x"}'],
            "2: 'gold' is no list, unlike in line 1",
        ),
        (
            ['{"gold": ["x", null]}', '{"gold": ["x"]}'],
            "1: 'gold' is null, expected a string or a number",
        ),
        (['{"gold": "x"}', '{"told": "x"}'], "2: has no field 'gold'"),
        (['{"gold": "x"}', "", '{"gold": "x"}'], "2: is blank"),
        (
            ['{"gold": "x"}', '{"gold": "\\ud800"}'],
            "2: '\\ud800' is an unpaired surrogate",
        ),
    ],
)
def test_a_bad_line_of_jsonl_is_named(
    rows: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref, hyp = save(tmp_path / "ref.jsonl", rows), save(tmp_path / "hyp", ["x", "x"])
    assert (
        refused(capsys, hyp, "--ref", ref, "--column", "gold", "-m", "accuracy")[0]
        == f"error: {ref}:{message}"
    )


# -- tables --------------------------------------------------------------------------------------------------------------------------------


def test_a_table_is_not_scored_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, labels = (
        save(tmp_path / "ref.tsv", ["label\tsentence", "x\ta", "y\tb"]),
        save(tmp_path / "hyp", ["x", "y"]),
    )
    assert refused(capsys, labels, "--ref", table, "-m", "accuracy") == [
        f"error: {table}: is a table, but no column is chosen",
        "hint: choose with --column; it has label, sentence",
    ]
    assert refused(capsys, table, "--ref", labels, "-m", "accuracy") == [
        f"error: {table}: is a table, but no column is chosen",
        "hint: choose with --hyp-column; it has label, sentence",
    ]
    assert scored(
        capsys, table, "--ref", labels, "--hyp-column", "label", "-m", "accuracy"
    )[0] == {"accuracy": 100}
    three = save(tmp_path / "three", ["label\tsentence", "x\ta", "z\tb"])
    assert scored(
        capsys, three, "--ref", table, "--ref-format", "lines", "-m", "accuracy"
    )[0] == {"accuracy": pytest.approx(200 / 3)}
    alone = save(
        tmp_path / "alone.tsv", ["x", "y"]
    )  # one column has no tab, and may be without a header
    assert scored(capsys, labels, "--ref", alone, "-m", "accuracy")[0] == {
        "accuracy": 100
    }
    upper = save(tmp_path / "upper.tsv", ["Label\tsentence", "x\ta", "y\tb"])
    assert scored(
        capsys, labels, "--ref", upper, "--column", "label", "-m", "accuracy"
    )[0] == {"accuracy": 100}
    twice = save(tmp_path / "twice.tsv", ["label\tlabel", "x\ty", "y\ty"])
    assert (
        refused(capsys, labels, "--ref", twice, "--column", "label", "-m", "accuracy")[
            0
        ]
        == f"error: {twice}: has two columns called 'label'"
    )
    assert refused(
        capsys, labels, "--ref", alone, "--column", "x", "--ref-format", "lines"
    )[0] == ("error: --column: the references have none, with --ref-format lines")


# -- CoNLL ---------------------------------------------------------------------------------------------------------------------------------

UD = [
    "# sent_id = 1", "# text = vámonos al mar",
    "1-2\tvámonos\t_\t_\t_\t_\t_\t_\t_\t_", "1\tvamos\tir\tVERB\tV\t_\t0\troot\t_\t_", "2\tnos\tnosotros\tPRON\tP\t_\t1\tobj\t_\t_",
    "3-4\tal\t_\t_\t_\t_\t_\t_\t_\t_", "3\ta\ta\tADP\tS\t_\t5\tcase\t_\t_", "4\tel\tel\tDET\tD\t_\t5\tdet\t_\t_",
    "4.1\tx\tx\tX\tX\t_\t_\t_\t_\t_", "5\tmar\tmar\tNOUN\tN\t_\t1\tobl\t_\t_", "",
    "# sent_id = 2", "1\tsí\tsí\tINTJ\tI\t_\t0\troot\t_\tSpaceAfter=No", "",
]  # fmt: skip
"""Words: vamos nos a el mar; sí."""


def test_a_column_of_conllu_is_compared_word_by_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments, ranges and empty nodes are no words; two of six tags are wrong, and the lines between are no seventh."""
    ref = save(tmp_path / "dev.conllu", UD)
    predicted = [
        "vamos\tVERB",
        "nos\tNOUN",
        "a\tADP",
        "el\tDET",
        "mar\tADJ",
        "",
        "sí\tINTJ",
        "",
    ]
    hyp = save(tmp_path / "told", predicted)
    assert scored(capsys, hyp, "--ref", ref, "--column", 4, "-m", "accuracy") == (
        {"accuracy": pytest.approx(400 / 6)},
        [f"{ref}: not read: 3 comments, 2 word ranges, 1 empty node"],
    )
    found, _ = scored(capsys, hyp, "--ref", ref, "--column", 4, "-m", "f1,mcc")
    # VERB, ADP, DET and INTJ are right (F1 1), PRON, NOUN and ADJ have none
    assert found["F1"] == pytest.approx(400 / 7) and 0 < found["Matthews"] < 100
    assert scored(capsys, hyp, "--ref", ref, "--column", 5, "-m", "accuracy")[0] == {
        "accuracy": 0
    }
    same = objects(
        tmp_path / "told.jsonl",
        [
            {
                "line": 1,
                "words": ["vamos", "nos", "a", "el", "mar"],
                "tags": ["VERB", "NOUN", "ADP", "DET", "ADJ"],
            },
            {"line": 2, "words": ["sí"], "tags": ["INTJ"], "probabilities": [None]},
        ],
    )
    assert scored(capsys, same, "--ref", ref, "--column", 4, "-m", "accuracy")[0] == {
        "accuracy": pytest.approx(400 / 6)
    }
    assert scored(capsys, hyp, "--ref", ref, "-m", "accuracy")[0] == {
        "accuracy": pytest.approx(400 / 6)
    }, "UPOS if none is named"
    ten = save(
        tmp_path / "ten.conll",
        ["w\t" + "\t".join("abcdefghi"), "v\t" + "\t".join("abcdefghj")],
    )  # ten columns are not CoNLL-U
    last = save(tmp_path / "last", ["w\ti", "v\ti"])
    assert scored(capsys, last, "--ref", ten, "-m", "accuracy")[0] == {"accuracy": 50}
    odd = save(tmp_path / "dev.txt", UD[3:5])
    assert refused(capsys, hyp, "--ref", odd, "--column", 4, "-m", "accuracy")[
        1
    ].endswith("; or are these CoNLL lines? --ref-format conll")
    two = save(tmp_path / "two", ["vamos\tVERB", "nos\tADP"])
    assert scored(
        capsys,
        two,
        "--ref",
        odd,
        "--column",
        4,
        "--ref-format",
        "conll",
        "-m",
        "accuracy",
    )[0] == {"accuracy": 50}
    for column in ("0", "11", "upos"):
        assert refused(
            capsys, hyp, "--ref", ref, "--column", column, "-m", "accuracy"
        ) == [
            f"error: {ref}: has no column '{column}'",
            "hint: columns of CoNLL lines are numbers, here 1 to 10; see --column",
        ]
    assert scored(
        capsys, ref, "--ref", ref, "--column", 4, "--hyp-column", 5, "-m", "accuracy"
    )[0] == {"accuracy": 0}


@pytest.mark.parametrize(
    ("column", "expected"), [("2", 100.0), ("3", 200 / 3), (None, 200 / 3)]
)
def test_entities_are_those_of_the_column_that_is_named(
    column: str | None,
    expected: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The name of the file does not matter; the default is the last column."""
    hyp = save(tmp_path / "told.tsv", ["a\tB-X", "b\tI-X", "", "c\tB-Y"])
    lines = ["a\tB-X\tB-X", "b\tI-X\tI-X", "", "c\tB-Y\tO"]
    for name in (
        ("gold", "gold.tsv", "gold.conll") if column is None else ("gold", "gold.conll")
    ):
        command = [
            "--ref",
            save(tmp_path / name, lines),
            *(["--column", column] if column else []),
            "-m",
            "entity-f1",
        ]
        assert scored(capsys, hyp, *command)[0] == {
            "entity F1": pytest.approx(expected)
        }
    predicted = save(
        tmp_path / "two.conll", ["a\tB-X\tO", "b\tI-X\tO", "", "c\tB-Y\tO"]
    )
    assert scored(capsys, predicted, *command, "--hyp-column", 2)[0] == {
        "entity F1": pytest.approx(expected)
    }
    listed = objects(
        tmp_path / "gold.jsonl", [{"gold": ["B-X", "I-X"]}, {"gold": ["B-Y"]}]
    )
    assert scored(capsys, hyp, "--ref", listed, "--column", "gold", "-m", "entity-f1")[
        0
    ] == {"entity F1": 100}


def test_other_sentences_are_refused_and_other_words_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ref = save(tmp_path / "gold.conll", ["a\tX", "b\tY", "", "c\tX"])
    joined, fewer = (
        save(tmp_path / "joined", ["a\tX", "b\tY", "c\tX"]),
        save(tmp_path / "fewer", ["a\tX", "b\tY"]),
    )
    cut = save(tmp_path / "cut", ["a\tX", "b\tY", "", "c\tX", "d\tX"])
    hint = "hint: tags are compared word by word: predictions and references must be of the same sentences"
    assert refused(capsys, joined, "--ref", ref, "-m", "accuracy") == [
        f"error: {joined}:1: 3 words in sentence 1, but 2 in {ref}",
        hint,
    ]
    assert refused(capsys, cut, "--ref", ref, "-m", "accuracy") == [
        f"error: {cut}:4: 2 words in sentence 2, but 1 in {ref}",
        hint,
    ]
    assert refused(capsys, fewer, "--ref", ref, "-m", "entity-f1") == [
        f"error: {fewer} and {ref}: 1 and 2 sentences",
        "hint: sentence n of one is scored against sentence n of the other",
    ]
    other = save(tmp_path / "other", ["a\tX", "z\tY", "", "c\tY"])
    found, err = scored(capsys, other, "--ref", ref, "-m", "accuracy")
    assert found == {"accuracy": pytest.approx(200 / 3)}
    assert err == [f"warning: {other}: 1 of 3 words are not those of {ref}"]
    bare = save(
        tmp_path / "bare", ["X", "Y", "", "Y"]
    )  # tags alone have no words to compare
    assert scored(capsys, bare, "--ref", ref, "-m", "accuracy") == (
        {"accuracy": pytest.approx(200 / 3)},
        [],
    )


# -- choices -------------------------------------------------------------------------------------------------------------------------------


def choose(path: Path, labels: Sequence[object], **beside: object) -> Path:
    rows = [
        {"context": "c", "choices": list("pqr"), "label": label, **beside}
        for label in labels
    ]
    return objects(path, rows)


def test_letters_and_numbers_of_choices_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    numbers, letters = (
        choose(tmp_path / "numbers.jsonl", [0, 2, 1, 1]),
        choose(tmp_path / "letters.jsonl", list("ACBB")),
    )
    predicted = {
        "zero": save(tmp_path / "zero", ["0", "2", "0", "1"]),
        "letter": save(tmp_path / "letter", list("ACAB")),
        "jsonl": objects(
            tmp_path / "told.jsonl",
            [
                {"line": n, "label": label, "choice": "p"}
                for n, label in enumerate([0, 2, 0, 1])
            ],
        ),
    }
    for ref in (numbers, letters):
        for kind, hyp in predicted.items():
            found, err = scored(
                capsys, hyp, "--ref", ref, "--column", "label", "-m", "accuracy"
            )
            assert found == {"accuracy": 75}
            differ = (ref is letters) is not (kind == "letter")
            message = f"warning: {hyp} and {ref}: numbers of choices from 0 and letters from A are the same labels"
            assert err == ([message] if differ else [])
    for bad in ("3", "D", "p", "-1"):
        hyp = save(tmp_path / "bad", ["0", bad, "0", "1"])
        assert refused(
            capsys, hyp, "--ref", letters, "--column", "label", "-m", "accuracy"
        ) == [
            f"error: {hyp}:2: '{bad}' is none of the 3 choices in {letters}",
            "hint: it must be a number from 0, or a letter from A",
        ]


def test_labels_that_are_not_choices_are_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Letters and numbers differ where no choices stand beside them, under the name that is said; other fields of choices are text."""
    hyp = save(tmp_path / "hyp", ["0", "1"])
    plain, table = (
        objects(tmp_path / "ref.jsonl", [{"label": "A"}, {"label": "B"}]),
        save(tmp_path / "ref.tsv", ["label\tx", "A\t", "B\t"]),
    )
    elsewhere = objects(
        tmp_path / "other.jsonl",
        [{"label": letter, "endings": ["p", "q"]} for letter in "AB"],
    )
    for ref in (plain, table, elsewhere):
        found, err = scored(
            capsys, hyp, "--ref", ref, "--column", "label", "-m", "accuracy"
        )
        assert found == {"accuracy": 0}
        assert (
            f"warning: {hyp}: has no label in common with {ref}: '0', '1' against 'A', 'B'"
            in err
        )
    command = ["--ref", elsewhere, "--column", "label", "--choices-column", "endings"]
    assert scored(capsys, hyp, *command, "-m", "accuracy")[0] == {"accuracy": 100}
    texts = choose(tmp_path / "texts.jsonl", [0, 1], answer="p")
    chosen = objects(
        tmp_path / "chosen.jsonl",
        [
            {"line": 1, "label": 0, "choice": "p"},
            {"line": 2, "label": 1, "choice": "q"},
        ],
    )
    found, _ = scored(
        capsys,
        chosen,
        "--hyp-column",
        "choice",
        "--ref",
        texts,
        "--column",
        "answer",
        "-m",
        "accuracy",
    )
    assert found == {"accuracy": 50}


def test_a_csv_that_is_not_swag_may_be_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A label a line needs no --ref-format, and may have it."""
    labels, hyp = (
        save(tmp_path / "labels.csv", ["x", "y"]),
        save(tmp_path / "hyp", ["x", "x"]),
    )
    for form in ([], ["--ref-format", "lines"]):
        found, _ = scored(capsys, hyp, "--ref", labels, *form, "-m", "accuracy")
        assert found == {"accuracy": 50}


def test_swag_and_race_as_they_are_distributed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SWAG has the right choice as a number, RACE as a letter; predictions are numbers. The column `label` is the default; --ref-format may name the format."""
    head, rows = (
        ["sent1", "sent2", "ending0", "ending1", "label"],
        [["a, b", "c", "d", "e", "1"], ["f", "g", "h", "i", "0"]],
    )
    swag = save(
        tmp_path / "val.csv",
        [",".join(f'"{value}"' for value in row) for row in (head, *rows)],
    )
    tabs = save(tmp_path / "val.tsv", ["\t".join(row) for row in (head, *rows)])
    articles = [
        {
            "article": "a",
            "questions": ["b?", "_ c"],
            "options": [["d", "e"], ["f", "g", "h"]],
            "answers": ["B", "C"],
        }
    ]
    (tmp_path / "race").mkdir()
    objects(tmp_path / "race" / "1.txt", articles)
    race = objects(tmp_path / "race.jsonl", articles)
    hyp = save(tmp_path / "hyp", ["1", "1"])
    assert scored(capsys, hyp, "--ref", swag, "-m", "accuracy") == (
        {"accuracy": 50},
        [],
    )
    assert scored(
        capsys, hyp, "--ref", tabs, "--ref-format", "swag", "-m", "accuracy"
    ) == (
        {"accuracy": 50},
        [],
    )
    for ref in ([tmp_path / "race"], [race, "--ref-format", "race"]):
        found, err = scored(capsys, hyp, "--ref", *ref, "-m", "accuracy")
        assert found == {"accuracy": 50}
        assert err == [
            f"warning: {hyp} and {ref[0]}: numbers of choices from 0 and letters from A are the same labels"
        ]
    assert refused(
        capsys,
        save(tmp_path / "two", ["1", "3"]),
        "--ref",
        tmp_path / "race",
        "-m",
        "accuracy",
    )[0] == (
        f"error: {tmp_path / 'two'}:2: '3' is none of the 3 choices in {tmp_path / 'race'}"
    )
    assert refused(
        capsys, hyp, "--ref", swag, "--column", "gold", "-m", "accuracy"
    ) == [
        f"error: {swag}: has no column 'gold'",
        "hint: choose with --column; it has context, question, label",
    ]


@pytest.mark.parametrize(
    ("lines", "kind", "command"),
    [
        (
            ["S-1\ta b", "T-1\tx y", "H-1\t-0.5\tx z", "D-1\t-0.5\tx z", "P-1\t-0.1 -0.2", "S-0\tc", "T-0\tw",
             "H-0\t-0.2\tw", "D-0\t-0.2\tw", "P-0\t-0.2", "Generate test with beam=5: BLEU4 = 50.00"],
            "lines of fairseq-generate (S-, T-, H-, D-, P-)",
            "grep ^D- FILE | LC_ALL=C sort -V | cut -f3",
        ),
        (
            ["0 ||| w ||| F0= -1 ||| -0.5", "0 ||| v ||| F0= -2 ||| -0.7", "1 ||| x z ||| F0= -1 ||| -0.5"],
            "lines of an n-best list (N ||| TEXT ||| SCORE)",
            "awk -F ' [|][|][|] ' '!($1 in seen) {seen[$1]; print $2}' FILE",
        ),
    ],
)  # fmt: skip
def test_outputs_of_other_programs_are_taken_apart_by_the_command_in_the_hint(
    lines: list[str],
    kind: str,
    command: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Their numbers would be compared as words, also where there are as many lines as in the reference."""
    ref = save(tmp_path / "ref", ["w", "x z"])
    hyp = save(tmp_path / "hyp", lines)
    error, hint = refused(capsys, hyp, "--ref", ref)
    assert error == f"error: {hyp}: has {kind}, and not only texts"
    assert hint.startswith(f"hint: {command} takes")
    assert refused(capsys, ref, "--ref", hyp)[0] == error
    taken = command.replace("FILE", str(hyp))
    result = subprocess.run(
        ["bash", "-c", taken], capture_output=True, text=True, check=True
    )
    assert result.stdout == "w\nx z\n"


def test_squad_accepts_no_column_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = save(tmp_path / "told.json", ["{}"])
    for option in (["--column", "x"], ["--hyp-column", "x"], ["--ref-format", "jsonl"]):
        assert (
            refused(capsys, answers, "--ref", answers, "-m", "squad", *option)[0]
            == "error: --metric squad: takes one --ref, and no other metric or column"
        )


def test_the_answer_to_a_single_question_may_be_a_line_of_jsonl(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {
        "id": "q",
        "question": "Who?",
        "answers": [{"text": "a dog", "answer_start": 0}],
    }
    paragraph = {"context": "a dog runs", "qas": [question]}
    gold = tmp_path / "dev.json"
    gold.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    predicted = objects(
        tmp_path / "told.jsonl",
        [{"line": 1, "id": "q", "answer": "a dog", "best": "x"}],
    )
    succeed(["score", str(predicted), "--ref", str(gold), "-m", "squad"])
    assert "exact = 100.00" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("version", "rules", "f1"),
    [
        ("v2.0", "2.0", 100.0),
        ("2.0", "2.0", 100.0),
        ("1.1", "1.1", 0.0),
        ("SQuAD2.0", "2.0", 100.0),
        ("KorQuAD_v1.0_dev", "1.1", 0.0),
        ("final", "1.1", 0.0),
        (None, "1.1", 0.0),
    ],
)
def test_the_version_of_a_squad_file_decides_between_its_rules(
    version: str | None,
    rules: str,
    f1: float,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Part of a 2.0 file may have no question without an answer.

    Only 2.0 gives an answer of no words an F1 of 1. Its exact match is 1 by both.
    """
    question = {
        "id": "q",
        "question": "?",
        "answers": [{"text": "the", "answer_start": 0}],
    }
    content: dict[str, object] = {
        "data": [{"paragraphs": [{"context": "the", "qas": [question]}]}]
    }
    if version is not None:
        content["version"] = version
    gold = tmp_path / "dev.json"
    gold.write_text(json.dumps(content))
    predicted = save(tmp_path / "told.json", ['{"q": "a"}'])
    succeed(["score", str(predicted), "--ref", str(gold), "-m", "squad"])
    out, err = capsys.readouterr()
    assert f"squad:{rules}|" in out
    assert f"f1 = {f1:.2f}" in " ".join(out.split())
    is_told = (
        f"warning: {gold} does not say which version of SQuAD it is, and each of its questions has an answer, "
        f"so that the rules of 1.1 are used; those of 2.0 give {predicted} exact = 100.00, f1 = 100.00"
    ) in err
    assert is_told == (version in (None, "final"))


def test_probabilities_of_no_answer_suit_a_part_of_squad_2_without_such_questions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {
        "id": "q",
        "question": "?",
        "answers": [{"text": "dog", "answer_start": 0}],
    }
    paragraph = {"context": "dog", "qas": [question]}
    gold = tmp_path / "dev.json"
    gold.write_text(
        json.dumps({"version": "v2.0", "data": [{"paragraphs": [paragraph]}]})
    )
    predicted = save(tmp_path / "told.json", ['{"q": "dog"}'])
    odds = save(tmp_path / "odds.json", ['{"q": 0.7}'])
    command = f"score {predicted} --ref {gold} -m squad --na-prob {odds}".split()
    succeed([*command, "--na-prob-thresh", "0.5"])
    assert "best_exact = 100.00 best_exact_thresh = 0.7" in " ".join(
        capsys.readouterr().out.split()
    )


def test_answers_to_other_questions_and_two_answers_to_one_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    question = {
        "id": "q",
        "question": "?",
        "answers": [{"text": "a", "answer_start": 0}],
    }
    paragraph = {"context": "a dog", "qas": [question]}
    gold = tmp_path / "dev.json"
    gold.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    predicted = tmp_path / "told.json"
    predicted.write_text('{"q": "a", "x": "b", "w": "c"}')
    succeed(["score", str(predicted), "--ref", str(gold), "-m", "squad"])
    assert (
        f"warning: {predicted}: 2 of 3 answers are to questions that {gold} lacks, such as 'w'"
        in capsys.readouterr().err
    )
    twice = objects(
        tmp_path / "twice.jsonl",
        [{"line": n, "id": "q", "answer": "a"} for n in (1, 2)],
    )
    assert refused(capsys, twice, "--ref", gold, "-m", "squad")[0] == (
        f"error: {twice}:2: an earlier line has the id 'q', too"
    )


def test_options_of_the_other_kind_of_score_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = str(save(tmp_path / "text", ["a line of text", "and another line"]))
    succeed(["score", text, "--ref", text, "--device", "cpu", "--precision=bf16"])
    err = capsys.readouterr().err
    for option in ("--device", "--precision"):
        assert f"warning: {option} has no effect: no model is run" in err
    # The warning comes before the run is missed.
    assert run(["score", text, "--gen-subset", "test", "--src", text]) == 2
    assert "warning: --src has no effect" in capsys.readouterr().err


def test_options_that_find_nothing_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hyp = save(tmp_path / "hyp", ["0", "1"])
    rows = [{"label": letter, "options": ["p", "q"]} for letter in "AB"]
    ref = objects(tmp_path / "ref.jsonl", rows)
    at = (hyp, "--ref", ref, "--column", "label", "-m", "accuracy", "--choices-column")
    found, err = scored(capsys, *at, "options")
    assert found == {"accuracy": 100}
    assert not [line for line in err if "--choices-column" in line]
    found, err = scored(capsys, *at, "option")
    assert found == {"accuracy": 0}
    assert (
        "warning: --choices-column option has no effect: not every reference has such a list"
        in err
    )
    question = {
        "id": "q",
        "question": "?",
        "answers": [{"text": "a", "answer_start": 0}],
    }
    gold = tmp_path / "dev.json"
    gold.write_text(
        json.dumps({"data": [{"paragraphs": [{"context": "a", "qas": [question]}]}]})
    )
    predicted = save(tmp_path / "told.json", ['{"q": "a"}'])
    command = ["score", str(predicted), "--ref", str(gold), "-m", "squad"]
    succeed([*command, "--na-prob-thresh", "0.5"])
    assert (
        "warning: --na-prob-thresh has no effect: there are no probabilities, see --na-prob"
        in capsys.readouterr().err
    )


def test_unread_parts_of_references_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments and similar lines have no tags, and a comment that may be a word is named."""
    gold = save(
        tmp_path / "gold.conll",
        ["-DOCSTART- X", "", "# id = 1", "# note", "a X", "", "# id = 2", "b Y"],
    )
    predicted = save(tmp_path / "x.conll", ["# X", "a X", "", "b Y"])
    values, err = scored(capsys, predicted, "--ref", gold, "--metric", "accuracy")
    assert values == {"accuracy": pytest.approx(200 / 3)}
    assert f"{gold}: not read: 1 -DOCSTART- line, 2 comments" in err
    assert (
        f"warning: {gold}:4: '# note' is read as a word, since it has as many columns as words "
        "have; write a comment as '# NAME = VALUE' (1 such line)"
    ) in err
