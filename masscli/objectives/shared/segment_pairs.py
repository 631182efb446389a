"""A dataset of pairs of text segments: the examples of BERT, RoBERTa, ALBERT, ELECTRA and UniLM.

masscli/objectives/shared/pair_maker.py chooses the segments. Pairs that are too long are truncated as in the
respective method.

All pairs of an epoch are made at once, from the seed, the copy and the document, because the sampler
needs their number and their lengths. For a large corpus they are kept in a file (see
masscli/data/storage/example_index.py), so that a later run with the same text and options just opens
it, and memory does not grow with the corpus, except for the lengths of sentences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.rng import Purpose, make_generator
from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example
from masscli.data.batches.packed_sentences import DocumentColumn
from masscli.data.storage.example_index import open_index
from masscli.objectives.shared.pair_maker import PairMaker, PairRules, SegmentPair
from masscli.text.word_starts import WordStarts

MIN_STORED_SENTENCES = 100_000
"""Minimum number of sentences, counted in every copy, for which pairs are kept in a file."""
DOCUMENTS_AT_A_TIME = 2**12
"""The number of documents whose pairs are held in memory while pairs are made."""
PAIRS_AT_A_TIME = 2**20
"""The number of stored pairs that are read at once to count their labels."""
RULES_VERSION = 1
"""Version of the rules for making pairs. It is incremented when they change, so that pairs stored
earlier are no longer used."""


class SegmentPairDataset:
    """Pairs of segments of documents, made by `rules`.

    `sentences` are the token ids of the sentences of all documents. An example has four fields: the ids of A,
    the ids of B (possibly none), the label, and for each token of A and B whether it starts a word, which
    `word_starts` tells. `max_sentences` limits the dataset to the first sentences of the text. `folder` is
    the data folder, in which the pairs of a large corpus are kept; with None they are kept in memory. The
    attribute `num_documents` is the number of documents.
    """

    def __init__(
        self,
        sentences: DocumentColumn,
        rules: PairRules,
        word_starts: WordStarts,
        *,
        max_sentences: int | None = None,
        folder: Path | None = None,
    ) -> None:
        self.sentences = sentences
        self.rules = rules
        self.word_starts = word_starts
        num_sentences = len(sentences)
        if max_sentences is not None:
            num_sentences = min(max_sentences, num_sentences)
        # The number of tokens before each sentence; a difference of two entries is the length between them.
        self.token_offsets = np.concatenate(
            [[0], np.cumsum(sentences.lengths(0, num_sentences), dtype=np.int64)]
        )
        # Documents that begin after the limit are left out, and one that crosses it is cut off.
        starts = sentences.document_starts
        self.document_bounds = np.append(starts[starts < num_sentences], num_sentences)
        self.num_documents = len(self.document_bounds) - 1
        if rules.copies * num_sentences < MIN_STORED_SENTENCES:
            folder = None
        # The numbers of sentences fit into 32 bits but for the largest texts.
        dtype = np.dtype("<i4" if num_sentences < 2**31 else "<i8")
        self._pairs = open_index(
            folder, f"pairs-{self._digest()}", 5, dtype, self._make_pairs
        )

    def __len__(self) -> int:
        return len(self._pairs)

    @cached_property
    def label_sum(self) -> int:
        """The number of pairs with label 1."""
        total = 0
        # All pairs of a large text at once would take gigabytes.
        for start in range(0, len(self), PAIRS_AT_A_TIME):
            stop = min(len(self), start + PAIRS_AT_A_TIME)
            total += int(self._pairs.rows(start, stop)[:, 4].sum())
        return total

    def sizes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return the lengths (stop - start, 1) of examples, special tokens included."""
        return self._pair_lengths(self._pairs.rows(start, stop))[:, None]

    def _digest(self) -> str:
        """Return a digest of everything that the pairs depend on, for the name of their file."""
        # NumPy's random numbers may change between versions.
        options = (RULES_VERSION, np.__version__, *self.rules)
        digest = hashlib.sha256(json.dumps(options).encode())
        digest.update(self.token_offsets.tobytes())
        digest.update(self.document_bounds.astype(np.int64).tobytes())
        return digest.hexdigest()[:32]

    def _pair_lengths(self, pairs: NDArray[Any]) -> NDArray[np.int64]:
        """Return the lengths (n,) of pairs (n, 5), special tokens included."""
        a_lengths = self.token_offsets[pairs[:, 1]] - self.token_offsets[pairs[:, 0]]
        b_lengths = self.token_offsets[pairs[:, 3]] - self.token_offsets[pairs[:, 2]]
        num_special_tokens = 2 + (b_lengths > 0)
        # What is longer than the limit is truncated when it is read.
        lengths: NDArray[np.int64] = np.minimum(
            a_lengths + b_lengths + num_special_tokens, self.rules.max_length
        )
        return lengths

    def __getitem__(self, number: int) -> Example:
        pair = SegmentPair(*self._pairs[number].tolist())
        a = self._token_ids(pair.a_start, pair.a_end)
        b = self._token_ids(pair.b_start, pair.b_end)
        # ELECTRA truncates at the end, the other methods at both ends.
        if self.rules.kind == "electra":
            a = a[: self.rules.max_length - 2]
            b = b[: max(0, self.rules.max_length - len(a) - 3)]
        else:
            # Pairs are rebuilt each time they are read, so truncation must draw the same numbers for
            # the same pair.
            rng = make_generator(self.rules.seed, Purpose.PAIR_TRUNCATION, number)
            num_special_tokens = 3 if len(b) else 2
            a, b = truncate_randomly(
                a, b, self.rules.max_length - num_special_tokens, rng
            )
        starts_word = self.word_starts(np.concatenate([a, b])).astype(np.int64)
        return Example(number, (a, b, np.array([pair.label]), starts_word))

    def _token_ids(self, start: int, stop: int) -> Ids:
        parts = [
            np.zeros(0, np.int64),
            *(self.sentences[number] for number in range(start, stop)),
        ]
        return np.concatenate(parts)

    def _make_pairs(self) -> Iterator[NDArray[np.int64]]:
        """Yield all pairs in parts (n, 5), whose columns are a `SegmentPair`, copy by copy."""
        maker = PairMaker(self.token_offsets, self.document_bounds, self.rules)
        for copy in range(self.rules.copies):
            for first in range(0, self.num_documents, DOCUMENTS_AT_A_TIME):
                stop = min(self.num_documents, first + DOCUMENTS_AT_A_TIME)
                pairs: list[SegmentPair] = []
                for document in range(first, stop):
                    # Each document and copy has its own random numbers, so that it does not depend on
                    # the others.
                    rng = make_generator(
                        self.rules.seed, Purpose.SENTENCE_PAIRS, document, copy
                    )
                    pairs += maker.pairs_of(document, rng)
                yield np.array(pairs, np.int64).reshape(-1, 5)


