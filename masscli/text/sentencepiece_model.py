"""Read and use a SentencePiece model (Kudo and Richardson 2018), and train a SentencePiece BPE."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from io import BytesIO
from typing import Any

import sentencepiece

from masscli.core.errors import MasscliError
from masscli.core.stopping import call_interruptibly
from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.reserved_text import ReservedText, readable_piece
from masscli.text.subword_model import BadModelError, pieces_of

ALBERT_NAMES = {
    "<mask>": "[MASK]",
    "<cls>": "[CLS]",
    "<sep>": "[SEP]",
    "<s>": "[CLS]",
    "</s>": "[SEP]",
}
"""The special pieces of ALBERT's SentencePiece model, by masscli's names for them. As in BERT, [CLS] and
[SEP] are also the start and the end symbol."""
_TRAINING_THREADS = 2


class SentencePieceModel:
    """A subword model that is a SentencePiece model file; implements SubwordModel."""

    def __init__(self, data: bytes) -> None:
        """Load the bytes of a model file.

        Raises BadModelError if SentencePiece cannot read them, or if the model has no pieces or one that is
        no text.
        """
        try:
            self.processor: Any = sentencepiece.SentencePieceProcessor(model_proto=data)
        except RuntimeError:
            hint = "expected what spm_train wrote, or BERT's vocab.txt"
            raise BadModelError("is not a SentencePiece model", hint) from None
        # An empty file is a valid model without pieces, but every other method of it fails.
        if len(self.processor) == 0:
            raise BadModelError("has no pieces", "is the file empty?")
        try:
            pieces: list[str] = self.processor.id_to_piece(
                list(range(len(self.processor)))
            )
        except UnicodeDecodeError:
            raise BadModelError(
                "has a piece that is not UTF-8", "was the file damaged?"
            ) from None
        self.reserved_text = ReservedText(pieces)
        self._pieces = list(map(readable_piece, pieces))

    def __len__(self) -> int:
        return len(self._pieces)

    @property
    def special_ids(self) -> Mapping[str, int]:
        """The id of each control piece and of the unknown piece, by name.

        The pieces that the model itself declares as padding, start, end and unknown are named `<pad>`, `<s>`,
        `</s>` and `<unk>`, however they are spelled. ALBERT's [MASK], [CLS] and [SEP] are listed under
        masscli's names too.
        """
        processor = self.processor
        controls = {
            piece: i for i, piece in enumerate(self._pieces) if processor.is_control(i)
        }
        renamed = {
            name: controls[albert]
            for name, albert in ALBERT_NAMES.items()
            if albert in controls
        }
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
        """Always empty: a SentencePiece model does not say which of its pieces are unused."""
        return ()

    def encode(self, lines: Sequence[str]) -> list[list[int]]:
        """Return a list of token ids for each line, without start and end symbols."""
        ids: list[list[int]] = self.processor.encode(
            list(map(self.reserved_text.escape, lines))
        )
        return ids

    def encode_as_pieces(self, line: str) -> list[str]:
        """Return the pieces of a line as the model stores them; a run of unknown characters is one piece."""
        pieces: list[str] = self.processor.encode(
            self.reserved_text.escape(line), out_type=str
        )
        return pieces

    @cached_property
    def text_ids(self) -> Mapping[str, int]:
        """The id of each piece, as the model stores it, that text can be encoded into."""
        pieces, scores = self.pieces_and_scores()
        texts = {}
        for i, (piece, score) in enumerate(zip(pieces, scores, strict=True)):
            if score is not None:
                texts[piece] = i
        return texts

    def pieces_to_text(self, pieces: Sequence[str]) -> str:
        """Return the text that pieces, as the model stores them, stand for, without spaces at its ends."""
        text = "".join(pieces).replace(SENTENCEPIECE_SPACE, " ").strip(" ")
        return self.reserved_text.restore(text)

    @property
    def has_bytes(self) -> bool:
        """Whether unknown characters are written as bytes (byte_fallback), and no text is unknown."""
        return any(map(self.processor.is_byte, range(len(self))))

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text that the ids stand for.

        SentencePiece writes an unknown piece as UNKNOWN_TEXT, and so are ids beyond the vocabulary's end.
        """
        unknown = self.processor.unk_id()
        known = [i if i < len(self._pieces) else unknown for i in ids]
        text: str = self.processor.decode(known)
        return self.reserved_text.restore(text)

    def pieces_and_scores(self) -> tuple[list[str], list[float | None]]:
        """Return all pieces exactly as stored in the model file, and their scores, by increasing id.

        The score of a piece that is not text, such as `<s>`, is None.
        """
        ids = list(range(len(self)))
        pieces: list[str] = self.processor.id_to_piece(ids)
        scores: list[float | None] = []
        for i in ids:
            scores.append(self.processor.get_score(i) if self.is_text(i) else None)
        return pieces, scores

    @property
    def is_unigram(self) -> bool:
        """Whether this is a unigram model. Only such a model can segment a text in several ways."""
        try:
            self.processor.nbest_encode("a", nbest_size=2)
        except RuntimeError:
            return False
        return True

    def is_text(self, number: int) -> bool:
        """Return whether the piece with id `number` is text: not a control, byte, unknown or unused piece."""
        processor = self.processor
        is_other = (
            processor.is_control,
            processor.is_byte,
            processor.is_unknown,
            processor.is_unused,
        )
        return not any(is_kind(number) for is_kind in is_other)

    def id_to_piece(self, ids: Sequence[int]) -> list[str]:
        """Return the piece for each id; an id beyond the last one is written like `<32000>`."""
        return pieces_of(ids, self._pieces)


