"""The options of `masscli score`. This module imports neither torch nor sacrebleu, so that --help is fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import Flags, UnusedOption, at_most, check, config

MAX_SAMPLES = 1_000_000
"""Maximum number of samples for bootstrap resampling."""


@config
class ScoreConfig:
    """Which metrics are computed, and how."""

    metric: Annotated[tuple[str, ...], Flags("-m")] = ("bleu",)
    """Metrics, such as bleu,chrf. Text: bleu, chrf, chrf++, ter, multi-bleu (Moses tokens, as in papers),
    rouge (rouge-1, rouge-2, rouge-l), rouge-lsum. Labels and numbers: accuracy, f1, mcc (Matthews), pearson,
    spearman, entity-f1 (tagged words). Answers: squad (JSON). Or module:Class."""
    column: str | None = None
    """Column of the references. In TSV with a header, JSONL, SWAG and RACE it is a name (label in SWAG and
    RACE); in CoNLL lines it is a number (default there: the last, or 4, UPOS, in CoNLL-U)."""
    ref_format: Literal["tsv", "lines", "jsonl", "conll", "swag", "race"] | None = None
    """Format of the references (default: by the name: .tsv, .jsonl, .conll, .csv for tsv or swag, a folder
    for race; otherwise tsv with --column, or lines). Files named .sgm or .xml are WMT test sets, and
    each translation in them is a reference."""
    hyp_column: str | None = None
    """Column of the hypotheses, a name or number like --column (default: the column in which `masscli
    predict` or `masscli generate` writes JSONL, TSV and CoNLL lines)."""
    choices_column: str = "choices"
    """Column of JSONL references with a list of choices. Labels are then numbers of choices, from 0, or
    letters, from A."""
    no_gold: str | None = None
    """accuracy, f1, mcc: label of references that have no gold label; they are left out (default: -, if the
    other labels are those of SNLI and MNLI)."""
    na_prob: Path | None = None
    """squad: JSON object with the probability that a question has no answer, by id. The best threshold is
    reported."""
    na_prob_thresh: float = 1.0
    """squad: questions with a higher probability count as predicted unanswerable."""
    missing: Literal["refuse", "wrong"] = "refuse"
    """squad: what happens if a question has no prediction: an error (refuse), or it counts as wrong
    (wrong)."""
    positive: str = ""
    """f1: the positive label (default: of two labels the second in alphabetical order; with more labels f1 is
    the mean over labels)."""
    stem: bool = False
    """rouge: compare the stems of English words (Porter 1980, as in NLTK)."""
    summary_separator: str = "<q>"
    """rouge: separator between the sentences of a summary on a line. Line ends within JSONL strings
    also separate sentences."""
    lang: Annotated[str, Flags("-l")] = "en"
    """Language of the text; multi-bleu tokenizes by its rules."""
    lowercase: Annotated[bool, Flags("-lc")] = False
    """Ignore case."""
    normalize: bool = False
    """multi-bleu: first normalize the punctuation of both sides with Moses, as papers on unsupervised
    translation do."""
    plain_romanian: bool = False
    """multi-bleu with --lang ro: first normalize as with --normalize and remove Romanian diacritics, as
    papers on WMT16 do."""
    tokenize: Literal[
        "13a",
        "intl",
        "zh",
        "char",
        "none",
        "ja-mecab",
        "ko-mecab",
        "flores101",
        "flores200",
    ] = "13a"
    """bleu: tokenizer of sacreBLEU."""
    confidence: bool = False
    """Add a 95% confidence interval from bootstrap resampling."""
    paired: bool = False
    """Compare the first hypothesis file with each of the others by paired bootstrap resampling."""
    bootstrap: Annotated[int, Flags("--n-bootstrap")] = 1000
    """Number of samples for bootstrap resampling."""
    sentence_level: bool = False
    """Score each line instead of the whole corpus."""
    format: Literal["text", "json"] = "text"
    """Output format: text for people, json for programs."""

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """Rules that say which options have no effect, given the values of the others, and why."""
        metrics = set(self.metric)
        has_rouge = any(name.startswith("rouge") for name in metrics)
        never_differ_by_case = {
            "ter",
            "rouge",
            "rouge-1",
            "rouge-2",
            "rouge-l",
            "rouge-lsum",
            "pearson",
            "spearman",
            "squad",
        }
        # ROUGE stems only English, and a metric of the user's own may look at the language.
        needs_language = (
            has_rouge or "multi-bleu" in metrics or any(":" in name for name in metrics)
        )
        return (
            UnusedOption("bleu" not in metrics, "tokenize", "it is for --metric bleu"),
            UnusedOption(
                not needs_language,
                "lang",
                "only --metric multi-bleu has rules for languages",
            ),
            UnusedOption(
                not has_rouge,
                "summary_separator",
                "it is for --metric rouge and rouge-lsum",
            ),
            UnusedOption("f1" not in metrics, "positive", "it is for --metric f1"),
            UnusedOption(
                metrics <= never_differ_by_case,
                "lowercase",
                "case does not count in these metrics",
            ),
            UnusedOption(
                metrics == {"entity-f1"},
                "lowercase",
                "case always counts in the tags of --metric entity-f1",
            ),
            UnusedOption(
                not (self.confidence or self.paired),
                "bootstrap",
                "add --confidence or --paired to resample",
            ),
            UnusedOption(
                "squad" not in metrics,
                "na_prob na_prob_thresh missing",
                "they are for --metric squad",
            ),
            UnusedOption(
                "squad" in metrics and self.na_prob is None,
                "na_prob_thresh",
                "there are no probabilities, see --na-prob",
            ),
            UnusedOption(
                "squad" in metrics, "choices_column", "answers are no choices"
            ),
        )

    def __post_init__(self) -> None:
        metrics = set(self.metric)
        # These options change the input of one metric, so they must not be combined with others, which
        # would ignore them.
        is_romanian_multi_bleu = self.lang == "ro" and metrics == {"multi-bleu"}
        is_english_rouge = self.lang == "en" and any(
            name.startswith("rouge") for name in metrics
        )
        check(
            (len(metrics) > 0, "metric", "name at least one"),
            (self.bootstrap > 1, "bootstrap", f"must be above 1, got {self.bootstrap}"),
            *at_most(self, MAX_SAMPLES, "bootstrap"),
            (
                not self.plain_romanian or is_romanian_multi_bleu,
                "plain_romanian",
                "goes with --metric multi-bleu --lang ro",
            ),
            (
                not self.normalize or metrics == {"multi-bleu"},
                "normalize",
                "goes with --metric multi-bleu",
            ),
            (
                self.column is None or self.ref_format != "lines",
                "column",
                "the references have none, with --ref-format lines",
            ),
            (
                not self.no_gold or metrics <= {"accuracy", "f1", "mcc"},
                "no_gold",
                "goes with --metric accuracy, f1, mcc",
            ),
            (
                not self.stem or is_english_rouge,
                "stem",
                "goes with --metric rouge and English text",
            ),
            (
                self.summary_separator.strip() != "",
                "summary_separator",
                "must not be blank",
            ),
            (
                not (self.paired and self.sentence_level),
                "paired",
                "cannot be combined with --sentence-level",
            ),
            (
                not (self.confidence and self.sentence_level),
                "confidence",
                "cannot be combined with --sentence-level",
            ),
        )
