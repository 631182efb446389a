"""BLEU, chrF and TER as sacreBLEU computes and signs them.

BLEU: Papineni et al. 2002; chrF: Popovic 2015, 2017; TER: Snover et al. 2006.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from sacrebleu import SACREBLEU_DIR
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from masscli.core.errors import MasscliError
from masscli.metrics.config import ScoreConfig

TOKENIZER_MODELS = {"flores101": "sacrebleu_tokenizer_spm.model", "flores200": "flores200sacrebleuspm"}
"""The files of the tokenizers that are SentencePiece models."""


class Bleu(BLEU):
    """BLEU of detokenized text."""

    title: ClassVar[str] = "BLEU"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric. Raises MasscliError if its tokenizer is not installed."""
        _check_installed(options.tokenize)
        # A single line often has no 4-grams in common; sacreBLEU's own command leaves such orders out as
        # well.
        return cls(
            lowercase=options.lowercase,
            tokenize=options.tokenize,
            effective_order=options.sentence_level,
            force=True,
        )


class Chrf(CHRF):
    """F-score of character 6-grams, with recall weighted double."""

    title: ClassVar[str] = "chrF2"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings of `options`."""
        return cls(lowercase=options.lowercase)


class ChrfPlusPlus(CHRF):
    """chrF2 with unigrams and bigrams of words."""

    title: ClassVar[str] = "chrF2++"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings of `options`."""
        return cls(lowercase=options.lowercase, word_order=2)


class Ter(TER):
    """Translation edit rate; lower is better.

    Case never counts: that is sacreBLEU's default, and what the literature reports.
    """

    title: ClassVar[str] = "TER"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric, which has no settings."""
        return cls()


def _check_installed(tokenizer: str) -> None:
    """Refuse a tokenizer that sacreBLEU would have to download or that needs MeCab, if it is missing."""
    if tokenizer in TOKENIZER_MODELS:
        path = Path(SACREBLEU_DIR) / "models" / TOKENIZER_MODELS[tokenizer]
        if not path.exists():
            raise MasscliError(
                f"--tokenize {tokenizer}: there is no {path}",
                "masscli downloads nothing: put sacreBLEU's own model there",
            )
    # The module exists without MeCab, and sacreBLEU would fail only when the first line is tokenized.
    if tokenizer.endswith("-mecab"):
        from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab

        module = tokenizer_ja_mecab if tokenizer == "ja-mecab" else tokenizer_ko_mecab
        if module.MeCab is None:
            raise MasscliError(
                f"--tokenize {tokenizer}: MeCab is not installed", f"pip install 'sacrebleu[{tokenizer[:2]}]'"
            )
