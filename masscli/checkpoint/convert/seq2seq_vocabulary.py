"""What the vocabularies of Hugging Face's encoder-decoder families have in common.

Their ids are kept, so that a model can be written back as it was. Rows of the embeddings without a piece get
placeholder pieces, which never occur in tokenized text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import SETTINGS, read_json_if_present
from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.core.files import read_regular
from masscli.core.json_text import parse_json
from masscli.text.corpus import read_regular_text
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer_card import language_piece
from masscli.text.vocabulary import Vocabulary

Sizes = tuple[int, int]
"""The numbers of rows of the source and target token embeddings; most families have one table."""

_MISSING = "a translator that was exported without a tokenizer has the vocabulary of its run: --spm-model RUN"


@dataclass(frozen=True)
class Seq2SeqVocabulary:
    """A vocabulary as masscli stores it, and the placement of special tokens in texts."""

    path: Path
    """The file that it was read from, which errors name."""
    model: bytes
    """The content of masscli's vocabulary file (vocab.model)."""
    framing: Mapping[str, Any] = field(default_factory=dict)
    """Values of the fields of `ModelConfig` that say where language tags and start symbols are placed."""
    forced_prefix: tuple[int, ...] = ()
    """Ids that every output begins with, regardless of its language."""
    source_start: int | None = None
    """The id that every source begins with if the framing has `source_bos`; None means the start symbol."""
    preprocessing: TextPreprocessing = field(default_factory=TextPreprocessing)
    targets: tuple[str, ...] | None = None
    """The languages that the model can generate; None means all."""
    notes: tuple[str, ...] = ()


def read_ids(path: Path) -> dict[str, int]:
    """Return the ids by piece of a vocab.json, in which ids may be missing.

    Raises MasscliError if the file is missing or damaged, or is not an object that gives each piece a
    different id.
    """
    try:
        ids = parse_json(read_regular_text(path))
    except FileNotFoundError:
        raise MasscliError(f"{path}: no such file", _MISSING) from None
    except (OSError, ValueError) as error:
        raise MasscliError(f"{path}: cannot be read ({error})") from None
    malformed = MasscliError(f"{path}: is not a table from pieces to ids, each once")
    if not isinstance(ids, dict):
        raise malformed
    for number in ids.values():
        # True is an int to Python, too.
        if type(number) is not int or number < 0:
            raise malformed
    # One of two pieces with the same id would be lost.
    if len(set(ids.values())) < len(ids):
        raise malformed
    return dict(ids)


def row_of(role: str, vocab: Vocabulary, rows: Sequence[int], path: Path) -> int:
    """Return the row of a special token, such as `pad`, in embeddings whose rows belong to the ids `rows`.

    Raises MasscliError, which names the vocabulary's file `path`, if no row belongs to the token.
    """
    number = vocab.role_ids[role]
    if number not in rows:
        raise MasscliError(
            f"{path}: has no {role} symbol among the {len(rows):,} pieces of the model",
            "is it the vocabulary of this model?",
        )
    return rows.index(number)


def read_model(folder: Path, *names: str) -> tuple[Path, bytes]:
    """Return the path and the bytes of the first of these files that exists in the folder.

    Raises MasscliError, naming the first one, if none exists, or if the file cannot be read.
    """
    for name in names:
        path = folder / name
        if path.exists():
            try:
                return path, read_regular(path)
            except OSError as error:
                raise MasscliError(
                    f"{path}: cannot be read ({error.strerror})"
                ) from None
    raise MasscliError(f"{folder}: has no {names[0]}", _MISSING)


def place_pieces(
    ids: Mapping[str, int], size: int, path: Path
) -> tuple[list[str], list[int]]:
    """Return a list with the piece of each of `size` ids, and the sorted ids without a piece.

    In the list, an id N without a piece has the name `<unusedN>`. Raises MasscliError, which names
    `path`, if an id is negative, or not below `size`.
    """
    last = max(ids.values(), default=-1)
    if last >= size or min(ids.values(), default=0) < 0:
        raise MasscliError(
            f"{path}: has the id {last}, but the model has {size} rows",
            "vocabulary and config.json belong to different models",
        )
    pieces = [f"<unused{number}>" for number in range(size)]
    for piece, number in ids.items():
        pieces[number] = piece
    used = set(ids.values())
    return pieces, [number for number in range(size) if number not in used]


def direction(folder: Path, languages: Sequence[str]) -> tuple[str, str]:
    """Return the source and the target language of a model for one direction.

    Raises MasscliError, which names `folder`, unless there are two `languages`.
    """
    if len(languages) != 2:
        raise MasscliError(
            f"{folder}: translates from one language to another",
            "name them, the source first: --langs en,de",
        )
    source, target = languages
    return source, target


def language_ids(
    languages: Sequence[str], codes: Mapping[str, int], path: Path
) -> dict[str, int]:
    """Return the id of each language's tag, by masscli's name for the tag.

    `codes` are the ids of all tags by code. A language is named by the whole code (`en_XX`), or by the
    part before the `_` (`en`); if several codes match, the shortest is used. Raises MasscliError if a
    language has no tag, or if two have the same one.
    """
    ids = {}
    for language in languages:
        fitting = [
            code for code in codes if code == language or code.split("_")[0] == language
        ]
        if not fitting:
            raise MasscliError(
                f"{path}: has no language {language!r}",
                f"it has {', '.join(sorted(codes))}",
            )
        ids[language_piece(language)] = codes[min(fitting, key=len)]
    # `en` and `en_XX` name the same tag.
    if len(set(ids.values())) < len(ids):
        raise MasscliError(
            f"{path}: some of the languages {', '.join(languages)} are the same",
            "name each of them once",
        )
    return ids


def special_tokens_in_order(folder: Path) -> list[str]:
    """Return the additional special tokens of the tokenizer in a folder, in the order of its list.

    They come from special_tokens_map.json, or else from tokenizer_config.json; if neither lists any, the
    result is empty.
    """
    for name in ("special_tokens_map.json", SETTINGS):
        content = read_json_if_present(folder / name)
        for key in ("additional_special_tokens", "extra_special_tokens"):
            listed = content.get(key)
            if isinstance(listed, list) and listed:
                return [_text_of(item) for item in listed]
    return []


def _text_of(token: Any) -> str:
    """Return the text of a token given as a string, or as an object with the string under `content`."""
    if isinstance(token, dict):
        return str(token.get("content"))
    return str(token)


def added_token_ids(folder: Path) -> dict[str, int]:
    """Return the ids of added tokens by their text, from tokenizer.json and tokenizer_config.json.

    Where the files differ, tokenizer_config.json takes precedence. Entries whose id is not an integer
    are left out.
    """
    ids = {}
    listed = read_json_if_present(folder / "tokenizer.json").get("added_tokens")
    if isinstance(listed, list):
        for token in listed:
            if isinstance(token, dict) and type(token.get("id")) is int:
                ids[_text_of(token)] = token["id"]
    by_number = read_json_if_present(folder / SETTINGS).get("added_tokens_decoder")
    if isinstance(by_number, dict):
        for number, token in by_number.items():
            # JSON keys are strings.
            token_id = parse_digits(number)
            if token_id is not None:
                ids[_text_of(token)] = token_id
    return ids
