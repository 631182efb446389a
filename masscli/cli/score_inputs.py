"""The inputs of `masscli score`: lines, or a column of a table, JSONL, CoNLL lines, SWAG or RACE.

The format of references follows from the name of the file or `--ref-format`, and `--column` chooses a column.
Hypotheses are lines, or what `masscli predict` and `masscli generate` write, and `--hyp-column` chooses a
column. Default columns are those that the tasks read. What is not clear is refused; nothing is guessed from
values.

A list in JSONL is a sentence of tags, like a sentence in CoNLL lines: one line for each word, and an empty
one between sentences.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.core.files import given_again
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.conll import CONLLU_UPOS, is_conllu, split_sentences
from masscli.data.formats.csv_rows import is_csv
from masscli.data.formats.json_text import (
    JSONL_HINT,
    is_missing,
    json_lines,
    parse_json_at,
)
from masscli.data.formats.lettered_choices import flatten_choices
from masscli.data.formats.record import Record
from masscli.data.formats.registry import guess_format, read_records
from masscli.data.storage.case_insensitive import CaseInsensitiveMapping
from masscli.metrics.config import ScoreConfig
from masscli.text.corpus import display_path, iter_lines
from masscli.text.wmt_markup import is_test_set, read_test_set, translation_lines

PREDICTION_FIELDS = ("label", "value", "tags")
"""Fields of `masscli predict --format jsonl` that may hold the prediction; the task decides which one."""
HYPOTHESES_FIELD = "hypotheses"
"""Field of `masscli generate --format jsonl` that holds the texts, the best one first."""
OWN_FIELDS = (*PREDICTION_FIELDS, "answer", HYPOTHESES_FIELD)
"""Fields that, together with `line`, identify JSON lines of `masscli predict` or `masscli generate`."""
PREDICTION_COLUMN = "prediction"
"""Column of `masscli predict --format tsv` that holds the prediction."""
ANSWER_COLUMN = "label"
"""Column of SWAG and RACE that holds the right choice."""

Sentences = list[list[tuple[int, list[str]]]]
"""Tagged sentences: a list of words for each, and for each word (line number in the file, columns)."""


@dataclass(frozen=True, slots=True)
class ScoreInput:
    """One file of hypotheses or references, reduced to the lines that are compared."""

    name: str
    lines: list[str]
    sentences: Sentences | None = None
    """The words of tagged sentences with all their columns; None if the lines are not tags."""
    column: int = 0
    """Index of the tags among the columns in `sentences`, from 0."""
    choices: list[int] | None = None
    """The number of choices of each example; None if the lines are not choices."""
    raw_json: bool = False
    """Whether the lines are JSON objects that are compared as they are, since no field was named."""
    bad_rows: BadRows = field(default_factory=BadRows)
    """What the reader of the file counted but did not read, such as comments, and what it doubts."""


MARKED_OUTPUTS = (
    (
        re.compile(r"[SHTDP]-[0-9]+\t"),
        "lines of fairseq-generate (S-, T-, H-, D-, P-)",
        "grep ^D- FILE | LC_ALL=C sort -V | cut -f3 takes the outputs out, and for references ^T- and -f2",
    ),
    (
        re.compile(r"[0-9]+ \|\|\| .* \|\|\| "),
        "lines of an n-best list (N ||| TEXT ||| SCORE)",
        "awk -F ' [|][|][|] ' '!($1 in seen) {seen[$1]; print $2}' FILE takes the best outputs out",
    ),
)
"""Lines of other programs in which a text is one of several columns: a pattern for a line, what such lines
are called, and a hint."""


def read_references(paths: Sequence[Path], options: ScoreConfig) -> list[ScoreInput]:
    """Read the reference files. Raises MasscliError if a format or column is not clear or does not exist."""
    references: list[ScoreInput] = []
    for name, path in _names(paths).items():
        if options.ref_format is None and is_test_set(path):
            # Each translation in the file is a reference.
            for translator, lines in read_test_set(path).items():
                references.append(ScoreInput(f"{name} {translator}".rstrip(), lines))
        else:
            references.append(_read_reference(name, path, options))
    return references


def read_hypotheses(
    paths: Sequence[Path], options: ScoreConfig, references: Sequence[ScoreInput]
) -> list[ScoreInput]:
    """Read the hypothesis files; they are read as CoNLL lines by default if the references are tagged.

    Raises MasscliError if a format or column is not clear or does not exist.
    """
    tagged = any(reference.sentences is not None for reference in references)
    return [
        _read_hypothesis(name, path, options, tagged)
        for name, path in _names(paths).items()
    ]


def _names(paths: Sequence[Path]) -> dict[str, Path]:
    """Return the paths by the names that messages use; `-` is called standard input.

    Raises MasscliError if a path is given twice.
    """
    for path in given_again(paths):
        raise MasscliError(f"{path}: given twice")
    named: dict[str, Path] = {}
    for path in paths:
        name = str(path)
        if name == "-":
            name = "standard input"
        named[name] = path
    return named


def _read_reference(name: str, path: Path, options: ScoreConfig) -> ScoreInput:
    column, flag = options.column, "--column"
    format = _reference_format(path, options)
    if format in ("swag", "race"):
        bad_rows = BadRows()
        records = _read_choice_records(path, format, options, bad_rows)
        choices = _choices(name, records, column or ANSWER_COLUMN, flag)
        return replace(choices, bad_rows=bad_rows)
    if format == "tsv" and is_csv(path):
        return ScoreInput(name, _csv_column(name, path, column, flag))
    rows = _read_rows(path)
    if format == "conll":
        return _conll(name, rows, column, flag)
    if format == "jsonl":
        return _jsonl(name, rows, column, flag, options.choices_column)
    has_columns = bool(rows) and "\t" in rows[0]
    if format == "tsv" and (column is not None or has_columns):
        return ScoreInput(name, _table_column(name, rows, column, flag))
    return ScoreInput(name, rows, raw_json=_begins_with_object(rows))


def _reference_format(path: Path, options: ScoreConfig) -> str:
    """Return the format of a reference file: from --ref-format, or else the metric and the file name.

    Without any of them it is tsv if a column is chosen, otherwise lines.
    """
    if options.ref_format is not None:
        return options.ref_format
    format = _format_by_name(path)
    # Entity F1 is for CoNLL lines, whatever their file is called.
    if "entity-f1" in options.metric and (
        format is None or (format == "tsv" and options.column is None)
    ):
        return "conll"
    if format is not None:
        return format
    if options.column is None:
        return "lines"
    return "tsv"


def _format_by_name(path: Path) -> str | None:
    """Return the format that a file name stands for, or None; a `.json` file is taken to be JSONL."""
    format = guess_format(path)
    # Questions of SQuAD are scored elsewhere (--metric squad); another .json file has an object on each line.
    if format == "squad":
        return "jsonl"
    return format


def _read_choice_records(
    path: Path, format: str, options: ScoreConfig, bad_rows: BadRows
) -> list[Record]:
    try:
        return list(read_records(path, format, bad_rows))
    except MasscliError as error:
        hint = error.hint
        # The user has not said what the file is, and may not know how it was interpreted.
        if options.ref_format is None:
            remark = f"it is taken for {format} by its name, see --ref-format"
            hint = f"{hint}; {remark}" if hint else remark
        raise MasscliError(error.message, hint) from None


def _read_hypothesis(
    name: str, path: Path, options: ScoreConfig, tagged: bool
) -> ScoreInput:
    column, flag = options.hyp_column, "--hyp-column"
    if is_test_set(path):
        return ScoreInput(name, list(translation_lines(path)))
    format = _format_by_name(path)
    if format == "tsv" and is_csv(path):
        return ScoreInput(name, _csv_column(name, path, column, flag))
    rows = _read_rows(path)
    # Objects may come from standard input, which has no name that says so.
    if format is None and _begins_with_object(rows):
        is_own = _is_own_output(_parse_object(name, 1, rows[0]))
        # Text that happens to be a JSON object is compared as it is, unless a field is asked for.
        if is_own or column is not None:
            format = "jsonl"
    if format == "jsonl":
        return _jsonl_hypothesis(name, rows, column, flag)
    if format == "conll" or (tagged and format in (None, "tsv")):
        return _conll(name, rows, column, flag)
    return _table_hypothesis(name, rows, column, flag, format == "tsv")


def _read_rows(path: Path) -> list[str]:
    """Return the lines of a file.

    Raises MasscliError if most of them are lines of another program's output, around whose texts there are
    numbers and marks that would be compared as words.
    """
    rows = list(iter_lines(path))
    for pattern, kind, hint in MARKED_OUTPUTS:
        if sum(pattern.match(row) is not None for row in rows) > len(rows) / 2:
            raise MasscliError(
                f"{display_path(path)}: has {kind}, and not only texts", hint
            )
    return rows


def output_lines(path: Path) -> list[str]:
    """Return the outputs in a file: its lines, a translation in markup, or the best texts in JSON lines.

    JSON lines of `masscli generate` and `predict` are recognized by the name .jsonl or by their fields.
    Raises MasscliError if a file .jsonl has no outputs of one of them.
    """
    name = display_path(path)
    if is_test_set(path):
        return list(translation_lines(path))
    rows = _read_rows(path)
    is_jsonl = guess_format(path) == "jsonl"
    if not rows or not (is_jsonl or _begins_with_object(rows)):
        return rows
    first = _parse_object(name, 1, rows[0])
    if HYPOTHESES_FIELD in first or _is_own_output(first):
        return _jsonl_hypothesis(name, rows, None, "--hyp-column").lines
    # Text may happen to be JSON objects, but not in a file of this name.
    if is_jsonl:
        raise MasscliError(
            f"{name}:1: is not an output of masscli generate or predict",
            "name such a file, or text with an output in each line",
        )
    return rows


def _table_hypothesis(
    name: str, rows: list[str], column: str | None, flag: str, is_tsv: bool
) -> ScoreInput:
    """Return the hypotheses in `rows`: the column `column`, or else the one that `predict` writes.

    Without columns the hypotheses are the lines themselves. Raises MasscliError if a TSV file has several
    columns and none is chosen.
    """
    header = rows[0].split("\t") if rows else []
    has_columns = len(header) > 1
    # A line of text may have a tab by chance, but hardly a column of this name.
    if column is None and has_columns and PREDICTION_COLUMN in header:
        column = PREDICTION_COLUMN
    if column is not None or (is_tsv and has_columns):
        return ScoreInput(name, _table_column(name, rows, column, flag))
    return ScoreInput(name, rows, raw_json=_begins_with_object(rows))


def _jsonl_hypothesis(
    name: str, rows: Sequence[str], column: str | None, flag: str
) -> ScoreInput:
    """Return the hypotheses in the rows of a JSONL file.

    They are in the field `column`, or else in the field that `masscli generate` or `predict` writes.
    """
    first = _parse_object(name, 1, rows[0]) if rows else {}
    if column is None and HYPOTHESES_FIELD in first:
        lines = []
        for number, row in json_lines(rows, name):
            lines.append(
                _best_text(_parse_object(name, number, row), f"{name}:{number}")
            )
        return ScoreInput(name, lines)
    if column is None:
        column = next((field for field in PREDICTION_FIELDS if field in first), None)
    return _jsonl(name, rows, column, flag)


def _begins_with_object(rows: Sequence[str]) -> bool:
    """Return whether the first line is a JSON object."""
    if not rows or not rows[0].startswith("{"):
        return False
    try:
        return isinstance(json.loads(rows[0]), dict)
    except (ValueError, RecursionError):
        return False


def _is_own_output(record: Mapping[str, object]) -> bool:
    """Return whether a JSON object looks like output of `masscli predict` or `generate`, by its fields."""
    return "line" in record and any(field in record for field in OWN_FIELDS)


def _table_column(
    name: str, rows: Sequence[str], column: str | None, flag: str
) -> list[str]:
    """Return the values of the column `column` of a TSV file, whose first row is the header.

    Raises MasscliError if no column is chosen, if it does not exist or is ambiguous, or if a row has another
    number of columns. `flag` is the option that chooses a column, for messages.
    """
    header = rows[0].split("\t") if rows else []
    listed = ", ".join(header)
    if column is None:
        raise MasscliError(
            f"{name}: is a table, but no column is chosen",
            f"choose with {flag}; it has {listed}",
        )
    # As in the tasks, the case of column names does not matter.
    positions = CaseInsensitiveMapping(
        {title: position for position, title in enumerate(header)}
    )
    # The mapping has only the last of two columns with one name, and the user may mean the other one.
    if header.count(column) > 1:
        raise MasscliError(
            f"{name}: has two columns called {column!r}", f"it has {listed}"
        )
    if column not in positions:
        hint = f"it has {listed}"
        if column.isdigit():
            hint += "; or are these CoNLL lines? --ref-format conll"
        raise MasscliError(f"{name}: has no column {column!r}", hint)
    values = []
    for number, row in enumerate(rows[1:], 2):
        cells = row.split("\t")
        if len(cells) != len(header):
            raise MasscliError(
                f"{name}:{number}: has {len(cells)} columns, the header has {len(header)}"
            )
        values.append(cells[positions[column]])
    return values


def _csv_column(name: str, path: Path, column: str | None, flag: str) -> list[str]:
    """Return the values of the column `column` of a comma-separated file, as `_table_column` does."""
    values = []
    for record in read_records(path, "tsv"):
        texts = CaseInsensitiveMapping(record.texts)
        if column is None or column not in texts:
            problem = "no column is chosen" if column is None else f"has no {column!r}"
            raise MasscliError(
                f"{name}: {problem}", f"choose with {flag}; it has {', '.join(texts)}"
            )
        values.append(texts[column])
    return values


def _choices(
    name: str, records: Sequence[Record], column: str, flag: str
) -> ScoreInput:
    """Return the right choice of each SWAG or RACE example, from the field `column`.

    The number of choices of each example is recorded in `choices`. Raises MasscliError if an example has no
    such field; `flag` is the option that chooses it, for messages.
    """
    lines, counts = [], []
    for record in records:
        texts = CaseInsensitiveMapping(record.texts)
        if column not in texts:
            raise MasscliError(
                f"{name}: has no column {column!r}",
                f"choose with {flag}; it has {', '.join(texts)}",
            )
        lines.append(texts[column])
        counts.append(len(record.lists["choices"]))
    return ScoreInput(name, lines, choices=counts)


def _conll(name: str, rows: Sequence[str], column: str | None, flag: str) -> ScoreInput:
    """Return one column of CoNLL lines: the number `column`, from 1, or else the default.

    The default is the column UPOS for CoNLL-U, otherwise the last column. Raises MasscliError if there is no
    such column; `flag` is the option that chooses it.
    """
    bad_rows = BadRows()
    sentences = list(split_sentences(rows, name, bad_rows))
    if not sentences:
        return ScoreInput(name, [], [], bad_rows=bad_rows)
    first_sentence = sentences[0]
    first_columns = first_sentence[0][1]
    width = len(first_columns)
    if column is None:
        column = str(width)
        first_cells = [columns[0] for _, columns in first_sentence]
        if is_conllu(first_columns, first_cells):
            column = CONLLU_UPOS
    number = parse_digits(column)
    if number is None or not 0 < number <= width:
        raise MasscliError(
            f"{name}: has no column {column!r}",
            f"columns of CoNLL lines are numbers, here 1 to {width}; see {flag}",
        )
    return replace(_tagged(name, sentences, number - 1), bad_rows=bad_rows)


def _tagged(name: str, sentences: Sentences, column: int) -> ScoreInput:
    """Return the tags, in the column with index `column`, as lines, with an empty line between sentences."""
    lines: list[str] = []
    for number, sentence in enumerate(sentences):
        if number > 0:
            lines.append("")
        lines += [columns[column] for _, columns in sentence]
    return ScoreInput(name, lines, sentences, column)


def _jsonl(
    name: str, rows: Sequence[str], field: str | None, flag: str, choices: str = ""
) -> ScoreInput:
    """Return the field `field` of the JSON objects in `rows`: texts, numbers, truth values, or lists of tags.

    `choices` is the name of the field that lists the choices of an example, if there is one. Raises
    MasscliError if no field is chosen, or if an object lacks it; `flag` is the option that chooses it.
    """
    records = []
    for number, row in json_lines(rows, name):
        records.append(CaseInsensitiveMapping(_parse_object(name, number, row)))
    if field is None:
        if len(records) == 1 and "data" in records[0]:
            raise MasscliError(
                f"{name}: is in the format of SQuAD",
                "score predictions with --metric squad",
            )
        listed = ", ".join(records[0]) if records else "no line"
        raise MasscliError(
            f"{name}: is JSONL, but no field is chosen",
            f"choose with {flag}; it has {listed}",
        )
    values = _field_values(name, records, field, flag)
    if values and isinstance(values[0], list):
        sentences: Sentences = []
        for number, value in enumerate(values, 1):
            assert isinstance(value, list)
            words = []
            for item in value:
                # A word has a single column here, its tag.
                words.append((number, [_as_text(item, f"{name}:{number}", field)]))
            sentences.append(words)
        return _tagged(name, sentences, 0)
    lines = []
    for number, value in enumerate(values, 1):
        lines.append(_as_text(value, f"{name}:{number}", field))
    return ScoreInput(name, lines, choices=_choice_counts(records, choices))


def _choice_counts(
    records: Sequence[Mapping[str, object]], field: str
) -> list[int] | None:
    """Return the length of the list `field` in each record, or None if a record has no such list."""
    counts = []
    for record in records:
        choices = record.get(field)
        if not isinstance(choices, list):
            return None
        counts.append(len(choices))
    return counts or None


def _field_values(
    name: str, records: Sequence[Mapping[str, object]], field: str, flag: str
) -> list[object]:
    """Return the value of `field` in each record.

    Raises MasscliError if a record lacks it, or if it is a list in some records but not in others.
    """
    values: list[object] = []
    for number, record in enumerate(records, 1):
        if field not in record:
            raise MasscliError(
                f"{name}:{number}: has no field {field!r}",
                f"it has {', '.join(record)}; choose with {flag}",
            )
        values.append(record[field])
        first_is_list = isinstance(values[0], list)
        if isinstance(values[-1], list) is not first_is_list:
            article = "no" if first_is_list else "a"
            raise MasscliError(
                f"{name}:{number}: {field!r} is {article} list, unlike in line 1"
            )
    return values


def _best_text(record: Mapping[str, object], where: str) -> str:
    """Return the first, best text in a JSON object of `masscli generate`; raise MasscliError without one."""
    match record.get(HYPOTHESES_FIELD):
        case [{"text": str(text)}, *_]:
            return text
    raise MasscliError(
        f"{where}: has no hypothesis with a text",
        "masscli generate --format jsonl writes one in each line",
    )


def _parse_object(name: str, number: int, row: str) -> dict[str, object]:
    """Return the JSON object in line `number` of the file `name`; raise MasscliError if it is none."""
    parsed = parse_json_at(f"{name}:{number}", row, JSONL_HINT)
    if not isinstance(parsed, dict):
        raise MasscliError(
            f"{name}:{number}: expected an object, got {row[:40]}", JSONL_HINT
        )
    # Of CommonsenseQA and the like, the fields that `masscli preprocess` reads.
    return flatten_choices(parsed)


def _as_text(value: object, where: str, field: str | None) -> str:
    """Return a JSON value as text.

    Raises MasscliError, which names `where`, for null, NaN, infinity, lists and objects.
    """
    if is_missing(value) or isinstance(value, list | dict):
        raise MasscliError(
            f"{where}: {field!r} is {json.dumps(value)[:40]}, expected a string or a number"
        )
    if isinstance(value, str):
        return value
    # Numbers are compared as text, written as JSON writes them.
    return json.dumps(value)
