"""Compare text, labels, tags or answers with references.

HYP is detokenised text, one hypothesis a line (- is standard input); --ref is text of as many lines, and may be repeated. Each score
is printed with its signature: two scores can be compared only where these agree. Lines that look wrong are pointed out on stderr.

References may be a column of a table, of JSONL or of CoNLL lines (--column), and hypotheses whatever `masscli predict` writes.

With several HYP and --paired, each is compared with the first by paired bootstrap resampling.

Examples:
  masscli score hyp.de --ref test.de --metric bleu,chrf
  masscli score hyp.de --ref test.de --metric multi-bleu --lang de --lowercase
  masscli score baseline.de ours.de --ref test.de --paired
  masscli generate runs/ende < test.en | masscli score - --ref test.de
  masscli predict runs/sst2 --input valid.tsv | masscli score - --ref valid.tsv --column label --metric accuracy,f1,mcc
  masscli score predictions.json --ref dev.json --metric squad --na-prob odds.json
  masscli predict runs/ner --input valid.conll | masscli score - --ref valid.conll --metric entity-f1
  masscli predict runs/pos --input dev.conllu | masscli score - --ref dev.conllu --column 4 --metric accuracy
  masscli predict runs/race --input dev.jsonl --format jsonl | masscli score - --ref dev.jsonl --column label --metric accuracy
  masscli score summaries.txt --ref test.jsonl --column summary --metric rouge,rouge-lsum --stem
  masscli score hyp.de --ref test.de --append scores.jsonl --tag method=mass --tag seed=1
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from masscli.cli import score_inputs
from masscli.cli.report import parse_tags
from masscli.core.errors import MasscliError
from masscli.metrics import METRIC_FAMILIES, Score, build_metrics, compare, score, score_lines
from masscli.metrics.config import ScoreConfig
from masscli.metrics.sanity_checks import check_labels, check_metrics, check_summaries, check_text
from masscli.metrics.unlabelled import drop_unlabelled
from masscli.reporting.score_log import LoggedScore, append_scores
from masscli.text.corpus import iter_lines
from masscli.text.preprocessing import has_moses_rules
from masscli.version import __version__

CASELESS = {"rouge", *METRIC_FAMILIES["rouge"], "rouge-lsum"}
"""Metrics that never look at case."""


def run(
    options: ScoreConfig,
    hyp: Annotated[list[Path], typer.Argument(metavar="HYP", help="Text to score; - is standard input.")],
    ref: Annotated[
        list[Path], typer.Option("--ref", "-r", metavar="FILE", help="Reference; repeatable, or with commas.")
    ],
    src: Annotated[
        Path | None, typer.Option("--src", metavar="FILE", help="Source text, only to notice a copy of it.")
    ] = None,
    append: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also add the scores to this log, which `masscli report` reads."),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Tag of the scores in --append, such as seed=1. Repeatable."),
    ] = None,
) -> None:
    """Score each hypothesis file."""
    tags = parse_tags(tag, "--tag")
    if tags and append is None:
        raise MasscliError("--tag: tags are written to the log of --append only", "add --append scores.jsonl")
    if append is not None and options.sentence_level:
        raise MasscliError("--append: takes scores of whole files, no --sentence-level")
    if "squad" in options.metric:
        answered = _answers(options, hyp, ref)
        if append is not None:
            _append(append, answered, tags)
        return
    if options.paired and len(hyp) < 2:
        raise MasscliError(
            "--paired: compares two or more files, got one",
            "masscli score BASELINE OTHER... --ref FILE --paired",
        )
    build_metrics(options)  # complains of a metric that is none, before any file is read
    files = [
        Path(name) for given in ref for name in ([str(given)] if given.exists() else str(given).split(","))
    ]
    wanted = score_inputs.references(files, options)
    told = score_inputs.hypotheses(hyp, options, wanted)
    score_inputs.check_lengths(told, wanted)
    systems, references = (
        {side.name: side.lines for side in found} for found in score_inputs.as_choices(told, wanted)
    )
    _warn(score_inputs.remarks(told, wanted))
    if "multi-bleu" in options.metric and not has_moses_rules(options.lang):
        _warn([f"--lang {options.lang}: the Moses tokenizer has no rules for it and takes those of English"])
    options, kept = drop_unlabelled(references, options)
    if kept is not None:
        total = len(wanted[0].lines)
        _warn(
            [
                f"{', '.join(references)}: {total - len(kept)} of {total} examples have no gold label ({options.no_gold!r}): left out"
            ]
        )
        systems, references = (
            {name: [rows[n] for n in kept] for name, rows in found.items()} for found in (systems, references)
        )
    _warn(check_metrics(references, options))
    source = list(iter_lines(src)) if src is not None else None
    for name, hypotheses in systems.items():
        _warn(
            check_text(
                name, hypotheses, references, source, options.lowercase or set(options.metric) <= CASELESS
            )
        )
        _warn(check_labels(name, hypotheses, references, options))
        _warn(check_summaries(name, hypotheses, references, options))
    texts = list(references.values())
    as_json = options.format == "json"
    if options.sentence_level:
        for name, hypotheses in systems.items():
            _print_lines(name, score_lines(hypotheses, texts, options), as_json)
        return
    found = (
        compare(systems, texts, options)
        if options.paired
        else {name: score(text, texts, options) for name, text in systems.items()}
    )
    print(_as_json(found) if as_json else (_table if options.paired else _listing)(found))
    if append is not None:
        _append(append, found, tags)


def _append(path: Path, scores: Mapping[str, Sequence[Score]], tags: Mapping[str, str]) -> None:
    """Log scores with their tags, and with the name of their file if there are several files."""
    logged = []
    for name, row in scores.items():
        own_tags = dict(tags) if len(scores) == 1 else {**tags, "file": name}
        for one in row:
            logged.append(LoggedScore(one.name, one.value, one.signature, tuple(own_tags.items())))
    append_scores(path, logged)


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        print(f"warning: {sentence}", file=sys.stderr)


def _answers(options: ScoreConfig, hyp: Sequence[Path], ref: Sequence[Path]) -> dict[str, list[Score]]:
    """Score SQuAD's own files, predictions by id and a data set; return exact match and F1 of each file."""
    from masscli.data.formats.squad import read_squad
    from masscli.metrics import squad

    beside = (
        options.confidence,
        options.paired,
        options.sentence_level,
        options.column,
        options.hyp_column,
        options.ref_format,
    )
    if len(options.metric) > 1 or len(ref) > 1 or any(beside):
        raise MasscliError(
            "--metric squad: stands alone, with one --ref",
            "masscli score predictions.json --ref dev.json --metric squad",
        )
    records = list(read_squad(ref[0], check_answers=False))
    asked = [squad.Question(r.texts["id"], tuple(r.lists["answers"])) for r in records]
    v2 = any(r.numbers["impossible"][0] for r in records)
    if options.na_prob is not None and not v2:
        raise MasscliError(f"--na-prob: all questions of {ref[0]} have answers", "leave it out")
    odds = (
        {key: float(str(value)) for key, value in _object(options.na_prob).items()}
        if options.na_prob is not None
        else None
    )
    signature = f"squad:{'2.0' if v2 else '1.1'}|missing:{options.missing}|version:masscli-{__version__}"
    scores: dict[str, list[Score]] = {}
    for path in hyp:
        told = {key: str(value) for key, value in _object(path).items()}
        found = squad.evaluate_squad(
            asked, told, v2, odds, options.na_prob_thresh, options.missing == "wrong"
        )
        scores[str(path)] = [Score(name, found[name], signature) for name in ("exact", "f1")]
        if options.format == "json":
            print(json.dumps({"file": str(path), **found}, indent=1))
            continue
        rows = [f"{name:<{max(map(len, found))}} = {value:.4g}" if name.endswith("thresh") else
                f"{name:<{max(map(len, found))}} = {value:.2f}" for name, value in found.items()]  # fmt: skip
        print("\n".join([*([str(path)] if len(hyp) > 1 else []), *rows, signature]))
    return scores


