"""Which tokens a masked language model predicts, and what is shown in their place.  Pure functions of ids and a generator.

    pieces   k = max(1, round(share * n)) of the tokens at random (Devlin et al. 2019; the rounding is half to even)
    words    whole words, in random order, as long as they fit into k
    ngrams   one to three whole words, n with probability proportional to 1/n (Lan et al. 2020, equation 1)
    released-ngrams  the same, of words and n-grams that may go on behind [SEP], as in the released code
    dynamic  floor(share * n + u) tokens, u uniform, so that the expectation is exact (Liu et al. 2019)
    dynamic-words  the same of words: floor(share * w + u) of w words, each of which is hidden, kept or replaced as a whole (fairseq)

The share is of the whole sequence with its special symbols, which are themselves chosen only where `choosable` says so; a symbol is a word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from masscli.core.rng import Purpose, make_generator
from masscli.data.batches.batch import Ids
from masscli.objectives.shared.corruption import Bools, replace_some

LONGEST = 3
"""Words of the longest n-gram."""


@dataclass(frozen=True)
class Masker:
    """A way to corrupt a sequence.  `most` bounds the tokens that are predicted; `pool` are the ids that random ones are drawn from, or
    all `size` ids where it is None; `static` gives an example the same mask whenever it is seen."""

    unit: str
    share: float
    keep: float
    random: float
    most: int | None
    mask: int
    pool: Ids | None
    size: int
    static: bool
    seed: int

    def __call__(
        self, ids: Ids, choosable: Bools, starts: Bools, row: int, rng: np.random.Generator
    ) -> tuple[Ids, Ids]:
        """(corrupted ids, sorted places of what is to be predicted)."""
        if self.static:
            rng = make_generator(self.seed, Purpose.STATIC_MASKS, row)
        places = self._choose(choosable, starts, rng)
        out = ids.copy()
        word = np.cumsum(begins(places, starts)) - 1 if self.unit == "dynamic-words" else None
        out[places], _ = replace_some(
            ids[places], 1 - self.keep - self.random, self.random, self.mask, self.pool, self.size, rng, word
        )
        return out, places

    def _choose(self, choosable: Bools, starts: Bools, rng: np.random.Generator) -> Ids:
        if self.unit == "dynamic-words":
            units = words(choosable, starts)
            count = int(self.share * (len(units) + int((~choosable).sum())) + rng.random())
            some = [units[i] for i in rng.permutation(len(units))[:count]]
            return fill(some, len(choosable) if self.most is None else self.most, 1, rng)
        exact = self.share * len(choosable)
        count = int(exact + rng.random()) if self.unit == "dynamic" else max(1, round(exact))
        count = min(count, self.most) if self.most is not None else count
        if self.unit in ("pieces", "dynamic"):
            return np.sort(rng.permutation(np.flatnonzero(choosable))[:count])
        across = self.unit == "released-ngrams"
        return fill(
            words(choosable, starts, across), count, 1 if self.unit == "words" else LONGEST, rng, across
        )


def words(choosable: Bools, starts: Bools, across: bool = False) -> list[Ids]:
    """The places of each word, in order; a word reaches over a symbol that may not be chosen only where words go `across`."""
    places = np.flatnonzero(choosable)
    first = starts[places] | (np.arange(len(places)) == 0) if across else begins(places, starts)
    return np.split(places, np.flatnonzero(first)[1:]) if len(places) else []


def begins(places: Ids, starts: Bools) -> Bools:
    """Which of some sorted places begin a word, or go on after a gap."""
    found: Bools = starts[places] | (np.diff(places, prepend=-2) > 1)
    return found


def fill(units: list[Ids], count: int, longest: int, rng: np.random.Generator, across: bool = False) -> Ids:
    """Take n-grams of words in random order while they fit into `count` tokens: sorted places.

    n is drawn with odds 1/n among those that end before the text (or, unless they go `across`, a special symbol) does; one that is too
    long for what is left gives way to shorter ones, one that overlaps with an earlier one is skipped.
    """
    taken = np.zeros(len(units), np.bool_)
    joined = np.array([False, *(across or units[i][0] == units[i - 1][-1] + 1 for i in range(1, len(units)))])
    left, chosen = count, []
    for at in rng.permutation(len(units)).tolist():
        if left <= 0:
            break
        reach = 1
        while reach < longest and at + reach < len(units) and joined[at + reach]:
            reach += 1
        odds = 1 / np.arange(1, reach + 1)
        n = (
            int(np.searchsorted(np.cumsum(odds), rng.random() * odds.sum(), side="right")) + 1
            if longest > 1
            else 1
        )
        while n and sum(map(len, units[at : at + n])) > left:
            n -= 1
        if n and not taken[at : at + n].any():
            taken[at : at + n] = True
            chosen += units[at : at + n]
            left -= sum(map(len, units[at : at + n]))
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def electra_slots(
    choosable: Bools, share: float, most: int, replacement: bool, rng: np.random.Generator
) -> Ids:
    """ELECTRA's slots (spec: objectives.md 4.2): round(share * n), drawn with replacement as in its code, or without."""
    places = np.flatnonzero(choosable)
    count = max(1, min(most, round(share * len(choosable))))
    if not len(places):
        return places
    return np.sort(rng.choice(places, count if replacement else min(count, len(places)), replace=replacement))


def blocks(
    maskable: Bools, share: float, ngram: float, longest: int, single: bool, rng: np.random.Generator
) -> list[Ids]:
    """UniLMv2's Algorithm 1: disjoint spans in the order in which they were drawn, until they hold `share` of the sequence.

    A span has 2..`longest` tokens with probability `ngram`, else one; one that leaves the sequence, or touches a special symbol or an
    earlier span, is drawn again.  `single`: spans of one token only.
    """
    free, wanted, tries = maskable.copy(), share * len(maskable), 0
    out: list[Ids] = []
    while sum(map(len, out)) < wanted and free.any() and tries < 100 * len(free):
        tries += 1  # text that is almost all special symbols may never hold the share
        begin = int(rng.integers(len(free)))
        length = int(rng.integers(2, longest + 1)) if not single and rng.random() < ngram else 1
        span = np.arange(begin, begin + length)
        if span[-1] < len(free) and free[span].all():
            free[span] = False
            out.append(span)
    return out
