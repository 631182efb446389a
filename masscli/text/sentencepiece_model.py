"""SentencePiece (Kudo and Richardson 2018): train a BPE, and use a model."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import sentencepiece

from masscli.core.errors import MasscliError
from masscli.text.reserved_text import ReservedText, readable_piece
from masscli.text.subword_model import BadModelError, pieces_of

ALBERT_NAMES = {"<mask>": "[MASK]", "<cls>": "[CLS]", "<sep>": "[SEP]", "<s>": "[CLS]", "</s>": "[SEP]"}
"""What ALBERT's model calls the special pieces. As in WordPiece, [CLS] and [SEP] are also start and end."""
_TRAINING_THREADS = 2


class SentencePieceModel:
    """A model of SentencePiece (Kudo and Richardson 2018); see SubwordModel for the methods."""

    def __init__(self, data: bytes) -> None:
        """Read a model. Raises BadModelError if SentencePiece does not."""
        try:
            self.processor: Any = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError:
            hint = "expected what spm_train wrote, or BERT's vocab.txt"
            raise BadModelError("is not a SentencePiece model", hint) from None
        # An empty file is a valid model without pieces, but every other method of it fails.
        if len(self.processor) == 0:
            raise BadModelError("has no pieces", "is the file empty?")
        pieces: list[str] = self.processor.id_to_piece(list(range(len(self.processor))))
        self._reserved_text = ReservedText(pieces)
        self._pieces = list(map(readable_piece, pieces))

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The ids of all control pieces by name; those of ALBERT also under masscli's names."""
        processor = self.processor
        controls = {piece: i for i, piece in enumerate(self._pieces) if processor.is_control(i)}
        renamed = {name: controls[albert] for name, albert in ALBERT_NAMES.items() if albert in controls}
        # These four may have any spelling; a model that lacks one says -1.
        roles = {
            "<pad>": processor.pad_id(),
            "<s>": processor.bos_id(),
            "</s>": processor.eos_id(),
            "<unk>": processor.unk_id(),
        }
        # Later entries win: the model's own roles say more than names do.
        return renamed | controls | {name: i for name, i in roles.items() if i >= 0}

    @property
    def free_ids(self) -> Sequence[int]:
        """No ids: a foreign model does not say which of its pieces are unused."""
        return ()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return the ids of each line."""
        ids: list[list[int]] = self.processor.encode(list(map(self._reserved_text.escape, lines)))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of some ids, and UNKNOWN_TEXT for unknown pieces."""
        text: str = self.processor.decode(list(ids))
        return self._reserved_text.restore(text)

    def pieces_and_scores(self) -> tuple[list[str], list[float]]:
        """Return every piece as the model has it, and its score."""
        ids = list(range(len(self)))
        pieces: list[str] = self.processor.id_to_piece(ids)
        scores: list[float] = self.processor.get_score(ids)
        return pieces, scores

    @property
    def is_unigram(self) -> bool:
        """Whether this is a unigram model, which alone has several segmentations of a text."""
        try:
            self.processor.nbest_encode("a", nbest_size=2)
        except RuntimeError:
            return False
        return True

    def is_text(self, number: int) -> bool:
        """Return whether a piece is text: not a control piece, a byte, unknown or unused."""
        processor = self.processor
        is_other = (processor.is_control, processor.is_byte, processor.is_unknown, processor.is_unused)
        return not any(is_kind(number) for is_kind in is_other)

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the pieces; an id beyond the model's end is written as `<id>`."""
        return pieces_of(ids, self._pieces)


def train_sentencepiece(
    lines: Iterator[str], vocab_size: int, character_coverage: float, control_pieces: Sequence[str]
) -> bytes:
    """Train a BPE and return the model. The same lines give the same bytes.

    Raises MasscliError if there is no text, or if the text does not allow `vocab_size`.
    """
    model = BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=map(ReservedText().escape, lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            normalization_rule_name="nmt_nfkc",
            # Unknown characters stay unknown, so that they can be counted and reported.
            byte_fallback=False,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            control_symbols=list(control_pieces),
            # The order of the lines is part of what makes training reproducible.
            shuffle_input_sentence=False,
            # Lines of any length count; SentencePiece would skip those of more than 4,192 bytes.
            max_sentence_length=1 << 30,
            num_threads=_TRAINING_THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise _explain(error, vocab_size) or error from None
    return model.getvalue()


def _explain(error: RuntimeError, vocab_size: int) -> MasscliError | None:
    """Turn an error of SentencePiece into one that says what to do; return None for other errors."""
    text = str(error)
    too_high = re.search(r"Vocabulary size too high .*<= (\d+)", text)
    if too_high:
        return MasscliError(
            f"--vocab-size {vocab_size} is too large for this text",
            f"the largest possible is {too_high[1]}",
        )
    too_low = re.search(r"smaller than required_chars. \d+ vs (\d+)", text)
    if too_low:
        return MasscliError(
            f"--vocab-size {vocab_size} is too small: each character and special symbol needs a piece",
            f"give at least {too_low[1]}, or a lower --character-coverage such as 0.9995",
        )
    if "!sentences_.empty()" in text:
        return MasscliError("there is no text to train a vocabulary on")
    return None
