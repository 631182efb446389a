"""Read the vocabulary of a published model, keeping its ids exactly.

The class of its tokenizer determines its kind. masscli's own readers support BERT's WordPiece, GPT's
two kinds of BPE, and SentencePiece with the ids of ALBERT, XLM-R or CamemBERT. If tokenizer.json asks
for anything that they do not support, it is read through Hugging Face's own library
(masscli.text.fast_tokenizer). What neither can read is refused with an error that names it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.bpe_files import read_byte_level, read_gpt
from masscli.checkpoint.convert.folder import SETTINGS, TOKENIZER
from masscli.checkpoint.convert.post_processor import (
    Around,
    DamagedTemplateError,
    count_separators,
    read_around,
)
from masscli.checkpoint.convert.published_vocabulary import (
    PublishedVocabulary,
    UnreadableError,
)
from masscli.checkpoint.convert.sentencepiece_files import (
    read_albert,
    read_camembert,
    read_xlmr,
)
from masscli.checkpoint.convert.tokenizer_files import (
    GENERIC_CLASSES,
    TokenizerFiles,
    read_tokenizer_files,
)
from masscli.checkpoint.convert.wordpiece_files import read_wordpiece
from masscli.core.errors import MasscliError
from masscli.objectives.registry import PairFormatName
from masscli.text.fast_tokenizer import find_marker, pack_fast_tokenizer
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.subword_model import BadModelError
from masscli.text.tokenizer import Tokenizer

OWN_VOCABULARY = "masscli"
"""Name of the folder with masscli's own vocabulary files in an exported model. It is written if no
Hugging Face tokenizer gives the ids of the vocabulary."""
Reader = Callable[[TokenizerFiles, int], PublishedVocabulary]
READERS: Mapping[str, Reader] = {
    "BertTokenizer": read_wordpiece,
    "DistilBertTokenizer": read_wordpiece,
    "ElectraTokenizer": read_wordpiece,
    "RobertaTokenizer": read_byte_level,
    "BartTokenizer": read_byte_level,
    "GPT2Tokenizer": read_byte_level,
    "OpenAIGPTTokenizer": read_gpt,
    "AlbertTokenizer": read_albert,
    "XLMRobertaTokenizer": read_xlmr,
    "CamembertTokenizer": read_camembert,
}
"""The function that reads the vocabulary of a tokenizer, by the name of its class without `Fast`."""
_GENERIC_READERS: Mapping[str, Reader] = {
    "WordPiece": read_wordpiece,
    "BPE": read_byte_level,
}
"""The function that reads a vocabulary whose class is generic, by the `type` of its model in
tokenizer.json."""

PAIR_FORMATS: Mapping[str, PairFormatName] = {
    "BertTokenizer": "bert",
    "DistilBertTokenizer": "bert",
    "ElectraTokenizer": "bert",
    "AlbertTokenizer": "bert",
    "RobertaTokenizer": "roberta",
    "BartTokenizer": "roberta",
    "XLMRobertaTokenizer": "roberta",
    "CamembertTokenizer": "roberta",
    "XLMTokenizer": "bert",
}
"""How the classes of tokenizers that put special tokens around texts join two texts, see --pair-format."""

_ONLY_IN_PYTHON = ("BertJapaneseTokenizer", "BertweetTokenizer", "PhobertTokenizer")
"""Classes of tokenizers of these families' models that the library has in Python alone, without a
tokenizer.json."""

_WITHOUT_FRAME = ("GPT2Tokenizer", "OpenAIGPTTokenizer")
"""Classes of tokenizers of language models, whose texts have no special tokens around them."""


@dataclass(frozen=True)
class ImportedVocabulary:
    """A tokenizer with a published vocabulary's ids, and notes for the user."""

    tokenizer: Tokenizer
    notes: list[str]
    pair_format: PairFormatName | None = None
    """How its tokenizer joins two texts; None if nothing says so."""
    max_length: int | None = None
    """The length to which its tokenizer truncates texts, in tokens; None if nothing says so."""
    cuts_start: bool = False
    """Whether its tokenizer cuts off the start of a long text instead of its end."""


