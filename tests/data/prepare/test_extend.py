"""`preprocess --extend`: a language is added to the vocabulary of a data folder or a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from masscli.data.storage.data_folder import DataFolder
from masscli.text.tokenizer import Tokenizer
from tests.commands import succeed
from tests.text.extensible import NEW, OLD

ENGLISH = [line for number, line in enumerate(OLD) if number % 5 in (0, 2)]


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of English and Romanian, and `old`, a data folder of English and German, lower-cased after Moses."""
    folder = tmp_path_factory.mktemp("texts")
    for language, lines in (
        ("en", ENGLISH),
        ("ro", NEW[: len(ENGLISH)]),
        ("de", OLD[1:2] * 3),
    ):
        (folder / f"train.{language}").write_text(
            "\n".join(lines) + "\n", encoding="utf-8"
        )
    command = (
        f"preprocess --mono en={folder}/train.en --mono de={folder}/train.de".split()
    )
    options = f"--moses --lowercase --vocab-size 90 --destdir {folder}/old".split()
    succeed([*command, *options])
    return folder


def extend(texts: Path, destdir: Path, *options: str) -> int:
    command = (
        f"preprocess --extend {texts}/old -s en -t ro --trainpref {texts}/train".split()
    )
    return masscli([*command, "--destdir", str(destdir), *options])


def test_a_pair_with_a_new_language(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert extend(texts, tmp_path / "new", "--new-pieces", "40") == 0
    talk = " ".join(capsys.readouterr().err.split())
    assert "2 files, " in talk
    old, new = (
        DataFolder.open(texts / "old").tokenizer(),
        DataFolder.open(tmp_path / "new").tokenizer(),
    )
    assert (
        f"vocabulary of {old.vocab.size + 41} pieces extended from {old.vocab.size} by ro, "
        in talk
    )
    assert "has no effect" not in talk
    # What the old vocabulary was made with holds for the new text, too.
    assert new.preprocessing == old.preprocessing and new.preprocessing.moses
    data = DataFolder.open(tmp_path / "new")
    for language, lines in (("en", ENGLISH), ("ro", NEW)):
        column = data.monolingual("train", language)
        stored = [column[row].tolist() for row in range(len(ENGLISH))]
        assert stored == new.encode_lines(lines[: len(ENGLISH)], language)
    assert data.languages == ("en", "ro") and tuple(data.vocab.languages) == (
        "en",
        "de",
        "ro",
    )
    assert old.encode_lines(ENGLISH, "en") == new.encode_lines(ENGLISH, "en")
    # Nothing is done twice, and other pieces make another folder.
    assert extend(texts, tmp_path / "new", "--new-pieces", "40") == 0
    assert "is up to date" in capsys.readouterr().err
    assert extend(texts, tmp_path / "new", "--new-pieces", "41") == 2


def test_workers_and_an_adopted_extension_give_the_same(
    texts: Path, tmp_path: Path
) -> None:
    assert extend(texts, tmp_path / "one") == 0
    assert extend(texts, tmp_path / "two", "--workers", "2") == 0
    adopt = f"preprocess --spm-model {tmp_path}/one -s en -t ro --trainpref {texts}/train".split()
    succeed([*adopt, "--destdir", f"{tmp_path}/three"])
    for name in ("two", "three"):
        for path in [
            *sorted((tmp_path / "one").glob("*.bin")),
            tmp_path / "one/vocab.model",
        ]:
            assert (tmp_path / name / path.name).read_bytes() == path.read_bytes(), (
                name,
                path.name,
            )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--new-pieces", "3"], "--new-pieces 3 is too small: "),
        (
            ["--spm-model", "x"],
            "--extend names a vocabulary, as --spm-model and --bpe-codes do: give one of them",
        ),
        (
            ["--normalize"],
            "--normalize: differs from the preprocessing of the vocabulary of --extend ",
        ),
        (["--new-pieces", "-1"], "--new-pieces"),
        (["--part", "1/2"], "--part: every part must have the same vocabulary"),
    ],
)
def test_mistakes(
    options: list[str],
    message: str,
    texts: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert extend(texts, tmp_path / "new", *options) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new/manifest.json").exists()


def test_options_without_effect_are_named(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        extend(texts, tmp_path / "new", "--vocab-size", "500", "--romanian", "commas")
        == 0
    )
    talk = " ".join(capsys.readouterr().err.split())
    assert (
        "--vocab-size has no effect: --new-pieces says how many pieces --extend adds"
        in talk
    )
    assert Tokenizer.load(tmp_path / "new").preprocessing.romanian == "commas"
    plain = (
        f"preprocess --mono en={texts}/train.en --vocab-size 70 --new-pieces 9".split()
    )
    succeed([*plain, "--destdir", f"{tmp_path}/plain"])
    talk = capsys.readouterr().err
    assert "--new-pieces has no effect: there is no --extend" in " ".join(talk.split())
    assert "1 file, " in talk


def test_without_text_of_the_new_language(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"preprocess --extend {texts}/old --langs en,ro --mono en={texts}/train.en".split()
    assert masscli([*command, "--destdir", f"{tmp_path}/new"]) == 2
    assert (
        "there is no training text of ro to learn pieces from"
        in capsys.readouterr().err
    )
    succeed([*command, "--destdir", f"{tmp_path}/new", "--new-pieces", "0"])
    assert "ro" in Tokenizer.load(tmp_path / "new").vocab.languages
