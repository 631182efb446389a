"""The classical mistakes of scoring, recognised by the look of the lines.  Each is a sentence to be shown, never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from masscli.metrics.config import ScoreConfig
from masscli.metrics.unlabelled import LABEL_METRICS

TOKENISED_ENDINGS = (" .", " ?", " !")
UNKNOWN = ("<unk>", "\u2047")  # the second is how SentencePiece spells it
TEXT = {"bleu", "chrf", "chrf++", "ter", "multi-bleu"}
"""Metrics of running text."""
SHARE = 0.1
"""Share of lines from which a habit is taken for a mistake."""
SHOWN = 4
"""Labels that are named."""


def check_text(
    name: str,
    hypotheses: Sequence[str],
    references: Mapping[str, Sequence[str]],
    source: Sequence[str] | None,
    lowercase: bool,
) -> Iterator[str]:
    """What looks wrong with the hypotheses called `name`."""

    def count(test: Callable[[str], bool]) -> int:
        return sum(map(test, hypotheses))

    total = len(hypotheses)
    wanted = [any(line.strip() for line in row) for row in zip(*references.values(), strict=True)]
    if empty := sum(want and not line.strip() for line, want in zip(hypotheses, wanted, strict=True)):
        yield f"{name}: {empty} of {total} hypotheses are empty"
    if (tokenised := count(_tokenised)) > SHARE * total:
        yield f"{name}: {tokenised} of {total} hypotheses end in a detached full stop; they look tokenised; scores want plain text"
    if pieces := count(lambda line: "@@ " in line or line.endswith("@@") or "\u2581" in line):
        yield f"{name}: {pieces} of {total} hypotheses hold subword marks (@@ or \u2581); join the pieces first"
    if unknown := count(lambda line: any(mark in line for mark in UNKNOWN)):
        yield f"{name}: {unknown} of {total} hypotheses hold unknown pieces (<unk> or \u2047)"
    for reference, lines in references.items():
        if list(hypotheses) == list(lines):
            yield f"{name}: says the same everywhere as the reference {reference}"
        if (tokenised := sum(map(_tokenised, lines))) > SHARE * total:
            yield f"{reference}: {tokenised} of {total} references end in a detached full stop; they look tokenised"
        if not lowercase and _caseless(hypotheses) and not _caseless(lines):
            yield f"{name}: holds no capital letter, but {reference} does; with --lowercase case does not count"
    if source is not None and list(hypotheses) == list(source):
        yield f"{name}: is identical to the source"


def _tokenised(line: str) -> bool:
    return line.rstrip().endswith(TOKENISED_ENDINGS)


def _caseless(lines: Sequence[str]) -> bool:
    return all(line == line.lower() for line in lines)


# -- labels --------------------------------------------------------------------------------------------------------------------------------


def check_metrics(references: Mapping[str, Sequence[str]], options: ScoreConfig) -> Iterator[str]:
    """Metrics that are not of what the references hold."""
    for reference, lines in references.items():
        found = {line.strip() for line in lines if line.strip()}
        if "entity-f1" in options.metric and not any(label[1:2] == "-" for label in found):
            yield f"{reference}: no label begins or goes on with an entity (B-, I-): its labels are for --metric accuracy or f1"
        if (
            TEXT.intersection(options.metric)
            and len(found) < SHARE * len(lines)
            and not any(len(label.split()) > 1 for label in found)
        ):
            yield f"{reference}: the same few words, one a line: labels are for --metric accuracy or f1"


def check_labels(
    name: str, hypotheses: Sequence[str], references: Mapping[str, Sequence[str]], options: ScoreConfig
) -> Iterator[str]:
    """What looks wrong where labels are compared, as text: spellings, columns, and what F1 is of."""
    if not LABEL_METRICS.intersection(options.metric):
        return
    ours = _labels(hypotheses, options)
    for reference, lines in references.items():
        theirs = _labels(lines, options)
        for side, found in ((name, ours), (reference, theirs)):
            if sum("\t" in label for label in found) > SHARE * len(found):
                yield f"{side}: its labels hold tabs; are these columns? see --column, --hyp-column and --ref-format"
        known = {number: label for label in theirs - ours if (number := _number(label)) is not None}
        if spelt := {
            label: known[number] for label in sorted(ours - theirs) if (number := _number(label)) in known
        }:
            count = sum(_folded(line, options) in spelt for line in hypotheses)
            yield f"{name}: {count} of {len(hypotheses)} labels are numbers that {reference} spells otherwise: {_pairs(spelt)}"
            continue
        if not ours & theirs:
            yield f"{name}: has no label in common with {reference}: {_some(ours)} against {_some(theirs)}"
        elif "f1" in options.metric:
            yield from _f1(name, ours, reference, theirs, options.positive)


def _f1(name: str, ours: set[str], reference: str, theirs: set[str], positive: str) -> Iterator[str]:
    """Where a task of two labels is not scored as one."""
    if positive:
        return
    both = ours | theirs
    of_all = f"F1 is the mean over all {len(both)} labels, not that of one; --positive says of which"
    for side, own, other, more in ((name, ours, reference, theirs), (reference, theirs, name, ours)):
        if len(both) > 2 and len(more) <= 2 and own - more:
            yield f"{side}: has labels that {other} has not ({_some(own - more)}): {of_all}"
    if len(both) == 1:
        yield f"{name}: {_some(both)} is the only label on both sides, and F1 is of that; --positive says of which"


def _labels(lines: Sequence[str], options: ScoreConfig) -> set[str]:
    return {_folded(line, options) for line in lines if line.strip()}


def _folded(line: str, options: ScoreConfig) -> str:
    return line.strip().lower() if options.lowercase else line.strip()


def _number(label: str) -> float | None:
    try:
        return float(label)
    except ValueError:
        return None


def _pairs(spelt: Mapping[str, str]) -> str:
    return ", ".join(f"{a!r} is {b!r} there" for a, b in list(spelt.items())[:SHOWN])


def _some(labels: set[str]) -> str:
    """The first few."""
    return ", ".join(map(repr, sorted(labels)[:SHOWN])) + (", ..." if len(labels) > SHOWN else "")


# -- summaries -----------------------------------------------------------------------------------------------------------------------------


def check_summaries(
    name: str, hypotheses: Sequence[str], references: Mapping[str, Sequence[str]], options: ScoreConfig
) -> Iterator[str]:
    """ROUGE-Lsum goes sentence by sentence, and has to be told where sentences end."""
    if "rouge-lsum" not in options.metric:
        return
    mark = options.summary_separator
    for reference, lines in references.items():
        if bare := [
            side
            for side, rows in ((name, hypotheses), (reference, lines))
            if not any(mark in row or "\n" in row for row in rows)
        ]:
            yield f"{' and '.join(bare)}: no line has {mark!r}, so each is one sentence to ROUGE-Lsum; see --summary-separator"
