"""Masked sequence-to-sequence pre-training and its relatives, on the command line."""
