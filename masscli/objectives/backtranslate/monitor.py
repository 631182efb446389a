"""Monitoring of back-translation: metrics that show copying, wrong languages, collapse and repetition.

The metrics compare pieces and their counts in the training text, never references:

    copied     share of the output's pieces that also occur in the input (as multisets)
    length     pieces of the output for each piece of the input
    language   share of outputs that are most likely under the piece frequencies of the right language
    repeated   share of an output's bigrams that occur earlier in it
    distinct   share of a batch's outputs that differ from all others
    cut        share of outputs that were ended by the length limit

Even good output has a natural level of `copied`, from names, numbers and punctuation: at most the
overlap of the frequencies of both languages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from masscli.data.batches.batch import Ids


class BacktranslationMonitor:
    """The metrics of back-translation, summed up since the last report.

    `input_counts`, `output_counts` and each of `other_counts` (V,) say how often each piece occurs in the
    training text of one language: the one that the model translates from, the one that it translates into,
    and every other language of the data.
    """

    names: ClassVar[tuple[str, ...]] = (
        "copied",
        "length",
        "language",
        "repeated",
        "distinct",
        "cut",
    )

    def __init__(
        self,
        input_counts: NDArray[np.int64],
        output_counts: NDArray[np.int64],
        *other_counts: NDArray[np.int64],
    ) -> None:
        right = _smoothed_log_frequencies(output_counts)
        wrong = [
            _smoothed_log_frequencies(counts)
            for counts in (input_counts, *other_counts)
        ]
        self.log_odds = right - np.stack(wrong)
        """(languages, V): the log of how much likelier a piece is in the right language than in each of the
        others."""
        input_frequencies = input_counts / max(1, input_counts.sum())
        output_frequencies = output_counts / max(1, output_counts.sum())
        # Names, numbers and punctuation are frequent in both languages; more than this share is not copied by
        # chance.
        self.shared_frequency = float(
            np.minimum(input_frequencies, output_frequencies).sum()
        )
        self._reset()

    def _reset(self) -> None:
        self.sums = dict.fromkeys(self.names, (0.0, 0.0))

    def add(
        self,
        inputs: Sequence[Ids],
        outputs: Sequence[Ids],
        hit_max_length: Sequence[bool],
    ) -> None:
        """Add the token ids of a batch of real sentences and of their translations to the metrics.

        `hit_max_length` says which translations were ended by the length limit.
        """
        num_outputs = len(outputs)
        num_input_pieces = sum(map(len, inputs))
        num_output_pieces = sum(map(len, outputs))
        num_copied = 0
        for input_ids, output_ids in zip(inputs, outputs, strict=True):
            # Multiset intersection: a piece counts as often as it occurs in both.
            in_both = Counter(input_ids.tolist()) & Counter(output_ids.tolist())
            num_copied += in_both.total()
        num_right_language = sum(
            self._is_right_language(output_ids) for output_ids in outputs
        )
        num_bigrams = num_distinct_bigrams = 0
        for output_ids in outputs:
            bigrams = list(
                zip(output_ids[:-1].tolist(), output_ids[1:].tolist(), strict=True)
            )
            num_bigrams += len(bigrams)
            num_distinct_bigrams += len(set(bigrams))
        # Arrays are not hashable, but their bytes are.
        output_frequencies = Counter(output_ids.tobytes() for output_ids in outputs)
        num_unique = sum(1 for count in output_frequencies.values() if count == 1)

        self._add("copied", num_copied, num_output_pieces)
        self._add("length", num_output_pieces, num_input_pieces)
        self._add("language", num_right_language, num_outputs)
        self._add("repeated", num_bigrams - num_distinct_bigrams, num_bigrams)
        self._add("distinct", num_unique, num_outputs)
        self._add("cut", sum(hit_max_length), num_outputs)

    def _add(self, name: str, amount: float, count: float) -> None:
        old_amount, old_count = self.sums[name]
        self.sums[name] = (old_amount + amount, old_count + count)

    def _is_right_language(self, output_ids: Ids) -> bool:
        # The right language must be more likely than each of the others.
        return float(self.log_odds[:, output_ids].sum(1).min()) > 0

    def take(self) -> Mapping[str, tuple[float, float]]:
        """Return a sum and a count for each metric since the last call, and set both to 0.

        The value of a metric is its sum divided by its count.
        """
        sums = self.sums
        self._reset()
        return sums

    def training_warnings(self, metrics: Mapping[str, float]) -> list[str]:
        """Return warnings about metrics with suspicious values; `metrics` are their values by name.

        The thresholds are far from the values of healthy runs, to avoid false alarms. A metric that is
        missing gives no warning.
        """
        copied = metrics.get("copied", 0.0)
        right_language = metrics.get("language", 1.0)
        length = metrics.get("length", 1.0)
        repeated = metrics.get("repeated", 0.0)
        distinct = metrics.get("distinct", 1.0)
        cut = metrics.get("cut", 0.0)
        warnings = []
        # What the languages share anyway, such as names and numbers, does not count as copying.
        if copied > min(0.9, self.shared_frequency + 0.3):
            shared = f"the languages share {self.shared_frequency:.0%}"
            warnings.append(
                f"back-translation copies its input ({copied:.0%} of the pieces, {shared})"
            )
        if right_language < 0.7:
            wrong = f"{1 - right_language:.0%} of the outputs look like another"
            warnings.append(f"back-translation writes the wrong language ({wrong})")
        if not 0.5 <= length <= 2:
            ratio = f"{length:.2f} pieces for each one read"
            warnings.append(
                f"back-translation has lost the length of its input ({ratio})"
            )
        if repeated > 0.25:
            again = f"{repeated:.0%} of the bigrams occur earlier in the same output"
            warnings.append(f"back-translation repeats itself ({again})")
        if distinct < 0.5:
            warnings.append(
                f"back-translation collapses ({distinct:.0%} of the outputs differ from all others)"
            )
        if cut > 0.5:
            warnings.append(
                f"back-translation does not end ({cut:.0%} of the outputs reach the length limit)"
            )
        return warnings


def _smoothed_log_frequencies(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log relative frequency (V,) of each piece, with 1 added to every count."""
    # With one added, the logarithm also exists for a piece that never occurs.
    frequencies: NDArray[np.float64] = np.log(
        (counts + 1) / (counts.sum() + len(counts))
    )
    return frequencies
