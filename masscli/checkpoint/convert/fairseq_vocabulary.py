"""Read the vocabulary of a fairseq checkpoint: its dictionaries, and the model that splits text into pieces.

A dictionary has a piece and its count on each line. The first four ids are `<s> <pad> </s> <unk>`,
which the file does not list. `<mask>` has the fifth id in MASS for translation; in RoBERTa and BART it
follows the last line of the file, and in mBART it follows the language tags, such as `[en_XX]`, which
come after that line. MASS for summarization has BERT's vocabulary, with BERT's ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from masscli.checkpoint.convert.fairseq_tags import LanguageTags
from masscli.checkpoint.convert.foreign import ImportRequest
from masscli.checkpoint.convert.merges_txt import read_merges_txt
from masscli.core.digits import parse_digits
from masscli.core.errors import MasscliError
from masscli.core.files import read_named
from masscli.core.json_text import parse_json
from masscli.text.bpe_codes import read_merges
from masscli.text.byte_level_bpe import pack_byte_level_bpe
from masscli.text.corpus import decode_text
from masscli.text.dictionary_model import pack_dictionary
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.tokenizer import Tokenizer
from masscli.text.tokenizer_card import language_piece
from masscli.text.two_vocabularies import pack_two_vocabularies

SPECIAL_PIECES = ("<s>", "<pad>", "</s>", "<unk>")
PAD_ID = SPECIAL_PIECES.index("<pad>")
PADDING_FACTOR = 8
"""fairseq appends pieces `madeupword0000`, ... until the size of a dictionary is a multiple of this
number."""
_OVERWRITE = " #fairseq:overwrite"
MaskPlace = Literal["none", "fifth", "last", "last if room"]
"""Where `<mask>` is among the pieces: absent; with the fifth id; after the dictionary; or after it
unless the other pieces already fill the token embeddings."""


@dataclass(frozen=True)
class FairseqVocabulary:
    """The vocabulary of a fairseq model as a tokenizer, and where its ids are in the token embeddings.

    `rows` has, for each stack (`encoder`, `decoder`), masscli's id of each row of its token embeddings in
    fairseq's order. `notes` describe the vocabulary to the user.
    """

    tokenizer: Tokenizer
    rows: Mapping[str, Sequence[int]]
    notes: Sequence[str]


def read_fairseq_vocabulary(
    request: ImportRequest,
    languages: Mapping[str, str],
    sizes: Mapping[str, int],
    mask: MaskPlace,
    tags: LanguageTags,
) -> FairseqVocabulary:
    """Read the dictionaries of a model, and the files that say how its text is split into pieces.

    `languages` gives the language of each stack (`encoder`, `decoder`), and `sizes` the number of rows
    of its token embeddings; `mask` is the place of `<mask>` among the pieces. `tags` are the language
    tags (`[en_XX]`) that follow the dictionary. Raises MasscliError if a file is missing, or does not
    match the embeddings.
    """
    pieces = {}
    for stack, language in languages.items():
        path = _dictionary_path(request, language)
        # A dictionary may list the tags itself: the first occurrence of each counts.
        lines = dict.fromkeys(read_dictionary(path))
        if tags.missing_list is not None and not lines.keys() >= {*tags.pieces}:
            raise MasscliError(
                f"{tags.missing_list}: cannot be read, but has the languages of {request.path} (--lang-dict)",
                "put it next to the checkpoint",
            )
        lines |= dict.fromkeys(tags.pieces)
        pieces[stack] = _complete(list(lines), sizes[stack], mask, path)
    # A language model has one language, and a model of one language has it on both sides.
    names = tuple(dict.fromkeys(languages.values()))
    different = list(pieces.values())
    has_one_dictionary = different[0] == different[-1]
    if len(names) < 2 and not has_one_dictionary:
        raise MasscliError(
            f"{request.path}: source and target have different dictionaries, but both are called {names[0]}",
            "give the languages different names with -s and -t",
        )
    if has_one_dictionary:
        shared = different[0]
        tokenizer = _shared_tokenizer(request, shared, languages, tags)
        rows = dict.fromkeys(languages, range(len(shared)))
        note = f"vocabulary: {len(shared):,} pieces, {_how_split(request)}"
        return FairseqVocabulary(tokenizer, rows, [note])
    if tags.framing or tags.forces_target:
        raise MasscliError(
            f"{request.path}: has language tags, but two dictionaries",
            "give one --dict",
        )
    source, target = [
        (languages[stack], _pack(request, pieces[stack], {})) for stack in languages
    ]
    tokenizer = Tokenizer.from_bytes(
        request.path,
        pack_two_vocabularies(source, target),
        request.preprocessing,
        names,
    ).with_own_ranges()
    tokenizer = tokenizer.with_card_fields(decoder_start=tokenizer.vocab.eos)
    own_rows: dict[str, Sequence[int]] = {}
    counts = []
    for stack, language in languages.items():
        own_rows[stack] = tokenizer.own_ids(language)
        counts.append(f"{len(pieces[stack]):,} of {language}")
    note = f"two vocabularies: {' and '.join(counts)} pieces, {_how_split(request)}"
    return FairseqVocabulary(tokenizer, own_rows, [note])


def _shared_tokenizer(
    request: ImportRequest,
    pieces: Sequence[str],
    languages: Mapping[str, str],
    tags: LanguageTags,
) -> Tokenizer:
    """Return the tokenizer of a model with one dictionary, whose pieces by id are `pieces`.

    `languages` gives the language of each stack, and `tags` the language tags among the pieces.
    """
    names = tuple(dict.fromkeys(languages.values()))
    tag_ids = {}
    if tags.framing:
        for language in names:
            number = pieces.index(tags.of_language[language])
            tag_ids[language_piece(language)] = number
    data = _pack(request, pieces, tag_ids)
    tokenizer = Tokenizer.from_bytes(request.path, data, request.preprocessing, names)
    # Symbols that masscli appends to the dictionary are never predicted, since the model was not
    # trained on them.
    tokenizer = tokenizer.with_card_fields(
        decoder_start=tokenizer.vocab.eos, predicted_ids=(0, len(pieces))
    )
    if tags.forces_target:
        tag = pieces.index(tags.of_language[languages["decoder"]])
        tokenizer = tokenizer.with_card_fields(forced_prefix=(tag,))
    return tokenizer


def read_bert_vocabulary(
    request: ImportRequest, language: str, size: int
) -> FairseqVocabulary:
    """Return the WordPiece vocabulary of MASS for summarization, which encoder and decoder share.

    It is read from --vocab-file, BERT's vocab.txt, or else from a fairseq dictionary. Text is
    lower-cased with --lowercase, or if no piece has a capital letter. Raises MasscliError unless the
    vocabulary has `size` pieces, one for each row of the token embeddings.
    """
    if request.vocab_file is not None:
        path = request.vocab_file
        data = read_named(path, "--vocab-file")
    else:
        # A dictionary of fairseq without its counts is a vocab.txt.
        path = _dictionary_path(request, language)
        lines = [f"{piece}\n" for piece in read_dictionary(path)]
        data = "".join(lines).encode()
    cased = Tokenizer.from_bytes(path, data, TextPreprocessing(), (language,))
    pieces = cased.all_pieces()
    if len(pieces) != size:
        raise MasscliError(
            f"{path}: has {len(pieces)} pieces, but the model has {size} rows",
            "expected the model's vocab.txt",
        )
    # Special pieces such as [CLS] are upper case in every vocabulary.
    has_upper = any(
        piece != piece.lower() for piece in pieces if not piece.startswith("[")
    )
    preprocessing = TextPreprocessing(
        moses=request.moses, lowercase=request.lowercase or not has_upper
    )
    tokenizer = Tokenizer.from_bytes(path, data, preprocessing, (language,))
    tokenizer = tokenizer.with_card_fields(
        decoder_start=tokenizer.vocab.eos, predicted_ids=(0, size)
    )
    case = "lower-cased" if preprocessing.lowercase else "cased"
    rows = dict.fromkeys(("encoder", "decoder"), range(size))
    return FairseqVocabulary(
        tokenizer, rows, [f"vocabulary: {size:,} pieces of WordPiece, {case}"]
    )


def read_dictionary(path: Path) -> list[str]:
    """Return the pieces that the file of a fairseq dictionary lists, in their order.

    A line that ends with `#fairseq:overwrite` may repeat a piece, which then has the id of the later
    line; in the result the earlier one is replaced by a placeholder that occurs in no text. If the line
    repeats a special piece, that piece keeps its id, and the later line becomes the placeholder. Raises
    MasscliError, which names the file and the line, for a malformed line or one that repeats a piece
    without this mark.
    """
    pieces: dict[str, None] = {}
    lines = decode_text(read_named(path, "--dict"), path).removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        line = line.rstrip()
        overwrites = line.endswith(_OVERWRITE)
        piece, _, count = line.removesuffix(_OVERWRITE).rpartition(" ")
        if not piece or parse_digits(count.removeprefix("-")) is None:
            raise MasscliError(f"{path}:{number}: expected PIECE COUNT, got {line!r}")
        if overwrites and piece in SPECIAL_PIECES:
            # A special piece keeps its id, and no text is tokenized into it.
            piece = _placeholder(number)
        elif overwrites and piece in pieces:
            # The earlier row stays, so that later rows keep their numbers, but loses its name.
            names = [
                _placeholder(number) if earlier == piece else earlier
                for earlier in pieces
            ]
            pieces = dict.fromkeys(names)
        if piece in pieces or piece in SPECIAL_PIECES:
            raise MasscliError(
                f"{path}:{number}: {piece!r} occurs twice", "give each piece one line"
            )
        pieces[piece] = None
    return list(pieces)


def _placeholder(number: int) -> str:
    """Return a name for a row of the dictionary that no text is tokenized into, since it contains a space."""
    return f"<overwritten {number}>"


def _dictionary_path(request: ImportRequest, language: str) -> Path:
    """Return the path of the dictionary of a language.

    It is the one that --dict gives for the language or for all languages, or else dict.LANG.txt or
    dict.txt in the folder of the checkpoint. Raises MasscliError if there is none.
    """
    # A dictionary for this language takes precedence over one for all, whose key is empty.
    for name in (language, ""):
        if name in request.dictionaries:
            return request.dictionaries[name]
    for file_name in (f"dict.{language}.txt", "dict.txt"):
        if (request.path.parent / file_name).is_file():
            return request.path.parent / file_name
    raise MasscliError(
        f"{request.path}: there is no dict.{language}.txt next to it",
        f"name the dictionary with --dict {language}=FILE",
    )


def _complete(
    lines: Sequence[str], size: int, mask: MaskPlace, path: Path
) -> list[str]:
    """Return the piece of each row of the token embeddings: special pieces, `lines`, and fairseq's fillers.

    `lines` are the pieces of a dictionary, `size` is the number of rows, and `mask` is the place of
    `<mask>`, which is added unless it is among `lines`. Raises MasscliError, which names the dictionary
    `path`, if the pieces do not match the number of rows.
    """
    pieces = [*SPECIAL_PIECES, *lines]
    # Fine-tuning removes the row of <mask> from BART.
    has_mask = mask != "none" and not (mask == "last if room" and len(pieces) == size)
    if has_mask and "<mask>" not in pieces:
        place = len(pieces)
        if mask == "fifth":
            place = len(SPECIAL_PIECES)
        pieces.insert(place, "<mask>")
    missing = size - len(pieces)
    # More rows are missing only if the dictionary belongs to another model.
    if not 0 <= missing < PADDING_FACTOR:
        raise MasscliError(
            f"{path}: has {len(lines):,} pieces, which do not match token embeddings of {size:,} rows",
            "is it the dictionary of this model and language?",
        )
    number = 0
    while len(pieces) < size:
        # A dictionary saved by fairseq may already contain some of these names.
        if f"madeupword{number:04d}" not in pieces:
            pieces.append(f"madeupword{number:04d}")
        number += 1
    return pieces


def _pack(
    request: ImportRequest, pieces: Sequence[str], tag_ids: Mapping[str, int]
) -> bytes:
    """Return the vocabulary model to store in a run: `pieces` by id, and how text is split into them.

    `tag_ids` are the ids of the language tags, by masscli's names for them. Text is split by the
    SentencePiece model, GPT-2's BPE or the BPE merges of the request, or else only at white space.
    """
    special = {}
    for number, piece in enumerate(pieces):
        if piece in SPECIAL_PIECES or piece == "<mask>":
            special[piece] = number
    special |= tag_ids
    if request.spm_model is not None:
        model = read_named(request.spm_model, "--spm-model")
        return pack_numbered_sentencepiece(model, pieces, special)
    if request.encoder_json is not None:
        return _pack_gpt2(request, pieces, special)
    merges = None
    if request.bpe_codes is not None:
        merges = read_merges(request.bpe_codes)
    return pack_dictionary(pieces, special, merges)


def _pack_gpt2(
    request: ImportRequest, pieces: Sequence[str], special: Mapping[str, int]
) -> bytes:
    """Return masscli's byte-level BPE model for a dictionary whose pieces are ids of GPT-2, as numbers.

    `pieces` are those of the dictionary in the order of fairseq's ids, which the result keeps, and
    `special` are the ids of special pieces by name. An id that belongs neither to a special piece nor
    to a piece of GPT-2 is marked as unused. Raises MasscliError if encoder.json or vocab.bpe, which the
    request must name, is damaged.
    """
    assert request.encoder_json is not None and request.vocab_bpe is not None
    text = decode_text(
        read_named(request.encoder_json, "--encoder-json"), request.encoder_json
    )
    try:
        numbers = parse_json(text)
        gpt2_pieces = {
            str(int(number)): str(piece) for piece, number in numbers.items()
        }
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise MasscliError(
            f"--encoder-json {request.encoder_json}: is not a table of pieces"
        ) from None
    merges = read_merges_txt(request.vocab_bpe)
    # Special pieces have names instead of numbers in the dictionary.
    named = [gpt2_pieces.get(piece, piece) for piece in pieces]
    special_ids = set(special.values())
    unused = []
    for number, piece in enumerate(pieces):
        if piece not in gpt2_pieces and number not in special_ids:
            unused.append(number)
    return pack_byte_level_bpe(named, merges, special, unused_ids=unused)


def _how_split(request: ImportRequest) -> str:
    """Return the end of a note for the user: how text is split and preprocessed, and the options for it."""
    for path in (request.spm_model, request.bpe_codes, request.vocab_bpe):
        if path is not None:
            split = f"split by {path}"
            break
    else:
        split = "split at white space (see --spm-model, --bpe-codes, --encoder-json)"
    return f"{split}; {request.text_note()}"
