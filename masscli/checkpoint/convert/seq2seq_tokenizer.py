"""The tokenizer of an imported encoder-decoder model, with the special tokens around its texts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from masscli.checkpoint.convert.bart import read_bart
from masscli.checkpoint.convert.folder import TOKENIZER
from masscli.checkpoint.convert.fsmt import read_fsmt
from masscli.checkpoint.convert.generation_settings import (
    decoder_start_id,
    search_settings,
)
from masscli.checkpoint.convert.given_vocabulary import (
    given_vocabulary,
    read_given_tokenizer,
)
from masscli.checkpoint.convert.m2m100 import read_m2m100
from masscli.checkpoint.convert.marian import read_marian
from masscli.checkpoint.convert.mbart import read_mbart
from masscli.checkpoint.convert.pegasus import read_pegasus
from masscli.checkpoint.convert.seq2seq import Seq2SeqFamily
from masscli.checkpoint.convert.seq2seq_tokenizer_json import (
    has_only_tokenizer_json,
    is_byte_level,
    is_tag,
    read_tokenizer_json,
)
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    row_of,
)
from masscli.checkpoint.convert.tokenizer_files import added_words
from masscli.checkpoint.convert.vocabulary import OWN_VOCABULARY
from masscli.core.errors import MasscliError
from masscli.text.model_kinds import TWO_VOCABULARIES
from masscli.text.subword_model import BadModelError
from masscli.text.tokenizer import Tokenizer

VocabularyReader = Callable[
    [Path, Mapping[str, Any], Sizes, Sequence[str]], Seq2SeqVocabulary
]
_READERS: Mapping[str, VocabularyReader] = MappingProxyType(
    {
        "bart": read_bart,
        "fsmt": read_fsmt,
        "mbart": read_mbart,
        "m2m_100": read_m2m100,
        "marian": read_marian,
        "pegasus": read_pegasus,
    }
)


class Seq2SeqTokenizer(NamedTuple):
    """The tokenizer of an imported model, and what it was made from."""

    tokenizer: Tokenizer
    vocabulary: Seq2SeqVocabulary
    rows: Mapping[str, Sequence[int]]
    """For `encoder` and `decoder`, masscli's id of each row of the embeddings."""


def read_seq2seq_tokenizer(
    family: Seq2SeqFamily,
    folder: Path,
    config: Mapping[str, Any],
    sizes: Sizes,
    languages: Sequence[str],
    given: Path | None,
) -> Seq2SeqTokenizer:
    """Return the tokenizer of a model in `folder`, restricted to the ids that the model knows.

    `config` is the content of config.json, and `sizes` are the numbers of rows of the embeddings. `given`
    is a run, checkpoint, data folder or model file whose vocabulary the model uses; None means the one in
    `folder`. Raises MasscliError if something is missing, damaged or inconsistent.
    """
    if given is None and (folder / OWN_VOCABULARY).is_dir():
        given = folder / OWN_VOCABULARY
    if given is not None:
        tokenizer = read_given_tokenizer(given, sizes, languages)
        tokenizer, rows = _with_ranges(tokenizer, sizes, languages)
        vocabulary = given_vocabulary(given, tokenizer, folder, config, rows, languages)
    else:
        vocabulary = _read_vocabulary(family, folder, config, sizes, languages)
        tokenizer = Tokenizer.from_bytes(
            vocabulary.path, vocabulary.model, vocabulary.preprocessing, languages
        )
        tokenizer, rows = _with_ranges(tokenizer, sizes, languages)
        vocabulary = _with_forced_token(
            vocabulary, tokenizer, folder, config, rows["decoder"]
        )
    tokenizer = _with_special_ids(family, tokenizer, vocabulary, folder, config, rows)
    return Seq2SeqTokenizer(tokenizer, vocabulary, rows)


def _read_vocabulary(
    family: Seq2SeqFamily,
    folder: Path,
    config: Mapping[str, Any],
    sizes: Sizes,
    languages: Sequence[str],
) -> Seq2SeqVocabulary:
    """Return the vocabulary of a model from the files of its family's tokenizer, or from tokenizer.json.

    Raises MasscliError if files are missing, damaged or inconsistent.
    """
    try:
        if has_only_tokenizer_json(folder) and not is_byte_level(folder):
            return read_tokenizer_json(folder, config, sizes[0], languages)
        # The files of the families' own tokenizers do not have them.
        added = [word for word in added_words(folder) if not is_tag(word)]
        if added and (folder / TOKENIZER).exists():
            return _read_with_added_words(folder, config, sizes[0], languages, added)
        vocabulary = _READERS[family.model_type](folder, config, sizes, languages)
    except BadModelError as error:
        raise MasscliError(
            f"{folder}: its SentencePiece model {error.message}", error.hint
        ) from None
    if not added:
        return vocabulary
    note = (
        f"added tokens are split like other text, and not generated: {', '.join(added)}; "
        "Hugging Face's tokenizer matches them in text"
    )
    return replace(vocabulary, notes=(*vocabulary.notes, note))


def _read_with_added_words(
    folder: Path,
    config: Mapping[str, Any],
    size: int,
    languages: Sequence[str],
    added: Sequence[str],
) -> Seq2SeqVocabulary:
    """Return the vocabulary in the tokenizer.json of a folder, which has the tokens `added`.

    `size` is the number of rows of the token embeddings, and `config` the content of config.json. Raises
    MasscliError as `read_tokenizer_json` does.
    """
    vocabulary = read_tokenizer_json(folder, config, size, languages)
    # As `read_bart` does.
    if is_byte_level(folder) and vocabulary.source_start is not None:
        vocabulary = replace(vocabulary, forced_prefix=(vocabulary.source_start,))
    note = f"read through Hugging Face's tokenizers, as it has added tokens ({', '.join(added)})"
    return replace(vocabulary, notes=(*vocabulary.notes, note))


