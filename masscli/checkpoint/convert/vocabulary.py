"""The vocabulary of a published model, and which row of its table belongs to which of our ids.

Read are BERT's `vocab.txt` (or the WordPiece in `tokenizer.json`), SentencePiece models, and the merges of GPT (see merges.py).  XLM-R's
ids are fairseq's, not those of its SentencePiece model: `<s>`, `<pad>`, `</s>`, `<unk>`, then the pieces, then `<mask>`; its rows are put
in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert import gpt_bpe
from masscli.checkpoint.convert.families import ALBERT, XLMR, Family
from masscli.checkpoint.convert.folder import read_json
from masscli.checkpoint.convert.tensors import NEW
from masscli.core.errors import MasscliError
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.wordpiece import is_wordpiece

VOCAB, CARD, SETTINGS = "vocab.txt", "tokenizer.json", "tokenizer_config.json"
SENTENCEPIECE = ("spiece.model", "sentencepiece.bpe.model", "spm.model", "tokenizer.model")
_READABLE = f"can be read: {VOCAB} of BERT, WordPiece in {CARD}, {SENTENCEPIECE[0]} of SentencePiece, and GPT's own two files"


@dataclass(frozen=True)
class Found:
    """A tokenizer, the row of their table for each of its ids, and what a user should know of both."""

    tokenizer: Tokenizer
    rows: list[int]
    remarks: list[str]


def read_vocabulary(folder: Path, family: Family, size: int, languages: Sequence[str]) -> Found:
    """What a folder has; `size` is that of its table.  Raises MasscliError when there is nothing that can be read."""
    if gpt_bpe.looks_like(folder):
        return _of_merges(folder, size, languages)
    path, model = _model(folder)
    settings = read_json(folder / SETTINGS) if (folder / SETTINGS).exists() else {}
    wordpiece = is_wordpiece(model)
    pieces = Tokenizer.from_bytes(path, model, TextPreprocessing(), ()).all_pieces()
    lowercase, how = _lowercase(folder, settings, pieces)
    tokenizer = Tokenizer.from_bytes(path, model, TextPreprocessing(lowercase=lowercase), languages)
    remarks = [
        f"vocabulary {path}: {len(pieces):,} pieces, {'lower-cased' if lowercase else 'cased'} ({how})"
    ]
    if family is XLMR:
        rows = _fairseq(tokenizer, pieces, size, path)
    else:
        if len(pieces) > size:
            raise MasscliError(
                f"{path}: has {len(pieces)} pieces, and the model a table of {size}",
                "they are not of one model",
            )
        rows = [i if i < size else NEW for i in range(tokenizer.vocab.size)]
    if new := rows.count(NEW):
        remarks.append(f"{new} ids are new, drawn at random: symbols and languages that the vocabulary lacks")
    if size > len(rows):
        remarks.append(f"rows {len(rows)} to {size - 1} of the table are left out: no piece has them")
    differing = {"strip_accents": (None, lowercase), "tokenize_chinese_chars": (True,)} if wordpiece else {}
    remarks += [f"{SETTINGS}: {key} is {settings[key]}; here it is {allowed[-1]}" for key, allowed in differing.items()
                if settings.get(key, allowed[0]) not in allowed]  # fmt: skip
    if family is ALBERT and not wordpiece and not settings.get("keep_accents", False):
        remarks.append("accents are kept; Hugging Face's tokenizer of ALBERT takes them off")
    return Found(tokenizer, rows, remarks)


def _model(folder: Path) -> tuple[Path, bytes]:
    """The bytes of the vocabulary, and the file that they are from."""
    for name in (VOCAB, *SENTENCEPIECE):
        if (folder / name).exists():
            return folder / name, (folder / name).read_bytes()
    found = read_json(folder / CARD).get("model") if (folder / CARD).exists() else None
    model: dict[str, Any] = found if isinstance(found, dict) else {}
    if model.get("type") == "WordPiece":
        ids = model.get("vocab")
        if not isinstance(ids, dict) or not all(type(number) is int for number in ids.values()):
            raise MasscliError(
                f"{folder / CARD}: its WordPiece has no vocab from pieces to ids", f"give {VOCAB}"
            )
        if sorted(ids.values()) != list(range(len(ids))):
            raise MasscliError(f"{folder / CARD}: the ids of its vocabulary have gaps", f"give {VOCAB}")
        return folder / CARD, "".join(
            f"{piece}\n" for piece in sorted(ids, key=lambda piece: ids[piece])
        ).encode()
    if model.get("type") == "BPE" or (folder / "merges.txt").exists():
        raise MasscliError(
            f"{folder}: its vocabulary is a BPE of bytes, as of RoBERTa and GPT-2, which is not read",
            _READABLE,
        )
    if model:
        raise MasscliError(
            f"{folder / CARD}: {model.get('type')} is read from SentencePiece's own file alone",
            f"add {SENTENCEPIECE[0]}",
        )
    raise MasscliError(f"{folder}: has no vocabulary", _READABLE)


def _of_merges(folder: Path, size: int, languages: Sequence[str]) -> Found:
    """GPT's.  Its text went through spaCy, which nothing here does; Moses cuts words in nearly the same places."""
    model, rows, lost = gpt_bpe.read(folder)
    if (last := max(rows)) >= size:
        raise MasscliError(
            f"{folder / gpt_bpe.PIECES}: has the id {last}, and the model a table of {size}",
            "they are not of one model",
        )
    tokenizer = Tokenizer.from_bytes(
        folder / gpt_bpe.MERGES, model, TextPreprocessing(moses=True, lowercase=True), languages
    )
    rows += [NEW] * (tokenizer.vocab.size - len(rows))
    remarks = [f"vocabulary {folder / gpt_bpe.PIECES}: {len(rows) - rows.count(NEW):,} pieces, lower-cased, of words as Moses cuts them",
               f"{rows.count(NEW)} ids are new, drawn at random: symbols and languages that the vocabulary lacks"]  # fmt: skip
    return Found(
        tokenizer,
        rows,
        remarks
        + ([f"rows left out, of pieces that no text has: {', '.join(map(repr, lost))}"] if lost else []),
    )


def _lowercase(folder: Path, settings: dict[str, Any], pieces: Sequence[str]) -> tuple[bool, str]:
    """Whether text is lower-cased, and how that is known."""
    if isinstance(settings.get("do_lower_case"), bool):
        return settings["do_lower_case"], SETTINGS
    normalizer = read_json(folder / CARD).get("normalizer") if (folder / CARD).exists() else None
    if isinstance(normalizer, dict) and isinstance(normalizer.get("lowercase"), bool):
        return normalizer["lowercase"], CARD
    return not any(
        c.isupper() for piece in pieces if piece[:1] not in ("[", "<") for c in piece
    ), "by its pieces"


def _fairseq(tokenizer: Tokenizer, pieces: Sequence[str], size: int, path: Path) -> list[int]:
    """XLM-R's rows in the order of our ids."""
    count, vocab = len(pieces), tokenizer.vocab
    if pieces[:3] != ["<unk>", "<s>", "</s>"] or size != count + 2:
        raise MasscliError(
            f"{path}: {count} pieces do not fit a table of {size}",
            "expected those of XLM-R: two fewer than rows",
        )
    rows = [3, 0, 2, *range(4, count + 1)] + [NEW] * (vocab.size - count)
    for our_id, row in ((vocab.pad, 1), (vocab.mask, count + 1), (vocab.cls, 0), (vocab.sep, 2)):
        rows[our_id] = row
    return rows
