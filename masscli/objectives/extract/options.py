"""The options of extractive question answering.

Values that depend on the data are filled in when a run is set up, so that they are stored in its
recipe. This module does not import torch, so that --help is fast.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from masscli.core.config import UnusedOption, check, config
from masscli.objectives.shared.table_options import TableOptions


@config
class ExtractOptions(TableOptions):
    """Find the answer to a question as a span of a text."""

    implementation: ClassVar[str] = "masscli.objectives.extract.objective:Extract"
    formats: ClassVar[tuple[str, ...]] = ("squad",)
    name: str = "extract"
    """The objective."""
    qa_head: Literal["linear", "roberta", "albert", "electra"] = "linear"
    """How answers are scored: by a start and an end score of each token (linear, as in BERT), with a
    classifier of whether there is an answer (roberta), or with ends that are scored given the start, and a
    classifier that knows the starts (albert, electra). The classifier is trained only if questions may have
    no answer."""
    max_length: int = 384
    """Maximum length of a window in tokens, question and special tokens included."""
    head: Literal["linear", "tanh", "gelu", "relu"] = "linear"
    """The layers of --qa-head linear and roberta: one linear layer, or two with tanh, gelu or relu between
    them. --qa-head albert and electra have layers of their own."""
    head_dropout: float | None = None
    """Dropout before each layer of the head (default: 0.1). --qa-head albert uses it only in its
    classifier, and electra not at all."""
    doc_stride: int = 128
    """Number of tokens from the start of one window to the start of the next; at most the text of a
    window, so that no token is lost."""
    max_query: int = 64
    """Maximum number of tokens of a question. Longer ones lose their end, and are counted."""
    max_answer: int = 30
    """Maximum length of a predicted answer in tokens."""
    n_best: int = 20
    """Number of starts in each window, and of ends for each start, that are combined into answers, and
    number of answers that are written with their scores."""
    unanswerable: bool | None = None
    """Questions may have no answer (default: as in the training split; an imported model always answers,
    unless predict has a --null-threshold)."""
    null_threshold: float = 0.0
    """Predict no answer if its score exceeds that of the best answer by more than this; or, if --qa-head has
    a classifier, if the logit of the classifier exceeds this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # RoBERTa's format has four special tokens, the most of all.
        max_query_fits = self.max_query + 4 < self.max_length
        check(
            (
                self.doc_stride > 0,
                "doc_stride",
                f"must be above 0, got {self.doc_stride}",
            ),
            (self.max_query > 0, "max_query", f"must be above 0, got {self.max_query}"),
            (
                self.max_answer > 0,
                "max_answer",
                f"must be above 0, got {self.max_answer}",
            ),
            (self.n_best > 0, "n_best", f"must be above 0, got {self.n_best}"),
            (
                max_query_fits,
                "max_length",
                f"{self.max_length} leaves a text no room beside --max-query ({self.max_query})"
                " and four symbols",
            ),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules that say which options have no effect if all questions have answers."""
        all_answered = self.unanswerable is False
        return (
            UnusedOption(
                all_answered,
                "null_threshold",
                "all questions have answers, so that one is always predicted",
            ),
            UnusedOption(
                all_answered and self.qa_head == "albert",
                "head_dropout",
                "with --qa-head albert only the classifier of unanswerable questions has dropout",
            ),
        )
