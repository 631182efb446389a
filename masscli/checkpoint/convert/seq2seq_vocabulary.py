"""What the vocabularies of Hugging Face's encoder-decoder families have in common.

Their ids are kept, so that a model can be written back as it was. Rows of the embeddings that no piece has
are ids that no text has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.folder import read_json_if_present
from masscli.core.errors import MasscliError
from masscli.core.files import read_regular
from masscli.text.corpus import decode_text
from masscli.text.tokenizer_card import language_piece

TOKENIZER_CONFIG = "tokenizer_config.json"


@dataclass(frozen=True)
class Seq2SeqVocabulary:
    """A vocabulary as masscli stores it, and how texts are framed with it."""

    path: Path
    """The file that errors name."""
    model: bytes
    framing: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `ModelConfig` that say where special tokens stand."""
    forced_prefix: tuple[int, ...] = ()
    """Ids that every output begins with, whatever its language."""
    notes: tuple[str, ...] = ()


def read_ids(path: Path) -> dict[str, int]:
    """Return the ids by piece of a vocab.json. Raises MasscliError if it is not one."""
    try:
        ids = json.loads(decode_text(read_regular(path), path))
    except FileNotFoundError:
        raise MasscliError(f"{path}: no such file", "the vocabulary is incomplete") from None
    except (OSError, ValueError, RecursionError) as error:
        raise MasscliError(f"{path}: cannot be read ({error})") from None
    valid = isinstance(ids, dict) and all(type(number) is int and number >= 0 for number in ids.values())
    if not valid or len(set(ids.values())) < len(ids):
        raise MasscliError(f"{path}: is not a table from pieces to ids, each once")
    return dict(ids)


def read_model(folder: Path, *names: str) -> tuple[Path, bytes]:
    """Return the path and contents of the first of these files that is there."""
    for name in names:
        if (folder / name).exists():
            return folder / name, read_regular(folder / name)
    raise MasscliError(f"{folder}: has no {names[0]}", "this file is part of the vocabulary")


def place_pieces(ids: Mapping[str, int], size: int, path: Path) -> tuple[list[str], list[int]]:
    """Return a piece for each of `size` ids, and the ids that no piece has.

    Raises MasscliError if a piece has an id beyond the embeddings.
    """
    last = max(ids.values(), default=-1)
    if last >= size or min(ids.values(), default=0) < 0:
        raise MasscliError(
            f"{path}: has the id {last}, but the model has {size} rows",
            "vocabulary and config.json are of different models",
        )
    pieces = [f"<unused{number}>" for number in range(size)]
    for piece, number in ids.items():
        pieces[number] = piece
    used = set(ids.values())
    return pieces, [number for number in range(size) if number not in used]


def language_ids(languages: Sequence[str], codes: Mapping[str, int], path: Path) -> dict[str, int]:
    """Return the id of the tag of each language under masscli's name for it.

    A language is named as the tag says it (`en_XX`), or by what stands before its `_` (`en`). Raises
    MasscliError for a language that the vocabulary lacks.
    """
    found = {}
    for language in languages:
        fitting = [code for code in codes if code == language or code.split("_")[0] == language]
        if not fitting:
            raise MasscliError(f"{path}: has no language {language!r}", f"it has {', '.join(sorted(codes))}")
        found[language_piece(language)] = codes[min(fitting, key=len)]
    if len(set(found.values())) < len(found):
        raise MasscliError(
            f"{path}: some of the languages {', '.join(languages)} are the same", "name each of them once"
        )
    return found


def special_tokens_in_order(folder: Path) -> list[str]:
    """Return the additional special tokens of a tokenizer, as its files list them."""
    for name in ("special_tokens_map.json", TOKENIZER_CONFIG):
        content = read_json_if_present(folder / name)
        for key in ("additional_special_tokens", "extra_special_tokens"):
            listed = content.get(key)
            if isinstance(listed, list) and listed:
                return [_text_of(item) for item in listed]
    return []


def _text_of(token: Any) -> str:
    """Return the text of a token, which is listed as such or as a table with its text."""
    if isinstance(token, dict):
        return str(token.get("content"))
    return str(token)


def added_token_ids(folder: Path) -> dict[str, int]:
    """Return the ids of the tokens that were added to a tokenizer, by their text."""
    found = {}
    listed = read_json_if_present(folder / "tokenizer.json").get("added_tokens")
    for token in listed if isinstance(listed, list) else []:
        if isinstance(token, dict) and type(token.get("id")) is int:
            found[_text_of(token)] = token["id"]
    by_number = read_json_if_present(folder / TOKENIZER_CONFIG).get("added_tokens_decoder")
    for number, token in by_number.items() if isinstance(by_number, dict) else []:
        if number.isdecimal():
            found[_text_of(token)] = int(number)
    return found
