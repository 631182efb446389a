"""Read the vocabulary of Pegasus (Zhang et al. 2020): a SentencePiece model whose ids have an offset.

`<pad>`, `</s>`, two masks and `<unk_2>` to `<unk_102>` come first; for the pieces of the SentencePiece
model from `<unk>` on, 103 is added to the id. Sources are `words </s>`, and a decoder begins with
`<pad>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import SETTINGS, read_json_if_present
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    place_pieces,
    read_model,
)
from masscli.core.errors import MasscliError
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece
from masscli.text.sentencepiece_model import SentencePieceModel

OFFSET = 103
"""Number added to ids of the SentencePiece model, unless tokenizer_config.json has an `offset`."""
_FIRST = ("<pad>", "</s>", "<mask_1>", "<mask_2>")


def read_pegasus(
    folder: Path, config: Mapping[str, Any], sizes: Sizes, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Return the vocabulary of the Pegasus model in `folder`, from spiece.model and tokenizer_config.json.

    The first of `sizes` is the number of rows of the token embeddings; `config` and `languages` are not
    used. Raises MasscliError if spiece.model is missing or does not match the embeddings, or if the
    offset in tokenizer_config.json is not a valid number of rows.
    """
    size = sizes[0]
    path, data = read_model(folder, "spiece.model")
    offset = read_json_if_present(folder / SETTINGS).get("offset", OFFSET)
    if type(offset) is not int or not 0 <= offset < size:
        raise MasscliError(
            f"{folder / SETTINGS}: offset is {offset}",
            f"the vocabulary of Pegasus has {OFFSET}",
        )
    processor = SentencePieceModel(data).processor
    ids = {piece: number for number, piece in enumerate(_FIRST)}
    # The first of them is called <unk_2>, and follows what comes first.
    fillers = {
        f"<unk_{number}>": number + len(_FIRST) - 2 for number in range(2, offset)
    }
    ids |= fillers
    for number in range(len(processor)):
        if not processor.is_control(number):
            ids[processor.id_to_piece(number)] = number + offset
    pieces, unused = place_pieces(ids, size, path)
    special_ids = {
        "<pad>": 0,
        "</s>": 1,
        "<mask>": ids["<mask_2>"],
        "<unk>": processor.unk_id() + offset,
    }
    # They do not occur in text.
    unused += fillers.values()
    return Seq2SeqVocabulary(
        path, pack_numbered_sentencepiece(data, pieces, special_ids, sorted(unused))
    )
