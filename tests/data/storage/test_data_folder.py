"""Data folders: opening one is light, and whatever is missing or damaged is named."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.core.sealed_json import seal
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder


def test_importing_it_needs_no_tokenizer_and_no_preprocessing() -> None:
    code = "import sys, masscli.data.storage.data_folder; print(*sys.modules)"
    modules = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    heavy = (
        "torch",
        "sentencepiece",
        "masscli.text.tokenizer",
        "masscli.data.prepare",
        "masscli.data.formats",
    )
    assert [name for name in heavy if name in modules] == []


def test_folders_that_are_not_data_folders_are_refused(tmp_path: Path) -> None:
    def message(path: Path) -> tuple[str, str | None]:
        with pytest.raises(MasscliError) as caught:
            DataFolder.open(path)
        return caught.value.message, caught.value.hint

    nowhere = tmp_path / "x"
    assert message(nowhere)[0] == f"{nowhere}: is not a data folder"
    assert (
        message(nowhere)[1]
        == f"there is no folder {nowhere}; masscli preprocess --destdir {nowhere} makes one"
    )
    assert (
        message(tmp_path)[1]
        == "it has no manifest.json; give the --destdir of masscli preprocess"
    )
    for name in ("m30k", "novels", "other"):
        (tmp_path / name).mkdir()
    for name in ("m30k", "novels"):
        (tmp_path / name / "manifest.json").touch()
    inside = f"{tmp_path / 'm30k'}, {tmp_path / 'novels'}"
    assert (
        message(tmp_path)[1] == f"it is a folder of data folders: name one of {inside}"
    )
    (tmp_path / ".partial").mkdir()
    assert (
        message(tmp_path)[1]
        == "masscli preprocess has not finished there; run the same command again to resume it"
    )


# Damage that the checksums of the manifest do not show, because they were computed anew.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with text, pairs and tables of several kinds of fields."""
    folder = tmp_path_factory.mktemp("made")
    for language in ("en", "de"):
        lines = [f"{language} word {number} and some more" for number in range(40)]
        (folder / f"train.{language}").write_text(
            "\n".join(lines) + "\n", encoding="utf-8"
        )
    question = {
        "question": "what?",
        "id": "1",
        "answers": [{"text": "some", "answer_start": 0}],
    }
    squad = {
        "data": [
            {
                "paragraphs": [
                    {"context": "some text", "qas": [question, question | {"id": "2"}]}
                ]
            }
        ]
    }
    (folder / "qa.json").write_text(json.dumps(squad), encoding="utf-8")
    (folder / "tags.conll").write_text("a\tX\nword\tY\n\nand\tX\n", encoding="utf-8")
    run(
        PreprocessConfig(
            langs=("en", "de"),
            trainpref=folder / "train",
            pairs_as_mono=True,
            squad=(f"train={folder / 'qa.json'}",),
            conll=(f"train={folder / 'tags.conll'}",),
            vocab_size=60,
            destdir=folder / "data",
        )
    )
    return folder / "data"


