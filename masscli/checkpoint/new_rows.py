"""Fill the rows of pieces and languages that initial weights lack after a vocabulary was extended.

A new piece is initialized with the mean of the old pieces that it was merged from, as is commonly
recommended for NLLB; with the mean of all old pieces (Hewitt 2021), which hardly changes the
probabilities of the old ones; or at random. A new language is initialized with the mean of the old
ones, or at random.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.errors import MasscliError
from masscli.text.extended_model import ExtendedModel
from masscli.text.tokenizer import Tokenizer
from masscli.text.vocabulary_extension import why_not_extended

TOKEN_TABLES = ("token_embeddings.", "output_weights.", "output_biases.")
"""Prefixes of the names of tensors with a row for each id of the vocabulary."""
_DESCRIPTIONS = {
    "parts": "each the mean of the old pieces that it is made of",
    "mean": "each the mean of all old pieces",
    "random": "drawn at random",
}
"""How the report describes new rows, by method."""


class NewRows:
    """Copies tables with a row for each token or language, and fills the rows that the old table lacks.

    `tokenizer` is that of the data. `method` is a value of `Recipe.init_new`: `parts`, `mean` or `random`.
    """

    def __init__(self, tokenizer: Tokenizer, method: str) -> None:
        self.tokenizer = tokenizer
        self.method = method

    def check_vocabulary(self, checkpoint: Checkpoint) -> None:
        """Raise MasscliError unless the data have the vocabulary of the checkpoint, or an extension of it."""
        old = checkpoint.tokenizer()
        if old.vocab.fingerprint == self.tokenizer.vocab.fingerprint:
            return
        reason = why_not_extended(self.tokenizer, old)
        if reason is None:
            return
        message = (
            f"{checkpoint.path}: was trained with a different vocabulary from the data"
        )
        if isinstance(self.tokenizer.subword_model, ExtendedModel):
            message += f", which does not extend it: {reason}"
        raise MasscliError(
            message,
            f"preprocess the text with --spm-model {checkpoint.path}, or for a new language with --extend",
        )

    def copy_tokens(self, table: Tensor, old: Tensor) -> str:
        """Copy `old`, with a row for each id of the checkpoint's vocabulary, into `table`, in place.

        `table` has random values in a row for each id of the extended vocabulary. Rows of old ids are copied
        as they are, and those of new ids are filled. Return a note for the user.
        """
        old_size, size = len(old), len(table)
        # The extended vocabulary begins with the old ids, unchanged.
        table[:old_size] = old
        old_languages = [
            i for i in self.tokenizer.vocab.languages.values() if i < old_size
        ]
        new_languages = {
            i for i in self.tokenizer.vocab.languages.values() if i >= old_size
        }
        # The table is already initialized at random, so this method has nothing left to do.
        if self.method != "random":
            everything = self._mean_of_pieces(old)
            for number in range(old_size, size):
                if number not in new_languages:
                    table[number] = self._mean_of_parts(number, old, everything)
                # Without old languages there is no mean, and the row stays random.
                elif old_languages:
                    table[number] = old[old_languages].mean(0)
        return (
            f"vocabulary: {old_size} old rows kept, {size - old_size} new ones"
            f" ({len(new_languages)} of languages), {_DESCRIPTIONS[self.method]}"
        )

    def _mean_of_pieces(self, old: Tensor) -> Tensor:
        """Return the mean of the rows of `old` that belong to pieces, without special tokens and tags."""
        ordinary = self.tokenizer.vocab.ordinary_ids
        return old[torch.from_numpy(ordinary[ordinary < len(old)])].mean(0)

    def _mean_of_parts(self, number: int, old: Tensor, everything: Tensor) -> Tensor:
        """Return the initial row of the new id `number`.

        With the method `parts`, it is the mean of the rows in `old` of the pieces that the id's piece
        was merged from. With `mean`, and for a character, which was not merged from others, it is
        `everything`, the mean of all old pieces.
        """
        model = self.tokenizer.subword_model
        assert isinstance(model, ExtendedModel)
        parts: list[int] = []
        if self.method == "parts":
            parts = model.parts(number, len(old))
        if not parts:
            return everything
        return old[parts].mean(0)

    def copy_languages(
        self,
        table: Tensor,
        old: Tensor,
        old_languages: Sequence[str],
        languages: Sequence[str],
    ) -> str:
        """Copy the vectors of the languages that both models have, by name, in place, and fill the others.

        `old` has a row for each of `old_languages`, and `table`, which is changed, for each of `languages`. A
        new language gets the mean of the old ones, or keeps its random values. Return a note for the user, or
        "" if no language is new.
        """
        new = []
        for row, language in enumerate(languages):
            if language in old_languages:
                table[row] = old[list(old_languages).index(language)]
                continue
            new.append(language)
            if self.method != "random":
                table[row] = old.mean(0)
        if not new:
            return ""
        how = "drawn at random" if self.method == "random" else "the mean of the others"
        return f"languages without a vector there, {how}: {', '.join(new)}"
