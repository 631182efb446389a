"""`masscli preprocess`: a data folder from text, the same bytes however it was made, and plain words for every mistake."""

from __future__ import annotations

import errno
import fcntl
import gzip
import io
import json
import lzma
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masscli.cli.preprocess import run
from masscli.core.config import ConfigError, find_unused
from masscli.core.errors import MasscliError
from masscli.data.prepare import chunks, pipeline, publish
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage import column_writer
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.manifest import Manifest
from masscli.text import compressed, corpus
from masscli.text.tokenizer import Tokenizer
from tests.commands import succeed

pytestmark = pytest.mark.usefixtures("no_sync")

WORDS = {
    "en": "the a small big red old house garden dog cat man woman sees has finds and in",
    "de": "der die das klein groß rot alt Haus Garten Hund Katze Mann Frau sieht hat und in",
    "fr": "le la petit grand rouge vieux maison jardin chien chat homme femme voit a et dans",
}


def sentences(language: str, count: int, seed: int = 0) -> list[str]:
    draw = random.Random(f"{language}{seed}")
    return [
        " ".join(draw.choices(WORDS[language].split(), k=draw.randint(3, 9)))
        for _ in range(count)
    ]


def save(path: Path, lines: list[str]) -> Path:
    path.write_text(
        "".join(line + "\n" for line in lines), encoding="utf-8", newline=""
    )
    return path


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many chunks even in small files."""
    monkeypatch.setattr(corpus, "LINE_STRIDE", 8)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 600)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Three languages: aligned train, valid, test; monolingual English with documents."""
    for language in WORDS:
        for n, (split, count) in enumerate(
            (("train", 300), ("valid", 20), ("test", 10))
        ):
            save(tmp_path / f"{split}.{language}", sentences(language, count, n))
    books = [[*sentences("en", 30, 10 + n), ""] for n in range(4)]
    save(
        tmp_path / "books.en", ["", *(line for book in books for line in [*book, "  "])]
    )
    return tmp_path


def config(text: Path, **options: object) -> PreprocessConfig:
    values: dict[str, object] = {
        "langs": ("en", "de"), "trainpref": text / "train", "validpref": text / "valid", "testpref": text / "test", "vocab_size": 120,
        "destdir": text / "data",
    }  # fmt: skip
    return PreprocessConfig(**(values | options))  # type: ignore[arg-type]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def fails(config: PreprocessConfig) -> tuple[str, str | None]:
    with pytest.raises(MasscliError) as caught:
        run(config)
    return caught.value.message, caught.value.hint


# What comes out


def test_ids_of_every_line_in_order(text: Path) -> None:
    run(config(text))
    data = DataFolder.open(text / "data")
    data.verify()
    tokenizer = data.tokenizer()
    assert (data.languages, data.pairs, data.splits()) == (
        ("en", "de"),
        ("en-de",),
        ("train", "valid", "test"),
    )
    for split in data.splits():
        for source, target in (("en", "de"), ("de", "en")):
            columns = data.pair(split, source, target)
            for language, column in zip((source, target), columns, strict=True):
                lines = (
                    (text / f"{split}.{language}")
                    .read_text(encoding="utf-8")
                    .splitlines()
                )
                assert [column[n].tolist() for n in range(len(column))] == [
                    tokenizer.encode(line, language) for line in lines
                ]
                assert column.document_starts.tolist() == [0]
                alone = data.monolingual(split, language)
                assert [alone[n].tolist() for n in range(len(alone))] == [
                    column[n].tolist() for n in range(len(column))
                ]
    assert (
        data.original_lines("test", "en-de", "de")
        == data.original_lines("test", "de", "de")
        == (text / "test.de").read_text(encoding="utf-8").splitlines()
    )


@pytest.mark.usefixtures("small_chunks")
def test_documents_end_at_blank_lines(text: Path) -> None:
    run(config(text, mono=(f"en={text / 'books.en'}",)))
    data = DataFolder.open(text / "data")
    column = data.monolingual("train", "en")
    assert len(column) == 4 * 30 + 300
    assert column.document_starts.tolist() == [0, 30, 60, 90, 120]
    group_stats = next(a for a in data.manifest.filter_stats if a.group == "train.en")
    assert (
        group_stats.lines,
        group_stats.kept,
        group_stats.document_breaks,
        group_stats.dropped,
    ) == (
        129,
        120,
        9,
        {},
    )
    alone = DataFolder.open(
        preprocessed(
            config(
                text,
                mono=(f"en={text / 'books.en'}",),
                pairs_as_mono=False,
                destdir=text / "other",
            )
        )
    )
    assert len(alone.monolingual("train", "en")) == 120
    assert len(alone.pair("train", "en", "de")[0]) == 300
    with pytest.raises(MasscliError, match="has no monolingual train text of 'de'"):
        alone.monolingual("train", "de")


def preprocessed(config: PreprocessConfig) -> Path:
    run(config)
    return config.destdir


def reason_to_drop(sizes: dict[str, int]) -> tuple[str, str] | None:
    """Why a pair of 2 to 30 pieces a side and a ratio up to 4 is not kept, and the language at fault."""
    for language, size in sizes.items():
        if size == 0:
            return "empty", language
        if size > 30:
            return "too long", language
        if size < 2:
            return "too short", language
    if max(sizes.values()) > 4 * min(sizes.values()):
        return "ratio", "en"
    return None


