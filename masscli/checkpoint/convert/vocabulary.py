"""Read the vocabulary of a published model, and find the row of its token embeddings for each of our ids.

Files that can be read are BERT's `vocab.txt` (or the WordPiece in `tokenizer.json`), SentencePiece models,
and the two files of GPT (gpt_bpe.py). XLM-R has the ids of fairseq instead of those of its SentencePiece
model: `<s>`, `<pad>`, `</s>`, `<unk>`, then the pieces, then `<mask>`; its rows are put in our order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert import gpt_bpe
from masscli.checkpoint.convert.families import ALBERT, XLMR, Family
from masscli.checkpoint.convert.folder import read_json_if_present
from masscli.checkpoint.convert.tensors import NEW_ROW
from masscli.core.errors import MasscliError
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.wordpiece import is_wordpiece

VOCAB = "vocab.txt"
TOKENIZER = "tokenizer.json"
SETTINGS = "tokenizer_config.json"
SENTENCEPIECE = ("spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model")
_READABLE = (
    f"can be read: {VOCAB} of BERT, WordPiece in {TOKENIZER}, {SENTENCEPIECE[0]} of SentencePiece, "
    "and GPT's own two files"
)
_DIFFERENT_MODELS = "vocabulary and config.json are of different models"


@dataclass(frozen=True)
class ImportedVocabulary:
    """A tokenizer, the row of the published token embeddings for each of its ids, and notes for the user."""

    tokenizer: Tokenizer
    rows: list[int]
    notes: list[str]


def read_vocabulary(
    folder: Path, family: Family, vocab_size: int, languages: Sequence[str]
) -> ImportedVocabulary:
    """Read the vocabulary in a folder; the published token embeddings have `vocab_size` rows.

    Raises MasscliError if there is no vocabulary that can be read, or if it does not fit the embeddings.
    """
    if gpt_bpe.is_gpt_bpe(folder):
        return _read_gpt(folder, vocab_size, languages)
    path, model = _read_model(folder)
    settings = read_json_if_present(folder / SETTINGS)
    # The pieces decide whether text is lower-cased, so the tokenizer is made twice.
    pieces = Tokenizer.from_bytes(path, model, TextPreprocessing(), ()).all_pieces()
    lowercase, source = _is_lowercase(folder, settings, pieces)
    tokenizer = Tokenizer.from_bytes(path, model, TextPreprocessing(lowercase=lowercase), languages)
    case = "lower-cased" if lowercase else "cased"
    notes = [f"vocabulary {path}: {len(pieces):,} pieces, {case} ({source})"]

    if family is XLMR:
        rows = _fairseq_rows(tokenizer, pieces, vocab_size, path)
    elif len(pieces) > vocab_size:
        raise MasscliError(
            f"{path}: has {len(pieces)} pieces, but the model has {vocab_size} rows", _DIFFERENT_MODELS
        )
    else:
        rows = [piece_id if piece_id < vocab_size else NEW_ROW for piece_id in range(tokenizer.vocab.size)]
    new = rows.count(NEW_ROW)
    if new:
        notes.append(_new_ids_note(new))
    # Tables are often padded to a multiple of 8 or 64.
    if vocab_size > len(rows):
        notes.append(
            f"rows {len(rows)} to {vocab_size - 1} of the token embeddings are left out: no piece has them"
        )

    # What Hugging Face's tokenizer of the folder does to text and ours does not.
    if is_wordpiece(model):
        notes += _different_settings(settings, lowercase)
    elif family is ALBERT and not settings.get("keep_accents", False):
        notes.append("accents are kept; Hugging Face's tokenizer of ALBERT takes them off")
    return ImportedVocabulary(tokenizer, rows, notes)


def _new_ids_note(count: int) -> str:
    return f"{count} ids are new, drawn at random: symbols and languages that the vocabulary lacks"


def _different_settings(settings: Mapping[str, Any], lowercase: bool) -> list[str]:
    """Return a note for each setting of a WordPiece tokenizer that is not as ours has it."""
    notes = []
    strip_accents = settings.get("strip_accents")
    if strip_accents not in (None, lowercase):
        notes.append(f"{SETTINGS}: strip_accents is {strip_accents}; here it is {lowercase}")
    split_chinese = settings.get("tokenize_chinese_chars", True)
    if split_chinese is not True:
        notes.append(f"{SETTINGS}: tokenize_chinese_chars is {split_chinese}; here it is True")
    return notes


def _read_model(folder: Path) -> tuple[Path, bytes]:
    """Return the file of the vocabulary, and its content in the format of `Tokenizer.from_bytes`."""
    for name in (VOCAB, *SENTENCEPIECE):
        if (folder / name).exists():
            return folder / name, (folder / name).read_bytes()
    path = folder / TOKENIZER
    model = read_json_if_present(path).get("model")
    if not isinstance(model, dict):
        model = {}
    if model.get("type") == "WordPiece":
        return path, _wordpiece_of_tokenizer_json(path, model.get("vocab"))
    # Byte-level BPE is the one kind of BPE in these files, but for GPT's, which was read before.
    if model.get("type") == "BPE" or (folder / gpt_bpe.MERGES).exists():
        raise MasscliError(
            f"{folder}: its vocabulary is a byte-level BPE, as RoBERTa and GPT-2 have it, which is not read",
            _READABLE,
        )
    if model:
        raise MasscliError(
            f"{path}: {model.get('type')} is read from SentencePiece's own file only",
            f"add {SENTENCEPIECE[0]}",
        )
    raise MasscliError(f"{folder}: has no vocabulary", _READABLE)


def _wordpiece_of_tokenizer_json(path: Path, ids: object) -> bytes:
    """Return the content of the vocab.txt that the WordPiece model of a tokenizer.json stands for."""
    if not isinstance(ids, dict) or not all(type(piece_id) is int for piece_id in ids.values()):
        raise MasscliError(f"{path}: its WordPiece has no vocab from pieces to ids", f"add {VOCAB}")
    if sorted(ids.values()) != list(range(len(ids))):
        raise MasscliError(f"{path}: the ids of its vocabulary have gaps", f"add {VOCAB}")
    pieces = sorted(ids, key=lambda piece: int(ids[piece]))
    return "".join(f"{piece}\n" for piece in pieces).encode()


def _read_gpt(folder: Path, vocab_size: int, languages: Sequence[str]) -> ImportedVocabulary:
    """Read GPT's vocabulary.

    GPT's text was tokenized with spaCy. Moses, which is used here, splits words in nearly the same places.
    """
    model, rows, left_out = gpt_bpe.read_gpt_bpe(folder)
    path = folder / gpt_bpe.VOCAB
    last = max(rows)
    if last >= vocab_size:
        raise MasscliError(
            f"{path}: has the id {last}, but the model has {vocab_size} rows", _DIFFERENT_MODELS
        )
    preprocessing = TextPreprocessing(moses=True, lowercase=True)
    tokenizer = Tokenizer.from_bytes(folder / gpt_bpe.MERGES, model, preprocessing, languages)
    # The ids of languages come last.
    rows += [NEW_ROW] * (tokenizer.vocab.size - len(rows))
    new = rows.count(NEW_ROW)
    notes = [
        f"vocabulary {path}: {len(rows) - new:,} pieces, lower-cased, of words as Moses splits them",
        _new_ids_note(new),
    ]
    if left_out:
        notes.append(f"rows left out, of pieces that no text has: {', '.join(map(repr, left_out))}")
    return ImportedVocabulary(tokenizer, rows, notes)


def _is_lowercase(folder: Path, settings: Mapping[str, Any], pieces: Sequence[str]) -> tuple[bool, str]:
    """Return whether text is lower-cased, and the file that says so or `by its pieces`."""
    lowercase = settings.get("do_lower_case")
    if isinstance(lowercase, bool):
        return lowercase, SETTINGS
    normalizer = read_json_if_present(folder / TOKENIZER).get("normalizer")
    if isinstance(normalizer, dict) and isinstance(normalizer.get("lowercase"), bool):
        return normalizer["lowercase"], TOKENIZER
    # Special pieces such as [CLS] are upper case in every vocabulary.
    ordinary = [piece for piece in pieces if not piece.startswith(("[", "<"))]
    has_upper = any(letter.isupper() for piece in ordinary for letter in piece)
    return not has_upper, "by its pieces"


def _fairseq_rows(tokenizer: Tokenizer, pieces: Sequence[str], vocab_size: int, path: Path) -> list[int]:
    """Return XLM-R's row for each of our ids."""
    vocab = tokenizer.vocab
    count = len(pieces)
    if pieces[:3] != ["<unk>", "<s>", "</s>"] or vocab_size != count + 2:
        raise MasscliError(
            f"{path}: {count} pieces do not fit a model with {vocab_size} rows",
            "expected XLM-R's, which has two fewer pieces than rows",
        )
    # <unk>, <s> and </s> come first in the SentencePiece model; other pieces have one id more in fairseq.
    rows = [3, 0, 2, *range(4, count + 1)] + [NEW_ROW] * (vocab.size - count)
    rows[vocab.pad] = 1
    rows[vocab.mask] = count + 1
    rows[vocab.cls] = 0
    rows[vocab.sep] = 2
    return rows
