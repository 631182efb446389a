"""Mutations of trees as JSON and TOML hold them, and of the text that stands for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from tests.fuzz.canary import TARGET

Node = tuple[Any, Any]
"""A container and the key or number of one of its items."""

DEEP = "@@DEEP@@"
LONG_NUMBER = "@@LONG@@"
PLACEHOLDERS = {
    f'"{DEEP}"': "[" * 20_000 + "]" * 20_000,
    f'"{LONG_NUMBER}"': "9" * 5000,
}
"""What takes the place of a string in the text, since Python has no such value or json no such text."""

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 255, 2**31, 2**63, 2**64, -(2**63) - 1, 10**30, 0.5, -0.0, 1e-320, 1e308,
    float("nan"), float("inf"), "", " ", "0", "-1", "1e9", "true", "nan", "a,b", "\0", "a\nb", "a\u2028b", "\ufeff", "\ud800",
    10**400, "é", "../x", "/etc/passwd", "x" * 5000, TARGET, "os:system", [], {}, [[]], [None], [0], ["a", 1], {"a": {}},
    {"name": TARGET}, DEEP, LONG_NUMBER,
)  # fmt: skip


def nodes(tree: Any) -> list[Node]:
    """Return every item of every container of a tree."""
    found: list[Node] = []
    pending = [tree]
    while pending:
        container = pending.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        for key in keys:
            found.append((container, key))
            if isinstance(container[key], (dict, list)):
                pending.append(container[key])
    return found


def mutate_tree(draw: Random, tree: Any) -> tuple[Any, str]:
    """Return a changed copy of a tree, and what was changed."""
    tree = copy.deepcopy(tree)
    found = nodes(tree) if isinstance(tree, (dict, list)) else []
    if not found or draw.random() < 0.01:
        return draw.choice(VALUES), "replace the root"
    container, key = draw.choice(found)
    action = draw.choice(ACTIONS)
    action(draw, container, key, found)
    return tree, f"{action.__name__[1:]} {key}"


def _replace(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    container[key] = copy.deepcopy(draw.choice(VALUES))


def _delete(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    del container[key]


def _copy_other(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    other, other_key = draw.choice(found)
    container[key] = copy.deepcopy(other[other_key])


def _copy_sibling(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    keys = list(container) if isinstance(container, dict) else range(len(container))
    container[key] = copy.deepcopy(container[draw.choice(keys)])


def _swap(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    keys = list(container) if isinstance(container, dict) else range(len(container))
    other = draw.choice(keys)
    container[key], container[other] = container[other], container[key]


def _nudge(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    value = container[key]
    if isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, (int, float)):
        container[key] = value + draw.choice((-2, -1, 1, 2, 100))
    elif isinstance(value, str) and value:
        place = draw.randrange(len(value))
        container[key] = (
            value[:place]
            + draw.choice("aZ0 ,\0é/.")
            + value[place + draw.randint(0, 1) :]
        )
    elif isinstance(value, list) and value:
        value.insert(draw.randrange(len(value)), copy.deepcopy(draw.choice(value)))
    else:
        container[key] = [value]


def _rename(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    if isinstance(container, dict):
        names = [other for _, other in found if isinstance(other, str)]
        container[draw.choice([*names, "", "unknown", f"{key}x", "a.b", "\ud800"])] = (
            container.pop(key)
        )
    else:
        container.append(container.pop(key))


def _retype(draw: Random, container: Any, key: Any, found: list[Node]) -> None:
    value = container[key]
    if isinstance(value, str):
        container[key] = draw.choice(
            (value.encode(errors="replace").hex(), [value], {value: value}, list(value))
        )
    elif isinstance(value, (int, float)):
        container[key] = draw.choice(
            (str(value), float(value) if abs(value) < 1e300 else value, [value])
        )
    else:
        container[key] = json.dumps(value, default=str)


Action = Callable[[Random, Any, Any, list[Node]], None]
ACTIONS: tuple[Action, ...] = (
    _replace, _replace, _replace, _delete, _copy_other, _copy_sibling, _swap, _nudge, _nudge, _rename, _retype,
)  # fmt: skip


def to_json(tree: Any, with_escapes: bool = False) -> bytes:
    """Return the JSON text of a tree, with placeholders filled in; what is not ASCII may be written as escapes."""
    text = json.dumps(tree, ensure_ascii=with_escapes)
    return _fill(text).encode("utf-8", "surrogatepass")


def to_toml(tree: Mapping[str, Any]) -> bytes:
    """Return the TOML text of a table. TOML has no null, so that such items are left out."""
    lines = [
        f"{_key(key)} = {_toml(value)}\n"
        for key, value in tree.items()
        if value is not None
    ]
    return _fill("".join(lines)).encode("utf-8", "surrogatepass")


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
        case dict():
            items = [
                f"{_key(key)} = {_toml(item)}"
                for key, item in value.items()
                if item is not None
            ]
            return f"{{{', '.join(items)}}}"
        case list():
            return f"[{', '.join(_toml(item) for item in value if item is not None)}]"
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return json.dumps(str(key), ensure_ascii=False)


def _fill(text: str) -> str:
    for placeholder, value in PLACEHOLDERS.items():
        text = text.replace(placeholder, value)
    return text
