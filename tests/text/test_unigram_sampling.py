"""Subword regularization: every segmentation comes up with the probability that Kudo (2018) gives it."""

from __future__ import annotations

import io
import math
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from masscli.core.errors import MasscliError
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.unigram_sampling import UnigramSampling

PIECES = ["_", "a", "b", "ab", "ba", "_a", "aba", "<unk>"]
SCORES = [-3.0, -2.0, -2.5, -1.5, -2.2, -1.9, -1.7, None]


def every_segmentation(word: str) -> Iterator[list[int]]:
    if not word:
        yield []
    for number, piece in enumerate(PIECES):
        if word.startswith(piece) and SCORES[number] is not None:
            for rest in every_segmentation(word[len(piece) :]):
                yield [number, *rest]


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_segmentations_have_their_probabilities(alpha: float) -> None:
    sampling = UnigramSampling(PIECES, SCORES, "_", 100, alpha)
    word = [5, 2, 4]  # _a b ba
    weights = {
        tuple(ids): math.exp(alpha * sum(SCORES[number] or 0.0 for number in ids))
        for ids in every_segmentation("_abba")
    }
    total = sum(weights.values())
    rng = np.random.default_rng(1)
    counts = Counter(
        tuple(sampling(np.array(word), rng).tolist()) for _ in range(20_000)
    )
    assert len(weights) == 6 and counts.keys() <= weights.keys()
    for ids, weight in weights.items():
        assert counts[ids] / 20_000 == pytest.approx(weight / total, abs=0.012), ids
    # What is no text stays where it is, and separates what stands around it.
    assert sampling(np.array([5, 7, 5]), rng).tolist().count(7) == 1


def train_unigram(folder: Path, model_type: str) -> Path:
    draw = random.Random(1)
    syllables = ["lo", "wer", "new", "est", "wi", "de", "ing"]
    words = ["".join(draw.choices(syllables, k=draw.randint(1, 3))) for _ in range(60)]
    lines = [" ".join(draw.choices(words, k=draw.randint(1, 10))) for _ in range(400)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        vocab_size=40,
        model_type=model_type,
        minloglevel=2,
    )
    (folder / f"{model_type}.model").write_bytes(model.getvalue())
    return folder / f"{model_type}.model"


def open_tokenizer(path: Path, folder: Path) -> Tokenizer:
    return Tokenizer.from_model_file(
        path,
        preprocessing=TextPreprocessing(),
        languages=["en"],
        folder=folder / f"{path.stem}-folder",
    )


def test_a_real_model_keeps_its_text_and_prefers_its_best(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(train_unigram(tmp_path, "unigram"), tmp_path)
    texts = ["lower newest", "wide lo ing", "lo€w newing"]
    rng = np.random.default_rng(2)
    for ids in tokenizer.encode_lines(texts, "en"):
        sampled = [
            tokenizer.unigram_sampling(0.1, 100)(np.array(ids), rng).tolist()
            for _ in range(20)
        ]
        assert {tokenizer.decode(other, "en") for other in sampled} == {
            tokenizer.decode(ids, "en")
        }
        assert len({tuple(other) for other in sampled}) > 1
        # With a large exponent only the best segmentation is left, which is that of the model.
        best = tokenizer.unigram_sampling(200.0, 100)(np.array(ids), rng).tolist()
        assert best == ids


def test_other_vocabularies_are_refused(tmp_path: Path) -> None:
    tokenizer = open_tokenizer(train_unigram(tmp_path, "bpe"), tmp_path)
    with pytest.raises(
        MasscliError, match=r"^--unigram-alpha: the vocabulary is not a unigram model"
    ):
        tokenizer.unigram_sampling(0.1, 100)
    with pytest.raises(
        MasscliError,
        match=r"^--bpe-dropout: the vocabulary is sentencepiece, not a BPE",
    ):
        tokenizer.bpe_dropout(0.1, 100)
