"""The options shared by all tasks over tables, whose head reads the hidden states of labeled examples.

This module does not import torch, so that --help is fast.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal, Self

from masscli.core.config import check, config
from masscli.objectives.input_kinds import TABLE, InputKind
from masscli.objectives.registry import ObjectiveConfig, PairFormatName, Stacks

DEFAULT_HEAD_DROPOUT = 0.1


@config
class TableOptions(ObjectiveConfig):
    """The options of tasks over tables: which stack reads an example, in which format, and which head."""

    input_kind: ClassVar[InputKind] = TABLE
    stacks: ClassVar[Stacks] = "any"
    language: str = ""
    """Language of the text (default: that of the table, see `masscli preprocess --table-lang`)."""
    max_length: int = 128
    """Maximum length of a sequence in tokens, special tokens included. Longer ones lose the end of
    their longer text, and are counted."""
    pair_format: Literal["auto", "bert", "roberta", "gpt"] = "auto"
    """How one or two texts, A and B (for extract, question and text), become a sequence: bert [CLS] A [SEP] B
    [SEP], roberta <s> A </s> </s> B </s>, gpt start A delimiter B extract (auto: gpt for a decoder,
    roberta if the weights of --init-from were trained with it, otherwise bert)."""
    read: Literal["auto", "encoder", "decoder"] = "auto"
    """Which stack's states the head reads; for one state of a whole text, the first of the encoder or the
    last of the decoder. If there is an encoder, a decoder reads the text as well, as in BART (auto: the
    encoder, if there is one)."""
    head: Literal["linear", "tanh", "gelu", "relu"] = "linear"
    """The layers of the head: one linear layer, or two with tanh (RoBERTa), gelu (ELECTRA) or relu
    (DistilBERT) between them."""
    head_dropout: float | None = None
    """Dropout before each layer of the head (default: 0.1)."""

    def __post_init__(self) -> None:
        check(
            (
                self.max_length > 7,
                "max_length",
                f"must be above 7, got {self.max_length}",
            ),
            (
                0 <= self.dropout < 1,
                "head_dropout",
                f"must lie in [0, 1), got {self.head_dropout}",
            ),
        )

    @property
    def dropout(self) -> float:
        """The dropout probability of the head: that of --head-dropout, or else 0.1."""
        if self.head_dropout is None:
            return DEFAULT_HEAD_DROPOUT
        return self.head_dropout

    @property
    def learned_pair_format(self) -> PairFormatName:
        """The format in which the encoder reads two texts: roberta if that is --pair-format, else bert."""
        if self.pair_format == "roberta":
            return "roberta"
        return "bert"

    def adapt_to_model(
        self, encoder: bool, decoder: bool, pair_format: PairFormatName
    ) -> Self:
        """Return the options, in which --pair-format `auto` may have become `roberta`.

        This happens if the task reads the encoder and `pair_format`, in which the encoder has read pairs so
        far, is roberta. `encoder` and `decoder` say which stacks the model has.
        """
        reads_encoder = encoder and self.read != "decoder"
        # A decoder has its own default, which SequenceReader chooses.
        if self.pair_format == "auto" and reads_encoder and pair_format == "roberta":
            return replace(self, pair_format="roberta")
        return self
