"""Bilingual dictionaries: their file format, and how they follow from pairs, from text, or from a model."""
