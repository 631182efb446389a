"""Extend the vocabulary of a trained model by a language and by pieces for it.

All ids of the old vocabulary are kept, and text of its languages is split as before. They are followed
by an id for each new language, the characters of the new text that the old vocabulary lacks, and pieces
that continued BPE training (see continued_bpe.py) makes from the old ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from masscli.core.errors import MasscliError
from masscli.text.continued_bpe import Word, learn_merges
from masscli.text.dictionary_model import DictionaryModel
from masscli.text.extended_model import (
    ExtendedModel,
    ExtensibleModel,
    Extension,
    pack_extended,
    words_of_pieces,
)
from masscli.text.model_kinds import EXTENSIBLE_KINDS, KINDS_OF_WORDS
from masscli.text.numbered_sentencepiece import NumberedSentencePieceModel
from masscli.text.piece_spelling import PieceSpelling, PieceSplitter
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.sentencepiece_model import SentencePieceModel
from masscli.text.stored_vocabulary import check_preprocessing, find_tokenizer_folder
from masscli.text.tokenizer import Tokenizer
from masscli.text.tokenizer_card import (
    SPECIAL_PIECES,
    TokenizerCard,
    language_piece,
    spare_piece,
)
from masscli.text.vocabulary import Vocabulary


@dataclass(frozen=True)
class ExtensionReport:
    """What an extension has added, and how long the words of the new text are in pieces."""

    characters: int
    merged_pieces: int
    pieces_per_word_before: float
    pieces_per_word_after: float


def load_to_extend(
    path: Path, preprocessing: TextPreprocessing, languages: Sequence[str]
) -> Tokenizer:
    """Return the tokenizer of the data folder, run or imported checkpoint that --extend names.

    `preprocessing` and `languages` are what the user asks for. Raises MasscliError if there is no tokenizer,
    if it cannot be extended by these languages or has all of them, or if it preprocesses text in another way.
    What is done to Romanian letters may differ where Romanian is new.
    """
    if not path.exists():
        raise MasscliError(f"--extend {path}: no such folder")
    folder = find_tokenizer_folder(path)
    if folder is None:
        raise MasscliError(
            f"--extend {path}: has no vocabulary with ids and languages",
            "name a data folder, a run or an imported checkpoint; --spm-model takes a model's file",
        )
    tokenizer = Tokenizer.load(folder)
    known = tokenizer.vocab.languages
    if all(language in known for language in languages):
        raise MasscliError(
            f"--extend {path}: its vocabulary has {', '.join(languages)} already",
            "name a new language in --langs, or use the vocabulary as it is with --spm-model",
        )
    obstacle = _obstacle(tokenizer)
    if obstacle:
        raise MasscliError(
            f"--extend {path}: its vocabulary {obstacle}, and cannot be extended",
            "train a model with a vocabulary for all languages, or choose another one to begin with",
        )
    _check_tags(
        tokenizer, [language for language in languages if language not in known], path
    )
    if "ro" not in known:
        preprocessing = replace(
            preprocessing, romanian=tokenizer.preprocessing.romanian
        )
    hint = "leave it out: all text is preprocessed as for the old vocabulary"
    check_preprocessing(tokenizer.card, preprocessing, f"--extend {path}", hint)
    return tokenizer


def extend_vocabulary(
    old: Tokenizer,
    lines: Iterable[str],
    languages: Sequence[str],
    new_pieces: int,
    character_coverage: float = 1.0,
    romanian: str | None = None,
) -> tuple[Tokenizer, ExtensionReport]:
    """Return a tokenizer with the ids of `old` and further languages and pieces, and a report.

    `lines` are text of the new `languages`, preprocessed as `old` does it. At most `new_pieces` pieces are
    added, characters included; there are fewer if the text does not have so many that occur more than once.
    With 0, only languages are added. `character_coverage` is the share of the characters of the text that are
    to have a piece. `romanian` is what to do with Romanian letters (see TextPreprocessing), where Romanian is
    new; otherwise that of `old` holds.

    The vocabulary must be of a kind that `load_to_extend` accepts. Raises MasscliError if there are more new
    characters than `new_pieces`.
    """
    # The models of these kinds have the methods that extending needs.
    model = cast(ExtensibleModel, old.subword_model)
    spelling = PieceSpelling(old.subword_marker)
    words = _count_words(model, old.base_kind in KINDS_OF_WORDS, lines, spelling)
    characters: list[str] = []
    if new_pieces:
        characters = _choose_characters(
            words, model.text_ids, spelling, character_coverage, new_pieces
        )
    known = model.text_ids.keys() | set(characters)
    learnable = _without_unknown(words, known)
    merges, merged = learn_merges(
        learnable, new_pieces - len(characters), spelling, known
    )

    # New ids come after all old ones, so that the rows of a trained model keep their positions.
    first_id = old.card.size
    language_ids = range(first_id, first_id + len(languages))
    pieces = [*map(language_piece, languages), *characters, *merged]
    size = first_id + len(pieces)
    extension = Extension(tuple(languages), tuple(merges), size)
    data = _pack(
        old, model, dict(zip(languages, language_ids, strict=True)), pieces, extension
    )
    extended = old.with_extension(data, size, languages, language_ids, romanian)
    extended_model = extended.subword_model
    assert isinstance(extended_model, ExtendedModel)
    side = extended_model.sides[languages[0]]
    report = ExtensionReport(
        len(characters),
        len(merged),
        _mean_length(words, len),
        _mean_length(words, lambda word: len(side.encode_word(word))),
    )
    return extended, report


def why_not_extended(new: Tokenizer, old: Tokenizer) -> str | None:
    """Return why a vocabulary is not an extension of an older one, or None if it is.

    If it is, every id of `old` means the same in `new`, and text of old languages has the same ids in
    both. This is verified by content: the subword model that was extended, the piece of every id,
    special symbols, languages, and text preprocessing. The reason is the end of a sentence about `new`.
    """
    model = new.subword_model
    if not isinstance(model, ExtendedModel):
        return "it was not extended"
    if not model.begins_with(old.model_bytes):
        return "it was made from a different vocabulary"
    if new.all_pieces()[: len(old.all_pieces())] != old.all_pieces():
        return "its pieces have other ids"
    symbols = _special_symbols(new.vocab)
    for symbol, old_ids in _special_symbols(old.vocab).items():
        if symbols[symbol] != old_ids:
            return f"its special symbol {symbol} has another id"
    if not old.vocab.languages.items() <= new.vocab.languages.items():
        return "a language has another id"
    if not _same_preprocessing(new, old):
        return "its text is preprocessed in another way"
    return None


def _special_symbols(vocab: Vocabulary) -> dict[str, object]:
    """Return the id, or the ids, of each special symbol except languages, by a name for messages."""
    return {
        **vocab.role_ids,
        "spare": vocab.spare,
        "decoder_start": vocab.decoder_start,
        "forced_prefix": vocab.forced_prefix,
    }


def _same_preprocessing(new: Tokenizer, old: Tokenizer) -> bool:
    """Return whether text of the languages of `old` is preprocessed in the same way for both."""
    before, after = old.preprocessing, new.preprocessing
    if "ro" not in old.vocab.languages:
        # The treatment of Romanian letters affects no language of the old vocabulary.
        before = replace(before, romanian=after.romanian)
    return before == after


def _obstacle(tokenizer: Tokenizer) -> str | None:
    """Return why a vocabulary cannot be extended, as the rest of a sentence about it, or None if it can."""
    base = tokenizer.subword_model
    if isinstance(base, ExtendedModel):
        base = base.base
    if tokenizer.base_kind not in EXTENSIBLE_KINDS:
        return f"is of the kind {tokenizer.base_kind}"
    if (
        isinstance(base, SentencePieceModel | NumberedSentencePieceModel)
        and base.has_bytes
    ):
        return "writes unknown characters as bytes (byte_fallback)"
    if isinstance(base, NumberedSentencePieceModel) and base.sides:
        return "has a SentencePiece model for each of its languages"
    if isinstance(base, DictionaryModel) and not base.has_merges:
        return "is a dictionary of whole words, without merges"
    return None


def _check_tags(tokenizer: Tokenizer, languages: Sequence[str], path: Path) -> None:
    """Raise MasscliError if an imported vocabulary, from `path`, has a tag for a new language already."""
    for name in tokenizer.subword_model.special_ids:
        for language in languages:
            # Tags look like __ro__ or ro_RO.
            if language in (name, name.strip("_"), name.split("_")[0]):
                raise MasscliError(
                    f"--extend {path}: its vocabulary has the tag {name} for {language} already",
                    f"import the model again, with {language} in --langs",
                )


def _count_words(
    model: ExtensibleModel,
    by_words: bool,
    lines: Iterable[str],
    spelling: PieceSpelling,
) -> dict[Word, int]:
    """Return the words of some lines, split into pieces of the old vocabulary, and how often each occurs.

    `by_words` says that the pieces of a line are those of its words in a row.
    """
    texts: Counter[str] = Counter()
    # Most words occur many times, and are split only once where lines can be split word by word.
    for line in lines:
        if by_words:
            texts.update(line.split(" "))
        else:
            texts[line] += 1
    words: Counter[Word] = Counter()
    splitter = PieceSplitter(spelling, model.text_ids)
    for text, count in texts.items():
        for word in words_of_pieces(model.encode_as_pieces(text), splitter):
            words[word] += count
    return words


def _choose_characters(
    words: Mapping[Word, int],
    known: Container[str],
    spelling: PieceSpelling,
    coverage: float,
    most: int,
) -> list[str]:
    """Return the characters that the old vocabulary lacks, as pieces, the most frequent first.

    The rarest are left out, as long as a share `coverage` of all characters has a piece. Raises MasscliError
    if more than `most` are left.
    """
    total = 0
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for piece in word:
            total += count * len(spelling.text(piece))
            if piece not in known:
                counts[piece] += count
    # Sorted by the piece as well, so that the result does not depend on the order of the text.
    characters = sorted(counts, key=lambda piece: (-counts[piece], piece))
    # The small number makes up for rounding: 1 - 0.9 is a little less than 0.1.
    may_lose = (1 - coverage) * total + 1e-6
    while characters and counts[characters[-1]] <= may_lose:
        may_lose -= counts[characters.pop()]
    if len(characters) > most:
        raise MasscliError(
            f"--new-pieces {most} is too small: {len(characters)} characters are not in the vocabulary",
            f"give at least {len(characters)}, or a lower --character-coverage such as 0.9995",
        )
    return characters


def _without_unknown(
    words: Mapping[Word, int], known: Container[str]
) -> dict[Word, int]:
    """Return the words with their counts, split where a piece is not known; such pieces are left out."""
    parts: Counter[Word] = Counter()
    for word, count in words.items():
        start = 0
        # None stands for the end of the word, which ends the last part.
        for end, piece in enumerate((*word, None)):
            if piece is None or piece not in known:
                if end > start:
                    parts[word[start:end]] += count
                start = end + 1
    return parts


def _mean_length(words: Mapping[Word, int], length: Callable[[Word], int]) -> float:
    """Return the mean of `length` over all occurrences of the words; 0 if there are none."""
    total = sum(count * length(word) for word, count in words.items())
    return total / max(1, sum(words.values()))


def _pack(
    old: Tokenizer,
    model: ExtensibleModel,
    language_ids: Mapping[str, int],
    pieces: Sequence[str],
    extension: Extension,
) -> bytes:
    """Return the bytes of the extended model; `pieces` are those after all ids of the old vocabulary."""
    card = old.card
    special_ids = {**model.special_ids, **_special_ids(card)}
    for language, number in language_ids.items():
        special_ids[language_piece(language)] = number
    # A further extension is stored next to the earlier ones, so that files are not nested in each
    # other.
    if isinstance(model, ExtendedModel):
        new_pieces = [*model.new_pieces, *pieces]
        return pack_extended(
            model.base_bytes, special_ids, new_pieces, [*model.extensions, extension]
        )
    # Special symbols that the old model lacks have ids after its own.
    names = {number: name for name, number in special_ids.items()}
    added = [names[number] for number in range(card.pieces, card.size)]
    return pack_extended(old.model_bytes, special_ids, [*added, *pieces], [extension])


def _special_ids(card: TokenizerCard) -> dict[str, int]:
    """Return the id of each special symbol of a card, by masscli's name for it."""
    ids = {
        SPECIAL_PIECES[role]: role_id
        for role, role_id in card.vocabulary().role_ids.items()
    }
    for language, language_id in zip(card.languages, card.language_ids, strict=True):
        ids[language_piece(language)] = language_id
    for number, spare_id in enumerate(card.spare):
        ids[spare_piece(number)] = spare_id
    return ids
