"""Read BERT's WordPiece vocabulary of a published model, from vocab.txt or from tokenizer.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from masscli.checkpoint.convert.folder import TOKENIZER
from masscli.checkpoint.convert.published_vocabulary import (
    PublishedVocabulary,
    accents_rule,
    check_same_pieces,
    expect,
    expect_bert_normalizer,
    is_type,
    missing_vocabulary,
    ordered_pieces,
    with_added_tokens,
)
from masscli.checkpoint.convert.tokenizer_files import TokenizerFiles
from masscli.core.errors import MasscliError
from masscli.text.corpus import read_regular_text
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.wordpiece import MAX_WORD_LENGTH, REQUIRED_PIECES

VOCAB = "vocab.txt"
_ROLES = ("pad", "unk", "cls", "sep", "mask")


def read_wordpiece(files: TokenizerFiles, vocab_size: int) -> PublishedVocabulary:
    """Read a WordPiece vocabulary for a model with `vocab_size` rows of token embeddings.

    Rows without a piece get placeholder names such as `[unused0]`. Raises UnreadableError if the
    tokenizer differs from BERT's in any way, and MasscliError if the vocabulary is missing or damaged,
    or does not match the embeddings.
    """
    # The ids of special pieces are found by these names when the vocabulary is read.
    for role, piece in zip(_ROLES, REQUIRED_PIECES, strict=True):
        token = files.tokens.get(role, piece)
        expect(token == piece, f"its {role}_token is {token}")
    if files.content:
        path, pieces = _read_tokenizer_json(files)
        preprocessing = accents_rule(*expect_bert_normalizer(files))
    else:
        path = files.folder / VOCAB
        pieces = _read_vocab_txt(files)
        preprocessing = _preprocessing_of_settings(files, pieces)
    all_pieces = with_added_tokens(path, pieces, files, vocab_size)
    published = len(all_pieces)
    # Rows of the model without a piece become [unused...], which occurs in no text, as in BERT's own
    # files.
    known = set(all_pieces)
    number = 0
    while len(all_pieces) < vocab_size:
        name = f"[unused{number}]"
        if name not in known:
            all_pieces.append(name)
        number += 1
    lines = [f"{piece}\n" for piece in all_pieces]
    model = "".join(lines).encode()
    return PublishedVocabulary(path, model, published, preprocessing)


def _read_tokenizer_json(files: TokenizerFiles) -> tuple[Path, list[str]]:
    """Return the path of tokenizer.json, and its pieces in the order of their ids.

    Raises UnreadableError if it splits words differently from BERT, and MasscliError if it is damaged,
    or if a vocab.txt in the same folder has different pieces.
    """
    model = files.part["model"]
    expect(is_type(model, "WordPiece"), f"its pieces are a {model.get('type')}")
    prefix = model.get("continuing_subword_prefix", "##")
    expect(prefix == "##", f"its pieces continue words with {prefix}")
    longest = model.get("max_input_chars_per_word", MAX_WORD_LENGTH)
    expect(longest == MAX_WORD_LENGTH, f"its longest word has {longest} characters")
    unknown = model.get("unk_token", "[UNK]")
    expect(unknown == "[UNK]", f"its unknown piece is {unknown}")
    path = files.folder / TOKENIZER
    pieces = ordered_pieces(path, model.get("vocab"))
    # Pieces are stored as lines.
    expect(
        not any(re.search(r"[\r\n]", piece) for piece in pieces),
        "it has pieces with line ends",
    )
    text_file = files.folder / VOCAB
    if text_file.exists():
        check_same_pieces(path, pieces, text_file, _read_vocab_txt(files))
    return path, pieces


def _read_vocab_txt(files: TokenizerFiles) -> list[str]:
    """Return the pieces in vocab.txt, one per line. Raises MasscliError if it cannot be read."""
    path = files.folder / VOCAB
    try:
        text = read_regular_text(path)
    except FileNotFoundError:
        raise missing_vocabulary(files, VOCAB) from None
    except OSError as error:
        raise MasscliError(f"{path}: cannot be read ({error})") from None
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _preprocessing_of_settings(
    files: TokenizerFiles, pieces: Sequence[str]
) -> TextPreprocessing:
    """Return how text is preprocessed, according to tokenizer_config.json.

    If it has no do_lower_case, text is lower-cased unless an ordinary piece has an upper-case letter.
    Raises UnreadableError if it asks for preprocessing that masscli does not support, and MasscliError
    if a setting is damaged.
    """
    expect(files.flag("do_basic_tokenize", True), "do_basic_tokenize is false")
    expect(
        files.flag("tokenize_chinese_chars", True), "tokenize_chinese_chars is false"
    )
    expect(not files.settings.get("never_split"), "it has words that are never split")
    strip_accents = files.settings.get("strip_accents")
    expect(strip_accents in (None, True, False), "it has an odd strip_accents")
    if "do_lower_case" in files.settings:
        return accents_rule(files.flag("do_lower_case", True), strip_accents)
    # Special pieces such as [CLS] are upper case in every vocabulary.
    ordinary = "".join(piece for piece in pieces if not piece.startswith(("[", "<")))
    has_upper = any(letter.isupper() for letter in ordinary)
    return accents_rule(not has_upper, strip_accents)
