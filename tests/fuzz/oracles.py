"""Independent readers: what a stranger with the standard library and NumPy finds in a file.

They share no code with masscli, are slow, and accept much. An error of theirs means that the file holds no
examples that anybody should read.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import lzma
import re
import struct
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "U8": "u1",
    "BOOL": "?",
}


class UnreadableError(Exception):
    """What a stranger would refuse to read."""


def require(condition: object, reason: str) -> None:
    """Raise UnreadableError unless the condition holds."""
    if not condition:
        raise UnreadableError(reason)


def plain_lines(data: bytes) -> list[str]:
    """Return the lines of UTF-8 text, which `\\n` ends; a `\\r` before it belongs to it."""
    text = data.decode("utf-8")
    text = text.removeprefix("\ufeff")
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def xz(data: bytes) -> bytes:
    """Return the contents of an xz file: streams, with zeros between them."""
    found = b""
    while data:
        stream = lzma.LZMADecompressor(lzma.FORMAT_XZ)
        found += stream.decompress(data)
        require(stream.eof, "a stream without an end")
        data = stream.unused_data.lstrip(b"\0")
    return found


def example(
    line: int, texts: Any = (), lists: Any = (), numbers: Any = (), shared: Any = ()
) -> Any:
    """Return an example in the form in which all are compared."""
    return [
        line,
        dict(texts),
        {key: list(value) for key, value in dict(lists).items()},
        dict(numbers),
        dict(shared),
    ]


def tsv(path: Path) -> list[Any]:
    header, *rows = [line.split("\t") for line in plain_lines(path.read_bytes())]
    require(
        all(len(row) == len(header) for row in rows), "a row is too short or too long"
    )
    return [example(n, zip(header, row, strict=True)) for n, row in enumerate(rows, 2)]


def lines(path: Path) -> list[Any]:
    rows = [line.split("\t") for line in plain_lines(path.read_bytes())]
    require(
        all(len(row) == len(rows[0]) for row in rows), "a row is too short or too long"
    )
    return [
        example(n, {str(c): value for c, value in enumerate(row, 1)})
        for n, row in enumerate(rows, 1)
    ]


def as_text(value: Any) -> str:
    """A string as it is, a number as JSON writes it."""
    require(
        value is not None and not isinstance(value, (list, dict)),
        "neither a string nor a number",
    )
    return value if isinstance(value, str) else json.dumps(value)


def jsonl(path: Path) -> list[Any]:
    found = []
    for number, line in enumerate(plain_lines(path.read_bytes()), 1):
        if not line.strip():
            continue
        value = json.loads(line)
        texts = {
            key: as_text(item)
            for key, item in value.items()
            if not isinstance(item, list)
        }
        lists = {
            key: [as_text(part) for part in item]
            for key, item in value.items()
            if isinstance(item, list)
        }
        if "question" in texts:
            for key in list(lists):
                question = texts["question"]
                joined = [
                    question.replace("_", part)
                    if "_" in question
                    else f"{question} {part}"
                    for part in lists[key]
                ]
                lists[f"{key}+question"] = joined
        found.append(example(number, texts, lists))
    return found


def conll(path: Path) -> list[Any]:
    rows = plain_lines(path.read_bytes())
    words = [row for row in rows if row.strip(" \t\r")]
    first = next(
        (row for row in words if not row.startswith(("#", "-DOCSTART-"))),
        words[0] if words else "",
    )

    def split(row: str) -> list[str]:
        return (
            row.split("\t")
            if "\t" in first
            else [part for part in re.split("[ \r]", row) if part]
        )

    found, sentence, start = [], [], 0
    for number, row in enumerate([*rows, ""], 1):
        if not row.strip(" \t\r"):
            if sentence:
                columns = {
                    str(c): list(column)
                    for c, column in enumerate(zip(*sentence, strict=True), 1)
                }
                found.append(example(start, lists=columns))
            sentence = []
            continue
        values = split(row)
        is_comment = (
            row.startswith("#") and not sentence and len(values) != len(split(first))
        )
        is_extra = len(values) == 10 and re.fullmatch(r"\d+[-.]\d+", values[0])
        if is_comment or row.startswith("-DOCSTART-") or is_extra:
            continue
        require(all(value.strip() for value in values), "a blank column")
        start = start if sentence else number
        sentence.append(values)
    return found


def squad(path: Path) -> list[Any]:
    found = []
    content = json.loads(path.read_bytes().decode("utf-8").removeprefix("\ufeff"))
    for article in content["data"]:
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                impossible = bool(question.get("is_impossible", False))
                answers = [] if impossible else question.get("answers", [])
                for answer in answers:
                    start = int(answer["answer_start"])
                    require(
                        paragraph["context"][start:].startswith(answer["text"]),
                        "an answer that is not there",
                    )
                found.append(example(
                    len(found) + 1, {"id": str(question["id"]), "question": question["question"]},
                    {"answers": [answer["text"] for answer in answers]},
                    {"start": [int(answer["answer_start"]) for answer in answers], "impossible": [int(impossible)]},
                    {"context": paragraph["context"]},
                ))  # fmt: skip
    return found


def dialogues(path: Path) -> list[Any]:
    found = []
    for number, line in enumerate(plain_lines(path.read_bytes()), 1):
        if line.strip(" "):
            turns = [turn.strip() for turn in line.split("\t")]
            require(all(turns), "an empty turn")
            for last in range(1, len(turns)):
                found.append(
                    example(
                        number, {"response": turns[last]}, {"context": turns[:last]}
                    )
                )
    return found


def aligned(sources: Path, targets: Path) -> list[Any]:
    both = zip(
        plain_lines(sources.read_bytes()),
        plain_lines(targets.read_bytes()),
        strict=True,
    )
    return [
        example(n, {"source": source, "target": target})
        for n, (source, target) in enumerate(both, 1)
    ]


def multiple_choice(
    line: int,
    context: str,
    question: str,
    choices: list[str],
    joined: list[str],
    more: Any,
) -> Any:
    """Return an example of SWAG or RACE."""
    texts = {"context": context, "question": question, **more}
    return example(line, texts, {"choices": choices, "choices+question": joined})


def swag(path: Path) -> list[Any]:
    text = "".join(f"{line}\n" for line in plain_lines(path.read_bytes()))
    # Line ends within quotes stay as they are.
    reader = csv.reader(io.StringIO(text, newline="\n"))
    header, found, line = next(reader), [], reader.line_num + 1
    for row in reader:
        require(len(row) == len(header), "a row is too short or too long")
        found.append(_swag_row(line, dict(zip(header, row, strict=True))))
        line = reader.line_num + 1
    return found


def _swag_row(line: int, values: dict[str, str]) -> Any:
    endings = [
        values[f"ending{n}"] for n in range(len(values)) if f"ending{n}" in values
    ]
    joined = [f"{values['sent2']} {ending}" for ending in endings]
    label = {"label": values["label"]} if "label" in values else {}
    return multiple_choice(
        line, values["sent1"], values["sent2"], endings, joined, label
    )


def swag_tsv(path: Path) -> list[Any]:
    return [_swag_row(line, texts) for line, texts, *_ in tsv(path)]


def swag_jsonl(path: Path) -> list[Any]:
    return [_swag_row(line, texts) for line, texts, *_ in jsonl(path)]


def race_folder(path: Path) -> list[Any]:
    found = []
    for file in sorted(path.rglob("*.txt")):
        text = "\n".join(plain_lines(file.read_bytes()))
        found += _race_article(json.loads(text), str(file.relative_to(path)))
    return found


def race(path: Path) -> list[Any]:
    found = []
    for line, text in enumerate(plain_lines(path.read_bytes()), 1):
        if not text.strip():
            continue
        found += _race_article(json.loads(text), str(line))
    return found


def _race_article(article: Any, name: str) -> list[Any]:
    found = []
    for number, question in enumerate(article["questions"]):
        choices = article["options"][number]
        joined = [
            question.replace("_", choice) if "_" in question else f"{question} {choice}"
            for choice in choices
        ]
        more = {"id": f"{name}-{number + 1}"}
        if "answers" in article:
            require(
                len(article["answers"]) == len(article["questions"]),
                "not an answer for each question",
            )
            more["label"] = article["answers"][number]
        found.append(
            multiple_choice(
                number + 1, article["article"], question, choices, joined, more
            )
        )
    return found


def safetensors(path: Path) -> dict[str, Any]:
    """Return every tensor as its type, shape and bytes."""
    data = path.read_bytes()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    found = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        values = data[8 + size + start : 8 + size + end]
        found[name] = [entry["dtype"], list(entry["shape"]), values.hex()]
    return found


def toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file."""
    return tomllib.loads(path.read_bytes().decode("utf-8").removeprefix("\ufeff"))


