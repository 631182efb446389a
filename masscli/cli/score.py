"""Compare text, labels, tags or answers with references.

HYP is detokenized text, one hypothesis per line (- is standard input); --ref is text with the same
number of lines, and may be repeated. Each score is printed with its signature: two scores are
comparable only if their signatures agree. Warnings on standard error point out lines that look wrong.

References may be a column of a table, of JSONL or of CoNLL lines (--column), and hypotheses any output
of `masscli predict`.

With several HYP and --paired, each is compared with the first by paired bootstrap resampling.

With --gen-subset, HYP are runs, and no references are needed: everything that validation measures, such
as losses, BLEU and accuracy, is measured on that split of the run's data. With --context-window, the
perplexity of a gpt run on running text is measured, in windows that overlap by so many tokens.

Examples:
  masscli score hyp.de --ref test.de --metric bleu,chrf
  masscli score hyp.de --ref test.de --metric multi-bleu --lang de --lowercase
  masscli score baseline.de ours.de --ref test.de --paired
  masscli generate runs/ende < test.en | masscli score - --ref test.de
  masscli predict runs/sst2 --input valid.tsv | masscli score - --ref valid.tsv --column label -m f1,mcc
  masscli score predictions.json --ref dev.json --metric squad --na-prob odds.json
  masscli predict runs/ner --input valid.conll | masscli score - --ref valid.conll --metric entity-f1
  masscli predict runs/pos --input dev.conllu | masscli score - --ref dev.conllu --metric accuracy
  masscli score race.jsonl --ref dev.jsonl --column label --metric accuracy
  masscli score summaries.txt --ref test.jsonl --column summary --metric rouge,rouge-lsum --stem
  masscli score hyp.de --ref test.de --append scores.jsonl --tag method=mass --tag seed=1
  masscli score runs/ende --gen-subset test
  masscli score runs/gpt --gen-subset test --context-window 256
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from masscli.cli.messages import warn
from masscli.cli.output import check_inputs_stay, check_is_file
from masscli.cli.score_agreement import (
    as_choices,
    check_inputs,
    check_lengths,
    check_numbers,
    check_references,
)
from masscli.cli.score_formats import (
    Scores,
    as_json,
    as_lines,
    as_table,
    line_scores_as_columns,
    line_scores_as_json,
)
from masscli.cli.score_inputs import read_hypotheses, read_references
from masscli.cli.score_runs import MeasureConfig, score_runs
from masscli.cli.score_squad import score_squad
from masscli.cli.text_inputs import warn_of_examples
from masscli.core.config import split_at_commas
from masscli.core.errors import MasscliError
from masscli.core.listing import count_of
from masscli.metrics import METRIC_FAMILIES, build_metrics, compare, score, score_lines
from masscli.metrics.config import ScoreConfig
from masscli.metrics.label_checks import check_correlations, check_labels, check_metrics
from masscli.metrics.sanity_checks import (
    TEXT_METRICS,
    check_duration,
    check_spelling,
    check_summaries,
    check_text,
    check_tokenization,
)
from masscli.metrics.unlabeled import check_blank_labels, drop_unlabeled
from masscli.metrics.zero_bleu import explain_zero_bleu
from masscli.reporting.score_log import LoggedScore, append_scores, parse_tags
from masscli.text.preprocessing import has_moses_rules
from masscli.text.wmt_markup import source_lines

CASELESS = {"rouge", *METRIC_FAMILIES["rouge"], "rouge-lsum"}
"""Metrics that always ignore case."""


@dataclass(frozen=True)
class Texts:
    """The lines of the hypotheses and references to compare, by the names of their files."""

    hypotheses: Mapping[str, Sequence[str]]
    references: Mapping[str, Sequence[str]]

    def select(self, numbers: Sequence[int]) -> Texts:
        """Return only the lines with these numbers, from 0, of all hypotheses and references."""
        return Texts(
            _select(self.hypotheses, numbers), _select(self.references, numbers)
        )


def run(
    options: ScoreConfig,
    measuring: MeasureConfig,
    hyp: Annotated[
        list[Path],
        typer.Argument(
            metavar="HYP",
            help="Text to score; - is standard input. With --gen-subset: runs.",
        ),
    ],
    ref: Annotated[
        list[Path] | None,
        typer.Option(
            "--ref",
            "-r",
            metavar="FILE",
            help="Reference; repeatable, or separated by commas.",
        ),
    ] = None,
    src: Annotated[
        Path | None,
        typer.Option(
            "--src",
            metavar="FILE",
            help="Source text, one line per hypothesis; only used to detect copies of it.",
        ),
    ] = None,
    append: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Also add the scores to this log, which `masscli report` reads.",
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Tag of the scores in --append, such as seed=1. Repeatable.",
        ),
    ] = None,
) -> None:
    """Score each hypothesis file, or with --gen-subset each run; print and, with --append, log the scores."""
    tags = parse_tags(tag, "--tag")
    check_is_file({"--append": append})
    check_inputs_stay({"--append": append}, [*hyp, *(ref or []), src])
    if tags and append is None:
        raise MasscliError(
            "--tag: tags are written to the log of --append only",
            "add --append scores.jsonl",
        )
    if append is not None and options.sentence_level:
        raise MasscliError(
            "--append: logs scores of whole files, and cannot be combined with --sentence-level"
        )
    scores_lines = not measuring.is_asked_for and "squad" not in options.metric
    if src is not None and not scores_lines:
        warn("--src has no effect: copies are noticed in lines of text only")
    if measuring.is_asked_for:
        score_runs(options, measuring, hyp, ref, append, tags)
        return
    if ref is None:
        raise MasscliError(
            "--ref: there is nothing to compare with",
            "masscli score HYP --ref FILE, or masscli score RUN --gen-subset test",
        )
    scores = _score_files(options, hyp, ref, src)
    if append is not None:
        _append(append, scores, tags)


def _score_files(
    options: ScoreConfig, hyp: list[Path], ref: list[Path], src: Path | None
) -> Scores:
    """Score files with outputs, print the scores, and return those of each file, by name.

    With --sentence-level the scores of lines are printed, and the result is empty. Raises MasscliError for
    options, files or lines that cannot be scored.
    """
    # Answers belong together by the ids of their questions, and not line by line.
    if "squad" in options.metric:
        return score_squad(options, hyp, ref)
    if options.paired and len(hyp) < 2:
        raise MasscliError(
            "--paired: compares two or more files, got one",
            "masscli score BASELINE OTHER... --ref FILE --paired",
        )
    # An unknown metric is refused before any file is read.
    build_metrics(options, ["squad"])
    texts = _read_texts(options, hyp, ref)
    source = None if src is None else _read_source(src, texts)
    options, texts = _without_unlabeled(options, texts)
    _warn_of_oddities(options, texts, source)
    if {"pearson", "spearman"}.intersection(options.metric):
        check_numbers({**texts.references, **texts.hypotheses})
    if options.sentence_level:
        _print_line_scores(options, texts)
        return {}
    scores = _compute(options, texts)
    references = list(texts.references.values())
    for name, lines in texts.hypotheses.items():
        warn(*explain_zero_bleu(name, scores[name], lines, references, options))
    if options.format == "json":
        print(as_json(scores))
    elif options.paired:
        print(as_table(scores))
    else:
        print(as_lines(scores))
    return scores


def _read_texts(
    options: ScoreConfig, hyp: Sequence[Path], ref: Sequence[Path]
) -> Texts:
    """Read hypotheses and references, check that they fit each other, and print warnings.

    Raises MasscliError if a file or column is missing, or if numbers of lines differ.
    """
    paths = []
    for given in ref:
        # A name with a comma may be that of a single file.
        if given.exists():
            paths.append(given)
        else:
            paths += [Path(name) for name in split_at_commas(str(given))]
    references = read_references(paths, options)
    hypotheses = read_hypotheses(hyp, options, references)
    check_lengths(hypotheses, references)
    # Errors are raised before warnings are printed.
    compared_hypotheses, compared_references = as_choices(hypotheses, references)
    for one in (*references, *hypotheses):
        if one.bad_rows.unread:
            print(
                f"{one.name}: not read: {one.bad_rows.unread_text()}", file=sys.stderr
            )
        warn(*one.bad_rows.doubts)
    warn(*check_references(references))
    warn(*check_inputs(hypotheses, references))
    if options.choices_column != ScoreConfig.choices_column and all(
        one.choices is None for one in references
    ):
        flag = f"--choices-column {options.choices_column}"
        warn(f"{flag} has no effect: not every reference has such a list")
    if "multi-bleu" in options.metric:
        warn(*_check_moses_rules(options, [one.name for one in references]))
    return Texts(
        {one.name: one.lines for one in compared_hypotheses},
        {one.name: one.lines for one in compared_references},
    )


def _without_unlabeled(options: ScoreConfig, texts: Texts) -> tuple[ScoreConfig, Texts]:
    """Leave out the examples without a gold label, print a warning if there are any, and return the rest.

    The options are returned, too, with the label that means "no gold label" in `no_gold`.
    """
    options, labeled = drop_unlabeled(texts.references, options)
    for name, lines in texts.hypotheses.items():
        check_blank_labels(name, lines, texts.references, options)
    if labeled is None:
        return options, texts
    total = len(next(iter(texts.references.values())))
    names = ", ".join(texts.references)
    missing = total - len(labeled)
    warn(
        f"{names}: {missing} of {total} examples have no gold label ({options.no_gold!r}): left out"
    )
    return options, texts.select(labeled)


def _select(
    files: Mapping[str, Sequence[str]], numbers: Sequence[int]
) -> dict[str, list[str]]:
    selected = {}
    for name, lines in files.items():
        selected[name] = [lines[number] for number in numbers]
    return selected


def _read_source(path: Path, texts: Texts) -> Sequence[str]:
    """Return the lines of --src. Raises MasscliError if they are not as many as those that are compared."""
    warn_of_examples(path)
    source = list(source_lines(path))
    for name, lines in texts.hypotheses.items():
        if len(source) != len(lines):
            raise MasscliError(
                f"--src {path}: has {count_of(len(source), 'line')}, but {name} has {len(lines)}",
                "line n of one is the source of line n of the other",
            )
    return source


def _check_moses_rules(options: ScoreConfig, references: list[str]) -> Iterator[str]:
    """Yield warnings if multi-bleu has no rules for --lang, or a reference is named after another one."""
    if not has_moses_rules(options.lang):
        yield f"--lang {options.lang}: the Moses tokenizer has no rules for it and takes those of English"
    for name in references:
        # Such as test2016.de.
        language = name.rpartition(".")[2]
        if language != options.lang and has_moses_rules(language):
            yield (
                f"{name}: multi-bleu tokenizes it by the rules of {options.lang}; "
                f"should it be --lang {language}?"
            )


def _warn_of_oddities(
    options: ScoreConfig, texts: Texts, source: Sequence[str] | None
) -> None:
    """Print warnings about common mistakes in scoring that can be recognized from the lines.

    `source` are the lines of --src, to notice copies of the source.
    """
    warn(*check_metrics(texts.references, options))
    warn(*check_tokenization(texts.references, options))
    is_text = bool(TEXT_METRICS.intersection(options.metric))
    ignores_case = options.lowercase or set(options.metric) <= CASELESS
    for name, lines in texts.hypotheses.items():
        warn(*check_text(name, lines, texts.references, source, ignores_case))
        if is_text:
            warn(*check_spelling(name, lines, texts.references))
        warn(*check_correlations(name, lines, texts.references, options))
        warn(*check_labels(name, lines, texts.references, options))
        warn(*check_summaries(name, lines, texts.references, options))
        warn(*check_duration(name, lines, list(texts.references.values()), options))


def _compute(options: ScoreConfig, texts: Texts) -> Scores:
    """Return the scores of each file of hypotheses; with --paired, also tests against the first file."""
    references = list(texts.references.values())
    if options.paired:
        return compare(texts.hypotheses, references, options)
    return {
        name: score(lines, references, options)
        for name, lines in texts.hypotheses.items()
    }


def _print_line_scores(options: ScoreConfig, texts: Texts) -> None:
    """Print the scores of each line as JSON or columns; the headings of columns go to standard error."""
    references = list(texts.references.values())
    for name, lines in texts.hypotheses.items():
        rows = score_lines(lines, references, options)
        if options.format == "json":
            print(line_scores_as_json(name, rows))
            continue
        headings = [f"{one.name} {one.signature}" for one in rows[0]]
        print("\t".join(headings), file=sys.stderr)
        print(line_scores_as_columns(rows))


def _append(path: Path, scores: Scores, tags: Mapping[str, str]) -> None:
    """Append scores with their tags to the log `path`; several files get the tag `file` with their name."""
    logged = []
    for name, scores_of_file in scores.items():
        own_tags = dict(tags)
        # Without it, the scores of several files would replace each other in the log.
        if len(scores) > 1:
            own_tags["file"] = name
        for one in scores_of_file:
            logged.append(
                LoggedScore(one.name, one.value, one.signature, tuple(own_tags.items()))
            )
    append_scores(path, logged)
