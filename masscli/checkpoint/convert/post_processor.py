"""Read which special tokens a tokenizer.json puts around a text (its post_processor)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

_PAIR_PROCESSORS = ("BertProcessing", "RobertaProcessing")
"""Types with one token before a text (`cls`) and one after it (`sep`)."""
_WITHOUT_TOKENS = "ByteLevel"
"""A type that adds no token, but corrects where tokens are in a text."""


class Around(NamedTuple):
    """The ids of the special tokens before a text, and of those after it."""

    before: tuple[int, ...]
    after: tuple[int, ...]


class DamagedTemplateError(Exception):
    """A post_processor does not have the parts that its type has."""


def read_around(part: Mapping[str, Any]) -> Around | None:
    """Return the special tokens that `part`, the post_processor of a tokenizer.json, puts around a text.

    There are none if `part` is empty. Return None if its type is not known. Raises DamagedTemplateError if
    it is damaged.
    """
    steps = part.get("processors") if part.get("type") == "Sequence" else [part]
    if not isinstance(steps, list):
        raise DamagedTemplateError
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    for step in steps:
        around = _read_step(step) if isinstance(step, Mapping) else None
        if around is None:
            return None
        before, after = around.before + before, after + around.after
    return Around(before, after)


def count_separators(part: Mapping[str, Any]) -> int | None:
    """Return how many special tokens `part`, the post_processor of a tokenizer.json, puts between two texts.

    Return None if nothing says so. Raises DamagedTemplateError if it is damaged.
    """
    steps = part.get("processors") if part.get("type") == "Sequence" else [part]
    if not isinstance(steps, list):
        raise DamagedTemplateError
    for step in steps:
        kind = step.get("type") if isinstance(step, Mapping) else None
        if kind in _PAIR_PROCESSORS:
            return 1 if kind == "BertProcessing" else 2
        if kind == "TemplateProcessing":
            return _count_between(step.get("pair"))
    return None


def _count_between(items: Any) -> int:
    """Return the number of items between the two texts in the template of a pair, `items`.

    Raises DamagedTemplateError if it has no two texts.
    """
    places = []
    for place, item in enumerate(items if isinstance(items, list) else []):
        if isinstance(item, Mapping) and "Sequence" in item:
            places.append(place)
    if len(places) != 2:
        raise DamagedTemplateError
    return places[1] - places[0] - 1


def _read_step(step: Mapping[str, Any]) -> Around | None:
    """Return the special tokens that a step puts around a text; None if its type is not known.

    Raises DamagedTemplateError if the step is damaged.
    """
    kind = step.get("type")
    if not step or kind == _WITHOUT_TOKENS:
        return Around((), ())
    try:
        if kind in _PAIR_PROCESSORS:
            return Around((int(step["cls"][1]),), (int(step["sep"][1]),))
        if kind == "TemplateProcessing":
            return _read_template(step["single"], step["special_tokens"])
    except (KeyError, IndexError, TypeError, ValueError):
        raise DamagedTemplateError from None
    return None


def _read_template(items: Any, known: Any) -> Around:
    """Return the special tokens in a template, whose `items` are tokens and the text.

    `known` has the ids of each token. Raises KeyError, TypeError or ValueError if they are damaged.
    """
    if not isinstance(items, list):
        raise TypeError
    before: list[int] = []
    after: list[int] = []
    current = before
    for item in items:
        # This is the text itself: special tokens listed before it precede a text, and the rest follow it.
        if isinstance(item, dict) and "Sequence" in item:
            current = after
            continue
        token = known[item["SpecialToken"]["id"]]
        current += [int(number) for number in token["ids"]]
    return Around(tuple(before), tuple(after))
