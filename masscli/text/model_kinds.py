"""The kinds of subword models: detect the kind of a file, and open it."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from typing import cast

from masscli.text import (
    bpe_codes,
    byte_level_bpe,
    dictionary_model,
    extended_model,
    fast_tokenizer,
    gpt_bpe,
    numbered_sentencepiece,
)
from masscli.text.bpe_codes import BpeCodesModel
from masscli.text.byte_level_bpe import ByteLevelModel
from masscli.text.dictionary_model import DictionaryModel
from masscli.text.extended_model import ExtendedModel, ExtensibleModel, OpenedBase
from masscli.text.fast_tokenizer import FastTokenizerModel
from masscli.text.gpt_bpe import GptBpeModel
from masscli.text.markers import (
    BPE_CONTINUATION,
    BYTE_LEVEL_SPACE,
    SENTENCEPIECE_SPACE,
    WORDPIECE_CONTINUATION,
)
from masscli.text.numbered_sentencepiece import NumberedSentencePieceModel
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.sentencepiece_model import SentencePieceModel
from masscli.text.subword_model import BadModelError, SubwordModel
from masscli.text.tokenizer_card import RESERVED_PIECES, SPARE_PIECES
from masscli.text.two_vocabularies import TwoVocabularies, is_two_vocabularies
from masscli.text.wordpiece import WordPieceModel, is_wordpiece

TRAINED_BPE = "sentencepiece-bpe"
"""The kind of a SentencePiece BPE that masscli has trained."""
SENTENCEPIECE = "sentencepiece"
"""The kind of a SentencePiece model that another program has trained, about whose pieces nothing is
assumed."""
WORDPIECE = "wordpiece"
"""The kind of BERT's vocab.txt."""
BPE_CODES = "bpe-codes"
"""The kind of a BPE of subword-nmt or fastBPE: merges, and pieces with the ids of XLM."""
BYTE_LEVEL_BPE = "byte-level-bpe"
"""The kind of the BPE of GPT-2, RoBERTa and BART."""
GPT_BPE = "gpt-bpe"
"""The kind of the BPE of the first GPT."""
NUMBERED_SENTENCEPIECE = "numbered-sentencepiece"
"""The kind of a SentencePiece model whose pieces have the ids of a separate dictionary, as in fairseq and
XLM-R."""
FAST_TOKENIZER = "fast-tokenizer"
"""The kind of a tokenizer.json that is read through Hugging Face's library `tokenizers`."""
DICTIONARY = "dictionary"
"""The kind of a dictionary of fairseq over words, or over the pieces of a BPE, whose merges are then
included."""
TWO_VOCABULARIES = "two-vocabularies"
"""The kind of a pair of models, one for the source and one for the target, each of any other kind."""

EXTENDED = "extended-vocabulary"
"""The kind of a vocabulary that was extended by languages and pieces; it contains a model of another kind."""

EXTENSIBLE_KINDS = (
    TRAINED_BPE,
    SENTENCEPIECE,
    WORDPIECE,
    BPE_CODES,
    BYTE_LEVEL_BPE,
    NUMBERED_SENTENCEPIECE,
    DICTIONARY,
)
"""Kinds of vocabularies that `preprocess --extend` takes."""
KINDS_OF_WORDS = (TRAINED_BPE, WORDPIECE, BPE_CODES, GPT_BPE)
"""Kinds of models whose pieces never contain a space, so that lines can be encoded word by word.
SentencePiece models of other programs may have pieces with spaces, and byte-level BPE joins a space to the
word after it."""

_OWN_FORMATS: dict[str, tuple[bytes, Callable[[bytes], SubwordModel]]] = {
    BPE_CODES: (bpe_codes.HEADER, BpeCodesModel),
    BYTE_LEVEL_BPE: (byte_level_bpe.HEADER, ByteLevelModel),
    DICTIONARY: (dictionary_model.HEADER, DictionaryModel),
    GPT_BPE: (gpt_bpe.HEADER, GptBpeModel),
    NUMBERED_SENTENCEPIECE: (numbered_sentencepiece.HEADER, NumberedSentencePieceModel),
    FAST_TOKENIZER: (fast_tokenizer.HEADER, FastTokenizerModel),
}
"""The kinds whose files have a masscli-specific format: the header of such a file, and the class that
reads it."""


def detect_kind(data: bytes) -> str:
    """Return the kind of a subword model from the bytes of its file; kinds are constants of this module.

    Raises BadModelError if the bytes are of no known kind.
    """
    # Formats with a header come first; anything else must be SentencePiece.
    for kind, (header, _) in _OWN_FORMATS.items():
        if data.startswith(header):
            return kind
    if is_two_vocabularies(data):
        return TWO_VOCABULARIES
    if data.startswith(extended_model.HEADER):
        return EXTENDED
    if is_wordpiece(data):
        return WORDPIECE
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadModelError("is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8")
    # No other program reserves these pieces.
    processor = SentencePieceModel(data).processor
    ours = (*RESERVED_PIECES, *SPARE_PIECES)
    if all(processor.is_control(processor.piece_to_id(piece)) for piece in ours):
        return TRAINED_BPE
    return SENTENCEPIECE


def open_model(
    data: bytes, kind: str, preprocessing: TextPreprocessing
) -> SubwordModel:
    """Return the subword model of a known kind from the bytes of its file.

    `preprocessing` only says whether WordPiece removes accents. Raises BadModelError if the bytes are damaged
    or the kind is unknown.
    """
    if kind in _OWN_FORMATS:
        _, model_class = _OWN_FORMATS[kind]
        return model_class(data)
    if kind == TWO_VOCABULARIES:
        # These two contain models of other kinds, which are opened by this function in turn.
        return TwoVocabularies(
            data, lambda part: open_model(part, detect_kind(part), preprocessing)
        )
    if kind == EXTENDED:
        return ExtendedModel(data, lambda base: _open_base(base, preprocessing))
    if kind == WORDPIECE:
        return WordPieceModel(
            data, keep_accents=not preprocessing.wordpiece_strips_accents
        )
    if kind not in (TRAINED_BPE, SENTENCEPIECE):
        raise BadModelError(
            f"{kind!r} is not a kind of model",
            "was it made by another version of masscli?",
        )
    return SentencePieceModel(data)


def _open_base(data: bytes, preprocessing: TextPreprocessing) -> OpenedBase:
    """Return the model that was extended, from its bytes, with its kind and the marker of its pieces.

    Raises BadModelError if it is damaged, or of a kind that cannot be extended.
    """
    kind = detect_kind(data)
    if kind not in EXTENSIBLE_KINDS:
        raise BadModelError(
            f"is an extension of a {kind} vocabulary", "this kind cannot be extended"
        )
    model = open_model(data, kind, preprocessing)
    # Models of these kinds have the methods that extending needs.
    return OpenedBase(cast(ExtensibleModel, model), kind, marker_of(model, kind))


def marker_of(model: SubwordModel, kind: str) -> str:
    """Return the marker with which the pieces of a model show where words begin or continue.

    It is a constant of masscli.text.markers; `kind` is the kind of the model.
    """
    if isinstance(model, (FastTokenizerModel, TwoVocabularies, ExtendedModel)):
        return model.marker
    if kind == WORDPIECE:
        return WORDPIECE_CONTINUATION
    if kind in (BPE_CODES, DICTIONARY, GPT_BPE):
        return BPE_CONTINUATION
    if kind == BYTE_LEVEL_BPE:
        return BYTE_LEVEL_SPACE
    return SENTENCEPIECE_SPACE
