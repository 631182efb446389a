"""The watch over back-translation: figures of what the model writes that show copying, the wrong language, collapse and repetition.

It looks at pieces and their counts in training text alone, never at references:

  copied     share of the output's pieces that the input has too (as a multiset)
  length     pieces written, by pieces read
  language   share of outputs likelier under the piece frequencies of the language to be written than under those of any other of the data
  repeated   share of an output's bigrams that stand earlier in it
  distinct   share of a batch's outputs that no other of it equals
  cut        share of outputs ended by the length limit

`copied` has a natural level, that of names, numbers and punctuation: at most what both frequencies have in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids


class BacktranslationMonitor:
    """Sums since last asked.  `read` and `written` (V,) count the pieces of both languages in training text, `others` those of the rest."""

    names: ClassVar[tuple[str, ...]] = ("copied", "length", "language", "repeated", "distinct", "cut")

    def __init__(
        self, read: NDArray[np.int64], written: NDArray[np.int64], *others: NDArray[np.int64]
    ) -> None:
        right, *wrong = (
            np.log((counts + 1) / (counts.sum() + len(counts))) for counts in (written, read, *others)
        )
        self.favour = right - np.stack(wrong)
        """(languages, V): logarithm of how much likelier a piece is in the language to be written than in each other."""
        self.common = float(np.minimum(read / max(1, read.sum()), written / max(1, written.sum())).sum())
        self._reset()

    def _reset(self) -> None:
        self.sums = dict.fromkeys(self.names, (0.0, 0.0))

    def add(self, inputs: Sequence[Ids], outputs: Sequence[Ids], cut: Sequence[bool]) -> None:
        """Look at a batch."""
        pairs = list(zip(inputs, outputs, strict=True))
        written = sum(map(len, outputs))
        same = sum((Counter(x.tolist()) & Counter(y.tolist())).total() for x, y in pairs)
        right = sum(float(self.favour[:, y].sum(1).min()) > 0 for y in outputs)
        bigrams = [list(zip(y[:-1].tolist(), y[1:].tolist(), strict=True)) for y in outputs]
        number = sum(map(len, bigrams))
        seen = Counter(y.tobytes() for y in outputs)
        found = {
            "copied": (same, written),
            "length": (written, sum(map(len, inputs))),
            "language": (right, len(outputs)),
            "repeated": (number - sum(len(set(b)) for b in bigrams), number),
            "distinct": (sum(n for n in seen.values() if n == 1), len(outputs)),
            "cut": (sum(cut), len(outputs)),
        }
        self.sums = {name: (a + found[name][0], b + found[name][1]) for name, (a, b) in self.sums.items()}

    def take(self) -> Mapping[str, tuple[float, float]]:
        """The sums, which begin anew."""
        taken = self.sums
        self._reset()
        return taken

    def training_warnings(self, figures: Mapping[str, float]) -> list[str]:
        """What the figures look like.  Thresholds are far from what healthy runs show, so that a warning means something."""
        copied, most = figures.get("copied", 0.0), min(0.9, self.common + 0.3)
        length, language = figures.get("length", 1.0), figures.get("language", 1.0)
        repeated, distinct, cut = (
            figures.get("repeated", 0.0),
            figures.get("distinct", 1.0),
            figures.get("cut", 0.0),
        )
        checks = [
            (
                copied > most,
                f"back-translation copies its input ({copied:.0%} of the pieces, the languages share {self.common:.0%})",
            ),
            (
                language < 0.7,
                f"back-translation writes the wrong language ({1 - language:.0%} of the outputs look like another)",
            ),
            (
                not 0.5 <= length <= 2,
                f"back-translation has lost the length of its input ({length:.2f} pieces for each one read)",
            ),
            (
                repeated > 0.25,
                f"back-translation repeats itself ({repeated:.0%} of the bigrams stand earlier in the same output)",
            ),
            (
                distinct < 0.5,
                f"back-translation collapses ({distinct:.0%} of the outputs differ from all others)",
            ),
            (cut > 0.5, f"back-translation does not end ({cut:.0%} of the outputs reach the length limit)"),
        ]
        return [text for wrong, text in checks if wrong]
