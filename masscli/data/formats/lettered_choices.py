"""Objects of CommonsenseQA, ARC and OpenBookQA, whose choices have letters: flattened into plain fields.

As they are distributed, and as the library `datasets` writes them:

    {"question": {"stem": ..., "choices": [{"label": "A", "text": ...}, ...]}, "answerKey": "B"}
    {"question": ..., "choices": {"label": ["A", ...], "text": [...]}, "answerKey": "B"}

Both become the fields `question`, `choices`, a list of texts, and `label`, the number of the right choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ANSWER_KEY = "answerKey"
"""The field with the letter of the right choice; empty if the answer is withheld."""


def flatten_choices(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with lettered choices as one with the fields `question`, `choices` and `label`.

    Its other fields stay as they are, and so does an object of any other form. There is no `label`
    without an answer key, and it is empty if the key is not one of the letters (ARC also has digits).
    """
    flat = dict(value)
    question = flat.get("question")
    if isinstance(question, dict) and "stem" in question:
        flat |= question
        flat["question"] = flat.pop("stem")
    letters, texts = _split_choices(flat.get("choices"))
    if not texts:
        return dict(value)
    flat["choices"] = texts
    if ANSWER_KEY in flat and "label" not in flat:
        key = flat[ANSWER_KEY]
        flat["label"] = str(letters.index(key)) if key in letters else ""
    return flat


def _split_choices(choices: Any) -> tuple[list[Any], list[Any]]:
    """Return the letters and the texts of choices; both are empty for choices of another form."""
    if isinstance(choices, dict):
        letters, texts = choices.get("label"), choices.get("text")
        if (
            isinstance(letters, list)
            and isinstance(texts, list)
            and len(letters) == len(texts)
        ):
            return letters, texts
        return [], []
    letters, texts = [], []
    for choice in choices if isinstance(choices, list) else []:
        if not isinstance(choice, dict) or not {"label", "text"} <= choice.keys():
            return [], []
        letters.append(choice["label"])
        texts.append(choice["text"])
    return letters, texts
