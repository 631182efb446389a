"""Options of tasks that learn from tables of labelled examples.

Nothing here imports torch, since help screens read these classes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, Self

from masscli.core.config import check, config
from masscli.objectives.input_kinds import TABLE, InputKind
from masscli.objectives.registry import ObjectiveConfig, PairFormatName, Stacks
from masscli.objectives.shared.options import not_negative_rule


@config
class TableOptions(ObjectiveConfig):
    """Options of every task over labelled examples."""

    input_kind: ClassVar[InputKind] = TABLE
    stacks: ClassVar[Stacks] = "any"
    language: str = ""
    """Language of the text (default: as preprocess was told)."""
    max_length: int = 128
    """Longest sequence in tokens, special tokens included; longer ones lose the end of their longer part, and
    are counted."""
    pair_format: Literal["auto", "bert", "roberta", "gpt"] = "auto"
    """How one or two texts become a sequence: bert [CLS] A [SEP] B [SEP], roberta <s> A </s> </s> B </s>, gpt
    start A delimiter B extract (auto: gpt for a decoder, roberta if --init-from has learned so, else
    bert)."""
    read: Literal["auto", "encoder", "decoder"] = "auto"
    """Whose states are read: the encoder's first, or the decoder's last (auto: the encoder's, if there is
    one)."""
    head: Literal["linear", "tanh", "gelu"] = "linear"
    """The head on the state: one linear layer, or a layer with tanh (RoBERTa) or gelu (ELECTRA) and another
    one."""
    head_dropout: float | None = None
    """Dropout before each layer of the head (default: 0.1; the layers of --qa-head electra have none)."""

    def __post_init__(self) -> None:
        check(
            (self.max_length > 7, "max_length", f"must be above 7, got {self.max_length}"),
            (0 <= self.dropout < 1, "head_dropout", f"must lie in [0, 1), got {self.head_dropout}"),
        )

    @property
    def dropout(self) -> float:
        """The dropout of the head."""
        return 0.1 if self.head_dropout is None else self.head_dropout

    @property
    def learned_pair_format(self) -> PairFormatName:
        """The format in which the model has read two texts."""
        return "roberta" if self.pair_format == "roberta" else "bert"

    def adapt_to_model(self, encoder: bool, decoder: bool, pair_format: PairFormatName) -> Self:
        """Return the options with the format that the encoder has learned, if the user has not chosen one."""
        reads_encoder = encoder and self.read != "decoder"
        if self.pair_format == "auto" and reads_encoder and pair_format == "roberta":
            return replace(self, pair_format="roberta")
        return self


@config
class SequenceTaskOptions(TableOptions):
    """Options of tasks that read one state for a whole sequence."""

    lm_weight: float = 0.0
    """Weight of an auxiliary loss, the language model of the same text (GPT: 0.5); for decoders."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(not_negative_rule("lm_weight", self.lm_weight))

    @property
    def generates_text(self) -> bool:
        """Whether the decoder learns a language model too."""
        return self.lm_weight > 0


@config
class TextTaskOptions(SequenceTaskOptions):
    """Options of tasks that predict a label of one or two texts."""

    formats: ClassVar[tuple[str, ...]] = ("tsv", "jsonl")
    text_columns: tuple[str, ...] = ()
    """Columns of the text, one or two (default: sentence, text, or a pair such as sentence1,sentence2, as the
    table has them)."""
    label_column: str = "label"
    """Column of the label."""
    both_orders: bool = False
    """Read a pair in both orders and add the two states, for tasks without an order (GPT's similarity)."""
    double_unordered: bool = False
    """Learn every pair of the training part in both orders, as two examples, for tasks without an order
    (ELECTRA's MRPC and STS-B)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(
            (len(self.text_columns) <= 2, "text_columns", "expected one or two"),
            (
                not (self.both_orders and self.double_unordered),
                "double_unordered",
                "both_orders reads every pair in both orders as it is",
            ),
        )
