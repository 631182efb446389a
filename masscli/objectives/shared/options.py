"""The options of the built-in objectives, apart from them so that help screens need no torch.

The presets of MASS are the table of the released code bases: the fields that a preset fixes default to `None` here and are filled in by
`MassOptions.resolved`; what the user says wins.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from masscli.core.config import Flags, UnusedOption, check, config
from masscli.objectives.input_kinds import TABLE, InputKind
from masscli.objectives.registry import ObjectiveConfig


def _share(name: str, value: float | None) -> tuple[bool, str, str]:
    return value is None or 0 <= value <= 1, name, f"must lie in [0, 1], got {value}"


@config
class SwitchingOptions(ObjectiveConfig):
    """What objectives over sentences have in common: their encoder may read some words in another language."""

    switch_dictionary: Path | None = None
    """Word pairs (a line WORD WORD): words the encoder sees are put into the other language (code-switching)."""
    switch_share: float = 0.3
    """Share of the words in the dictionary that are; without a dictionary, nothing is."""

    def __post_init__(self) -> None:
        check(_share("switch_share", self.switch_share))

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        return (
            UnusedOption(
                self.switch_dictionary is None,
                "switch_share",
                "there is nothing to switch by without --switch-dictionary",
            ),
        )


@config
class ChosenTokensOptions(ObjectiveConfig):
    """What becomes of tokens that were chosen to be hidden: 80% [M], 10% another token, 10% as they were (BERT), or other shares."""

    leave_unmasked_prob: float = 0.1
    """Share of the chosen tokens that stay as they are."""
    random_token_prob: float = 0.1
    """Share of the chosen tokens that become a random token."""

    def __post_init__(self) -> None:
        kept = self.leave_unmasked_prob + self.random_token_prob
        check((0 <= kept <= 1, "random_token_prob", "with leave_unmasked_prob, must not exceed 1"))


@config
class PseudoMaskOptions(ChosenTokensOptions):
    """What writing with an encoder alone needs in training, by pseudo-masks (UniLMv2's fine-tuning, s2s-ft)."""

    target_mask_prob: float = 0.5
    """Share of the target's tokens that are corrupted where later ones read them (XSum: 0.4 to 0.5, CNN/DM: 0.7 to 0.8)."""

    def __post_init__(self) -> None:
        ChosenTokensOptions.__post_init__(self)
        check(_share("target_mask_prob", self.target_mask_prob))

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        return (
            UnusedOption(
                self.target_mask_prob == 0,
                "leave_unmasked_prob random_token_prob",
                "--target-mask-prob 0 corrupts nothing",
            ),
        )


def share(name: str, value: float) -> tuple[bool, str, str]:
    """A rule: a share lies in [0, 1]."""
    return 0 <= value <= 1, name, f"must lie in [0, 1], got {value}"


@config
class DocumentOptions(ObjectiveConfig):
    """What objectives over documents have in common."""

    stacks = "encoder"
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 128
    """Longest example, special symbols included."""
    short_seq_prob: float = 0.1
    """Share of documents (of examples, for electra) that aim at a random shorter length."""
    dupe_factor: int = 10
    """An epoch goes through the corpus this often, with new pairs each time (the released ALBERT: 40)."""
    pair_seed: int = 12345
    """Seed of pairs and of static masks."""

    def __post_init__(self) -> None:
        check(
            (
                self.tokens_per_sample >= 8,
                "tokens_per_sample",
                f"must be at least 8, got {self.tokens_per_sample}",
            ),
            share("short_seq_prob", self.short_seq_prob),
            (self.dupe_factor > 0, "dupe_factor", f"must be above 0, got {self.dupe_factor}"),
            (self.pair_seed >= 0, "pair_seed", f"must not be negative, got {self.pair_seed}"),
        )

    def max_example_length(self, lead: int) -> tuple[str, int]:
        return "tokens_per_sample", self.tokens_per_sample


@config
class CorruptionOptions(DocumentOptions, ChosenTokensOptions):
    """What masked language models over documents have in common."""

    mask_prob: float = 0.15
    """Share of tokens to predict."""
    max_predictions: Annotated[int | None, Flags("--max-predictions-per-seq")] = None
    """Predict no more than so many tokens of an example (the released BERT and ALBERT: 20)."""
    masks: Literal["static", "dynamic"] = "static"
    """The mask of an example is always the same, or new at every visit."""

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        ChosenTokensOptions.__post_init__(self)
        check(
            (0 < self.mask_prob <= 1, "mask_prob", f"must lie above 0, up to 1, got {self.mask_prob}"),
            (
                self.max_predictions is None or self.max_predictions > 0,
                "max_predictions",
                f"must be above 0, got {self.max_predictions}",
            ),
        )


@config
class TableOptions(ObjectiveConfig):
    """What every task over labelled examples can be told."""

    input_kind: ClassVar[InputKind] = TABLE
    stacks: ClassVar[Literal["encoder-decoder", "encoder", "decoder", "any"]] = "any"
    language: str = ""
    """Language of the text (default: as preprocess was told)."""
    max_length: int = 128
    """Longest sequence in tokens, symbols included; longer ones lose the end of their longer part, and are counted."""
    pair_format: Literal["auto", "bert", "roberta", "gpt"] = "auto"
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
            (self.max_length > 7, "max_length", f"must be above 7, got {self.max_length}"),
            (0 <= self.dropout < 1, "head_dropout", f"must lie in [0, 1), got {self.head_dropout}"),
        )

    @property
    def dropout(self) -> float:
        """Of the head."""
        return 0.1 if self.head_dropout is None else self.head_dropout

    @property
    def learned_pair_format(self) -> Literal["bert", "roberta"]:
        return "roberta" if self.pair_format == "roberta" else "bert"

    def adapt_to_model(self, encoder: bool, decoder: bool, pair_format: Literal["bert", "roberta"]) -> Self:
        seen = self.pair_format == "auto" and encoder and self.read != "decoder"
        return replace(self, pair_format="roberta") if seen and pair_format == "roberta" else self


@config
class SequenceTaskOptions(TableOptions):
    """What tasks over whole sequences can be told: those that one state of each stands for."""

    lm_weight: float = 0.0
    """Weight of an auxiliary loss, the language model of the same text (GPT: 0.5); for decoders."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check((self.lm_weight >= 0, "lm_weight", f"must not be negative, got {self.lm_weight}"))

    @property
    def generates_text(self) -> bool:
        return self.lm_weight > 0


@config
class TextTaskOptions(SequenceTaskOptions):
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
            (len(self.text_columns) <= 2, "text_columns", "expected one or two"),
            (
                not (self.both_orders and self.double_unordered),
                "double_unordered",
                "both_orders reads every pair in both orders as it is",
            ),
        )
