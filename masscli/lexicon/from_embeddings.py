"""A dictionary out of a trained token table: mutual nearest neighbours of two languages by CSLS, over pieces that begin a word, occur often
enough, and mostly in one of the languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from masscli.core.errors import MasscliError
from masscli.data.storage.data_folder import DataFolder
from masscli.lexicon.csls import csls, pairs
from masscli.lexicon.dictionary import vocabulary_pieces
from masscli.text.markers import SENTENCEPIECE_SPACE

OWN = 0.8
"""Share of a piece's frequency, relative to both languages, that makes it a word of one of them."""


def induce(
    weights: Mapping[str, Tensor], data: DataFolder, sides: Sequence[str], most: int, least: int
) -> list[tuple[str, str, float]]:
    """(word, word, score), the surest first."""
    for side in sides:
        if side not in data.languages:
            raise MasscliError(
                f"{data.folder}: has no language {side!r}", f"it has {', '.join(data.languages)}"
            )
    names = [
        name
        for name in ("token_embeddings.shared", "token_embeddings.encoder", "token_embeddings.decoder")
        if name in weights
    ]
    table = weights[names[0]].float()
    if len(table) != data.vocab.size:
        raise MasscliError(
            f"{data.folder}: has {data.vocab.size} pieces, the model {len(table)}",
            "name the right folder with --data",
        )
    counts = [data.piece_counts(side) for side in sides]
    pieces = vocabulary_pieces(data)
    rates = [c / max(1, c.sum()) for c in counts]
    words = []
    for own, other, count in ((rates[0], rates[1], counts[0]), (rates[1], rates[0], counts[1])):
        mine = (count >= least) & (own >= OWN * (own + other))
        ids = [
            i
            for i in np.argsort(-count, kind="stable").tolist()
            if mine[i] and len(pieces[i]) > 1 and pieces[i].startswith(SENTENCEPIECE_SPACE)
        ]
        words.append([i for i in ids if i not in data.vocab.special_ids][:most])
    if not all(words):
        raise MasscliError(
            f"{data.folder}: has no words of {sides[0 if not words[0] else 1]} alone that occur {least} times"
        )
    a, b = (torch.nn.functional.normalize(table[ids] - table[ids].mean(0), dim=1) for ids in words)
    score = csls(a, b)
    found = [(pieces[words[0][i]][1:], pieces[words[1][j]][1:], float(score[i, j])) for i, j in pairs(score)]
    return sorted(found, key=lambda pair: -pair[2])
