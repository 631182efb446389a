"""Build the server's answers as plain data that can be written as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from masscli.api.text_translation import LineTranslation, TextTranslation
from masscli.generation.translation import Translation
from masscli.serving.models import Direction
from masscli.serving.requests import TranslationRequest

LANGUAGE_NAMES = {
    "ar": "Arabic", "bg": "Bulgarian", "bn": "Bengali", "ca": "Catalan", "cs": "Czech", "da": "Danish",
    "de": "German", "el": "Greek", "en": "English", "eo": "Esperanto", "es": "Spanish", "et": "Estonian",
    "eu": "Basque", "fa": "Persian", "fi": "Finnish", "fr": "French", "ga": "Irish", "gl": "Galician",
    "gu": "Gujarati", "he": "Hebrew", "hi": "Hindi", "hr": "Croatian", "hu": "Hungarian", "id": "Indonesian",
    "is": "Icelandic", "it": "Italian", "ja": "Japanese", "kk": "Kazakh", "ko": "Korean", "lt": "Lithuanian",
    "lv": "Latvian", "mk": "Macedonian", "ml": "Malayalam", "mr": "Marathi", "nb": "Norwegian Bokmål",
    "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian", "sk": "Slovak",
    "sl": "Slovenian", "sq": "Albanian", "sr": "Serbian", "sv": "Swedish", "sw": "Swahili", "ta": "Tamil",
    "te": "Telugu", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "ur": "Urdu", "vi": "Vietnamese",
    "zh": "Chinese",
}  # fmt: skip
"""English names of languages by ISO 639-1 code. A language that is not listed is shown by its code."""


def language_name(code: str) -> str:
    """Return the English name of a language, or its code if LANGUAGE_NAMES does not list it."""
    return LANGUAGE_NAMES.get(code, code)


def languages(directions: Sequence[Direction]) -> list[dict[str, Any]]:
    """Return the answer to GET /languages: each source language with the codes of its target languages."""
    targets: dict[str, set[str]] = {}
    for direction in directions:
        targets.setdefault(direction.source, set()).add(direction.target)
    answer = []
    # Sorted, so that the answer does not depend on the order of the models.
    for code, reached in sorted(targets.items()):
        answer.append(
            {"code": code, "name": language_name(code), "targets": sorted(reached)}
        )
    return answer


def models(directions: Sequence[Direction]) -> list[dict[str, Any]]:
    """Return the answer to GET /models: each model with the directions that it translates."""
    directions_of: dict[str, list[dict[str, str]]] = {}
    for direction in directions:
        described = {
            "source": direction.source,
            "target": direction.target,
            "source_name": language_name(direction.source),
            "target_name": language_name(direction.target),
        }
        directions_of.setdefault(direction.model, []).append(described)
    return [
        {"name": name, "directions": known} for name, known in directions_of.items()
    ]


def translation(
    request: TranslationRequest,
    direction: Direction,
    translated: Sequence[TextTranslation],
) -> dict[str, Any]:
    """Return the answer to POST /translate: the best translations, in LibreTranslate's format.

    Alternatives are added if the request asks for them; if it asks for details, also the model, the languages
    and all that is known about each line.
    """
    texts = [text.texts[0] for text in translated]
    alternatives = [text.texts[1 : 1 + request.alternatives] for text in translated]
    answer: dict[str, Any] = {"translatedText": texts}
    if request.alternatives:
        answer["alternatives"] = alternatives
    # A request with a single text instead of a list gets a single text back.
    if not request.is_list:
        answer = {name: values[0] for name, values in answer.items()}
    if request.details:
        answer["model"] = direction.model
        answer["source"], answer["target"] = direction.source, direction.target
        answer["lines"] = []
        for text in translated:
            answer["lines"].append([_line(line) for line in text.lines])
    return answer


def _line(line: LineTranslation) -> dict[str, Any]:
    """Return the details of a line: its translations with confidences, its flags, and the best pieces.

    `pieces` holds, for each sentence, the pieces of the best translation with their probabilities.
    """
    translations = []
    for rank, text in enumerate(line.texts):
        translations.append(
            {
                "text": text,
                "confidence": line.confidence_of(rank),
                "log_probability": line.log_probability(rank),
            }
        )
    pieces = [_pieces(hypotheses[0]) for hypotheses in line.sentences]
    return {
        "source": line.source,
        "translations": translations,
        "flags": list(line.flags),
        "pieces": pieces,
    }


def _pieces(sentence: Translation) -> list[dict[str, Any]]:
    """Return the pieces of a translated sentence with their probabilities; the end symbol comes last."""
    scored = zip(sentence.pieces, sentence.piece_scores, strict=True)
    return [{"piece": piece, "probability": math.exp(score)} for piece, score in scored]
