"""Text to token ids and back: preparation of the text, then a subword model that all languages share.

On disk a tokenizer is two files: `vocab.model`, the subword model in its own format, and `tokenizer.json`,
which says which ids are special and how text is prepared. Both are copied unchanged from a data folder into
checkpoints. Text is never encoded into a special id. The objectives add start, end and language tokens; the
tokenizer does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.core.files import read_regular
from masscli.text.bpe_codes import read_bpe_files
from masscli.text.bpe_dropout import BpeDropout
from masscli.text.byte_level_bpe import piece_text
from masscli.text.fast_tokenizer import FastTokenizerModel
from masscli.text.markers import (
    BPE_CONTINUATION,
    BYTE_LEVEL_SPACE,
    SENTENCEPIECE_SPACE,
    WORDPIECE_CONTINUATION,
    remove_marker,
)
from masscli.text.model_kinds import (
    BPE_CODES,
    BYTE_LEVEL_BPE,
    DICTIONARY,
    GPT_BPE,
    TRAINED_BPE,
    WORDPIECE,
    detect_kind,
    open_model,
)
from masscli.text.moses import detokenize_wordpiece
from masscli.text.numbered_sentencepiece import NumberedSentencePieceModel
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.sentencepiece_model import SentencePieceModel, train_sentencepiece
from masscli.text.subword_model import BadModelError, SubwordModel
from masscli.text.tokenizer_card import (
    RESERVED_PIECES,
    SPARE_PIECES,
    TOKENIZER_FILE,
    TokenizerCard,
    language_piece,
    make_card,
    read_card,
)
from masscli.text.two_vocabularies import TwoVocabularies
from masscli.text.unigram_sampling import UnigramSampling
from masscli.text.vocabulary import Vocabulary
from masscli.text.word_cache import WordCache

MODEL_FILE = "vocab.model"
_KINDS_OF_WORDS = (TRAINED_BPE, WORDPIECE, BPE_CODES, GPT_BPE)
"""Kinds whose pieces never contain a space, so that lines can be encoded word by word.

