"""Metrics: the registry, what a score is, and how a corpus is scored, resampled and compared.

A metric is a class derived from `sacrebleu.metrics.base.Metric` (sacreBLEU's own, or one that fills in its abstract methods), with a
classmethod `of(options)` and a `title`.  So every metric is resampled and compared by the same procedure, and brings its signature: the
recipe of its computation, without which two numbers cannot be compared.  This package knows nothing of files.
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
    from sacrebleu.metrics.base import Metric as Engine
    from sacrebleu.metrics.base import Score as EngineScore

METRICS: Registry[type[MetricClass]] = Registry("metric")
METRIC_FAMILIES = {"rouge": ("rouge-1", "rouge-2", "rouge-l")}
"""Names that stand for several metrics."""


class MetricClass(Protocol):
    """What a metric's class has besides sacreBLEU's interface."""

    title: ClassVar[str]

    @classmethod
    def of(cls, options: ScoreConfig) -> Engine: ...


@dataclass(frozen=True, slots=True)
class Score:
    """A number and how it came about.  `mean` and `ci` (half of the 95% interval) are from resampling, where that was asked for; `p` is the
    chance that a difference as large as that to the baseline would arise by itself."""

    name: str
    value: float
    signature: str
    detail: str = ""
    mean: float | None = None
    ci: float | None = None
    p: float | None = None


def bleu(hypotheses: Sequence[str], references: Sequence[str], lowercase: bool = False) -> Score:
    """Corpus BLEU of detokenised text, one reference a line: what validation reports, and `masscli score` on the same lines."""
    return score(hypotheses, [references], ScoreConfig(lowercase=lowercase))[0]


def rouge_scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
    """ROUGE-1, ROUGE-2 and ROUGE-L by the names of their metrics, one reference a line."""
    return dict(
        zip(
            METRIC_FAMILIES["rouge"],
            score(hypotheses, [references], ScoreConfig(metric=("rouge",))),
            strict=True,
        )
    )


def score(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], options: ScoreConfig
) -> list[Score]:
    """One score for each metric of `options`; `references` holds one list of lines for each reference."""
    _same_length({"hypotheses": hypotheses}, references)
    found = []
    for metric, engine in build_metrics(options):
        result = engine.corpus_score(
            hypotheses, references, n_bootstrap=options.bootstrap if options.confidence else 1
        )
        found.append(_score(metric, engine, result, options.confidence))
    return found


def score_lines(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], options: ScoreConfig
) -> list[list[Score]]:
    """For each line, one score for each metric."""
    _same_length({"hypotheses": hypotheses}, references)
    metrics = build_metrics(options)
    return [
        [
            _score(metric, engine, engine.sentence_score(line, alternatives), False)
            for metric, engine in metrics
        ]
        for line, *alternatives in zip(hypotheses, *references, strict=True)
    ]


def compare(
    systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]], options: ScoreConfig
) -> dict[str, list[Score]]:
    """Paired bootstrap resampling: each system against the first."""
    from sacrebleu.significance import PairedTest, Result

    _same_length(systems, references)
    baseline = list(next(iter(systems.values())))
    found: dict[str, list[Score]] = {name: [] for name in systems}
    for metric, engine in build_metrics(
        options
    ):  # one at a time: PairedTest keeps metrics of one title apart by that title alone
        test = PairedTest(
            list(systems.items()),
            {metric.title: engine},
            references,
            test_type="bs",
            n_samples=options.bootstrap,
        )
        signatures, table = test()
        ((title, signature),) = signatures.items()
        for name, result in zip(systems, table[title], strict=True):
            assert isinstance(result, Result) and result.mean is not None and result.ci is not None
            p = None if result.p_value is None else float(result.p_value)
            if p is not None and list(systems[name]) == baseline:
                p = 1.0  # sacreBLEU's estimate, which counts differences above none, would call a system significantly unlike itself
            found[name].append(
                Score(
                    metric.title,
                    float(result.score),
                    str(signature),
                    "",
                    float(result.mean),
                    float(result.ci),
                    p,
                )
            )
    return found


def build_metrics(options: ScoreConfig) -> list[tuple[type[MetricClass], Engine]]:
    """The metrics of `options`, ready to use."""
    names = [name for given in options.metric for name in METRIC_FAMILIES.get(given, (given,))]
    try:
        classes = [METRICS.load(name) for name in dict.fromkeys(names)]
    except ConfigError as error:
        raise error.with_keys(lambda key: "metric" if key == "name" else key) from None
    return [(metric, metric.of(options)) for metric in classes]


def _score(metric: type[MetricClass], engine: Engine, result: EngineScore, resampled: bool) -> Score:
    mean, ci = (
        (float(result._mean), float(result._ci)) if resampled else (None, None)
    )  # sacreBLEU has no public name for them
    return Score(metric.title, float(result.score), str(engine.get_signature()), result._verbose, mean, ci)


def _same_length(systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]]) -> None:
    for name, lines in systems.items():
        for i, reference in enumerate(references, 1):
            if len(lines) != len(reference):
                raise MasscliError(
                    f"{name}: {len(lines)} lines, but reference {i} has {len(reference)}",
                    "each line needs its reference",
                )
        if not lines:
            raise MasscliError(f"{name}: no lines to score")
