"""Log scores with tags, and summarize the logged scores over seeds.

`masscli score --append FILE` adds one JSON object per score to FILE. An experiment appends the scores of all
its runs to the same file, each with tags such as method=mass and seed=1; `masscli report FILE` groups them by
all tags except the seed.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from masscli.core.appended_files import append_json_lines
from masscli.core.errors import MasscliError
from masscli.core.json_text import parse_json
from masscli.text.corpus import iter_lines
from masscli.text.single_line import json_line

LARGEST = 1e100
"""Largest absolute value of a score. Anything beyond is not a score, and its variance may overflow."""

SEED = "seed"
"""The tag that numbers the repetitions of one experiment."""

Tags = tuple[tuple[str, str], ...]
"""Tags in the order in which they were given, as (name, value)."""


@dataclass(frozen=True, slots=True)
class LoggedScore:
    """One score of one run in one metric, with the signature of the metric and the tags of the run."""

    metric: str
    value: float
    signature: str
    tags: Tags

    @property
    def seed(self) -> str:
        """The value of the tag `seed`, or an empty string if the score has no such tag."""
        return dict(self.tags).get(SEED, "")

    @property
    def group(self) -> Tags:
        """All tags except `seed`; scores with the same group are repetitions of one experiment."""
        return tuple(tag for tag in self.tags if tag[0] != SEED)


@dataclass(frozen=True, slots=True)
class Summary:
    """The mean and standard deviation over the `count` scores of one group in one metric."""

    mean: float
    deviation: float
    """Sample standard deviation over seeds; 0 for a single score."""
    count: int


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The comparison of a group with its baseline in one metric, over the `count` seeds that both have.

    `difference` is the mean over these seeds of the group's score minus the baseline's.
    """

    difference: float
    p: float | None
    """Two-sided p-value of the paired t-test; None with fewer than two common seeds."""
    count: int


def parse_tags(items: Sequence[str] | None, flag: str) -> dict[str, str]:
    """Return the tags by name that `items`, the values NAME=VALUE of a repeated option, give.

    `flag` is the name of the option, for messages. Raises MasscliError if an item has another form, or if a
    tag is given twice.
    """
    tags: dict[str, str] = {}
    for item in items or []:
        name, equals, value = item.partition("=")
        if not name or not equals:
            raise MasscliError(
                f"{flag} {item}: expected NAME=VALUE", f"such as {flag} method=mass"
            )
        if name in tags:
            raise MasscliError(f"{flag} {name}: given twice", "give each tag once")
        tags[name] = value
    return tags


def append_scores(path: Path, scores: Sequence[LoggedScore]) -> None:
    """Append scores to the log file `path`, one JSON object per line; the file is created if needed.

    Raises MasscliError if the path is not in an existing folder, or is that of something else than a file.
    """
    lines = []
    for score in scores:
        lines.append(json_line({**asdict(score), "tags": dict(score.tags)}) + "\n")
    try:
        append_json_lines(path, "".join(lines).encode())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MasscliError(
            f"--append {path}: {error.strerror}", "name a file in a folder that exists"
        ) from None
    except MasscliError as error:
        raise MasscliError(f"--append {error.message}", "name a file") from None


def latest_scores(scores: Sequence[LoggedScore]) -> list[LoggedScore]:
    """Return the last score of each metric and tags."""
    latest: dict[tuple[str, Tags], LoggedScore] = {}
    for score in scores:
        latest[score.metric, score.tags] = score
    return list(latest.values())


def replaced_scores(scores: Sequence[LoggedScore]) -> list[LoggedScore]:
    """Return the scores that a later one of the same metric and tags, but with another value, replaces.

    A command that is repeated logs the same value again. Another value was measured on something else, which
    a tag should say.
    """
    later: dict[tuple[str, Tags], float] = {}
    replaced = []
    for score in reversed(scores):
        value = later.setdefault((score.metric, score.tags), score.value)
        if value != score.value:
            replaced.append(score)
    return replaced[::-1]


def read_scores(path: Path) -> list[LoggedScore]:
    """Read all scores of a log, in its order.

    Raises MasscliError if the file holds no scores, or with the line number if a line is not a score, or if
    two scores of one metric have different signatures, so that they cannot be compared.
    """
    scores: list[LoggedScore] = []
    signatures: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(iter_lines(path), 1):
        if not line.strip():
            continue
        score = _parse(line, f"{path}:{number}")
        # The first score of a metric says how it is computed; the others are compared with it.
        signature, first = signatures.setdefault(
            score.metric, (score.signature, number)
        )
        if score.signature != signature:
            raise MasscliError(
                f"{path}:{number}: {score.metric} was computed with different settings from line {first}",
                f"compare the signatures: {score.signature} and {signature}",
            )
        scores.append(score)
    if not scores:
        raise MasscliError(
            f"{path}: holds no scores", "masscli score --append FILE writes them"
        )
    return scores


