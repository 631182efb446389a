"""The options of BERT and its relatives, apart from the objectives so that help screens need no torch.

Defaults are what the papers state; where the released code does something else, it has a name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from masscli.catalog import ObjectiveConfig
from masscli.config import Flags, Idle, check, config
from masscli.methods import ChosenTokensOptions, MaskedLMOptions, PseudoMaskOptions


def share(name: str, value: float) -> tuple[bool, str]:
    """A rule: a share lies in [0, 1]."""
    return 0 <= value <= 1, f"{name}: must lie in [0, 1], got {value}"


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
            (self.tokens_per_sample >= 8, f"tokens_per_sample: must be at least 8, got {self.tokens_per_sample}"),
            share("short_seq_prob", self.short_seq_prob),
            (self.dupe_factor > 0, f"dupe_factor: must be above 0, got {self.dupe_factor}"),
            (self.pair_seed >= 0, f"pair_seed: must not be negative, got {self.pair_seed}"),
        )

    def longest(self, lead: int) -> tuple[str, int]:
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
            (0 < self.mask_prob <= 1, f"mask_prob: must lie above 0, up to 1, got {self.mask_prob}"),
            (self.max_predictions is None or self.max_predictions > 0, f"max_predictions: must be above 0, got {self.max_predictions}"),
        )


@config
class BertOptions(CorruptionOptions):
    """Masked language model and next-sentence prediction over documents (Devlin et al. 2019)."""

    name: str = "bert"
    """Which."""
    whole_words: Annotated[bool, Flags("--mask-whole-words")] = False
    """Mask whole words."""


@config
class RobertaOptions(CorruptionOptions):
    """Masked language model with dynamic masks (Liu et al. 2019)."""

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
    def joins(self) -> Literal["bert", "roberta"]:
        return "bert" if self.input_form.endswith("-pair") else "roberta"

    @property
    def idle(self) -> tuple[Idle, ...]:
        form, pairs = f"--input-form {self.input_form}", self.input_form.endswith("-pair")
        return (
            Idle(self.input_form != "segment-pair", "short_seq_prob", f"{form} aims at no length but the full one"),
            Idle(not pairs, "dupe_factor", f"{form} makes the same examples each time"),
            Idle(not pairs and self.masks == "dynamic", "pair_seed", f"{form} makes no pairs, and --masks dynamic draws by --seed"),
            Idle(pairs, "mask_specials", f"{form} never masks [CLS] and [SEP]"),
        )


@config
class AlbertOptions(CorruptionOptions):
    """Masked language model of n-grams and sentence-order prediction (Lan et al. 2020)."""

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
        check((self.ngrams or self.ngram_rule == "words", "ngram_rule: says nothing without --ngrams"))


@config
class ElectraOptions(DocumentOptions):
    """Replaced-token detection (Clark et al. 2020)."""

    name: str = "electra"
    """Which."""
    short_seq_prob: float = 0.05
    """Share of examples that aim at a random shorter length."""
    dupe_factor: int = 1
    """An epoch goes through the corpus this often, with new pairs each time."""
    mask_prob: float = 0.15
    """Share of tokens that the generator predicts (electra-large was published with 0.25; base and large with --block-size 512)."""
    mask_keep: float = 0.15
    """Share of those that the generator sees as they are, as in the released code; the paper's text has 0."""
    sampling: Literal["with", "without"] = "with"
    """Draw those places with replacement, as in the released code, or without."""
    generator_size: float | None = None
    """Width of the generator as a share of the discriminator's (default: 1/3 with --arch electra-base, else 1/4, as published)."""
    generator_ties: Literal["embeddings", "all", "none"] | None = None
    """What the generator shares with the discriminator: the embeddings; all but its output, where it is as wide; or nothing (default:
    embeddings, and nothing in two-stage)."""
    generator_updates: int | None = None
    """Updates in which the generator learns alone (two-stage), and for the rest of a list that --reuse goes through again."""
    disc_weight: float = 50.0
    """Weight of the discriminator's loss beside the generator's."""
    temperature: float = 1.0
    """Divides the generator's logits before sampling."""
    variant: Literal["electra", "electra-15", "replace-mlm", "all-tokens-mlm", "adversarial", "two-stage"] = "electra"
    """The method, or an ablation: detect at the masked places only; predict the masked tokens from the generator's samples; predict all
    tokens from them, with a copy gate; a generator that learns to mislead the discriminator; a generator that learns alone before the
    discriminator goes on from its weights."""

    @property
    def ties(self) -> str:
        """`generator_ties`, said or not."""
        return self.generator_ties or ("none" if self.variant == "two-stage" else "embeddings")

    def size_beside(self, arch: str) -> float:
        """`generator_size`, said or not, beside a discriminator of a named size."""
        return (1 / 3 if arch == "electra-base" else 0.25) if self.generator_size is None else self.generator_size

    @property
    def waits(self) -> int:
        """The generator learns alone for so long."""
        return self.generator_updates or 0

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        two, updates = self.variant == "two-stage", self.generator_updates
        check(
            (self.ties != "all" or self.generator_size == 1, f"generator_ties: all needs --generator-size 1, got {self.size_beside('')}"),
            (not two or self.ties == "none", "generator_ties: two-stage ties nothing: its generator stands still while the rest learns"),
            (not two or (updates or 0) > 0, f"variant: two-stage needs --generator-updates above 0, got {updates}"),
            (two or updates is None, "generator_updates: belongs to --variant two-stage"),
            (0 < self.mask_prob <= 1, f"mask_prob: must lie above 0, up to 1, got {self.mask_prob}"),
            share("mask_keep", self.mask_keep),
            (self.generator_size is None or self.generator_size > 0, f"generator_size: must be above 0, got {self.generator_size}"),
            (self.disc_weight >= 0, f"disc_weight: must not be negative, got {self.disc_weight}"),
            (self.temperature > 0, f"temperature: must be above 0, got {self.temperature}"),
        )

    @property
    def idle(self) -> tuple[Idle, ...]:
        tokens = self.variant in ("replace-mlm", "all-tokens-mlm")
        return (Idle(tokens, "disc_weight", f"--variant {self.variant} has no discriminator and weighs its two losses alike"),)


