"""Pairs of text segments of documents: the examples of BERT, RoBERTa, ALBERT, ELECTRA and UniLM.

Each kind of pair is a rule for choosing a second segment B for a segment A:

    nsp         B is what follows A (label 0), or a segment of another document (label 1): BERT
    sop         B is what follows A (0), or the two are exchanged (1); a single sentence gets a segment of
                another document (1): ALBERT
    strict-sop  as sop, but single sentences are left out
    sentences   A is one sentence, B is the next one (0) or one of another document (1): RoBERTa
    contiguous  B is what follows A; a single sentence has no B; the label is always 0: UniLM
    electra     B is what follows A, or there is no B; the label is always 0: ELECTRA's released code

In a corpus of one document, random segments come from that document, but not from right after A. After
MAX_REDRAWS draws, a random segment is used wherever it comes from. Segments that are too long are
truncated as in the respective method. The corpus is read `copies` times in an epoch, with new random
choices each time.

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
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from masscli.core.rng import Purpose, make_generator
from masscli.data.batches.batch import Ids
from masscli.data.batches.dataset import Example
from masscli.data.batches.packed_sentences import DocumentColumn
from masscli.data.storage.example_index import open_index
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
MAX_REDRAWS = 10
"""Maximum number of draws of a random sentence for B, which is drawn again if it is in the document of A."""

PairKind = Literal["nsp", "sop", "strict-sop", "sentences", "contiguous", "electra"]
"""A rule for choosing the second segment of a pair; see the docstring of this module."""


class PairRules(NamedTuple):
    """How pairs are made: everything that the pairs of a text depend on besides the text."""

    kind: PairKind
    max_length: int
    """Maximum number of tokens of a pair, [CLS] and [SEP] included."""
    short_prob: float
    """Probability that a random shorter length replaces `max_length` for all pairs of a document (for
    electra, for a single pair)."""
    copies: int
    """How often the corpus is read in an epoch."""
    seed: int


class SegmentPair(NamedTuple):
    """A pair by its sentence numbers: A is `a_start` to `a_end` - 1, B is `b_start` to `b_end` - 1.

    If there is no B, its start and end are equal. The label is 1 if B is random or the segments are
    exchanged, otherwise 0.
    """

    a_start: int
    a_end: int
    b_start: int
    b_end: int
    label: int


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

    def _num_tokens(self, start: int, stop: int) -> int:
        return int(self.token_offsets[stop] - self.token_offsets[start])

    def _make_pairs(self) -> Iterator[NDArray[np.int64]]:
        """Yield all pairs in parts (n, 5), whose columns are a `SegmentPair`, copy by copy."""
        make = self._electra_pairs if self.rules.kind == "electra" else self._pairs_of
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
                    pairs += filter(self._is_usable, make(document, rng))
                yield np.array(pairs, np.int64).reshape(-1, 5)

    def _is_usable(self, pair: SegmentPair) -> bool:
        """Return whether A has tokens, and B too if there is a B; segments of empty lines have none."""
        has_b = pair.b_start != pair.b_end
        if has_b and not self._num_tokens(pair.b_start, pair.b_end):
            return False
        return self._num_tokens(pair.a_start, pair.a_end) > 0

    def _pairs_of(
        self, document: int, rng: np.random.Generator
    ) -> Iterator[SegmentPair]:
        """Yield the pairs of a document, for all kinds of pairs but electra.

        The document is split into chunks of whole sentences, each of which ends with the sentence that
        reaches a target length (for `sentences`, with the second sentence). Each chunk makes at most one
        pair.
        """
        start, end = self.document_bounds[document : document + 2].tolist()
        # [CLS] and two [SEP] need three tokens.
        max_text_length = self.rules.max_length - 3
        target_length = max_text_length
        if rng.random() < self.rules.short_prob:
            # BERT sometimes makes the examples of a document shorter, to be closer to the lengths of
            # fine-tuning.
            target_length = int(rng.integers(2, max_text_length + 1))
        while start < end:
            # RoBERTa's pairs of sentences: the first one is A, the next one B.
            if self.rules.kind == "sentences":
                stop = min(end, start + 2)
            else:
                stop = min(end, self._sentence_at(start, target_length))
            pair = self._pair(document, start, stop, target_length, rng)
            if pair is not None:
                yield pair
                # After a random B the sentences that really follow A have not been used.
                if pair.label == 1 and pair.a_start == start:
                    stop = pair.a_end
            start = stop

    def _pair(
        self,
        document: int,
        start: int,
        stop: int,
        target_length: int,
        rng: np.random.Generator,
    ) -> SegmentPair | None:
        """Make a pair of the chunk of sentences `start` to `stop` - 1 of a document.

        Returns None for a chunk of one sentence if the kind is `strict-sop`.
        """
        single = stop - start == 1
        # A random number of sentences, at least one, goes to A, and the rest to B.
        middle = start + 1
        if not single:
            middle = start + int(rng.integers(1, stop - start))
        negative = rng.random() < 0.5
        in_order = SegmentPair(start, middle, middle, stop, 0)
        # UniLM's second segment always follows the first.
        if self.rules.kind == "contiguous":
            return in_order
        # One sentence has nothing to be exchanged with.
        if single and self.rules.kind == "strict-sop":
            return None
        # BERT gives a chunk of one sentence a random B, since nothing is left to follow it.
        if single or (negative and self.rules.kind in ("nsp", "sentences")):
            b_start, b_end = self._random_segment(
                document, start, middle, target_length, rng
            )
            return SegmentPair(start, middle, b_start, b_end, 1)
        if negative:
            # Sentence order: both segments are from the document, the later one first.
            return SegmentPair(middle, stop, start, middle, 1)
        return in_order

    def _random_segment(
        self,
        document: int,
        a_start: int,
        a_end: int,
        target_length: int,
        rng: np.random.Generator,
    ) -> tuple[int, int]:
        """Draw a random segment B for the segment A of sentences `a_start` to `a_end` - 1.

        Returns the numbers of its first sentence, and of the one after its last. It begins at the sentence
        that `_random_sentence` draws, preferably of another document than `document`, that of A. It ends with
        its own document, or with the sentence at which A and B together reach `target_length` tokens; for
        `sentences` it is a single sentence.
        """
        start = self._random_sentence(document, a_end, rng)
        if self.rules.kind == "sentences":
            return start, start + 1
        # A random segment ends with its document, as a real one does.
        document_end = int(
            self.document_bounds[self.document_bounds.searchsorted(start, side="right")]
        )
        rest = target_length - self._num_tokens(a_start, a_end)
        return start, min(document_end, self._sentence_at(start, rest))

    def _sentence_at(self, start: int, num_tokens: int) -> int:
        """Return the number of the first sentence that begins at least `num_tokens` tokens after `start`.

        `start` is the number of a sentence, whose first token is counted. Less than one token counts as one.
        If the text ends before, the result is beyond the last sentence.
        """
        # At least one sentence is taken, even if nothing is left to fill.
        reached = self.token_offsets[start] + max(1, num_tokens)
        return int(self.token_offsets.searchsorted(reached, side="left"))

    def _random_sentence(
        self, document: int, following: int, rng: np.random.Generator
    ) -> int:
        """Draw the number of a random sentence, preferably of another document than `document`.

        If the corpus has one document, any of its sentences but number `following` will do. After MAX_REDRAWS
        draws the sentence drawn last is returned, whatever it is.
        """
        sentence = following
        for _ in range(MAX_REDRAWS):
            other = int(rng.integers(self.num_documents))
            sentence = int(
                rng.integers(
                    self.document_bounds[other], self.document_bounds[other + 1]
                )
            )
            # As in BERT, the number of attempts to find another document is limited.
            if other != document or (self.num_documents == 1 and sentence != following):
                break
        return sentence

    def _electra_pairs(
        self, document: int, rng: np.random.Generator
    ) -> Iterator[SegmentPair]:
        """Yield the pairs of a document for the kind `electra`, as ELECTRA's released code makes them.

        An example is as many consecutive sentences as reach a target length. A takes about half of it and B
        the rest, but in one example of ten A takes everything.
        """
        start, end = self.document_bounds[document : document + 2].tolist()
        # A first segment of this length takes all sentences of the example.
        everything = self._num_tokens(start, end) + 1
        while start < end:
            target_length = self.rules.max_length
            if rng.random() < self.rules.short_prob:
                # The shortest examples of the released code have five tokens.
                target_length = int(rng.integers(5, self.rules.max_length + 1))
            stop = min(end, self._sentence_at(start, target_length))
            # The released code leaves three tokens for [CLS] and two [SEP].
            first_length = (target_length - 3) // 2
            # One example in ten has one segment only, as in tasks of single texts.
            if rng.random() < 0.1:
                first_length = everything
            middle = start + 1
            while middle < stop:
                fits = self._num_tokens(start, middle + 1) < first_length
                # A sentence that crosses the border goes to the first segment half of the time.
                if not fits and not (
                    self._num_tokens(start, middle) < first_length
                    and rng.random() < 0.5
                ):
                    break
                middle += 1
            yield SegmentPair(start, middle, middle, stop, 0)
            start = stop


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
