"""BLEU (Papineni et al. 2002), chrF (Popovic 2015, 2017) and TER (Snover et al. 2006) as sacreBLEU computes and signs them."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from sacrebleu import SACREBLEU_DIR
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from masscli.core.errors import MasscliError
from masscli.metrics.config import ScoreConfig

MODELS = {"flores101": "sacrebleu_tokenizer_spm.model", "flores200": "flores200sacrebleuspm"}


class Bleu(BLEU):
    """BLEU of detokenised text."""

    title: ClassVar[str] = "BLEU"

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        _installed(options.tokenize)
        return cls(  # a single line has no 4-grams often enough: sacreBLEU leaves those orders out, and so its command line does
            lowercase=options.lowercase,
            tokenize=options.tokenize,
            effective_order=options.sentence_level,
            force=True,
        )


class Chrf(CHRF):
    """chrF2: character 6-grams."""

    title: ClassVar[str] = "chrF2"

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        return cls(lowercase=options.lowercase)


class ChrfPlusPlus(CHRF):
    """chrF2++: with word bigrams."""

    title: ClassVar[str] = "chrF2++"

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        return cls(lowercase=options.lowercase, word_order=2)


class Ter(TER):
    """Translation edit rate; lower is better.  It never minds case: sacreBLEU's default, and what the literature reports."""

    title: ClassVar[str] = "TER"

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        return cls()


def _installed(tokenizer: str) -> None:
    """Refuse what sacreBLEU would have to download or install."""
    if tokenizer in MODELS and not (path := Path(SACREBLEU_DIR) / "models" / MODELS[tokenizer]).exists():
        raise MasscliError(
            f"--tokenize {tokenizer}: there is no {path}",
            "masscli downloads nothing: put sacreBLEU's own model there",
        )
    if tokenizer.endswith("-mecab"):
        from sacrebleu.tokenizers import tokenizer_ja_mecab, tokenizer_ko_mecab

        module = tokenizer_ja_mecab if tokenizer == "ja-mecab" else tokenizer_ko_mecab
        if module.MeCab is None:
            raise MasscliError(
                f"--tokenize {tokenizer}: MeCab is not installed", f"pip install 'sacrebleu[{tokenizer[:2]}]'"
            )