def read_vocabulary(
    folder: Path, default_class: str, vocab_size: int, languages: Sequence[str]
) -> ImportedVocabulary:
    """Read the vocabulary of a published model in a folder, for `vocab_size` rows of token embeddings.

    The class of its tokenizer is `default_class` if no file names it. In the result, ids from
    `vocab_size` on are new: special symbols and tags of `languages` that the vocabulary lacks. Raises
    MasscliError if there is no readable vocabulary, or if it does not match the embeddings.
    """
    files = read_tokenizer_files(folder, default_class)
    # A folder exported by masscli may have no other vocabulary.
    if (folder / OWN_VOCABULARY).is_dir():
        tokenizer, note = _read_own(folder / OWN_VOCABULARY, vocab_size, languages)
        return _imported_vocabulary(files, tokenizer, [note])
    published = _read_published(files, vocab_size)
    tokenizer = Tokenizer.from_bytes(
        published.path, published.model, published.preprocessing, languages
    )
    prompt_notes: list[str] = []
    if default_class in _WITHOUT_FRAME:
        starts, prompt_notes = _read_prompt_start(files, tokenizer)
        tokenizer = tokenizer.with_card_fields(prompt_start=starts)
    description = published.description
    if not description:
        description = "lower-cased" if published.preprocessing.lowercase else "cased"
    notes = [f"vocabulary {published.path}: {published.pieces:,} pieces, {description}"]
    notes += [*files.notes, *_template_notes(files, tokenizer, default_class)]
    notes += prompt_notes
    new = tokenizer.vocab.size - vocab_size
    if new:
        notes.append(
            f"{new} ids are new, drawn at random: symbols and languages that the vocabulary lacks"
        )
    # Tables are often padded to a multiple of 8 or 64.
    if vocab_size > published.pieces:
        notes.append(
            f"rows {published.pieces} to {vocab_size - 1} of the token embeddings have no piece"
        )
    return _imported_vocabulary(files, tokenizer, notes)


def _imported_vocabulary(
    files: TokenizerFiles, tokenizer: Tokenizer, notes: list[str]
) -> ImportedVocabulary:
    """Return an imported vocabulary, with what its files say about pairs of texts and their length."""
    max_length = read_max_length(files.settings)
    return ImportedVocabulary(
        tokenizer, notes, _pair_format(files), max_length, cuts_start(files.settings)
    )


def cuts_start(settings: Mapping[str, Any]) -> bool:
    """Return whether a tokenizer cuts off the start of a text, from the content of tokenizer_config.json."""
    return settings.get("truncation_side") == "left"


def read_max_length(settings: Mapping[str, Any]) -> int | None:
    """Return the length to which a tokenizer truncates texts, from the content of tokenizer_config.json.

    It is counted in tokens; None means that nothing says so.
    """
    max_length = settings.get("model_max_length")
    # Without a limit, the library writes a number of 31 digits.
    return max_length if type(max_length) is int else None


def _pair_format(files: TokenizerFiles) -> PairFormatName | None:
    """Return how a tokenizer joins two texts, by its class or its post_processor; None if neither says so."""
    if files.class_name in PAIR_FORMATS:
        return PAIR_FORMATS[files.class_name]
    try:
        between = count_separators(files.part["post_processor"])
    except DamagedTemplateError:
        return None
    formats: dict[int | None, PairFormatName] = {1: "bert", 2: "roberta"}
    return formats.get(between)


def _template_notes(
    files: TokenizerFiles, tokenizer: Tokenizer, default_class: str
) -> list[str]:
    """Return a list with a note if tokenizer.json does not frame a text as masscli does, or an empty list.

    masscli frames every text of an encoder by the special tokens `cls` and `sep`. `default_class` is the
    tokenizer class of the model's family.
    """
    vocab = tokenizer.vocab
    if not files.content or default_class in _WITHOUT_FRAME:
        return []
    try:
        around = read_around(files.part["post_processor"])
    except DamagedTemplateError:
        around = None
    if around == Around((vocab.cls,), (vocab.sep,)):
        return []
    pieces = tokenizer.all_pieces()
    frame = [
        pieces[number] for number in (vocab.cls, vocab.sep) if number < len(pieces)
    ]
    return [
        f"masscli puts {' and '.join(frame)} around a text, but the post_processor of {TOKENIZER} does not"
    ]


