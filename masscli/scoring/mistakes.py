"""The classical mistakes of scoring, recognised by the look of the lines.  Each is a sentence to be shown, never an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

TOKENISED_ENDINGS = (" .", " ?", " !")
UNKNOWN = ("<unk>", "\u2047")  # the second is how SentencePiece spells it
SHARE = 0.1
"""Share of lines from which a habit is taken for a mistake."""


def suspicions(
    name: str, hypotheses: Sequence[str], references: Mapping[str, Sequence[str]], source: Sequence[str] | None, lowercase: bool
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
            yield f"{name}: is identical to the reference {reference}"
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
