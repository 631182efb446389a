"""Choose the output of a beam that is closest to the reference: sequence-level interpolation.

A student that learns from such outputs sees, of the texts that its teacher could have generated, the
one closest to the true translation (Kim and Rush 2016, "Sequence-Level Knowledge Distillation", section
3.3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from masscli.metrics.config import ScoreConfig
from masscli.metrics.sacrebleu_metrics import Bleu, Chrf


def rank_by_closeness(
    texts: Sequence[str], reference: str, metric: Literal["bleu", "chrf"]
) -> list[int]:
    """Return the indices of the texts by their score against the reference, the highest first.

    The score is sentence BLEU (ignoring orders for which a text has no n-gram) or sentence chrF2, both
    from sacreBLEU. Equally close texts keep their order.
    """
    options = ScoreConfig(sentence_level=True)
    scorer: Bleu | Chrf
    if metric == "bleu":
        scorer = Bleu.from_options(options)
    else:
        scorer = Chrf.from_options(options)
    scores = [scorer.sentence_score(text, [reference]).score for text in texts]
    # The index breaks ties, since the outputs come in the order of the model's own scores.
    return sorted(range(len(texts)), key=lambda number: (-scores[number], number))
