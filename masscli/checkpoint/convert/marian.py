"""Read the vocabulary of Marian's published models (OPUS-MT; Tiedemann and Thottingal 2020).

Sources and targets each have a SentencePiece model, and vocab.json has the ids of the pieces of both.
`</s>` is the first id, and `<pad>` the last one. Sources are `words </s>`, and a decoder begins with `<pad>`,
whose embedding is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    place_pieces,
    read_ids,
    read_model,
)
from masscli.core.errors import MasscliError
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece


def read_marian(
    folder: Path, config: dict[str, Any], size: int, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Return the vocabulary of the Marian model in `folder`, from source.spm, target.spm and vocab.json.

    `size` is the number of rows of the token embeddings, and `languages` are the source and the target;
    `config` is not used. Raises MasscliError if files are missing or do not fit, if there are not two
    languages, or if sources name the target language in the text (`>>fra<<`).
    """
    path = folder / "vocab.json"
    ids = read_ids(path)
    _, source = read_model(folder, "source.spm")
    _, target = read_model(folder, "target.spm")
    if len(languages) != 2:
        raise MasscliError(
            f"{folder}: translates from one language to another", "name them, the source first: --langs en,de"
        )
    codes = [piece for piece in ids if piece.startswith(">>") and piece.endswith("<<")]
    if codes:
        raise MasscliError(
            f"{path}: sources begin with one of {len(codes)} target languages, such as {codes[0]}",
            "only models of one direction can be imported",
        )
    special_ids: dict[str, int] = {}
    for name in ("</s>", "<unk>", "<pad>"):
        if name not in ids:
            raise MasscliError(f"{path}: has no {name}", "expected the vocabulary of a Marian model")
        special_ids[name] = ids[name]
    pieces, unused = place_pieces(ids, size, path)
    other_models = {languages[1]: target} if target != source else {}
    model = pack_numbered_sentencepiece(source, pieces, special_ids, unused, other_models)
    return Seq2SeqVocabulary(path, model)
