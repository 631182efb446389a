"""Labelled data: every format into a data folder and back, and every broken row named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.data.formats.conll import split_sentences
from masscli.data.formats.registry import read_records
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.inputs import LabelledFile
from masscli.data.prepare.record_encoder import load_table
from masscli.data.prepare.table_text import training_lines
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.extract.objective import span
from masscli.text.char_offsets import encode_with_offsets
from masscli.text.tokenizer import Tokenizer

pytestmark = pytest.mark.usefixtures("no_sync")

TSV = 'label\tsentence\n1\the said "good day"\n0\tno "quote ends here\n'
JSONL = [
    {"context": "the dog sees the cat", "choices": ["it runs", "it is a house", "yes"], "label": 0},
    {"context": "a house", "choices": ["big", "small"], "label": 1},
]
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
CONLL = "the\tDET\n#dog\tNOUN\n\n\nsees\tVERB\n"
SQUAD = {
    "version": "v2.0",
    "data": [
        {
            "paragraphs": [
                {
                    "context": "The old Café\u202fsells tea.  It opened in 1925!",
                    "qas": [
                        {
                            "id": "a",
                            "question": "when?",
                            "answers": [{"text": "1925", "answer_start": 38}],
                            "is_impossible": False,
                        },
                        {
                            "id": "b",
                            "question": "why?",
                            "answers": [],
                            "plausible_answers": [],
                            "is_impossible": True,
                        },
                    ],
                },
                {
                    "context": "Another.",
                    "qas": [
                        {"id": "c", "question": "what?", "answers": [{"text": "Another", "answer_start": 0}]}
                    ],
                },
            ]
        }
    ],
}


def save(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def everything(folder: Path) -> dict[str, tuple[str, ...]]:
    """Options that name one file of each format."""
    save(folder / "a.tsv", TSV)
    save(folder / "a.jsonl", "".join(json.dumps(row) + "\n" for row in JSONL))
    save(folder / "a.conll", CONLL)
    save(folder / "a.json", json.dumps(SQUAD))
    save(folder / "a.txt", "hello there\thow are you ?\tfine\n\nyes\tno\n")
    save(folder / "a.src", "a long text of words\nthe second one\n")
    save(folder / "a.tgt", "short\nsecond\n")
    return {
        "tsv": (f"train={folder / 'a.tsv'}",), "jsonl": (f"train={folder / 'a.jsonl'}",), "conll": (f"ner.train={folder / 'a.conll'}",),
        "squad": (f"train={folder / 'a.json'}",), "dialogues": (f"train={folder / 'a.txt'}",),
        "aligned": (f"heads.train={folder / 'a.src'}:{folder / 'a.tgt'}",),
    }  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataFolder:
    folder = tmp_path_factory.mktemp("tables")
    run(PreprocessConfig(langs=("en",), vocab_size=75, destdir=folder / "data", **everything(folder)))  # type: ignore[arg-type]
    return DataFolder.open(folder / "data")


def test_every_format_is_found_again(data: DataFolder) -> None:
    assert data.table_formats == {
        "tsv": "tsv",
        "jsonl": "jsonl",
        "ner": "conll",
        "squad": "squad",
        "dialogues": "dialogues",
        "heads": "aligned",
    }
    tsv = data.table("tsv", "train")
    assert [tsv.text("sentence", row) for row in range(len(tsv))] == [
        'he said "good day"',
        'no "quote ends here',
    ]
    assert tsv.fields == ("label", "sentence")
    choices = data.table("jsonl", "train")
    assert [choices.strings("choices", row) for row in range(2)] == [row["choices"] for row in JSONL]
    words = data.table("ner", "train")
    assert [words.strings("1", row) for row in range(2)] == [["the", "#dog"], ["sees"]]
    assert [words.strings("2", row) for row in range(2)] == [["DET", "NOUN"], ["VERB"]]
    assert words.location(1).endswith("a.conll:5")
    turns = data.table("dialogues", "train")
    assert [(turns.strings("context", row), turns.text("response", row)) for row in range(len(turns))] == [
        (["hello there"], "how are you ?"), (["hello there", "how are you ?"], "fine"), (["yes"], "no"),
    ]  # fmt: skip
    assert data.table("heads", "train").text("target", 1) == "second"
    tokenizer = data.tokenizer()
    for row in range(len(tsv)):
        assert tsv.ids("sentence")[row].tolist() == tokenizer.encode(tsv.text("sentence", row), "en")


def test_what_a_foreign_vocabulary_does_not_know_is_said(
    data: DataFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["the cat", "\u0436\u0443\u043a the \u0444"]
    save(tmp_path / "b.tsv", "label\tsentence\n" + "".join(f"1\t{text}\n" for text in texts))
    run(
        PreprocessConfig(
            tsv=(f"train={tmp_path / 'b.tsv'}",), spm_model=data.folder, destdir=tmp_path / "out"
        )
    )
    ids = [number for text in texts for number in data.tokenizer().encode(text, "en")]
    unknown = ids.count(data.vocab.unk) / len(ids)
    row = next(
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("train.tsv") and "sentence" in line
    )
    assert row.split() == ["train.tsv", "2", "sentence", str(len(ids)), f"{unknown:.3%}"] and unknown > 0.1


def test_questions_share_their_text_and_know_the_place_of_every_piece(data: DataFolder) -> None:
    table = data.table("squad", "train")
    assert [table.shared_row("context", row) for row in range(3)] == [0, 0, 1]
    context = SQUAD["data"][0]["paragraphs"][0]["context"]  # type: ignore[index]
    assert table.text("context", 1) == context
    pieces = data.tokenizer().piece_texts(table.ids("context")[0].tolist())
    begins, ends = table.columns["context.begin"][0].tolist(), table.columns["context.end"][0].tolist()
    spelt = [context[a:b] for a, b in zip(begins, ends, strict=True)]
    assert [
        (a, b) for a, b in zip(pieces, spelt, strict=True) if a != b and "\u2047" not in a and a != "<unk>"
    ] == []
    assert [table.numbers("impossible", row).tolist() for row in range(3)] == [[0], [1], [0]]
    assert [table.strings("answers", row) for row in range(3)] == [["1925"], [], ["Another"]]


def test_a_letter_that_is_normalised_lends_its_place_to_all_its_pieces(data: DataFolder) -> None:
    ids, begins, ends = encode_with_offsets(data.tokenizer(), "the ﬁne dog", "en")
    pieces = data.tokenizer().piece_texts(ids)
    spelt = [
        ("the ﬁne dog"[a:b], piece)
        for piece, a, b in zip(pieces, begins, ends, strict=True)
        if piece and 4 <= a < 7
    ]
    assert "".join(piece for _, piece in spelt) == "fine"
    assert {text for text, piece in spelt if set(piece) <= set("fi")} == {"ﬁ"}
    assert (begins[-1] >= 8, ends[-1], len(ids)) == (True, 11, len(begins))


def test_a_table_in_memory_is_the_one_on_disk(data: DataFolder, tmp_path: Path) -> None:
    everything(tmp_path)
    for name, kind, file in (
        ("tsv", "tsv", "tsv"),
        ("jsonl", "jsonl", "jsonl"),
        ("ner", "conll", "conll"),
        ("squad", "squad", "json"),
    ):
        kept, new = (
            data.table(name, "train"),
            load_table(tmp_path / f"a.{file}", kind, data.tokenizer(), "en"),
        )
        assert len(kept) == len(new)
        assert list(kept.columns) == list(new.columns)
        for column in kept.columns:
            ours, theirs = kept.columns[column], new.columns[column]
            assert [ours[row].tolist() for row in range(len(ours))] == [
                theirs[row].tolist() for row in range(len(theirs))
            ], column


def test_a_folder_lends_its_vocabulary_as_it_is(data: DataFolder, tmp_path: Path) -> None:
    save(tmp_path / "a.tsv", TSV)
    run(PreprocessConfig(spm_model=data.folder, tsv=(str(tmp_path / "a.tsv"),), destdir=tmp_path / "data"))
    assert DataFolder.open(tmp_path / "data").vocab.fingerprint == data.vocab.fingerprint
    with pytest.raises(MasscliError) as caught:
        run(
            PreprocessConfig(
                langs=("fr",),
                spm_model=data.folder,
                tsv=(str(tmp_path / "a.tsv"),),
                destdir=tmp_path / "other",
            )
        )
    assert (caught.value.message, caught.value.hint) == (
        f"--spm-model {data.folder}: its vocabulary has no language 'fr'",
        "it has en",
    )


def test_text_and_tables_live_in_one_folder(tmp_path: Path) -> None:
    save(tmp_path / "mono.en", "the old dog sees a small house and the garden\n" * 40)
    save(tmp_path / "a.tsv", TSV)
    mono, table = f"en={tmp_path / 'mono.en'}", str(tmp_path / "a.tsv")
    config = PreprocessConfig(mono=(mono,), tsv=(table,), vocab_size=60, destdir=tmp_path / "data")
    run(config)
    found = DataFolder.open(tmp_path / "data")
    assert (len(found.monolingual("train", "en")), len(found.table("tsv", "train"))) == (40, 2)
    found.verify()
    before = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
    run(config)
    assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == before, "nothing to do the second time"


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
    ("jsonl", '{"a": null}\n', "{path}:1: a: expected a string or a number, got null"),
    ("jsonl", '{"a": "x", "b": ["y"]}\n{"a": "x", "b": ["y", null]}\n', "{path}:2: b: expected a string or a number, got null"),
    ("jsonl", '{"a": "x"}\n\n{"a": "x"}\n', "{path}:2: is blank"),
    ("jsonl", ' \n{"a": "x"}\n', "{path}:1: is blank"),
    ("jsonl", "\n\n", "{path}: holds no examples"),
    ("jsonl", '{"a": "x \\ud83d\\ude00"}\n{"a": "x \\ud83d"}\n', "{path}:2: '\\ud83d' is half of a surrogate pair"),
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
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q"}]}]}]}',
     "{path}: question 'q': is not a SQuAD question (KeyError('question'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": '
     '[{"text": "b", "answer_start": 1}]}]}]}]}', "{path}: question 'q': answer 'b' is not in the context at character 1"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a b", "qas": [{"id": "q", "question": "?", "answers": '
     '[{"text": " ", "answer_start": 1}]}]}]}]}', "{path}: question 'q': answer ' ' is not in the context at character 1"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "q", "question": null}]}]}]}',
     "{path}: question 'q': is not a SQuAD question (TypeError('a text is not a string'))"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a \\udc00", "qas": []}]}]}', "{path}: '\\udc00' is half of a surrogate pair"),
    ("squad", '{"data": [{"paragraphs": [{"context": "a", "qas": [{"id": "q", "question": "?"}, {"id": "q", "question": "!"}]}]}]}',
     "{path}: question 'q': another question has this id"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "message"), BROKEN)
def test_a_broken_row_is_named(kind: str, text: str, message: str, tmp_path: Path) -> None:
    path = save(tmp_path / "x", text)
    with pytest.raises(MasscliError) as caught:
        list(read_records(path, kind))
    assert caught.value.message == message.replace("{path}", str(path))


def test_columns_may_be_called_like_parts_of_others(data: DataFolder, tmp_path: Path) -> None:
    names, values = ["ids", "begin", "end", "at", "items", "a.b"], ["x", "12", "the end", "3", "4", "5"]
    path = save(tmp_path / "x.tsv", "\t".join(names) + "\n" + "\t".join(values) + "\n")
    run(PreprocessConfig(spm_model=data.folder, tsv=(f"train={path}",), destdir=tmp_path / "data"))
    for table in (
        DataFolder.open(tmp_path / "data").table("tsv", "train"),
        load_table(path, "tsv", data.tokenizer(), "en"),
    ):
        assert (table.fields, [table.text(name, 0) for name in names]) == (tuple(names), values)


def test_blank_lines_at_the_end_of_jsonl_are_no_examples(tmp_path: Path) -> None:
    path = save(tmp_path / "x.jsonl", '{"a": "x"}\n{"a": ""}\n\n \n')
    assert [(r.line, r.texts["a"]) for r in read_records(path, "jsonl")] == [(1, "x"), (2, "")]


def test_aligned_files_must_be_of_one_length(tmp_path: Path) -> None:
    save(tmp_path / "s", "a\nb\n")
    save(tmp_path / "t", "a\n")
    with pytest.raises(MasscliError) as caught:
        list(read_records(Path(f"{tmp_path / 's'}:{tmp_path / 't'}"), "aligned"))
    assert caught.value.message == f"{tmp_path / 't'}: ends before line 2, unlike {tmp_path / 's'}"


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"tsv": ("train=nowhere.tsv",)}, "--tsv train=nowhere.tsv: there is no file nowhere.tsv"),
    ({"tsv": ("dev={a}",)}, "--tsv dev={a}: expected [TABLE.]SPLIT=FILE"),
    ({"tsv": ("en.train={a}",)}, "--tsv en.train={a}: 'en' is the name of a language"),
    ({"tsv": ("train={a}", "train={a}")}, "--tsv train={a}: tsv.train is given twice"),
    ({"mono": ("en={a}",), "table_lang": "en"}, "--table-lang en: there are no labelled examples"),
    ({"tsv": ("train={a}",), "table_lang": "fr"}, "--table-lang fr: is not among the languages (known: en)"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_options_that_make_no_sense(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    a = str(save(tmp_path / "a.tsv", TSV))
    filled = {
        k: tuple(x.replace("{a}", a) for x in v) if isinstance(v, tuple) else v for k, v in options.items()
    }
    with pytest.raises(MasscliError) as caught:
        run(PreprocessConfig(langs=("en",), destdir=tmp_path / "data", **filled))
    assert caught.value.message == message.replace("{a}", a)
    assert not (tmp_path / "data").exists()


def test_a_broken_row_leaves_nothing_half_written(data: DataFolder, tmp_path: Path) -> None:
    good, bad = save(tmp_path / "a.tsv", TSV), save(tmp_path / "b.tsv", TSV + "broken\n")
    with pytest.raises(MasscliError, match=r"b\.tsv:4: has 1 column, the header has 2"):
        run(
            PreprocessConfig(
                spm_model=data.folder, tsv=(f"train={good}", f"valid={bad}"), destdir=tmp_path / "data"
            )
        )
    assert not (tmp_path / "data" / "manifest.json").exists()
    save(bad, TSV)
    run(
        PreprocessConfig(
            spm_model=data.folder, tsv=(f"train={good}", f"valid={bad}"), destdir=tmp_path / "data"
        )
    )
    assert DataFolder.open(tmp_path / "data").splits() == ("train", "valid")


def test_a_missing_split_is_said(data: DataFolder) -> None:
    with pytest.raises(MasscliError) as caught:
        data.table("tsv", "test")
    assert (caught.value.message, caught.value.hint) == (
        f"{data.folder}: has no test split of tsv",
        "it has train",
    )


def test_surfaces_are_the_pieces_without_their_mark(data: DataFolder) -> None:
    tokenizer: Tokenizer = data.tokenizer()
    assert "".join(tokenizer.piece_texts(tokenizer.encode("the dog", "en"))) == "thedog"


# -- real corpora --------------------------------------------------------------------------------------------------------------------------

CORPORA = os.environ.get("MASSCLI_DATA")
COUNTS = [
    ("tsv", "agnews/train.tsv", 6400), ("tsv", "sst2/train.tsv", 6920), ("tsv", "cola/train.tsv", 8551), ("tsv", "mrpc/train.tsv", 3668),
    ("tsv", "rosts-similarity/train.tsv", 5749), ("tsv", "sick/train.tsv", 4500), ("conll", "wnut17/train.conll", 3394),
    ("conll", "ud-romanian/train.conll", 1131), ("jsonl", "nextturn/train.jsonl", 3640), ("squad", "squad2/train.json", 925 + 444),
    ("squad", "xquad/train.ro.json", 925), ("aligned", "headlines/valid.src:headlines/valid.tgt", 500),
]  # fmt: skip


@pytest.mark.corpora
@pytest.mark.skipif(not CORPORA, reason="MASSCLI_DATA does not name the folder of the real corpora")
@pytest.mark.parametrize(("kind", "name", "count"), COUNTS)
def test_real_files_are_read_whole(kind: str, name: str, count: int) -> None:
    assert CORPORA is not None
    path = Path(":".join(str(Path(CORPORA) / part) for part in name.split(":")))
    assert sum(1 for _ in read_records(path, kind)) == count


@pytest.mark.corpora
@pytest.mark.skipif(not CORPORA, reason="MASSCLI_DATA does not name the folder of the real corpora")
@pytest.mark.parametrize("language", ["en", "de", "ro"])
def test_every_real_answer_is_cut_out_as_it_is_unless_it_ends_inside_a_piece(
    language: str, data: DataFolder
) -> None:
    assert CORPORA is not None
    table = load_table(Path(CORPORA) / "xquad" / f"valid.{language}.json", "squad", data.tokenizer(), "en")
    exact = 0
    for row in range(len(table)):
        found, answer, start = (
            span(table, row),
            table.strings("answers", row)[0],
            int(table.numbers("start", row)[0]),
        )
        assert found is not None
        at, context = table.shared_row("context", row), table.text("context", row)
        begins, ends = table.columns["context.begin"][at], table.columns["context.end"][at]
        text = context[begins[found[0]] : ends[found[1]]]
        inside = any(((begins < end) & (end < ends)).any() for end in (start, start + len(answer)))
        assert text == answer or (inside and answer in text)
        exact += text == answer
    assert exact > 0.8 * len(table)


@pytest.mark.parametrize(("text", "words"), COMMENTED.items())
def test_comments_are_no_words_and_words_no_comments(text: str, words: list[str], tmp_path: Path) -> None:
    column = "2" if "1-2" in text else "1"
    assert [
        word
        for record in read_records(save(tmp_path / "x.conll", text), "conll")
        for word in record.lists[column]
    ] == words


def test_a_vocabulary_is_made_of_the_words_of_conllu_alone(tmp_path: Path) -> None:
    lines = (
        f"{n}\t{word}\tLEMMA\tNOUN\tXX\tCase=Nom\t0\troot\t_\t_\n"
        for n, word in enumerate(["the", "dog", "sees"], 1)
    )
    path = save(tmp_path / "x.conllu", "".join(lines))
    assert training_lines([LabelledFile("x", "train", "conll", path)], 9, 1) == ["the dog sees"]


def test_a_question_that_is_no_object_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "x.json", json.dumps({"data": [{"paragraphs": [{"context": "a", "qas": ["x"]}]}]}))
    with pytest.raises(MasscliError) as caught:
        list(read_records(path, "squad"))
    assert caught.value.message.startswith(f"{path}: question 1: is not a SQuAD question")


def test_a_space_that_does_not_break_is_part_of_a_word(tmp_path: Path) -> None:
    """Between columns that spaces separate, too."""
    for text in ("10\u00a0000 NUM\na O\n", "10\u00a0000\tNUM\na\tO\n"):
        assert [r.lists["1"] for r in read_records(save(tmp_path / "x.conll", text), "conll")] == [
            ["10\u00a0000", "a"]
        ]


def test_a_word_may_begin_with_a_hash_from_the_first_line_on() -> None:
    rows = ["#Blog", "is", "fun", "", "#second", "one"]
    read = [[values for _, values in words] for words in split_sentences(rows, "x")]
    assert read == [[["#Blog"], ["is"], ["fun"]], [["#second"], ["one"]]]
    columns = ["# sent_id = 1", "#Blog\tO", "is\tO"]
    assert [[values for _, values in words] for words in split_sentences(columns, "x")] == [
        [["#Blog", "O"], ["is", "O"]]
    ]


HELD_OUT = {
    "tsv": ("id\tsentence\tlabel\n1\ta red dog\tyes\n2\ta cat\tno\n3\ta cow\tyes\n",
            "id\tsentence\tlabel\n1\ta red  dog\tyes\n7\ta cat\tyes\n8\ta cow\tyes\n9\tA cow\tyes\n2\ta hen\tno\n"),
    "jsonl": ('{"context": "who", "choices": ["a b", "c"], "label": 0}\n', '{"context": "who", "choices": ["a", "b d"], "label": 0}\n'),
    "conll": ("a\tO\ndog\tB\n\ndogs\tB\n", "dogs\tB\n\na\tO\ndog\tB\n"),
}  # fmt: skip
"""Training and validation parts."""


def test_held_out_examples_that_stand_in_training_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their text, whatever their number and their label are."""
    for kind, parts in HELD_OUT.items():
        for name, text in zip(("train", "valid"), parts, strict=True):
            save(tmp_path / f"{name}.{kind}", text)
    given: Any = {
        kind: tuple(f"{name}={tmp_path / name}.{kind}" for name in ("train", "valid")) for kind in HELD_OUT
    }
    run(PreprocessConfig(langs=("en",), destdir=tmp_path / "data", vocab_size=40, **given))
    said = [line for line in capsys.readouterr().err.splitlines() if "also in" in line]
    assert said == ["warning: 2 of the 5 examples of valid.tsv are also in train.tsv, and kept",
                    "warning: 2 of the 2 examples of valid.conll are also in train.conll, and kept"]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "odd"),
    [("gj04\t1\t*\tour friends won't buy this .", "1"), ("yes\ta sentence of six words here", "a sentence of six words here"),
     ("id\t#1 String\tquality", None)],
)  # fmt: skip
def test_a_first_line_that_reads_like_an_example_is_remarked(
    first: str, odd: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """CoLA is distributed without names of columns."""
    path = save(
        tmp_path / "x.tsv",
        f"{first}\n" + "\t".join(["the quick brown fox jumps over"] * (first.count("\t") + 1)) + "\n",
    )
    run(PreprocessConfig(langs=("en",), tsv=(f"train={path}",), destdir=tmp_path / "data", vocab_size=46))
    said = [line for line in capsys.readouterr().err.splitlines() if "first line" in line]
    wanted = f"warning: {path}: the first line is read as column names, one of them {odd!r}; if it is an example, put a header before it"
    assert said == ([wanted] if odd else [])


def test_text_needs_no_spaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Chinese beside English: both are of the vocabulary, and both tell a held-out example from one of training."""
    head, pairs = (
        "label\tsentence1\tsentence2\n",
        ["0\t这个电影很好看\ta good film", "1\t我不喜欢它\ta bad film"],
    )
    new = ["0\t我很喜欢\ta good film", pairs[1]]
    train = save(tmp_path / "train.tsv", head + "\n".join(pairs * 4) + "\n")
    valid = save(tmp_path / "valid.tsv", head + "\n".join(new) + "\n")
    run(
        PreprocessConfig(
            langs=("zh",), tsv=(f"train={train}", f"valid={valid}"), destdir=tmp_path / "data", vocab_size=50
        )
    )
    said = [line for line in capsys.readouterr().err.splitlines() if "also in" in line]
    assert said == ["warning: 1 of the 2 examples of valid.tsv are also in train.tsv, and kept"]
    data = DataFolder.open(tmp_path / "data")
    ids = data.table("tsv", "train").ids("sentence1")
    assert all(len(ids[row]) > 2 and data.vocab.unk not in ids[row] for row in range(len(ids)))
    alone = save(
        tmp_path / "alone.tsv",
        "label\tsentence\n" + "".join(f"{row.split()[0]}\t{row.split()[1]}\n" for row in pairs * 4),
    )
    run(PreprocessConfig(langs=("zh",), tsv=(f"train={alone}",), destdir=tmp_path / "alone", vocab_size=40))
    assert DataFolder.open(tmp_path / "alone").table("tsv", "train").rows == 8
