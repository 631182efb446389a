"""Text to ids and back: Moses and lower-casing if asked for, then a joint SentencePiece BPE (or WordPiece, or BPE codes).

On disk it is two files, `vocab.model` (SentencePiece's own format) and `tokenizer.json` (special ids by role, languages by name, settings,
fingerprint); both travel unchanged from a data folder into checkpoints.  Special symbols are control symbols, or ids beyond the end of
a model that has none: no text can be encoded into one.  BOS, EOS and language tags are the business of objectives.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import numpy as np
import sentencepiece
from numpy.typing import NDArray

from masscli.core.config import ConfigError, config, from_dict, to_dict
from masscli.core.errors import MasscliError
from masscli.data.prepare.config import PreprocessConfig
from masscli.text import bpe_codes
from masscli.text.bpe_codes import BPE_CONTINUATION, BpeCodes
from masscli.text.cached_sentencepiece import Words
from masscli.text.moses import TextPreprocessing
from masscli.text.vocabulary import Vocabulary
from masscli.text.wordpiece import WordPieceModel, is_wordpiece

FORMAT = 1
MODEL_FILE, TOKENIZER_FILE = "vocab.model", "tokenizer.json"
TRAINED_BPE, SENTENCEPIECE, WORDPIECE, BPE_CODES = (
    "sentencepiece-bpe",
    "sentencepiece",
    "wordpiece",
    "bpe-codes",
)
"""Kinds of model: one of our own making, somebody's (of which nothing is taken for granted), BERT's vocab.txt, or codes of subword-nmt."""
WORD_START, WORDPIECE_CONTINUATION = "\u2581", "##"
"""SentencePiece's mark of a word's first piece, WordPiece's of all the others (BPE codes mark all but the last)."""
SPARE_IDS = 8
"""Ids kept free for objectives that need a symbol of their own."""
_TRAINING_THREADS = 2


@config
class TokenizerCard:
    """`tokenizer.json`."""

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
    model_sha256: str
    fingerprint: str

    def vocabulary(self) -> Vocabulary:
        """The part that models see."""
        return Vocabulary(
            size=self.size, pad=self.pad, bos=self.bos, eos=self.eos, unk=self.unk, mask=self.mask, cls=self.cls, sep=self.sep,
            spare=self.spare, languages=dict(zip(self.languages, self.language_ids, strict=True)), fingerprint=self.fingerprint,
        )  # fmt: skip


