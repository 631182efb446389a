"""Labeled data: every format into a data folder and back, and every broken row named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from masscli.cli.preprocess import run
from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.data.formats.bad_rows import SKIP_ADVICE
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.prepare.record_encoder import load_table
from masscli.data.storage.data_folder import DataFolder
from masscli.objectives.extract.question_windows import answer_token_span
from masscli.text.char_offsets import encode_with_offsets
from masscli.text.tokenizer import Tokenizer

pytestmark = pytest.mark.usefixtures("no_sync")

TSV = 'label\tsentence\n1\the said "good day"\n0\tno "quote ends here\n'
JSONL = [
    {
        "context": "the dog sees the cat",
        "choices": ["it runs", "it is a house", "yes"],
        "label": 0,
    },
    {"context": "a house", "choices": ["big", "small"], "label": 1},
]
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
                        {
                            "id": "c",
                            "question": "what?",
                            "answers": [{"text": "Another", "answer_start": 0}],
                        }
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
    run(
        PreprocessConfig(
            langs=("en",), vocab_size=75, destdir=folder / "data", **everything(folder)
        )
    )  # type: ignore[arg-type]
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
    assert [choices.strings("choices", row) for row in range(2)] == [
        row["choices"] for row in JSONL
    ]
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
        assert tsv.ids("sentence")[row].tolist() == tokenizer.encode(
            tsv.text("sentence", row), "en"
        )


def test_pieces_that_a_foreign_vocabulary_lacks_are_reported(
    data: DataFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ["the cat", "\u0436\u0443\u043a the \u0444"]
    save(
        tmp_path / "b.tsv",
        "label\tsentence\n" + "".join(f"1\t{text}\n" for text in texts),
    )
    run(
        PreprocessConfig(
            tsv=(f"train={tmp_path / 'b.tsv'}",),
            spm_model=data.folder,
            destdir=tmp_path / "out",
        )
    )
    ids = [number for text in texts for number in data.tokenizer().encode(text, "en")]
    unknown = ids.count(data.vocab.unk) / len(ids)
    row = next(
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("train.tsv") and "sentence" in line
    )
    assert (
        row.split() == ["train.tsv", "2", "sentence", str(len(ids)), f"{unknown:.3%}"]
        and unknown > 0.1
    )


def test_questions_share_their_text_and_know_the_place_of_every_piece(
    data: DataFolder,
) -> None:
    table = data.table("squad", "train")
    assert [table.shared_row("context", row) for row in range(3)] == [0, 0, 1]
    context = SQUAD["data"][0]["paragraphs"][0]["context"]  # type: ignore[index]
    assert table.text("context", 1) == context
    pieces = data.tokenizer().piece_texts(table.ids("context")[0].tolist())
    begins, ends = (
        table.columns["context.begin"][0].tolist(),
        table.columns["context.end"][0].tolist(),
    )
    spelt = [context[a:b] for a, b in zip(begins, ends, strict=True)]
    assert [
        (a, b)
        for a, b in zip(pieces, spelt, strict=True)
        if a != b and "\u2047" not in a and a != "<unk>"
    ] == []
    assert [table.numbers("impossible", row).tolist() for row in range(3)] == [
        [0],
        [1],
        [0],
    ]
    assert [table.strings("answers", row) for row in range(3)] == [
        ["1925"],
        [],
        ["Another"],
    ]


def test_all_pieces_of_a_normalized_letter_cover_it(
    data: DataFolder,
) -> None:
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


def test_the_vocabulary_of_a_folder_is_reused_unchanged(
    data: DataFolder, tmp_path: Path
) -> None:
    save(tmp_path / "a.tsv", TSV)
    run(
        PreprocessConfig(
            spm_model=data.folder,
            tsv=(str(tmp_path / "a.tsv"),),
            destdir=tmp_path / "data",
        )
    )
    assert (
        DataFolder.open(tmp_path / "data").vocab.fingerprint == data.vocab.fingerprint
    )
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


def test_text_and_tables_can_share_a_folder(tmp_path: Path) -> None:
    save(tmp_path / "mono.en", "the old dog sees a small house and the garden\n" * 40)
    save(tmp_path / "a.tsv", TSV)
    mono, table = f"en={tmp_path / 'mono.en'}", str(tmp_path / "a.tsv")
    config = PreprocessConfig(
        mono=(mono,), tsv=(table,), vocab_size=60, destdir=tmp_path / "data"
    )
    run(config)
    found = DataFolder.open(tmp_path / "data")
    assert (
        len(found.monolingual("train", "en")),
        len(found.table("tsv", "train")),
    ) == (40, 2)
    found.verify()
    before = (tmp_path / "data" / "manifest.json").stat().st_mtime_ns
    run(config)
    assert (tmp_path / "data" / "manifest.json").stat().st_mtime_ns == before, (
        "nothing to do the second time"
    )


def test_columns_may_be_called_like_parts_of_others(
    data: DataFolder, tmp_path: Path
) -> None:
    names, values = (
        ["ids", "begin", "end", "at", "items", "a.b"],
        ["x", "12", "the end", "3", "4", "5"],
    )
    path = save(tmp_path / "x.tsv", "\t".join(names) + "\n" + "\t".join(values) + "\n")
    run(
        PreprocessConfig(
            spm_model=data.folder, tsv=(f"train={path}",), destdir=tmp_path / "data"
        )
    )
    for table in (
        DataFolder.open(tmp_path / "data").table("tsv", "train"),
        load_table(path, "tsv", data.tokenizer(), "en"),
    ):
        assert (table.fields, [table.text(name, 0) for name in names]) == (
            tuple(names),
            values,
        )


OPTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"tsv": ("train=nowhere.tsv",)},
        "--tsv train=nowhere.tsv: there is no file nowhere.tsv",
    ),
    ({"tsv": ("dev={a}",)}, "--tsv dev={a}: expected [TABLE.]SPLIT=FILE"),
    ({"tsv": ("en.train={a}",)}, "--tsv en.train={a}: 'en' is the name of a language"),
    ({"tsv": ("train={a}", "train={a}")}, "--tsv train={a}: tsv.train is given twice"),
    (
        {"mono": ("en={a}",), "table_lang": "en"},
        "--table-lang en: there are no labeled examples",
    ),
    (
        {"tsv": ("train={a}",), "table_lang": "fr"},
        "--table-lang fr: is not among the languages (known: en)",
    ),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS)
def test_meaningless_options_are_refused(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    a = str(save(tmp_path / "a.tsv", TSV))
    filled = {
        k: tuple(x.replace("{a}", a) for x in v) if isinstance(v, tuple) else v
        for k, v in options.items()
    }
    with pytest.raises(MasscliError) as caught:
        run(PreprocessConfig(langs=("en",), destdir=tmp_path / "data", **filled))
    assert caught.value.message == message.replace("{a}", a)
    assert not (tmp_path / "data").exists()


def test_a_path_may_have_an_equals_sign(data: DataFolder, tmp_path: Path) -> None:
    folder = tmp_path / "lang=en"
    folder.mkdir()
    path = save(folder / "a.tsv", TSV)
    run(
        PreprocessConfig(
            langs=("en",),
            spm_model=data.folder,
            tsv=(f"train={path}",),
            destdir=tmp_path / "data",
        )
    )
    assert len(DataFolder.open(tmp_path / "data").table("tsv", "train")) == 2


def test_a_broken_row_leaves_nothing_half_written(
    data: DataFolder, tmp_path: Path
) -> None:
    good, bad = (
        save(tmp_path / "a.tsv", TSV),
        save(tmp_path / "b.tsv", TSV + "broken\n"),
    )
    with pytest.raises(MasscliError, match=r"b\.tsv:4: has 1 column, the header has 2"):
        run(
            PreprocessConfig(
                spm_model=data.folder,
                tsv=(f"train={good}", f"valid={bad}"),
                destdir=tmp_path / "data",
            )
        )
    assert not (tmp_path / "data" / "manifest.json").exists()
    save(bad, TSV)
    run(
        PreprocessConfig(
            spm_model=data.folder,
            tsv=(f"train={good}", f"valid={bad}"),
            destdir=tmp_path / "data",
        )
    )
    assert DataFolder.open(tmp_path / "data").splits() == ("train", "valid")


def test_a_missing_split_is_named(data: DataFolder) -> None:
    with pytest.raises(MasscliError) as caught:
        data.table("tsv", "test")
    assert (caught.value.message, caught.value.hint) == (
        f"{data.folder}: has no test split of tsv",
        "it has train",
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("line", "has no column 'line'"),
        ("question.ids", "has no column 'question.ids'"),
        ("start", "'start' holds whole numbers, and text is needed"),
        ("answers", "'answers' is a list in each example, and one string is needed"),
    ],
)
def test_only_text_can_be_chosen_as_text(
    name: str, message: str, data: DataFolder
) -> None:
    table = data.table("squad", "train")
    with pytest.raises(MasscliError) as caught:
        table.require(name, "--text-columns")
    assert caught.value.message == f"{table.path}: {message}"
    table.require("Question", "--text-columns")


def test_piece_texts_are_the_pieces_without_their_marker(data: DataFolder) -> None:
    tokenizer: Tokenizer = data.tokenizer()
    assert "".join(tokenizer.piece_texts(tokenizer.encode("the dog", "en"))) == "thedog"


# -- real corpora --------------------------------------------------------------------------------------------------------------------------

CORPORA = os.environ.get("MASSCLI_DATA")


@pytest.mark.corpora
@pytest.mark.skipif(
    not CORPORA, reason="MASSCLI_DATA does not name the folder of the real corpora"
)
@pytest.mark.parametrize("language", ["en", "de", "ro"])
def test_every_real_answer_is_cut_out_as_it_is_unless_it_ends_inside_a_piece(
    language: str, data: DataFolder
) -> None:
    assert CORPORA is not None
    table = load_table(
        Path(CORPORA) / "xquad" / f"valid.{language}.json",
        "squad",
        data.tokenizer(),
        "en",
    )
    exact = 0
    for row in range(len(table)):
        found, answer, start = (
            answer_token_span(table, row),
            table.strings("answers", row)[0],
            int(table.numbers("start", row)[0]),
        )
        assert found is not None
        at, context = table.shared_row("context", row), table.text("context", row)
        begins, ends = (
            table.columns["context.begin"][at],
            table.columns["context.end"][at],
        )
        text = context[begins[found[0]] : ends[found[1]]]
        inside = any(
            ((begins < end) & (end < ends)).any()
            for end in (start, start + len(answer))
        )
        assert text == answer or (inside and answer in text)
        exact += text == answer
    assert exact > 0.8 * len(table)


def test_bad_rows_are_skipped_counted_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{number % 2}\tthe sentence number {number}" for number in range(200)]
    rows[7] = "1\ttoo\tmany"
    path = save(tmp_path / "qqp.tsv", "label\tsentence\n" + "\n".join(rows) + "\n")
    options: dict[str, Any] = {
        "langs": ("en",),
        "tsv": (f"train={path}",),
        "vocab_size": 60,
    }
    refused = f"{path}:9: has 3 columns, the header has 2"
    with pytest.raises(MasscliError) as caught:
        run(PreprocessConfig(**options, destdir=tmp_path / "refused"))
    assert caught.value.message == refused
    run(PreprocessConfig(**options, destdir=tmp_path / "data", bad_rows="skip"))
    data = DataFolder.open(tmp_path / "data")
    data.verify()
    table = data.table("tsv", "train")
    assert len(table) == 199
    assert table.location(7) == f"{path}:10"
    log = (tmp_path / "data/dropped.tsv").read_text(encoding="utf-8").split("\n")
    assert log[1:] == [f"train.tsv\t9\thas 3 columns, the header has 2\t{path}", ""]
    stderr = " ".join(capsys.readouterr().err.split())
    assert f"{path}: 1 bad row was skipped, 199 examples are left" in stderr
    # Without bad rows, the option changes nothing.
    for name, extra in (("one", {}), ("two", {"bad_rows": "skip"})):
        path.write_text(
            "label\tsentence\n" + "\n".join(rows[8:]) + "\n", encoding="utf-8"
        )
        run(PreprocessConfig(**options, **extra, destdir=tmp_path / name))
    for file in (tmp_path / "one").glob("*.00000.*"):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


def test_rows_with_broken_labels_are_counted_and_logged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{number / 2}\tthe sentence number {number}" for number in range(200)]
    rows[7], rows[50] = "nan\tno number", "\tno label"
    path = save(tmp_path / "sts.tsv", "score\tsentence\n" + "\n".join(rows) + "\n")
    test = save(
        tmp_path / "test.tsv", "score\tsentence\n\tlabels of a test are kept back\n"
    )
    options: dict[str, Any] = {
        "langs": ("en",), "tsv": (f"train={path}", f"test={test}"), "vocab_size": 60, "check_columns": ("score=number",)
    }  # fmt: skip
    with pytest.raises(MasscliError) as caught:
        run(PreprocessConfig(**options, destdir=tmp_path / "refused"))
    assert caught.value.message == f"{path}:9: score 'nan' is not a number"
    assert caught.value.hint == SKIP_ADVICE
    run(PreprocessConfig(**options, destdir=tmp_path / "data", bad_rows="skip"))
    data = DataFolder.open(tmp_path / "data")
    assert (len(data.table("tsv", "train")), len(data.table("tsv", "test"))) == (198, 1)
    log = (tmp_path / "data/dropped.tsv").read_text(encoding="utf-8").split("\n")
    assert log[1:] == [
        f"train.tsv\t9\tscore 'nan' is not a number\t{path}", f"train.tsv\t52\tscore '' is blank\t{path}", ""
    ]  # fmt: skip
    assert "2 bad rows were skipped, 198 examples are left" in " ".join(
        capsys.readouterr().err.split()
    )
    with pytest.raises(
        MasscliError,
        match="--check-columns points: no training or validation table has this column",
    ):
        run(
            PreprocessConfig(
                **{**options, "check_columns": ("points=number",)},
                destdir=tmp_path / "misspelled",
            )
        )
    with pytest.raises(ConfigError, match="check_columns: expected filled, number"):
        PreprocessConfig(**{**options, "check_columns": ("score=float",)})