def expected_drops(
    tokenizer: Tokenizer, en: list[str], de: list[str]
) -> dict[int, tuple[str, str]]:
    """The reason to drop a pair, and the language of the line at fault, by the number of the pair."""
    drops = {}
    for number, (source, target) in enumerate(zip(en, de, strict=True)):
        sizes = {
            "en": len(tokenizer.encode(source, "en")),
            "de": len(tokenizer.encode(target, "de")),
        }
        reason = reason_to_drop(sizes)
        if reason is not None:
            drops[number] = reason
    return drops


@pytest.mark.usefixtures("small_chunks")
def test_training_drops_are_listed_one_by_one_and_held_out_lines_are_kept(
    text: Path,
) -> None:
    en, de = sentences("en", 200), sentences("de", 200)
    en[3] = ""
    de[50] = " \u00a0"
    en[70] = "the " * 40
    en[120] = "a " * 12
    de[199] = "das"
    for split in ("train", "test"):
        save(text / f"{split}.en", en)
        save(text / f"{split}.de", de)
    folder = preprocessed(config(text, max_len=30, min_len=2, max_ratio=4.0))
    data = DataFolder.open(folder)
    tokenizer = data.tokenizer()
    drops = expected_drops(tokenizer, en, de)
    reasons = {reason for reason, _ in drops.values()}
    assert reasons == {"empty", "too long", "too short", "ratio"}
    rows = ["group\tline\treason\tfile"]
    for n, (reason, language) in sorted(drops.items()):
        rows.append(f"train.en-de\t{n + 1}\t{reason}\t{text}/train.{language}")
    dropped = (folder / "dropped.tsv").read_text(encoding="utf-8")
    assert dropped.splitlines() == rows
    kept = [n for n in range(200) if n not in drops]
    source, target = data.aligned_rows("train", ("en", "de"))
    english = [tokenizer.encode(en[n], "en") for n in kept]
    german = [tokenizer.encode(de[n], "de") for n in kept]
    assert [row.tolist() for row in source] == english
    assert [row.tolist() for row in target] == german
    train, valid, test = data.manifest.filter_stats
    assert (train.lines, train.kept) == (200, len(kept))
    assert sum(train.dropped.values()) == len(drops)
    assert (test.lines, test.kept, test.dropped) == (200, 200, {})
    assert test.kept_but_suspicious["empty"] == 2
    assert len(data.pair("test", "en", "de")[0]) == 200
    assert data.original_lines("test", "en-de", "en") == en
    assert (valid.kept, valid.dropped) == (20, {})


def test_raw_lines_are_kept_as_they_are(text: Path) -> None:
    lines = ["\ufb01ne  print ", "世界", "\u2028x", "", *sentences("de", 6)]
    save(text / "test.de", lines)
    assert (
        DataFolder.open(preprocessed(config(text))).original_lines(
            "test", "en-de", "de"
        )
        == lines
    )


@pytest.mark.usefixtures("small_chunks")
def test_a_side_that_pairs_share_is_stored_once(text: Path) -> None:
    en, de, fr = (sentences(language, 200) for language in WORDS)
    de[5], fr[5], fr[17], de[150], en[160] = "", "", "", "", ""
    for language, lines in (("en", en), ("de", de), ("fr", fr)):
        save(text / f"train.{language}", lines)
    data = DataFolder.open(preprocessed(config(text, langs=("en", "de", "fr"))))
    tokenizer = data.tokenizer()
    stats = {one.group: one for one in data.manifest.filter_stats}
    assert data.pairs == ("en-de", "en-fr")
    # Line 5 belongs to no pair, and 160 is empty.
    assert len(data.monolingual("train", "en")) == 198
    for other, lines, gone in (("de", de, {5, 150, 160}), ("fr", fr, {5, 17, 160})):
        source, target = data.aligned_rows("train", ("en", other))
        kept = [n for n in range(200) if n not in gone]
        english = [tokenizer.encode(en[n], "en") for n in kept]
        foreign = [tokenizer.encode(lines[n], other) for n in kept]
        assert [ids.tolist() for ids in source] == english
        assert [ids.tolist() for ids in target] == foreign
        lengths = data.pair("train", "en", other)[0].lengths()
        assert lengths.tolist() == [len(ids) for ids in english]
        assert stats[f"train.en-{other}"].kept == len(kept)
    [english_text] = [
        entry
        for entry in data.manifest.texts
        if (entry.split, entry.language) == ("train", "en")
    ]
    assert english_text.column == "train.en-de-fr.en"


def test_files_by_pair_share_a_side_only_if_it_is_the_same(text: Path) -> None:
    for n, other in enumerate(("de", "fr")):
        save(text / f"p.en-{other}.en", sentences("en", 100))
        save(text / f"p.en-{other}.{other}", sentences(other, 100, n))
    options = {
        "langs": ("en", "de", "fr"),
        "trainpref": text / "p",
        "validpref": None,
        "testpref": None,
    }
    assert (
        len(
            DataFolder.open(preprocessed(config(text, **options))).monolingual(
                "train", "en"
            )
        )
        == 100
    )
    save(text / "p.en-fr.en", sentences("en", 100, 5))
    data = DataFolder.open(
        preprocessed(config(text, **options, destdir=text / "other"))
    )
    assert len(data.monolingual("train", "en")) == 200
    assert len(data.pair("train", "fr", "en")[1]) == 100


