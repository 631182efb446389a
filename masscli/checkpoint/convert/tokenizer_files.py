"""Read the files of a published tokenizer: its class, special and added tokens, and tokenizer.json.

tokenizer.json describes a tokenizer completely, and Hugging Face's library prefers it. Older folders
have tokenizer_config.json, special_tokens_map.json and added_tokens.json in addition to the vocabulary
itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.class_rules import steps_of, with_class_rules
from masscli.checkpoint.convert.folder import (
    CONFIG,
    SETTINGS,
    TOKENIZER,
    read_flag,
    read_json_if_present,
)
from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError

SPECIAL_TOKENS = "special_tokens_map.json"
ADDED_TOKENS = "added_tokens.json"
GENERIC_CLASSES = (
    "PreTrainedTokenizer",
    "PreTrainedTokenizerFast",
    "TokenizersBackend",
)
"""Names of classes that do not tell the kind of a tokenizer, which only tokenizer.json does."""

_BERT_TOKENS = {
    "unk": "[UNK]",
    "sep": "[SEP]",
    "pad": "[PAD]",
    "cls": "[CLS]",
    "mask": "[MASK]",
}
_FAIRSEQ_TOKENS = {
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "sep": "</s>",
    "pad": "<pad>",
    "cls": "<s>",
    "mask": "<mask>",
}
_ALBERT_TOKENS = _BERT_TOKENS | {
    "unk": "<unk>",
    "pad": "<pad>",
    "bos": "[CLS]",
    "eos": "[SEP]",
}
_DEFAULT_TOKENS: Mapping[str, Mapping[str, str]] = {
    "BertTokenizer": _BERT_TOKENS,
    "DistilBertTokenizer": _BERT_TOKENS,
    "ElectraTokenizer": _BERT_TOKENS,
    "RobertaTokenizer": _FAIRSEQ_TOKENS,
    "BartTokenizer": _FAIRSEQ_TOKENS,
    "XLMRobertaTokenizer": _FAIRSEQ_TOKENS,
    "MBartTokenizer": _FAIRSEQ_TOKENS,
    "MBart50Tokenizer": _FAIRSEQ_TOKENS,
    "NllbTokenizer": _FAIRSEQ_TOKENS,
    "M2M100Tokenizer": _FAIRSEQ_TOKENS,
    "PegasusTokenizer": {
        "pad": "<pad>",
        "eos": "</s>",
        "unk": "<unk>",
        "mask": "<mask_2>",
    },
    "CamembertTokenizer": _FAIRSEQ_TOKENS,
    "AlbertTokenizer": _ALBERT_TOKENS,
    "GPT2Tokenizer": dict.fromkeys(("bos", "eos", "unk"), "<|endoftext|>"),
    "OpenAIGPTTokenizer": {"unk": "<unk>"},
}
"""Each class's default special tokens by role (`bos`, `mask`, ...)."""
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True)
class AddedToken:
    """A token that was added to a tokenizer.

    If it is special, it never results from text; otherwise it is matched in text before text is split.
    """

    content: str
    special: bool


@dataclass(frozen=True)
class TokenizerFiles:
    """The content of a published tokenizer's files, before its vocabulary is read.

    `settings` is the content of tokenizer_config.json, and `content` that of tokenizer.json; each is empty if
    the file is missing. `tokens` are the special tokens by role (`bos`, `mask`, ...), and `added` are all
    added tokens by id, special ones included.
    """

    folder: Path
    class_name: str
    settings: Mapping[str, Any]
    content: Mapping[str, Any]
    tokens: Mapping[str, str]
    added: Mapping[int, AddedToken]
    notes: Sequence[str] = ()
    """Lines for the user about settings in which the files differ."""

    @property
    def part(self) -> _Parts:
        """Return access to the objects in tokenizer.json by name; a missing object reads as an empty one."""
        return _Parts(self.content)

    def flag(self, key: str, default: bool) -> bool:
        """Return a setting of tokenizer_config.json, or `default` if it is not there.

        0 and 1 stand for false and true. Raises MasscliError for any other value.
        """
        return read_flag(self.settings, key, default, self.folder / SETTINGS)

    def text_tokens(self) -> list[str]:
        """Return the texts of the added tokens that are not special and are therefore matched in text."""
        return [token.content for token in self.added.values() if not token.special]

    def role_ids(self, pieces: Sequence[str]) -> dict[str, int]:
        """Return the ids of the special pieces in a list of all pieces, by masscli's names (`<s>`, `<mask>`).

        Special tokens that are not among the pieces are left out, as is an unknown token identical to
        the end token (GPT-2). Without a start or end token, `<s>` and `</s>` have the ids of the tokens
        for `cls` and `sep`.
        """
        ids = {piece: i for i, piece in enumerate(pieces)}
        id_of_role = {
            role: ids[token] for role, token in self.tokens.items() if token in ids
        }
        named = {}
        for role in ("pad", "unk", "mask", "cls", "sep"):
            if role in id_of_role:
                named[f"<{role}>"] = id_of_role[role]
        # Texts begin with [CLS] and end with [SEP] if there are no other start and end tokens.
        for name, roles in (("<s>", ("bos", "cls")), ("</s>", ("eos", "sep"))):
            for role in roles:
                if role in id_of_role and name not in named:
                    named[name] = id_of_role[role]
        # GPT-2 also names its end-of-text token as the unknown token, although it can encode every
        # text.
        if "<unk>" in named and named["<unk>"] == named.get("</s>"):
            del named["<unk>"]
        return named


