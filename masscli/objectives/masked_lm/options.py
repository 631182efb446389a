"""The options of masked language models.

This module does not import torch, so that --help is fast. Defaults follow the papers, or the released
code where the paper gives no value and in --strict-sop. Where the released code differs from the paper,
an option can be set to its behavior.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from masscli.core.config import Flags, UnusedOption, check, config
from masscli.objectives.input_kinds import PAIRS, InputKind
from masscli.objectives.registry import PairFormatName
from masscli.objectives.shared.options import (
    DocumentOptions,
    SentenceMaskingOptions,
    TokenReplacementOptions,
    above_zero_rule,
    positive_fraction_rule,
)


@config
class MaskedLMOptions(SentenceMaskingOptions):
    """Masked language model over sentences, with the encoder alone."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.mlm:MaskedLM"
    name: str = "mlm"
    """The objective."""
    span_p: float | None = None
    """Mask spans, with lengths from a geometric distribution with this parameter (SpanBERT, Joshi et al.
    2020: 0.2; default: single tokens)."""
    max_span: int = 10
    """Maximum length of a span in tokens."""

    def __post_init__(self) -> None:
        SentenceMaskingOptions.__post_init__(self)
        # With 0, a span would never end.
        is_probability = self.span_p is None or 0 < self.span_p <= 1
        check(
            (is_probability, "span_p", f"must lie in (0, 1], got {self.span_p}"),
            above_zero_rule("max_span", self.max_span),
        )

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules for --switch-share (see `CodeSwitchingOptions`) and for --max-span without --span-p."""
        return (
            *super().unused_options,
            UnusedOption(
                self.span_p is None,
                "max_span",
                "single tokens are masked without --span-p",
            ),
        )


@config
class TranslationLMOptions(SentenceMaskingOptions):
    """Masked language model over a sentence and its translation (Conneau and Lample 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.tlm:TranslationLM"
    input_kind: ClassVar[InputKind] = PAIRS
    name: str = "tlm"
    """The objective."""


@config
class DocumentMaskingOptions(DocumentOptions, TokenReplacementOptions):
    """Options of masked language models over documents."""

    mask_prob: float = 0.15
    """Share of tokens to predict."""
    max_predictions: Annotated[int | None, Flags("--max-predictions-per-seq")] = None
    """Maximum number of predicted tokens of an example (default: no limit; the released BERT and ALBERT
    have 20)."""
    masks: Literal["static", "dynamic"] = "static"
    """Whether the mask of an example is the same in every epoch (static), or redrawn in each (dynamic)."""

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        TokenReplacementOptions.__post_init__(self)
        check(
            positive_fraction_rule("mask_prob", self.mask_prob),
            above_zero_rule("max_predictions", self.max_predictions),
        )


@config
class BertOptions(DocumentMaskingOptions):
    """Masked language model and next-sentence prediction over documents (Devlin et al. 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.bert:Bert"
    name: str = "bert"
    """The objective."""
    whole_words: Annotated[bool, Flags("--mask-whole-words")] = False
    """Mask all tokens of a word or none; --mask-prob is still a share of tokens."""


@config
class RobertaOptions(DocumentMaskingOptions):
    """Masked language model with dynamic masks (Liu et al. 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.roberta:Roberta"
    name: str = "roberta"
    """The objective."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Length of the longest example in tokens, special tokens included."""
    masks: Literal["static", "dynamic"] = "dynamic"
    """Whether the mask of an example is the same in every epoch (static), or redrawn in each (dynamic)."""
    short_seq_prob: float = 0.0
    """Share of documents for which a shorter maximum length is drawn at random (segment-pair)."""
    dupe_factor: int = 1
    """Number of times that an epoch reads the corpus, each time with new pairs (segment-pair,
    sentence-pair)."""
    input_form: Literal[
        "segment-pair", "sentence-pair", "full-sentences", "doc-sentences"
    ] = "full-sentences"
    """Form of an example: BERT's pairs of segments, or pairs of sentences, both with next sentence
    prediction; or whole sentences up to the maximum length, across documents (full-sentences) or within
    them (doc-sentences)."""
    mask_specials: bool = True
    """Allow start and end symbols to be masked, as fairseq does (full-sentences, doc-sentences)."""
    whole_words: Annotated[bool, Flags("--mask-whole-words")] = False
    """Mask whole words: --mask-prob is a share of words, each of which is masked, kept or replaced as a
    whole, as in fairseq."""

    @property
    def reads_pairs(self) -> bool:
        """Whether an example has two segments, and a label that says whether they follow each other."""
        return self.input_form.endswith("-pair")

    @property
    def learned_pair_format(self) -> PairFormatName:
        """The format in which the encoder reads two texts: bert if --input-form has pairs, else roberta."""
        if self.reads_pairs:
            return "bert"
        return "roberta"

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        """The rules that say which options have no effect with this --input-form."""
        form = f"--input-form {self.input_form}"
        return (
            UnusedOption(
                self.input_form != "segment-pair",
                "short_seq_prob",
                f"{form} always aims at the full length",
            ),
            UnusedOption(
                not self.reads_pairs,
                "dupe_factor",
                f"{form} makes the same examples each time",
            ),
            UnusedOption(
                not self.reads_pairs and self.masks == "dynamic",
                "pair_seed",
                f"{form} makes no pairs, and --masks dynamic draws by --seed",
            ),
            UnusedOption(
                self.reads_pairs, "mask_specials", f"{form} never masks [CLS] and [SEP]"
            ),
        )


@config
class AlbertOptions(DocumentMaskingOptions):
    """Masked language model of n-grams and sentence-order prediction (Lan et al. 2020)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.albert:Albert"
    name: str = "albert"
    """The objective."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Length of the longest example in tokens, special tokens included."""
    ngrams: bool = True
    """Mask n-grams of one to three words; otherwise single tokens."""
    ngram_rule: Literal["words", "released"] = "words"
    """What n-grams consist of: words of one segment; or, as in the released code, words where digits
    and non-ASCII letters also start words, and words and n-grams may continue after [SEP]."""
    strict_sop: bool = False
    """Skip chunks of one sentence, which are otherwise paired with a segment of another document, as in
    the released code."""

    def __post_init__(self) -> None:
        DocumentMaskingOptions.__post_init__(self)
        check(
            (
                self.ngrams or self.ngram_rule == "words",
                "ngram_rule",
                "has no effect without --ngrams",
            )
        )
