"""The options of the objectives that learn from labelled examples, apart from them so that help screens need no torch.

What follows from the data (`labels`, the columns of the text, its language) is filled in when a run is composed, and so kept in its recipe.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from masscli.core.config import UnusedOption, check, config
from masscli.objectives.shared.table_options import TableOptions


@config
class ExtractOptions(TableOptions):
    """The answer to a question, as a span of a text."""

    implementation: ClassVar[str] = "masscli.objectives.extract.objective:Extract"
    formats: ClassVar[tuple[str, ...]] = ("squad",)
    name: str = "extract"
    """Which."""
    qa_head: Literal["linear", "roberta", "albert", "electra"] = "linear"
    """What says where an answer is: two scores of each token (linear, BERT's); with a classifier of whether there is one (roberta); ends
    that are looked for in view of the start, and a classifier that knows the starts (albert, electra). The classifier learns only where
    questions may have no answer."""
    max_length: int = 384
    """Longest window in tokens, question and symbols included."""
    doc_stride: int = 128
    """Tokens from the start of one window to that of the next."""
    max_query: int = 64
    """Most tokens of a question; longer ones lose their end, and are counted."""
    max_answer: int = 30
    """Longest answer, in tokens."""
    n_best: int = 20
    """Starts, ends and answers that are looked at."""
    unanswerable: bool | None = None
    """Questions may have no answer (default: as in the training part)."""
    null_threshold: float = 0.0
    """No answer where its score is above that of the best answer by more than this."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            *(
                (value > 0, name, f"must be above 0, got {value}")
                for name, value in (
                    ("doc_stride", self.doc_stride),
                    ("max_query", self.max_query),
                    ("max_answer", self.max_answer),
                    ("n_best", self.n_best),
                )
            ),
            (
                self.max_query + 4 < self.max_length,
                "max_length",
                f"{self.max_length} leaves a text no room beside max_query ({self.max_query}) and four symbols",
            ),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        all_answered = self.unanswerable is False
        return (
            UnusedOption(all_answered, "null_threshold", "all questions have answers, and so get one"),
            UnusedOption(
                all_answered and self.qa_head == "albert",
                "head_dropout",
                "of --qa-head albert only its classifier of no answer has it",
            ),
        )
