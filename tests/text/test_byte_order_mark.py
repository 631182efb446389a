"""A byte order mark at the start of any text file that masscli reads changes nothing; other encodings are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from masscli.checkpoint.convert import merges_txt
from masscli.checkpoint.convert.folder import read_json
from masscli.core.errors import MasscliError
from masscli.data.formats.registry import read_records
from masscli.text.bpe_codes import read_bpe_files
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.training.recipe_file import read_toml

SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "some text",
                    "qas": [
                        {
                            "id": "1",
                            "question": "what?",
                            "answers": [{"text": "some", "answer_start": 0}],
                        }
                    ],
                }
            ]
        }
    ]
}
TABLES = {
    "tsv": "sentence\tlabel\na b\t1\n",
    "jsonl": '{"sentence": "a b", "label": "1"}\n',
    "conll": "a\tX\nb\tY\n",
    "squad": json.dumps(SQUAD),
    "swag": "startphrase,sent1,sent2,ending0,ending1,ending2,ending3,label\na b,a,b,c,d,e,f,1\n",
    "race": json.dumps(
        {
            "article": "a",
            "questions": ["b _"],
            "options": [["c", "d"]],
            "answers": ["A"],
        }
    ),
    "dialogues": "hello\thow are you\n",
    "lines": "a b\n",
}
WORDPIECES = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\n"


def read_wordpiece(path: Path) -> object:
    return Tokenizer.from_bytes(
        path, path.read_bytes(), TextPreprocessing(), ()
    ).all_pieces()


def read_merges(path: Path) -> object:
    vocab = path.with_name("plain")
    vocab.write_text("ab 3\na@@ 2\n", encoding="utf-8")
    return read_bpe_files(path, vocab)


def read_pieces(path: Path) -> object:
    codes = path.with_name("plain")
    codes.write_text("a b</w>\n", encoding="utf-8")
    return read_bpe_files(codes, path)


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "codes": ("a b</w>\nc d\n", read_merges),
    "pieces": ("ab 3\na@@ 2\n", read_pieces),
    "vocab.txt": (WORDPIECES, read_wordpiece),
    "run.toml": ("[optim]\nlr = 0.1\n", read_toml),
    "config.json": ('{"model_type": "bert"}', read_json),
    "merges.txt": ("#version: 0.2\na b</w>\n", merges_txt.read_merges_txt),
}
for _format, _text in TABLES.items():
    READERS[_format] = (
        _text,
        lambda path, format=_format: list(read_records(path, format)),
    )  # type: ignore[misc]


@pytest.mark.parametrize("name", READERS)
def test_a_byte_order_mark_changes_nothing(name: str, tmp_path: Path) -> None:
    text, read = READERS[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    expected = read(path)
    assert expected
    path.write_text("\ufeff" + text, encoding="utf-8")
    assert read(path) == expected


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "latin-1"])
@pytest.mark.parametrize("name", READERS)
def test_other_encodings_give_one_line(
    name: str, encoding: str, tmp_path: Path
) -> None:
    text, read = READERS[name]
    path = tmp_path / name
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    path.write_bytes(mark + f"{text}\u00e9 \u00e9\n".encode(encoding))
    with pytest.raises(MasscliError) as caught:
        read(path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message
    assert "UTF" in caught.value.message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jsonl", '{"a": ' * 100_000),
        ("squad", "[" * 100_000),
        ("race", "[" * 100_000),
        ("config.json", "[" * 100_000),
        ("run.toml", "a = " + "[" * 100_000),
        ("jsonl", '{"a": ' + "9" * 5000 + "}"),
        ("config.json", '{"a": ' + "9" * 5000 + "}"),
        ("run.toml", "a = " + "9" * 5000),
    ],
)
def test_deep_nesting_and_huge_numbers_give_one_line(
    name: str, text: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MasscliError) as caught:
        READERS[name][1](path)
    assert str(path) in caught.value.message and "\n" not in caught.value.message
