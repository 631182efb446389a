"""BPE-dropout: nothing dropped is SentencePiece, all dropped is characters, and between both the text stays."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from masscli.text.bpe_dropout import BpeDropout
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.training.setup.build import build
from tests.toy import recipe
from tests.training.test_trainer import PAIRS, losses, same_run, train


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    draw = random.Random(1)
    syllables = ["lo", "wer", "n", "ew", "est", "wide", "i", "ng", "ü", "ber"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 4))) for _ in range(60)]
    lines = [" ".join(draw.choices(words, k=draw.randint(1, 12))) for _ in range(400)]
    folder = tmp_path_factory.mktemp("bpe")
    return Tokenizer.train(
        iter(lines),
        vocab_size=120,
        preprocessing=TextPreprocessing(),
        languages=["en"],
        folder=folder,
    )


TEXTS = ["lower newest", "überwideingn lolo  ewest", "low € er", "", "n", "zzz lower"]


def test_without_dropout_it_is_the_bpe_itself(tokenizer: Tokenizer) -> None:
    segment = tokenizer.bpe_dropout(0.0, 1000)
    draw = random.Random(2)
    texts = [
        *TEXTS,
        *("".join(draw.choices("lowernstidgüb ", k=30)) for _ in range(200)),
    ]
    for ids in tokenizer.encode_lines(texts, "en"):
        assert (
            segment(np.array(ids, np.int64), np.random.default_rng(0)).tolist() == ids
        )


def test_the_text_stays_the_same_whatever_is_dropped(tokenizer: Tokenizer) -> None:
    rng = np.random.default_rng(1)
    for text, ids in zip(TEXTS, tokenizer.encode_lines(TEXTS, "en"), strict=True):
        for dropout in (0.1, 0.5, 0.999):
            other = tokenizer.bpe_dropout(dropout, 1000)(
                np.array(ids, np.int64), rng
            ).tolist()
            assert tokenizer.decode(other, "en") == tokenizer.decode(ids, "en"), text
            assert len(other) >= len(ids)
        # Nearly everything dropped: one piece for each character of known words.
        pieces = tokenizer.ids_to_pieces(other)
        assert all(len(piece) == 1 or piece == "<unk>" for piece in pieces), pieces


def test_a_special_piece_is_never_spelled_by_others(tmp_path: Path) -> None:
    """All characters of the names `<unk>` and `</s>` are pieces of this vocabulary."""
    lines = ["a < b > c / k s u n"] * 20
    tokenizer = Tokenizer.train(
        iter(lines),
        vocab_size=30,
        preprocessing=TextPreprocessing(),
        languages=["en"],
        folder=tmp_path,
    )
    vocab = tokenizer.vocab
    ids = np.array([*tokenizer.encode("a b", "en"), vocab.unk, vocab.eos], np.int64)
    rng = np.random.default_rng(4)
    assert tokenizer.bpe_dropout(0.9, 1000)(ids, rng)[-2:].tolist() == [
        vocab.unk,
        vocab.eos,
    ]


def test_a_merge_is_left_out_with_its_probability() -> None:
    """`ab` has one merge; `abc` has two ways, by the scores ab before bc."""
    pieces, scores = (
        ["a", "b", "c", "ab", "bc", "abc"],
        [-9.0, -9.0, -9.0, 0.0, -1.0, -2.0],
    )
    segment = BpeDropout(pieces, scores, "_", 100, 0.3)
    rng = np.random.default_rng(3)
    counts = Counter(tuple(segment(np.array([3]), rng).tolist()) for _ in range(20_000))
    assert counts[(3,)] / 20_000 == pytest.approx(0.7, abs=0.01)
    counts = Counter(tuple(segment(np.array([5]), rng).tolist()) for _ in range(20_000))
    # First ab with 0.7, else bc with 0.3 * 0.7, else nothing; then the whole word with 0.7.
    expected = {
        (5,): 0.91 * 0.7,
        (3, 2): 0.7 * 0.3,
        (0, 4): 0.21 * 0.3,
        (0, 1, 2): 0.09,
    }
    assert {key: count / 20_000 for key, count in counts.items()} == pytest.approx(
        expected, abs=0.01
    )


def test_long_words_need_little_memory(tokenizer: Tokenizer) -> None:
    """As in texts without spaces."""
    word = "".join(random.Random(3).choices("lowernstidgüb", k=16_000))
    ids = np.array(tokenizer.encode(word, "en"), np.int64)
    segment = tokenizer.bpe_dropout(0.9, len(word))
    tracemalloc.start()
    split = segment(ids, np.random.default_rng(0)).tolist()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 30_000_000
    assert tokenizer.decode(split, "en") == word and split != ids.tolist()


def test_ids_are_unchanged_if_they_would_become_too_long(tokenizer: Tokenizer) -> None:
    (ids,) = tokenizer.encode_lines(["newest newest"], "en")
    segment = tokenizer.bpe_dropout(0.999, len(ids))
    assert segment(np.array(ids, np.int64), np.random.default_rng(0)).tolist() == ids


@pytest.mark.usefixtures("no_sync", "one_thread")
def test_a_run_reads_other_pieces_in_each_epoch_and_can_be_stopped(
    toy: Path, tmp_path: Path
) -> None:
    dropout = ("train.bpe_dropout=0.3", "train.max_update=6")
    whole = losses(train(recipe(toy, tmp_path / "whole", *dropout, streams=PAIRS)))
    train(
        recipe(toy, tmp_path / "parts", *dropout, "train.max_update=3", streams=PAIRS)
    )
    train(recipe(toy, tmp_path / "parts", *dropout, streams=PAIRS))
    assert same_run(tmp_path / "parts", tmp_path / "whole")
    assert whole != losses(
        train(recipe(toy, tmp_path / "plain", "train.max_update=6", streams=PAIRS))
    )
    trainer, _ = build(
        recipe(toy, tmp_path / "plain", *dropout, "train.bpe_dropout=0", streams=PAIRS)
    )
    dropped, _ = build(recipe(toy, tmp_path / "whole", *dropout, streams=PAIRS))
    numbers = np.arange(20)
    batches = [
        dropped.streams["pairs"].batch_builder(numbers, epoch) for epoch in (0, 0, 1)
    ]
    assert batches[0].source.ids.tolist() == batches[1].source.ids.tolist()
    assert batches[0].source.ids.tolist() != batches[2].source.ids.tolist()
    plain = trainer.streams["pairs"].batch_builder(numbers, 0)
    assert int(batches[0].source.lengths.sum()) > int(plain.source.lengths.sum())
    # Validation reads the usual pieces.
    assert dropped.validator.streams[0].batch_builder.resegmenter is None
