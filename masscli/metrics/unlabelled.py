"""Examples without a gold label: SNLI and MNLI mark with `-` those on which their annotators did not agree, and results leave them out.

So they are left out here, and counted, where the other labels are those of these two sets, or where `--no-gold` names such a mark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from masscli.core.errors import MasscliError
from masscli.metrics.config import ScoreConfig

NO_GOLD_LABEL = "-"
INFERENCE_LABELS = {"entailment", "neutral", "contradiction"}
LABEL_METRICS = {"accuracy", "f1", "mcc"}
"""Metrics that compare labels."""


def unlabelled_mark(labels: Iterable[str]) -> str:
    """The mark that holds beside these labels where nothing names one; empty for none."""
    others = set(labels) - {NO_GOLD_LABEL}
    return NO_GOLD_LABEL if others and others <= INFERENCE_LABELS else ""


def drop_unlabelled(
    references: Mapping[str, Sequence[str]], options: ScoreConfig
) -> tuple[ScoreConfig, list[int] | None]:
    """The options with the mark that holds, and the examples that have a gold label; None where no mark holds."""
    if options.no_gold is None:
        found = {line.strip() for rows in references.values() for line in rows}
        options = replace(
            options,
            no_gold=unlabelled_mark(found)
            if NO_GOLD_LABEL in found and set(options.metric) <= LABEL_METRICS
            else "",
        )
    if not options.no_gold:
        return options, None
    kept = [
        n
        for n, row in enumerate(zip(*references.values(), strict=True))
        if any(line.strip() != options.no_gold for line in row)
    ]
    total = len(next(iter(references.values())))
    if not kept:
        raise MasscliError(
            f"{', '.join(references)}: no example has a gold label",
            f"all are {options.no_gold!r}; is it the right column?",
        )
    if options.sentence_level and len(kept) < total:
        raise MasscliError(f"--sentence-level: {total - len(kept)} of {total} examples have no gold label ({options.no_gold!r})",
                           "take them out of both files")  # fmt: skip
    return options, kept
