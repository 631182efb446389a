"""Read and write `tokenizer.json`: special ids, languages, and how text is preprocessed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from masscli.core.config import ConfigError, config, from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.core.json_text import parse_json
from masscli.text.corpus import read_regular_text
from masscli.text.preprocessing import PublishedRules, TextPreprocessing
from masscli.text.subword_model import SubwordModel
from masscli.text.vocabulary import IdRanges, Vocabulary

FORMAT = 1
TOKENIZER_FILE = "tokenizer.json"
MODEL_FILE = "vocab.model"
SPARE_IDS = 8
"""Number of ids reserved for objectives that need an additional symbol."""
SPECIAL_PIECES = {
    "pad": "<pad>",
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "mask": "<mask>",
    "cls": "<cls>",
    "sep": "<sep>",
}
"""The name of the special piece for each role, where roles are fields of Vocabulary."""


def language_piece(language: str) -> str:
    """Return the name of the special piece that stands for a language, such as `<lang:en>`."""
    return f"<lang:{language}>"


def spare_piece(number: int) -> str:
    """Return the name of a spare special piece, such as `<spare0>`, which an objective may use."""
    return f"<spare{number}>"


SPARE_PIECES = tuple(map(spare_piece, range(SPARE_IDS)))
RESERVED_PIECES = ("<mask>", "<cls>", "<sep>")
"""Special pieces that must be requested when SentencePiece trains a model, since it has none for these
roles."""


@config
class TokenizerCard:
    """The contents of `tokenizer.json`.

    `kind` is a constant of masscli.text.model_kinds. `size` is the number of ids; `pieces`, the number of ids
    of the subword model itself, may be smaller, since special pieces that the model lacks can get ids after
    its last one. `pad` to `spare` are special ids. `languages` and `language_ids` are the names of the
    languages and the ids of their special pieces, in the same order. `normalize` to `published` are the
    fields of TextPreprocessing. `model_sha256` is the checksum of `vocab.model`, and `fingerprint` that of
    the other fields. The fields after it are those of Vocabulary and of its IdRanges.
    """

    format: int
    kind: str
    size: int
    pieces: int
    pad: int
    bos: int
    eos: int
    unk: int
    mask: int
    cls: int
    sep: int
    spare: tuple[int, ...]
    languages: tuple[str, ...]
    language_ids: tuple[int, ...]
    normalize: bool
    moses: bool
    lowercase: bool
    romanian: str | None = None
    published: PublishedRules | None = None
    model_sha256: str
    fingerprint: str
    decoder_start: int | None = None
    forced_prefix: tuple[int, ...] | None = None
    prompt_start: bool | None = None
    """None means true."""
    source_ids: tuple[int, ...] | None = None
    """The ids that the encoder has embeddings for: the first one, and the last one plus one. None means all
    ids."""
    target_ids: tuple[int, ...] | None = None
    """The ids that the decoder has embeddings for, given like `source_ids`."""
    predicted_ids: tuple[int, ...] | None = None
    """The ids that the output layer has logits for, given like `source_ids`."""

    @property
    def preprocessing(self) -> TextPreprocessing:
        """The preprocessing of text that the card describes."""
        return TextPreprocessing(
            self.normalize, self.moses, self.lowercase, self.romanian, self.published
        )

    def vocabulary(self) -> Vocabulary:
        """Return the Vocabulary that models see: number of ids, special ids and languages, but no pieces."""
        return Vocabulary(
            size=self.size,
            pad=self.pad,
            bos=self.bos,
            eos=self.eos,
            unk=self.unk,
            mask=self.mask,
            cls=self.cls,
            sep=self.sep,
            spare=self.spare,
            languages=dict(zip(self.languages, self.language_ids, strict=True)),
            fingerprint=self.fingerprint,
            decoder_start=self.decoder_start,
            forced_prefix=self.forced_prefix or (),
            prompt_start=self.prompt_start is not False,
            id_ranges=self._id_ranges(),
        )

    def _id_ranges(self) -> IdRanges:
        """Return the ranges of ids that encoder, decoder and output layer know; None stands for all ids."""
        everything = (0, self.size)
        return IdRanges(
            range(*(self.source_ids or everything)),
            range(*(self.target_ids or everything)),
            range(*(self.predicted_ids or everything)),
        )

    def find_damage(self) -> str | None:
        """Return a contradiction in the card, as a part of an error message, or None if there is none."""
        if len(self.languages) != len(self.language_ids):
            return f"it has {len(self.languages)} languages, but {len(self.language_ids)} of their ids"
        if self.pieces > self.size:
            return f"it has {self.pieces} pieces, but only {self.size} ids"
        special_ids = [
            self.pad,
            self.bos,
            self.eos,
            self.unk,
            self.mask,
            self.cls,
            self.sep,
        ]
        if self.decoder_start is not None:
            special_ids.append(self.decoder_start)
        special_ids += self.forced_prefix or ()
        for id_range in filter(
            None, (self.source_ids, self.target_ids, self.predicted_ids)
        ):
            if len(id_range) != 2 or not 0 <= id_range[0] < id_range[1] <= self.size:
                return f"{list(id_range)} is not a range of ids from 0 to {self.size}"
        for special_id in (*special_ids, *self.spare, *self.language_ids):
            if not 0 <= special_id < self.size:
                return f"id {special_id} is not from 0 to {self.size - 1}"
        return None

    def changed(self, **fields: Any) -> TokenizerCard:
        """Return a copy with other values for the given fields and a recomputed fingerprint."""
        card = replace(self, **fields)
        return replace(card, fingerprint=card.compute_fingerprint())

    def compute_fingerprint(self) -> str:
        """Return the sha256, in hexadecimal, of all fields but `fingerprint`.

        The pieces count by `model_sha256`. Languages are sorted by their ids, so that the order in which the
        user named them (`--langs de,en`) does not count.
        """
        # Options that are None are absent, so a new option does not change the fingerprints of vocabularies
        # without it.
        content = to_dict(self)
        del content["fingerprint"]
        ids_and_names = sorted(zip(self.language_ids, self.languages, strict=True))
        content["language_ids"] = [language_id for language_id, _ in ids_and_names]
        content["languages"] = [name for _, name in ids_and_names]
        # Canonical form: sorted keys, no blanks.
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> str:
        """Return the text of `tokenizer.json`, with a line end after it."""
        return json.dumps(to_dict(self), indent=1, ensure_ascii=False) + "\n"


def make_card(
    model: SubwordModel,
    data: bytes,
    kind: str,
    preprocessing: TextPreprocessing,
    languages: Sequence[str],
) -> TokenizerCard:
    """Return the card of a subword model, for which an id of every special piece is found or added.

    A special piece that the model lacks gets the model's next free id, or if there is none a new id after its
    last one. `data` is the bytes of the model, whose checksum the card records.
    """
    known_ids = model.special_ids
    # A copy, from which ids are taken one by one.
    free_ids = list(model.free_ids)
    size = len(model)

    def id_of(piece: str) -> int:
        nonlocal size
        if piece in known_ids:
            return known_ids[piece]
        if free_ids:
            return free_ids.pop(0)
        size += 1
        return size - 1

    # The order of these calls decides which piece gets which new id.
    roles: dict[str, Any] = {
        role: id_of(piece) for role, piece in SPECIAL_PIECES.items()
    }
    language_ids = tuple(id_of(language_piece(language)) for language in languages)
    spare = tuple(map(id_of, SPARE_PIECES))
    card = TokenizerCard(
        format=FORMAT,
        kind=kind,
        size=size,
        pieces=len(model),
        **roles,
        spare=spare,
        languages=tuple(languages),
        language_ids=language_ids,
        normalize=preprocessing.normalize,
        moses=preprocessing.moses,
        lowercase=preprocessing.lowercase,
        romanian=preprocessing.romanian,
        published=preprocessing.published,
        model_sha256=hashlib.sha256(data).hexdigest(),
        fingerprint="",
    )
    return card.changed()


def read_card(folder: Path) -> TokenizerCard:
    """Read `tokenizer.json` in a data folder or a checkpoint.

    Raises MasscliError if it is missing, damaged, of another format, or was changed after it was written.
    """
    path = folder / TOKENIZER_FILE
    try:
        card = from_dict(TokenizerCard, parse_json(read_regular_text(path)))
    except (FileNotFoundError, NotADirectoryError):
        raise MasscliError(
            f"{path}: no such file", "expected a data folder or a checkpoint"
        ) from None
    except (ValueError, ConfigError) as error:
        raise MasscliError(
            f"{path}: is damaged ({str(error).splitlines()[0]})"
        ) from None
    if card.format != FORMAT:
        raise MasscliError(
            f"{path}: has format {card.format}, this masscli reads {FORMAT}",
            "use the masscli that wrote it",
        )
    damage = card.find_damage()
    if damage is not None:
        raise MasscliError(f"{path}: is damaged ({damage})")
    if card.fingerprint != card.compute_fingerprint():
        raise MasscliError(
            f"{path}: does not match its fingerprint",
            "it was changed after it was written",
        )
    return card
