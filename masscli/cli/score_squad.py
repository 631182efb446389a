"""`masscli score --metric squad`: evaluate answers as SQuAD's official scripts do.

There is one script for version 1.1 and one for 2.0, and their rules differ. Those of 2.0 are used if the file
of questions says that it is of version 2, or if a question has no answer.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.cli.messages import warn
from masscli.core.errors import MasscliError
from masscli.data.formats.json_text import JSONL_HINT, json_lines, parse_json_at
from masscli.metrics import Score
from masscli.metrics.config import ScoreConfig
from masscli.metrics.squad import Question, evaluate_squad
from masscli.text.corpus import iter_lines
from masscli.version import __version__


def score_squad(
    options: ScoreConfig, hypotheses: Sequence[Path], references: Sequence[Path]
) -> dict[str, list[Score]]:
    """Print the SQuAD scores of each file of answers; return exact match and F1 of each, by path.

    `references` is one file in SQuAD's format. Raises MasscliError for options that do not suit this metric.
    """
    _check_alone(options, references)
    reference = references[0]
    questions, is_v2, is_clear = _read_questions(reference)
    probabilities = None
    if options.na_prob is not None:
        if not is_v2:
            raise MasscliError(
                f"--na-prob: all questions of {reference} have answers", "leave it out"
            )
        probabilities = _read_probabilities(options.na_prob)
    version = "2.0" if is_v2 else "1.1"
    signature = (
        f"squad:{version}|missing:{options.missing}|version:masscli-{__version__}"
    )
    scores: dict[str, list[Score]] = {}
    for path in hypotheses:
        answers = _read_answers(path)
        strange = answers.keys() - {question.id for question in questions}
        if strange:
            warn(
                f"{path}: {len(strange):,} of {len(answers):,} answers are to questions that "
                f"{reference} lacks, such as {min(strange)!r}; they are not scored"
            )
        missing_is_wrong = options.missing == "wrong"
        values = evaluate_squad(
            questions,
            answers,
            is_v2,
            probabilities,
            options.na_prob_thresh,
            missing_is_wrong,
        )
        if not is_clear:
            others = evaluate_squad(
                questions, answers, v2=True, missing_is_wrong=missing_is_wrong
            )
            _warn_of_other_rules(reference, path, values, others)
        scores[str(path)] = [
            Score(name, values[name], signature) for name in ("exact", "f1")
        ]
        if options.format == "json":
            print(json.dumps({"file": str(path), **values}, indent=1))
            continue
        if len(hypotheses) > 1:
            print(path)
        print(_listing(values))
        print(signature)
    return scores


def _read_questions(path: Path) -> tuple[list[Question], bool, bool]:
    """Return the questions of a file, whether the rules of 2.0 are used, and whether this is clear.

    It is not if the file does not say that it is of version 1 or 2, and all its questions have answers. Some
    files have a name before the number, such as "SQuAD2.0".
    """
    # Imported only now, because other metrics do not need it.
    from masscli.data.formats.squad import read_squad_to_score

    stated_version, records = read_squad_to_score(path)
    questions = []
    for record in records:
        questions.append(Question(record.texts["id"], tuple(record.lists["answers"])))
    has_unanswerable = any(record.numbers["impossible"][0] for record in records)
    number = re.search("[0-9]+", stated_version)
    version = "" if number is None else number[0]
    is_v2 = has_unanswerable or version == "2"
    return questions, is_v2, is_v2 or version == "1"


def _warn_of_other_rules(
    reference: Path,
    path: Path,
    values: Mapping[str, float],
    others: Mapping[str, float],
) -> None:
    """Print a warning if the rules of SQuAD 2.0 give the answers in `path` other scores than those of 1.1.

    The former are `others`, and the latter `values`.
    """
    if any(others[name] != values[name] for name in ("exact", "f1")):
        warn(
            f"{reference} does not say which version of SQuAD it is, and each of its questions has "
            f"an answer, so that the rules of 1.1 are used; those of 2.0 give {path} exact = "
            f"{others['exact']:.2f}, f1 = {others['f1']:.2f} "
            '(a file with "version": "v2.0" beside "data" is scored by them)'
        )


def _check_alone(options: ScoreConfig, references: Sequence[Path]) -> None:
    """Raise MasscliError for options that cannot be combined with --metric squad."""
    other_options = (
        options.confidence,
        options.paired,
        options.sentence_level,
        options.column,
        options.hyp_column,
        options.ref_format,
    )
    if len(options.metric) > 1 or len(references) > 1 or any(other_options):
        raise MasscliError(
            "--metric squad: takes one --ref, and no other metric or column",
            "masscli score predictions.json --ref dev.json --metric squad",
        )


def _listing(values: Mapping[str, float]) -> str:
    width = max(len(name) for name in values)
    lines = []
    for name, value in values.items():
        # A threshold is a probability or a difference of logits, which two digits would not tell.
        text = f"{value:.4g}" if name.endswith("thresh") else f"{value:.2f}"
        lines.append(f"{name:<{width}} = {text}")
    return "\n".join(lines)


def _read_answers(path: Path) -> dict[str, str]:
    """Read the answers in a JSON or JSONL file, by the id of the question.

    Raises MasscliError if an answer is not a text.
    """
    answers = {}
    for question, answer in _read_by_id(path, "answer").items():
        if not isinstance(answer, str):
            raise MasscliError(
                f"{path}: the answer to question {question!r} is {_shown(answer)}, expected a text",
                'an empty text, "", says that there is no answer',
            )
        answers[question] = answer
    return answers


def _read_probabilities(path: Path) -> dict[str, float]:
    """Read the no-answer probabilities in a JSON or JSONL file, by the id of the question.

    Raises MasscliError if a value is not a finite number.
    """
    probabilities = {}
    for question, value in _read_by_id(path, "na_prob").items():
        # To Python, True is a number; a whole number in JSON may be too large for a float.
        is_number = type(value) in (int, float)
        if not is_number or not abs(value) <= sys.float_info.max:
            raise MasscliError(
                f"--na-prob {path}: question {question!r} has {_shown(value)}, expected a number",
                'such as {"ID": 0.25, ...}',
            )
        probabilities[question] = float(value)
    return probabilities


def _shown(value: object) -> str:
    return json.dumps(value)[:40]


def _read_by_id(path: Path, field: str) -> dict[str, Any]:
    """Return the values in a file by the id of their question.

    The file is a JSON object from ids to values, or JSON lines with the fields `id` and `field`, as
    `masscli predict --format jsonl` writes them. Raises MasscliError if it is neither, or if two lines
    have one id.
    """
    rows = list(iter_lines(path))
    # The first line of a single object that is written over several lines is not closed.
    one_object_per_line = (
        len(rows) > 1 and rows[0].startswith("{") and rows[0].endswith("}")
    )
    if not one_object_per_line:
        values = parse_json_at(
            str(path), "\n".join(rows), "predictions are an object from ids to answers"
        )
        if not isinstance(values, dict):
            raise MasscliError(f"{path}: expected an object from ids to answers")
        # Of a single question, the only line of JSONL is an object as well.
        if {"line", "id", field} <= values.keys():
            return {str(values["id"]): values[field]}
        return values
    values = {}
    for number, row in json_lines(rows, str(path)):
        prediction = parse_json_at(f"{path}:{number}", row, JSONL_HINT)
        if not isinstance(prediction, dict) or not {"id", field} <= prediction.keys():
            raise MasscliError(
                f"{path}:{number}: has no id or no {field}",
                f"`masscli predict --format jsonl` writes id and {field}",
            )
        if str(prediction["id"]) in values:
            raise MasscliError(
                f"{path}:{number}: an earlier line has the id {prediction['id']!r}, too",
                "predict each question once",
            )
        values[str(prediction["id"])] = prediction[field]
    return values
