"""Leave out examples without a gold label.

SNLI and MNLI give the label `-` to examples on which their annotators did not agree, and results on these
data sets leave such examples out. So does `masscli score`, which also says how many there are: if the other
labels are those of SNLI and MNLI, or if `--no-gold` names such a label.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from masscli.core.errors import MasscliError
from masscli.metrics.config import ScoreConfig

NO_GOLD_LABEL = "-"
INFERENCE_LABELS = {"entailment", "neutral", "contradiction"}
"""The gold labels of SNLI and MNLI."""
LABEL_METRICS = {"accuracy", "f1", "mcc"}
"""The names of the metrics that compare labels, apart from entity F1."""


def unlabeled_mark(labels: Iterable[str]) -> str:
    """Return the label that means "no gold label" in data with these labels, or "" if none does.

    It is `-` if there are labels apart from `-`, and all of them are labels of SNLI and MNLI. It need not be
    one of `labels`.
    """
    # `-` may be a label like any other, such as a minus sign, unless the rest are those of inference.
    others = set(labels) - {NO_GOLD_LABEL}
    if others and others <= INFERENCE_LABELS:
        return NO_GOLD_LABEL
    return ""


def drop_unlabeled(
    references: Mapping[str, Sequence[str]], options: ScoreConfig
) -> tuple[ScoreConfig, list[int] | None]:
    """Return the options with `no_gold` filled in, and the indices (from 0) of examples with a gold label.

    The indices are None if no label means "no gold label". An example with several references has a gold
    label if one of them is one. Raises MasscliError if no example is left, or with --sentence-level if some
    would be left out.
    """
    # An empty --no-gold says that there is no such label.
    if options.no_gold is None:
        options = replace(options, no_gold=_default_mark(references, options))
    if not options.no_gold:
        return options, None
    # With several references, an example counts if any of them has a label.
    kept = []
    for number, labels in enumerate(zip(*references.values(), strict=True)):
        if any(label.strip() != options.no_gold for label in labels):
            kept.append(number)
    total = len(next(iter(references.values())))
    if not kept:
        raise MasscliError(
            f"{', '.join(references)}: no example has a gold label",
            f"all are {options.no_gold!r}; is it the right column?",
        )
    # The scores of lines would no longer be those of the lines of the files.
    if options.sentence_level and len(kept) < total:
        missing = f"{total - len(kept)} of {total} examples have no gold label ({options.no_gold!r})"
        raise MasscliError(
            f"--sentence-level: {missing}", "take them out of both files"
        )
    return options, kept


def check_blank_labels(
    name: str,
    predictions: Sequence[str],
    references: Mapping[str, Sequence[str]],
    options: ScoreConfig,
) -> None:
    """Raise MasscliError if an example has a prediction but a blank gold label, so that none can be right.

    Lines that are blank on both sides are allowed: they separate the sentences of tagged words. Nothing is
    checked unless a metric compares labels.
    """
    if not LABEL_METRICS.intersection(options.metric):
        return
    examples = zip(predictions, *references.values(), strict=True)
    for number, (prediction, *gold_labels) in enumerate(examples, 1):
        predicted = prediction.strip()
        if predicted and not any(label.strip() for label in gold_labels):
            raise MasscliError(
                f"{', '.join(references)}: example {number} has no label, but {predicted!r} in {name}",
                "take it out of both files, or give it a mark that --no-gold names",
            )


def _default_mark(references: Mapping[str, Sequence[str]], options: ScoreConfig) -> str:
    """Return the label that means "no gold label" if --no-gold is not given, or "" if there is none.

    There is one only if all metrics compare labels.
    """
    labels: set[str] = set()
    for lines in references.values():
        labels.update(line.strip() for line in lines)
    if NO_GOLD_LABEL in labels and set(options.metric) <= LABEL_METRICS:
        return unlabeled_mark(labels)
    return ""
