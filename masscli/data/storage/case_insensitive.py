"""A mapping whose names are also found with other capitalization, such as `Sentence` for `sentence`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class CaseInsensitiveMapping(Mapping[str, T]):
    """A mapping that finds a name exactly, or else the only name that differs only in capitalization.

    If several names differ from each other only in capitalization, they are only found exactly.
    """

    def __init__(self, values: Mapping[str, T]) -> None:
        self._values = values
        # Names that differ from each other only in case are only found exactly.
        spellings = Counter(name.lower() for name in values)
        self._spelling = {}
        for name in values:
            if spellings[name.lower()] == 1:
                self._spelling[name.lower()] = name

    def __getitem__(self, name: str) -> T:
        if name in self._values:
            return self._values[name]
        return self._values[self._spelling[name.lower()]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