class Tokenizer:
    """One SentencePiece model (or what else there is), the ids of its special symbols, and what is done to text before it."""

    def __init__(self, model: bytes, card: TokenizerCard) -> None:
        self.vocab: Vocabulary = card.vocabulary()
        self.preprocessing = TextPreprocessing(card.normalize, card.moses, card.lowercase, card.romanian)
        self._model, self._card = model, card
        self._pieces = _reader(model, card.kind, card.lowercase)
        self._words = Words(self._pieces, split=card.kind != SENTENCEPIECE)

    @classmethod
    def train(
        cls, lines: Iterator[str], *, config: PreprocessConfig, languages: Sequence[str], folder: Path
    ) -> Tokenizer:
        """Learn a BPE from lines that have been through `Surface.apply`, into `folder`.  The same lines, the same bytes."""
        controls = [
            "<mask>",
            "<cls>",
            "<sep>",
            *map(language_piece, languages),
            *map(spare_piece, range(SPARE_IDS)),
        ]
        written = BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=lines, model_writer=written, model_type="bpe", vocab_size=config.vocab_size,
                character_coverage=config.character_coverage, normalization_rule_name="nmt_nfkc", byte_fallback=False,
                pad_id=0, bos_id=1, eos_id=2, unk_id=3, control_symbols=controls, shuffle_input_sentence=False,
                max_sentence_length=1 << 30, num_threads=_TRAINING_THREADS, minloglevel=2,
            )  # fmt: skip
        except RuntimeError as error:
            raise _explain(error, config.vocab_size) or error from None
        return cls._create(written.getvalue(), TRAINED_BPE, config, languages, folder)

    @classmethod
    def from_model_file(
        cls, model: Path, *, config: PreprocessConfig, languages: Sequence[str], folder: Path
    ) -> Tokenizer:
        """Take a SentencePiece model as it is; special symbols that it lacks get the ids after its own.

        One that `train` has made is what it was: with the same languages and text options it gives the same vocabulary, so that weights
        trained with the one fit the other.  Where a data folder, a checkpoint or a run is named, its languages and text options are meant.
        """
        given, model = model, find_model_file(model)
        if given != model and (model.parent / TOKENIZER_FILE).is_file():
            known = cls.load(model.parent)
            if unknown := [name for name in languages if name not in known._card.languages]:
                has = ", ".join(known._card.languages)
                raise MasscliError(
                    f"--spm-model {given}: its vocabulary has no language {unknown[0]!r}", f"it has {has}"
                )
            wanted = {
                "normalize": config.normalize,
                "moses": config.moses,
                "lowercase": config.lowercase,
                "romanian": config.romanian,
            }
            had = to_dict(known._card)
            if other := [name for name, value in wanted.items() if value and value != had.get(name)]:
                raise MasscliError(f"--{other[0]}: the text of --spm-model {given} was prepared in another way, which holds here, too",
                                   f"leave it out, or take the vocabulary alone: --spm-model {model}")  # fmt: skip
            known.save(folder)
            return known
        try:
            data = model.read_bytes()
        except OSError as error:
            raise MasscliError(f"--spm-model {model}: {error.strerror}") from None
        try:
            return cls._create(data, _kind(data), config, languages, folder)
        except _BadModelError:
            raise MasscliError(f"--spm-model {model}: {_NO_MODEL}", _EXPECTED) from None
        except MasscliError as error:
            raise MasscliError(
                error.message.replace("--spm-model:", f"--spm-model {model}:"), error.hint
            ) from None

    @classmethod
    def from_bytes(
        cls, path: Path, data: bytes, surface: TextPreprocessing, languages: Sequence[str]
    ) -> Tokenizer:
        """The same of the bytes of a model alone, and writes nothing; `path` is named in complaints."""
        try:
            return cls(data, _describe(data, _kind(data), surface, languages))
        except _BadModelError:
            raise MasscliError(f"{path}: {_NO_MODEL}", _EXPECTED) from None
        except MasscliError as error:
            raise MasscliError(error.message.replace("--spm-model", str(path)), error.hint) from None

    @classmethod
    def from_bpe_codes(
        cls, codes: Path, vocab: Path, *, config: PreprocessConfig, languages: Sequence[str], folder: Path
    ) -> Tokenizer:
        """Take the two files of subword-nmt or fastBPE."""
        return cls._create(bpe_codes.read_bpe_files(codes, vocab), BPE_CODES, config, languages, folder)

    @staticmethod
    def languages_of(model: Path) -> tuple[str, ...]:
        """The languages of the vocabulary in a data folder or a run, none when a mere model is named."""
        found = find_model_file(model)
        return (
            read_card(found.parent).languages
            if found != model and (found.parent / TOKENIZER_FILE).is_file()
            else ()
        )

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """From a data folder or a checkpoint."""
        card = read_card(folder)
        try:
            model = (folder / MODEL_FILE).read_bytes()
        except FileNotFoundError:
            raise MasscliError(f"{folder / MODEL_FILE}: no such file", "the folder is incomplete") from None
        if hashlib.sha256(model).hexdigest() != card.model_sha256:
            raise MasscliError(
                f"{folder / MODEL_FILE}: is not the model that {TOKENIZER_FILE} describes",
                "one of the two was replaced or damaged",
            )
        return cls(model, card)

    def save(self, folder: Path) -> None:
        """Write both files; the bytes are the same wherever they are written."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_bytes(self._model)
        (folder / TOKENIZER_FILE).write_text(
            json.dumps(to_dict(self._card), indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )

    def encode(self, line: str, language: str) -> list[int]:
        """Ids of a line, without BOS and EOS."""
        return self.encode_lines([line], language)[0]

    def encode_lines(self, lines: Sequence[str], language: str) -> list[list[int]]:
        """Ids of many lines."""
        ids, lengths = self.encode_flat(lines, language)
        ends, flat = np.cumsum(lengths).tolist(), ids.tolist()
        return [flat[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]

    def encode_flat(self, lines: Sequence[str], language: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Ids of many lines as arrays: all of them, one line after another, and how many there are of each line."""
        return self._words.encode(self.preprocessing.apply(lines, language))

    def decode(self, ids: Sequence[int], language: str) -> str:
        """Text of some ids.  Special symbols leave no trace, but an unknown piece does (U+2047): nothing is lost unseen."""
        silent = self.vocab.special_ids - {self.vocab.unk}
        text: str = self._pieces.decode([int(i) for i in ids if int(i) not in silent])
        return self.preprocessing.undo(text, language)

    def ids_to_pieces(self, ids: Sequence[int]) -> list[str]:
        """Pieces as SentencePiece writes them, for people to look at; a symbol that the model has no piece for as `<id>`."""
        size = len(self._pieces)
        known: list[str] = self._pieces.id_to_piece([min(int(i), size - 1) for i in ids])
        return [piece if i < size else f"<{int(i)}>" for i, piece in zip(ids, known, strict=True)]

    @property
    def model_kind(self) -> str:
        """What kind of model it is."""
        return self._card.kind

    @property
    def model_bytes(self) -> bytes:
        """The model as it stands in `vocab.model`."""
        return self._model

    def all_pieces(self) -> list[str]:
        """Every piece of the model, in the order of ids."""
        return self.ids_to_pieces(range(len(self._pieces)))

    @property
    def subword_marker(self) -> str:
        """What tells pieces within a word: `WORD` before the first, `REST` before the others, or `GOES_ON` behind all but the last."""
        return {WORDPIECE: WORDPIECE_CONTINUATION, BPE_CODES: BPE_CONTINUATION}.get(
            self._card.kind, WORD_START
        )

    def piece_texts(self, ids: Sequence[int]) -> list[str]:
        """The text of each piece, without the mark of a word's start (of its continuation, in a WordPiece vocabulary)."""
        if self.subword_marker == WORD_START:
            return [piece.replace(WORD_START, "") for piece in self.ids_to_pieces(ids)]
        return [
            piece.removeprefix(WORDPIECE_CONTINUATION)
            if self.subword_marker == WORDPIECE_CONTINUATION
            else piece.removesuffix(BPE_CONTINUATION)
            for piece in self.ids_to_pieces(ids)
        ]

    @classmethod
    def _create(
        cls, model: bytes, kind: str, config: PreprocessConfig, languages: Sequence[str], folder: Path
    ) -> Tokenizer:
        card = _describe(
            model,
            kind,
            TextPreprocessing(config.normalize, config.moses, config.lowercase, config.romanian),
            languages,
        )
        made = cls(model, card)
        made.save(folder)
        return made


