"""The options of the objectives that learn from labelled examples, apart from them so that help screens need no torch.

What follows from the data (`labels`, the columns of the text, its language) is filled in when a run is composed, and so kept in its recipe.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from masscli.core.config import check, config
from masscli.objectives.shared.table_options import SequenceTaskOptions, TableOptions, TextTaskOptions


@config
class ClassifyOptions(TextTaskOptions):
    """One of several labels for a text or a pair of texts."""

    implementation: ClassVar[str] = "masscli.objectives.labelled.classify:Classify"
    name: str = "classify"
    """Which."""
    labels: tuple[str, ...] = ()
    """The labels (default: those of the training part, sorted); one without an example there is said and not learned."""
    positive: str = ""
    """The label that F1 is about, of two (default: the second; with more than two F1 is the mean over labels)."""
    no_gold: str | None = None
    """Examples of this label have no gold label: they are neither learned from nor measured (default: - beside the labels of SNLI and
    MNLI, which mark so what annotators did not agree on)."""


@config
class RegressOptions(TextTaskOptions):
    """A number for a text or a pair of texts."""

    implementation: ClassVar[str] = "masscli.objectives.labelled.regress:Regress"
    name: str = "regress"
    """Which."""
    low: float | None = None
    """Smallest number of the scale (default: of the training part); the head learns numbers scaled to [0, 1]."""
    high: float | None = None
    """Largest number of the scale."""


@config
class TagOptions(TableOptions):
    """A label for every word of a sentence."""

    implementation: ClassVar[str] = "masscli.objectives.labelled.tag:Tag"
    formats: ClassVar[tuple[str, ...]] = ("conll",)
    name: str = "tag"
    """Which."""
    word_column: str = ""
    """Column of the words (default: the first; in CoNLL-U, of ten columns with a number first, 2, FORM)."""
    tag_column: str = ""
    """Column of the labels (default: the last; in CoNLL-U 4, UPOS)."""
    labels: tuple[str, ...] = ()
    """The labels (default: those of the training part, sorted); one without an example there is said and not learned."""
    truncated_label: str = ""
    """The label of words beyond --max-length, and of those that have no piece (default: O, or the most frequent)."""


@config
class ChooseOptions(SequenceTaskOptions):
    """One of several choices that may follow a context."""

    implementation: ClassVar[str] = "masscli.objectives.labelled.choose:Choose"
    formats: ClassVar[tuple[str, ...]] = ("jsonl", "swag", "race")
    name: str = "choose"
    """Which."""
    context_column: str = "context"
    """Field of the context."""
    choices_column: str = "choices"
    """Field of the choices, a list."""
    label_column: str = "label"
    """Field of the right one: its number from 0, or its letter from A."""
    question_at: Literal["auto", "choice", "context"] = "auto"
    """Where a field `question` is read: with each choice, in the place of a blank `_` or before it (choice, BERT's and RACE's), or right
    after the context, as it is (context, GPT's; auto: where the frame is gpt)."""
    choice_first: bool = False
    """Read a choice (with its question) before the context, as RoBERTa does on RACE."""
    max_choice: int = 128
    """Most tokens of a choice (with its question, where that is read there); of longer ones the end is kept."""
    keep: Literal["start", "end"] = "start"
    """Which part of a context that is too long is kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check((self.max_choice > 0, "max_choice", f"must be above 0, got {self.max_choice}"))
