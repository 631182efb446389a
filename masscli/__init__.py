"""Masked sequence-to-sequence pre-training and its relatives, on the command line and in Python."""

from masscli.version import __version__

__all__ = ["__version__"]