def find_model_file(path: Path) -> Path:
    """The model file of a data folder, a checkpoint or a run; a file is itself."""
    places = (
        path / MODEL_FILE,
        path / "checkpoints" / "best" / MODEL_FILE,
        path / "checkpoints" / "last" / MODEL_FILE,
    )
    return next((place for place in places if place.is_file()), path)


def language_piece(language: str) -> str:
    """The piece that stands for a language."""
    return f"<lang:{language}>"


def spare_piece(number: int) -> str:
    """The piece of a reserved id."""
    return f"<spare{number}>"


def read_card(folder: Path) -> TokenizerCard:
    """`tokenizer.json` of a folder, checked."""
    path = folder / TOKENIZER_FILE
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        card = from_dict(TokenizerCard, raw)
    except FileNotFoundError:
        raise MasscliError(f"{path}: no such file", "expected a data folder or a checkpoint") from None
    except (ValueError, ConfigError) as error:
        raise MasscliError(f"{path}: is damaged ({error})") from None
    if card.format != FORMAT:
        raise MasscliError(
            f"{path}: has format {card.format}, this masscli reads {FORMAT}", "use the masscli that wrote it"
        )
    if card.fingerprint != _fingerprint(to_dict(card)):
        raise MasscliError(f"{path}: does not match its fingerprint", "it was changed after it was written")
    return card


_ROLES = {
    "pad": "<pad>",
    "bos": "<s>",
    "eos": "</s>",
    "unk": "<unk>",
    "mask": "<mask>",
    "cls": "<cls>",
    "sep": "<sep>",
}


_NO_MODEL, _EXPECTED = "is not a SentencePiece model", "expected what spm_train wrote, or BERT's vocab.txt"
_OLDER = {"<mask>": "[MASK]", "<cls>": "[CLS]", "<sep>": "[SEP]", "<s>": "[CLS]", "</s>": "[SEP]"}
"""What ALBERT's SentencePiece model calls them: as in a WordPiece vocabulary, its frame is also the start and the end symbol."""