class _Parts:
    """Access to the objects in tokenizer.json that never fails: a missing object reads as an empty one."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def __getitem__(self, name: str) -> Mapping[str, Any]:
        return _as_dict(self._content.get(name))

    def steps(self, name: str) -> list[Mapping[str, Any]]:
        """Return the steps of a normalizer, pre-tokenizer or decoder, whose key in tokenizer.json is `name`.

        They are the members of a sequence, or the object itself if it is not one; there are none if it
        is missing.
        """
        return steps_of(self[name])


def read_tokenizer_files(folder: Path, default_class: str) -> TokenizerFiles:
    """Read the files of the tokenizer in a folder, but not its vocabulary.

    If neither tokenizer_config.json nor config.json names its class, `default_class` is assumed; `Fast`
    at the end of a name is dropped. Raises MasscliError if a file is damaged.
    """
    settings = read_json_if_present(folder / SETTINGS)
    content = read_json_if_present(folder / TOKENIZER)
    class_name = settings.get("tokenizer_class")
    if class_name is None:
        class_name = read_json_if_present(folder / CONFIG).get("tokenizer_class")
    if class_name is None:
        class_name = default_class
    if not isinstance(class_name, str):
        raise MasscliError(f"{folder / SETTINGS}: tokenizer_class is not a name")
    # The two implementations of a tokenizer, in Python and in Rust (Fast), give the same ids.
    if class_name not in GENERIC_CLASSES:
        class_name = class_name.removesuffix("Fast")
    content, notes = with_class_rules(content, settings, class_name, folder)
    return TokenizerFiles(
        folder,
        class_name,
        settings,
        content,
        _special_tokens(folder, settings, class_name, default_class),
        _added_tokens(folder, settings, content),
        notes,
    )


def added_words(folder: Path) -> list[str]:
    """Return the texts of the tokens that were added to the tokenizer in a folder and are not special.

    Hugging Face's library matches them in text. Damaged entries are left out; raises MasscliError if a file
    is damaged as a whole.
    """
    settings = read_json_if_present(folder / SETTINGS)
    content = read_json_if_present(folder / TOKENIZER)
    _, listed = _list_added_tokens(folder, settings, content)
    return [
        text
        for _, text, is_special in listed
        if is_special is False and isinstance(text, str)
    ]


def _special_tokens(
    folder: Path, settings: Mapping[str, Any], class_name: str, default_class: str
) -> dict[str, str]:
    """Return the special tokens by role (`bos`, `mask`, ...).

    They come from tokenizer_config.json, else from special_tokens_map.json, else from the defaults of
    the class, or of `default_class` if the class is generic.
    """
    known_class = default_class if class_name in GENERIC_CLASSES else class_name
    tokens = dict(_DEFAULT_TOKENS.get(known_class, {}))
    # Later sources override earlier ones.
    for source in (read_json_if_present(folder / SPECIAL_TOKENS), settings):
        for role in ROLES:
            token = source.get(f"{role}_token")
            # A token is a string, or an object with its flags.
            if isinstance(token, dict):
                token = token.get("content")
            if isinstance(token, str):
                tokens[role] = token
    return tokens


def _added_tokens(
    folder: Path, settings: Mapping[str, Any], content: Mapping[str, Any]
) -> dict[int, AddedToken]:
    """Return the added tokens of a tokenizer by id, in the order of the ids.

    Raises MasscliError if a token has no valid id or no text, if two have the same id, or if it is not clear
    whether one is special.
    """
    path, listed = _list_added_tokens(folder, settings, content)
    added: dict[int, AddedToken] = {}
    for token_id, text, is_special in listed:
        if not isinstance(is_special, bool):
            raise MasscliError(
                f"{path}: special of the added token {text!r} is neither true nor false"
            )
        if (
            type(token_id) is not int
            or token_id < 0
            or not isinstance(text, str)
            or token_id in added
        ):
            raise MasscliError(
                f"{path}: an added token has no id of its own ({text!r}: {token_id!r})"
            )
        added[token_id] = AddedToken(text, is_special)
    return dict(sorted(added.items()))


def _list_added_tokens(
    folder: Path, settings: Mapping[str, Any], content: Mapping[str, Any]
) -> tuple[Path, list[tuple[Any, Any, Any]]]:
    """Return the path of the file that lists the added tokens, and a tuple for each token.

    A tuple has the token's id, its text, and whether it is special, as found in the file, unchecked.
    The file is tokenizer.json, else tokenizer_config.json if it lists them, else added_tokens.json.
    """
    listed = []
    if content:
        for entry in _as_list(content.get("added_tokens")):
            token = _as_dict(entry)
            listed.append(
                (token.get("id"), token.get("content"), token.get("special", False))
            )
        return folder / TOKENIZER, listed
    if isinstance(settings.get("added_tokens_decoder"), dict):
        for number, token in settings["added_tokens_decoder"].items():
            token_id = parse_digits(number)
            flags = _as_dict(token)
            listed.append((token_id, flags.get("content"), flags.get("special", False)))
        return folder / SETTINGS, listed
    # added_tokens.json has only texts and ids; the other files list those that are special.
    special = _listed_specials(settings) | _listed_specials(
        read_json_if_present(folder / SPECIAL_TOKENS)
    )
    for text, token_id in read_json_if_present(folder / ADDED_TOKENS).items():
        listed.append((token_id, text, text in special))
    return folder / ADDED_TOKENS, listed


def _as_dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _listed_specials(settings: Mapping[str, Any]) -> set[str]:
    """Return the texts of the tokens that a table of settings or of special tokens lists as special."""
    listed = [settings.get(f"{role}_token") for role in ROLES]
    for key in ("additional_special_tokens", "extra_special_tokens"):
        listed += _as_list(settings.get(key))
    texts = set()
    for token in listed:
        if isinstance(token, dict):
            token = token.get("content")
        if isinstance(token, str):
            texts.add(token)
    return texts
