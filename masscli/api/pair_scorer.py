"""Score pairs of lines by two translation models: dual conditional cross-entropy (Junczys-Dowmunt 2018).

With H(y|x) the cross-entropy per piece of a target given its source, and H(x|y) that of the other
direction, the score is exp(-(|H(y|x) - H(x|y)| + (H(y|x) + H(x|y)) / 2)): 1 for a pair that both models
consider certain, and near 0 if they do not, or disagree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from masscli.api.ensemble import Ensemble
from masscli.api.text_model import TextModel
from masscli.data.batches.batch import Ids
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import select
from masscli.generation.translator import Translator
from masscli.text.unknown_pieces import UnknownPieces


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
        self.languages = languages
        self.runs = (forward, backward)
        self.unknown: dict[tuple[Path, str], UnknownPieces] = {}
        """The unknown pieces of all scored text, by the run that read it and the language."""
        self._ensembles: dict[Path, Ensemble] = {}
        for path in self.runs:
            # One run for both directions is opened, and its weights are loaded, once.
            if path not in self._ensembles:
                self._ensembles[path] = Ensemble.open([path], device, precision)
                for language in languages:
                    self.unknown[path, language] = UnknownPieces()
        self.warnings: list[str] = []
        """What a user should know of the runs, such as that one has not learned its direction."""
        self._translators: list[Translator] = []
        for option, path, first, second in (
            ("--forward", forward, source, target),
            ("--backward", backward, target, source),
        ):
            model = TextModel.open(self._ensembles[path], source=first, target=second)
            self.warnings += [f"{option}: {warning}" for warning in model.warnings]
            self._translators.append(
                model.translator(
                    model.decoder(GenerationConfig(), batch_tokens=batch_tokens)
                )
            )

    def score(
        self, sources: Sequence[str], targets: Sequence[str], numbers: Sequence[int]
    ) -> list[PairScore | None]:
        """Return the score of each pair, or None where a line is too long for the positions of a model.

        `targets` and `numbers` have a line and its number, by which `unknown` lists it, for each line of
        `sources`.
        """
        source, target = self.languages
        encoded: dict[tuple[Path, str], list[Ids]] = {}
        for path in self._ensembles:
            encoded[path, source] = self._encode(path, source, sources, numbers)
            encoded[path, target] = self._encode(path, target, targets, numbers)
        forward_run, backward_run = self.runs
        forward_translator, backward_translator = self._translators
        forward = _cross_entropies(
            forward_translator,
            encoded[forward_run, source],
            encoded[forward_run, target],
            source,
            target,
        )
        backward = _cross_entropies(
            backward_translator,
            encoded[backward_run, target],
            encoded[backward_run, source],
            target,
            source,
        )
        scores = []
        for forward_entropy, backward_entropy in zip(forward, backward, strict=True):
            scores.append(pair_score(forward_entropy, backward_entropy))
        return scores

    def _encode(
        self, path: Path, language: str, lines: Sequence[str], numbers: Sequence[int]
    ) -> list[Ids]:
        """Return the ids of numbered lines in the vocabulary of a run, and count their unknown pieces."""
        tokenizer = self._ensembles[path].tokenizer
        rows = []
        for number, ids in zip(
            numbers, tokenizer.encode_lines(lines, language), strict=True
        ):
            self.unknown[path, language].add(tokenizer, number, ids)
            rows.append(np.asarray(ids, np.int64))
        return rows


def _cross_entropies(
    translator: Translator,
    sources: Sequence[Ids],
    targets: Sequence[Ids],
    source: str,
    target: str,
) -> list[float | None]:
    """Return the cross-entropy of each target given its source, in nats per piece, end symbol included.

    Both are token ids, in the languages `source` and `target`. The result is None for a pair that is too long
    for the model.
    """
    decoder = translator.decoder
    # A truncated line would get the score of a different line, so a pair that is too long gets none.
    fitting = []
    for number, (source_ids, target_ids) in enumerate(
        zip(sources, targets, strict=True)
    ):
        fits = len(source_ids) <= translator.max_source_length
        if fits and len(target_ids) <= decoder.max_output_length(len(source_ids)):
            fitting.append(number)
    scored = decoder.score(
        select(sources, fitting), select(targets, fitting), source, target
    )
    entropies: list[float | None] = [None] * len(sources)
    for number, hypothesis in zip(fitting, scored, strict=True):
        entropies[number] = -math.fsum(hypothesis.token_scores) / len(
            hypothesis.token_scores
        )
    return entropies


def pair_score(forward: float | None, backward: float | None) -> PairScore | None:
    """Return the score of a pair from its two cross-entropies in nats; None if one of them is None."""
    if forward is None or backward is None:
        return None
    score = math.exp(-(abs(forward - backward) + (forward + backward) / 2))
    return PairScore(score, forward, backward)