Nothing is known about the pieces of somebody else's SentencePiece model, and byte-level BPE joins the space
to the word after it.
"""


class Tokenizer:
    """A subword model, the ids of its special pieces, and the preparation of text before it."""

    def __init__(self, data: bytes, card: TokenizerCard) -> None:
        """Open a subword model from its bytes; `card` holds the contents of `tokenizer.json`.

        Raises BadModelError if the bytes are damaged or not those of the card's model.
        """
        self.vocab: Vocabulary = card.vocabulary()
        self.preprocessing = card.preprocessing
        self._data = data
        self._card = card
        self._model = open_model(data, card.kind, card.preprocessing)
        if len(self._model) != card.pieces:
            raise BadModelError(
                f"has {len(self._model)} pieces, but {TOKENIZER_FILE} is of a model with {card.pieces}",
                "one of the two was replaced or damaged",
            )
        self._words = WordCache(self._model, by_words=card.kind in _KINDS_OF_WORDS)
        # Where source and target are cut by models of their own, each language has one of them.
        self._language_models: dict[str, SubwordModel] = {}
        self._language_words: dict[str, WordCache] = {}
        if isinstance(self._model, (TwoVocabularies, NumberedSentencePieceModel)):
            for language, side in self._model.sides.items():
                self._language_models[language] = side
                self._language_words[language] = WordCache(side, by_words=False)

    @classmethod
    def train(
        cls,
        lines: Iterator[str],
        *,
        vocab_size: int,
        character_coverage: float = 1.0,
        preprocessing: TextPreprocessing,
        languages: Sequence[str],
        folder: Path,
    ) -> Tokenizer:
        """Learn a BPE from lines that `preprocessing` was applied to before, and save it into `folder`."""
        # Control pieces get ids, but no text is ever encoded into them.
        control_pieces = [*RESERVED_PIECES, *map(language_piece, languages), *SPARE_PIECES]
        data = train_sentencepiece(lines, vocab_size, character_coverage, control_pieces)
        return cls._create(data, TRAINED_BPE, preprocessing, languages, folder)

    @classmethod
    def from_model_file(
        cls, path: Path, *, preprocessing: TextPreprocessing, languages: Sequence[str], folder: Path
    ) -> Tokenizer:
        """Use an existing subword model, and save it into `folder`.

        Special pieces that it lacks get ids of their own. If `path` is a data folder, a checkpoint or a run,
        its whole vocabulary is used, with its languages and its preparation of text, so that weights trained
        with the one fit the other.
        """
        model_file = find_model_file(path)
        # A folder with a vocabulary of masscli's own, not a mere model file.
        if model_file != path and (model_file.parent / TOKENIZER_FILE).is_file():
            tokenizer = cls.load(model_file.parent)
            _check_compatible(tokenizer._card, preprocessing, languages, path, model_file)
            tokenizer.save(folder)
            return tokenizer
        try:
            data = model_file.read_bytes()
        except OSError as error:
            raise MasscliError(f"--spm-model {model_file}: {error.strerror}") from None
        try:
            return cls._create(data, detect_kind(data), preprocessing, languages, folder)
        except BadModelError as error:
            raise MasscliError(f"--spm-model {model_file}: {error.message}", error.hint) from None

    @classmethod
    def from_bpe_codes(
        cls,
        codes: Path,
        vocab: Path,
        *,
        min_count: int = 0,
        preprocessing: TextPreprocessing,
        languages: Sequence[str],
        folder: Path,
    ) -> Tokenizer:
        """Use the two files of subword-nmt or fastBPE, and save them into `folder`.

        Pieces with a lower count than `min_count` are left out.
        """
        data = read_bpe_files(codes, vocab, min_count)
        return cls._create(data, BPE_CODES, preprocessing, languages, folder)

    @classmethod
    def from_bytes(
        cls, path: Path, data: bytes, preprocessing: TextPreprocessing, languages: Sequence[str]
    ) -> Tokenizer:
        """Use the bytes of a model, without saving it. Errors name `path`."""
        try:
            kind = detect_kind(data)
            model = open_model(data, kind, preprocessing)
            return cls(data, make_card(model, data, kind, preprocessing, languages))
        except BadModelError as error:
            raise MasscliError(f"{path}: {error.message}", error.hint) from None

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Load the tokenizer of a data folder or a checkpoint."""
        card = read_card(folder)
        try:
            data = read_regular(folder / MODEL_FILE)
        except FileNotFoundError:
            raise MasscliError(f"{folder / MODEL_FILE}: no such file", "the folder is incomplete") from None
        # With another model, all ids would mean something else.
        if hashlib.sha256(data).hexdigest() != card.model_sha256:
            raise MasscliError(
                f"{folder / MODEL_FILE}: is not the model that {TOKENIZER_FILE} describes",
                "one of the two was replaced or damaged",
            )
        try:
            return cls(data, card)
        except BadModelError as error:
            raise MasscliError(f"{folder / MODEL_FILE}: {error.message}", error.hint) from None

    @classmethod
    def _create(
        cls,
        data: bytes,
        kind: str,
        preprocessing: TextPreprocessing,
        languages: Sequence[str],
        folder: Path,
    ) -> Tokenizer:
        model = open_model(data, kind, preprocessing)
        tokenizer = cls(data, make_card(model, data, kind, preprocessing, languages))
        tokenizer.save(folder)
        return tokenizer

    def with_card_fields(self, **fields: Any) -> Tokenizer:
        """Return a tokenizer of the same model with other fields of its card; see TokenizerCard.changed."""
        return Tokenizer(self._data, self._card.changed(**fields))

    def with_own_ranges(self) -> Tokenizer:
        """Return a tokenizer of two vocabularies whose card says which ids each side knows."""
        assert isinstance(self._model, TwoVocabularies)
        ranges = {
            "source_ids": self._model.source_ids,
            "target_ids": self._model.target_ids,
            "predicted_ids": self._model.predicted_ids,
        }
        return self.with_card_fields(**{name: (ids.start, ids.stop) for name, ids in ranges.items()})

    def own_ids(self, language: str) -> Sequence[int]:
        """Return the id of each piece of the vocabulary of a language, in the order of that vocabulary."""
        assert isinstance(self._model, TwoVocabularies)
        return self._model.sides[language].ids

    def save(self, folder: Path) -> None:
        """Write both files; their bytes are the same wherever they are written."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_bytes(self._data)
        (folder / TOKENIZER_FILE).write_text(self._card.to_json(), encoding="utf-8")

    def encode(self, line: str, language: str) -> list[int]:
        """Return the ids of a line, without start and end."""
        return self.encode_lines([line], language)[0]

    def encode_lines(self, lines: Sequence[str], language: str) -> list[list[int]]:
        """Return the ids of each line, without start and end."""
        ids, lengths = self.encode_flat(lines, language)
        all_ids = ids.tolist()
        ends = np.cumsum(lengths).tolist()
        return [all_ids[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]

    def encode_words(self, words: Sequence[str], language: str) -> list[list[int]]:
        """Return the ids of each word of a text in which spaces separate them."""
        ids = self.encode_lines(words, language)
        if self.subword_marker != BYTE_LEVEL_SPACE:
            return ids
        # Their pieces say whether a space stands before a word, which it does before all but the first.
        prepared = self.preprocessing.apply(words[1:], language)
        return ids[:1] + self._model.encode([f" {word}" for word in prepared])

    def encode_flat(self, lines: Sequence[str], language: str) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the ids of all lines, one line after another, and the number of ids of each line."""
        words = self._language_words.get(language, self._words)
        return words.encode(self.preprocessing.apply(lines, language))

    def decode(self, ids: Sequence[int], language: str) -> str:
        """Return the text of some ids.

        Special ids are left out, but an unknown piece is written as UNKNOWN_TEXT, so that nothing is lost
        unseen.
        """
        left_out = self.vocab.special_ids - {self.vocab.unk}
        model = self._language_models.get(language, self._model)
        text = model.decode([int(i) for i in ids if int(i) not in left_out])
        if self.model_kind == WORDPIECE:
            return detokenize_wordpiece(text, language)
        return self.preprocessing.undo(text, language)

    def ids_to_pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces as the model writes them; an id that it has no piece for is written as `<id>`."""
        return self._model.id_to_piece(ids)

    def bpe_dropout(self, dropout: float, max_length: int) -> BpeDropout:
        """Return a function that splits words into other pieces; see BpeDropout.

        Raises MasscliError if the model is not a BPE of SentencePiece.
        """
        if self.model_kind != TRAINED_BPE or not isinstance(self._model, SentencePieceModel):
            raise MasscliError(
                f"--bpe-dropout: the vocabulary is {self.model_kind}, not a BPE of SentencePiece",
                "leave it out, or make a vocabulary with `masscli preprocess`",
            )
        pieces, scores = self._model.pieces_and_scores()
        return BpeDropout(pieces, scores, SENTENCEPIECE_SPACE, max_length, dropout)

    def unigram_sampling(self, alpha: float, max_length: int) -> UnigramSampling:
        """Return a function that samples the pieces of words; see UnigramSampling.

        Raises MasscliError if the model is not a unigram model of SentencePiece.
        """
        model = self._model
        if not isinstance(model, SentencePieceModel) or not model.is_unigram:
            raise MasscliError(
                "--unigram-alpha: the vocabulary is not a unigram model of SentencePiece",
                "leave it out; --bpe-dropout is for vocabularies that `masscli preprocess` has trained",
            )
        pieces, scores = model.pieces_and_scores()
        of_text = [score if model.is_text(number) else None for number, score in enumerate(scores)]
        return UnigramSampling(pieces, of_text, SENTENCEPIECE_SPACE, max_length, alpha)

    def all_pieces(self) -> list[str]:
        """Return every piece of the model, in the order of the ids."""
        return self._model.id_to_piece(range(len(self._model)))

    def piece_texts(self, ids: Sequence[int]) -> list[str]:
        """Return the text of each piece, without its word marker."""
        marker = self.subword_marker
        if marker == BYTE_LEVEL_SPACE:
            return list(map(piece_text, self.ids_to_pieces(ids)))
        return [remove_marker(piece, marker) for piece in self.ids_to_pieces(ids)]

    @property
    def subword_marker(self) -> str:
        """The marker that shows where words begin or go on; one of masscli.text.markers."""
        if self.model_kind == WORDPIECE:
            return WORDPIECE_CONTINUATION
        if self.model_kind in (BPE_CODES, DICTIONARY, GPT_BPE):
            return BPE_CONTINUATION
        if self.model_kind == BYTE_LEVEL_BPE:
            return BYTE_LEVEL_SPACE
        if isinstance(self._model, (FastTokenizerModel, TwoVocabularies)):
            return self._model.marker
        return SENTENCEPIECE_SPACE

    @property
    def model_kind(self) -> str:
        """The kind of the subword model; one of masscli.text.model_kinds."""
        return self._card.kind

    @property
    def card_json(self) -> str:
        """The contents of `tokenizer.json`."""
        return self._card.to_json()

    @property
    def model_bytes(self) -> bytes:
        """The contents of `vocab.model`."""
        return self._data


def find_model_file(path: Path) -> Path:
    """Return the model file in a data folder, a checkpoint or a run; a file is returned as it is."""
    # A run has no vocabulary of its own, but each of its checkpoints does, and it is the same in all.
    checkpoints = path / "checkpoints"
    steps = sorted(checkpoints.glob("step-*"), reverse=True)
    for folder in (path, checkpoints / "best", checkpoints / "last", *steps):
        if (folder / MODEL_FILE).is_file():
            return folder / MODEL_FILE
    return path


def stored_languages(path: Path) -> tuple[str, ...]:
    """Return the languages of a data folder, a checkpoint or a run; none for a plain model file."""
    model_file = find_model_file(path)
    if model_file == path or not (model_file.parent / TOKENIZER_FILE).is_file():
        return ()
    return read_card(model_file.parent).languages


def _check_compatible(
    card: TokenizerCard,
    preprocessing: TextPreprocessing,
    languages: Sequence[str],
    path: Path,
    model_file: Path,
) -> None:
    """Raise MasscliError unless a stored vocabulary has the given languages and preparation of text."""
    for language in languages:
        if language not in card.languages:
            known = ", ".join(card.languages)
            raise MasscliError(
                f"--spm-model {path}: its vocabulary has no language {language!r}", f"it has {known}"
            )
    # An option that is not given asks for nothing, and the stored preparation holds.
    for option in ("normalize", "moses", "lowercase", "romanian"):
        requested = getattr(preprocessing, option)
        if requested and requested != getattr(card, option):
            raise MasscliError(
                f"--{option}: differs from the preparation of text for the vocabulary of --spm-model {path}",
                f"leave it out, or use the subword model alone: --spm-model {model_file}",
            )