def summarize(scores: Sequence[LoggedScore]) -> dict[tuple[Tags, str], Summary]:
    """Return the mean and standard deviation over seeds, by (group, metric)."""
    summaries = {}
    for key, values in _by_group(scores).items():
        numbers = list(values.values())
        # A sample of one has no standard deviation.
        deviation = 0.0
        if len(numbers) > 1:
            deviation = statistics.stdev(numbers)
        summaries[key] = Summary(statistics.fmean(numbers), deviation, len(numbers))
    return summaries


def compare_with_baseline(
    scores: Sequence[LoggedScore], baseline: Mapping[str, str]
) -> dict[tuple[Tags, str], PairedTest]:
    """Compare each group with its baseline by a paired t-test over common seeds, by (group, metric).

    The baseline of a group is the group that has the tag values of `baseline` and otherwise the same tags.
    Groups without a baseline or a common seed, and baselines, are left out. Raises MasscliError if no group
    has the tags of `baseline`.
    """
    groups = _by_group(scores)
    if not any(baseline.items() <= dict(group).items() for group, _ in groups):
        tags = ", ".join(f"{name}={value}" for name, value in baseline.items())
        raise MasscliError(
            f"--baseline {tags}: no score has this tag",
            "masscli report FILE shows the tags",
        )
    tests = {}
    for (group, metric), values in groups.items():
        other = groups.get((_replace_tags(group, baseline), metric))
        if other is None or other is values:
            continue
        # Paired by seed, as runs with one seed have more in common than others.
        differences = [values[seed] - other[seed] for seed in values if seed in other]
        if differences:
            tests[group, metric] = _paired_t_test(differences)
    return tests


def _replace_tags(group: Tags, values: Mapping[str, str]) -> Tags:
    """Return the tags of a group with new values for the names in `values`; names it lacks are not added."""
    return tuple((name, values.get(name, value)) for name, value in group)


def _by_group(
    scores: Sequence[LoggedScore],
) -> dict[tuple[Tags, str], dict[str, float]]:
    """Return a mapping from (group, metric) to the scores of the group by seed."""
    groups: dict[tuple[Tags, str], dict[str, float]] = {}
    # A log that was read has one score for each seed, the last one.
    for score in scores:
        groups.setdefault((score.group, score.metric), {})[score.seed] = score.value
    return groups


def _paired_t_test(differences: Sequence[float]) -> PairedTest:
    """Test whether the mean of paired differences is zero, by Student's t-test (1908).

    The p-value is None for a single difference; if all differences are equal, it is 1 for zero, else 0.
    """
    count, mean = len(differences), statistics.fmean(differences)
    if count < 2:
        return PairedTest(mean, None, count)
    deviation = statistics.stdev(differences)
    # The statistic would divide by 0; its limit is infinite, unless the mean is 0 as well.
    if deviation == 0.0:
        p = 1.0 if mean == 0.0 else 0.0
        return PairedTest(mean, p, count)
    t = mean / deviation * math.sqrt(count)
    return PairedTest(mean, student_t_p_value(t, count - 1), count)


def student_t_p_value(t: float, degrees: int) -> float:
    """Return the two-sided p-value of the statistic `t` of Student's test with `degrees` degrees of freedom.

    The finite series are formulas 26.7.3 and 26.7.4 of Abramowitz and Stegun, "Handbook of Mathematical
    Functions" (1964).
    """
    angle = math.atan(abs(t) / math.sqrt(degrees))
    cosine = math.cos(angle)
    # Even degrees of freedom have even powers of the cosine, odd ones odd powers.
    if degrees % 2 == 0:
        first, term = 1, 1.0
    else:
        first, term = 2, cosine
    total = 0.0
    # The powers of the cosine rise by two; each term is the one before times (k / (k + 1)) * cosine^2.
    for k in range(first, degrees, 2):
        total += term
        term *= k / (k + 1) * cosine**2
    inside = math.sin(angle) * total
    if degrees % 2 == 1:
        inside = 2 / math.pi * (angle + inside)
    # Rounding may put the share inside of the interval a little above 1.
    return max(0.0, 1.0 - inside)


def _parse(line: str, where: str) -> LoggedScore:
    """Return the logged score in a line of JSON. Raises MasscliError, which names `where`, if it has none."""
    try:
        fields = parse_json(line)
        metric, value, signature = (
            str(fields["metric"]),
            fields["value"],
            str(fields["signature"]),
        )
        tags = tuple((str(name), str(tag)) for name, tag in fields["tags"].items())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise MasscliError(
            f"{where}: not a logged score", "masscli score --append FILE writes them"
        ) from None
    # JSON has NaN and Infinity in Python, and True is a number to it.
    if type(value) not in (int, float) or not abs(value) <= LARGEST:
        raise MasscliError(
            f"{where}: the value of {metric} is not a finite number", "delete the line"
        )
    return LoggedScore(metric, float(value), signature, tags)
