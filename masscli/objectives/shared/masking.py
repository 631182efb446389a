"""Choose the tokens that a masked language model predicts, and what the encoder sees in their place.

A unit determines what is masked and how many tokens, given `mask_prob` = p:

    tokens           max(1, round(p * n)) of n tokens, rounded half to even (Devlin et al. 2019)
    words            whole words in random order, each if it still fits into that number of tokens
    ngrams           the same with runs of 1, 2 or 3 words, drawn in the ratio 1 : 1/2 : 1/3 (Lan et al. 2020)
    released-ngrams  the same, but words and n-grams may continue after [SEP], as in ALBERT's released code
    dynamic-tokens   floor(p * n + u) tokens with u uniform in [0, 1): exact in expectation (fairseq)
    dynamic-words    floor(p * w + u) of the w words, each masked, kept or replaced as a whole (fairseq)
    sentence-tokens  max(1, floor(p * m + u)) of the m tokens that may be masked
    sentence-spans   the same number of tokens, in spans with geometric lengths (Joshi et al. 2020)

The last two units are for single sentences: otherwise, short ones would often have no masked token and
no target. For all other units the share is relative to the whole sequence with its special tokens, as
in the released code. Special tokens count as words, and are masked only where `maskable` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from masscli.core.rng import Purpose, make_generator
from masscli.data.batches.batch import Ids
from masscli.objectives.shared.corruption import Bools, replace_tokens

MAX_NGRAM = 3
"""Maximum number of words in an n-gram."""

MaskingUnit = Literal[
    "tokens",
    "words",
    "ngrams",
    "released-ngrams",
    "dynamic-tokens",
    "dynamic-words",
    "sentence-tokens",
    "sentence-spans",
]


@dataclass(frozen=True)
class TokenMasker:
    """Choose the tokens of a sequence to predict, and corrupt them by the 80/10/10 rule or other shares.

    `mask_prob` is the share of tokens to choose. Of these, the share `keep_prob` stays as it is, the share
    `random_prob` becomes random tokens, and the rest becomes `mask_id`. `max_masked` limits the number of
    chosen tokens. Lengths of spans (see `place_spans`) are drawn from a geometric distribution with parameter
    `span_p`, among those up to `max_span`. Random tokens are drawn from the ids in `random_pool`. A `static`
    masker gives an example the same mask in every epoch, drawn from `seed`.
    """

    unit: MaskingUnit
    mask_prob: float
    keep_prob: float
    random_prob: float
    mask_id: int
    random_pool: Ids
    max_masked: int | None = None
    span_p: float = 1.0
    max_span: int = 1
    static: bool = False
    seed: int = 0

    def __call__(
        self,
        token_ids: Ids,
        maskable: Bools,
        starts_word: Bools | None,
        number: int,
        rng: np.random.Generator,
    ) -> tuple[Ids, Ids]:
        """Corrupt an example; return its new ids (L,) and the sorted positions of the tokens to predict.

        `maskable` (L,) says which tokens may be chosen; if none may, the example is returned unchanged.
        `starts_word` (L,) says which tokens begin a word; it may be None if the unit does not depend on
        words. `number` is the number of the example in its dataset, which a static mask is drawn from.
        `token_ids` is not changed.
        """
        # A static mask replaces the example's own generator by one that does not depend on the epoch.
        if self.static:
            rng = make_generator(self.seed, Purpose.STATIC_MASKS, number)
        words_required = self.unit not in (
            "tokens",
            "dynamic-tokens",
            "sentence-tokens",
            "sentence-spans",
        )
        groups = None
        if words_required:
            assert starts_word is not None
            positions = self._choose_words(maskable, starts_word, rng)
            if self.unit == "dynamic-words":
                # Chosen positions that belong to one word get the same number.
                groups = np.cumsum(first_of_words(positions, starts_word)) - 1
        else:
            positions = self._choose_tokens(maskable, rng)
        corrupted = token_ids.copy()
        corrupted[positions], _ = replace_tokens(
            token_ids[positions],
            1 - self.keep_prob - self.random_prob,
            self.random_prob,
            self.mask_id,
            self.random_pool,
            rng,
            groups,
        )
        return corrupted, positions

    def _choose_tokens(self, maskable: Bools, rng: np.random.Generator) -> Ids:
        """Return the sorted positions of the tokens to predict, drawn one by one or in spans, (N,)."""
        # The share is relative to the whole sequence or, for single sentences, to the maskable tokens.
        candidates = np.flatnonzero(maskable)
        if self.unit == "tokens":
            count = max(1, round(self.mask_prob * len(maskable)))
        elif self.unit == "dynamic-tokens":
            count = int(self.mask_prob * len(maskable) + rng.random())
        else:
            count = max(1, int(self.mask_prob * len(candidates) + rng.random()))
        # A sequence without text, such as an empty line, has nothing to predict.
        count = min(count, len(candidates))
        # BERT and ALBERT limit the predictions of a sequence (max_predictions_per_seq).
        if self.max_masked is not None:
            count = min(count, self.max_masked)
        if self.unit == "sentence-spans":
            return candidates[
                place_spans(len(candidates), count, self.span_p, self.max_span, rng)
            ]
        # Sorted positions keep labels in the order of the text.
        return np.sort(rng.permutation(candidates)[:count])

    def _choose_words(
        self, maskable: Bools, starts_word: Bools, rng: np.random.Generator
    ) -> Ids:
        """Return the sorted positions of the words or n-grams to predict, (N,)."""
        # fairseq masks a share of the words; BERT and ALBERT fill a number of tokens with words.
        if self.unit == "dynamic-words":
            words = split_into_words(maskable, starts_word)
            # Special tokens that may not be masked still count as words in fairseq's share.
            num_special_tokens = int((~maskable).sum())
            count = int(
                self.mask_prob * (len(words) + num_special_tokens) + rng.random()
            )
            chosen = [words[i] for i in rng.permutation(len(words))[:count]]
            max_tokens = len(maskable) if self.max_masked is None else self.max_masked
            # The limit on tokens may leave out the last words.
            return fill_with_ngrams(chosen, max_tokens, 1, rng)
        max_tokens = max(1, round(self.mask_prob * len(maskable)))
        if self.max_masked is not None:
            max_tokens = min(max_tokens, self.max_masked)
        across_segments = self.unit == "released-ngrams"
        words = split_into_words(maskable, starts_word, across_segments)
        # Whole-word masking is n-gram masking with n = 1.
        max_ngram = 1 if self.unit == "words" else MAX_NGRAM
        return fill_with_ngrams(words, max_tokens, max_ngram, rng, across_segments)


def place_spans(
    length: int, count: int, p: float, max_span: int, rng: np.random.Generator
) -> Ids:
    """Choose `count` of the positions 0 to `length` - 1 in spans, and return them sorted.

    A span has n positions with probability proportional to p (1 - p)^(n - 1), n up to `max_span`; the last
    span that is drawn is cut to fit. Every placement of the spans between the other positions is equally
    likely; spans may be adjacent.
    """
    lengths = np.arange(1, max_span + 1)
    odds = p * (1 - p) ** (lengths - 1)
    spans: list[int] = []
    while sum(spans) < count:
        span = int(rng.choice(lengths, p=odds / odds.sum()))
        spans.append(min(span, count - sum(spans)))
    # Spans and single positions are shuffled as items; 0 stands for a position that is not chosen.
    items = rng.permutation(np.array([*spans, *[0] * (length - count)], np.int64))
    return np.flatnonzero(np.repeat(items > 0, np.maximum(items, 1)))


def split_into_words(
    maskable: Bools, starts_word: Bools, across_segments: bool = False
) -> list[Ids]:
    """Return the positions of the maskable tokens, as one array for each word, in order.

    A word also ends before a token that may not be masked, such as [SEP]. With `across_segments` it continues
    after such a token until the next one that `starts_word` marks.
    """
    positions = np.flatnonzero(maskable)
    if not len(positions):
        return []
    if across_segments:
        is_first = starts_word[positions] | (np.arange(len(positions)) == 0)
    else:
        is_first = first_of_words(positions, starts_word)
    return np.split(positions, np.flatnonzero(is_first)[1:])


def first_of_words(positions: Ids, starts_word: Bools) -> Bools:
    """Return for each of some sorted positions whether a word begins there.

    A word begins where `starts_word` (L,) says so, and at a position that does not directly follow the one
    before it in `positions`.
    """
    # The position before the first one is taken to be -2, so that the first is after a gap.
    is_first: Bools = starts_word[positions] | (np.diff(positions, prepend=-2) > 1)
    return is_first


def fill_with_ngrams(
    words: list[Ids],
    max_tokens: int,
    max_ngram: int,
    rng: np.random.Generator,
    across_segments: bool = False,
) -> Ids:
    """Choose n-grams of words with at most `max_tokens` tokens in all, and return their tokens' positions.

    `words` has the positions of the tokens of each word (see `split_into_words`); the result is sorted. An
    n-gram begins at each word, and they are tried in random order. Each has n words, from 1 to `max_ngram`,
    with probability proportional to 1/n; values of n for which it would reach over the end of the text or,
    without `across_segments`, over a special token, are excluded. An n-gram with more tokens than are left is
    shortened by whole words, if need be to none, and one that overlaps with an earlier n-gram is skipped.
    """
    is_taken = np.zeros(len(words), np.bool_)
    follows_previous = _follows_previous(words, across_segments)
    tokens_left = max_tokens
    # The empty array lets the result be concatenated if nothing is chosen.
    chosen = [np.zeros(0, np.int64)]
    for start in rng.permutation(len(words)).tolist():
        if tokens_left <= 0:
            break
        longest = 1
        while (
            longest < max_ngram
            and start + longest < len(words)
            and follows_previous[start + longest]
        ):
            longest += 1
        # Draw n with probability proportional to 1/n.
        n = 1
        if max_ngram > 1:
            odds = 1 / np.arange(1, longest + 1)
            n += int(
                np.searchsorted(
                    np.cumsum(odds), rng.random() * odds.sum(), side="right"
                )
            )
        # Shorten an n-gram that does not fit, and skip one that overlaps with an earlier n-gram.
        while n and sum(map(len, words[start : start + n])) > tokens_left:
            n -= 1
        if n and not is_taken[start : start + n].any():
            is_taken[start : start + n] = True
            chosen += words[start : start + n]
            tokens_left -= sum(map(len, words[start : start + n]))
    return np.sort(np.concatenate(chosen))


def _follows_previous(words: list[Ids], across_segments: bool) -> Bools:
    """Return for each word whether an n-gram may contain both it and the word before it.

    It may not if a special token is between the two words, unless `across_segments` allows this.
    """
    follows = np.ones(len(words), np.bool_)
    if not across_segments:
        for i in range(1, len(words)):
            # A gap between two words is a special token, which ends a segment.
            follows[i] = words[i][0] == words[i - 1][-1] + 1
    return follows
