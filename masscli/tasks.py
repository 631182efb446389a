"""The options of the objectives that learn from labelled examples, apart from them so that help screens need no torch.

What follows from the data (`labels`, the columns of the text, its language) is filled in when a run is composed, and so kept in its recipe.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, Self

from masscli.catalog import ObjectiveConfig
from masscli.config import Idle, check, config
from masscli.methods import PseudoMaskOptions


@config
class TableOptions(ObjectiveConfig):
    """What every task over labelled examples can be told."""

    reads: ClassVar[Literal["sentences", "pairs", "table"]] = "table"
    stacks: ClassVar[Literal["encoder-decoder", "encoder", "decoder", "any"]] = "any"
    language: str = ""
    """Language of the text (default: as preprocess was told)."""
    max_length: int = 128
    """Longest sequence in tokens, symbols included; longer ones lose the end of their longer part, and are counted."""
    frame: Literal["auto", "bert", "roberta", "gpt"] = "auto"
    """How one or two texts become a sequence: bert [CLS] A [SEP] B [SEP], roberta <s> A </s> </s> B </s>, gpt start A delimiter B extract
    (auto: gpt for a decoder, roberta where --init-from has learned so, else bert)."""
    read: Literal["auto", "encoder", "decoder"] = "auto"
    """Whose states are read: the encoder's first, or the decoder's last (auto: the encoder's, where there is one)."""
    head: Literal["linear", "tanh", "gelu"] = "linear"
    """What stands on the state: one linear layer, or a layer with tanh (RoBERTa) or gelu (ELECTRA) and another."""
    head_dropout: float | None = None
    """Dropout before each layer of the head (default: 0.1; the layers of --qa-head electra have none)."""

    def __post_init__(self) -> None:
        check(
            (self.max_length > 7, f"max_length: must be above 7, got {self.max_length}"),
            (0 <= self.dropout < 1, f"head_dropout: must lie in [0, 1), got {self.head_dropout}"),
        )

    @property
    def dropout(self) -> float:
        """Of the head."""
        return 0.1 if self.head_dropout is None else self.head_dropout

    @property
    def joins(self) -> Literal["bert", "roberta"]:
        return "roberta" if self.frame == "roberta" else "bert"

    def suited(self, encoder: bool, decoder: bool, joins: Literal["bert", "roberta"]) -> Self:
        seen = self.frame == "auto" and encoder and self.read != "decoder"
        return replace(self, frame="roberta") if seen and joins == "roberta" else self


@config
class ReadOptions(TableOptions):
    """What tasks over whole sequences can be told: those that one state of each stands for."""

    lm_weight: float = 0.0
    """Weight of an auxiliary loss, the language model of the same text (GPT: 0.5); for decoders."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check((self.lm_weight >= 0, f"lm_weight: must not be negative, got {self.lm_weight}"))

    @property
    def speaks(self) -> bool:
        return self.lm_weight > 0


@config
class TextsOptions(ReadOptions):
    """One or two texts and a label."""

    formats: ClassVar[tuple[str, ...]] = ("tsv", "jsonl")
    text_columns: tuple[str, ...] = ()
    """Columns of the text, one or two (default: sentence, text, or a pair such as sentence1,sentence2, as the table has them)."""
    label_column: str = "label"
    """Column of the label."""
    both_orders: bool = False
    """Read a pair in both orders and add the two states, for tasks without an order (GPT's similarity)."""
    double_unordered: bool = False
    """Learn every pair of the training part in both orders, as two examples, for tasks without an order (ELECTRA's MRPC and STS-B)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            (len(self.text_columns) <= 2, "text_columns: expected one or two"),
            (not (self.both_orders and self.double_unordered), "double_unordered: both_orders reads every pair in both orders as it is"),
        )


@config
class ClassifyOptions(TextsOptions):
    """One of several labels for a text or a pair of texts."""

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
class RegressOptions(TextsOptions):
    """A number for a text or a pair of texts."""

    name: str = "regress"
    """Which."""
    low: float | None = None
    """Smallest number of the scale (default: of the training part); the head learns numbers scaled to [0, 1]."""
    high: float | None = None
    """Largest number of the scale."""


@config
class TagOptions(TableOptions):
    """A label for every word of a sentence."""

    formats: ClassVar[tuple[str, ...]] = ("conll",)
    name: str = "tag"
    """Which."""
    word_column: str = ""
    """Column of the words (default: the first; in CoNLL-U, of ten columns with a number first, 2, FORM)."""
    tag_column: str = ""
    """Column of the labels (default: the last; in CoNLL-U 4, UPOS)."""
    labels: tuple[str, ...] = ()
    """The labels (default: those of the training part, sorted); one without an example there is said and not learned."""
    unread: str = ""
    """The label of words beyond --max-length, and of those that have no piece (default: O, or the most frequent)."""


@config
class ChooseOptions(ReadOptions):
    """One of several choices that may follow a context."""

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
        check((self.max_choice > 0, f"max_choice: must be above 0, got {self.max_choice}"))


@config
class ExtractOptions(TableOptions):
    """The answer to a question, as a span of a text."""

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
            *((value > 0, f"{name}: must be above 0, got {value}")
              for name, value in (("doc_stride", self.doc_stride), ("max_query", self.max_query), ("max_answer", self.max_answer),
                                  ("n_best", self.n_best))),
            (self.max_query + 4 < self.max_length,
             f"max_length: {self.max_length} leaves a text no room beside max_query ({self.max_query}) and four symbols"),
        )

    @property
    def idle(self) -> tuple[Idle, ...]:
        all_answered = self.unanswerable is False
        return (
            Idle(all_answered, "null_threshold", "all questions have answers, and so get one"),
            Idle(all_answered and self.qa_head == "albert", "head_dropout", "of --qa-head albert only its classifier of no answer has it"),
        )


@config
class WriteOptions(PseudoMaskOptions):
    """What tasks that write text can be told."""

    reads: ClassVar[Literal["sentences", "pairs", "table"]] = "table"
    language: str = ""
    """Language of the text (default: as preprocess was told)."""
    writer: Literal["auto", "decoder", "encoder"] = "auto"
    """Who writes: a decoder that attends to the source, or the encoder alone by pseudo-masks behind the source, as UniLM does (auto: the
    decoder, but where the weights, or --arch, have an encoder alone)."""
    label_smoothing: float = 0.1
    """Probability spread evenly over the vocabulary."""
    max_source: int = 256
    """Longest source in tokens; of longer ones a part is kept (see --keep), and they are counted."""
    max_target: int = 128
    """Longest target in tokens; longer ones lose their end, and are counted."""

    def __post_init__(self) -> None:
        check(
            (0 <= self.label_smoothing < 1, f"label_smoothing: must lie in [0, 1), got {self.label_smoothing}"),
            (self.max_source > 2, f"max_source: must be above 2, got {self.max_source}"),
            (self.max_target > 2, f"max_target: must be above 2, got {self.max_target}"),
        )
        PseudoMaskOptions.__post_init__(self)
        usual = PseudoMaskOptions(name=self.name)
        check(*((self.writer != "decoder" or value == default, f"{field}: is for pseudo-masks, and a decoder writes (--writer encoder)")
                for field, value, default in (
                    ("target_mask_prob", self.target_mask_prob, usual.target_mask_prob),
                    ("leave_unmasked_prob", self.leave_unmasked_prob, usual.leave_unmasked_prob),
                    ("random_token_prob", self.random_token_prob, usual.random_token_prob))))  # fmt: skip

    @property
    def stacks(self) -> Literal["encoder-decoder", "encoder", "decoder", "any"]:
        return "encoder" if self.writer == "encoder" else "encoder-decoder"

    @property
    def path(self) -> str:
        return "" if self.writer == "encoder" else "encoder-decoder"

    @property
    def writes(self) -> bool:
        return self.writer == "encoder"

    def suited(self, encoder: bool, decoder: bool, joins: Literal["bert", "roberta"]) -> Self:
        if self.writer != "auto":
            return self
        return replace(self, writer="encoder" if encoder and not decoder else "decoder")


@config
class SummarizeOptions(WriteOptions):
    """A summary of a text."""

    formats: ClassVar[tuple[str, ...]] = ("aligned", "tsv", "jsonl")
    name: str = "summarize"
    """Which."""
    source_column: str = "source"
    """Column of the text."""
    target_column: str = "target"
    """Column of the summary."""
    keep: Literal["start", "end"] = "start"
    """Which part of a text that is too long is kept."""


@config
class RespondOptions(WriteOptions):
    """The next turn of a dialogue."""

    formats: ClassVar[tuple[str, ...]] = ("dialogues", "jsonl")
    name: str = "respond"
    """Which."""
    context_column: str = "context"
    """Field of the turns before, a list."""
    response_column: str = "response"
    """Field of the turn to write."""
    turns: int = 3
    """How many of the latest turns are read; of too many tokens, the latest are kept."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check((self.turns > 0, f"turns: must be above 0, got {self.turns}"))
