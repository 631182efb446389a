"""Readers of file formats: what is well-formed is read whole, and every broken row is named."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import SKIP_ADVICE, BadRows
from masscli.data.formats.column_checks import parse_column_check
from masscli.data.formats.conll import split_sentences
from masscli.data.formats.registry import guess_format, read_records


def save(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


COMMENTED = {
    "EU NNP I-NP B-ORG\n# # I-NP O\n\n# # I-NP O\n": ["EU", "#", "#"],
    "#\tO\nno\tO\n\n#ba\tO\n": ["#", "no", "#ba"],
    "# text = a b\n1-2\tdu"
    + "\t_" * 8
    + "\n1\tde"
    + "\t_" * 8
    + "\n1.1\tx"
    + "\t_" * 8
    + "\n2\tle"
    + "\t_" * 8
    + "\n": ["de", "le"],
}
"""Columns with comments, and their words."""


BROKEN = [
    ("tsv", "label\tsentence\n1\ta\n0\tb\tc\n", "{path}:3: has 3 columns, the header has 2"),
    ("tsv", "label\tsentence\n1\n", "{path}:2: has 1 column, the header has 2"),
    ("tsv", "label\tlabel\n1\ta\n", "{path}:1: the header must name every column once, it is 'label' 'label'"),
    ("tsv", "label\tsentence\n", "{path}: holds no examples"),
    ("tsv", "label\tline\n1\ta\n", "{path}: a column cannot be called 'line'"),
    ("jsonl", '{"text": "a", "text.ids": ["b"]}\n', "{path}: a column cannot be called 'text.ids'"),
    ("jsonl", '{"a": "x"}\nnot json\n', "{path}:2: not JSON (Expecting value: line 1 column 1 (char 0))"),
    ("jsonl", '["a"]\n', '{path}:1: expected an object, got ["a"]'),
    ("jsonl", '{"a": "x", "b": ["y"]}\n{"a": "x"}\n', "{path}:2: lacks 'b', unlike the first line"),
    ("jsonl", '{"a": "x", "b": ["y"]}\n{"a": "x", "b": "y"}\n', "{path}:2: has no list in 'b', unlike the first line"),
    ("jsonl", '{"a": "x"}\n{"a": "x", "c": 1}\n', "{path}:2: has 'c', which the first line does not have"),
    ("jsonl", '{}\n{"a": "x"}\n', "{path}:1: the object has no fields"),
    ("tsv", "", "{path}: holds no examples"),
    ("jsonl", '{"a": NaN}\n', "{path}:1: a: expected a string or a number, got NaN"),
    ("jsonl", '{"a": ["x", -1e999]}\n', "{path}:1: a: expected a string or a number, got -Infinity"),
    ("jsonl", '{"a": null}\n', "{path}:1: a: expected a string or a number, got null"),
    ("jsonl", '{"a": "x", "b": ["y"]}\n{"a": "x", "b": ["y", null]}\n', "{path}:2: b: expected a string or a number, got null"),
    ("jsonl", '{"a": "x"}\n\n{"a": "x"}\n', "{path}:2: is blank"),
    ("jsonl", ' \n{"a": "x"}\n', "{path}:1: is blank"),
    ("jsonl", "\n\n", "{path}: holds no examples"),
    ("jsonl", '{"a": "x \\ud83d\\ude00"}\n{"a": "x \\ud83d"}\n', "{path}:2: '\\ud83d' is an unpaired surrogate"),
    ("conll", "a\tO\nb\n", "{path}:2: expected 2 columns as in the first line, got 'b'"),
    ("conll", "a\tO\n\tO\n", "{path}:2: column 1 is blank: '\\tO'"),
    ("conll", "a\tO\n\u00a0\tO\n", "{path}:2: column 1 is blank: '\\xa0\\tO'"),
    ("conll", "a\nb\n\u00a0\nc\n", "{path}:3: column 1 is blank: '\\xa0'"),
    ("dialogues", "a\tb\nalone\n", "{path}:2: has one turn only, without a response"),
    ("dialogues", "a\t\tb\n", "{path}:1: turn 2 of 3 is empty"),
    ("dialogues", "a\tb\n\na\tb\t\n", "{path}:3: turn 3 of 3 is empty: the line ends in a tab"),
    ("dialogues", "a\tb\na\t\n", "{path}:2: turn 2 of 2 is empty: the line ends in a tab"),
    ("dialogues", "a\tb\n\t\t\n", "{path}:2: turn 1 of 3 is empty"),
    ("dialogues", "a\t\u00a0\tb\n", "{path}:1: turn 2 of 3 is empty"),
    ("squad", "{", "{path}: not JSON (Expecting property name enclosed in double quotes: line 1 column 2 (char 1))"),
    ("squad", '{"data": [{"paragraphs": [{"qas": []}]}]}', "{path}: is not a SQuAD file (KeyError('context'))"),
    ("squad", '{"data": [{"paragraphs": ""}]}', "{path}: is not a SQuAD file (TypeError('data, paragraphs and answers are lists'))"),
    ("squad", '{"data": {}}', "{path}: is not a SQuAD file (TypeError('data, paragraphs and answers are lists'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": {}}]}]}]}',
     "{path}: question 'q': is not a SQuAD question (TypeError('data, paragraphs and answers are lists'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q"}]}]}]}',
     "{path}: question 'q': is not a SQuAD question (KeyError('question'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": '
     '[{"text": "b", "answer_start": 1}]}]}]}]}', "{path}: question 'q': answer 'b' is not in the context at character 1"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": '
     '[{"text": "a", "answer_start": -3}]}]}]}]}', "{path}: question 'q': answer 'a' is not in the context at character -3"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": '
     '[{"text": " ", "answer_start": 1}]}]}]}]}', "{path}: question 'q': answer ' ' is not in the context at character 1"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "q", "question": null}]}]}]}',
     "{path}: question 'q': is not a SQuAD question (TypeError('a text is not a string'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": '
     '[{"text": "b", "answer_start": 1e400}]}]}]}]}',
     "{path}: question 'q': is not a SQuAD question (OverflowError('cannot convert float infinity to integer'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "q", "question": "?", "is_impossible": "False"}]}]}]}',
     "{path}: question 'q': is not a SQuAD question (TypeError('is_impossible is neither true nor false'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a", "context": "b", "qas": []}]}]}',
     "{path}: has the name 'context' twice in an object"),
    ("jsonl", '{"text": "a", "label": 0}\n{"text": "a", "label": 1, "label": 0}\n', "{path}:2: has the name 'label' twice in an object"),
    ("swag", "sent1,sent2,ending0,ending1,ending3\na,b,c,d,e\n", "{path}:2: has 'ending3', but no 'ending2'"),
    ("dialogues", "a __eou__ __eou__ b __eou__\n", "{path}:1: turn 2 of 3 is empty"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a \\udc00", "qas": []}]}]}', "{path}: '\\udc00' is an unpaired surrogate"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "q", "question": "?"}, {"id": "q", "question": "!"}]}]}]}',
     "{path}: question 'q': another question has this id"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "message"), BROKEN)
def test_a_broken_row_is_named(
    kind: str, text: str, message: str, tmp_path: Path
) -> None:
    path = save(tmp_path / "x", text)
    with pytest.raises(MasscliError) as caught:
        list(read_records(path, kind))
    assert caught.value.message == message.replace("{path}", str(path))


def test_a_table_may_be_separated_by_commas(tmp_path: Path) -> None:
    """The header of a .csv file shows whether commas or tabs separate its columns."""
    path = tmp_path / "x.csv"
    path.write_bytes(
        b'\xef\xbb\xbf,label,text\r\n0,1,"He said ""no"", twice"\r\n1,0,"two\r\nlines"\r\n2,1,plain\r\n'
    )
    assert guess_format(path) == "tsv"
    records = list(read_records(path, "tsv"))
    assert [(r.line, r.texts["label"], r.texts["text"]) for r in records] == [
        (2, "1", 'He said "no", twice'),
        (3, "0", "two\nlines"),
        (5, "1", "plain"),
    ]
    # Those of the STS benchmark have this suffix, too.
    tabs = save(tmp_path / "tabs.csv", 'label\ttext\n1\t"a, b\n')
    [record] = read_records(tabs, "tsv")
    assert record.texts["text"] == '"a, b'
    for text, message in (
        ("a,a\n1,2\n", "x.csv:1: the header must name every column once"),
        ("a,b\n1,2\n1,2,3\n", "x.csv:3: has 3 columns, the header has 2"),
        ('a,b\n1,"2\n', r"x.csv:2: not CSV \(unexpected end of data\)"),
    ):
        with pytest.raises(MasscliError, match=message):
            list(read_records(save(path, text), "tsv"))


def test_a_value_of_csv_may_be_a_long_document(tmp_path: Path) -> None:
    document = "word " * 40_000
    path = save(tmp_path / "x.csv", f'label,text\n1,"{document}"\n')
    (record,) = read_records(path, "tsv")
    assert record.texts["text"] == document


def test_a_question_without_an_answer_is_a_bad_row_where_answers_are_needed(
    tmp_path: Path,
) -> None:
    questions = [
        {"id": "a", "question": "?", "answers": [{"text": "a", "answer_start": 0}]},
        {"id": "b", "question": "?", "answers": []},
        {"id": "c", "question": "?", "answers": [], "is_impossible": True},
    ]
    paragraph = {"context": "a b", "qas": questions}
    path = save(tmp_path / "x", json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    bad_rows = BadRows(0.5, needs_answers=True)
    read = [record.texts["id"] for record in read_records(path, "squad", bad_rows)]
    assert read == ["a", "c"]
    (bad,) = bad_rows.skipped
    assert bad.line == 2
    assert bad.reason == (
        "question 'b': has no answer, and is not marked as impossible"
    )
    # Nobody has answers yet to what is predicted.
    assert len(list(read_records(path, "squad"))) == 3


def test_a_question_in_each_line_is_read_as_in_a_file_of_squad(tmp_path: Path) -> None:
    """The library `datasets` writes SQuAD so; questions without an answer have empty lists."""
    rows = [
        {
            "id": "1",
            "title": "t",
            "context": "a b",
            "question": "?",
            "answers": {"text": ["b"], "answer_start": [2]},
        },
        {
            "id": "2",
            "title": "t",
            "context": "a b",
            "question": "!",
            "answers": {"text": [], "answer_start": []},
        },
    ]
    lines = save(tmp_path / "x.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    questions = [
        {
            "id": "1",
            "question": "?",
            "answers": [{"text": "b", "answer_start": 2}],
            "is_impossible": False,
        },
        {"id": "2", "question": "!", "answers": [], "is_impossible": True},
    ]
    paragraph = {"context": "a b", "qas": questions}
    whole = save(
        tmp_path / "x.json", json.dumps({"data": [{"paragraphs": [paragraph]}]})
    )
    assert list(read_records(lines, "squad")) == list(read_records(whole, "squad"))
    broken = save(
        tmp_path / "y.jsonl", '{"id": "1", "context": "a", "question": "?"}\n'
    )
    with pytest.raises(MasscliError, match=r"y.jsonl:1: is not a question of SQuAD"):
        list(read_records(broken, "squad"))


@pytest.mark.parametrize("text", ['[{"a": "x"}]\n', '[\n {"a": "x"}\n]\n'])
def test_a_json_array_causes_a_hint_how_to_convert_it_to_lines(
    text: str, tmp_path: Path
) -> None:
    with pytest.raises(MasscliError) as caught:
        list(read_records(save(tmp_path / "x", text), "jsonl"))
    assert "jq -c '.[]' makes such lines" in (caught.value.hint or "")


def test_turns_may_end_as_in_dailydialog(tmp_path: Path) -> None:
    """Each line of dialogues_text.txt ends with the mark, too."""
    path = save(
        tmp_path / "x", "Hi . __eou__ Who 's\tthere ? __eou__ Me . __eou__\na\tb\n"
    )
    records = list(read_records(path, "dialogues"))
    assert [(r.line, r.lists["context"], r.texts["response"]) for r in records] == [
        (1, ["Hi ."], "Who 's\tthere ?"),
        (1, ["Hi .", "Who 's\tthere ?"], "Me ."),
        (2, ["a"], "b"),
    ]


def test_blank_lines_at_the_end_of_jsonl_are_not_examples(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jsonl", '{"a": "x"}\n{"a": ""}\n\n \n')
    assert [(r.line, r.texts["a"]) for r in read_records(path, "jsonl")] == [
        (1, "x"),
        (2, ""),
    ]


def test_aligned_files_must_be_of_one_length(tmp_path: Path) -> None:
    save(tmp_path / "s", "a\nb\n")
    save(tmp_path / "t", "a\n")
    with pytest.raises(MasscliError) as caught:
        list(read_records(Path(f"{tmp_path / 's'}:{tmp_path / 't'}"), "aligned"))
    assert (
        caught.value.message
        == f"{tmp_path / 't'}: ends before line 2, unlike {tmp_path / 's'}"
    )


@pytest.mark.parametrize(("text", "words"), COMMENTED.items())
def test_comments_are_not_words_and_words_are_not_comments(
    text: str, words: list[str], tmp_path: Path
) -> None:
    column = "2" if "1-2" in text else "1"
    assert [
        word
        for record in read_records(save(tmp_path / "x.conll", text), "conll")
        for word in record.lists[column]
    ] == words


@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_comments_are_counted_however_many_columns_words_have(
    columns: int, separator: str, tmp_path: Path
) -> None:
    rest = ["A"] * (columns - 2)
    words = [separator.join([word, *rest, "O"]) for word in ("#", "no", "#ba")]
    lines = [
        "# sent_id = 1",
        "# id 7 of 20 lines",
        "#text= a\tb c",
        words[0],
        words[1],
        "",
        "-DOCSTART- -X- O",
        "",
        "# x = 1",
        words[2],
    ]
    path = save(tmp_path / "x.conll", "\n".join(lines) + "\n")
    bad_rows = BadRows()
    read = [record.lists["1"] for record in read_records(path, "conll", bad_rows)]
    assert read == [["#", "no"], ["#ba"]]
    assert bad_rows.unread_text() == "4 comments, 1 -DOCSTART- line"
    assert bad_rows.doubts == []


def test_a_word_that_may_be_a_comment_is_named(tmp_path: Path) -> None:
    """The word `#` is suspicious if no other word has its label."""
    path = save(tmp_path / "x.conll", "#\tid 7\na\tO\n\n#\tO\nb\tO\n\n#\tid 8\nc\tO\n")
    bad_rows = BadRows()
    read = [record.lists["1"] for record in read_records(path, "conll", bad_rows)]
    assert read == [["#", "a"], ["#", "b"], ["#", "c"]]
    [doubt] = bad_rows.doubts
    assert doubt.startswith(f"{path}:1: '# id 7' is read as a word")
    assert "2 such lines" in doubt


def test_ranges_empty_nodes_and_blank_lines_are_counted(tmp_path: Path) -> None:
    bad_rows = BadRows()
    text = next(text for text in COMMENTED if "1-2" in text)
    list(read_records(save(tmp_path / "x.conllu", text), "conll", bad_rows))
    assert bad_rows.unread_text() == "1 comment, 1 word range, 1 empty node"
    bad_rows = BadRows()
    list(read_records(save(tmp_path / "x", "a\tb\n\n \nc\td\n"), "dialogues", bad_rows))
    assert bad_rows.unread_text() == "2 blank lines"


@pytest.mark.parametrize(
    ("fields", "start"), [({"id": None}, 0), ({}, 0.5), ({}, True), ({}, "x")]
)
def test_invalid_numbers_and_ids_of_questions_are_refused(
    fields: dict[str, None], start: object, tmp_path: Path
) -> None:
    answer = {"text": "a", "answer_start": start}
    question = {"id": "1", "question": "b", "answers": [answer], **fields}
    paragraph = {"context": "aaa", "qas": [question]}
    path = save(
        tmp_path / "x.json", json.dumps({"data": [{"paragraphs": [paragraph]}]})
    )
    with pytest.raises(MasscliError, match=": is not a SQuAD question"):
        list(read_records(path, "squad"))
    answer["answer_start"] = 2.0
    question["id"] = 7
    path = save(path, json.dumps({"data": [{"paragraphs": [paragraph]}]}))
    [record] = read_records(path, "squad")
    assert record.numbers["start"] == [2]
    assert record.texts["id"] == "7"


def test_a_question_that_is_not_an_object_is_named(tmp_path: Path) -> None:
    path = save(
        tmp_path / "x.json",
        json.dumps({"data": [{"paragraphs": [{"context": "a", "qas": ["x"]}]}]}),
    )
    with pytest.raises(MasscliError) as caught:
        list(read_records(path, "squad"))
    assert caught.value.message.startswith(
        f"{path}: question 1: is not a SQuAD question"
    )


def test_a_non_breaking_space_is_part_of_a_word(tmp_path: Path) -> None:
    """This also holds where spaces separate the columns."""
    for text in ("10\u00a0000 NUM\na O\n", "10\u00a0000\tNUM\na\tO\n"):
        assert [
            r.lists["1"]
            for r in read_records(save(tmp_path / "x.conll", text), "conll")
        ] == [["10\u00a0000", "a"]]


def test_a_word_may_begin_with_a_hash_from_the_first_line_on() -> None:
    rows = ["#Blog", "is", "fun", "", "#second", "one"]
    read = [[values for _, values in words] for words in split_sentences(rows, "x")]
    assert read == [[["#Blog"], ["is"], ["fun"]], [["#second"], ["one"]]]
    columns = ["# sent_id = 1", "#Blog\tO", "is\tO"]
    assert [
        [values for _, values in words] for words in split_sentences(columns, "x")
    ] == [[["#Blog", "O"], ["is", "O"]]]


CORPORA = os.environ.get("MASSCLI_DATA")


COUNTS = [
    ("tsv", "agnews/train.tsv", 6400), ("tsv", "sst2/train.tsv", 6920), ("tsv", "cola/train.tsv", 8551), ("tsv", "mrpc/train.tsv", 3668),
    ("tsv", "rosts-similarity/train.tsv", 5749), ("tsv", "sick/train.tsv", 4500), ("conll", "wnut17/train.conll", 3394),
    ("conll", "ud-romanian/train.conll", 1131), ("jsonl", "nextturn/train.jsonl", 3640), ("squad", "squad2/train.json", 925 + 444),
    ("squad", "xquad/train.ro.json", 925), ("aligned", "headlines/valid.src:headlines/valid.tgt", 500),
]  # fmt: skip


@pytest.mark.corpora
@pytest.mark.skipif(
    not CORPORA, reason="MASSCLI_DATA does not name the folder of the real corpora"
)
@pytest.mark.parametrize(("kind", "name", "count"), COUNTS)
def test_real_files_are_read_whole(kind: str, name: str, count: int) -> None:
    assert CORPORA is not None
    path = Path(":".join(str(Path(CORPORA) / part) for part in name.split(":")))
    assert sum(1 for _ in read_records(path, kind)) == count


def question(name: str, start: object) -> dict[str, object]:
    return {
        "id": name,
        "question": "?",
        "answers": [{"text": "a", "answer_start": start}],
    }


QUESTIONS = [
    question("1", 0),
    question("2", 1),
    "x",
    question("1", 0),
    question("3", "no"),
]
SKIPPED = [
    # Format, text with good and bad rows, the lines of the good ones, and the bad ones with their reasons.
    ("tsv", "a\tb\n1\t2\n1\n1\t2\t3\n3\t4\n", [2, 5], [(3, "has 1 column, the header has 2"), (4, "has 3 columns, the header has 2")]),
    ("lines", "1\t2\n\n3\t4\n", [1, 3], [(2, "has 1 column, the first line has 2")]),
    ("jsonl", '{"a": "x"}\n{"a": \n[1]\n{"a": null}\n{"b": "y"}\n\n{"a": "z"}\n', [1, 7],
     [(2, "not JSON"), (3, "expected an object"), (4, "a: expected a string"), (5, "lacks 'a'"), (6, "is blank")]),
    ("jsonl", '{"a": \n{"a": "x"}\n', [2], [(1, "not JSON")]),
    ("conll", "a\tX\nb\n\nc\tY\n\nd\tZ\tW\ne\n", [4], [(2, "expected 2 columns"), (6, "expected 2 columns")]),
    ("dialogues", "a\tb\na\nc\t\td\ne\tf\n", [1, 4], [(2, "has one turn only"), (3, "turn 2 of 3 is empty")]),
    ("swag", "sent1,sent2,ending0,ending1\na,b,c,d\na,b\na,b,c,d\n", [2, 4], [(3, "has 2 columns, the header has 4")]),
    ("race", '{"article": "a", "questions": ["b"], "options": [["c", "d"]]}\n{"article": 1}\n', [1], [(2, "is not a RACE article")]),
    ("squad", json.dumps({"data": [{"paragraphs": [{"context": "a b", "qas": QUESTIONS}]}]}), [1],
     [(2, "question '2': answer 'a' is not in the context"), (3, "question 3: is not a SQuAD question"),
      (4, "question '1': another question has this id"), (5, "question '3': is not a SQuAD question")]),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "lines", "bad"), SKIPPED)
def test_bad_rows_are_skipped_and_listed(
    kind: str, text: str, lines: list[int], bad: list[tuple[int, str]], tmp_path: Path
) -> None:
    path = save(tmp_path / "x", text)
    bad_rows = BadRows(max_share=1.0)
    assert [record.line for record in read_records(path, kind, bad_rows)] == lines
    assert [row.line for row in bad_rows.skipped] == [line for line, _ in bad]
    for row, (_, reason) in zip(bad_rows.skipped, bad, strict=True):
        assert row.path == str(path) and row.reason.startswith(reason)


@pytest.mark.parametrize(
    ("share", "refused"), [(0.0, True), (0.24, True), (0.25, False), (1.0, False)]
)
def test_too_many_bad_rows_are_refused(
    share: float, refused: bool, tmp_path: Path
) -> None:
    path = save(tmp_path / "x.tsv", "a\tb\n1\t2\n1\n3\t4\n5\t6\n")
    if not refused:
        assert len(list(read_records(path, "tsv", BadRows(share)))) == 3
        return
    with pytest.raises(MasscliError) as caught:
        list(read_records(path, "tsv", BadRows(share)))
    expected = (
        "1 of 4 rows are bad, the first in line 3: has 1 column, the header has 2"
    )
    assert caught.value.message == f"{path}: {expected}"
    assert (
        caught.value.hint
        == f"fix the file, or raise --max-bad-rows, which is {share:g}"
    )


def test_a_file_of_bad_rows_alone_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "x.tsv", "a\tb\n1\n2\n")
    with pytest.raises(MasscliError, match="2 of 2 rows are bad"):
        list(read_records(path, "tsv", BadRows(0.5)))
    with pytest.raises(MasscliError, match="holds no examples"):
        list(read_records(path, "tsv", BadRows(1.0)))


def test_a_refused_row_says_how_to_skip_it(tmp_path: Path) -> None:
    """Otherwise a dialogue of one turn would make the whole file unusable."""
    path = tmp_path / "dialogues.txt"
    path.write_text("a\tb\nalone\n")
    with pytest.raises(MasscliError) as caught:
        list(read_records(path, "dialogues", BadRows(None, SKIP_ADVICE)))
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(
        "; --bad-rows skip leaves such rows out, counts them and lists them"
    )


@pytest.mark.parametrize(
    ("check", "bad"),
    [
        ("label=filled", {3: "is blank", 4: "is blank"}),
        ("LABEL=number", {2: "is not a number", 3: "is blank", 4: "is blank", 6: "is not a number", 7: "is not a number",
                          8: "is not a number", 10: "is not a number", 11: "is not a number", 12: "is not a number", 13: "is not a number"}),
        ("label=integer", {2: "is not a whole number", 3: "is blank", 4: "is blank", 6: "is not a whole number", 7: "is not a whole number",
                           8: "is not a whole number", 9: "is not a whole number", 10: "is not a whole number", 11: "is not a whole number", 12: "is not a whole number",
                           13: "is not a whole number"}),
        ("label=yes|-3", {3: "is none of", 4: "is none of", 6: "is none of", 7: "is none of", 8: "is none of", 9: "is none of",
                          10: "is none of", 11: "is none of", 12: "is none of", 13: "is none of"}),
        ("other=filled", {}),
    ],
)  # fmt: skip
def test_rows_with_broken_labels_are_bad_rows(
    check: str, bad: dict[int, str], tmp_path: Path
) -> None:
    labels = [
        "yes",
        "",
        " \u00a0",
        "-3",
        "nan",
        "inf",
        "1,5",
        "1.5",
        "\u00b2",
        "-",
        "1_5",
        "\u0661",
    ]
    path = save(
        tmp_path / "x.tsv",
        "text\tlabel\n" + "".join(f"a\t{label}\n" for label in labels),
    )
    bad_rows = BadRows(1.0, checks=(parse_column_check(check),))
    kept = [record.line for record in read_records(path, "tsv", bad_rows)]
    assert kept == [line for line in range(2, 14) if line not in bad]
    assert {
        row.line: row.reason.rsplit("' ", 1)[1].split(" of ")[0]
        for row in bad_rows.skipped
    } == {line: reason.split(" of")[0] for line, reason in bad.items()}
    assert bad_rows.checked == ({"label", "LABEL"} & {check.split("=")[0]})
    if bad:
        with pytest.raises(MasscliError, match=rf"x.tsv:{min(bad)}: label "):
            list(
                read_records(
                    path,
                    "tsv",
                    BadRows(None, SKIP_ADVICE, (parse_column_check(check),)),
                )
            )


def test_every_label_of_a_list_is_checked(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jsonl", '{"tags": ["O", "B"]}\n{"tags": ["O", ""]}\n')
    bad_rows = BadRows(1.0, checks=(parse_column_check("tags=filled"),))
    assert [record.line for record in read_records(path, "jsonl", bad_rows)] == [1]


@pytest.mark.parametrize(
    "text", ["label", "=number", "label=", "label=numbers", "label=a|", "label=|a|b"]
)
def test_checks_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected "):
        parse_column_check(text)
