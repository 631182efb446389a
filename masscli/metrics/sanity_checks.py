"""Recognize common mistakes in scoring text from the lines of hypotheses, references and source.

Each check yields warnings, as text for the user; none is an error. `name` is how messages call the file of
hypotheses, and `references` maps what messages call each file of references to its lines.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

from masscli.core.listing import count_of
from masscli.metrics.config import ScoreConfig
from masscli.text.markers import BPE_CONTINUATION, SENTENCEPIECE_SPACE, UNKNOWN_TEXT

TOKENIZED_ENDINGS = (" .", " ?", " !")
MOSTLY = 0.9
"""A side is taken to use one of two spellings if more than this share of its lines with either has that
one."""
SPELLINGS = (
    ("Romanian ş and ţ with a cedilla", "ŞşŢţ", "ș and ț with a comma", "ȘșȚț"),
    (
        "typographic apostrophes (\N{RIGHT SINGLE QUOTATION MARK})",
        "\u2019",
        "straight ones (')",
        "'",
    ),
    (
        "typographic quotation marks",
        "\u201c\u201d\u201e\u00ab\u00bb",
        'straight ones (")',
        '"',
    ),
)
"""Pairs of spellings of the same text that metrics count as different: name and characters of the first, then
of the second."""
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"
"""Zero-width characters: soft hyphen, zero-width space, joiners, directional marks, byte order mark."""
FULL_WIDTH = "".join(map(chr, range(0xFF01, 0xFF5F)))
"""The full-width forms of the visible characters of ASCII."""
LEFT_FROM_PROCESSING = (
    (
        "marks of pieces (## or \u0120)",
        ("##", "\u0120"),
        re.compile(r"(?:^|\s)(?:##|\u0120)[^\W_]"),
    ),
    (
        "special symbols, such as </s>",
        ("<", "["),
        re.compile(r"</?s>|<(?:pad|mask)>|\[(?:CLS|SEP|PAD|MASK)\]"),
    ),
    (
        "escapes, such as &apos;",
        ("&",),
        re.compile(r"&(?:apos|quot|amp|lt|gt|nbsp|#[0-9]+|#x[0-9A-Fa-f]+);"),
    ),
)
"""What is left in text by incomplete postprocessing, and hardly ever belongs to it: names, texts of which
each match has one, and patterns. The escapes are those of HTML and of the Moses tokenizer."""
SCRIPTS_WITHOUT_SPACES = (
    ("Japanese", re.compile("[\u3040-\u30ff]"), "--tokenize ja-mecab"),
    (
        "Chinese",
        re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]"),
        "--tokenize zh",
    ),
    (
        "Thai, Lao, Burmese or Khmer",
        re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"),
        "--tokenize char",
    ),
)
"""Scripts without spaces between words: the name, a pattern of their letters, and the option for BLEU.
Japanese comes first, since it has the characters of Chinese as well."""
UNKNOWN_PIECES = ("<unk>", UNKNOWN_TEXT)
TEXT_METRICS = {"bleu", "chrf", "chrf++", "ter", "multi-bleu"}
"""The names of metrics for running text."""
SUSPICIOUS_SHARE = 0.1
"""A warning is given if more than this share of the lines (or labels, or characters) shows a mistake."""
SLOW_TER_WORDS = 500
"""TER of a line with more words takes more than some seconds of a core: 3 s for 400 random words, 60 s for
1,000, and 170 s for 2,000."""


def check_text(
    name: str,
    hypotheses: Sequence[str],
    references: Mapping[str, Sequence[str]],
    source: Sequence[str] | None,
    lowercase: bool,
) -> Iterator[str]:
    """Yield warnings about lines of text, such as hypotheses that are tokenized or equal to the source.

    References are also checked for tokenization. `lowercase` says that case is ignored in scoring.
    """
    yield from _check_hypotheses(name, hypotheses, references)
    for reference_name, lines in references.items():
        # A line without a reference is not left out: whatever its hypothesis says is wrong.
        empty = 0
        for hypothesis, line in zip(hypotheses, lines, strict=True):
            empty += bool(hypothesis.strip()) and not line.strip()
        if empty:
            yield (
                f"{reference_name}: {empty} of {len(lines)} references are empty, and count as such, "
                "but their hypotheses are not"
            )
        # A file was probably given twice in this case: systems hardly ever reproduce a whole reference.
        if list(hypotheses) == list(lines):
            yield f"{name}: every line is equal to the reference {reference_name}"
        tokenized = _count(lines, _looks_tokenized)
        if tokenized > SUSPICIOUS_SHARE * len(hypotheses):
            yield (
                f"{reference_name}: {tokenized} of {len(hypotheses)} references end in a detached full stop; "
                "they look tokenized"
            )
        # Lower-cased output against cased references costs points that have nothing to do with quality.
        if (
            not lowercase
            and _has_no_capitals(hypotheses)
            and not _has_no_capitals(lines)
        ):
            yield (
                f"{name}: has no capital letter, but {reference_name} does; "
                "with --lowercase case does not count"
            )
    # A failed decoder, or the wrong column, often results in an exact copy of the input.
    if source is not None and list(hypotheses) == list(source):
        yield f"{name}: is identical to the source"


def _check_hypotheses(
    name: str, hypotheses: Sequence[str], references: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield warnings about hypotheses that are empty or tokenized, or have subword marks or `<unk>`."""
    total = len(hypotheses)
    # A hypothesis may be empty if all of its references are.
    empty = 0
    for hypothesis, *line_references in zip(
        hypotheses, *references.values(), strict=True
    ):
        if not hypothesis.strip() and any(line.strip() for line in line_references):
            empty += 1
    if empty:
        yield f"{name}: {empty} of {total} hypotheses are empty"
    tokenized = _count(hypotheses, _looks_tokenized)
    if tokenized > SUSPICIOUS_SHARE * total:
        yield (
            f"{name}: {tokenized} of {total} hypotheses end in a detached full stop; "
            "they look tokenized, but scores are for plain text"
        )
    # Subword marks never belong to text, so a single one is reported.
    marked = _count(hypotheses, _has_subword_marks)
    if marked:
        yield (
            f"{name}: {marked} of {total} hypotheses contain subword marks "
            f"({BPE_CONTINUATION} or {SENTENCEPIECE_SPACE}); join the pieces first"
        )
    unknown = _count(hypotheses, _has_unknown_piece)
    if unknown:
        pieces = " or ".join(UNKNOWN_PIECES)
        yield f"{name}: {unknown} of {total} hypotheses contain unknown pieces ({pieces})"


