"""Recognize common mistakes in scoring labels, tags and numbers from the lines of hypotheses and references.

As in masscli/metrics/sanity_checks.py, each check yields warnings, `name` is how messages call the file of
hypotheses, and `references` maps what messages call each file of references to its lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from masscli.core.digits import parse_number
from masscli.core.listing import list_some
from masscli.metrics.config import ScoreConfig
from masscli.metrics.entities import marks_entity
from masscli.metrics.sanity_checks import SUSPICIOUS_SHARE, TEXT_METRICS
from masscli.metrics.unlabeled import LABEL_METRICS

MAX_NAMED_LABELS = 4


def check_correlations(
    name: str,
    hypotheses: Sequence[str],
    references: Mapping[str, Sequence[str]],
    options: ScoreConfig,
) -> Iterator[str]:
    """Yield a warning if all numbers or labels of a file are equal: their correlation is then not defined.

    This concerns Pearson's and Spearman's correlation of numbers, and Matthews' of labels.
    """
    for side, lines in ((name, hypotheses), *references.items()):
        constant = False
        if {"pearson", "spearman"}.intersection(options.metric):
            # Numbers are compared by value, so that 1 and 1.0 are equal.
            values = {parse_number(line) for line in lines}
            constant = len(lines) > 1 and len(values) == 1 and None not in values
        if "mcc" in options.metric:
            constant = constant or len(_distinct_labels(lines, options)) == 1
        if constant:
            # A blank line is no label.
            value = next(line.strip() for line in lines if line.strip())
            yield f"{side}: every line is {value}: a correlation is not defined, and 0 stands for it"


def check_metrics(
    references: Mapping[str, Sequence[str]], options: ScoreConfig
) -> Iterator[str]:
    """Yield warnings about metrics that do not suit the references.

    These are entity F1 of labels that are not entity tags, and metrics of text on labels.
    """
    for name, lines in references.items():
        # Blank lines separate sentences of tagged words, and are not labels.
        labels = {line.strip() for line in lines if line.strip()}
        if "entity-f1" in options.metric and not any(map(marks_entity, labels)):
            yield (
                f"{name}: no label begins or continues an entity (B-, I-); "
                "such labels are for --metric accuracy or f1"
            )
        # Running text hardly repeats, and its lines have several words.
        repeats = 0 < len(labels) < SUSPICIOUS_SHARE * len(lines)
        single_words = all(len(label.split()) == 1 for label in labels)
        if repeats and single_words and TEXT_METRICS.intersection(options.metric):
            yield f"{name}: the same few words, one a line; labels are for --metric accuracy or f1"


def check_labels(
    name: str,
    hypotheses: Sequence[str],
    references: Mapping[str, Sequence[str]],
    options: ScoreConfig,
) -> Iterator[str]:
    """Yield warnings about predicted labels that differ from those of the references as a whole.

    Examples are other spellings of numbers, no label in common, and labels that are whole rows of a table.
    Nothing is checked unless a metric compares labels.
    """
    if not LABEL_METRICS.intersection(options.metric):
        return
    ours = _distinct_labels(hypotheses, options)
    for reference_name, lines in references.items():
        theirs = _distinct_labels(lines, options)
        yield from _check_columns({name: ours, reference_name: theirs})
        # Labels are compared as text, so 1.0 is not 1.
        spellings = _other_spellings(ours, theirs)
        # Only the first of these problems is reported, since it explains the others.
        if spellings:
            count = sum(_normalize(line, options) in spellings for line in hypotheses)
            examples = [
                f"{own!r} is {other!r} there" for own, other in spellings.items()
            ]
            yield (
                f"{name}: {count} of {len(hypotheses)} labels are numbers that {reference_name} spells "
                f"differently: {list_some(examples, MAX_NAMED_LABELS)}"
            )
        elif not ours & theirs:
            yield (
                f"{name}: has no label in common with {reference_name}: "
                f"{_some_labels(ours)} against {_some_labels(theirs)}"
            )
        elif "f1" in options.metric and not options.positive:
            yield from _check_f1(name, ours, reference_name, theirs)


def _check_columns(labels_of_files: Mapping[str, set[str]]) -> Iterator[str]:
    """Yield a warning for each file many of whose labels contain tabs, as whole rows of a table do."""
    for name, labels in labels_of_files.items():
        # A single label may contain a tab by mistake; only many of them indicate a table.
        if sum("\t" in label for label in labels) > SUSPICIOUS_SHARE * len(labels):
            yield (
                f"{name}: its labels contain tabs; are these columns? "
                "see --column, --hyp-column and --ref-format"
            )


def _other_spellings(ours: set[str], theirs: set[str]) -> dict[str, str]:
    """Return the labels of `ours` that are numbers spelled differently in `theirs`, such as 1.0 and 1.

    Each is mapped to this other spelling.
    """
    their_spellings = {}
    # Labels that both sides spell alike are compared as they should be.
    for label in theirs - ours:
        number = parse_number(label)
        if number is not None:
            their_spellings[number] = label
    spellings = {}
    # Sorted, so that the message is the same every time.
    for label in sorted(ours - theirs):
        number = parse_number(label)
        if number in their_spellings:
            spellings[label] = their_spellings[number]
    return spellings


def _check_f1(
    name: str, ours: set[str], reference_name: str, theirs: set[str]
) -> Iterator[str]:
    """Yield warnings if F1 is probably not that of the label that the user has in mind.

    This is the case if there are more than two labels, which makes F1 a mean, but one side has at most
    two and the other has some that it lacks, or if there is only one label. `ours` are the labels of
    hypotheses.
    """
    labels = ours | theirs
    sides = ((name, ours, reference_name, theirs), (reference_name, theirs, name, ours))
    # One side has at most two labels: F1 of the positive label was probably meant.
    for side, own_labels, other, other_labels in sides:
        if len(labels) > 2 and len(other_labels) <= 2 and own_labels - other_labels:
            extra = _some_labels(own_labels - other_labels)
            yield (
                f"{side}: has labels that {other} lacks ({extra}): "
                f"F1 is the mean over all {len(labels)} labels, not that of one; choose one with --positive"
            )
    # F1 of the only label is 100 for every system, which says nothing.
    if len(labels) == 1:
        yield (
            f"{name}: {_some_labels(labels)} is the only label on both sides, and F1 is that of this label; "
            "choose another with --positive"
        )


def _distinct_labels(lines: Sequence[str], options: ScoreConfig) -> set[str]:
    """Return the different labels in lines, in the form in which they are compared; blank lines are none."""
    return {_normalize(line, options) for line in lines if line.strip()}


def _normalize(line: str, options: ScoreConfig) -> str:
    """Return a label as it is compared: without white space at its ends, in lower case with --lowercase."""
    label = line.strip()
    if options.lowercase:
        label = label.lower()
    return label


def _some_labels(labels: set[str]) -> str:
    """Return the first few of the sorted labels, quoted, and the number of the others, for a message."""
    if not labels:
        return "none"
    names = [repr(label) for label in sorted(labels)]
    return list_some(names, MAX_NAMED_LABELS)
