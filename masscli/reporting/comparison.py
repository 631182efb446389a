"""Compare the outputs of two models: what changed, what became worse, and how significant that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from masscli.metrics import Score, compare, score_lines
from masscli.metrics.config import ScoreConfig

LINE_METRIC = ScoreConfig(metric=("chrf",))
"""The metric of single lines, chrF: unlike BLEU it needs no smoothing, and it suits short lines."""
LOWER_IS_BETTER = ("TER",)
"""Names of the metrics for which lower is better."""


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A line for which the old and the new model have different outputs."""

    number: int
    """Number of the line in the input, from 1."""
    source: str
    reference: str | None
    old: str
    new: str
    old_score: float
    """chrF of the old output against the reference; 100 if there is no reference."""
    new_score: float
    """chrF of the new output against the reference; against the old output if there is no reference."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of comparing the outputs of an old and a new model for the same lines.

    `lines` is the number of lines, `changed` the number of those whose output differs.
    """

    lines: int
    changed: int
    worst: tuple[ChangedLine, ...]
    """The changed lines whose chrF dropped most, the largest drop first; only lines where it dropped."""
    better: int | None = None
    """Number of changed lines whose new output has the higher chrF; None without references."""
    worse: int | None = None
    """Number of changed lines whose new output has the lower chrF; None without references."""
    old_scores: tuple[Score, ...] = ()
    """Scores of the old outputs over all lines, one for each metric, with confidence intervals; empty without
    references."""
    new_scores: tuple[Score, ...] = ()
    """Scores of the new outputs over all lines, one for each metric, in the order of `old_scores`.

    They have confidence intervals, and the p-value of the difference to the old score. Empty without
    references.
    """

    @property
    def changed_share(self) -> float:
        """The share of lines whose output changed, from 0 to 1."""
        return self.changed / self.lines

    def significantly_worse(self, alpha: float) -> list[str]:
        """Return the names of the metrics in which the new model is worse with a p-value below `alpha`."""
        worse = []
        for old, new in zip(self.old_scores, self.new_scores, strict=True):
            difference = new.value - old.value
            if new.name in LOWER_IS_BETTER:
                difference = -difference
            if difference < 0 and new.p is not None and new.p < alpha:
                worse.append(new.name)
        return worse


def compare_outputs(
    sources: Sequence[str],
    old: Sequence[str],
    new: Sequence[str],
    references: Sequence[str] | None,
    options: ScoreConfig,
    worst: int,
) -> Comparison:
    """Compare the outputs of an old and a new model for the same sources.

    `worst` is the number of changed lines to list, those whose chrF fell most. The metrics of `options` are
    computed only with `references`. There are as many outputs and references as sources, and at least one.
    """
    lines = _changed_lines(sources, old, new, references)
    lost = [line for line in lines if line.new_score < line.old_score]
    lost.sort(key=lambda line: line.new_score - line.old_score)
    comparison = Comparison(len(sources), len(lines), tuple(lost[:worst]))
    if references is None:
        return comparison
    scores = compare({"old": old, "new": new}, [references], options)
    better = sum(line.new_score > line.old_score for line in lines)
    return replace(
        comparison,
        better=better,
        worse=len(lost),
        old_scores=tuple(scores["old"]),
        new_scores=tuple(scores["new"]),
    )


def _changed_lines(
    sources: Sequence[str],
    old: Sequence[str],
    new: Sequence[str],
    references: Sequence[str] | None,
) -> list[ChangedLine]:
    """Return the lines whose output changed, in their order, with the chrF of both outputs.

    Without references the old outputs take their place, so that the old scores are 100.
    """
    # Only changed lines are scored, since the others have the same score.
    numbers = [number for number in range(len(sources)) if old[number] != new[number]]
    old_texts = [old[number] for number in numbers]
    new_texts = [new[number] for number in numbers]
    if references is None:
        # Without a reference, the lines that differ most from before are shown.
        old_scores = [100.0] * len(numbers)
        new_scores = _line_scores(new_texts, old_texts)
    else:
        reference_texts = [references[number] for number in numbers]
        old_scores = _line_scores(old_texts, reference_texts)
        new_scores = _line_scores(new_texts, reference_texts)
    lines = []
    for position, number in enumerate(numbers):
        lines.append(
            ChangedLine(
                number=number + 1,
                source=sources[number],
                reference=references[number] if references is not None else None,
                old=old_texts[position],
                new=new_texts[position],
                old_score=old_scores[position],
                new_score=new_scores[position],
            )
        )
    return lines


def _line_scores(outputs: Sequence[str], references: Sequence[str]) -> list[float]:
    # No line has changed, and there is nothing to score.
    if not outputs:
        return []
    return [
        scores[0].value for scores in score_lines(outputs, [references], LINE_METRIC)
    ]
