"""Read an encoder-decoder's vocabulary from tokenizer.json alone, through the library `tokenizers`.

Version 5 of Hugging Face's library writes no other vocabulary file for mBART, NLLB and Pegasus, nor
does `masscli export` for most vocabularies. The template in tokenizer.json says which special tokens
are put around a source: an added token that names a language (`en_XX`, `eng_Latn`, `__en__`,
`<lang:en>`) is a tag, which changes with the language; any other is the same for every source.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import TOKENIZER
from masscli.checkpoint.convert.generation_settings import decoder_start_id
from masscli.checkpoint.convert.post_processor import (
    Around,
    DamagedTemplateError,
    read_around,
)
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    language_ids,
)
from masscli.checkpoint.convert.tokenizer_files import (
    TokenizerFiles,
    read_tokenizer_files,
)
from masscli.core.errors import MasscliError
from masscli.text.fast_tokenizer import find_marker, pack_fast_tokenizer
from masscli.text.subword_model import BadModelError

OWN_FILES = (
    "sentencepiece.bpe.model",
    "source.spm",
    "spiece.model",
    "vocab-src.json",
    "vocab.json",
)
"""Files of the families' own tokenizers, which take precedence over tokenizer.json."""
_CLASSES = {"mbart": "MBartTokenizer", "pegasus": "PegasusTokenizer"}
"""The class of a tokenizer by model_type, if no file names it and it has rules of its own."""
_TAG = re.compile(r"([a-z]{2,3}_[A-Z][A-Za-z]+)|__([a-z]{2,3})__|<lang:([^>]+)>")
"""Matches the tag of a language, and its code in one of three groups; the last form is masscli's own."""


def is_tag(token: str) -> bool:
    """Return whether a token is the tag of a language, such as `en_XX`."""
    return _TAG.fullmatch(token) is not None


def has_only_tokenizer_json(folder: Path) -> bool:
    """Return whether a folder has a tokenizer.json but no files of the families' own tokenizers."""
    return (folder / TOKENIZER).exists() and not any(
        (folder / name).exists() for name in OWN_FILES
    )


def is_byte_level(folder: Path) -> bool:
    """Return whether the tokenizer.json of a folder splits text into bytes, as BART's does.

    Raises MasscliError if the file is damaged.
    """
    steps = read_tokenizer_files(folder, "BartTokenizer").part.steps("pre_tokenizer")
    return any(step.get("type") == "ByteLevel" for step in steps)


