"""Choose pairs of text segments of documents, as BERT, RoBERTa, ALBERT, ELECTRA and UniLM do.

Each kind of pair is a rule for choosing a second segment B for a segment A:

    nsp         B is what follows A (label 0), or a segment of another document (label 1): BERT
    sop         B is what follows A (0), or the two are exchanged (1); a single sentence gets a segment of
                another document (1): ALBERT
    strict-sop  as sop, but single sentences are left out
    sentences   A is one sentence, B is the next one (0) or one of another document (1): RoBERTa
    contiguous  B is what follows A; a single sentence has no B; the label is always 0: UniLM
    electra     B is what follows A, or there is no B; the label is always 0: ELECTRA's released code

In a corpus of one document, random segments come from that document, but not from right after A. After
MAX_REDRAWS draws, a random segment is used wherever it comes from. The corpus is read `copies` times in an
epoch, with new random choices each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class PairMaker:
    """Makes the pairs of a document by `rules`, from the lengths of its sentences alone.

    `token_offsets` (sentences + 1,) has the number of tokens before each sentence of the text and in all, and
    `document_bounds` (documents + 1,) the number of the first sentence of each document, and that of all
    sentences.
    """

    def __init__(
        self,
        token_offsets: NDArray[np.int64],
        document_bounds: NDArray[Any],
        rules: PairRules,
    ) -> None:
        self._token_offsets = token_offsets
        self._document_bounds = document_bounds
        self._num_documents = len(document_bounds) - 1
        self._rules = rules

    def pairs_of(
        self, document: int, rng: np.random.Generator
    ) -> Iterator[SegmentPair]:
        """Yield the pairs of a document, drawn with `rng`, except those with an empty segment."""
        if self._rules.kind == "electra":
            pairs = self._electra_pairs(document, rng)
        else:
            pairs = self._chunk_pairs(document, rng)
        return filter(self._is_usable, pairs)

    def _is_usable(self, pair: SegmentPair) -> bool:
        """Return whether A has tokens, and B too if there is a B; segments of empty lines have none."""
        has_b = pair.b_start != pair.b_end
        if has_b and not self._num_tokens(pair.b_start, pair.b_end):
            return False
        return self._num_tokens(pair.a_start, pair.a_end) > 0

    def _chunk_pairs(
        self, document: int, rng: np.random.Generator
    ) -> Iterator[SegmentPair]:
        """Yield the pairs of a document, for all kinds of pairs but electra.

        The document is split into chunks of whole sentences, each of which ends with the sentence that
        reaches a target length (for `sentences`, with the second sentence). Each chunk makes at most one
        pair.
        """
        start, end = self._document_bounds[document : document + 2].tolist()
        # [CLS] and two [SEP] need three tokens.
        max_text_length = self._rules.max_length - 3
        target_length = max_text_length
        if rng.random() < self._rules.short_prob:
            # BERT sometimes makes the examples of a document shorter, to be closer to the lengths of
            # fine-tuning.
            target_length = int(rng.integers(2, max_text_length + 1))
        while start < end:
            # RoBERTa's pairs of sentences: the first one is A, the next one B.
            if self._rules.kind == "sentences":
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
        if self._rules.kind == "contiguous":
            return in_order
        # One sentence has nothing to be exchanged with.
        if single and self._rules.kind == "strict-sop":
            return None
        # BERT gives a chunk of one sentence a random B, since nothing is left to follow it.
        if single or (negative and self._rules.kind in ("nsp", "sentences")):
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
        if self._rules.kind == "sentences":
            return start, start + 1
        # A random segment ends with its document, as a real one does.
        document_end = int(
            self._document_bounds[
                self._document_bounds.searchsorted(start, side="right")
            ]
        )
        rest = target_length - self._num_tokens(a_start, a_end)
        return start, min(document_end, self._sentence_at(start, rest))

    def _sentence_at(self, start: int, num_tokens: int) -> int:
        """Return the number of the first sentence that begins at least `num_tokens` tokens after `start`.

        `start` is the number of a sentence, whose first token is counted. Less than one token counts as one.
        If the text ends before, the result is beyond the last sentence.
        """
        # At least one sentence is taken, even if nothing is left to fill.
        reached = self._token_offsets[start] + max(1, num_tokens)
        return int(self._token_offsets.searchsorted(reached, side="left"))

    def _random_sentence(
        self, document: int, following: int, rng: np.random.Generator
    ) -> int:
        """Draw the number of a random sentence, preferably of another document than `document`.

        If the corpus has one document, any of its sentences but number `following` will do. After MAX_REDRAWS
        draws the sentence drawn last is returned, whatever it is.
        """
        sentence = following
        for _ in range(MAX_REDRAWS):
            other = int(rng.integers(self._num_documents))
            sentence = int(
                rng.integers(
                    self._document_bounds[other], self._document_bounds[other + 1]
                )
            )
            # As in BERT, the number of attempts to find another document is limited.
            if other != document or (
                self._num_documents == 1 and sentence != following
            ):
                break
        return sentence

    def _electra_pairs(
        self, document: int, rng: np.random.Generator
    ) -> Iterator[SegmentPair]:
        """Yield the pairs of a document for the kind `electra`, as ELECTRA's released code makes them.

        An example is as many consecutive sentences as reach a target length. A takes about half of it and B
        the rest, but in one example of ten A takes everything.
        """
        start, end = self._document_bounds[document : document + 2].tolist()
        # A first segment of this length takes all sentences of the example.
        everything = self._num_tokens(start, end) + 1
        while start < end:
            target_length = self._rules.max_length
            if rng.random() < self._rules.short_prob:
                # The shortest examples of the released code have five tokens.
                target_length = int(rng.integers(5, self._rules.max_length + 1))
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

    def _num_tokens(self, start: int, stop: int) -> int:
        return int(self._token_offsets[stop] - self._token_offsets[start])
