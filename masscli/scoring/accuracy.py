"""The share of lines that equal their reference (any of several), spaces at the ends aside."""

from __future__ import annotations

from typing import ClassVar

from masscli.scoring.averages import Average


class Accuracy(Average):
    """Exact match."""

    title: ClassVar[str] = "accuracy"

    def line_score(self, hypothesis: str, reference: str) -> float:
        a, b = hypothesis.strip(), reference.strip()
        return float(a.lower() == b.lower() if self.lowercase else a == b)

    def described(self) -> dict[str, str]:
        return {"case": "lc" if self.lowercase else "mixed"}
