"""How one or two texts become the one sequence that a stack reads, and how they are cut to fit.

    bert      [CLS] A [SEP]          [CLS] A [SEP] B [SEP]           segments 0 up to the first [SEP], 1 after it   (Devlin et al. 2019)
    roberta   <s> A </s>             <s> A </s> </s> B </s>          no segments                                   (Liu et al. 2019)
    gpt       start A extract        start A delimiter B extract     no segments                                   (Radford et al. 2018)

GPT's three symbols are <s>, <sep> and <cls> of the vocabulary, which no text is ever encoded into.
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
    """What is read: ids, and to which text (0 or 1) each belongs.  `starts` are the places of the texts' first tokens."""

    ids: Ids
    segments: Ids
    starts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PairFormat:
    """One of the three forms."""

    kind: str
    vocab: Vocabulary

    def num_special_tokens(self, texts: int) -> int:
        """How many symbols are added."""
        return 2 if texts == 1 else 4 if self.kind == "roberta" else 3

    def join(self, *texts: Ids) -> JoinedSequence:
        """The sequence of one or two texts."""
        v = self.vocab
        first, middle, last = {
            "bert": ([v.cls], [v.sep], [v.sep]),
            "roberta": ([v.bos], [v.eos, v.eos], [v.eos]),
            "gpt": ([v.bos], [v.sep], [v.cls]),
        }[self.kind]
        if len(texts) == 1:
            ids = np.concatenate([first, texts[0], last])
            return JoinedSequence(ids, np.zeros(len(ids), np.int64), (1,))
        a, b = texts
        ids = np.concatenate([first, a, middle, b, last])
        second = np.arange(len(ids)) > len(a) + 1 if self.kind == "bert" else np.zeros(len(ids), np.bool_)
        return JoinedSequence(ids, second.astype(np.int64), (1, 1 + len(a) + len(middle)))


@dataclass(frozen=True, slots=True)
class Truncation:
    """What is read of a source: of a dialogue the latest `turns` (0: it is a text), at most `most` pieces, from its start or its end."""

    turns: int = 0
    max_length: int | None = None
    keep: Literal["start", "end"] = "start"


def truncated_pair_lengths(
    first: NDArray[np.int64], second: NDArray[np.int64], room: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The lengths to which pairs of texts are cut so that together they fill at most `room`.

    As BERT does it for its tasks: tokens are taken from the end of the longer text, of the second one where they are equal.
    """
    upper, lower = -(-room // 2), room // 2
    a = np.where(first <= upper, first, np.where(second <= lower, room - second, upper))
    b = np.where(first <= upper, room - first, np.where(second <= lower, second, lower))
    fits = first + second <= room
    return np.where(fits, first, a), np.where(fits, second, b)


def join_turns(turns: Iterable[Ids], sep: int) -> Ids:
    """Turns with <sep> between them."""
    parts = [part for turn in turns for part in (turn, [sep])][:-1]
    return np.concatenate([np.zeros(0, np.int64), *parts]).astype(np.int64)
