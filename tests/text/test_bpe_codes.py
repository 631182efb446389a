"""BPE codes of subword-nmt and fastBPE: the example of the paper, a slow oracle, pieces that are missing, XLM's ids, a data folder."""

from __future__ import annotations

import random
import string
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from masscli.__main__ import run as masscli
from masscli.cli.preprocess import run
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.data.storage.data_folder import DataFolder
from masscli.text.bpe_codes import (
    BpeCodesModel,
    merge_marked_word,
    rank_merges,
    read_bpe_files,
    skipped_lines,
)
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer

MERGES = ["r </w>", "l o", "lo w", "e r</w>"]
"""Of figure 1 in Sennrich et al. 2016, where the end of a word is a symbol of its own; in the files it is part of the last one."""


def written(
    folder: Path, merges: list[str], pieces: list[str], count: str = ""
) -> tuple[Path, Path]:
    (folder / "codes").write_text(
        "".join(f"{merge}{count}\n" for merge in merges), encoding="utf-8"
    )
    (folder / "vocab").write_text(
        "".join(f"{piece} 7\n" for piece in pieces), encoding="utf-8"
    )
    return folder / "codes", folder / "vocab"


def pieces_of(pieces: BpeCodesModel, text: str) -> list[str]:
    return pieces.id_to_piece(pieces.encode([text])[0])


@pytest.mark.parametrize(
    ("head", "count"),
    [("#version: 0.2\n", ""), ("", " 12")],
    ids=["subword-nmt", "fastBPE"],
)
def test_the_example_of_the_paper(head: str, count: str, tmp_path: Path) -> None:
    codes, vocab = written(
        tmp_path,
        ["l o", "lo w", "e r</w>"],
        ["low@@", "er", "low", "l@@", "o@@", "w"],
        count,
    )
    codes.write_text(head + codes.read_text(encoding="utf-8"), encoding="utf-8")
    pieces = BpeCodesModel(read_bpe_files(codes, vocab))
    assert pieces_of(pieces, "lower  er") == ["low@@", "er", "er"]
    assert pieces_of(pieces, "low") == ["l@@", "o@@", "w"], (
        "`low` was never made at the end of a word"
    )
    assert pieces.decode(pieces.encode(["lower er"])[0]) == "lower er"


def learned(words: Counter[str], most: int) -> list[tuple[str, str]]:
    """Algorithm 1 of the paper."""
    cut_words = {word: [*word[:-1], f"{word[-1]}</w>"] for word in words}
    found = []
    for _ in range(most):
        pairs = Counter[tuple[str, str]]()
        for word, parts in cut_words.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = max(sorted(pairs), key=lambda pair: pairs[pair])
        found.append(best)
        cut_words = {word: merged(parts, best) for word, parts in cut_words.items()}
    return found


def merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += (
                f"\0{part}"  # marked, so that what was just made is no part of the next one
            )
        else:
            out.append(part)
    return [part.replace("\0", "") for part in out]


def test_words_are_split_as_by_applying_merges_one_after_the_other(
    tmp_path: Path,
) -> None:
    rng = random.Random(1)
    words = Counter(
        "".join(rng.choices("aaabbcd", k=rng.randint(1, 9))) for _ in range(300)
    )
    codes = learned(words, 60)
    text = ["".join(rng.choices("aaabbcd", k=rng.randint(1, 12))) for _ in range(300)]
    expected = []
    for word in text:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        for pair in codes:
            parts = merged(parts, pair)
        expected.append(
            [*(f"{part}@@" for part in parts[:-1]), parts[-1].removesuffix("</w>")]
        )
    pieces = sorted({piece for row in expected for piece in row})
    found = BpeCodesModel(
        read_bpe_files(*written(tmp_path, [f"{a} {b}" for a, b in codes], pieces))
    )
    assert [pieces_of(found, word) for word in text] == expected
    assert any(len(row) > 1 and len(row[0]) > 3 for row in expected)
    line = " ".join(text)
    assert found.decode(found.encode([line])[0]) == line


def test_merges_in_any_order_are_applied_as_subword_nmt_does() -> None:
    """Files may repeat merges, of which the first counts, and have some before those that they build on.

    The best pair of a word is merged wherever it occurs, before pairs that result from that are looked at.
    """
    rng = random.Random(2)
    for _ in range(2000):
        letters = rng.choice(["ab", "abc"])
        parts = [*letters, *(f"{letter}</w>" for letter in letters)]
        merges: list[str] = []
        for _ in range(rng.randint(1, 14)):
            first, second = rng.choices(parts, k=2)
            if not first.endswith("</w>"):
                merges.append(f"{first} {second}")
                parts.append(first + second)
        rng.shuffle(merges)
        word = "".join(rng.choices(letters, k=rng.randint(1, 14)))
        expected = [*word[:-1], f"{word[-1]}</w>"]
        while pairs := [
            pair for pair in map(" ".join, pairwise(expected)) if pair in merges
        ]:
            first, second = min(pairs, key=merges.index).split(" ")
            expected = merged(expected, (first, second))
        assert merge_marked_word(word, rank_merges(merges)) == expected, (word, merges)


