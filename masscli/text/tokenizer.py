"""Text to token ids and back: preprocessing of the text, then a subword model.

On disk a tokenizer is two files: `vocab.model`, the subword model in its own format, and `tokenizer.json`,
which says which ids are special and how text is preprocessed. Both are copied unchanged from a data folder
into checkpoints. Text is never encoded into a special id, apart from unknown pieces. The tokenizer adds no
start, end or language tokens; the objectives do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masscli.core.errors import MasscliError
from masscli.core.files import read_named, read_regular
from masscli.text.bpe_codes import read_bpe_files
from masscli.text.bpe_dropout import BpeDropout
from masscli.text.byte_level_bpe import piece_text
from masscli.text.extended_model import ExtendedModel
from masscli.text.markers import BYTE_LEVEL_SPACE, SENTENCEPIECE_SPACE, remove_marker
from masscli.text.model_kinds import (
    BPE_CODES,
    EXTENDED,
    KINDS_OF_WORDS,
    TRAINED_BPE,
    WORDPIECE,
    detect_kind,
    marker_of,
    open_model,
)
from masscli.text.moses import detokenize_wordpiece
from masscli.text.numbered_sentencepiece import NumberedSentencePieceModel
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.sentencepiece_model import SentencePieceModel, train_sentencepiece
from masscli.text.stored_vocabulary import (
    check_compatible,
    find_model_file,
    find_tokenizer_folder,
)
from masscli.text.subword_model import BadModelError, SubwordModel
from masscli.text.tokenizer_card import (
    MODEL_FILE,
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


class Tokenizer:
    """Preprocesses text and turns it into token ids with a subword model, and turns token ids into text."""

    def __init__(self, data: bytes, card: TokenizerCard) -> None:
        """Load a subword model from the bytes of `vocab.model`; `card` is the content of `tokenizer.json`.

        Raises BadModelError if the bytes are damaged, or if the number of their pieces is not that of the
        card.
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
        self.base_kind = card.kind
        """The kind of the subword model, or that of the model that an extended vocabulary began with."""
        if isinstance(self._model, ExtendedModel):
            self.base_kind = self._model.base_kind
        # Words occur again and again, so that most need not be encoded again.
        by_words = self.base_kind in KINDS_OF_WORDS
        self._words = WordCache(self._model, by_words)
        # Some languages may have models of their own.
        self._language_models: dict[str, SubwordModel] = {}
        self._language_words: dict[str, WordCache] = {}
        if isinstance(
            self._model, (TwoVocabularies, NumberedSentencePieceModel, ExtendedModel)
        ):
            for language, side in self._model.sides.items():
                self._language_models[language] = side
                self._language_words[language] = WordCache(side, by_words)

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
        """Train a SentencePiece BPE, save the tokenizer into `folder`, and return it.

        `preprocessing` must have been applied to the lines already; it is only recorded here. Each of
        `languages` gets an id. Raises MasscliError if there is no text, or if it does not allow `vocab_size`.
        """
        # Control pieces get ids, but no text is ever encoded into them.
        control_pieces = [
            *RESERVED_PIECES,
            *map(language_piece, languages),
            *SPARE_PIECES,
        ]
        data = train_sentencepiece(
            lines, vocab_size, character_coverage, control_pieces
        )
        return cls._create(data, TRAINED_BPE, preprocessing, languages, folder)

    @classmethod
    def from_model_file(
        cls,
        path: Path,
        *,
        preprocessing: TextPreprocessing,
        languages: Sequence[str],
        folder: Path,
    ) -> Tokenizer:
        """Make a tokenizer from an existing subword model, save it into `folder`, and return it.

        If `path` is a model file, special pieces that it lacks get new ids. If `path` is a data folder, a
        checkpoint or a run, its tokenizer is copied with its ids, languages and preprocessing, so that a
        model trained with it can be used. Raises MasscliError if `path` cannot be read, or if its tokenizer
        lacks one of `languages` or was made with other `preprocessing`.
        """
        model_file = find_model_file(path)
        stored = find_tokenizer_folder(path)
        if stored is not None:
            tokenizer = cls.load(stored)
            check_compatible(
                tokenizer._card, preprocessing, languages, path, model_file
            )
            tokenizer.save(folder)
            return tokenizer
        data = read_named(model_file, "--spm-model")
        try:
            return cls._create(
                data, detect_kind(data), preprocessing, languages, folder
            )
        except BadModelError as error:
            raise MasscliError(
                f"--spm-model {model_file}: {error.message}", error.hint
            ) from None

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
        """Make a tokenizer from two files of subword-nmt or fastBPE, save it into `folder`, and return it.

        `codes` holds the merges, and `vocab` the pieces and their counts. Pieces with a count below
        `min_count` are left out. Raises MasscliError if a file cannot be read or is malformed.
        """
        data = read_bpe_files(codes, vocab, min_count)
        return cls._create(data, BPE_CODES, preprocessing, languages, folder)

    @classmethod
    def from_bytes(
        cls,
        path: Path,
        data: bytes,
        preprocessing: TextPreprocessing,
        languages: Sequence[str],
    ) -> Tokenizer:
        """Make a tokenizer from the bytes of a subword model, without saving it.

        Special pieces that the model lacks get new ids. Raises MasscliError, whose message begins with
        `path`, if the bytes are not a subword model.
        """
        try:
            kind = detect_kind(data)
            model = open_model(data, kind, preprocessing)
            return cls(data, make_card(model, data, kind, preprocessing, languages))
        except BadModelError as error:
            raise MasscliError(f"{path}: {error.message}", error.hint) from None

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Load the tokenizer of a data folder or a checkpoint.

        Raises MasscliError if one of its two files is missing or damaged, or if they do not belong together.
        """
        card = read_card(folder)
        try:
            data = read_regular(folder / MODEL_FILE)
        except FileNotFoundError:
            raise MasscliError(
                f"{folder / MODEL_FILE}: no such file", "the folder is incomplete"
            ) from None
        # With a different model, all ids would have different meanings.
        if hashlib.sha256(data).hexdigest() != card.model_sha256:
            raise MasscliError(
                f"{folder / MODEL_FILE}: is not the model that {TOKENIZER_FILE} describes",
                "one of the two was replaced or damaged",
            )
        try:
            return cls(data, card)
        except BadModelError as error:
            raise MasscliError(
                f"{folder / MODEL_FILE}: {error.message}", error.hint
            ) from None

    @classmethod
    def _create(
        cls,
        data: bytes,
        kind: str,
        preprocessing: TextPreprocessing,
        languages: Sequence[str],
        folder: Path,
    ) -> Tokenizer:
        """Make a tokenizer from the bytes of a model of this kind, save it into `folder`, and return it."""
        model = open_model(data, kind, preprocessing)
        tokenizer = cls(data, make_card(model, data, kind, preprocessing, languages))
        tokenizer.save(folder)
        return tokenizer

    def with_card_fields(self, **fields: Any) -> Tokenizer:
        """Return a copy of the tokenizer with other values for some fields of its card, such as `bos`."""
        return Tokenizer(self._data, self._card.changed(**fields))

    def with_own_ranges(self) -> Tokenizer:
        """Return a copy whose card (tokenizer.json) has the ids of encoder, decoder and output layer.

        The subword model must be a TwoVocabularies, which has one vocabulary for the source and one for the
        target.
        """
        assert isinstance(self._model, TwoVocabularies)
        source, target = self._model.source_ids, self._model.target_ids
        predicted = self._model.predicted_ids
        return self.with_card_fields(
            source_ids=(source.start, source.stop),
            target_ids=(target.start, target.stop),
            predicted_ids=(predicted.start, predicted.stop),
        )

    def with_extension(
        self,
        data: bytes,
        size: int,
        languages: Sequence[str],
        language_ids: Sequence[int],
        romanian: str | None,
    ) -> Tokenizer:
        """Return a tokenizer of an extended model that was made from the one of this tokenizer.

        `data` is the bytes of the extended model, which has `size` ids, and `language_ids` are those of
        the new `languages`. Text preprocessing and special symbols do not change; `romanian` is what to
        do with Romanian letters if Romanian is new.
        """
        card = self._card
        # A model that predicts only some of the ids learns to predict the new ones, too.
        predicted_ids = card.predicted_ids
        if predicted_ids is not None:
            predicted_ids = (predicted_ids[0], size)
        fields = {
            "kind": EXTENDED,
            "size": size,
            "pieces": size,
            "languages": (*card.languages, *languages),
            "language_ids": (*card.language_ids, *language_ids),
            "model_sha256": hashlib.sha256(data).hexdigest(),
            "predicted_ids": predicted_ids,
        }
        if "ro" in languages:
            fields["romanian"] = romanian
        return Tokenizer(data, card.changed(**fields))

    def own_ids(self, language: str) -> Sequence[int]:
        """Return masscli's id for each piece of one language's vocabulary, in the order of that vocabulary.

        The subword model must be a TwoVocabularies, and `language` one of its two languages.
        """
        assert isinstance(self._model, TwoVocabularies)
        return self._model.sides[language].ids

    def save(self, folder: Path) -> None:
        """Write `vocab.model` and `tokenizer.json` into a folder, which is created if it does not exist."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MODEL_FILE).write_bytes(self._data)
        (folder / TOKENIZER_FILE).write_text(self._card.to_json(), encoding="utf-8")

    def encode(self, line: str, language: str) -> list[int]:
        """Preprocess a line and return its token ids, without start and end symbols."""
        return self.encode_lines([line], language)[0]

    def encode_lines(self, lines: Sequence[str], language: str) -> list[list[int]]:
        """Preprocess lines and return a list of token ids for each, without start and end symbols."""
        ids, lengths = self.encode_flat(lines, language)
        # Slices of one list are faster than a conversion of each line.
        all_ids = ids.tolist()
        lines_ids = []
        begin = 0
        for length in lengths.tolist():
            lines_ids.append(all_ids[begin : begin + length])
            begin += length
        return lines_ids

    def encode_words(self, words: Sequence[str], language: str) -> list[list[int]]:
        """Return a list of token ids for each of the words of one text.

        The words are encoded as if spaces stood between them: in byte-level BPE, all but the first get the
        pieces that begin with a space.
        """
        ids = self.encode_lines(words, language)
        if self.subword_marker != BYTE_LEVEL_SPACE:
            return ids
        # Their pieces say whether a space precedes a word, as it does for all but the first.
        prepared = self.preprocessing.apply(words[1:], language)
        model = self._language_models.get(language, self._model)
        return ids[:1] + model.encode([f" {word}" for word in prepared])

    def encode_flat(
        self, lines: Sequence[str], language: str
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Return the token ids of all lines in one array, and an array with the number of ids of each line.

        Lines are preprocessed first; start and end symbols are not added.
        """
        words = self._language_words.get(language, self._words)
        return words.encode(self.preprocessing.apply(lines, language))

    def decode(self, ids: Sequence[int], language: str) -> str:
        """Return the text that the token ids stand for, detokenized by the rules of the language.

        Special ids are left out, except unknown pieces: these are written as UNKNOWN_TEXT, so that lost text
        is visible.
        """
        left_out = self.vocab.special_ids - {self.vocab.unk}
        model = self._language_models.get(language, self._model)
        text = model.decode([int(i) for i in ids if int(i) not in left_out])
        if self.base_kind == WORDPIECE:
            return detokenize_wordpiece(text, language)
        return self.preprocessing.undo(text, language)

    def ids_to_pieces(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id, with its word marker, and like `<32000>` for an id without one."""
        return self._model.id_to_piece(ids)

    def bpe_dropout(self, dropout: float, max_length: int) -> BpeDropout:
        """Return a callable that re-segments token ids by BPE-dropout; see BpeDropout.

        Each merge is left out with probability `dropout`. Results of more than `max_length` tokens are
        discarded, and the ids stay as they are. Raises MasscliError unless the model is a SentencePiece BPE
        that masscli trained.
        """
        if self.model_kind != TRAINED_BPE or not isinstance(
            self._model, SentencePieceModel
        ):
            raise MasscliError(
                f"--bpe-dropout: the vocabulary is {self.model_kind}, not a BPE of SentencePiece",
                "leave it out, or make a vocabulary with `masscli preprocess`",
            )
        pieces, scores = self._model.pieces_and_scores()
        return BpeDropout(pieces, scores, SENTENCEPIECE_SPACE, max_length, dropout)

    def unigram_sampling(self, alpha: float, max_length: int) -> UnigramSampling:
        """Return a callable that re-segments token ids by sampling from a unigram model; see UnigramSampling.

        Probabilities are raised to the power `alpha`. Results of more than `max_length` tokens are discarded,
        and the ids stay as they are. Raises MasscliError if the model is not a unigram model of
        SentencePiece.
        """
        model = self._model
        if not isinstance(model, SentencePieceModel) or not model.is_unigram:
            raise MasscliError(
                "--unigram-alpha: the vocabulary is not a unigram model of SentencePiece",
                "leave it out; --bpe-dropout is for vocabularies that `masscli preprocess` has trained",
            )
        pieces, scores = model.pieces_and_scores()
        return UnigramSampling(pieces, scores, SENTENCEPIECE_SPACE, max_length, alpha)

    def all_pieces(self) -> list[str]:
        """Return every piece of the subword model, in the order of the ids.

        Special pieces that were given ids after the model's last one are not included.
        """
        return self._model.id_to_piece(range(len(self._model)))

    def piece_texts(self, ids: Sequence[int]) -> list[str]:
        """Return the text of the piece for each id, without the marker of where words begin or continue."""
        marker = self.subword_marker
        # Pieces of bytes are spelled in letters that stand for bytes.
        if marker == BYTE_LEVEL_SPACE:
            return [piece_text(piece) for piece in self.ids_to_pieces(ids)]
        return [remove_marker(piece, marker) for piece in self.ids_to_pieces(ids)]

    @property
    def subword_marker(self) -> str:
        """The marker of pieces that begin or continue words; a constant of masscli.text.markers."""
        return marker_of(self._model, self.model_kind)

    @property
    def model_kind(self) -> str:
        """The kind of the subword model, such as `wordpiece`; a constant of masscli.text.model_kinds."""
        return self._card.kind

    @property
    def card(self) -> TokenizerCard:
        """The contents of `tokenizer.json`."""
        return self._card

    @property
    def subword_model(self) -> SubwordModel:
        """The subword model, which turns preprocessed text into ids and back."""
        return self._model

    @property
    def card_json(self) -> str:
        """The text of `tokenizer.json`."""
        return self._card.to_json()

    @property
    def model_bytes(self) -> bytes:
        """The bytes of `vocab.model`."""
        return self._data
