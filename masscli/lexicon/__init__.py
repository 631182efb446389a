"""Which words of two languages mean the same: from pairs of lines, from text alone, or from a model."""