def test_words_of_many_letters_take_little_time() -> None:
    """Text from the web has encoded images in one word, which took hours."""
    rng = random.Random(3)
    letters = string.ascii_letters + string.digits
    merges = [f"{first} {second}" for first in letters for second in letters]
    merges += [
        "".join(rng.choices(letters, k=2)) + f" {letter}" for letter in letters * 300
    ]
    word = "".join(rng.choices(letters, k=50_000))
    started = time.process_time()
    parts = merge_marked_word(word, rank_merges(merges))
    assert time.process_time() - started < 5
    assert "".join(parts) == f"{word}</w>" and len(parts) < 0.9 * len(word)


def test_a_piece_that_the_vocabulary_lacks_is_split_again(tmp_path: Path) -> None:
    codes, vocab = written(
        tmp_path,
        ["l o", "lo w", "low e", "lowe r</w>"],
        ["lo@@", "w@@", "e@@", "r</w>", "r"],
    )
    pieces = BpeCodesModel(read_bpe_files(codes, vocab))
    assert pieces_of(pieces, "lower") == ["lo@@", "w@@", "e@@", "r"]
    assert pieces_of(pieces, "lowr") == ["lo@@", "w@@", "r"] and pieces_of(
        pieces, "xr"
    ) == [
        "<unk>",
        "r",
    ]
    assert (
        pieces.decode(pieces.encode(["xr <s> lowr"])[0])
        == "\u2047 r \u2047 \u2047 \u2047 lowr"
    )


def test_the_ids_are_those_of_xlm(tmp_path: Path) -> None:
    """<s>, </s>, <pad>, <unk>, ten special ones (the second is the mask), then the vocabulary (xlm/data/dictionary.py)."""
    codes, vocab = written(tmp_path, ["l o"], ["lo@@", "w"])
    tokenizer = Tokenizer.from_bpe_codes(
        codes,
        vocab,
        preprocessing=TextPreprocessing(),
        languages=("en", "fr"),
        folder=tmp_path / "made",
    )
    found = tokenizer.vocab
    assert (found.bos, found.eos, found.pad, found.unk, found.mask) == (0, 1, 2, 3, 5)
    assert tokenizer.encode("low w", "en") == [14, 15, 15] and tokenizer.piece_texts(
        [14, 15]
    ) == ["lo", "w"]
    assert (
        len(
            {found.cls, found.sep, *found.languages.values(), *found.spare}
            & set(range(4, 14))
        )
        == 9
    ), "the free ones come first"
    assert len(found.special_ids & {14, 15}) == 0 and found.size > 16
    again = Tokenizer.load(tmp_path / "made")
    assert (
        again.vocab == found
        and again.decode([14, 15, found.cls, 15, 3], "en") == "low w \u2047"
    )
    adopted = Tokenizer.from_model_file(
        tmp_path / "made",
        preprocessing=TextPreprocessing(),
        languages=("fr",),
        folder=tmp_path / "other",
    )
    assert adopted.vocab == found


def test_lines_that_xlm_skips_get_no_id(tmp_path: Path) -> None:
    """XLM's Dictionary.read_vocab skips what is not two fields, U+2028, repeats and its own symbols; the ids of the others depend on it."""
    codes, vocab = written(tmp_path, ["l o"], [])
    vocab.write_text(
        "lo@@ 9\n\u2028 8\n 7\n\n<pad> 6\nlo@@ 5\n\u00a0 5\na b 3\nw 2\n",
        encoding="utf-8",
    )
    pieces = BpeCodesModel(read_bpe_files(codes, vocab))
    assert len(pieces) == 16 and pieces.id_to_piece([14, 15]) == ["lo@@", "w"]
    # Its own symbols are no mistake.
    assert skipped_lines(vocab) == [2, 3, 4, 6, 7, 8]


def test_lines_without_an_id_are_counted(
    tmp_path: Path, no_sync: None, capsys: pytest.CaptureFixture[str]
) -> None:
    codes, vocab = written(tmp_path, ["l o"], ["lo@@", "w", "lo@@", "w"])
    (tmp_path / "text.en").write_text("low w\n", encoding="utf-8")
    run(
        PreprocessConfig(
            mono=(f"en={tmp_path / 'text.en'}",),
            bpe_codes=codes,
            bpe_vocab=vocab,
            destdir=tmp_path / "data",
        )
    )
    assert (
        f"warning: --bpe-vocab {vocab}: 2 lines from line 3 on get no id, as in XLM, since they repeat a "
        "piece or are not PIECE COUNT\n"
    ) in capsys.readouterr().err


def test_text_that_spells_the_end_of_a_word_is_encoded(tmp_path: Path) -> None:
    codes, vocab = written(
        tmp_path, ["< /", "</ w", "</w >"], ["</w>@@", "a", "<@@", "/@@"]
    )
    assert pieces_of(BpeCodesModel(read_bpe_files(codes, vocab)), "</w>a") == [
        "</w>@@",
        "a",
    ]


