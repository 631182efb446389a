"""The formats that join one or two texts into one sequence, and the truncation of texts to fit.

    bert      [CLS] A [SEP]     [CLS] A [SEP] B [SEP]          segments 0 up to the first [SEP], then 1
    roberta   <s> A </s>        <s> A </s> </s> B </s>         no segments
    gpt       start A extract   start A delimiter B extract    no segments

The formats are those of Devlin et al. (2019), Liu et al. (2019) and Radford et al. (2018). GPT's three
symbols are <s>, <sep> and <cls> of the vocabulary, which no text is ever encoded into.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids
from masscli.text.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class JoinedSequence:
    """One or two texts joined into one sequence of token ids.

    `segments` holds for each token the text (0 or 1) that it belongs to; in formats without segments it is
    all 0. `starts` are the positions of the texts' first tokens.
    """

    ids: Ids
    segments: Ids
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairFormat:
    """A format that joins one or two texts into a sequence; `kind` is bert, roberta or gpt."""

    kind: str
    vocab: Vocabulary

    def num_special_tokens(self, texts: int) -> int:
        """Return how many special tokens the format adds to a sequence of one or two texts."""
        if texts == 1:
            return 2
        # RoBERTa puts two separators between texts.
        return 4 if self.kind == "roberta" else 3

    def join(self, *texts: Ids) -> JoinedSequence:
        """Join one or two texts, given as token ids, into one sequence with special tokens."""
        first, middle, last = self.special_tokens()
        if len(texts) == 1:
            ids = np.concatenate([first, texts[0], last])
            return JoinedSequence(ids, np.zeros(len(ids), np.int64), (1,))
        a, b = texts
        ids = np.concatenate([first, a, middle, b, last])
        # Only BERT's format has segments; the first [SEP] belongs to the first one.
        segments = np.zeros(len(ids), np.int64)
        if self.kind == "bert":
            segments[len(a) + 2 :] = 1
        return JoinedSequence(ids, segments, (1, 1 + len(a) + len(middle)))

    def special_tokens(self) -> tuple[list[int], list[int], list[int]]:
        """Return the ids before the first text, between two texts, and after the last one."""
        vocab = self.vocab
        if self.kind == "bert":
            return [vocab.cls], [vocab.sep], [vocab.sep]
        if self.kind == "roberta":
            return [vocab.bos], [vocab.eos, vocab.eos], [vocab.eos]
        return [vocab.bos], [vocab.sep], [vocab.cls]


@dataclass(frozen=True, slots=True)
class Truncation:
    """Which part of a source to read if it is too long."""

    turns: int = 0
    """Number of turns at the end of a dialogue that are read; 0 means that the source is not a dialogue."""
    max_length: int | None = None
    """Maximum number of tokens that are read; None reads all."""
    keep: Literal["start", "end"] = "start"
    """Whether the start or the end of a source above `max_length` is read."""


def truncated_pair_lengths(
    first: NDArray[np.int64], second: NDArray[np.int64], max_length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the lengths to which pairs of texts are truncated to have at most `max_length` tokens together.

    `first` and `second` are the lengths (N,) of the texts before. As in BERT's fine-tuning, tokens are
    removed one by one from the longer text, or from the second one if both are equally long.
    """
    # If both texts are longer than half, both end up at half; otherwise the shorter one is kept whole.
    larger_half = -(-max_length // 2)
    smaller_half = max_length // 2
    first_if_cut = np.where(second <= smaller_half, max_length - second, larger_half)
    first_if_cut = np.where(first <= larger_half, first, first_if_cut)
    second_if_cut = np.where(second <= smaller_half, second, smaller_half)
    second_if_cut = np.where(first <= larger_half, max_length - first, second_if_cut)
    fits = first + second <= max_length
    return np.where(fits, first, first_if_cut), np.where(fits, second, second_if_cut)


def join_turns(turns: Iterable[Ids], sep: int) -> Ids:
    """Return the turns of a dialogue as one sequence, with the id `sep` between them."""
    parts: list[Ids] = []
    for turn in turns:
        if parts:
            parts.append(np.array([sep], np.int64))
        parts.append(turn)
    if not parts:
        return np.zeros(0, np.int64)
    return np.concatenate(parts).astype(np.int64)
