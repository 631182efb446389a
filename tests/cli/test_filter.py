"""`masscli filter` drops what is no translation and says why; its scores are those of the models."""

from __future__ import annotations

import math
import os
import random
import re
from pathlib import Path

import pytest

from masscli.__main__ import run
from tests.commands import succeed
from tests.toy import WORDS, sentences

SMALL = (
    "--dim=16 --ffn-dim=32 --heads=2 --encoder-layers=1 "
    "--decoder-layers=1 --num-workers=0"
).split()


def text(language: str, walk: list[int]) -> str:
    return " ".join(WORDS[language][number] for number in walk)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(place: Path, pairs: list[tuple[str, str]]) -> None:
    for language, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
        (place / f"noisy.{language}").write_text(
            "".join(f"{line}\n" for line in lines), encoding="utf-8"
        )


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def long_pairs(count: int) -> list[tuple[str, str]]:
    draw = random.Random(1)
    walks = [[draw.randrange(24) for _ in range(14)] for _ in range(count)]
    return [(text("en", walk), text("de", walk)) for walk in walks]


COMMAND = "filter noisy.en noisy.de -s en -t de --output clean".split()
BY_MODEL = "--no-filter-lang --forward=both --precision=fp32".split()


def test_each_rule_drops_what_it_should(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = long_pairs(60)
    bad = {
        "empty": ("", good[0][1]),
        "source and target are the same": (
            "https://example.org/x",
            "https://example.org/x",
        ),
        "too short": ("one", good[1][1]),
        "too long": (good[2][0], " ".join(["abx"] * 41)),
        "lengths differ too much": (good[3][0], " ".join(good[3][1].split()[:2])),
        "source in the wrong language": (good[4][1], good[5][1]),
        "target in the wrong language": (good[6][0], good[7][0]),
    }
    write(place, [*good[:30], *bad.values(), *good[30:]])
    succeed([*COMMAND, "--min-len=2", "--max-len=40", "--scores", "scores.tsv"])
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        list(zip(read(place / "clean.en"), read(place / "clean.de"), strict=True))
        == good
    )
    rows = [row.split("\t") for row in read(place / "scores.tsv")]
    assert rows[0] == ["line", "verdict", "score", "forward", "backward"] and len(
        rows
    ) == 1 + len(good) + len(bad)
    assert [row[1] for row in rows[31 : 31 + len(bad)]] == list(bad)
    assert "kept                                       60   89.55%" in err
    assert "line 31: '' | " in err