def truncate_randomly(
    a: Ids, b: Ids, max_tokens: int, rng: np.random.Generator
) -> tuple[Ids, Ids]:
    """Truncate two segments to `max_tokens` tokens together, as BERT does, and return both.

    Tokens are removed one by one from the longer segment (B if both are equal), each from a random end.

    The result is drawn at once instead of token by token: how many tokens each segment loses follows from the
    lengths, and how many of them it loses at its front is binomial.
    """
    excess = max(0, len(a) + len(b) - max_tokens)
    lost_by_a = 0
    if excess:
        # Tokens are taken from the longer segment until both are equally long, and then from each in turn.
        half = -(-max_tokens // 2)
        # A short B is kept as it is, and A gets the rest.
        if len(b) <= max_tokens // 2:
            lost_by_a = len(a) - (max_tokens - len(b))
        else:
            # Otherwise A gets half, or less if it is short itself.
            lost_by_a = len(a) - min(len(a), half)
    return _remove_randomly(a, lost_by_a, rng), _remove_randomly(
        b, excess - lost_by_a, rng
    )


def _remove_randomly(token_ids: Ids, count: int, rng: np.random.Generator) -> Ids:
    """Return a segment without `count` of its tokens, each of which is removed from a random end."""
    if not count:
        return token_ids
    at_front = int(rng.binomial(count, 0.5))
    return token_ids[at_front : len(token_ids) - (count - at_front)]
