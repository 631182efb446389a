"""BLEU, chrF and TER, computed by sacreBLEU and with its signatures.

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

TOKENIZER_MODELS = {
    "flores101": "sacrebleu_tokenizer_spm.model",
    "flores200": "flores200sacrebleuspm",
}
"""The file name of the SentencePiece model that each of these tokenizers of sacreBLEU needs."""
MAX_TER_WORDS = 5000
"""The most words of a line whose TER is computed: sacreBLEU compares each word with every other, and tries
up to 1,000 shifts (170 s of a core for 2,000 random words)."""
_SHOWN_LETTERS = 60
"""Maximum number of characters of a line that a message shows."""


class Bleu(BLEU):
    """BLEU of detokenized text, which sacreBLEU tokenizes itself."""

    title: ClassVar[str] = "BLEU"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`.

        Raises MasscliError if the tokenizer's model or MeCab is not installed.
        """
        _check_installed(options.tokenize)
        # A line of fewer than four tokens has no 4-grams. For lines, sacreBLEU's own command leaves such
        # orders out as well. `force` switches off its warning of tokenized text, since masscli has its own.
        return cls(
            lowercase=options.lowercase,
            tokenize=options.tokenize,
            effective_order=options.sentence_level,
            force=True,
        )


class Chrf(CHRF):
    """chrF2: the F-score of character n-grams up to 6, with recall weighted twice as much as precision."""

    title: ClassVar[str] = "chrF2"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        return cls(lowercase=options.lowercase)


class ChrfPlusPlus(CHRF):
    """chrF2++: chrF2 that also counts unigrams and bigrams of words."""

    title: ClassVar[str] = "chrF2++"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        return cls(lowercase=options.lowercase, word_order=2)


class Ter(TER):
    """Translation edit rate; lower is better.

    Case is always ignored, which is sacreBLEU's default and what the literature reports. The time for a line
    grows with the square of its words, so lines of more than MAX_TER_WORDS are refused.
    """

    title: ClassVar[str] = "TER"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with sacreBLEU's defaults; no option changes it."""
        return cls()

    def _preprocess_segment(self, sent: str) -> str:
        """Return a line with its words separated by spaces; raise MasscliError if there are too many."""
        segment: str = super()._preprocess_segment(sent)
        words = len(segment.split())
        if words > MAX_TER_WORDS:
            raise MasscliError(
                f"TER: a line has {words:,} words, and {MAX_TER_WORDS:,} at most are compared: "
                f"{sent[:_SHOWN_LETTERS]!r}",
                "are line ends missing? else split the line, or leave out the metric ter",
            )
        return segment


def _check_installed(tokenizer: str) -> None:
    """Raise MasscliError if a tokenizer needs a SentencePiece model or MeCab that is not installed.

    sacreBLEU would download the model, or fail at the first line.
    """
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
                f"--tokenize {tokenizer}: MeCab is not installed",
                f"pip install 'sacrebleu[{tokenizer[:2]}]'",
            )
