"""All that models ever see of text: how many ids there are, and which of them are special."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Special ids by role, languages by name.

    `languages` maps a language name to the id of its tag token, in the order the names were given to `preprocess`; nothing relies on a
    position in that order but a model's own tables, which store the names.  `spare` are reserved ids for objectives that need a symbol of
    their own (UniLM's [P], a turn separator).  `fingerprint` is the sha256 of the canonical vocabulary: pieces, ids, tokenizer settings.
    """

    size: int
    pad: int
    bos: int
    eos: int
    unk: int
    mask: int
    cls: int
    sep: int
    spare: tuple[int, ...]
    languages: Mapping[str, int]
    fingerprint: str

    @property
    def specials(self) -> frozenset[int]:
        """Ids that stand for no text (the unknown piece among them)."""
        return frozenset(
            {
                self.pad,
                self.bos,
                self.eos,
                self.unk,
                self.mask,
                self.cls,
                self.sep,
                *self.spare,
                *self.languages.values(),
            }
        )
