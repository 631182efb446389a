"""BLEU of Moses tokens, as papers report it: `multi-bleu.perl` after `tokenizer.perl`.

Hypotheses and references are detokenized text, which is tokenized here by the Moses rules for `--lang`,
without escaping special characters. With `--normalize` both first go through Moses punctuation
normalization, as XLM and MASS do with their references. With `--plain-romanian` Romanian diacritics are
also removed, as in those papers for WMT16.

Such a number must not be compared with sacreBLEU's default (13a), from which it differs by up to a few
points. The signature says which of the two it is.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar, Self

from sacrebleu.metrics.base import Signature
from sacrebleu.metrics.bleu import BLEU

from masscli.metrics.config import ScoreConfig
from masscli.text.preprocessing import TextPreprocessing
from masscli.version import __version__


class MultiBleu(BLEU):
    """BLEU of Moses tokens; hypotheses and references are tokenized here."""

    title: ClassVar[str] = "multi-BLEU"

    def __init__(
        self, language: str, preprocessing: TextPreprocessing, effective_order: bool
    ) -> None:
        """Set up BLEU without smoothing; `preprocessing` is applied to hypotheses and references.

        `language` decides the Moses rules. With `effective_order`, which is for single lines, the orders of
        n-grams of which a hypothesis has none, because it is too short, are left out.
        """
        super().__init__(
            lowercase=preprocessing.lowercase,
            # Text is tokenized by _preprocess_segment, so BLEU itself must leave it alone.
            tokenize="none",
            smooth_method="none",
            # sacreBLEU would warn of tokenized text, of which `masscli score` warns itself.
            force=True,
            effective_order=effective_order,
        )
        self.language = language
        self.preprocessing = preprocessing
        # sacreBLEU writes this into the signature.
        self.tokenizer_signature = f"moses-{language}"
        if preprocessing.normalize:
            self.tokenizer_signature += "-normalized"
        if preprocessing.romanian:
            self.tokenizer_signature += "-no-diacritics"

    @classmethod
    def from_options(cls, options: ScoreConfig) -> Self:
        """Return the metric with the settings in `options`, which are those of `masscli score`."""
        romanian = "plain" if options.plain_romanian else None
        preprocessing = TextPreprocessing(
            # The papers that removed diacritics had normalized punctuation first.
            normalize=options.normalize or options.plain_romanian,
            moses=True,
            lowercase=options.lowercase,
            romanian=romanian,
        )
        return cls(options.lang, preprocessing, effective_order=options.sentence_level)

    def get_signature(self) -> Signature:
        """Return sacreBLEU's signature with the versions of masscli and sacremoses added."""
        signature = super().get_signature()
        signature.update(
            "version", f"masscli-{__version__},sacremoses-{version('sacremoses')}"
        )
        return signature

    def _preprocess_segment(self, sent: str) -> str:
        """Return a preprocessed line of a hypothesis or reference: Moses tokens with spaces between them."""
        # sacreBLEU calls this on every line of both sides before it tokenizes.
        return self.preprocessing.apply([sent], self.language)[0]
