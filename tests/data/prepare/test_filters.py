"""What `preprocess` finds wrong with training lines: repeats, copies, the wrong language, lines of valid and test."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from masscli.cli.preprocess import run
from masscli.data.prepare import chunks
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.data.storage.manifest import Manifest
from masscli.text import corpus
from masscli.text.tokenizer import Tokenizer
from tests.data.prepare.test_preprocess import contents, save, sentences

pytestmark = pytest.mark.usefixtures("no_sync")


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """English and German with known faults, cut into many chunks."""
    monkeypatch.setattr(corpus, "LINE_STRIDE", 8)
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 600)
    draw = random.Random(1)
    for language in ("en", "de"):
        lines = [
            f"{line} {draw.choice('xyz')}{n}"
            for n, line in enumerate(sentences(language, 90))
        ]
        save(
            tmp_path / f"valid.{language}",
            [f"held out {language}", *sentences(language, 9, 5)],
        )
        twice = [
            "held out en" if language == "en" else "nothing like it",
            "same on both sides",
            lines[4],
        ]
        save(
            tmp_path / f"train.{language}",
            [*lines, *lines[:7], *twice, lines[89] if language == "en" else "another"],
        )
        save(
            tmp_path / f"mono.{language}",
            [
                lines[3],
                *sentences(language, 20, 7),
                lines[3],
                "",
                f"held out {language}",
            ],
        )
    return tmp_path


def config(text: Path, **options: object) -> PreprocessConfig:
    values: dict[str, object] = {
        "langs": ("en", "de"), "trainpref": text / "train", "validpref": text / "valid", "vocab_size": 100, "destdir": text / "data",
        "mono": (f"en={text / 'mono.en'}", f"de={text / 'mono.de'}"),
    }  # fmt: skip
    return PreprocessConfig(**(values | options))  # type: ignore[arg-type]


def dropped(
    text: Path, **options: object
) -> tuple[dict[str, dict[str, int]], dict[str, dict[str, int]]]:
    """Lines dropped, and held-out lines kept, by part and reason."""
    run(made := config(text, **options))
    stats = Manifest.read(made.destdir).filter_stats
    return {a.group: dict(a.dropped) for a in stats}, {
        a.group: dict(a.kept_but_suspicious) for a in stats
    }


def test_lines_of_valid_and_test_are_counted(text: Path) -> None:
    lost, kept = dropped(text)
    assert not any(lost.values())
    one = {"in valid or test": 1}
    # The pair is counted for its English side; random short sentences of `mono` are lines of valid by chance in neither language.
    assert kept["train.en-de"] == one
    assert kept["train.en"]["in valid or test"] >= 1


def test_held_out_lines_are_dropped_on_request(text: Path) -> None:
    lost, kept = dropped(text, drop_held_out=True)
    assert lost["train.en-de"] == {"in valid or test": 1} and not any(kept.values())
    held = {"", *(text / "valid.en").read_text().split("\n")}
    left = [
        line for line in (text / "mono.en").read_text().split("\n") if line not in held
    ]
    assert (
        len(DataFolder.open(text / "data").monolingual("train", "en"))
        == len(left) + 100
    )


def test_repeats_are_dropped_whatever_the_number_of_workers(text: Path) -> None:
    lost, _ = dropped(text, dedup=True)
    pairs = list(
        zip(
            *((text / f"train.{x}").read_text().split("\n")[:-1] for x in ("en", "de")),
            strict=True,
        )
    )
    assert (
        lost["train.en-de"]
        == {"repeated": sum(n - 1 for n in Counter(pairs).values())}
        == {"repeated": 8}
    )
    mono = [line for line in (text / "mono.de").read_text().split("\n") if line]
    sides = {german for _, german in pairs}  # monolingual text, too
    assert lost["train.de"] == {"repeated": len(mono) - len(set(mono) - sides)}
    apart, _ = dropped(text, dedup=True, pairs_as_mono=False, destdir=text / "apart")
    assert apart["train.de"] == {"repeated": len(mono) - len(set(mono))}
    one = contents(text / "data")
    run(config(text, dedup=True, workers=2, destdir=text / "again"))
    assert contents(text / "again") == one


def test_copies_and_the_wrong_language(text: Path) -> None:
    strangers = [line for line in sentences("de", 30, 9) if len(line) > 24][:3]
    save(
        text / "mono.en", [*(text / "mono.en").read_text().split("\n")[:-1], *strangers]
    )
    lost, _ = dropped(text, drop_copies=True, filter_lang=True)
    assert lost["train.en-de"]["copy"] == 1
    assert lost["train.en"] == {"other language": 3} and lost["train.de"] == {}
    log = [
        line.split("\t")
        for line in (text / "data/dropped.tsv").read_text().split("\n")[1:-1]
    ]
    assert [row[1] for row in log if row[2] == "other language"] == ["25", "26", "27"]


def test_filters_without_effect_are_named(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: dict[str, Any] = {
        "filter_lang": True,
        "drop_copies": True,
        "max_ratio": 2.0,
        "romanian": "plain",
        "drop_held_out": True,
    }
    run(
        PreprocessConfig(
            langs=("en",),
            mono=(f"en={text / 'mono.en'}",),
            vocab_size=80,
            destdir=text / "alone",
            **options,
        )
    )
    named = [
        line.split()[1]
        for line in capsys.readouterr().err.split("\n")
        if "has no effect" in line
    ]
    assert (
        named
        == "--filter-lang --drop-copies --max-ratio --romanian --drop-held-out".split()
    )


def test_copies_are_dropped_without_any_other_filter(text: Path) -> None:
    lost, _ = dropped(text, validpref=None, drop_copies=True)
    assert [reasons for reasons in lost.values() if reasons] == [{"copy": 1}]


def test_romanian_letters_are_replaced_before_the_vocabulary_is_made(
    tmp_path: Path,
) -> None:
    line, plain = (
        "Ţara şi ţăranul înţeleg în câmp. ȘȚ șț",
        "Tara si taranul inteleg in camp. ST st",
    )
    save(tmp_path / "m.ro", [line] * 3 + sentences("fr", 50))
    run(
        PreprocessConfig(
            mono=(f"ro={tmp_path / 'm.ro'}",),
            vocab_size=90,
            destdir=tmp_path / "data",
            romanian="plain",
        )
    )
    again = Tokenizer.load(tmp_path / "data")
    assert again.decode(again.encode(line, "ro"), "ro") == plain
    assert np.array_equal(again.encode(line, "ro"), again.encode(plain, "ro"))
