"""Score a corpus or its lines, resample scores, and compare systems.

A metric is a subclass of `sacrebleu.metrics.base.Metric` with a `title` and a class method
`from_options`: one of sacreBLEU's own, or a class that implements its abstract methods. So every metric
is resampled and compared by the same procedure and has a signature, which states its settings. Numbers
with different signatures must not be compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from masscli.core.config import ConfigError, Problem, suggest
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.core.registry import Registry
from masscli.metrics.config import ScoreConfig

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric
    from sacrebleu.metrics.base import Score as SacrebleuScore

METRICS: Registry[type[MetricClass]] = Registry("metric")
"""The registry of metrics: maps names, such as `chrf`, to classes."""
METRIC_FAMILIES = {"rouge": ("rouge-1", "rouge-2", "rouge-l")}
"""Names that stand for several metrics, such as `rouge`, with the names of these metrics."""


class MetricClass(Protocol):
    """The interface that the class of a metric must have in addition to sacreBLEU's Metric.

    `title` is the name of the metric in reports, such as `chrF2`.
    """

    title: ClassVar[str]

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Metric:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        ...


@dataclass(frozen=True, slots=True)
class Score:
    """The value of a metric as papers report it (times 100), and how it was computed.

    `name` is the title of the metric, and `detail` is what else sacreBLEU reports, such as n-gram
    precisions. `mean` and `ci`, half of the width of the 95% confidence interval, come from bootstrap
    resampling and are None without it. `p` is the p-value of the difference from the baseline, or None if
    none was computed.
    """

    name: str
    value: float
    signature: str
    detail: str = ""
    mean: float | None = None
    ci: float | None = None
    p: float | None = None


def bleu(
    hypotheses: Sequence[str], references: Sequence[str], lowercase: bool = False
) -> Score:
    """Return corpus BLEU of detokenized text with one reference per line, computed by sacreBLEU (13a)."""
    return score(hypotheses, [references], ScoreConfig(lowercase=lowercase))[0]


def rouge_scores(
    hypotheses: Sequence[str], references: Sequence[str]
) -> dict[str, Score]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L of summaries with one reference per line.

    The keys are the names of the metrics: `rouge-1`, `rouge-2` and `rouge-l`.
    """
    scores = score(hypotheses, [references], ScoreConfig(metric=("rouge",)))
    return dict(zip(METRIC_FAMILIES["rouge"], scores, strict=True))


def score(
    hypotheses: Sequence[str], references: Sequence[Sequence[str]], options: ScoreConfig
) -> list[Score]:
    """Return the corpus score of each metric that `options` names.

    `references` has one or more lists, each with a reference for every hypothesis. Raises MasscliError if
    lengths differ, if there are no lines, or if lines do not suit a metric, and ConfigError if a metric is
    unknown.
    """
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
    """Score every line by itself: return a list for each line, with a score for each metric of `options`.

    `references` has one or more lists, each with a reference for every hypothesis. Raises MasscliError if
    lengths differ, if there are no lines, or for a metric that is defined for a whole corpus only, and
    ConfigError if a metric is unknown.
    """
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
    systems: Mapping[str, Sequence[str]],
    references: Sequence[Sequence[str]],
    options: ScoreConfig,
) -> dict[str, list[Score]]:
    """Compare systems with the first one, the baseline, by paired bootstrap resampling.

    `systems` maps the name of each system to its hypotheses. Returns the scores of each system, one for each
    metric of `options`; those of the baseline have no `p`. Raises MasscliError if lengths differ, if there
    are no lines, or for a metric without scores of single lines, and ConfigError if a metric is unknown.
    """
    from sacrebleu.significance import PairedTest, Result

    _check_lengths(systems, references)
    scores: dict[str, list[Score]] = {name: [] for name in systems}
    # One metric at a time, because PairedTest distinguishes metrics only by their titles.
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
        baseline = table[title][0]
        for name, result in zip(systems, table[title], strict=True):
            # The types of sacreBLEU allow for tests without resampling.
            assert isinstance(baseline, Result)
            assert (
                isinstance(result, Result)
                and result.mean is not None
                and result.ci is not None
            )
            p = None if result.p_value is None else float(result.p_value)
            # sacreBLEU counts the samples whose difference is above that of the systems. Where none differs
            # at all, there is no such sample, so it would call equal scores significantly different.
            if p is not None and result.score == baseline.score:
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


def build_metrics(
    options: ScoreConfig, others: Sequence[str] = ()
) -> list[tuple[type[MetricClass], Metric]]:
    """Return the class and an object of each metric that `options` names.

    A family of metrics stands for its members, and each metric is built once. Raises ConfigError for an
    unknown name; the message also lists `others`, metrics that the caller computes in another way.
    """
    known = [*METRICS.names(), *METRIC_FAMILIES, *others]
    for name in options.metric:
        if ":" not in name and name not in known:
            problem = f"no metric called {name!r}{suggest(name, known)}"
            raise ConfigError(Problem("metric", problem))
    names: list[str] = []
    for name in options.metric:
        names += METRIC_FAMILIES.get(name, (name,))
    # Only the user names metrics, never a file, so the code of any metric may be run.
    for name in names:
        METRICS.allow(name)
    # A metric that is named twice, or is a member of a family as well, is computed once.
    try:
        classes = [METRICS.load(name) for name in dict.fromkeys(names)]
    except ConfigError as error:
        # The registry knows a `name`; the user has typed --metric.
        raise error.with_keys(lambda key: "metric" if key == "name" else key) from None
    return [(cls, cls.from_options(options)) for cls in classes]


def _to_score(
    cls: type[MetricClass], metric: Metric, result: SacrebleuScore, resampled: bool
) -> Score:
    """Turn a score of sacreBLEU into a Score; `resampled` says whether it has a mean and an interval."""
    mean = ci = None
    if resampled:
        # sacreBLEU has no public name for these.
        mean = float(result._mean)
        ci = float(result._ci)
    signature = str(metric.get_signature())
    return Score(cls.title, float(result.score), signature, result._verbose, mean, ci)


def _check_lengths(
    systems: Mapping[str, Sequence[str]], references: Sequence[Sequence[str]]
) -> None:
    """Raise MasscliError if a system has no lines, or not as many as each reference."""
    for name, lines in systems.items():
        for number, reference in enumerate(references, 1):
            if len(lines) != len(reference):
                raise MasscliError(
                    f"{name}: {count_of(len(lines), 'line')}, but reference {number} has {len(reference)}",
                    "each line needs its reference",
                )
        if not lines:
            raise MasscliError(f"{name}: no lines to score")
