"""The softmax that turns scores into probabilities."""

from __future__ import annotations

import numpy as np

from masscli.objectives.shared.evaluable_objective import ExampleOutput


def softmax(scores: ExampleOutput) -> ExampleOutput:
    """Return the probabilities (N,) that the softmax of `scores` (N,) gives."""
    # The largest exponent is 0, so nothing overflows.
    exponentials: ExampleOutput = np.exp(scores - scores.max())
    probabilities: ExampleOutput = exponentials / exponentials.sum()
    return probabilities