def test_one_language_needs_no_pair(text: Path) -> None:
    data = DataFolder.open(preprocessed(config(text, langs=("en",))))
    assert data.pairs == ()
    assert (
        len(data.monolingual("train", "en")) == 300
        and len(data.original_lines("valid", "en", "en")) == 20
    )


def test_monolingual_training_with_pairs_to_validate_on(text: Path) -> None:
    for language in ("en", "de"):
        (text / f"train.{language}").rename(text / f"mono.{language}")
    data = DataFolder.open(
        preprocessed(
            config(
                text,
                trainpref=None,
                mono=(f"en={text / 'mono.en'}", f"de={text / 'mono.de'}"),
            )
        )
    )
    assert (
        len(data.monolingual("train", "de")) == 300
        and len(data.pair("valid", "en", "de")[0]) == 20
    )
    with pytest.raises(MasscliError) as caught:
        data.pair("train", "en", "de")
    assert (
        caught.value.message
        == f"{text / 'data'}: has no pairs en-de in its split train"
    )
    assert caught.value.hint == "its train split has en, de"


def test_monolingual_text_to_validate_on(text: Path) -> None:
    """Documents of their own in each language, which nothing aligns and nothing is dropped from."""
    save(text / "held.de", ["eins", "", "zwei drei"])
    mono = tuple(f"{part}={text / name}" for part, name in
                 (("en", "books.en"), ("de", "train.de"), ("valid.en", "books.en"), ("valid.de", "held.de")))  # fmt: skip
    data = DataFolder.open(
        preprocessed(
            config(
                text, langs=(), trainpref=None, validpref=None, testpref=None, mono=mono
            )
        )
    )
    assert (data.languages, data.pairs, data.splits()) == (
        ("en", "de"),
        (),
        ("train", "valid"),
    )
    assert data.original_lines("valid", "de", "de")[:] == ["eins", "zwei drei"]
    assert len(data.monolingual("valid", "en")) == len(data.monolingual("train", "en"))


def test_the_file_names_of_fairseq(text: Path) -> None:
    prefixes = Path(f"{text / 'valid'},{text / 'test'}")
    data = DataFolder.open(
        preprocessed(
            config(
                text,
                langs=(),
                source_lang="de",
                target_lang="en",
                validpref=prefixes,
                testpref=None,
            )
        )
    )
    assert (data.languages, data.pairs, data.splits()) == (
        ("de", "en"),
        ("de-en",),
        ("train", "valid", "valid1"),
    )
    assert len(data.pair("valid1", "en", "de")[0]) == 10


def test_shards_are_bounded(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = DataFolder.open(preprocessed(config(text))).monolingual("train", "en")
    monkeypatch.setattr(column_writer, "MAX_ROWS", 70)
    data = DataFolder.open(preprocessed(config(text, destdir=text / "other")))
    column = data.monolingual("train", "en")
    assert [shard.rows for shard in column.shards] == [70, 70, 70, 70, 20]
    assert all((column[n] == whole[n]).all() for n in range(300))
    assert {p.name for p in (text / "other").glob("train.en-de.en.*.bin")} == {
        f"train.en-de.en.{n:05d}.bin" for n in range(5)
    }


def test_ids_take_four_bytes_if_two_are_not_enough(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = DataFolder.open(preprocessed(config(text))).monolingual("train", "en")
    assert two.values(0).dtype == np.uint16
    monkeypatch.setattr(
        "masscli.data.prepare.shard_builder.MAX_TWO_BYTE_VOCABULARY", 119
    )
    four = DataFolder.open(
        preprocessed(config(text, destdir=text / "other"))
    ).monolingual("train", "en")
    assert four.values(0).dtype == np.uint32
    assert all((two[n] == four[n]).all() for n in range(300))


def test_an_old_vocabulary_is_used_again(text: Path) -> None:
    first = DataFolder.open(preprocessed(config(text)))
    again = {
        "trainpref": None,
        "spm_model": text / "data" / "vocab.model",
        "destdir": text / "other",
    }
    second = DataFolder.open(
        preprocessed(config(text, **again, vocab_size=PreprocessConfig.vocab_size))
    )
    assert second.original_lines("test", "en-de", "en") == first.original_lines(
        "test", "en-de", "en"
    )
    (one, _), (two, _) = (data.pair("test", "en", "de") for data in (first, second))
    assert [one[n].tolist() for n in range(10)] == [two[n].tolist() for n in range(10)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"moses": True},
            "--moses: differs from the preprocessing of the vocabulary of --spm-model {data}",
        ),
        ({"lowercase": True}, None),
        ({}, None),
    ],
)
def test_text_options_of_a_given_vocabulary_hold_and_others_are_refused(
    options: dict[str, object], message: str | None, text: Path
) -> None:
    """The text options of a folder that is named hold without being said; to say another one would change nothing."""
    preprocessed(config(text, lowercase=True))
    usual = {
        "vocab_size": PreprocessConfig.vocab_size,
        "spm_model": text / "data",
        "destdir": text / "other",
    }
    if message is None:
        assert (
            DataFolder.open(preprocessed(config(text, **usual | options)))
            .tokenizer()
            .preprocessing.lowercase
        )
        return
    with pytest.raises(MasscliError) as error:
        preprocessed(config(text, **usual | options))
    assert error.value.message == message.format(data=text / "data")
    assert not (text / "other" / "manifest.json").exists()


