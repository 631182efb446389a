"""The BLEU of papers: Moses tokens, no smoothing, as `multi-bleu.perl` counts them after `tokenizer.perl` (and with `-lc`: lower-cased).

With `--normalize` both sides go through Moses punctuation normalisation before that, as XLM and MASS have their references; with
`--plain-romanian` they also lose the marks on their letters, as WMT16 Romanian was scored in those papers.  The signature says so.

Both sides are detokenised text, tokenised here for the language of `--lang`, without escaping of special characters.  Such a number
must not be compared with sacreBLEU's default (13a), from which it differs by up to a few points; its signature says which it is.
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
    """BLEU of Moses tokens."""

    title: ClassVar[str] = "multi-BLEU"

    def __init__(
        self,
        lang: str,
        lowercase: bool,
        effective_order: bool,
        normalize: bool = False,
        plain_romanian: bool = False,
    ) -> None:
        super().__init__(
            lowercase=lowercase,
            tokenize="none",
            smooth_method="none",
            force=True,
            effective_order=effective_order,
        )
        self.lang = lang
        normalize = normalize or plain_romanian
        self.tokenizer_signature = (
            f"moses-{lang}{'-normalized' if normalize else ''}{'-no-diacritics' if plain_romanian else ''}"
        )
        # In this order: the tokenizer knows abbreviations by their case.
        self.preprocessing = TextPreprocessing(
            normalize, True, lowercase, "plain" if plain_romanian else None
        )

    @classmethod
    def of(cls, options: ScoreConfig) -> Self:
        return cls(
            options.lang, options.lowercase, options.sentence_level, options.normalize, options.plain_romanian
        )

    def _preprocess_segment(self, sent: str) -> str:
        return self.preprocessing.apply([sent], self.lang)[0]

    def get_signature(self) -> Signature:
        signature = super().get_signature()
        signature.update("version", f"masscli-{__version__},sacremoses-{version('sacremoses')}")
        return signature
