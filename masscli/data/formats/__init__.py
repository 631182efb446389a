"""Readers of labeled examples, one module for each file format."""
