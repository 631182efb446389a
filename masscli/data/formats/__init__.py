"""Readers of labelled examples, one module for each file format."""