def read_tokenizer_json(
    folder: Path, config: Mapping[str, Any], size: int, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Return the vocabulary in the tokenizer.json of a folder, for `size` rows of token embeddings.

    If the template has tags, those of `languages` get masscli's names for language tags. `config` is
    the content of config.json. Raises MasscliError if the file is damaged or does not match the
    embeddings, if a language has no tag, if the library is missing, or if special tokens are placed
    around sources in a way that masscli does not support.
    """
    path = folder / TOKENIZER
    default_class = _CLASSES.get(str(config.get("model_type")), "M2M100Tokenizer")
    files = read_tokenizer_files(folder, default_class)
    if find_marker(files.content) is None:
        raise MasscliError(
            f"{path}: its decoder does not show where words begin",
            "a decoder ByteLevel, Metaspace, WordPiece or BPEDecoder does",
        )
    codes = _language_codes(files)
    template, notes = _read_template(files, codes, path)
    has_tags = not set(codes.values()).isdisjoint((*template.before, *template.after))
    special_ids = {
        token.content: i for i, token in files.added.items() if token.special
    }
    if has_tags:
        special_ids |= language_ids(languages, codes, path)

    # Only the library, which opens the file, knows the pieces.
    def all_special_ids(pieces: Sequence[str]) -> Mapping[str, int]:
        return {**files.role_ids(pieces), **special_ids}

    try:
        model, _ = pack_fast_tokenizer(files.content, all_special_ids, size)
    except BadModelError as error:
        raise MasscliError(f"{path}: {error.message}", error.hint) from None
    if has_tags:
        start = decoder_start_id(folder, config)
        framing = _tag_framing(template, start, config, codes)
        return Seq2SeqVocabulary(path, model, framing, notes=notes)
    if len(template.before) > 1 or len(template.after) != 1:
        raise MasscliError(
            f"{path}: puts {len(template.before)} special tokens before a source and {len(template.after)} "
            "after it",
            "expected at most one before it, and the end symbol after it",
        )
    # There is at most one special token before a source.
    source_start = next(iter(template.before), None)
    return Seq2SeqVocabulary(
        path,
        model,
        {"source_bos": bool(template.before)},
        source_start=source_start,
        notes=notes,
    )


def _language_codes(files: TokenizerFiles) -> dict[str, int]:
    """Return the id of each added token that is the tag of a language, by the code of the language."""
    codes = {}
    for number, token in files.added.items():
        match = _TAG.fullmatch(token.content)
        if match:
            codes[match[1] or match[2] or match[3]] = number
    return codes


def _read_template(
    files: TokenizerFiles, codes: Mapping[str, int], path: Path
) -> tuple[Around, tuple[str, ...]]:
    """Return the ids of special tokens around a source, and notes for the user on files that differ.

    They are those of the class, whose order of tags and end symbol is fixed, or else those of the template
    in tokenizer.json (`path`). `codes` are the ids of the tags by code. Raises MasscliError if they are in
    the template, and this is missing or damaged.
    """
    part = files.part["post_processor"]
    try:
        around = read_around(part) if part else None
    except DamagedTemplateError:
        raise MasscliError(
            f"{path}: its template of special tokens is damaged"
        ) from None
    of_class = _class_template(files, around, codes)
    if around is None and of_class is None:
        raise MasscliError(
            f"{path}: has no template of special tokens (post_processor)"
        )
    if of_class is None:
        assert around is not None
        return around, tuple(files.notes)
    notes = [*files.notes]
    if around not in (None, of_class):
        notes.append(
            f"{files.class_name} puts special tokens around a source, not the template in {TOKENIZER}, which "
            "differs"
        )
    return of_class, tuple(notes)


def _class_template(
    files: TokenizerFiles, template: Around | None, codes: Mapping[str, int]
) -> Around | None:
    """Return the ids of special tokens that a class puts around a source; None if the class does not say.

    The tag is that of `template`, the template in tokenizer.json, or else any of `codes`, the tags' ids by
    code.
    """
    ends = [
        number
        for number, token in files.added.items()
        if token.content == files.tokens.get("eos")
    ]
    if not ends:
        return None
    if files.class_name == "PegasusTokenizer":
        return Around((), (ends[0],))
    is_last = {"MBartTokenizer": True, "MBart50Tokenizer": False}.get(files.class_name)
    if files.class_name == "NllbTokenizer":
        is_last = files.flag("legacy_behaviour", False)
    given = (*template.before, *template.after) if template is not None else ()
    tags = [number for number in (*given, *codes.values()) if number in codes.values()]
    if is_last is None or not tags:
        return None
    if is_last:
        return Around((), (ends[0], tags[0]))
    return Around((tags[0],), (ends[0],))


def _tag_framing(
    template: Around, start: Any, config: Mapping[str, Any], codes: Mapping[str, int]
) -> dict[str, Any]:
    """Return the placement of language tags as fields of `ModelConfig`; `codes` are the tags' ids by code.

    The template shows it for sources. A decoder reads the tag first if `start`, the id that it reads first by
    the folder's settings, is one, and in mBART-25, the mBART with the tag after sources; in mBART-50, M2M100
    and NLLB it reads the end symbol first, and the tag is forced. `config` is the content of config.json.
    """
    source_tag = "first" if template.before else "last"
    starts_with_tag = source_tag == "last" and config.get("model_type") == "mbart"
    starts_with_tag = starts_with_tag or start in codes.values()
    return {
        "languages": "tag",
        "source_tag": source_tag,
        "target_tag": "start" if starts_with_tag else "forced",
    }
