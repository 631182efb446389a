"""A vocabulary of ids alone, for models of random weights that need no text."""

from __future__ import annotations

from masscli.text.vocabulary import Vocabulary


def vocabulary_of_ids(size: int) -> Vocabulary:
    """Return a vocabulary of `size` ids without text: special tokens up to 7, then the tags of en and de."""
    return Vocabulary(
        size,
        pad=0,
        bos=1,
        eos=2,
        unk=3,
        mask=4,
        cls=5,
        sep=6,
        spare=(7,),
        languages={"en": 8, "de": 9},
        fingerprint="",
    )