def shard_rows(folder: Path, name: str, kind: str) -> Iterator[list[int]]:
    """Return the rows of one shard as numbers."""
    index = (folder / f"{name}.idx").read_bytes()
    dtype = index[12:16].rstrip(b"\0").decode()
    rows, values, _ = struct.unpack_from("<QQQ", index, 28)
    offsets = np.frombuffer(index, "<i8", rows + 1, 128)
    numbers = np.frombuffer((folder / f"{name}.bin").read_bytes(), dtype)
    require(
        len(numbers) == values and offsets[0] == 0 and offsets[-1] == values,
        "offsets and values differ",
    )
    for start, end in itertools.pairwise(offsets.tolist()):
        require(start <= end, "offsets that go back")
        yield numbers[start:end].tolist()


def data_folder(folder: Path) -> Any:
    """Return the rows of every text, pair and table of a data folder."""
    manifest = json.loads(
        (folder / "manifest.json").read_bytes().decode("utf-8").removeprefix("\ufeff")
    )
    columns = {}
    for column in manifest["columns"]:
        rows: list[list[int]] = []
        for shard in column["shards"]:
            rows += shard_rows(folder, shard["name"], column["kind"])
        columns[column["name"]] = rows
    texts = []
    for text in manifest["texts"]:
        original = text.get("original")
        kept = (
            None
            if original is None
            else [bytes(row).decode() for row in columns[original]]
        )
        texts.append(
            [
                text["split"],
                text["language"],
                bool(text["monolingual"]),
                columns[text["column"]],
                kept,
            ]
        )
    pairs = []
    for pair in manifest["aligned"]:
        sides = [_side(columns, pair, side) for side in ("source", "target")]
        pairs.append([pair["split"], pair["source"], pair["target"], *sides])
    tables = []
    for table in manifest.get("tables", []):
        fields = {field["name"]: columns[field["column"]] for field in table["fields"]}
        tables.append([table["name"], table["split"], table["rows"], fields])
    return [texts, pairs, tables]


def _side(
    columns: dict[str, list[list[int]]], pair: dict[str, Any], side: str
) -> list[list[int]]:
    rows = columns[pair[f"{side}_column"]]
    selection = pair.get(f"{side}_rows")
    if selection is None:
        return rows
    return [rows[number] for row in columns[selection] for number in row]