class _TrainingText(Iterator[str]):
    """The lines that SentencePiece's trainer reads, in which reserved text is escaped.

    The trainer reports an error of `lines` as one of its own, so it is kept in `error`. If `is_stopped` is
    set, the next line is an error, which ends the trainer.
    """

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = map(ReservedText().escape, lines)
        self.error: Exception | None = None
        self.is_stopped = False

    def __next__(self) -> str:
        if self.is_stopped:
            raise InterruptedError
        try:
            return next(self._lines)
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


def train_sentencepiece(
    lines: Iterator[str],
    vocab_size: int,
    character_coverage: float,
    control_pieces: Sequence[str],
) -> bytes:
    """Train a SentencePiece BPE on lines of text, and return the bytes of the model file.

    `character_coverage` is the share of the characters of the text that get a piece. Each of `control_pieces`
    gets an id, but no text is ever encoded into it. The same lines give the same bytes. Raises MasscliError
    if there is no text, or if `vocab_size` is too large or too small for it, and any error of `lines`.
    """
    model = BytesIO()
    text = _TrainingText(lines)
    train = functools.partial(
        sentencepiece.SentencePieceTrainer.train,
        sentence_iterator=text,
        model_writer=model,
        model_type="bpe",
        vocab_size=vocab_size,
        character_coverage=character_coverage,
        normalization_rule_name="nmt_nfkc",
        # Unknown characters remain unknown, so that they can be counted and reported.
        byte_fallback=False,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        control_symbols=list(control_pieces),
        # The order of the lines is part of what makes training reproducible.
        shuffle_input_sentence=False,
        # Lines of any length are used; by default, SentencePiece would skip those of more than
        # 4,192 bytes.
        max_sentence_length=1 << 30,
        num_threads=_TRAINING_THREADS,
        minloglevel=2,
    )
    try:
        call_interruptibly(train)
    except KeyboardInterrupt:
        text.is_stopped = True
        raise
    except RuntimeError as error:
        if text.error is not None:
            raise text.error from None
        raise _explain(error, vocab_size) or error from None
    return model.getvalue()


def _explain(error: RuntimeError, vocab_size: int) -> MasscliError | None:
    """Return a MasscliError that says what to do about an error of SentencePiece's trainer, or None.

    None means that the error is not one that the user can cause.
    """
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
