"""Explain a BLEU of exactly 0, which does not mean that nothing is right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sacrebleu.metrics.bleu import BLEU, BLEUScore

from masscli.metrics.config import ScoreConfig
from masscli.metrics.scoring import Score, build_metrics


def explain_zero_bleu(
    name: str,
    scores: Sequence[Score],
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    options: ScoreConfig,
) -> Iterator[str]:
    """Yield an explanation for each kind of BLEU in `scores` that is 0 although something is right.

    `name` is how messages call the hypotheses, and `scores` are those over all lines by `options`. As in
    sacreBLEU, BLEU is 0 if no hypothesis is long enough for a 4-gram or, without smoothing, if no 4-gram is
    right; the same holds for shorter n-grams. It is also 0 if the hypotheses are so much shorter than the
    references that the brevity penalty is no longer a positive float.
    """
    zeros = {score.name for score in scores if score.value == 0}
    if not zeros:
        return
    for cls, metric in build_metrics(options):
        if cls.title in zeros and isinstance(metric, BLEU):
            # A score does not say how many n-grams were right.
            result = metric.corpus_score(hypotheses, references)
            if result.counts[0] > 0:
                yield f"{name}: {cls.title} is 0 although words are right: {_reason(result)}"


def _reason(result: BLEUScore) -> str:
    """Return why BLEU is 0 although some words are right, and what to measure instead."""
    if result.bp == 0:
        return (
            f"the hypotheses have {result.sys_len} words and the references {result.ref_len}, so that the "
            "brevity penalty is 0; is the output complete?"
        )
    for order, total in enumerate(result.totals, 1):
        if total == 0:
            return (
                f"no line has {order} words, so there is no {order}-gram; --metric chrf measures such short "
                "lines, and --sentence-level leaves missing n-grams out"
            )
    order = result.counts.index(0) + 1
    return (
        f"no {order}-gram is, and nothing is smoothed; --metric bleu smooths, and --metric chrf measures "
        "parts of words"
    )
