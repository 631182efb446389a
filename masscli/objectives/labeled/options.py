"""The options of classification, regression, tagging and multiple choice.

Values that depend on the data (labels, text columns, language) are filled in when a run is set up, so
that they are stored in its recipe. This module does not import torch, so that --help is fast.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from masscli.core.config import check, config
from masscli.objectives.shared.table_options import TableOptions


@config
class SequenceTaskOptions(TableOptions):
    """The options of tasks whose head reads one state of each sequence."""

    lm_weight: float = 0.0
    """Weight of an auxiliary language-modeling loss on the same text (GPT: 0.5), for a decoder-only
    model."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            (
                self.lm_weight >= 0,
                "lm_weight",
                f"must not be negative, got {self.lm_weight}",
            )
        )

    @property
    def generates_text(self) -> bool:
        """Whether a decoder learns to generate text, which it does if --lm-weight is above 0."""
        return self.lm_weight > 0


@config
class TextTaskOptions(SequenceTaskOptions):
    """The options of tasks over one text, or a pair of texts."""

    formats: ClassVar[tuple[str, ...]] = ("tsv", "jsonl")
    text_columns: tuple[str, ...] = ()
    """Columns of the text, one or two (default: sentence, text, or a pair such as sentence1,sentence2,
    whichever the table has, or else its only column of text beside the label)."""
    label_column: str = "label"
    """Column of the label."""
    both_orders: bool = False
    """Read a pair in both orders and add the two hidden states, for symmetric tasks (GPT's similarity)."""
    double_unordered: bool = False
    """Train on every pair in both orders, as two examples, for symmetric tasks (ELECTRA's MRPC and STS-B)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Every pair would count four times.
        both_given = self.both_orders and self.double_unordered
        check(
            (len(self.text_columns) <= 2, "text_columns", "expected one or two"),
            (
                not both_given,
                "double_unordered",
                "both_orders already reads every pair in both orders",
            ),
        )


@config
class ClassifyOptions(TextTaskOptions):
    """Predict one of several labels for a text or a pair of texts."""

    implementation: ClassVar[str] = "masscli.objectives.labeled.classify:Classify"
    name: str = "classify"
    """The objective."""
    labels: tuple[str, ...] = ()
    """The labels (default: those of the training part, sorted). A label without a training example cannot be
    learned; a warning names it."""
    positive: str = ""
    """The label whose F1 is computed (default: of two labels the second in alphabetical order; with more than
    two labels F1 is the mean over labels)."""
    no_gold: str | None = None
    """The label of examples without a gold label. They are used neither for training nor for evaluation
    (default: '-' if the other labels are those of SNLI and MNLI, which use it for 'no agreement')."""


@config
class RegressOptions(TextTaskOptions):
    """Predict a number for a text or a pair of texts."""

    implementation: ClassVar[str] = "masscli.objectives.labeled.regress:Regress"
    name: str = "regress"
    """The objective."""
    low: float | None = None
    """Smallest target value (default: the minimum of the training split). The head learns values scaled
    so that this one is 0 and --high is 1."""
    high: float | None = None
    """Largest target value (default: the maximum of the training split)."""


@config
class TagOptions(TableOptions):
    """Predict a label for every word of a sentence."""

    implementation: ClassVar[str] = "masscli.objectives.labeled.tag:Tag"
    formats: ClassVar[tuple[str, ...]] = ("conll",)
    name: str = "tag"
    """The objective."""
    word_column: str = ""
    """Column of the words (default: the first, or 2, FORM, in CoNLL-U, which is recognized by ten
    columns that start with a number)."""
    tag_column: str = ""
    """Column of the labels (default: the last, or 4, UPOS, in CoNLL-U)."""
    max_length: int = 128
    """Maximum length of a sentence in tokens, special tokens included. Words beyond it get
    --truncated-label, and are counted."""
    labels: tuple[str, ...] = ()
    """The labels (default: those of the training part, sorted). A label without a training example cannot be
    learned; a warning names it."""
    truncated_label: str = ""
    """The label of words beyond --max-length, and of words without a token (default: O, or the most frequent
    label)."""


@config
class ChooseOptions(SequenceTaskOptions):
    """Choose one of several texts that may follow a context."""

    implementation: ClassVar[str] = "masscli.objectives.labeled.choose:Choose"
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "swag", "race")
    name: str = "choose"
    """The objective."""
    context_column: str = "context"
    """Field of the context; `question` if there is only a question with its choices."""
    choices_column: str = "choices"
    """Field of the choices, a list."""
    label_column: str = "label"
    """Field of the right choice: its number from 0, or its letter from A."""
    question_at: Literal["auto", "choice", "context"] = "auto"
    """Where a field `question` is placed: joined with each choice, filling a blank `_` or before the
    choice (choice, as for BERT and RACE), or right after the context (context, as in GPT; auto: context
    if the pair format is gpt, otherwise choice)."""
    choice_first: bool = False
    """Read a choice (with its question) before the context, as RoBERTa does on RACE."""
    max_length: int = 128
    """Maximum length of a sequence of a context and a choice in tokens, special tokens included. Longer
    ones are truncated according to --max-choice and --keep, and counted."""
    max_choice: int = 128
    """Maximum number of tokens of a choice (with its question, if that is read with it). Longer ones
    lose their start."""
    keep: Literal["start", "end"] = "start"
    """Which part to keep of a context that is too long."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            (
                self.max_choice > 0,
                "max_choice",
                f"must be above 0, got {self.max_choice}",
            )
        )
