"""A vocabulary shortlist: for each source piece, the target pieces that an output may contain.

The output layer of a model then computes a few hundred logits for a sentence instead of V (Jean et al.
2015, section 3.3; L'Hostis, Grangier and Auli 2016). `masscli.generation.shortlist_file` reads and
writes its file.

Shapes: S sentences, U ids that at least one sentence of a batch may use, V vocabulary size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Ids
from masscli.generation.constraints import Requirements
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.stepper import Stepper
from masscli.models.output_subset import Candidates
from masscli.text.vocabulary import Vocabulary

Ngram = tuple[int, ...]
"""The ids of successive source pieces; the empty one stands for every sentence."""


@dataclass(frozen=True)
class Shortlist:
    """The target pieces that may be generated, as ids: those of each source n-gram, and those for all."""

    candidates: Mapping[Ngram, Ids]
    """The candidates of each n-gram of source pieces. The empty n-gram has those of every sentence."""
    direction: str | None = None
    """Source and target language, such as en-de; None if the file does not say it."""

    # Constant, and asked for with each sentence.
    @cached_property
    def longest(self) -> int:
        """The number of pieces of the longest source n-gram."""
        return max(map(len, self.candidates), default=0)

    def require_direction(self, source_lang: str, target_lang: str) -> None:
        """Raise MasscliError if this shortlist is for another direction."""
        direction = f"{source_lang}-{target_lang}"
        if self.direction not in (None, direction):
            raise MasscliError(
                f"--shortlist: the file is for {self.direction}, not for {direction}",
                f"make one with masscli shortlist DATA -s {source_lang} -t {target_lang}",
            )

    def mark(self, source: Ids, allowed: NDArray[np.bool_]) -> None:
        """Set the entries of `allowed` (V,) to True, in place, for all candidates of a source sentence."""
        pieces = tuple(source.tolist())
        # A file from another program need not have such a line.
        if () in self.candidates:
            allowed[self.candidates[()]] = True
        for size in range(1, self.longest + 1):
            for start in range(len(pieces) - size + 1):
                ids = self.candidates.get(pieces[start : start + size])
                if ids is not None:
                    allowed[ids] = True


class ReducedVocabulary:
    """A vocabulary of the U ids that the sentences of a batch may use, numbered from 0 in their order.

    A search works with these numbers as it does with ids. Each sentence may use its own candidates only, so
    that its result does not depend on the other sentences of its batch. Every sentence may also use the
    symbols for the start, the end and an unknown piece, as in CTranslate2. The other special ids have
    numbers, since the search has rules for them, but no probability unless they are candidates.
    """

    def __init__(
        self,
        shortlist: Shortlist,
        vocabulary: Vocabulary,
        sources: Sequence[Ids],
        start: int,
        requirements: Requirements,
        device: torch.device,
    ) -> None:
        """Collect the candidates of S source sentences, which have their special tokens.

        The decoder's first input, `start`, is a candidate of all sentences, and what the requirements name
        is one of the sentence for which they do.
        """
        allowed = np.zeros((len(sources), vocabulary.size), np.bool_)
        allowed[:, [vocabulary.bos, vocabulary.eos, vocabulary.unk, start]] = True
        allowed[:, list(requirements.forced_tokens)] = True
        for number, (row, source) in enumerate(zip(allowed, sources, strict=True)):
            shortlist.mark(source, row)
            if requirements.prefixes is not None:
                row[list(requirements.prefixes[number])] = True
            if requirements.phrases is not None:
                row[list(chain.from_iterable(requirements.phrases[number]))] = True
        is_used: NDArray[np.bool_] = np.logical_or.reduce(allowed, axis=0)
        # The search looks up the special ids of the vocabulary, so all of them need a number.
        is_used[sorted(vocabulary.special_ids)] = True
        used = np.flatnonzero(is_used)
        self.candidates = Candidates(
            torch.from_numpy(used).to(device),
            torch.from_numpy(allowed[:, used]).to(device),
        )
        # The number of each id that is used; the other entries are never looked up.
        self._numbers = np.zeros(vocabulary.size, np.int64)
        self._numbers[used] = np.arange(len(used))
        self._ids = used
        self.vocabulary = self._renumber(vocabulary)

    def numbers(self, ids: Sequence[int]) -> list[int]:
        """Return the numbers of ids in this vocabulary: their places among the U candidates, from 0.

        All of them must be candidates.
        """
        numbers: list[int] = self._numbers[list(ids)].tolist()
        return numbers

    def number_requirements(self, requirements: Requirements) -> Requirements:
        """Return the requirements that this vocabulary was made with, with its numbers in place of ids."""
        prefixes = requirements.prefixes
        if prefixes is not None:
            prefixes = [self.numbers(prefix) for prefix in prefixes]
        phrases = requirements.phrases
        if phrases is not None:
            phrases = [
                [self.numbers(phrase) for phrase in of_sentence]
                for of_sentence in phrases
            ]
        allowed = requirements.allowed
        if allowed is not None:
            allowed = allowed[self.candidates.ids.cpu()]
        return Requirements(
            requirements.limits,
            prefixes,
            phrases,
            self.numbers(requirements.forced_tokens),
            allowed,
        )

    def restore(self, hypothesis: Hypothesis) -> Hypothesis:
        """Return a hypothesis whose pieces are numbers of this vocabulary with their ids in the whole one."""
        return replace(hypothesis, ids=tuple(self._ids[list(hypothesis.ids)].tolist()))

    def _renumber(self, vocabulary: Vocabulary) -> Vocabulary:
        """Return the vocabulary of only the candidates, whose ids are their positions among them."""
        roles = (vocabulary.pad, vocabulary.bos, vocabulary.eos, vocabulary.unk)
        pad, bos, eos, unk = self.numbers(roles)
        mask, cls, sep = self.numbers((vocabulary.mask, vocabulary.cls, vocabulary.sep))
        languages = {
            name: self.numbers([number])[0]
            for name, number in vocabulary.languages.items()
        }
        return replace(
            vocabulary,
            size=len(self._ids),
            pad=pad,
            bos=bos,
            eos=eos,
            unk=unk,
            mask=mask,
            cls=cls,
            sep=sep,
            spare=tuple(self.numbers(vocabulary.spare)),
            languages=languages,
            # The search is given the start of an output, so the shortlist does not need these.
            decoder_start=None,
            forced_prefix=(),
            id_ranges=None,
        )


class ReducedStepper:
    """A stepper over numbers of a reduced vocabulary, around one that reads ids.

    `stepper` must return log-probabilities of only the candidates; `ids` (U,) are the candidates.
    """

    def __init__(self, stepper: Stepper, ids: Tensor) -> None:
        self.stepper = stepper
        self.ids = ids
        self.vocab_size = len(ids)

    def __call__(self, ids: Tensor) -> Tensor:
        """Read the last numbers (N,) of all rows; return the log-probabilities (N, U) of the next ones.

        The search does not know about the reduced vocabulary and treats these numbers as ids.
        """
        return self.stepper(self.ids[ids])

    def reorder(self, parents: Tensor) -> None:
        """Give each row n the history of row `parents[n]` (N,), a row of the same sentence."""
        self.stepper.reorder(parents)

    def keep(self, sentences: Tensor) -> None:
        """Drop all sentences but those with these indices (1-D)."""
        self.stepper.keep(sentences)