def test_languages_are_judged_by_clean_text(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = long_pairs(20)
    # Most of the source side is in the wrong language, so that it cannot show what English looks like.
    write(place, [(target, target + " x") for _, target in good[:15]] + good[15:])
    (place / "en.txt").write_text("".join(f"{source}\n" for source, _ in good))
    succeed([*COMMAND, "--clean", "en=en.txt"])
    assert read(place / "clean.en") == [source for source, _ in good[15:]]
    succeed([*COMMAND, "--no-filter-lang"])
    assert len(read(place / "clean.en")) == 20


def test_a_third_language_is_recognized_by_its_text(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = long_pairs(40)
    draw = random.Random(2)
    third = [
        " ".join("".join(draw.choice("čšžůř") for _ in range(5)) for _ in range(14))
        for _ in range(60)
    ]
    mixed = [
        (source, third[number]) for number, (source, _) in enumerate(good[:5])
    ] + good[5:]
    write(place, mixed)
    (place / "cs.txt").write_text(
        "".join(f"{line}\n" for line in third[20:]), encoding="utf-8"
    )
    succeed(COMMAND)
    assert len(read(place / "clean.de")) == 40
    succeed([*COMMAND, "--other-lang", "cs=cs.txt"])
    assert read(place / "clean.de") == [target for _, target in good[5:]]
    assert "target in the wrong language" in capsys.readouterr().err
    for wrong, message in (
        (["--other-lang", "de=cs.txt"], "'de' is a language of the pair"),
        (["--clean", "cs=cs.txt"], "--other-lang cs=cs.txt drops lines"),
        (["--other-lang", "cs=cs.txt", "--no-filter-lang"], "--other-lang"),
    ):
        assert run([*COMMAND, *wrong]) == 2
        assert message in capsys.readouterr().err


def train_both_directions(toy: Path) -> None:
    """Train the run `both` for a few updates."""
    command = f"finetune {toy} --task=translate --pairs=en-de,de-en --save-dir=both"
    options = "--max-update=4 --max-positions=32 --precision=fp32"
    succeed([*command.split(), *options.split(), *SMALL])


def cross_entropies(
    place: Path, pairs: list[tuple[str, str]], direction: tuple[str, str]
) -> list[float]:
    """The mean negative log-probability of a piece of each target, as `generate --score-reference` finds it."""
    for name, lines in zip(("en", "de"), zip(*pairs, strict=True), strict=True):
        (place / f"fit.{name}").write_text("".join(f"{line}\n" for line in lines))
    source, target = direction
    succeed(
        f"generate both -s {source} -t {target} --input fit.{source} --precision=fp32 "
        f"--score-reference fit.{target} --output out"
    )
    return [-float(line) for line in read(place / "out")]


def test_scores_are_dual_cross_entropies(
    toy: Path, place: Path, no_sync: None, capsys: pytest.CaptureFixture[str]
) -> None:
    train_both_directions(toy)
    walks = sentences(12, seed=5)
    pairs = [(text("en", walk), text("de", walk)) for walk in walks]
    # A line for which the models have no positions gets no score.
    pairs.append((" ".join(["ba"] * 40), " ".join(["abx"] * 40)))
    write(place, pairs)
    options = [*BY_MODEL, "--scores=scores.tsv"]
    succeed([*COMMAND, *options, "--keep-best=0.5"])
    rows = [row.split("\t") for row in read(place / "scores.tsv")[1:]]
    assert rows[-1][1:] == ["too long for the models", "", "", ""]
    entropies = [
        cross_entropies(place, pairs[:-1], ("en", "de")),
        cross_entropies(place, pairs[:-1], ("de", "en")),
    ]
    expected = []
    for row, forward, backward in zip(rows, *entropies, strict=False):
        score = math.exp(-(abs(forward - backward) + (forward + backward) / 2))
        assert [float(cell) for cell in row[2:]] == pytest.approx(
            [score, forward, backward], abs=2e-5
        )
        expected.append(score)
    # Half of the twelve that have a score are kept, the best ones, in the order of the files.
    best = sorted(range(12), key=lambda number: -expected[number])[:6]
    assert read(place / "clean.en") == [pairs[number][0] for number in sorted(best)]
    assert "not understood" not in capsys.readouterr().err
    succeed([*COMMAND, *options, f"--min-score={sorted(expected)[-3] - 1e-7}"])
    assert len(read(place / "clean.de")) == 3


def test_a_line_that_the_model_does_not_understand_is_scored_and_named(
    toy: Path, place: Path, no_sync: None, capsys: pytest.CaptureFixture[str]
) -> None:
    train_both_directions(toy)
    walks = sentences(3, seed=5)
    pairs = [(text("en", walk), text("de", walk)) for walk in walks]
    write(place, [*pairs[:2], ("\u4e16\u754c \u4e16\u754c", pairs[2][1])])
    capsys.readouterr()
    succeed([*COMMAND, *BY_MODEL])
    err = capsys.readouterr().err
    assert (
        "warning: both: line 3 was not understood: in noisy.en no piece of it is known\n"
        in err
    )
    assert re.search(r"\nboth: [1-9]\d* of \d+ pieces of noisy.en unknown\n", err)
    assert re.search(r"\nboth: 0 of \d+ pieces of noisy.de unknown\n", err)


def test_a_model_of_one_direction_is_not_trusted_with_both(
    toy: Path, place: Path, no_sync: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --backward, --forward scores the source, too, which this model never learned to write."""
    train = ["finetune", str(toy), "--task=translate", "-s", "en", "-t", "de"]
    succeed([*train, "--max-update=1", *SMALL, "--save-dir=ende"])
    write(place, [("ba be", "abx ebx")])
    capsys.readouterr()
    succeed([*COMMAND, "--no-filter-lang", "--forward=ende"])
    messages = capsys.readouterr().err.splitlines()
    assert [line for line in messages if "trained for" in line] == [
        "warning: --backward: trained for en-de, not for de-en"
    ]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--keep-best=0.5"], "--keep-best: pairs have scores only with --forward"),
        (["--max-ratio=0.5"], "--max-ratio: must be at least 1, got 0.5"),
        (
            ["--clean=fr=x"],
            "--clean fr=x: 'fr' is neither of the languages of the pair",
        ),
        (["-t", "en"], "--target-lang: is the source language, too"),
        (
            ["--min-len=6", "--max-len=5"],
            "--min-len: must not exceed --max-len (5), got 6",
        ),
        (["-s", "a/b"], "--source-lang: 'a/b' cannot be the name of a language"),
        (["--output=."], "--output .: is not a prefix of files"),
        (["--output=nowhere/x"], "--output nowhere/x.en: its folder does not exist"),
        (["--scores=clean.de"], "--scores clean.de: is --output, too"),
        (["--clean=en="], "--clean: expected LANG=FILE"),
        (
            ["--clean=en=noisy.en", "--clean=en=noisy.de"],
            "--clean: names a language twice",
        ),
    ],
)
def test_mistakes(
    args: list[str], message: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, long_pairs(3))
    assert run([*COMMAND, *args]) == 2
    assert f"error: {message}" in capsys.readouterr().err
    assert not (place / "clean.en").exists()


def test_files_must_be_aligned(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(place, long_pairs(3))
    (place / "noisy.de").write_text("one\n")
    assert run(COMMAND) == 2
    assert "noisy.de: has fewer lines than noisy.en" in capsys.readouterr().err
    (place / "noisy.de").write_text("one\n" * 4)
    assert run(COMMAND) == 2
    assert "noisy.de: has more lines than noisy.en" in capsys.readouterr().err
    assert not (place / "clean.en").exists()


def test_options_of_models_have_no_effect_without_one(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, long_pairs(30))
    succeed([*COMMAND, "--device=cpu", "--max-tokens=100"])
    err = capsys.readouterr().err
    for option in ("--device", "--batch-tokens"):
        assert f"warning: {option} has no effect: no model scores the pairs" in err


def test_pipes_are_refused_as_input(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, long_pairs(3))
    os.mkfifo(place / "pipe")
    for path in ("pipe", "-"):
        assert run(["filter", path, *COMMAND[2:]]) == 2
        assert (
            f"error: {path}: is not a file, but text is read more than once\n"
            in capsys.readouterr().err
        )


def test_a_result_without_any_pair_is_reported(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(place, [("the same", "the same")] * 3)
    succeed(COMMAND)
    err = capsys.readouterr().err
    assert "warning: no pair is kept, and clean.en and clean.de are empty\n" in err
    assert read(place / "clean.en") == []


@pytest.mark.parametrize("change", ["one more line\n", ""])
def test_files_that_change_while_they_are_read_are_refused(
    change: str,
    place: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lines are judged and copied in two readings, and the verdict on one must not be taken for another."""
    write(place, long_pairs(30))

    def change_meanwhile(*arguments: object) -> None:
        (place / "noisy.en").write_text(change)
        (place / "noisy.de").write_text(change)

    monkeypatch.setattr("masscli.cli.filter._drop_low_scores", change_meanwhile)
    assert run(COMMAND) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: noisy.en: has changed while it was read",
        "hint: run the same command again when nothing writes to it",
    ]
    assert not list(place.glob("*clean*"))