def check_spelling(
    name: str, hypotheses: Sequence[str], references: Mapping[str, Sequence[str]]
) -> Iterator[str]:
    """Yield warnings if spelling differs between hypotheses and references in ways that are hard to see.

    Examples are typographic and straight quotation marks, and zero-width characters.
    """
    our_lines = _Lines(hypotheses)
    for reference_name, reference in references.items():
        their_lines = _Lines(reference)
        for first, first_letters, second, second_letters in SPELLINGS:
            ours = our_lines.preference(first_letters, second_letters)
            theirs = their_lines.preference(first_letters, second_letters)
            # The signs differ if one side prefers the first spelling, and the other side the second.
            if ours > 0 > theirs:
                yield f"{name}: has {first}, but {reference_name} has {second}: they count as different"
            elif theirs > 0 > ours:
                yield f"{reference_name}: has {first}, but {name} has {second}: they count as different"
        yield from _check_characters(name, our_lines, reference_name, their_lines)


def _check_characters(
    name: str, hypotheses: _Lines, reference_name: str, references: _Lines
) -> Iterator[str]:
    """Yield warnings if only hypotheses or only references have zero-width characters.

    The same is done for decomposed letters, such as `e` and a combining accent, for the full-width forms of
    ASCII that Chinese and Japanese text may use, and for what is left from processing.
    """
    counts = [
        (
            "characters without a width, such as U+200B",
            hypotheses.count_with(INVISIBLE),
            references.count_with(INVISIBLE),
        ),
        (
            "letters in several parts, not composed (Unicode NFC)",
            hypotheses.count_not_composed(),
            references.count_not_composed(),
        ),
        (
            "full-width letters, digits or signs, such as U+FF01",
            hypotheses.count_with(FULL_WIDTH),
            references.count_with(FULL_WIDTH),
        ),
    ]
    for description, texts, pattern in LEFT_FROM_PROCESSING:
        ours = hypotheses.count_matching(pattern, texts)
        counts.append((description, ours, references.count_matching(pattern, texts)))
    for description, ours, theirs in counts:
        # If both sides have them, they mostly match, and belong to the text.
        if ours and not theirs:
            yield f"{name}: {_lines_with(ours, description)}, but none of {reference_name} has"
        elif theirs and not ours:
            yield f"{reference_name}: {_lines_with(theirs, description)}, but none of {name} has"


def _lines_with(count: int, description: str) -> str:
    """Return `1 line has ...` or `3 lines have ...`."""
    verb = "has" if count == 1 else "have"
    return f"{count_of(count, 'line')} {verb} {description}"


