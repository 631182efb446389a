"""Answers of the server as plain data for JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from masscli.api.text_translation import LineTranslation, TextTranslation
from masscli.generation.translator import Translation
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
"""English names of languages by their ISO 639-1 codes; others are shown as their codes."""


def language_name(code: str) -> str:
    """Return the name of a language, or its code if it has none here."""
    return LANGUAGE_NAMES.get(code, code)


def languages(directions: Sequence[Direction]) -> list[dict[str, Any]]:
    """Return the answer to GET /languages: source languages with their targets."""
    targets: dict[str, set[str]] = {}
    for direction in directions:
        targets.setdefault(direction.source, set()).add(direction.target)
    return [
        {"code": code, "name": language_name(code), "targets": sorted(reached)}
        for code, reached in sorted(targets.items())
    ]


def models(directions: Sequence[Direction]) -> list[dict[str, Any]]:
    """Return the answer to GET /models: models with their directions."""
    found: dict[str, list[dict[str, str]]] = {}
    for direction in directions:
        languages_of = {"source": direction.source, "target": direction.target}
        names = {
            "source_name": language_name(direction.source),
            "target_name": language_name(direction.target),
        }
        found.setdefault(direction.model, []).append({**languages_of, **names})
    return [{"name": name, "directions": known} for name, known in found.items()]


def translation(
    request: TranslationRequest, direction: Direction, translated: Sequence[TextTranslation]
) -> dict[str, Any]:
    """Return the answer to POST /translate, as LibreTranslate gives it, with details if they are wanted."""
    texts = [text.texts[0] for text in translated]
    alternatives = [text.texts[1 : 1 + request.alternatives] for text in translated]
    answer: dict[str, Any] = {"translatedText": texts if request.is_list else texts[0]}
    if request.alternatives:
        answer["alternatives"] = alternatives if request.is_list else alternatives[0]
    if request.details:
        answer["model"] = direction.model
        answer["source"], answer["target"] = direction.source, direction.target
        answer["lines"] = [[_line(line) for line in text.lines] for text in translated]
    return answer


def _line(line: LineTranslation) -> dict[str, Any]:
    """Return a line with its translations, confidences and flags, and the pieces of the best translation."""
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
    return {"source": line.source, "translations": translations, "flags": list(line.flags), "pieces": pieces}


def _pieces(sentence: Translation) -> list[dict[str, Any]]:
    """Return the pieces of a sentence with their probabilities; the last one is the end symbol."""
    scored = zip(sentence.pieces, sentence.piece_scores, strict=True)
    return [{"piece": piece, "probability": math.exp(score)} for piece, score in scored]
