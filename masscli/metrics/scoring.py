"""Score a corpus or its lines, resample scores, and compare systems.

A metric is a subclass of `sacrebleu.metrics.base.Metric` with a `title` and a class method `from_options`:
one of sacreBLEU's own, or a class that fills in its abstract methods. So every metric is resampled and
compared by the same procedure, and has a signature: the settings of its computation, without which two
numbers cannot be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from masscli.core.config import ConfigError
from masscli.core.errors import MasscliError
from masscli.core.registry import Registry
from masscli.metrics.config import ScoreConfig

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric
    from sacrebleu.metrics.base import Score as SacrebleuScore

METRICS: Registry[type[MetricClass]] = Registry("metric")
"""Every metric by its name."""
METRIC_FAMILIES = {"rouge": ("rouge-1", "rouge-2", "rouge-l")}
"""Names that stand for several metrics."""


class MetricClass(Protocol):
    """The interface that the class of a metric has besides that of sacreBLEU."""

    title: ClassVar[str]

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Metric:
        """Return the metric with the settings of `options`."""
        ...


@dataclass(frozen=True, slots=True)
class Score:
    """The value of a metric and how it was computed.

    `mean` and `ci`, half of the 95% confidence interval, come from resampling and are None without it. `p`
    is the probability that a difference from the baseline at least as large would arise by chance.
    """

    name: str
    value: float
    signature: str
    detail: str = ""
    mean: float | None = None
    ci: float | None = None
    p: float | None = None


def bleu(hypotheses: Sequence[str], references: Sequence[str], lowercase: bool = False) -> Score:
    """Return corpus BLEU of detokenized text, as validation and `masscli score` report it."""
    return score(hypotheses, [references], ScoreConfig(lowercase=lowercase))[0]


def rouge_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L by the names of their metrics, with one reference a line."""
    scores = score(hypotheses, [references], ScoreConfig(metric=("rouge",)))
    return dict(zip(METRIC_FAMILIES["rouge"], scores, strict=True))


def score(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], options: ScoreConfig
) -> list[Score]:
    """Return the score of each metric in `options`; `references` has one list of lines for each reference."""
    _check_lengths({"hypotheses": hypotheses}, references)
    samples = options.bootstrap if options.confidence else 1
    scores = []
    for cls, metric in build_metrics(options):
        result = metric.corpus_score(hypotheses, references, n_bootstrap=samples)
        scores.append(_to_score(cls, metric, result, resampled=options.confidence))
    return scores


def score_lines(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], options: ScoreConfig
) -> list[list[Score]]:
    """Return for each line one score for each metric."""
    _check_lengths({"hypotheses": hypotheses}, references)
    # Building a metric may load a tokenizer, so one serves all lines.
    metrics = build_metrics(options)
    scores_of_lines = []
    for hypothesis, *line_references in zip(hypotheses, *references, strict=True):
        scores = []
        for cls, metric in metrics:
            result = metric.sentence_score(hypothesis, line_references)
            scores.append(_to_score(cls, metric, result, resampled=False))
        scores_of_lines.append(scores)
    return scores_of_lines


def compare(
    systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]], options: ScoreConfig
) -> dict[str, list[Score]]:
    """Compare each system with the first one by paired bootstrap resampling; return all scores by system."""
    from sacrebleu.significance import PairedTest, Result

    _check_lengths(systems, references)
    baseline = list(next(iter(systems.values())))
    scores: dict[str, list[Score]] = {name: [] for name in systems}
    # One metric at a time, because PairedTest tells metrics apart by their title alone.
    for cls, metric in build_metrics(options):
        test = PairedTest(
            list(systems.items()),
            {cls.title: metric},
            references,
            test_type="bs",
            n_samples=options.bootstrap,
        )
        signatures, table = test()
        ((title, signature),) = signatures.items()
        for name, result in zip(systems, table[title], strict=True):
            # The types of sacreBLEU allow for tests without resampling.
            assert isinstance(result, Result) and result.mean is not None and result.ci is not None
            p = None if result.p_value is None else float(result.p_value)
            # sacreBLEU counts the samples whose difference is above that of the systems. For two equal
            # systems there is no such sample, so it would call them significantly different.
            if p is not None and list(systems[name]) == baseline:
                p = 1.0
            scores[name].append(
                Score(
                    name=cls.title,
                    value=float(result.score),
                    signature=str(signature),
                    mean=float(result.mean),
                    ci=float(result.ci),
                    p=p,
                )
            )
    return scores


def build_metrics(options: ScoreConfig) -> list[tuple[type[MetricClass], Metric]]:
    """Return the class and the object of each metric of `options`. Raises ConfigError for an unknown name."""
    names: list[str] = []
    for name in options.metric:
        names += METRIC_FAMILIES.get(name, (name,))
    # No file names a metric, only the user, so the code of any may be run.
    for name in names:
        METRICS.allow(name)
    # A metric that is named twice, or is a member of a family as well, is computed once.
    try:
        classes = [METRICS.load(name) for name in dict.fromkeys(names)]
    except ConfigError as error:
        # The registry knows a `name`; the user has typed --metric.
        raise error.with_keys(lambda key: "metric" if key == "name" else key) from None
    return [(cls, cls.from_options(options)) for cls in classes]


def _to_score(cls: type[MetricClass], metric: Metric, result: SacrebleuScore, resampled: bool) -> Score:
    mean = ci = None
    if resampled:
        # sacreBLEU has no public name for these.
        mean = float(result._mean)
        ci = float(result._ci)
    signature = str(metric.get_signature())
    return Score(cls.title, float(result.score), signature, result._verbose, mean, ci)


def _check_lengths(systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]]) -> None:
    for name, lines in systems.items():
        for number, reference in enumerate(references, 1):
            if len(lines) != len(reference):
                raise MasscliError(
                    f"{name}: {len(lines)} lines, but reference {number} has {len(reference)}",
                    "each line needs its reference",
                )
        if not lines:
            raise MasscliError(f"{name}: no lines to score")
