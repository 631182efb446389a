"""Score pairs of lines by two translation models: dual conditional cross-entropy (Junczys-Dowmunt 2018).

With H(y|x) the cross-entropy per piece of a target given its source, and H(x|y) that of the other
direction, the score is exp(-(|H(y|x) - H(x|y)| + (H(y|x) + H(x|y)) / 2)): 1 for a pair of which both models
are sure, and near 0 if they are not, or disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masscli.api.ensemble import Ensemble
from masscli.api.text_model import TextModel
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import select
from masscli.generation.translator import Translator


class PairScore(NamedTuple):
    """The score of a pair of lines, from 0 to 1, and its two cross-entropies in nats per piece.

    `forward` is that of the target given the source, `backward` that of the source given the target.
    """

    score: float
    forward: float
    backward: float


class PairScorer:
    """Scores pairs of lines with two translation models, one for each direction.

    Both may be the same run if it translates in both directions.
    """

    def __init__(
        self,
        forward: Path,
        backward: Path,
        languages: tuple[str, str],
        *,
        batch_tokens: int = 8000,
        device: str = "auto",
        precision: str = "auto",
    ) -> None:
        """Open the runs `forward` and `backward` for `languages`, the (source, target) languages.

        Raises MasscliError if one of them cannot generate text, or does not know the languages.
        """
        source, target = languages
        self._translators: list[tuple[Translator, str, str]] = []
        for path, first, second in ((forward, source, target), (backward, target, source)):
            model = TextModel.open(Ensemble.open([path], device, precision), source=first, target=second)
            translator = model.translator(GenerationConfig(), batch_tokens=batch_tokens)
            self._translators.append((translator, first, second))

    def score(self, sources: Sequence[str], targets: Sequence[str]) -> list[PairScore | None]:
        """Return the score of each pair, or None where a line is too long for the positions of a model.

        `targets` has a line for each line of `sources`.
        """
        forward = self._cross_entropies(0, sources, targets)
        backward = self._cross_entropies(1, targets, sources)
        scores = []
        for forward_entropy, backward_entropy in zip(forward, backward, strict=True):
            scores.append(pair_score(forward_entropy, backward_entropy))
        return scores

    def _cross_entropies(
        self, direction: int, sources: Sequence[str], targets: Sequence[str]
    ) -> list[float | None]:
        """Return the cross-entropy of each target given its source, in nats per piece, end symbol included.

        `direction` is 0 for the forward and 1 for the backward model. The result is None for a pair that is
        too long for the model.
        """
        translator, source, target = self._translators[direction]
        decoder = translator.decoder
        source_ids = [np.asarray(ids) for ids in translator.tokenizer.encode_lines(sources, source)]
        target_ids = [np.asarray(ids) for ids in translator.tokenizer.encode_lines(targets, target)]
        # A truncated line would get the score of another line, so what is too long gets none.
        fitting = []
        for number, (first, second) in enumerate(zip(source_ids, target_ids, strict=True)):
            fits = len(first) <= translator.max_source_length
            if fits and len(second) <= decoder.max_output_length(len(first)):
                fitting.append(number)
        scored = decoder.score(select(source_ids, fitting), select(target_ids, fitting), source, target)
        entropies: list[float | None] = [None] * len(source_ids)
        for number, hypothesis in zip(fitting, scored, strict=True):
            entropies[number] = -math.fsum(hypothesis.token_scores) / len(hypothesis.token_scores)
        return entropies


def pair_score(forward: float | None, backward: float | None) -> PairScore | None:
    """Return the score of a pair from its two cross-entropies in nats; None if one of them is None."""
    if forward is None or backward is None:
        return None
    score = math.exp(-(abs(forward - backward) + (forward + backward) / 2))
    return PairScore(score, forward, backward)