def _read_prompt_start(
    files: TokenizerFiles, tokenizer: Tokenizer
) -> tuple[bool, list[str]]:
    """Return whether a language model's tokenizer puts the start symbol before a prompt, and notes.

    Most put nothing around a prompt. A note says so if a tokenizer puts other special tokens there, which are
    not imported. Raises MasscliError if a setting is wrong.
    """
    start = tokenizer.vocab.bos
    if not files.content:
        return files.flag("add_bos_token", False), []
    try:
        around = read_around(files.part["post_processor"])
    except DamagedTemplateError:
        around = None
    if around == Around((), ()):
        return False, []
    if around == Around((start,), ()):
        return True, []
    return False, [
        f"masscli puts nothing around a prompt, but the post_processor of {TOKENIZER} does"
    ]


def _read_own(
    folder: Path, vocab_size: int, languages: Sequence[str]
) -> tuple[Tokenizer, str]:
    """Read a vocabulary that `masscli export` wrote in masscli's own format; return it and a note.

    Raises MasscliError if it lacks one of `languages`, or if its number of ids is not `vocab_size`.
    """
    tokenizer = Tokenizer.load(folder)
    for language in languages:
        if language not in tokenizer.vocab.languages:
            known = ",".join(tokenizer.vocab.languages)
            raise MasscliError(
                f"{folder}: has no language {language!r}", f"--langs {known}"
            )
    if tokenizer.vocab.size != vocab_size:
        raise MasscliError(
            f"{folder}: has {tokenizer.vocab.size} ids, but the model has {vocab_size} rows",
            "vocabulary and config.json belong to different models",
        )
    return tokenizer, f"vocabulary {folder}: {tokenizer.vocab.size:,} ids of masscli"


def _read_published(files: TokenizerFiles, vocab_size: int) -> PublishedVocabulary:
    """Read the vocabulary with one of masscli's readers, or else through Hugging Face's library.

    Raises MasscliError if files are damaged or do not match `vocab_size`, the number of rows of the
    embeddings, or if masscli's readers cannot read them and there is no tokenizer.json for the library
    to read.
    """
    kind = files.part["model"].get("type")
    reader = READERS.get(files.class_name)
    # A generic class does not tell the kind of vocabulary, but the model in tokenizer.json does.
    if files.class_name in GENERIC_CLASSES:
        reader = _GENERIC_READERS.get(str(kind))
    try:
        if reader is None:
            raise UnreadableError(f"its tokenizer is a {files.class_name}")
        return reader(files, vocab_size)
    except UnreadableError as error:
        if not files.content:
            hint = "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes one"
            if files.class_name in _ONLY_IN_PYTHON:
                hint = "this class cannot write one: the model cannot be imported with its tokenizer"
            raise MasscliError(
                f"{files.folder / SETTINGS}: {error}, and there is no {TOKENIZER} to read it from",
                hint,
            ) from None
        return _read_through_library(files, vocab_size, str(error))


def _read_through_library(
    files: TokenizerFiles, vocab_size: int, reason: str
) -> PublishedVocabulary:
    """Read tokenizer.json through the package `tokenizers`.

    `reason` is a clause, for messages, on why masscli's own reader cannot read it. Raises MasscliError
    if the package is missing, if the tokenizer cannot be used, or if it has more ids than `vocab_size`.
    """
    path = files.folder / TOKENIZER
    if find_marker(files.content) is None:
        decoder = files.part["decoder"].get("type")
        raise MasscliError(
            f"{path}: {reason}, and its decoder {decoder} does not show where words begin",
            "a decoder ByteLevel, Metaspace, WordPiece or BPEDecoder does",
        )
    try:
        model, pieces = pack_fast_tokenizer(files.content, files.role_ids, vocab_size)
    except BadModelError as error:
        raise MasscliError(f"{path}: {error.message}", error.hint) from None
    # The package is missing, and Python's own error would not say why it is needed.
    except MasscliError as error:
        raise MasscliError(
            f"{path}: {reason}; that needs Hugging Face's tokenizers", error.hint
        ) from None
    return PublishedVocabulary(
        path,
        model,
        pieces,
        TextPreprocessing(),
        f"read through Hugging Face's tokenizers, as {reason}",
    )
