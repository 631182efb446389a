"""Write a vocabulary as a tokenizer.json of Hugging Face's library `tokenizers`, if that gives the same ids.

A SentencePiece model can be expressed in that library: by the same pieces with the same character
normalization and, in a BPE, the merges that their scores imply, or, in a unigram model, their scores. The two
libraries differ in rare cases (pieces that can be merged in two ways, equally good cuttings), so the result
is compared on real lines, and is not written if a single id differs. The package `tokenizers` comes with the
extra `hf`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sentencepiece

from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.checkpoint.convert.sentencepiece_proto import (
    BPE,
    UNIGRAM,
    read_normalizer_spec,
)
from masscli.checkpoint.convert.token_names import token_names
from masscli.text import numbered_sentencepiece
from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.model_kinds import NUMBERED_SENTENCEPIECE, SENTENCEPIECE, TRAINED_BPE
from masscli.text.packed_vocabulary import unpack
from masscli.text.tokenizer import Tokenizer

NOT_TEXT = -1000.0
"""The score of pieces that no text is cut into, so low that their letters are always the better choice."""
_ROLES = ("pad", "bos", "eos", "unk")


@dataclass(frozen=True)
class _SentencePiece:
    """A SentencePiece model as the bytes of its file, and masscli's ids by piece.

    `ids` has the pieces that text is encoded into, and perhaps special ones. It lacks pieces of the model
    that are not in masscli's dictionary; `_obstacle` refuses such a vocabulary.
    """

    model: bytes
    ids: Mapping[str, int]

    @property
    def model_type(self) -> int:
        """The type of the model, `BPE`, `UNIGRAM` or another number."""
        return read_normalizer_spec(self.model).model_type


def fast_tokenizer_files(
    tokenizer: Tokenizer,
    directed: DirectedModel,
    lines: Sequence[tuple[str, str]],
    tried: str,
) -> tuple[dict[str, bytes], str]:
    """Return the content of tokenizer.json and tokenizer_config.json by file name, and a note for the user.

    `directed` is the model whose special tokens stand around sources. `lines` are pairs (language, text), on
    which the ids are compared with those of `tokenizer`; `tried` tells the user where they are from. There
    are no files if an id differs, if the library cannot express the vocabulary, or if it is not installed;
    the note says which.
    """
    obstacle = _obstacle(tokenizer, directed)
    if obstacle is not None:
        return {}, f"no tokenizer: {obstacle}"
    try:
        import tokenizers
    except ImportError:
        return (
            {},
            "no tokenizer: it needs the package tokenizers (pip install 'masscli[hf]')",
        )
    names = token_names(tokenizer)[: len(directed.target_ids)]
    fast = _build(tokenizers, tokenizer, names, directed)
    for language, text in lines:
        expected = tokenizer.encode(text, language)
        got = fast.encode(text, add_special_tokens=False).ids
        if got != expected:
            return (
                {},
                f"no tokenizer: one of Hugging Face's would give other ids for {text!r}",
            )
    vocab = tokenizer.vocab
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": directed.config.max_positions,
        "clean_up_tokenization_spaces": False,
        # A name such as </s> within a text is ordinary text, as it is in masscli.
        "split_special_tokens": True,
    }
    for role in _ROLES:
        # Symbols that masscli has added are left out of an imported model.
        token_id = vocab.role_ids[role]
        if token_id < len(names):
            settings[f"{role}_token"] = names[token_id]
    files = {
        "tokenizer.json": fast.to_str(pretty=True).encode(),
        "tokenizer_config.json": (
            json.dumps(settings, indent=2, ensure_ascii=False) + "\n"
        ).encode(),
    }
    return (
        files,
        f"tokenizer.json: its ids were equal on all {len(lines):,} lines tried ({tried})",
    )


def _obstacle(tokenizer: Tokenizer, directed: DirectedModel) -> str | None:
    """Return the reason why no tokenizer.json can give the same ids as `tokenizer`, or None if one may."""
    rules = tokenizer.preprocessing
    if rules.moses or rules.normalize or rules.romanian or rules.published:
        return "text of this vocabulary goes through Moses (or is normalised) first"
    if directed.has_two_vocabularies:
        return "source and target have vocabularies of their own"
    model = _sentencepiece_model(tokenizer)
    if model is None or model.model_type not in (BPE, UNIGRAM):
        return f"a vocabulary of the kind {tokenizer.model_kind} has no counterpart with the same ids"
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.model)
    for number in range(len(processor)):
        is_text = not (processor.is_control(number) or processor.is_unknown(number))
        if is_text and processor.id_to_piece(number) not in model.ids:
            piece = processor.id_to_piece(number)
            return f"its dictionary lacks {piece!r}, a piece of its SentencePiece model"
    return None


def _sentencepiece_model(tokenizer: Tokenizer) -> _SentencePiece | None:
    """Return the SentencePiece model of a tokenizer; None for other kinds, or if a language has its own."""
    if tokenizer.model_kind in (TRAINED_BPE, SENTENCEPIECE):
        ids = {piece: number for number, piece in enumerate(tokenizer.all_pieces())}
        return _SentencePiece(tokenizer.model_bytes, ids)
    if tokenizer.model_kind != NUMBERED_SENTENCEPIECE:
        return None
    vocabulary = unpack(tokenizer.model_bytes, numbered_sentencepiece.HEADER)
    if vocabulary.rest.get("language_models"):
        return None
    return _SentencePiece(
        base64.b64decode(vocabulary.rest["model"]), vocabulary.text_ids
    )


def _build(
    tokenizers: Any, tokenizer: Tokenizer, names: Sequence[str], directed: DirectedModel
) -> Any:
    """Return a `tokenizers.Tokenizer` that imitates `tokenizer`, whose pieces are those of SentencePiece.

    `tokenizers` is the imported package, and `names` are the token strings by id. The result adds the special
    tokens that `directed` has around sources, unless it is called with add_special_tokens=False.
    """
    sentence_pieces = _sentencepiece_model(tokenizer)
    assert sentence_pieces is not None
    spec = read_normalizer_spec(sentence_pieces.model)
    unknown = tokenizer.vocab.unk
    if spec.model_type == BPE:
        ids = {name: number for number, name in enumerate(names)}
        merges = _merges(sentence_pieces)
        # SentencePiece writes a run of unknown characters as one unknown piece.
        model = tokenizers.models.BPE(
            ids, merges, unk_token=names[unknown], fuse_unk=True
        )
    else:
        model = tokenizers.models.Unigram(
            _scored_pieces(sentence_pieces, names), unk_id=unknown
        )
    fast = tokenizers.Tokenizer(model)
    steps: list[Any] = []
    if tokenizer.preprocessing.lowercase:
        steps.append(tokenizers.normalizers.Lowercase())
    if spec.charsmap:
        steps.append(tokenizers.normalizers.Precompiled(spec.charsmap))
    # SentencePiece does these steps itself, in the same order.
    if spec.remove_extra_whitespaces:
        steps.append(tokenizers.normalizers.Replace(tokenizers.Regex(" {2,}"), " "))
        steps.append(tokenizers.normalizers.Strip())
    fast.normalizer = tokenizers.normalizers.Sequence(steps)
    prepend = "always" if spec.add_dummy_prefix else "never"
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(
        SENTENCEPIECE_SPACE, prepend
    )
    fast.decoder = tokenizers.decoders.Metaspace(SENTENCEPIECE_SPACE, prepend)
    around = [*directed.source_prefix, *directed.source_suffix]
    # A template cannot spell names with a colon, as in <lang:en>, so that its tokens are called T and the id.
    template_tokens = []
    for number in around:
        template_tokens.append(
            {"id": f"T{number}", "ids": [number], "tokens": [names[number]]}
        )
    before = [f"T{number}" for number in directed.source_prefix]
    after = [f"T{number}" for number in directed.source_suffix]
    fast.post_processor = tokenizers.processors.TemplateProcessing(
        single=[*before, "$A", *after], special_tokens=template_tokens
    )
    # Decoding leaves out those that are added as special, but the unknown piece is to be seen.
    special_ids = tokenizer.vocab.special_ids - {unknown}
    fast.add_special_tokens(
        [names[number] for number in sorted(special_ids) if number < len(names)]
    )
    return fast


def _scored_pieces(
    model: _SentencePiece, names: Sequence[str]
) -> list[tuple[str, float]]:
    """Return a pair for each id: its name in `names`, and its score in the unigram model.

    The score of an id without a piece of the model that text is cut into is `NOT_TEXT`.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.model)
    scored = [(name, NOT_TEXT) for name in names]
    for number in range(len(processor)):
        piece = processor.id_to_piece(number)
        is_text = not (processor.is_control(number) or processor.is_unknown(number))
        if is_text and piece in model.ids:
            scored[model.ids[piece]] = (piece, processor.get_score(number))
    return scored


def _merges(model: _SentencePiece) -> list[tuple[str, str]]:
    """Return the BPE merges that are equivalent to the scores of a SentencePiece BPE, in order of priority.

    SentencePiece merges the two neighbours whose joined piece has the highest score. So there is a merge for
    every way to split a piece into two pieces, those of pieces with higher scores first.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.model)
    ids = model.ids
    merges = []
    for number in range(len(processor)):
        piece = processor.id_to_piece(number)
        if processor.is_control(number) or processor.is_unknown(number):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ids and right in ids:
                rank = (-processor.get_score(number), ids[left], ids[right])
                merges.append((rank, (left, right)))
    return [merge for _, merge in sorted(merges)]