def _with_forced_token(
    vocabulary: Seq2SeqVocabulary,
    tokenizer: Tokenizer,
    folder: Path,
    config: Mapping[str, Any],
    rows: Sequence[int],
) -> Seq2SeqVocabulary:
    """Return a vocabulary with the token that a folder's generation settings force at the start of outputs.

    The settings are those of generation_config.json or else config.json (`config`). `rows` are masscli's
    ids of the rows of the decoder's embeddings. Without this setting, outputs begin as those of the
    family's published models, with a note if that is a forced token. Raises MasscliError if the model has
    no such token.
    """
    # The tag of the language that the user chooses is forced.
    if vocabulary.framing.get("target_tag") == "forced":
        return vocabulary
    row = search_settings(folder, config).get("forced_bos_token_id")
    pieces = tokenizer.all_pieces()
    if row is None:
        notes = [
            f"outputs are forced to begin with {pieces[number]}, as those of published models, though no "
            "forced_bos_token_id says so"
            for number in vocabulary.forced_prefix
        ]
        return replace(vocabulary, notes=(*vocabulary.notes, *notes))
    if type(row) is not int or not 0 <= row < len(rows):
        raise MasscliError(
            f"{folder}: forced_bos_token_id is {row!r}, but the model has {len(rows)} rows",
            "vocabulary and generation settings belong to different models",
        )
    forced = rows[row]
    # A word that every output begins with would be missing in the text.
    if forced not in tokenizer.vocab.special_ids:
        note = f"left out: forced_bos_token_id {row}, which is an ordinary piece ({pieces[forced]})"
        return replace(vocabulary, notes=(*vocabulary.notes, note))
    if (forced,) == vocabulary.forced_prefix:
        return vocabulary
    note = (
        f"every output is forced to begin with {pieces[forced]} (forced_bos_token_id)"
    )
    return replace(vocabulary, forced_prefix=(forced,), notes=(*vocabulary.notes, note))


def _with_ranges(
    tokenizer: Tokenizer, sizes: Sizes, languages: Sequence[str]
) -> tuple[Tokenizer, dict[str, Sequence[int]]]:
    """Return a tokenizer restricted to the model's ids, and masscli's id of each row of the embeddings.

    The second result has these ids for `encoder` and for `decoder`. `sizes` are the numbers of rows.
    Symbols that masscli adds have no row and are never predicted.
    """
    rows: dict[str, Sequence[int]] = {
        "encoder": range(sizes[0]),
        "decoder": range(sizes[1]),
    }
    if tokenizer.model_kind == TWO_VOCABULARIES:
        source, target = languages
        rows = {
            "encoder": tokenizer.own_ids(source),
            "decoder": tokenizer.own_ids(target),
        }
        return tokenizer.with_own_ranges(), rows
    if tokenizer.vocab.size > sizes[1]:
        tokenizer = tokenizer.with_card_fields(predicted_ids=(0, sizes[1]))
    return tokenizer, rows


def _with_special_ids(
    family: Seq2SeqFamily,
    tokenizer: Tokenizer,
    vocabulary: Seq2SeqVocabulary,
    folder: Path,
    config: Mapping[str, Any],
    rows: Mapping[str, Sequence[int]],
) -> Tokenizer:
    """Return a tokenizer with the decoder's first token, the forced tokens, and the start of sources set.

    `rows` has, for `encoder` and `decoder`, masscli's id of each row of the embeddings. Raises
    MasscliError if the ids of padding or of the end symbol in the content of config.json (`config`)
    differ from the vocabulary's, or if the model lacks the id of the decoder's first token.
    """
    for role in ("pad", "eos"):
        _check_role(role, config, tokenizer, rows["encoder"], vocabulary.path)
    fields: dict[str, Any] = {
        "decoder_start": _decoder_start(
            family, folder, config, tokenizer, rows["decoder"]
        )
    }
    if vocabulary.source_start is not None:
        fields["bos"] = vocabulary.source_start
    if vocabulary.forced_prefix:
        fields["forced_prefix"] = vocabulary.forced_prefix
    return tokenizer.with_card_fields(**fields)


def _decoder_start(
    family: Seq2SeqFamily,
    folder: Path,
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    rows: Sequence[int],
) -> int:
    """Return masscli's id of the token that a decoder reads first, if it does not read a tag.

    It comes from generation_config.json or config.json (`config`), or else is the family's default.
    `rows` are masscli's ids of the rows of the decoder's embeddings. Raises MasscliError if it is not
    among them.
    """
    start = decoder_start_id(folder, config)
    if type(start) is not int:
        return tokenizer.vocab.role_ids[family.decoder_start]
    if not 0 <= start < len(rows):
        raise MasscliError(
            f"decoder_start_token_id is {start}, but the model has {len(rows)} rows",
            "vocabulary and config.json belong to different models",
        )
    return rows[start]


def _check_role(
    role: str,
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    rows: Sequence[int],
    path: Path,
) -> None:
    """Raise MasscliError if a special token has no row, or different ids in config.json and the vocabulary.

    `role` is pad or eos, and `config` the content of config.json, which may lack the id. `rows` are masscli's
    ids of the rows of the encoder's embeddings. Errors name `path`, the file of the vocabulary.
    """
    number = config.get(f"{role}_token_id")
    # Newer files list all symbols that may end a text.
    if isinstance(number, list) and len(number) == 1:
        [number] = number
    own = row_of(role, tokenizer.vocab, rows, path)
    if number is not None and number != own:
        raise MasscliError(
            f"{path}: {role}_token_id is {number} by config.json, but {own} here",
            "vocabulary and config.json belong to different models",
        )