@config
class GptOptions(ObjectiveConfig):
    """Causal language model over running text (Radford et al. 2018)."""

    stacks = "decoder"
    name: str = "gpt"
    """Which."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Tokens of a window of running text."""

    def __post_init__(self) -> None:
        check((self.tokens_per_sample >= 8, f"tokens_per_sample: must be at least 8, got {self.tokens_per_sample}"))

    def longest(self, lead: int) -> tuple[str, int]:
        return "tokens_per_sample", self.tokens_per_sample


@config
class UniLMOptions(DocumentOptions):
    """Pseudo-masked language model: autoencoding and partially autoregressive prediction in one pass (UniLMv2, Bao et al. 2020)."""

    writes = True
    name: str = "unilm"
    """Which."""
    tokens_per_sample: Annotated[int, Flags("--block-size")] = 512
    """Longest text, special symbols included; the copies of masked tokens are not counted."""
    short_seq_prob: float = 0.0
    """Share of documents that aim at a random shorter length."""
    dupe_factor: int = 1
    """An epoch goes through the corpus this often, with new pairs each time (the released ALBERT: 40)."""
    mask_prob: float = 0.15
    """Share of tokens to predict."""
    ngram_prob: float = 0.4
    """Share of blocks that have more than one token."""
    max_ngram: int = 6
    """Tokens of the longest block."""
    corruption: Literal["80-10-10", "all-mask"] = "80-10-10"
    """What stands at [M]: as in BERT, where one in ten shows the token itself (to the partially autoregressive side too), or always [M]."""
    variant: Literal["ae+par", "ae+ar", "ae", "par", "ar"] = "ae+par"
    """The method, or an ablation: autoencoding, partially autoregressive, autoregressive in a random order."""

    def __post_init__(self) -> None:
        DocumentOptions.__post_init__(self)
        check(
            (0 < self.mask_prob <= 1, f"mask_prob: must lie above 0, up to 1, got {self.mask_prob}"),
            share("ngram_prob", self.ngram_prob),
            (self.max_ngram > 1, f"max_ngram: must be above 1, got {self.max_ngram}"),
        )

    @property
    def idle(self) -> tuple[Idle, ...]:
        terms, variant = self.variant.split("+"), f"--variant {self.variant}"
        return (
            Idle("ar" in terms, "ngram_prob max_ngram", f"{variant} has blocks of one token"),
            Idle(self.ngram_prob == 0, "max_ngram", "--ngram-prob 0 makes blocks of one token"),
            Idle("ae" not in terms, "corruption", f"{variant} has no [M]"),
        )


@config
class BertLMOptions(MaskedLMOptions):
    """Masked language model for the encoder and causal language model for the decoder: the BERT+LM baseline of the MASS paper."""

    stacks = "encoder-decoder"
    name: str = "bert+lm"
    """Which."""


@config
class TranslationLMOptions(MaskedLMOptions):
    """Masked language model over a sentence and its translation (Conneau and Lample 2019)."""

    reads = "pairs"
    name: str = "tlm"
    """Which."""


@config
class PseudoMaskedOptions(PseudoMaskOptions):
    """Sequence to sequence with an encoder alone, by pseudo-masks (UniLMv2's fine-tuning, s2s-ft)."""

    reads = "pairs"
    stacks = "encoder"
    writes = True
    name: str = "s2s"
    """Which."""
    label_smoothing: float = 0.1
    """Probability spread evenly over the vocabulary."""

    def __post_init__(self) -> None:
        PseudoMaskOptions.__post_init__(self)
        check(share("label_smoothing", self.label_smoothing))
