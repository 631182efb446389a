"""Compare the outputs of two models: what changed, what became worse, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from masscli.core.errors import MasscliError
from masscli.metrics import Score, compare, score_lines
from masscli.metrics.config import ScoreConfig

LINE_METRIC = ScoreConfig(metric=("chrf",))
"""The metric of single lines: chrF has no smoothing to choose, and is fair to short lines."""
LOWER_IS_BETTER = ("TER",)


@dataclass(frozen=True, slots=True)
class ChangedLine:
    """A line whose output changed."""

    number: int
    """Its number, from 1."""
    source: str
    reference: str | None
    old: str
    new: str
    old_score: float
    """chrF of the old output against the reference, or 100 without one."""
    new_score: float
    """chrF of the new output against the reference, or against the old output without one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outputs of two models, compared."""

    lines: int
    changed: int
    worst: tuple[ChangedLine, ...]
    """The lines that lost most, the worst one first."""
    better: int | None
    """Changed lines with a higher score than before; None without references."""
    worse: int | None
    """Changed lines with a lower score than before; None without references."""
    old_scores: tuple[Score, ...] = ()
    new_scores: tuple[Score, ...] = ()
    """Scores of all lines, with confidence intervals, and the p-value of the difference to the old ones."""

    @property
    def changed_share(self) -> float:
        """Return the share of lines whose output changed."""
        return self.changed / self.lines

    def significantly_worse(self, alpha: float) -> list[str]:
        """Return the metrics in which the new model is worse, with a p-value below `alpha`."""
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
    """Compare two lists of outputs for the same sources; keep the `worst` lines that lost most.

    Raises MasscliError if there are no lines, or not as many of one kind as of the others.
    """
    _check_lengths(len(sources), {"the old outputs": old, "the new outputs": new, "--ref": references})
    changed = [i for i in range(len(sources)) if old[i] != new[i]]
    old_scores = [100.0] * len(changed)
    if references is not None:
        old_scores = _line_scores([old[i] for i in changed], [references[i] for i in changed])
        new_scores = _line_scores([new[i] for i in changed], [references[i] for i in changed])
    else:
        # Without a reference, what differs most from before is worth a look.
        new_scores = _line_scores([new[i] for i in changed], [old[i] for i in changed])
    lines = []
    for i, old_score, new_score in zip(changed, old_scores, new_scores, strict=True):
        reference = None if references is None else references[i]
        lines.append(ChangedLine(i + 1, sources[i], reference, old[i], new[i], old_score, new_score))
    lost_most = sorted(lines, key=lambda line: line.new_score - line.old_score)
    lost = [line for line in lost_most if line.new_score < line.old_score]
    if references is None:
        return Comparison(len(sources), len(changed), tuple(lost[:worst]), None, None)
    better = sum(line.new_score > line.old_score for line in lines)
    scores = compare({"old": old, "new": new}, [references], options)
    return Comparison(
        len(sources),
        len(changed),
        tuple(lost[:worst]),
        better,
        len(lost),
        tuple(scores["old"]),
        tuple(scores["new"]),
    )


def _line_scores(outputs: Sequence[str], references: Sequence[str]) -> list[float]:
    if not outputs:
        return []
    return [scores[0].value for scores in score_lines(outputs, [references], LINE_METRIC)]


def _check_lengths(count: int, texts: dict[str, Sequence[str] | None]) -> None:
    if not count:
        raise MasscliError("--input: has no lines")
    for name, lines in texts.items():
        if lines is not None and len(lines) != count:
            raise MasscliError(
                f"{name}: {len(lines)} lines, but --input has {count}", "each line of the input needs one"
            )