@pytest.fixture
def data(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to do things to."""
    return shutil.copytree(made, tmp_path / "copy")


def edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change the manifest, and give all files the sizes and checksums that they have now."""
    content = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    edit(content)
    for file in content["files"]:
        if (folder / file["name"]).is_file():
            file["size"] = (folder / file["name"]).stat().st_size
            file["sha256"] = hashlib.sha256(
                (folder / file["name"]).read_bytes()
            ).hexdigest()
    del content["checksum"]
    (folder / "manifest.json").write_text(json.dumps(seal(content)), encoding="utf-8")


def rewrite_column(folder: Path, name: str, values: list[int]) -> None:
    """Replace the values of a column, whose number must stay the same."""
    path = folder / f"{name}.00000.bin"
    dtype = "<i8" if path.stat().st_size == 8 * len(values) else "<u2"
    assert path.stat().st_size == np.dtype(dtype).itemsize * len(values)
    path.write_bytes(np.array(values, dtype).tobytes())
    edit_manifest(folder, lambda content: None)


def read_all(folder: Path) -> None:
    """Read everything in a folder."""
    data = DataFolder.open(folder)
    data.verify()
    for language in data.languages:
        column = data.monolingual("train", language)
        for row in range(len(column)):
            _ = column[row]
        data.piece_counts(language)
    data.pair("train", "en", "de")
    for table in data.manifest.tables:
        _ = data.table(table.name, table.split).item_offsets


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(MasscliError) as caught:
        action()
    assert caught.value.hint is not None
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda m: m["columns"][0].update(kind="idz"), "'idz' is not a kind of column"),
        (lambda m: m["columns"].pop(0), "it has no column"),
        (lambda m: m["columns"].append(m["columns"][0]), "a name occurs twice"),
        (lambda m: m["texts"][0].update(column="other"), "it has no column 'other'"),
        (lambda m: m["texts"][0].update(original="other"), "it has no column 'other'"),
        (
            lambda m: m["aligned"][0].update(source_column="other"),
            "it has no column 'other'",
        ),
        (
            lambda m: m["aligned"][0].update(target_rows="other"),
            "it has no column 'other'",
        ),
        (
            lambda m: m["tables"][0]["fields"][0].update(column="other"),
            "it has no column 'other'",
        ),
        (
            lambda m: m["files"][0].update(name="../vocab.model"),
            "'../vocab.model' is not the name of a file",
        ),
        (
            lambda m: m["files"][0].update(name="/etc/passwd"),
            "'/etc/passwd' is not the name of a file",
        ),
        (lambda m: m["files"].pop(5), "is not in its list of files"),
        (
            lambda m: m["columns"][0]["shards"][0].update(name="x"),
            "x.bin is not in its list of files",
        ),
        (
            lambda m: m["columns"][0]["shards"][0].update(rows=7),
            "does not belong to this folder",
        ),
        (
            lambda m: m["columns"][0]["shards"][0].update(values=7),
            "does not belong to this folder",
        ),
        (lambda m: m["columns"][0]["shards"][0].update(rows="many"), "expected int"),
        (lambda m: m["columns"][0].update(shards=[]), "rows"),
        (lambda m: m["tables"][0].update(rows=3), "rows instead of 3"),
        (lambda m: m["tables"][0].update(rows=-1), "rows instead of -1"),
        (lambda m: m["tables"][0]["fields"].pop(0), "is damaged"),
    ],
)
def test_a_manifest_that_contradicts_the_files(
    data: Path, edit: Callable[[dict[str, Any]], object], reason: str
) -> None:
    edit_manifest(data, edit)
    assert reason in refusal(lambda: read_all(data))


def test_any_change_of_a_manifest_is_noticed(data: Path) -> None:
    path = data / "manifest.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace(
            '"language": "de"', '"language": "en"'
        ),
        encoding="utf-8",
    )
    assert (
        refusal(lambda: DataFolder.open(data))
        == f"{path}: is damaged (it does not match its checksum)"
    )


def test_deep_json_is_a_damaged_manifest(data: Path) -> None:
    (data / "manifest.json").write_text("[" * 100_000)
    assert refusal(lambda: read_all(data)).startswith(
        f"{data / 'manifest.json'}: is damaged ("
    )


def test_impossible_numbers_of_tables_are_refused(data: Path) -> None:
    columns = {}
    for table in DataFolder.open(data).manifest.tables:
        columns.update({field.name: field.column for field in table.fields})
    for field, wrong, reason in (
        ("context.at", [0, 9], "points outside of context"),
        ("context.at", [-1, 0], "points outside of context"),
        ("1.items", [-1, 4], "counts below 0"),
        ("1.items", [2, 2], "rows instead of 4"),
    ):
        name = columns[field]
        copy = shutil.copytree(data, data.with_name("again"))
        rewrite_column(copy, name, wrong)
        assert reason in refusal(lambda folder=copy: read_all(folder))  # type: ignore[misc]
        shutil.rmtree(copy)


