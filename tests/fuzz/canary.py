"""A module that nothing imports: mutated files name it, and to import it or call it is to run code."""

from __future__ import annotations

MODULE = "tests.fuzz.canary"
TARGET = f"{MODULE}:Canary"


class Canary:
    """What a recipe or a pickle could name."""


def call() -> str:
    """Return something that is not a tensor."""
    return "called"