def test_advice_on_capital_letters_can_be_followed(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A vocabulary of lower-cased text, as a file and as the folder that holds it."""
    for name in ("train.en", "train.de"):
        lines = (text / name).read_text(encoding="utf-8")
        (text / name).write_text(lines.lower(), encoding="utf-8")
    folder = preprocessed(config(text))
    message = "the vocabulary has no capital letters, which will be unknown: "
    in_text = "lower-case the text before (for an imported model, `masscli import --lowercase` does)"

    def encoded(given: Path, name: str, lowercase: bool = False) -> str:
        capsys.readouterr()
        options = {"vocab_size": PreprocessConfig.vocab_size, "lowercase": lowercase}
        preprocessed(config(text, **options, spm_model=given, destdir=text / name))
        return capsys.readouterr().err

    alone = folder / "vocab.model"
    assert f"warning: {message}add --lowercase\n" in encoded(alone, "alone")
    assert message not in encoded(alone, "lowered", lowercase=True)
    assert f"warning: {message}{in_text}\n" in encoded(folder, "folder")
    with pytest.raises(
        MasscliError, match="--lowercase: differs from the preprocessing"
    ):
        encoded(folder, "refused", lowercase=True)


def test_options_of_training_a_vocabulary_have_no_effect_on_a_given_one(
    text: Path,
) -> None:
    given = find_unused(
        PreprocessConfig(
            spm_model=text, vocab_size=120, vocab_sentences=9, bad_rows="skip"
        )
    )
    assert given.pop("bpe_min_count").reason == "there are no --bpe-codes"
    assert given.pop("new_pieces").reason == "there is no --extend"
    for option in ("check_columns", "bad_rows", "max_bad_rows"):
        assert given.pop(option).reason == "there are no labeled examples"
    assert {
        key: (rule.reason, rule.misleading) for key, rule in given.items()
    } == dict.fromkeys(
        ("vocab_size", "character_coverage", "vocab_sentences", "seed"),
        ("the vocabulary is given, and none is trained", False),
    )
    assert set(find_unused(PreprocessConfig(vocab_size=120))) == {
        "bad_rows",
        "max_bad_rows",
        "bpe_min_count",
        "check_columns",
        "new_pieces",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_len": 0}, "max_len: must be above 0, got 0"),
        ({"min_len": -1}, "min_len: must not be negative, got -1"),
        ({"max_len": 3, "min_len": 4}, "min_len: must not exceed max_len (3), got 4"),
    ],
)
def test_lengths_that_no_line_has_are_refused(
    options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as error:
        PreprocessConfig(**options)
    assert error.value.message == message


# The same bytes, however it was made


def test_any_number_of_workers_gives_the_same_bytes(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2000)
    for language in WORDS:
        save(text / f"train.{language}", sentences(language, 3000))
    options = {
        "mono": (f"en={text / 'books.en'}",),
        "langs": ("en", "de", "fr"),
        "max_len": 25,
        "vocab_sentences": 400,
    }
    one = contents(preprocessed(config(text, **options)))
    two = contents(
        preprocessed(config(text, **options, workers=2, destdir=text / "other"))
    )
    assert one == two
    assert sorted(name for name in one if not name.endswith((".bin", ".idx"))) == [
        ".lock", "dropped.tsv", "manifest.json", "tokenizer.json", "vocab.model"
    ]  # fmt: skip


@pytest.mark.usefixtures("small_chunks")
def test_archives_and_standard_input_give_the_same_columns(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large archive is read in many pieces, and may have been made of several, one after another."""

    def two_streams(books: bytes) -> bytes:
        return lzma.compress(books[:999]) + lzma.compress(books[999:])

    monkeypatch.setattr(compressed, "INPUT_BYTES", 64)
    books = (text / "books.en").read_bytes()
    plain = contents(preprocessed(config(text, mono=(f"en={text / 'books.en'}",))))
    for number, (name, pack) in enumerate(
        (
            ("b.gz", gzip.compress),
            ("b.xz", lzma.compress),
            ("c.xz", two_streams),
            ("-", bytes),
        )
    ):
        if name == "-":
            monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(books)))
        else:
            (text / name).write_bytes(pack(books))
        found = contents(
            preprocessed(
                config(
                    text,
                    mono=(f"en={text / name if name != '-' else '-'}",),
                    destdir=text / str(number),
                )
            )
        )
        assert found.keys() == plain.keys()
        assert all(found[key] == plain[key] for key in plain if key != "manifest.json")
        manifest = Manifest.read(text / str(number))
        assert (
            manifest.inputs[0].path
            == manifest.filter_stats[0].sides[0].path
            == (str(text / name) if name != "-" else "-")
        )


class KilledError(BaseException):
    """Stands for the end of the process."""