def test_an_id_beyond_the_vocabulary_is_refused_though_checksums_match(
    data: Path,
) -> None:
    path = data / "train.en-de.en.00000.bin"
    values = np.fromfile(path, "<u2").tolist()
    rewrite_column(data, "train.en-de.en", [*values[:-1], 60])
    name = re.escape(str(path))
    for read in (
        lambda d: d.monolingual("train", "en")[39],
        lambda d: d.piece_counts("en"),
    ):
        with pytest.raises(
            MasscliError, match=f"{name}: is damaged .it has the id 60, "
        ):
            read(DataFolder.open(data))


# Checksums are compared once.


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    read = []
    monkeypatch.setattr(
        "masscli.data.storage.data_folder.files.sha256_of",
        lambda path: (
            read.append(path.name) or hashlib.sha256(path.read_bytes()).hexdigest()
        ),
    )
    return read


def test_each_file_is_verified_once(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = count_reads(monkeypatch)
    folder = DataFolder.open(data)
    names = {file.name for file in folder.manifest.files}
    folder.verify(again=False)
    assert set(read) == names
    read.clear()
    folder.verify(again=False)
    assert read == []
    # What was touched is read again, and nothing else.
    os.utime(data / "vocab.model", ns=(1, 1))
    folder.verify(again=False)
    assert read == ["vocab.model"]
    read.clear()
    folder.verify()
    assert set(read) == names


def test_a_changed_byte_is_noticed_although_the_folder_was_verified(data: Path) -> None:
    DataFolder.open(data).verify(again=False)
    path = data / "train.en-de.en.00000.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + content[-4:-2])
    assert content != path.read_bytes()
    folder = DataFolder.open(data)
    for _ in range(2):
        assert (
            refusal(lambda: folder.verify(again=False))
            == f"{path}: does not match its checksum"
        )


def test_a_copied_folder_is_verified_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DataFolder.open(data).verify(again=False)
    # Even a copy that keeps all times has other inodes.
    copy = shutil.copytree(data, data.with_name("other"))
    read = count_reads(monkeypatch)
    DataFolder.open(copy).verify(again=False)
    assert set(read) == {file.name for file in DataFolder.open(copy).manifest.files}


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"vocab.model": 3}', '{"a": {"size": "x"}}', "[" * 10**5],
)
def test_a_damaged_stamp_is_ignored(data: Path, content: str) -> None:
    (data / ".verified.json").write_text(content)
    DataFolder.open(data).verify(again=False)
    assert json.loads((data / ".verified.json").read_text())["vocab.model"]["size"] > 0


def test_stamps_of_a_read_only_folder_are_kept_in_the_cache(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # A folder in the way of the stamps stands for one that cannot be written, since root may write anywhere.
    (data / ".verified.json").mkdir()
    DataFolder.open(data).verify(again=False)
    assert len(list((tmp_path / "cache/masscli/verified").glob("*.json"))) == 1
    read = count_reads(monkeypatch)
    DataFolder.open(data).verify(again=False)
    assert read == []
    # Where neither can be written, the files are compared each time.
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    DataFolder.open(data).verify(again=False)
    assert read


def test_a_folder_that_is_removed_while_it_is_read_is_named(
    toy: Path, tmp_path: Path
) -> None:
    """Files are opened when they are first needed, so this may happen late."""
    for first in ("lengths", "values"):
        folder = shutil.copytree(toy, tmp_path / first)
        column, _ = DataFolder.open(folder).pair("train", "en", "de")
        shutil.rmtree(folder)
        with pytest.raises(MasscliError, match="is gone; the data folder was removed"):
            column.lengths() if first == "lengths" else column[0]
