"""How columns and fields are found: by their names, upper case or lower."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TypeVar

T = TypeVar("T")


class CaseInsensitiveMapping(Mapping[str, T]):
    """What has names; where nothing has the very one, the only one that differs from it in case alone (`Sentence`, `LABEL`)."""

    def __init__(self, known: Mapping[str, T]) -> None:
        lower = Counter(name.lower() for name in known)
        self._known, self._alike = known, {name.lower(): name for name in known if lower[name.lower()] == 1}

    def __getitem__(self, name: str) -> T:
        return self._known[name if name in self._known else self._alike[name.lower()]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)