def steps(monkeypatch: pytest.MonkeyPatch, visit: Callable[[], None]) -> None:
    """Call `visit` before everything that changes what is on disk."""

    def before(holder: object, name: str) -> None:
        original = getattr(holder, name)

        def wrapped(*args: object, **options: object) -> object:
            visit()
            return original(*args, **options)

        monkeypatch.setattr(holder, name, wrapped)

    for name in ("replace", "unlink", "mkdir", "write_bytes", "write_text"):
        before(Path, name)
    for name in ("append", "_open", "_close_shard"):
        before(column_writer.ColumnWriter, name)
    before(os, "fsync")
    before(publish.shutil, "rmtree")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("stride", [31, pytest.param(1, marks=pytest.mark.slow)])
def test_a_run_killed_anywhere_is_resumed_to_the_same_result(
    text: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool, stride: int
) -> None:
    monkeypatch.setattr(pipeline, "SECONDS_BETWEEN_STATES", 0.0)
    save(text / "train.en", (text / "train.en").read_text().splitlines()[:40])
    save(text / "train.de", [*(text / "train.de").read_text().splitlines()[:39], ""])
    wanted = config(text, overwrite=overwrite, vocab_size=90)
    expected = contents(
        preprocessed(config(text, vocab_size=90, destdir=text / "reference"))
    )
    count, limit = 0, -1

    def visit() -> None:
        nonlocal count
        count += 1
        if count == limit:
            raise KilledError

    with monkeypatch.context() as patch:
        steps(patch, visit)
        run(config(text, vocab_size=90, destdir=text / "counted"))
    total, killed = count, 0
    assert total > 100
    if overwrite:
        run(config(text, langs=("en",), vocab_size=80, destdir=text / "old"))
    limits = {*range(1, total, stride), *range(total - 22, total, min(stride, 2))}
    for limit in sorted(limits):
        publish.shutil.rmtree(text / "data", ignore_errors=True)
        if overwrite:
            publish.shutil.copytree(text / "old", text / "data")
        with monkeypatch.context() as patch:
            count = 0
            steps(patch, visit)
            try:
                run(wanted)
            except KilledError:
                killed += 1
        run(wanted)
        assert contents(text / "data") == expected, (
            f"after a kill at step {limit} of {total}"
        )
    assert (
        killed > len(limits) / 2
    )  # some of the last steps are not there when less is to be replaced


KILL = """
import os, signal, sys
from pathlib import Path
from masscli.cli.preprocess import run
from masscli.data.prepare import chunks, pipeline, shard_builder
from masscli.data.prepare.config import PreprocessConfig
if __name__ == "__main__":
    pipeline.SECONDS_BETWEEN_STATES = 0.0
    chunks.CHUNK_BYTES = 2000
    take, left = shard_builder.ShardBuilder.add, [int(sys.argv[2])]
    def counted(self, result):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        take(self, result)
    shard_builder.ShardBuilder.add = counted
    text = Path(sys.argv[1])
    run(PreprocessConfig(langs=("en", "de"), trainpref=text / "train", vocab_size=120, destdir=text / "data", workers=2))
"""


def test_a_killed_run_with_workers_is_resumed(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 2000)
    for language in ("en", "de"):
        save(text / f"train.{language}", sentences(language, 2000))
    expected = contents(
        preprocessed(
            config(text, validpref=None, testpref=None, destdir=text / "reference")
        )
    )
    save(text / "kill.py", [KILL])
    codes = [
        subprocess.run(
            [sys.executable, text / "kill.py", text, str(n)],
            capture_output=True,
            check=False,
        )
        for n in (2, 10**6)
    ]
    assert [done.returncode for done in codes] == [-signal.SIGKILL, 0]
    assert b"continuing an earlier run, 0.0 MB are done" in codes[1].stderr
    assert contents(text / "data") == expected


