"""Begin with word vectors: rows of a token table from a text file of word2vec or fastText (`WORD x_1 .. x_D`, maybe a first line `N D`).

A piece that begins a word stands for that word, `▁maison` for `maison`; other pieces are looked up as they are.  Vectors are scaled
together so that their mean norm is that of the rows they replace.  A piece that several languages share keeps what the first file gave
it.  The vectors of two languages mean something together only where they were mapped into one space beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.models.transformer import Transformer
from masscli.text import corpus
from masscli.text.markers import SENTENCEPIECE_SPACE


def load_vectors(model: Transformer, entries: Sequence[str], data: DataFolder) -> list[str]:
    """Put the vectors of each `LANG=FILE` into every token table of the model; lines that say how far they reach."""
    taken: set[int] = set()
    report = []
    for entry in entries:
        language, _, name = entry.partition("=")
        if language not in data.languages:
            raise MasscliError(
                f"--init-vectors {entry}: the data has no language {language!r}",
                f"it has {', '.join(data.languages)}",
            )
        counts = data.piece_counts(language)
        used = [i for i in np.flatnonzero(counts).tolist() if i not in data.vocab.special_ids]
        found = _read(Path(name), _words(used, data.tokenizer().ids_to_pieces(used)), model.config.dim)
        if not found:
            raise MasscliError(
                f"--init-vectors {entry}: knows none of the {len(used)} pieces of {language}",
                "is it of another language?",
            )
        rows = torch.from_numpy(np.stack(list(found.values())))
        if not rows.any():
            raise MasscliError(
                f"--init-vectors {entry}: all its vectors are zero", "were they written to the end?"
            )
        fresh = [n for n, i in enumerate(found) if i not in taken]
        ids = torch.tensor(list(found))[fresh]
        with torch.no_grad():
            for table in model.token_embeddings.values():
                table[ids] = rows[fresh] * (table[ids].norm(dim=1).mean() / rows.norm(dim=1).mean())
        taken |= found.keys()
        share = counts[list(found)].sum() / max(1, counts.sum())
        report.append(
            f"{name}: vectors for {len(found)} of {len(used)} pieces of {language}, {share:.1%} of its text"
        )
    return report


def _words(ids: Sequence[int], pieces: Sequence[str]) -> dict[str, int]:
    """What to look pieces up as: one that begins a word wins over one inside a word."""
    inside = {
        piece: i for i, piece in zip(ids, pieces, strict=True) if not piece.startswith(SENTENCEPIECE_SPACE)
    }
    return inside | {
        piece[1:]: i
        for i, piece in zip(ids, pieces, strict=True)
        if len(piece) > 1 and piece.startswith(SENTENCEPIECE_SPACE)
    }


def _read(path: Path, wanted: dict[str, int], size: int) -> dict[int, NDArray[np.float32]]:
    """The vectors of wanted words, by piece id; the first of a word counts."""
    found: dict[int, NDArray[np.float32]] = {}
    for number, line in enumerate(corpus.iter_lines(path), 1):
        word, _, rest = line.rstrip().partition(" ")
        values = rest.split(" ")
        if number == 1 and len(values) == 1:  # N D
            continue
        if len(values) != size:
            raise MasscliError(f"{path}:{number}: a vector of {len(values)} numbers, the model has a width of {size}",
                               f"make vectors of {size} numbers, or set --dim")  # fmt: skip
        if (piece := wanted.get(word)) is not None and piece not in found:
            try:
                found[piece] = np.array(values, np.float32)
            except ValueError:
                raise MasscliError(
                    f"{path}:{number}: {word!r} has something that is no number",
                    "expected WORD and its numbers",
                ) from None
            if not np.isfinite(found[piece]).all():
                raise MasscliError(
                    f"{path}:{number}: {word!r} has a number that is not finite", "leave the word out"
                )
    return found
