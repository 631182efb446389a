"""The two sides of `masscli score`: the lines of files, or one field of tables, of JSONL, of CoNLL columns, of SWAG and RACE.

References are what their name says (or `--ref-format`), and `--column` chooses of them; hypotheses are lines, or one of the forms that
`masscli predict` writes, and `--hyp-column` chooses.  A list in JSONL is a sentence of tags, as a sentence in CoNLL columns is: a line for
each word, a blank one between sentences.  Columns are those that the tasks take by default, where there are such, and are found as there.
What is not clear is refused; nothing is guessed from values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from masscli.core.errors import MasscliError
from masscli.data.formats.conll import CONLLU_UPOS, is_conllu, split_sentences
from masscli.data.formats.json_text import JSONL_HINT, json_lines, parse_json
from masscli.data.formats.multiple_choice import choice_index
from masscli.data.formats.record import Record
from masscli.data.formats.registry import guess_format, read_records
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.metrics.config import ScoreConfig
from masscli.text.corpus import iter_lines

PREDICTED = ("label", "value", "tags")
"""Fields of `masscli predict --format jsonl` that hold the prediction; one of them, by the task."""
WRITTEN = "hypotheses"
"""Where `masscli generate --format jsonl` has its texts, the best first."""
OURS = (*PREDICTED, "answer", WRITTEN)
"""Fields by which lines of JSON are known for those of `masscli predict` and `masscli generate`, with their number in `line`."""
TOLD = "prediction"
"""The column of `masscli predict --format tsv` that holds it."""
LABEL = "label"
"""Where SWAG and RACE have the right choice."""
CHOICE = re.compile(r"[0-9]+|[A-Z]")
"""How the right choice is written."""

Sentences = list[list[tuple[int, list[str]]]]


@dataclass(frozen=True, slots=True)
class Side:
    """What is compared.  `sentences` are of tagged words: number of line, and columns; `choices` says how many each example has; `raw`
    are objects of JSON that are taken as they are, for want of a field."""

    name: str
    lines: list[str]
    sentences: Sentences | None = None
    column: int = 0
    choices: list[int] | None = None
    raw: bool = False


def references(paths: Sequence[Path], options: ScoreConfig) -> list[Side]:
    """The right ones."""
    return [_reference(name, path, options) for name, path in _named(paths).items()]


def hypotheses(paths: Sequence[Path], options: ScoreConfig, wanted: Sequence[Side]) -> list[Side]:
    """Those that are scored, against references that are `wanted`."""
    tagged = any(side.sentences is not None for side in wanted)
    return [_hypothesis(name, path, options, tagged) for name, path in _named(paths).items()]


def _named(paths: Sequence[Path]) -> dict[str, Path]:
    if len(set(paths)) < len(paths):
        raise MasscliError(f"{next(str(p) for p in paths if paths.count(p) > 1)}: given twice")
    return {"standard input" if str(path) == "-" else str(path): path for path in paths}


def _reference(name: str, path: Path, options: ScoreConfig) -> Side:
    column, flag, kind = options.column, "--column", options.ref_format or _kind(path)
    if (
        options.ref_format is None
        and "entity-f1" in options.metric
        and (kind is None or (kind == "tsv" and column is None))
    ):
        kind = "conll"  # whatever it is called
    kind = kind or ("tsv" if column is not None else "lines")
    if kind in ("swag", "race"):
        try:
            records = list(read_records(path, kind))
        except MasscliError as error:
            named = (
                f"; it is taken for {kind} by its name, see --ref-format"
                if options.ref_format is None
                else ""
            )
            raise MasscliError(
                error.message, f"{error.hint}{named}" if error.hint else named[2:] or None
            ) from None
        return _choices(name, records, column or LABEL, flag)
    rows = list(iter_lines(path))
    if kind == "conll":
        return _conll(name, rows, column, flag)
    if kind == "jsonl":
        return _jsonl(name, rows, column, flag, options.choices_column)
    if kind == "tsv" and (column is not None or "\t" in "".join(rows[:1])):
        return Side(name, _column(name, rows, column, flag))
    return Side(name, rows, raw=_is_object(rows))


def _hypothesis(name: str, path: Path, options: ScoreConfig, tagged: bool) -> Side:
    column, flag, kind, rows = options.hyp_column, "--hyp-column", _kind(path), list(iter_lines(path))
    if kind is None and _is_object(rows) and (column is not None or _is_ours(_object(name, 1, rows[0]))):
        kind = "jsonl"  # from standard input, say
    if kind == "jsonl":
        first = _object(name, 1, rows[0]) if rows else {}
        if column is None and WRITTEN in first:
            return Side(
                name,
                [
                    _best(_object(name, number, row), f"{name}:{number}")
                    for number, row in json_lines(rows, name)
                ],
            )
        return _jsonl(name, rows, column or next((key for key in PREDICTED if key in first), None), flag)
    if kind == "conll" or (tagged and kind in (None, "tsv")):
        return _conll(name, rows, column, flag)
    head = rows[0].split("\t") if rows else []
    if column is None and len(head) > 1 and TOLD in head:
        column = TOLD
    if column is not None or (kind == "tsv" and len(head) > 1):
        return Side(name, _column(name, rows, column, flag))
    return Side(name, rows, raw=_is_object(rows))


def _kind(path: Path) -> str | None:
    """By its name; `.json` is of objects in lines here."""
    kind = guess_format(path)
    return "jsonl" if kind == "squad" else kind


def _is_object(rows: Sequence[str]) -> bool:
    try:
        return bool(rows) and rows[0].startswith("{") and isinstance(json.loads(rows[0]), dict)
    except ValueError:
        return False


def _is_ours(record: Mapping[str, object]) -> bool:
    """Whether a command of this toolkit wrote it."""
    return "line" in record and any(key in record for key in OURS)


def _column(name: str, rows: Sequence[str], column: str | None, flag: str) -> list[str]:
    """One column of a TSV file with a header."""
    head = rows[0].split("\t") if rows else []
    if column is None:
        raise MasscliError(
            f"{name}: is a table, and none of its columns is named",
            f"choose with {flag}; it has {', '.join(head)}",
        )
    at = CaseInsensitiveMapping({title: n for n, title in enumerate(head)})
    if head.count(column) > 1 or column not in at:
        what = "has no column" if column not in head else "names twice the column"
        conll = "; or are these CoNLL lines? --ref-format conll" if column.isdigit() else ""
        raise MasscliError(f"{name}: {what} {column!r}", f"it has {', '.join(head)}{conll}")
    found = []
    for number, row in enumerate(rows[1:], 2):
        values = row.split("\t")
        if len(values) != len(head):
            raise MasscliError(f"{name}:{number}: has {len(values)} columns, the header has {len(head)}")
        found.append(values[at[column]])
    return found


def _choices(name: str, records: Sequence[Record], column: str, flag: str) -> Side:
    """The right choices of examples as SWAG and RACE are distributed."""
    texts = [CaseInsensitiveMapping(record.texts) for record in records]
    if column not in texts[0]:
        raise MasscliError(
            f"{name}: has no column {column!r}", f"choose with {flag}; it has {', '.join(texts[0])}"
        )
    return Side(
        name, [text[column] for text in texts], choices=[len(record.lists["choices"]) for record in records]
    )


def _conll(name: str, rows: Sequence[str], column: str | None, flag: str) -> Side:
    """One column of CoNLL lines; if none is said the last, or that of the parts of speech in CoNLL-U."""
    found = list(split_sentences(rows, name))
    if not found:
        return Side(name, [], [])
    width = len(found[0][0][1])
    if column is None:
        column = (
            CONLLU_UPOS if is_conllu(found[0][0][1], [values[0] for _, values in found[0]]) else str(width)
        )
    if not (column.isascii() and column.isdigit() and 0 < int(column) <= width):
        raise MasscliError(
            f"{name}: has no column {column!r}",
            f"columns of CoNLL lines are numbers, here 1 to {width}; see {flag}",
        )
    return _tagged(name, found, int(column) - 1)


def _tagged(name: str, found: Sentences, column: int) -> Side:
    rows = [row for sentence in found for row in (*(values[column] for _, values in sentence), "")][:-1]
    return Side(name, rows, found, column)


def _jsonl(name: str, rows: Sequence[str], key: str | None, flag: str, choices: str = "") -> Side:
    """One field of objects: strings and numbers, or lists of them; and how many choices there are beside it."""
    records = [CaseInsensitiveMapping(_object(name, number, row)) for number, row in json_lines(rows, name)]
    if key is None and len(records) == 1 and "data" in records[0]:
        raise MasscliError(f"{name}: is in the form of SQuAD", "score predictions with --metric squad")
    if key is None:
        raise MasscliError(f"{name}: is JSONL, and none of its fields is named",
                           f"choose with {flag}; it has {', '.join(records[0]) if records else 'no line'}")  # fmt: skip
    values: list[object] = []
    for number, record in enumerate(records, 1):
        if key not in record:
            raise MasscliError(
                f"{name}:{number}: has no field {key!r}", f"it has {', '.join(record)}; choose with {flag}"
            )
        values.append(record[key])
        if isinstance(values[0], list) is not isinstance(values[-1], list):
            raise MasscliError(
                f"{name}:{number}: {key!r} is {'no ' if isinstance(values[0], list) else 'a '}list, unlike in line 1"
            )
    if values and isinstance(values[0], list):
        items = [value for value in values if isinstance(value, list)]
        return _tagged(
            name, [[(n, [_text(x, f"{name}:{n}", key)]) for x in row] for n, row in enumerate(items, 1)], 0
        )
    counts = [len(found) for record in records if isinstance(found := record.get(choices), list)]
    texts = [_text(value, f"{name}:{number}", key) for number, value in enumerate(values, 1)]
    return Side(name, texts, choices=counts if counts and len(counts) == len(records) else None)


def _best(record: Mapping[str, object], where: str) -> str:
    """The text that `masscli generate` found the best."""
    match record.get(WRITTEN):
        case [{"text": str(text)}, *_]:
            return text
    raise MasscliError(
        f"{where}: has no text of a hypothesis", "masscli generate --format jsonl writes one in each line"
    )


def _object(name: str, number: int, row: str) -> dict[str, object]:
    found = parse_json(row, f"{name}:{number}", JSONL_HINT)
    if not isinstance(found, dict):
        raise MasscliError(f"{name}:{number}: expected an object, got {row[:40]}", JSONL_HINT)
    return found


def _text(value: object, where: str, key: str | None) -> str:
    if value is None or isinstance(value, list | dict):
        raise MasscliError(f"{where}: {key!r} is {json.dumps(value)[:40]}, expected a string or a number")
    return value if isinstance(value, str) else json.dumps(value)


# -- what goes together --------------------------------------------------------------------------------------------------------------------


def check_lengths(systems: Sequence[Side], wanted: Sequence[Side]) -> None:
    """As many lines, and as many words in each sentence, on both sides."""
    for ours, theirs in product(systems, wanted):
        if not ours.lines:
            raise MasscliError(f"{ours.name}: is empty", "there is nothing to score")
        if ours.sentences is not None and theirs.sentences is not None:
            _check_sentences(ours.name, ours.sentences, theirs.name, theirs.sentences)
        if len(ours.lines) != len(theirs.lines):
            counts = f"{ours.name} has {len(ours.lines)} lines, but {theirs.name} has {len(theirs.lines)}"
            table = len(theirs.lines) == len(ours.lines) + 1 and "\t" in theirs.lines[0]
            hint = "is that a table with a header? name its column: --column label" if table else ""
            raise MasscliError(counts, hint or "line n of one is scored against line n of the other")


def _check_sentences(name: str, ours: Sentences, other: str, theirs: Sentences) -> None:
    for number, (a, b) in enumerate(zip(ours, theirs, strict=False), 1):
        if len(a) != len(b):
            place = f"{name}:{a[0][0]}" if a else name
            raise MasscliError(f"{place}: {len(a)} words in sentence {number}, but {len(b)} in {other}",
                               "tags are compared word by word: predictions and references must be of the same sentences")  # fmt: skip
    if len(ours) != len(theirs):
        raise MasscliError(f"{name} and {other}: {len(ours)} and {len(theirs)} sentences",
                           "sentence n of one is scored against sentence n of the other")  # fmt: skip


def remarks(systems: Sequence[Side], wanted: Sequence[Side]) -> Iterator[str]:
    """What looks wrong with how two sides go together, or is to be known of it."""
    for flag, sides in (("--hyp-column", systems), ("--column", wanted)):
        for side in sides:
            if side.raw:
                yield f"{side.name}: its lines are JSON and are compared as they are; {flag} reads a field"
    for ours, theirs in product(systems, wanted):
        mine, yours = _other_columns(ours), _other_columns(theirs)
        if differ := min(
            (sum(x != y for x, y in zip(a, b, strict=True)) for a in mine for b in yours), default=0
        ):
            yield f"{ours.name}: {differ} of {len(mine[0])} words are not those of {theirs.name}"
        if _are_choices(wanted) and _letters(ours) != _letters(theirs):
            yield f"{ours.name} and {theirs.name}: numbers of choices from 0 and letters from A are the same labels"


def _other_columns(side: Side) -> list[list[str]]:
    """All but the tags: the words are among them, and whichever agree best are taken for them."""
    rows = [values for sentence in side.sentences or [] for _, values in sentence]
    return [list(column) for n, column in enumerate(zip(*rows, strict=True)) if n != side.column]


def as_choices(systems: Sequence[Side], wanted: Sequence[Side]) -> tuple[Sequence[Side], Sequence[Side]]:
    """Both sides as numbers of choices, where the references are choices; else as they were."""
    if not _are_choices(wanted):
        return systems, wanted
    return [_numbered(side, wanted[0]) for side in systems], [_numbered(side, wanted[0]) for side in wanted]


def _are_choices(wanted: Sequence[Side]) -> bool:
    """Whether every reference is a number or a letter with choices beside it: labels of other tasks have none."""
    counts = wanted[0].choices
    return counts is not None and all(
        side.choices == counts and all(map(CHOICE.fullmatch, side.lines)) for side in wanted
    )


def _letters(side: Side) -> bool:
    return any(line.strip().isalpha() for line in side.lines)


def _numbered(side: Side, wanted: Side) -> Side:
    found = []
    for number, (line, count) in enumerate(zip(side.lines, wanted.choices or [], strict=True), 1):
        if (at := choice_index(line.strip(), count)) is None:
            raise MasscliError(f"{side.name}:{number}: {line[:40]!r} is none of the {count} choices in {wanted.name}",
                               "it must be a number from 0, or a letter from A")  # fmt: skip
        found.append(str(at))
    return Side(side.name, found)