def check_tokenization(
    references: Mapping[str, Sequence[str]], options: ScoreConfig
) -> Iterator[str]:
    """Yield a warning for references in a script without spaces, in which BLEU's tokenizer finds no words.

    Nothing is checked unless `options` ask for BLEU.
    """
    if "bleu" not in options.metric or options.tokenize not in ("13a", "intl", "none"):
        return
    for name, lines in references.items():
        text = "".join(lines).replace(" ", "")
        for language, letters, advice in SCRIPTS_WITHOUT_SPACES:
            # A few foreign words in a text of another script do no harm.
            if len(letters.findall(text)) > SUSPICIOUS_SHARE * len(text):
                yield (
                    f"{name}: looks {language}, of which --tokenize {options.tokenize} makes no words; "
                    f"BLEU needs {advice}"
                )
                break


def check_summaries(
    name: str,
    hypotheses: Sequence[str],
    references: Mapping[str, Sequence[str]],
    options: ScoreConfig,
) -> Iterator[str]:
    """Yield a warning if files of summaries never separate sentences, which ROUGE-Lsum needs."""
    if "rouge-lsum" not in options.metric:
        return
    separator = options.summary_separator
    for reference_name, references_lines in references.items():
        unseparated = []
        # Summaries of a single sentence have no separator either, so a single line with one is enough.
        for side, lines in ((name, hypotheses), (reference_name, references_lines)):
            if not any(separator in line or "\n" in line for line in lines):
                unseparated.append(side)
        if unseparated:
            yield (
                f"{' and '.join(unseparated)}: no line contains {separator!r}, "
                "so ROUGE-Lsum takes each for one sentence; see --summary-separator"
            )


def check_duration(
    name: str,
    hypotheses: Sequence[str],
    references: Sequence[Sequence[str]],
    options: ScoreConfig,
) -> Iterator[str]:
    """Yield a warning, which names the line with the most words, if TER will take long for some lines."""
    if "ter" not in options.metric:
        return
    words = []
    for texts in zip(hypotheses, *references, strict=True):
        words.append(max(len(text.split()) for text in texts))
    slow = sum(count > SLOW_TER_WORDS for count in words)
    if slow:
        longest = max(words)
        yield (
            f"{name}: TER of long lines takes minutes, as in sacreBLEU: line {words.index(longest) + 1} has "
            f"{longest:,} words ({count_of(slow, 'line')} of more than {SLOW_TER_WORDS})"
        )


def _count(lines: Sequence[str], condition: Callable[[str], bool]) -> int:
    """Return the number of lines for which the condition is true."""
    return sum(map(condition, lines))


class _Lines:
    """The lines of a file, which are counted if they have what few files have.

    Most files have nothing of it, and asking the whole text is much faster than asking each line.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = lines
        self._text = "\n".join(lines)
        self._characters = set(self._text)

    def count_with(self, characters: str) -> int:
        """Return the number of lines that contain at least one of these characters."""
        found = [character for character in characters if character in self._characters]
        if not found:
            return 0
        pattern = re.compile(f"[{re.escape(''.join(found))}]")
        return sum(1 for line in self._lines if pattern.search(line))

    def count_matching(self, pattern: re.Pattern[str], texts: Sequence[str]) -> int:
        """Return the number of lines in which the pattern is found; each match has one of these texts."""
        if not any(text in self._text for text in texts):
            return 0
        return sum(pattern.search(line) is not None for line in self._lines)

    def count_not_composed(self) -> int:
        """Return the number of lines that have decomposed letters (are not in Unicode NFC)."""
        if unicodedata.is_normalized("NFC", self._text):
            return 0
        return sum(not unicodedata.is_normalized("NFC", line) for line in self._lines)

    def preference(self, first: str, second: str) -> int:
        """Return which of two kinds of letters the lines use: 1 for the first, -1 for the second, else 0.

        A kind is used if the lines that have it are more than the share MOSTLY of a total, the lines with
        the first kind plus the lines with the second. A line with both counts in both, so that mixed lines
        give 0.
        """
        with_first = self.count_with(first)
        with_second = self.count_with(second)
        total = with_first + with_second
        if with_first > MOSTLY * total:
            return 1
        if with_second > MOSTLY * total:
            return -1
        return 0


def _looks_tokenized(line: str) -> bool:
    """Return whether a line ends in a full stop, question mark or exclamation mark after a space."""
    return line.rstrip().endswith(TOKENIZED_ENDINGS)


def _has_subword_marks(line: str) -> bool:
    """Return whether a line contains marks of subwords: `@@` at the end of a word, or U+2581."""
    return (
        f"{BPE_CONTINUATION} " in line
        or line.endswith(BPE_CONTINUATION)
        or SENTENCEPIECE_SPACE in line
    )


def _has_unknown_piece(line: str) -> bool:
    """Return whether a line contains the text of an unknown piece."""
    return any(piece in line for piece in UNKNOWN_PIECES)


def _has_no_capitals(lines: Sequence[str]) -> bool:
    """Return whether all lines are in lower case."""
    return all(line == line.lower() for line in lines)
