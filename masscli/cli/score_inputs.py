"""The inputs of `masscli score`: lines, or a column of a table, JSONL, CoNLL lines, SWAG or RACE.

The format of references follows from the name of the file or `--ref-format`, and `--column` chooses a column.
Hypotheses are lines, or what `masscli predict` and `masscli generate` write, and `--hyp-column` chooses a
column. Default columns are those that the tasks read. What is not clear is refused; nothing is guessed from
values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from masscli.cli.score_columns import (
    ScoreInput,
    choice_column,
    conll_column,
    csv_column,
    jsonl_field,
    parse_object,
    table_column,
)
from masscli.core.errors import MasscliError
from masscli.core.files import given_again
from masscli.data.formats.bad_rows import BadRows
from masscli.data.formats.csv_rows import is_csv
from masscli.data.formats.json_text import json_lines
from masscli.data.formats.record import Record
from masscli.data.formats.registry import guess_format, read_records
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
    """Read a file of references in the format that options and name say, and reduce it to lines."""
    column, flag = options.column, "--column"
    format = _reference_format(path, options)
    if format in ("swag", "race"):
        bad_rows = BadRows()
        records = _read_choice_records(path, format, options, bad_rows)
        choices = choice_column(name, records, column or ANSWER_COLUMN, flag)
        return replace(choices, bad_rows=bad_rows)
    if format == "tsv" and is_csv(path):
        return ScoreInput(name, csv_column(name, path, column, flag))
    rows = _read_rows(path)
    if format == "conll":
        return conll_column(name, rows, column, flag)
    if format == "jsonl":
        return jsonl_field(name, rows, column, flag, options.choices_column)
    has_columns = bool(rows) and "\t" in rows[0]
    if format == "tsv" and (column is not None or has_columns):
        return ScoreInput(name, table_column(name, rows, column, flag))
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
    """Return the examples of SWAG or RACE in a file; errors say that the name decided on the format."""
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
    """Read a file of hypotheses, in the format that its name and first line show, and reduce it to lines.

    `tagged` says whether the references are tagged sentences, so that lines may be, too.
    """
    column, flag = options.hyp_column, "--hyp-column"
    if is_test_set(path):
        return ScoreInput(name, list(translation_lines(path)))
    format = _format_by_name(path)
    if format == "tsv" and is_csv(path):
        return ScoreInput(name, csv_column(name, path, column, flag))
    rows = _read_rows(path)
    # Objects may come from standard input, which has no name that says so.
    if format is None and _begins_with_object(rows):
        is_own = _is_own_output(parse_object(name, 1, rows[0]))
        # Text that happens to be a JSON object is compared as it is, unless a field is asked for.
        if is_own or column is not None:
            format = "jsonl"
    if format == "jsonl":
        return _jsonl_hypothesis(name, rows, column, flag)
    if format == "conll" or (tagged and format in (None, "tsv")):
        return conll_column(name, rows, column, flag)
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
    first = parse_object(name, 1, rows[0])
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
        return ScoreInput(name, table_column(name, rows, column, flag))
    return ScoreInput(name, rows, raw_json=_begins_with_object(rows))


def _jsonl_hypothesis(
    name: str, rows: Sequence[str], column: str | None, flag: str
) -> ScoreInput:
    """Return the hypotheses in the rows of a JSONL file.

    They are in the field `column`, or else in the field that `masscli generate` or `predict` writes.
    """
    first = parse_object(name, 1, rows[0]) if rows else {}
    if column is None and HYPOTHESES_FIELD in first:
        lines = []
        for number, row in json_lines(rows, name):
            lines.append(
                _best_text(parse_object(name, number, row), f"{name}:{number}")
            )
        return ScoreInput(name, lines)
    if column is None:
        column = next((field for field in PREDICTION_FIELDS if field in first), None)
    return jsonl_field(name, rows, column, flag)


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


def _best_text(record: Mapping[str, object], where: str) -> str:
    """Return the first, best text in a JSON object of `masscli generate`; raise MasscliError without one."""
    match record.get(HYPOTHESES_FIELD):
        case [{"text": str(text)}, *_]:
            return text
    raise MasscliError(
        f"{where}: has no hypothesis with a text",
        "masscli generate --format jsonl writes one in each line",
    )