def _object(path: Path) -> dict[str, object]:
    """A JSON object from ids to answers, or what `masscli predict --format jsonl` writes: an object for each question."""
    rows = list(iter_lines(path))
    try:
        if len(rows) > 1 and rows[0].startswith("{") and rows[0].endswith("}"):
            return {str(one["id"]): one["answer"] for one in map(json.loads, rows)}
        found = json.loads("\n".join(rows))
    except (KeyError, TypeError) as error:
        raise MasscliError(
            f"{path}: its lines have no {error}", "masscli predict --format jsonl writes id and answer"
        ) from None
    except ValueError as error:
        raise MasscliError(
            f"{path}: not JSON ({error})", "predictions are an object from ids to answers"
        ) from None
    if not isinstance(found, dict):
        raise MasscliError(f"{path}: expected an object from ids to answers")
    return found


def _listing(found: Mapping[str, Sequence[Score]]) -> str:
    """`BLEU = 41.20  signature`, in columns; the file's name in front where there are several."""
    rows = [
        (f"{name}  " if len(found) > 1 else "", s, _value(s))
        for name, scores in found.items()
        for s in scores
    ]
    file, title, value = (
        max(map(len, column)) for column in zip(*((f, s.name, v) for f, s, v in rows), strict=True)
    )
    return "\n".join(f"{f:<{file}}{s.name:<{title}} = {v:>{value}}  {s.signature}" for f, s, v in rows)


def _table(found: Mapping[str, Sequence[Score]]) -> str:
    """A row for each system, the baseline first; below it the signatures."""
    scores = list(found.values())
    head = ["", *(s.name for s in scores[0])]
    body = [[name, *(_cell(s) for s in row)] for name, row in found.items()]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [head, *body]
    ]
    title = max(len(s.name) for s in scores[0])
    return "\n".join([*table, "", *(f"{s.name:<{title}}  {s.signature}" for s in scores[0])])


def _value(score: Score) -> str:
    return f"{score.value:.2f}" if score.ci is None else f"{score.value:.2f} \u00b1 {score.ci:.2f}"


def _cell(score: Score) -> str:
    """`41.20 +- 0.80 (p = 0.0310*)`; a star marks p < 0.05."""
    return _value(score) + ("" if score.p is None else f" (p = {score.p:.4f}{'*' if score.p < 0.05 else ''})")


def _print_lines(name: str, rows: Sequence[Sequence[Score]], as_json: bool) -> None:
    if not as_json:
        print("\t".join(f"{s.name} {s.signature}" for s in rows[0]), file=sys.stderr)
    for number, row in enumerate(rows, 1):
        if as_json:
            print(
                json.dumps(
                    {"file": name, "line": number, **{s.name: s.value for s in row}}, ensure_ascii=False
                )
            )
        else:
            print("\t".join(f"{s.value:.2f}" for s in row))


def _as_json(found: Mapping[str, Sequence[Score]]) -> str:
    """A list with one object for each file and metric; unrounded."""
    plain = [{"file": name, **dataclasses.asdict(s)} for name, row in found.items() for s in row]
    return json.dumps(
        [{k: v for k, v in s.items() if v not in (None, "")} for s in plain], ensure_ascii=False, indent=1
    )
