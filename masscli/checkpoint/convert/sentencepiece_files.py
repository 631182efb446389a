"""Read the SentencePiece vocabularies of ALBERT, XLM-R and CamemBERT, each with its published ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from masscli.checkpoint.convert.class_rules import begins_with_space
from masscli.checkpoint.convert.folder import SETTINGS
from masscli.checkpoint.convert.published_vocabulary import (
    PublishedVocabulary,
    expect,
    missing_vocabulary,
    with_added_tokens,
    with_unused_rows,
)
from masscli.checkpoint.convert.tokenizer_files import TokenizerFiles
from masscli.core.errors import MasscliError
from masscli.core.files import read_regular
from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.sentencepiece_model import SentencePieceModel
from masscli.text.subword_model import BadModelError

SENTENCEPIECE = (
    "spiece.model",
    "sentencepiece.bpe.model",
    "spm.model",
    "tokenizer.model",
)
_FAIRSEQ_PIECES = ["<s>", "<pad>", "</s>", "<unk>"]
_CAMEMBERT_PIECES = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED"]


def xlmr_pieces(pieces: Sequence[str]) -> list[str]:
    """Return the pieces of XLM-R in the order of its ids, from those of its SentencePiece model.

    fairseq's four special pieces replace the first three, and `<mask>` comes last.
    """
    return [*_FAIRSEQ_PIECES, *pieces[3:], "<mask>"]


def camembert_pieces(pieces: Sequence[str]) -> list[str]:
    """Return the pieces of CamemBERT in the order of its ids, from those of its SentencePiece model.

    Four special pieces come first and `<mask>` comes last; SentencePiece's `<unk>` is renamed.
    """
    return [*_CAMEMBERT_PIECES, *pieces[1:], "<mask>"]


def read_xlmr(files: TokenizerFiles, vocab_size: int) -> PublishedVocabulary:
    """Read XLM-R's vocabulary for a model with `vocab_size` rows of token embeddings.

    Its ids are those of fairseq's four special pieces, then of all others of the SentencePiece model, then of
    the mask. Raises MasscliError if the SentencePiece model is missing, not of this kind, or does not match
    the embeddings, and UnreadableError if tokenizer.json has different pieces or exists without the model's
    file, or if an added token is not special.
    """
    path, model, pieces = _read_model(files)
    _check_first_pieces(path, pieces, "XLM-R")
    return _numbered(
        files, path, model, xlmr_pieces(pieces), vocab_size, TextPreprocessing()
    )


def read_camembert(files: TokenizerFiles, vocab_size: int) -> PublishedVocabulary:
    """Read CamemBERT's vocabulary for a model with `vocab_size` rows of token embeddings.

    Its ids are those of four special pieces, then all pieces of the SentencePiece model, then the mask.
    Raises MasscliError if the SentencePiece model is missing, not of this kind, or does not match the
    embeddings, and UnreadableError if tokenizer.json has different pieces or exists without the model's
    file, or if an added token is not special.
    """
    path, model, pieces = _read_model(files)
    _check_first_pieces(path, pieces, "CamemBERT")
    return _numbered(
        files, path, model, camembert_pieces(pieces), vocab_size, TextPreprocessing()
    )


def _check_first_pieces(path: Path, pieces: Sequence[str], title: str) -> None:
    """Raise MasscliError, which names `path`, unless `pieces` starts with `<unk>`, `<s>` and `</s>`.

    These are the first pieces of a SentencePiece model by default. `title` names the published model in the
    hint.
    """
    # Both models use fairseq's ids, which differ from those of SentencePiece at these places.
    if pieces[:3] != ["<unk>", "<s>", "</s>"]:
        raise MasscliError(
            f"{path}: begins with {', '.join(pieces[:3])}",
            f"a model of {title} begins with <unk>, <s>, </s>",
        )


def read_albert(files: TokenizerFiles, vocab_size: int) -> PublishedVocabulary:
    """Read ALBERT's vocabulary, whose ids are those of its SentencePiece model.

    The model has `vocab_size` rows of token embeddings. Raises MasscliError if the vocabulary is
    missing or does not match the embeddings, and UnreadableError if tokenizer.json has different pieces or
    exists without the model's file, or if an added token is not special.
    """
    path, model, pieces = _read_model(files)
    lowercase = files.flag("do_lower_case", True)
    keep_accents = files.flag("keep_accents", False)
    if keep_accents:
        preprocessing = TextPreprocessing(
            lowercase=lowercase, published="albert-keep-accents"
        )
    else:
        preprocessing = TextPreprocessing(lowercase=lowercase, published="albert")
    return _numbered(files, path, model, pieces, vocab_size, preprocessing)


def _read_model(files: TokenizerFiles) -> tuple[Path, bytes, list[str]]:
    """Return the path of the folder's SentencePiece model, the bytes of this file, and the model's pieces.

    The pieces are in the order of their ids. If the folder has no such file, raises UnreadableError if
    it has a tokenizer.json, else MasscliError. Also raises MasscliError if the file is damaged or
    empty.
    """
    paths = [
        files.folder / name for name in SENTENCEPIECE if (files.folder / name).exists()
    ]
    if not paths:
        # The library can read tokenizer.json instead.
        expect(not files.content, "its SentencePiece model is in tokenizer.json alone")
        raise missing_vocabulary(files, SENTENCEPIECE[0])
    path = paths[0]
    try:
        model = read_regular(path)
        pieces, _ = SentencePieceModel(model).pieces_and_scores()
    except (OSError, BadModelError):
        raise MasscliError(
            f"{path}: is not a SentencePiece model",
            "Git LFS leaves a pointer in place of a file",
        ) from None
    return path, model, pieces


def _numbered(
    files: TokenizerFiles,
    path: Path,
    model: bytes,
    pieces: Sequence[str],
    vocab_size: int,
    preprocessing: TextPreprocessing,
) -> PublishedVocabulary:
    """Return the vocabulary of the SentencePiece model `model`, with `pieces` in the order of published ids.

    Added special tokens get the ids after those. Raises UnreadableError if tokenizer.json numbers the
    pieces or prepares text differently, and MasscliError if a special token is not among them, or if there
    are more than `vocab_size`.
    """
    if files.content:
        _expect_same_pieces(files, pieces)
        _expect_same_rules(files, is_albert=bool(preprocessing.published))
    pieces = with_added_tokens(path, pieces, files, vocab_size)
    special_ids = files.role_ids(pieces)
    for role in ("unk", "pad", "mask", "cls", "sep"):
        if f"<{role}>" not in special_ids:
            raise MasscliError(
                f"{path}: has no piece {files.tokens.get(role)}, the {role}_token of a {files.class_name}",
                f"is the tokenizer_class in {SETTINGS} right?",
            )
    special_ids |= {
        token.content: i for i, token in files.added.items() if token.special
    }
    # Control pieces are never produced from text, whatever their names are.
    named, unused = with_unused_rows(pieces, vocab_size)
    packed = pack_numbered_sentencepiece(model, named, special_ids, unused)
    return PublishedVocabulary(path, packed, len(pieces), preprocessing)


def _expect_same_pieces(files: TokenizerFiles, pieces: Sequence[str]) -> None:
    """Raise UnreadableError if the pieces in tokenizer.json do not begin with these, in this order.

    Only the last piece may be missing.
    """
    vocabulary = files.part["model"].get("vocab")
    expect(
        isinstance(vocabulary, list), "tokenizer.json is not of its SentencePiece model"
    )
    assert isinstance(vocabulary, list)
    for entry, piece in zip(vocabulary, pieces, strict=False):
        same = isinstance(entry, list) and bool(entry) and entry[0] == piece
        expect(same, f"tokenizer.json has another piece than {piece!r} in its place")
    # The mask, which comes last, may be listed among the added tokens instead.
    expect(
        len(vocabulary) >= len(pieces) - 1,
        "tokenizer.json has fewer pieces than its SentencePiece model",
    )


def _expect_same_rules(files: TokenizerFiles, is_albert: bool) -> None:
    """Raise UnreadableError if tokenizer.json prepares text in another way than a SentencePiece model does.

    What ALBERT does besides, if it `is_albert`, has been read before.
    """
    own_steps = ["Precompiled", "Replace", "Strip"]
    if is_albert:
        own_steps += ["NFKD", "StripAccents", "Lowercase"]
    for step in files.part.steps("normalizer"):
        kind = step.get("type")
        expect(kind in own_steps, f"tokenizer.json has the step {kind} before it")
        if kind == "Replace" and not is_albert:
            expect(
                step.get("content") in (" ", SENTENCEPIECE_SPACE),
                "tokenizer.json replaces characters before it",
            )
    for step in files.part.steps("pre_tokenizer"):
        kind = step.get("type")
        expect(
            kind in ("WhitespaceSplit", "Metaspace"),
            f"tokenizer.json splits text by {kind} before it",
        )
    expect(
        begins_with_space(files.part.steps("pre_tokenizer")),
        "no space is put before a text",
    )
