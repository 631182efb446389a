"""Initialize token embeddings with word vectors from word2vec or fastText text files.

Such a file has a line `WORD x_1 ... x_D` for each word, and possibly a first line `N D`. A piece that
begins a word gets the vector of the word that it spells, `▁maison` that of `maison`; other pieces are
looked up as they are. The vectors of a file are scaled by a common factor, so that their mean norm is
that of the rows they replace. A piece that several languages share keeps the vector from the first
file. The vectors of two languages are comparable only if they were mapped into one space beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.digits import parse_number
from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.text import corpus
from masscli.text.markers import SENTENCEPIECE_SPACE


def load_vectors(
    model: Transformer, entries: Sequence[str], data: DataFolder, first_id: int = 0
) -> list[str]:
    """Copy the vectors of each `LANG=FILE` in `entries` into every table of token embeddings of the model.

    Only pieces that occur in the training text of the language get a vector, and of these only the ones
    with an id from `first_id` on. Returns a line for each file on how many do, and on their share of
    the text. Raises MasscliError if a language is unknown, if a file has invalid vectors, only zero
    vectors, or none for the pieces of its language, or if source and target have separate vocabularies.
    """
    initialized: set[int] = set()
    report = []
    for entry in entries:
        language, _, name = entry.partition("=")
        if language not in data.languages:
            raise MasscliError(
                f"--init-vectors {entry}: the data has no language {language!r}",
                f"it has {', '.join(data.languages)}",
            )
        counts = data.piece_counts(language)
        # Other pieces belong to other languages, whose words may look the same but have different
        # meanings.
        used = []
        for piece in np.flatnonzero(counts).tolist():
            if piece >= first_id and piece not in data.vocab.special_ids:
                used.append(piece)
        words = _words(used, data.tokenizer().ids_to_pieces(used))
        vectors = _read(Path(name), words, model.config.embedding_width)
        if not vectors:
            raise MasscliError(
                f"--init-vectors {entry}: knows none of the {len(used)} pieces of {language}",
                "is it of another language?",
            )
        rows = torch.from_numpy(np.stack(list(vectors.values())))
        if not rows.any():
            raise MasscliError(
                f"--init-vectors {entry}: all its vectors are zero",
                "was the file written completely?",
            )
        # A piece that several languages share keeps its vector from the first file.
        new = [row for row, piece in enumerate(vectors) if piece not in initialized]
        piece_ids = torch.tensor(list(vectors))[new]
        # With two vocabularies the rows of a table are not the ids; such a model is refused here.
        data.vocab.check_direction(language, language)
        with torch.no_grad():
            for table in model.token_embeddings.values():
                # The model expects embeddings with the norm of its own initialization.
                scale = table[piece_ids].norm(dim=1).mean() / rows.norm(dim=1).mean()
                table[piece_ids] = rows[new] * scale
        initialized |= vectors.keys()
        coverage = counts[list(vectors)].sum() / max(1, counts.sum())
        report.append(
            f"{name}: vectors for {len(vectors)} of {len(used)} pieces of {language}, "
            f"{coverage:.1%} of its text"
        )
    return report


def _words(piece_ids: Sequence[int], pieces: Sequence[str]) -> dict[str, int]:
    """Return the words to look up in a file of vectors, each with the id of the piece that gets its vector.

    If `▁the` and `the` are both pieces, the vector of the word `the` is for `▁the`, which begins a word.
    """
    inside, beginning = {}, {}
    for piece_id, piece in zip(piece_ids, pieces, strict=True):
        if not piece.startswith(SENTENCEPIECE_SPACE):
            inside[piece] = piece_id
        elif len(piece) > 1:
            beginning[piece[1:]] = piece_id
    # Where both have a word, the second one takes precedence.
    return inside | beginning


def _read(
    path: Path, words: dict[str, int], size: int
) -> dict[int, NDArray[np.float32]]:
    """Return the vectors (D,) in a file for the given words, by the id that `words` has for them.

    If a word has several lines, the first is used; words without a line are left out. Words with spaces, as
    GloVe has some, are no single pieces. Raises MasscliError if a line does not have `size` values, or if the
    values for one of the words are not finite numbers.
    """
    vectors: dict[int, NDArray[np.float32]] = {}
    has_width = False
    for number, line in enumerate(corpus.iter_lines(path), 1):
        word, _, rest = line.rstrip().partition(" ")
        values = rest.split(" ")
        is_header = number == 1 and len(values) == 1
        if is_header:
            continue
        # If the vectors before have the right width, words among the numbers belong to the word.
        surplus = values[:-size] if has_width else []
        if any(text and parse_number(text) is None for text in surplus):
            continue
        has_width = True
        if len(values) != size:
            raise MasscliError(
                f"{path}:{number}: a vector of {len(values)} numbers, the embeddings have a width of {size}",
                f"make vectors of {size} numbers, or set --dim or --embedding-dim",
            )
        piece = words.get(word)
        if piece is None or piece in vectors:
            continue
        try:
            vectors[piece] = np.array(values, np.float32)
        except ValueError:
            raise MasscliError(
                f"{path}:{number}: {word!r} has a value that is not a number",
                "expected WORD and its numbers",
            ) from None
        if not np.isfinite(vectors[piece]).all():
            raise MasscliError(
                f"{path}:{number}: {word!r} has a number that is not finite",
                "leave the word out",
            )
    return vectors
