"""The options of the built-in objectives, apart from them so that help screens need no torch.

The presets of MASS are the table of the released code bases: the fields that a preset fixes default to `None` here and are filled in by
`MassOptions.resolved`; what the user says wins.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from masscli.core.config import Flags, UnusedOption, check, config
from masscli.objectives.input_kinds import PAIRS, InputKind
from masscli.objectives.shared.options import ChosenTokensOptions, CorruptionOptions, SwitchingOptions


@config
class MaskedLMOptions(SwitchingOptions, ChosenTokensOptions):
    """Masked language model over sentences, with the encoder alone."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.mlm:MaskedLM"
    stacks: ClassVar[Literal["encoder-decoder", "encoder", "decoder", "any"]] = "encoder"
    name: str = "mlm"
    """Which."""
    mask_prob: float = 0.15
    """Share of tokens to predict."""

    def __post_init__(self) -> None:
        SwitchingOptions.__post_init__(self)
        ChosenTokensOptions.__post_init__(self)
        check((0 < self.mask_prob <= 1, "mask_prob", f"must lie above 0, up to 1, got {self.mask_prob}"))


@config
class BertOptions(CorruptionOptions):
    """Masked language model and next-sentence prediction over documents (Devlin et al. 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.bert:Bert"
    name: str = "bert"
    """Which."""
    whole_words: Annotated[bool, Flags("--mask-whole-words")] = False
    """Mask whole words."""


@config
class RobertaOptions(CorruptionOptions):
    """Masked language model with dynamic masks (Liu et al. 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.roberta:Roberta"
    name: str = "roberta"
    """Which."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Longest example, special symbols included."""
    masks: Literal["static", "dynamic"] = "dynamic"
    """The mask of an example is always the same, or new at every visit."""
    short_seq_prob: float = 0.0
    """Share of documents that aim at a random shorter length (segment-pair)."""
    dupe_factor: int = 1
    """An epoch goes through the corpus this often, with new pairs each time (segment-pair, sentence-pair)."""
    input_form: Literal["segment-pair", "sentence-pair", "full-sentences", "doc-sentences"] = "full-sentences"
    """What an example is: BERT's pairs of segments or pairs of sentences, both with next-sentence prediction; or whole sentences up to the
    length, across documents or within them."""
    mask_specials: bool = True
    """Start and end symbols may be masked too, as fairseq does (full-sentences, doc-sentences)."""
    whole_words: Annotated[bool, Flags("--mask-whole-words")] = False
    """Mask whole words: --mask-prob is of words, each of which is hidden, kept or replaced as one, as fairseq does."""

    @property
    def learned_pair_format(self) -> Literal["bert", "roberta"]:
        return "bert" if self.input_form.endswith("-pair") else "roberta"

    @property
    def unused_options(self) -> tuple[UnusedOption, ...]:
        form, pairs = f"--input-form {self.input_form}", self.input_form.endswith("-pair")
        return (
            UnusedOption(
                self.input_form != "segment-pair",
                "short_seq_prob",
                f"{form} aims at no length but the full one",
            ),
            UnusedOption(not pairs, "dupe_factor", f"{form} makes the same examples each time"),
            UnusedOption(
                not pairs and self.masks == "dynamic",
                "pair_seed",
                f"{form} makes no pairs, and --masks dynamic draws by --seed",
            ),
            UnusedOption(pairs, "mask_specials", f"{form} never masks [CLS] and [SEP]"),
        )


@config
class AlbertOptions(CorruptionOptions):
    """Masked language model of n-grams and sentence-order prediction (Lan et al. 2020)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.albert:Albert"
    name: str = "albert"
    """Which."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Longest example, special symbols included."""
    ngrams: bool = True
    """Mask n-grams of one to three words; else single pieces."""
    ngram_rule: Literal["words", "released"] = "words"
    """What n-grams are made of: words of one segment; or as in the released code, where digits and letters beyond ASCII begin words too,
    and words and n-grams may go on behind [SEP]."""
    strict_sop: bool = False
    """Leave out chunks of one sentence, which otherwise are paired with another document's, as in the released code."""

    def __post_init__(self) -> None:
        CorruptionOptions.__post_init__(self)
        check((self.ngrams or self.ngram_rule == "words", "ngram_rule", "says nothing without --ngrams"))


@config
class TranslationLMOptions(MaskedLMOptions):
    """Masked language model over a sentence and its translation (Conneau and Lample 2019)."""

    implementation: ClassVar[str] = "masscli.objectives.masked_lm.tlm:TranslationLM"
    input_kind: ClassVar[InputKind] = PAIRS
    name: str = "tlm"
    """Which."""
