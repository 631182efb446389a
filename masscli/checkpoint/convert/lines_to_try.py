"""Lines on which an exported tokenizer is compared with masscli's: real sentences and unusual text."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.text.demo import LANGUAGES, draw_sentences

_DEMO_SENTENCES = 500
_ODD_LINES = (
    "",
    "   ",
    " a dog  runs ",
    "tab\tand\u00a0other\u3000space",
    "\u2581a \u2581 dog\u2581",
    "an emoji \U0001f600 and \U0001f469\u200d\U0001f467 or \U0001f1e9\U0001f1ea",
    "control\x01 and zero\u200bwidth\ufeff",
    "\ufb01ne \uff46\uff55\uff4c\uff4c \uff11\uff12 e\u0301 \u00e9 \u2026",
    "\u6f22\u5b57 \u6f22 \u304b\u306a unknown",
    "9,123.45 U.S. don't x_y -- ``so'' \u201eso\u201c",
    "a" * 100,
)
"""Text with spaces in unusual places, characters that tokenizers use internally, and characters that most
vocabularies lack."""


def lines_to_try(
    checkpoint: Checkpoint, texts: Iterable[tuple[str, str]]
) -> tuple[list[tuple[str, str]], str]:
    """Return pairs (language, line) to compare two tokenizers on, and a description of their origin.

    `texts` are pairs (dataset, language): a dataset is a pair of languages such as `en-de`, or one language,
    and the language is the one whose lines are taken from it. The lines are sentences of the demo, unusual
    lines and, if the data folder of the run still exists and has them, its validation and test sets.
    """
    texts = list(texts)
    languages = list(dict.fromkeys(language for _, language in texts))
    lines = []
    for sentence in draw_sentences(_DEMO_SENTENCES):
        # A language that the demo does not have (`eng_Latn`) is tried with sentences in the demo's
        # first language.
        for language in languages:
            known = language if language in LANGUAGES else LANGUAGES[0]
            lines.append((language, sentence[known]))
    for language in languages:
        lines += [(language, line) for line in _ODD_LINES]
    tried = ["sentences of masscli demo, odd ones"]
    for split in ("valid", "test"):
        # The data may have been moved, or may not contain such text.
        with suppress(MasscliError):
            folder = DataFolder.open(checkpoint.recipe.data)
            for pair_or_language, language in texts:
                found = folder.original_lines(split, pair_or_language, language)
                lines += [(language, text) for text in found]
            tried.append(f"{split} of {folder.folder}")
    return lines, ", ".join(tried)
