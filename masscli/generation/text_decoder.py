"""The interface of a decoder: what a `Translator` asks of whatever computes, PyTorch or CTranslate2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from masscli.data.batches.batch import Ids
from masscli.data.formats.pharaoh import Links
from masscli.generation.config import GenerationConfig
from masscli.generation.hypotheses import Hypothesis


class AlignmentHead(NamedTuple):
    """The heads of cross-attention that say what an output is aligned to."""

    layer: int
    """The decoder layer, counted from 0."""
    heads: int | None
    """Number of first heads of the layer whose weights are averaged; None for all."""


class TextDecoder(Protocol):
    """The interface of a decoder that a `Translator` uses, whether PyTorch or CTranslate2 computes.

    `max_source_length` is the maximum number of tokens of a source, without special tokens, and
    `single_stack` says whether source and output share the positions of one stack. Languages have names, such
    as en.
    """

    config: GenerationConfig
    single_stack: bool
    max_source_length: int

    def max_output_length(self, source_length: int) -> int:
        """Return for how many pieces of output the model has positions, after a source of this length."""
        ...

    def generate(
        self,
        sources: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        *,
        prefixes: Sequence[Sequence[int]] | None = None,
        phrases: Sequence[Sequence[Sequence[int]]] | None = None,
    ) -> list[list[Hypothesis]]:
        """Return the n best outputs in `target_lang`, best first, of each source in `source_lang`.

        For each source, `prefixes` has the pieces that its outputs begin with, and `phrases` the phrases that
        they contain. All are token ids without special tokens.
        """
        ...

    def score(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
    ) -> list[Hypothesis]:
        """Return each target as a hypothesis, scored as an output of the model for its source.

        Sources and targets are token ids without special tokens.
        """
        ...

    def align(
        self,
        sources: Sequence[Ids],
        targets: Sequence[Ids],
        source_lang: str,
        target_lang: str,
        head: AlignmentHead,
    ) -> list[Links]:
        """Return, for each target, the links of its pieces to those of its source, by `head`.

        Sources and targets are token ids without special tokens.
        """
        ...