def test_a_data_folder_is_made_with_them(tmp_path: Path, no_sync: None) -> None:
    codes, vocab = written(tmp_path, ["l o"], ["lo@@", "w", "."])
    (tmp_path / "text.en").write_text("low .\nlow low w.\n", encoding="utf-8")
    given = PreprocessConfig(
        mono=(f"en={tmp_path / 'text.en'}",),
        bpe_codes=codes,
        bpe_vocab=vocab,
        moses=True,
        destdir=tmp_path / "data",
    )
    run(given)
    data = DataFolder.open(tmp_path / "data")
    assert [row.tolist() for row in data.monolingual("train", "en")] == [
        [14, 15, 16],
        [14, 15, 14, 15, 15, 16],
    ]
    run(given)  # nothing to do
    vocab.write_text("lo@@ 7\nw 7\nv 1\n. 1\n", encoding="utf-8")
    with pytest.raises(MasscliError, match="different text or with different settings"):
        run(given)


@pytest.mark.parametrize(
    ("codes", "vocab", "message"),
    [
        ("l o\nlow\n", "low 3\n", "codes:2: expected PIECE PIECE [COUNT], got 'low'"),
        ("l o x\n", "low 3\n", "codes:1: expected PIECE PIECE [COUNT], got 'l o x'"),
        (
            "e r </w>\n",
            "low 3\n",
            "codes:1: </w> stands alone, as in files of subword-nmt 0.1",
        ),
        ("l o ²\n", "low 3\n", "codes:1: expected PIECE PIECE [COUNT], got 'l o ²'"),
        ("l o\n", "low x\n", "vocab:1: expected PIECE COUNT, got 'low x'"),
        ("l o\n", "low ²\n", "vocab:1: expected PIECE COUNT, got 'low ²'"),
        (
            "l o\n",
            f"low {'9' * 5000}\n",
            "vocab:1: expected PIECE COUNT, got 'low 99999",
        ),
    ],
)
def test_files_of_another_form(
    codes: str,
    vocab: str,
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "codes").write_text(codes, encoding="utf-8")
    (tmp_path / "vocab").write_text(vocab, encoding="utf-8")
    (tmp_path / "text.en").write_text("low\n", encoding="utf-8")
    args = ["preprocess", "--mono", f"en={tmp_path / 'text.en'}", "--bpe-codes", str(tmp_path / "codes"), "--bpe-vocab",
            str(tmp_path / "vocab"), "--destdir", str(tmp_path / "data")]  # fmt: skip
    assert masscli(args) == 2
    assert f"error: {tmp_path}/{message}" in capsys.readouterr().err
    assert not (tmp_path / "data/manifest.json").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--bpe-codes", "codes"], "error: --bpe-codes and --bpe-vocab go together"),
        (["--bpe-codes", "codes", "--bpe-vocab", "vocab", "--spm-model", "x"],
         "error: --bpe-codes and --spm-model are two vocabularies: give one of them"),
        (["--bpe-codes", "codes", "--bpe-vocab", "vocab"], "error: --bpe-vocab vocab: No such file or directory"),
        (["--spm-model", "vocab.model"], "error: --spm-model vocab.model: No such file or directory"),
    ],
)  # fmt: skip
def test_mistakes(given: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                  monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.en").write_text("low\n", encoding="utf-8")
    (tmp_path / "codes").write_text("l o\n", encoding="utf-8")
    assert masscli(["preprocess", "--mono", "en=text.en", *given]) == 2
    assert message in capsys.readouterr().err


def test_rare_pieces_are_left_out_and_split(tmp_path: Path) -> None:
    """A vocabulary from which rare pieces were removed by hand gives the same ids."""
    counts = {"low@@": 2, "er": 9, "lo@@": 5, "w@@": 5, "w": 5, "e@@": 1}
    codes = tmp_path / "codes"
    codes.write_text("l o\nlo w\ne r</w>\n", encoding="utf-8")
    for name, least in (("all", 0), ("frequent", 5)):
        lines = [
            f"{piece} {count}\n" for piece, count in counts.items() if count >= least
        ]
        (tmp_path / name).write_text("".join(lines), encoding="utf-8")
    cut_by_us = read_bpe_files(codes, tmp_path / "all", 5)
    assert cut_by_us == read_bpe_files(codes, tmp_path / "frequent")
    assert pieces_of(BpeCodesModel(cut_by_us), "lower") == ["lo@@", "w@@", "er"]
    assert pieces_of(
        BpeCodesModel(read_bpe_files(codes, tmp_path / "all", 2)), "lower"
    ) == [
        "low@@",
        "er",
    ]
    with pytest.raises(MasscliError) as error:
        read_bpe_files(codes, tmp_path / "all", 10)
    assert error.value.message.endswith("no piece has a count of 10")
