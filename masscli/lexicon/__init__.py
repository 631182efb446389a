"""Bilingual dictionaries: their file format, and their extraction from pairs, from text, or from a model."""