class _BadModelError(Exception):
    """Bytes that SentencePiece does not read."""


def _processor(model: bytes) -> Any:
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=model)
    except RuntimeError:
        raise _BadModelError from None


def _reader(model: bytes, kind: str, lowercase: bool) -> Any:
    """What turns text into ids and back."""
    if kind == BPE_CODES:
        return BpeCodes(model)
    return WordPieceModel(model, accents=not lowercase) if kind == WORDPIECE else _processor(model)


def _kind(model: bytes) -> str:
    if bpe_codes.is_bpe_codes(model):
        return BPE_CODES
    return WORDPIECE if is_wordpiece(model) else TRAINED_BPE if _ours(model) else SENTENCEPIECE


def _ours(model: bytes) -> bool:
    """Whether `Tokenizer.train` has made a model: nobody else reserves these symbols."""
    pieces = _processor(model)
    return all(
        pieces.is_control(pieces.piece_to_id(name))
        for name in ("<mask>", *map(spare_piece, range(SPARE_IDS)))
    )


def _describe(model: bytes, kind: str, surface: TextPreprocessing, languages: Sequence[str]) -> TokenizerCard:
    """Find, or make up, the id of every special symbol."""
    own: dict[str, int] = {}
    free: Iterator[int] = iter(())
    pieces = _reader(model, kind, surface.lowercase)
    if isinstance(pieces, (WordPieceModel, BpeCodes)):
        control, free = pieces.special, iter(pieces.free)
    else:
        control = {pieces.id_to_piece(i): i for i in range(len(pieces)) if pieces.is_control(i)}
        control = {name: control[older] for name, older in _OLDER.items() if older in control} | control
        own = {"pad": pieces.pad_id(), "bos": pieces.bos_id(), "eos": pieces.eos_id(), "unk": pieces.unk_id()}
    size = len(pieces)

    def at(name: str, known: int = -1) -> int:
        nonlocal size
        if known < 0:
            known = control.get(name, -1)
        if known < 0:
            known = next(free, -1)
        if known < 0:
            known, size = size, size + 1
        return known

    roles = {role: at(name, own.get(role, -1)) for role, name in _ROLES.items()}
    language_ids = [at(language_piece(language)) for language in languages]
    spares = [at(spare_piece(n)) for n in range(SPARE_IDS)]
    raw = {
        "format": FORMAT, "kind": kind, "size": size, "pieces": len(pieces), **roles, "spare": spares,
        "languages": list(languages), "language_ids": language_ids,
        "normalize": surface.normalize, "moses": surface.moses, "lowercase": surface.lowercase,
        **({"romanian": surface.romanian} if surface.romanian else {}), "model_sha256": hashlib.sha256(model).hexdigest(),
    }  # fmt: skip
    return from_dict(TokenizerCard, raw | {"fingerprint": _fingerprint(raw)})


def _fingerprint(raw: dict[str, object]) -> str:
    """sha256 of the card without itself, in canonical JSON; the digest of the model in it stands for the pieces.

    Languages count in the order of their ids: which of them was named first (`--langs de,en`) makes no other vocabulary.
    """
    body = {k: v for k, v in raw.items() if k != "fingerprint"}
    ids, languages = (cast(Sequence[Any], body[key]) for key in ("language_ids", "languages"))
    order = sorted(range(len(ids)), key=lambda n: ids[n])
    body |= {"language_ids": [ids[n] for n in order], "languages": [languages[n] for n in order]}
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _explain(error: RuntimeError, size: int) -> MasscliError | None:
    """SentencePiece's complaints that a user can do something about."""
    text = str(error)
    if high := re.search(r"Vocabulary size too high .*<= (\d+)", text):
        return MasscliError(
            f"--vocab-size {size} is too large for this text", f"the largest possible is {high[1]}"
        )
    if low := re.search(r"smaller than required_chars. \d+ vs (\d+)", text):
        hint = f"give at least {low[1]}, or a lower --character-coverage such as 0.9995"
        return MasscliError(
            f"--vocab-size {size} is too small: each character and special symbol needs a piece", hint
        )
    if "!sentences_.empty()" in text:
        return MasscliError("there is no text to train a vocabulary on")
    return None