@pytest.mark.parametrize(
    "name",
    [
        "train.en-de.en.00000.bin",
        "train.en-de.en.00000.idx",
        "test.en-de.en.00000.len",
        "dropped.tsv",
    ],
)
def test_lost_bytes_of_an_earlier_run_are_noticed(
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    expected = contents(preprocessed(config(text, destdir=text / "reference")))
    monkeypatch.setattr(pipeline, "SECONDS_BETWEEN_STATES", 0.0)

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(pipeline, "publish", kill)
        run(config(text))
    (text / "data" / ".partial" / "manifest.json").unlink()
    with open(text / "data" / ".partial" / name, "r+b") as file:
        file.truncate(8)
    run(config(text))
    assert (
        "files of the earlier run are damaged, starting over" in capsys.readouterr().err
    )
    assert contents(text / "data") == expected


def test_a_damaged_manifest_of_an_earlier_run_is_made_again(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = contents(preprocessed(config(text, destdir=text / "reference")))

    def kill(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(pipeline, "publish", kill)
        run(config(text))
    (text / "data" / ".partial" / "manifest.json").write_text("{")
    run(config(text))
    assert contents(text / "data") == expected


# What is already there


def test_a_folder_that_is_up_to_date_is_left_alone(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(config(text))
    before = {
        path.name: path.stat().st_mtime_ns
        for path in (text / "data").iterdir()
        if path.name != ".lock"
    }
    capsys.readouterr()
    run(config(text, workers=2))
    assert f"{text / 'data'} is up to date" in capsys.readouterr().err.replace("\n", "")
    assert {
        path.name: path.stat().st_mtime_ns
        for path in (text / "data").iterdir()
        if path.name != ".lock"
    } == before


@pytest.mark.parametrize("change", ["text", "settings"])
def test_a_folder_of_other_data_is_replaced_only_on_request(
    text: Path, change: str
) -> None:
    run(config(text))
    before = contents(text / "data")
    options: dict[str, object] = {"max_len": 100} if change == "settings" else {}
    if change == "text":
        save(text / "valid.en", sentences("en", 20, 99))
    message, hint = fails(config(text, **options))
    assert (
        message
        == f"{text / 'data'}: was made from different text or with different settings"
    )
    assert hint == "give another --destdir, or --overwrite to replace it"
    assert contents(text / "data") == before
    (text / "data" / "mine.txt").write_text("not ours")
    (text / "data" / "train.xx.00000.bin").write_text("left over from an older run")
    # What a run has computed from the old text, and would never read again.
    index = text / "data" / f".pairs-{'0123456789abcdef' * 2}"
    index.write_text("left over from an older run")
    run(config(text, **options, overwrite=True))
    assert not index.exists()
    (text / "data" / "mine.txt").unlink()
    assert contents(text / "data") == contents(
        preprocessed(config(text, **options, destdir=text / "other"))
    )


def test_two_runs_do_not_write_at_once(text: Path) -> None:
    run(config(text))
    with open(text / "data" / ".lock") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        message, hint = fails(config(text))
    assert message == f"{text / 'data'}: another masscli preprocess is writing there"
    assert hint == "wait for it, or give another --destdir"


# Mistakes


def test_unequal_files(text: Path) -> None:
    save(text / "train.de", sentences("de", 299))
    en, de = text / "train.en", text / "train.de"
    message, hint = fails(config(text))
    assert (
        message
        == f"{en} has 300 lines, {de} has 299: the sides of a pair must be aligned"
    )
    assert hint == f"{de} ends at line 299; lines end at \\n only"
    assert not (text / "data").exists()


def test_a_file_that_is_written_while_it_is_read_is_refused(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines that were there at first are half of the text, and not a fault of its writer."""
    expected = contents(preprocessed(config(text, destdir=text / "reference")))
    train = text / "train.en"
    whole = train.read_text()
    write_survey = pipeline.write_survey

    def append_meanwhile(*arguments: Any) -> None:
        write_survey(*arguments)
        train.write_text(f"{whole}one more line\n")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_survey", append_meanwhile)
        assert fails(config(text)) == (
            f"{train}: has changed while it was read",
            "run the same command again when nothing writes to it",
        )
    # What was encoded before the change still counts if the text is as it was.
    train.write_text(whole)
    assert contents(preprocessed(config(text))) == expected


def test_undecodable_text(text: Path) -> None:
    lines = (text / "train.de").read_bytes().split(b"\n")
    lines[41] = b"sch\xf6n"
    (text / "train.de").write_bytes(b"\n".join(lines))
    offset = sum(len(line) + 1 for line in lines[:41]) + 3
    for workers in (1, 2):
        message, hint = fails(config(text, workers=workers))
        assert (
            message
            == f"{text / 'train.de'}:42: not UTF-8 (byte 0xf6 at offset {offset})"
        )
        assert hint == "convert it, for example: iconv -f ENCODING -t UTF-8"
    assert not (text / "data").exists()


def test_missing_files(text: Path) -> None:
    message, hint = fails(config(text, langs=("en", "ro")))
    assert message == f"{text / 'train.ro'}: no such file (nor .gz, .xz, .zst)"
    assert (
        hint
        == f"files are named PREFIX.LANG; in {text} there is train.de, train.en, train.fr"
    )
    (text / "valid.de").unlink()
    assert (
        fails(config(text))[0]
        == f"{text / 'valid.de'}: no such file (nor .gz, .xz, .zst)"
    )
    hint = fails(config(text, trainpref=text / "tarin"))[1]
    assert hint is not None and hint.startswith(
        f"files are named PREFIX.LANG; in {text} there is train.en,"
    )
    assert (
        fails(config(text, mono=("en=nowhere/x",)))[0]
        == "--mono en=nowhere/x: there is no file nowhere/x"
    )
    (text / "c,d.en").touch()
    assert fails(config(text, mono=(f"en={text}/c",)))[1] == (
        r"a comma begins another item; if c,d.en is meant, write 'c\,d.en'"
    )
    assert fails(config(text, validpref=Path(f"{text}/c,{text}/valid")))[1] == (
        r"a comma begins another item; if c,d.en is meant, write 'c\,d.en'"
    )
    assert fails(config(text, mono=(f"en={text}",))) == (
        f"--mono en={text}: {text} is a folder",
        "name the file of text in it",
    )


def test_what_is_no_file_is_not_called_missing(text: Path) -> None:
    path = text / "train.de"
    path.unlink()
    path.mkdir()
    advice = "files are named PREFIX.LANG; write the text of a pipe to one first"
    message = f"{path}: is a folder, but text is read more than once from files"
    assert fails(config(text)) == (message, advice)
    path.rmdir()
    os.mkfifo(path)
    message = (
        f"{path}: is a pipe or a device, but text is read more than once from files"
    )
    assert fails(config(text)) == (message, advice)


def test_empty_and_blank_files(text: Path) -> None:
    save(text / "blank.en", ["", " "])
    assert (
        fails(config(text, mono=(f"en={text / 'blank.en'}",)))[0]
        == "train.en: no line of 2 was kept (all blank)"
    )
    (text / "train.en").write_bytes(b"")
    assert fails(config(text, destdir=text / "new")) == (
        f"{text / 'train.en'}: is empty",
        "give it some text, or leave it out",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"mono": ("fr=books.en",), "langs": ("en", "de")},
            "--mono fr=books.en: 'fr' is not among the languages (known: de, en)",
        ),
        ({"mono": ("books.en",)}, "--mono books.en: expected [SPLIT.]LANG=FILE"),
        (
            {"mono": ("dev.en=books.en",)},
            "--mono dev.en=books.en: expected [SPLIT.]LANG=FILE",
        ),
        (
            {"mono": ("en=-", "de=-")},
            "--mono: standard input (-) can be read only once",
        ),
        (
            {"pairs": ("en-xx",)},
            "--pairs en-xx: 'xx' is not among the languages (en, de)",
        ),
        ({"pairs": ("en-en",)}, "--pairs en-en: a pair needs two languages"),
        (
            {"pairs": ("en-de", "de-en")},
            "--pairs: en-de and de-en are the same pair",
        ),
        ({"trainpref": Path("/")}, "--trainpref /: '/' is not a prefix of files"),
        ({"validpref": "valid,"}, "--validpref valid,: '.' is not a prefix of files"),
        (
            {"langs": (), "source_lang": "en"},
            "--source-lang and --target-lang go together",
        ),
        ({"langs": ()}, "no language is named"),
        ({"langs": ("en", "d-e")}, "'d-e' cannot be the name of a language"),
        (
            {"trainpref": None, "validpref": None, "testpref": None},
            "there is nothing to read",
        ),
        ({"trainpref": None}, "there is no training text to make a vocabulary from"),
        ({"vocab_size": 5000}, "--vocab-size 5000 is too large for this text"),
        (
            {"max_len": 1, "min_len": 1},
            "train.en-de: no line of 300 was kept (300 too long)",
        ),
    ],
)
def test_meaningless_options_are_refused(
    text: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, object],
    message: str,
) -> None:
    monkeypatch.chdir(text)
    assert fails(config(text, **options))[0] == message
    assert not (text / "data").exists() or message.startswith("train.en-de: no line")


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"max_len": 1, "min_len": 1}, "see --max-len"),
        ({"min_len": 200}, "see --min-len"),
        ({"drop_held_out": True, "validpref": "train"}, "see --drop-held-out"),
        ({"drop_copies": True, "langs": ("en", "xx")}, "see --drop-copies"),
    ],
)
def test_the_option_that_dropped_all_lines_is_named(
    text: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], hint: str
) -> None:
    monkeypatch.chdir(text)
    # A language that is a copy of another.
    for split in ("train", "valid", "test"):
        (text / f"{split}.xx").write_bytes((text / f"{split}.en").read_bytes())
    if "validpref" in options:
        options = {**options, "validpref": text / options["validpref"]}
    assert fails(config(text, pairs_as_mono=False, **options))[1] == hint


def test_filters_of_lines_have_no_effect_on_tables(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    rows = [
        f"a sentence of some words {number}\t{number % 2}\n" for number in range(40)
    ]
    (tmp_path / "train.tsv").write_text("text\tlabel\n" + "".join(rows))
    command = f"preprocess --langs en --tsv train={tmp_path}/train.tsv --vocab-size 60".split()
    options = ["--min-len", "5", "--max-len", "100", "--dedup"]
    succeed([*command, *options, "--destdir", str(tmp_path / "data")])
    warned = capsys.readouterr().err
    for flag in ("--min-len", "--max-len", "--dedup"):
        assert (
            f"warning: {flag} has no effect: tables keep all their examples" in warned
        )


def test_invalid_standard_input_leaves_nothing_behind(
    text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"good\nb\xff\n")))
    assert (
        fails(config(text, mono=("en=-",)))[0]
        == "-:2: not UTF-8 (byte 0xff at offset 6)"
    )
    assert not (text / "data").exists()


def test_a_pair_of_one_language_is_refused(text: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        config(text, langs=(), source_lang="en", target_lang="en")
    assert "target_lang" in str(caught.value)
    assert "is the source language, too" in str(caught.value)


def test_another_form_of_a_file_that_is_not_read_is_named(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (text / "train.en.gz").write_bytes(gzip.compress(b"something else\n"))
    books = text / "books.en"
    run(config(text, mono=(f"en={books}",)))
    err = capsys.readouterr().err
    assert (
        f"warning: {text / 'train.en.gz'}: is not read, since another form of it is\n"
        in err
    )
    assert err.count("another form") == 1


def test_line_ends_of_an_old_mac_are_reported(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = text / "old.en"
    path.write_text("\r".join(sentences("en", 4)), encoding="utf-8", newline="")
    windows = text / "windows.en"
    windows.write_text("\r\n".join(sentences("en", 4)), encoding="utf-8", newline="")
    run(config(text, mono=(f"en={path}", f"en={windows}")))
    err = capsys.readouterr().err
    assert (
        f"warning: {path}: 3 carriage returns are inside its 1 line; lines end at \\n only; "
        "if these end lines: tr '\\r' '\\n'"
    ) in err
    assert err.count("carriage returns") == 1


def test_identical_sides_are_reported(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(text / "train.de", sentences("en", 300))
    run(config(text))
    warning = f"warning: {text / 'train.en'} and {text / 'train.de'} are the same text: is one of them the wrong file?"
    assert warning in capsys.readouterr().err


def test_text_that_is_read_twice_is_reported(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files are compared by their contents, within a language; a validation file may also be a side of a pair."""
    books, copy = text / "books.en", text / "copy.en"
    copy.write_bytes(books.read_bytes())
    mono = (
        f"en={books}",
        f"en={copy}",
        f"en={text / 'train.en'}",
        f"valid.en={text / 'valid.en'}",
    )
    messages = [
        f"warning: {first} and {second} are the same text, which counts twice as en"
        for first, second in ((books, copy), (text / "train.en", text / "train.en"))
    ]
    for pairs_as_mono in (True, False):
        run(config(text, mono=mono, pairs_as_mono=pairs_as_mono, overwrite=True))
        found = [
            line for line in capsys.readouterr().err.splitlines() if "same text" in line
        ]
        assert found == (messages if pairs_as_mono else messages[:1])


def test_many_unknown_pieces_are_reported(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(text / "valid.de", ["世 界"] * 20)
    run(config(text))
    out, err = capsys.readouterr()
    assert f"of the pieces of {text / 'valid.de'} are unknown" in err
    assert out == ""


def test_no_space(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(column_writer.ColumnWriter, "append", full)
        message, hint = fails(config(text))
    assert message == f"{text / 'data'}: cannot be written (No space left on device)"
    assert hint == "make room, then run the same command again"
    assert not (text / "data" / "manifest.json").exists()
    run(config(text))
    DataFolder.open(text / "data").verify()


def test_read_only_folder(text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert fails(config(text)) == (
        f"{text / 'data'}: cannot be written (Read-only file system)",
        "give another --destdir, or change the permissions",
    )


def test_destination_that_is_a_file(text: Path) -> None:
    (text / "data").write_text("something else")
    assert fails(config(text))[0] == f"--destdir {text / 'data'}: is not a folder"


# Reading what is damaged


def test_damage_is_named(text: Path) -> None:
    folder = preprocessed(config(text))
    shard, manifest = folder / "train.en-de.en.00000.bin", folder / "manifest.json"
    data, listed = shard.read_bytes(), manifest.read_text(encoding="utf-8")

    def message(check: Callable[[], object]) -> str:
        with pytest.raises(MasscliError) as caught:
            check()
        return caught.value.message

    shard.write_bytes(data[:-2])
    assert (
        message(lambda: DataFolder.open(folder))
        == f"{shard}: has {len(data) - 2} bytes instead of {len(data)}"
    )
    shard.write_bytes(bytes([data[0] ^ 1]) + data[1:])
    assert (
        message(DataFolder.open(folder).verify)
        == f"{shard}: does not match its checksum"
    )
    shard.unlink()
    assert message(lambda: DataFolder.open(folder)) == f"{shard}: is missing"
    shard.write_bytes(data)
    DataFolder.open(folder).verify()
    manifest.write_text(listed[:-30], encoding="utf-8")
    assert message(lambda: DataFolder.open(folder)).startswith(
        f"{manifest}: is damaged ("
    )
    manifest.write_text(
        json.dumps(json.loads(listed) | {"format": 7}), encoding="utf-8"
    )
    assert (
        message(lambda: DataFolder.open(folder))
        == f"{manifest}: has format 7, this masscli reads 3"
    )
    manifest.write_text(listed, encoding="utf-8")
    other = preprocessed(config(text, vocab_size=121, destdir=text / "other"))
    for name in ("tokenizer.json", "vocab.model"):
        (folder / name).write_bytes((other / name).read_bytes())
    assert str(folder) in message(lambda: DataFolder.open(folder))


# Real text


@pytest.mark.corpora
def test_real_text_loses_nothing(tmp_path: Path) -> None:
    root = Path(os.environ.get("MASSCLI_DATA", "nowhere"))
    if not (root / "multi30k").is_dir():
        pytest.skip("needs the folder of real corpora in MASSCLI_DATA")
    novels = gzip.decompress((root / "novels" / "de.txt.gz").read_bytes()).split(b"\n")[
        :12000
    ]
    (tmp_path / "de.txt").write_bytes(b"\n".join(novels))
    prefix = root / "multi30k"
    options = PreprocessConfig(
        langs=("en", "de"), trainpref=prefix / "valid", testpref=prefix / "test2016", mono=(f"de={tmp_path / 'de.txt'}",), vocab_size=3000,
        destdir=tmp_path / "data",
    )  # fmt: skip
    data = DataFolder.open(preprocessed(options))
    data.verify()
    for group_stats in data.manifest.filter_stats:
        assert (
            group_stats.lines
            == group_stats.kept
            + group_stats.document_breaks
            + sum(group_stats.dropped.values())
        )
    tokenizer = data.tokenizer()
    _, german = data.pair("test", "en", "de")
    raw = data.original_lines("test", "en-de", "de")
    assert raw == (prefix / "test2016.de").read_text(encoding="utf-8").split("\n")[:-1]
    same = sum(
        tokenizer.decode(german[n].tolist(), "de") == " ".join(line.split())
        for n, line in enumerate(raw)
    )
    assert same > 0.98 * len(
        raw
    )  # the rest hold characters that were not in the training text
