"""Every knob of the commands that do not train: preprocess, generate, predict, score, demo.

They follow the rules of masscli/recipe.py: a field's type, default and sentence are its flag.  `GenerationConfig` is the search, which
back-translation and validation use too.  Nothing heavy is imported here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from masscli.core.config import Flags, check, config


@config
class ScoreConfig:
    """What to measure, and how."""

    metric: Annotated[tuple[str, ...], Flags("-m")] = ("bleu",)
    """Metrics, such as bleu,chrf: bleu, chrf, chrf++, ter, multi-bleu (Moses-tokenised, as in papers), rouge (rouge-1, rouge-2, rouge-l),
    rouge-lsum, accuracy, f1, mcc (Matthews), pearson, spearman, entity-f1 (tagged words), squad (JSON), or module:Class."""
    column: str | None = None
    """The references are this column: of a TSV file with a header or of JSONL by its name, of CoNLL lines by its number (default there:
    the last; 4, UPOS, of CoNLL-U; label of SWAG and RACE)."""
    ref_format: Literal["tsv", "lines", "jsonl", "conll", "swag", "race"] | None = None
    """What the references are (default: by their name, .tsv, .jsonl, .conll, .csv (swag), a folder (race); else a table where --column
    is given, or lines)."""
    hyp_column: str | None = None
    """The hypotheses are this column, likewise (default: where `masscli predict` and `masscli generate` write theirs in JSONL, TSV and
    CoNLL lines)."""
    choices_column: str = "choices"
    """Where JSONL references have a list of choices under this name, labels are the number of a choice, from 0, or its letter, from A."""
    no_gold: str | None = None
    """accuracy, f1, mcc: references of this label have no gold label and are left out (default: - in labels of SNLI and MNLI)."""
    na_prob: Path | None = None
    """squad: how likely each question has no answer, a JSON object by id; the best threshold is searched for."""
    na_prob_thresh: float = 1.0
    """squad: questions above this have no answer."""
    missing: Literal["refuse", "wrong"] = "refuse"
    """squad: what to do about a question without a prediction."""
    positive: str = ""
    """The label that f1 is about (default: the second, where the labels on both sides are two; else it is the mean over labels)."""
    stem: bool = False
    """rouge: compare the stems of English words (Porter 1980)."""
    summary_separator: str = "<q>"
    """rouge: what stands between the sentences of a summary on a line; so does a line end within a string of JSONL."""
    lang: Annotated[str, Flags("-l")] = "en"
    """Language of the text; multi-bleu tokenises by it."""
    lowercase: Annotated[bool, Flags("-lc")] = False
    """Ignore case."""
    normalize: bool = False
    """Moses punctuation normalisation of both sides first, as the papers on unsupervised translation have it (multi-bleu)."""
    plain_romanian: bool = False
    """Take the marks off Romanian letters on both sides first, as in the papers on WMT16 (multi-bleu with --lang ro)."""
    tokenize: Literal[
        "13a", "intl", "zh", "char", "none", "ja-mecab", "ko-mecab", "flores101", "flores200"
    ] = "13a"
    """Tokenizer of bleu."""
    confidence: bool = False
    """Add a 95% confidence interval, from bootstrap resampling."""
    paired: bool = False
    """Compare the first hypothesis file with each of the others by paired bootstrap resampling."""
    bootstrap: Annotated[int, Flags("--n-bootstrap")] = 1000
    """Resamples."""
    sentence_level: bool = False
    """Score each line instead of the whole."""
    format: Literal["text", "json"] = "text"
    """Lines for people, or JSON for programs."""

    def __post_init__(self) -> None:
        check(
            (self.metric != (), "metric", "name at least one"),
            (self.bootstrap > 1, "bootstrap", f"must be above 1, got {self.bootstrap}"),
            (
                not self.plain_romanian or (self.lang == "ro" and set(self.metric) == {"multi-bleu"}),
                "plain_romanian",
                "goes with --metric multi-bleu --lang ro",
            ),
            (
                not self.normalize or set(self.metric) == {"multi-bleu"},
                "normalize",
                "goes with --metric multi-bleu",
            ),
            (
                self.column is None or self.ref_format != "lines",
                "column",
                "the references have none, with ref_format lines",
            ),
            (
                not self.no_gold or set(self.metric) <= {"accuracy", "f1", "mcc"},
                "no_gold",
                "goes with --metric accuracy, f1, mcc",
            ),
            (
                not self.stem
                or (self.lang == "en" and any(name.startswith("rouge") for name in self.metric)),
                "stem",
                "goes with --metric rouge and English text",
            ),
            (self.summary_separator.strip() != "", "summary_separator", "must not be blank"),
            (not (self.paired and self.sentence_level), "paired", "cannot be combined with sentence_level"),
            (
                not (self.confidence and self.sentence_level),
                "confidence",
                "cannot be combined with sentence_level",
            ),
        )
