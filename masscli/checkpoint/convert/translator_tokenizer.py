"""Write a translator's vocabulary as files of Hugging Face's tokenizers, if one gives the same ids.

A vocabulary that was imported from Hugging Face is written to files of the same kind: Marian's
SentencePiece models, FSMT's dictionaries, BART's byte-level BPE. Any other is written as a
tokenizer.json, see masscli/checkpoint/convert/fast_tokenizer.py. If no tokenizer gives the same ids, no
files are written: a tokenizer that gives different ids would be worse than none.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from masscli.checkpoint.convert.fast_tokenizer import Template, fast_tokenizer_files
from masscli.checkpoint.convert.folder import SETTINGS, json_bytes
from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.checkpoint.convert.seq2seq import MARIAN, Seq2SeqFamily
from masscli.checkpoint.convert.vocabulary_export import byte_level_files, published_ids
from masscli.text import dictionary_model, fast_tokenizer, numbered_sentencepiece
from masscli.text.bpe_codes import WORD_END
from masscli.text.markers import BPE_CONTINUATION
from masscli.text.model_kinds import (
    BYTE_LEVEL_BPE,
    DICTIONARY,
    FAST_TOKENIZER,
    NUMBERED_SENTENCEPIECE,
    detect_kind,
)
from masscli.text.packed_vocabulary import PackedVocabulary, unpack
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.two_vocabularies import is_two_vocabularies, unpack_two_vocabularies

Files = dict[str, bytes]
_GENERIC_SETTINGS = {
    # A name such as </s> within a text is ordinary text, as it is in masscli.
    "split_special_tokens": True,
    # Hugging Face's translators reject segments, which a generic class would produce.
    "model_input_names": ["input_ids", "attention_mask"],
}
"""Entries of tokenizer_config.json for a tokenizer without a specific class."""


def tokenizer_files(
    family: Seq2SeqFamily,
    tokenizer: Tokenizer,
    directed: DirectedModel,
    direction: tuple[str, str],
    lines: Sequence[tuple[str, str]],
    tried: str,
) -> tuple[Files, str]:
    """Return the content of the files of a tokenizer by name, and a note for the user.

    `direction` is the source and the target language. `lines` are pairs (language, text) on which the
    ids of a tokenizer.json are compared with those of `tokenizer`, and `tried` says where the lines are
    from. If there are no files, the note says why.
    """
    settings: dict[str, Any] = {"model_max_length": directed.config.max_positions}
    # The models of source and target, which are usually the same.
    parts = [tokenizer.model_bytes]
    if is_two_vocabularies(tokenizer.model_bytes):
        parts = unpack_two_vocabularies(tokenizer.model_bytes)[1]
    kinds = {detect_kind(part) for part in parts}
    if kinds == {DICTIONARY} and tokenizer.preprocessing.published == "fsmt":
        files = _fsmt_files(parts, direction, settings)
        return files, "FSMTTokenizer: the files that were imported"
    # None of these tokenizers preprocesses text before splitting it.
    if tokenizer.preprocessing == TextPreprocessing():
        if family is MARIAN and kinds == {NUMBERED_SENTENCEPIECE}:
            files = _marian_files(parts, direction, settings)
            return files, "MarianTokenizer: the files that were imported"
        if kinds == {BYTE_LEVEL_BPE} and len(parts) == 1:
            files = byte_level_files(tokenizer, "BartTokenizer", settings)
            return files, "BartTokenizer: the files that were imported"
        if kinds == {FAST_TOKENIZER} and len(parts) == 1:
            files = _imported_tokenizer_json(tokenizer, directed, settings)
            return files, "tokenizer.json: as it was imported"
    if directed.has_two_vocabularies:
        return {}, "no tokenizer: source and target have vocabularies of their own"
    template = Template(directed.source_prefix, directed.source_suffix)
    settings |= _GENERIC_SETTINGS
    return fast_tokenizer_files(
        tokenizer, len(directed.target_ids), template, settings, lines, tried
    )


def _imported_tokenizer_json(
    tokenizer: Tokenizer, directed: DirectedModel, settings: Mapping[str, Any]
) -> Files:
    """Return a tokenizer.json that was imported, with the special tokens of one direction around sources.

    The second file, tokenizer_config.json, has `settings`, and the class and the special tokens.
    """
    vocabulary = unpack(tokenizer.model_bytes, fast_tokenizer.HEADER)
    pieces = vocabulary.pieces
    before = [_template_token(number) for number in directed.source_prefix]
    after = [_template_token(number) for number in directed.source_suffix]
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    special_tokens = {}
    for number in (*directed.source_prefix, *directed.source_suffix):
        special_tokens[f"T{number}"] = {
            "id": f"T{number}",
            "ids": [number],
            "tokens": [pieces[number]],
        }
    # The imported file may add the special tokens of another direction.
    template = {
        "type": "TemplateProcessing",
        "single": [*before, first, *after],
        "pair": [*before, first, second, *after],
        "special_tokens": special_tokens,
    }
    own: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **_GENERIC_SETTINGS,
    }
    vocab = tokenizer.vocab
    roles = {
        "pad": vocab.pad,
        "bos": vocab.bos,
        "eos": vocab.eos,
        "unk": vocab.unk,
        "mask": vocab.mask,
    }
    for role, number in roles.items():
        # Symbols that masscli has added are left out.
        if number < len(pieces):
            own[f"{role}_token"] = pieces[number]
    content = {**vocabulary.rest["tokenizer"], "post_processor": template}
    return {
        "tokenizer.json": json_bytes(content),
        SETTINGS: json_bytes({**settings, **own}),
    }


def _template_token(number: int) -> dict[str, Any]:
    """Return an item of a template: the special token with an id, under the name `T` plus the id."""
    return {"SpecialToken": {"id": f"T{number}", "type_id": 0}}


def _marian_files(
    parts: Sequence[bytes], direction: tuple[str, str], settings: Mapping[str, Any]
) -> Files:
    """Return the files of a MarianTokenizer for `direction`, the source and the target language.

    `parts` has the packed vocabulary of both, or one of each. tokenizer_config.json has `settings`, and those
    of the class.
    """
    source, target = direction
    vocabularies = [unpack(part, numbered_sentencepiece.HEADER) for part in parts]
    first, last = vocabularies[0], vocabularies[-1]
    own_models = first.rest.get("language_models", {})
    files = {
        "source.spm": base64.b64decode(own_models.get(source, first.rest["model"])),
        "target.spm": base64.b64decode(own_models.get(target, last.rest["model"])),
        "vocab.json": json_bytes(published_ids(first)),
    }
    if len(vocabularies) > 1:
        files["target_vocab.json"] = json_bytes(published_ids(last))
    files[SETTINGS] = json_bytes(
        {
            **settings,
            "tokenizer_class": "MarianTokenizer",
            "source_lang": source,
            "target_lang": target,
            "separate_vocabs": len(vocabularies) > 1,
        }
    )
    return files


def _fsmt_files(
    parts: Sequence[bytes], direction: tuple[str, str], settings: Mapping[str, Any]
) -> Files:
    """Return the files of an FSMTTokenizer for `direction`, the source and the target language.

    `parts` has the packed dictionary of both, or one of each. tokenizer_config.json has `settings`, and those
    of the class.
    """
    vocabularies = [unpack(part, dictionary_model.HEADER) for part in parts]
    merges = "".join(f"{merge}\n" for merge in vocabularies[0].rest.get("merges", []))
    return {
        "vocab-src.json": json_bytes(_with_word_ends(vocabularies[0])),
        "vocab-tgt.json": json_bytes(_with_word_ends(vocabularies[-1])),
        "merges.txt": merges.encode(),
        SETTINGS: json_bytes(
            {**settings, "tokenizer_class": "FSMTTokenizer", "langs": list(direction)}
        ),
    }


def _with_word_ends(vocabulary: PackedVocabulary) -> dict[str, int]:
    """Return the ids of a dictionary by piece, as FSMT writes pieces.

    A piece that masscli writes without `@@` ends a word and gets `</w>`; from others `@@` is removed.
    Special pieces stay as they are.
    """
    special_ids = set(vocabulary.special_ids.values())
    renamed = {}
    for piece, number in published_ids(vocabulary).items():
        if number in special_ids:
            renamed[piece] = number
        elif piece.endswith(BPE_CONTINUATION):
            renamed[piece.removesuffix(BPE_CONTINUATION)] = number
        else:
            renamed[f"{piece}{WORD_END}"] = number
    return renamed
