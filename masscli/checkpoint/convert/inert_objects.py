"""Placeholders for the objects of other programs in a pickle, and the plain values that they stand for."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

_NUMPY_NUMBERS = {
    "i8": "q",
    "i4": "i",
    "i2": "h",
    "i1": "b",
    "u8": "Q",
    "u4": "I",
    "u1": "B",
    "f8": "d",
    "f4": "f",
    "b1": "?",
}
"""Format characters of the module `struct`, by NumPy's names of dtypes."""


class InertObject:
    """A placeholder, without behavior, for an object of another program.

    `args` are the arguments that the pickle would construct the object with, and `state` is its state,
    usually a dictionary of attributes.
    """

    kind: ClassVar[str] = ""
    """Module and name of the object's class, or of the function that would create it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> InertObject:
        """Create an instance that keeps the arguments: some pickles call this method without `__init__`."""
        made = super().__new__(cls)
        made.args = args
        made.state = {}
        return made

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args: Sequence[Any]
        self.state: Any

    def __setstate__(self, state: Any) -> None:
        """Keep the state that the pickle gives to the object."""
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an item that the pickle sets in a dictionary-like object."""

    def append(self, item: Any) -> None:
        """Ignore an item that the pickle appends to a list-like object."""

    def extend(self, items: Any) -> None:
        """Ignore items that the pickle appends to a list-like object."""


def attributes(value: Any) -> dict[str, Any]:
    """Return the plain values of options by name, from a dictionary, a Namespace or an omegaconf node.

    For any other value, the dictionary is empty.
    """
    if isinstance(value, InertObject):
        return attributes(value.state)
    if not isinstance(value, Mapping):
        return {}
    # omegaconf keeps a dictionary under _content, and wraps each value in a node that has it under _val.
    if isinstance(value.get("_content"), Mapping):
        value = value["_content"]
    return {str(key): plain(item) for key, item in value.items()}


def plain(value: Any) -> Any:
    """Return the plain value that an `InertObject` represents: a number, a string or a list.

    Values that are not an InertObject, and objects that do not represent such a value, are returned
    unchanged.
    """
    if not isinstance(value, InertObject):
        return value
    if value.kind.endswith("multiarray.scalar"):
        return _numpy_number(value)
    state = value.state
    if isinstance(state, Mapping) and "_val" in state:
        return plain(state["_val"])
    if isinstance(state, Mapping) and isinstance(state.get("_content"), list):
        return [plain(item) for item in state["_content"]]
    # An enumeration member is constructed from its value.
    if (
        len(value.args) == 1
        and isinstance(value.args[0], (str, int, float, bool))
        and not state
    ):
        return value.args[0]
    return value


def _numpy_number(value: InertObject) -> Any:
    """Return the number that a pickled NumPy scalar represents.

    An object with an unknown dtype, or with a wrong number of bytes for its dtype, is returned
    unchanged.
    """
    # The arguments are the dtype and the bytes; a damaged pickle may lack them.
    dtype, data = (*value.args, None, None)[:2]
    name = None
    if isinstance(dtype, InertObject) and dtype.args:
        name = dtype.args[0]
    # Before protocol 3, pickles store bytes as a call of _codecs.encode on a string.
    if isinstance(data, InertObject) and data.args and isinstance(data.args[0], str):
        data = data.args[0].encode("latin-1")
    code = _NUMPY_NUMBERS.get(str(name))
    if (
        code is None
        or not isinstance(data, bytes)
        or len(data) != struct.calcsize(f"<{code}")
    ):
        return value
    return struct.unpack(f"<{code}", data)[0]
