"""Metrics.  Each returns a Score with its name, value and signature."""
