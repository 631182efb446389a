"""Export the vocabulary of a run as files of Hugging Face's tokenizers, if one of them gives the same ids.

A published vocabulary is written to the kind of files that it was imported from, and a SentencePiece
model to a tokenizer.json with the same pieces. masscli's own format, in the folder `masscli`, is read
by `masscli import`; it is the only one written if no tokenizer gives the same ids, since a tokenizer
that gives different ids would be worse than none.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.checkpoint.convert.families import Family
from masscli.checkpoint.convert.fast_tokenizer import Template, fast_tokenizer_files
from masscli.checkpoint.convert.fast_wordpiece import STRIPS_ACCENTS
from masscli.checkpoint.convert.folder import SETTINGS, TOKENIZER, json_bytes
from masscli.checkpoint.convert.lines_to_try import lines_to_try
from masscli.checkpoint.convert.sentencepiece_files import camembert_pieces, xlmr_pieces
from masscli.checkpoint.convert.sentencepiece_proto import (
    UNIGRAM,
    read_normalizer_spec,
    user_defined_pieces,
)
from masscli.checkpoint.convert.tokenizer_files import ROLES
from masscli.checkpoint.convert.vocabulary import OWN_VOCABULARY, READERS
from masscli.checkpoint.convert.wordpiece_files import read_wordpiece
from masscli.data.batches.sequences import PairFormat
from masscli.objectives.shared.table_options import TableOptions
from masscli.text import byte_level_bpe, fast_tokenizer, gpt_bpe, numbered_sentencepiece
from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.model_kinds import (
    BYTE_LEVEL_BPE,
    FAST_TOKENIZER,
    GPT_BPE,
    NUMBERED_SENTENCEPIECE,
    WORDPIECE,
)
from masscli.text.packed_vocabulary import PackedVocabulary, unpack
from masscli.text.sentencepiece_model import SentencePieceModel
from masscli.text.tokenizer import Tokenizer
from masscli.text.tokenizer_card import MODEL_FILE, TOKENIZER_FILE

Files = dict[str, bytes]
_SPACES = ("\t", "\u00a0", "\u3000", SENTENCEPIECE_SPACE)
"""Characters that the published SentencePiece models treat as spaces."""


@dataclass(frozen=True)
class ExportedVocabulary:
    """The contents of a vocabulary's files by name, and notes for the user.

    `size` is the number of rows of the token embeddings that belong to the exported vocabulary; rows
    after them are not exported.
    """

    files: Files
    size: int
    notes: list[str]


def export_vocabulary(checkpoint: Checkpoint, family: Family) -> ExportedVocabulary:
    """Return the files of a run's vocabulary for a family, and how many token embeddings belong to them.

    If no Hugging Face tokenizer gives the same ids, the files are in masscli's own format.
    """
    tokenizer = checkpoint.tokenizer()
    files = _hugging_face_files(tokenizer, family)
    if files is None:
        return _generic_vocabulary(checkpoint)
    settings = json.loads(files[SETTINGS])
    settings["model_max_length"] = _longest_sequence(checkpoint)
    files[SETTINGS] = json_bytes(settings)
    size = _published_size(tokenizer, family)
    notes = []
    if size < tokenizer.vocab.size:
        last = tokenizer.vocab.size - 1
        notes.append(
            f"token embeddings {size} to {last} are left out: symbols and languages of masscli's own"
        )
    return ExportedVocabulary(files, size, notes)


def _generic_vocabulary(checkpoint: Checkpoint) -> ExportedVocabulary:
    """Return a vocabulary without a corresponding Hugging Face class, in masscli's own format.

    A tokenizer.json is added if one gives the same ids.
    """
    tokenizer = checkpoint.tokenizer()
    languages = tokenizer.vocab.languages
    lines, tried = lines_to_try(checkpoint, [(name, name) for name in languages])
    template = _template(checkpoint)
    inputs = ["input_ids", "attention_mask"]
    if template.has_segments:
        inputs.append("token_type_ids")
    settings = {
        "model_max_length": _longest_sequence(checkpoint),
        "model_input_names": inputs,
    }
    size = tokenizer.vocab.size
    files, note = fast_tokenizer_files(
        tokenizer, size, template, settings, lines, tried
    )
    folder = (
        f"its vocabulary is in the folder {OWN_VOCABULARY}, which masscli import reads"
    )
    return ExportedVocabulary(
        {**own_vocabulary_files(tokenizer), **files}, size, [note, folder]
    )


def _longest_sequence(checkpoint: Checkpoint) -> int:
    """Return the maximum length in tokens of what a run reads: that of its tasks, or that of the model.

    Hugging Face's tokenizers truncate texts to it if asked to, and so does masscli.
    """
    lengths = [checkpoint.recipe.model.max_positions]
    for stream in checkpoint.recipe.stream.values():
        if isinstance(stream.objective, TableOptions):
            lengths.append(stream.objective.max_length)
    return min(lengths)


def _template(checkpoint: Checkpoint) -> Template:
    """Return the special tokens that the objectives of a run with a single stack put around texts."""
    model = checkpoint.recipe.model
    vocab = checkpoint.tokenizer().vocab
    objectives = [stream.objective for stream in checkpoint.recipe.stream.values()]
    # A language model continues its text, which therefore has no end symbol yet.
    if not model.encoder_layers and not any(
        isinstance(objective, TableOptions) for objective in objectives
    ):
        return Template([vocab.bos] if vocab.prompt_start else [], [])
    kind = "gpt"
    if model.encoder_layers:
        learned = {objective.learned_pair_format for objective in objectives}
        kind = "roberta" if learned == {"roberta"} else "bert"
    before, between, after = PairFormat(kind, vocab).special_tokens()
    has_segments = kind == "bert" and model.segments > 1
    return Template(before, after, between, has_segments)


def _published_size(tokenizer: Tokenizer, family: Family) -> int:
    """Return the number of ids to export: enough for all pieces and for the special ids of the family.

    Symbols that masscli adds after them are not counted.
    """
    ids = [tokenizer.vocab.role_ids[role] for role in family.roles]
    return max(len(tokenizer.all_pieces()), 1 + max(ids))


def _hugging_face_files(tokenizer: Tokenizer, family: Family) -> Files | None:
    """Return the contents of files for Hugging Face's library by name.

    Return None if none of its tokenizers gives the same ids for the same text.
    """
    preprocessing = tokenizer.preprocessing
    # That library's tokenizers do not support these steps.
    if preprocessing.moses or preprocessing.normalize or preprocessing.romanian:
        return None
    writers: Mapping[str, Callable[[Tokenizer, Family], Files | None]] = {
        WORDPIECE: _wordpiece,
        BYTE_LEVEL_BPE: _byte_level,
        GPT_BPE: _gpt,
        NUMBERED_SENTENCEPIECE: _sentencepiece,
        FAST_TOKENIZER: _tokenizer_json,
    }
    writer = writers.get(tokenizer.model_kind)
    if writer is None:
        return None
    return writer(tokenizer, family)


def own_vocabulary_files(tokenizer: Tokenizer) -> Files:
    """Return the contents of masscli's own two vocabulary files, by their paths in the exported folder."""
    return {
        f"{OWN_VOCABULARY}/{MODEL_FILE}": tokenizer.model_bytes,
        f"{OWN_VOCABULARY}/{TOKENIZER_FILE}": tokenizer.card_json.encode(),
    }


def _wordpiece(tokenizer: Tokenizer, family: Family) -> Files:
    """Return the files of WordPiece for the family's own tokenizer class, or else for BERT's."""
    # Families with WordPiece have their own classes, which are equivalent; any other family can use
    # BERT's.
    class_name = "BertTokenizer"
    if READERS.get(family.tokenizer_class) is read_wordpiece:
        class_name = family.tokenizer_class
    preprocessing = tokenizer.preprocessing
    strip_accents = STRIPS_ACCENTS.get(str(preprocessing.published))
    settings = {
        "tokenizer_class": class_name,
        "do_lower_case": preprocessing.lowercase,
        "strip_accents": strip_accents,
    }
    return {"vocab.txt": tokenizer.model_bytes, SETTINGS: json_bytes(settings)}


def _byte_level(tokenizer: Tokenizer, family: Family) -> Files | None:
    """Return the files of byte-level BPE for RoBERTa's or GPT-2's class, or None if text is lower-cased."""
    # No tokenizer class of this kind lower-cases text.
    if tokenizer.preprocessing.lowercase:
        return None
    vocabulary = unpack(tokenizer.model_bytes, byte_level_bpe.HEADER)
    # A vocabulary without a padding piece is exported as GPT-2's, whose class does not expect one.
    if "<pad>" in vocabulary.special_ids:
        return byte_level_files(tokenizer, "RobertaTokenizer", {})
    starts = not family.is_encoder and tokenizer.vocab.prompt_start
    settings = {"add_bos_token": True} if starts else {}
    return byte_level_files(tokenizer, "GPT2Tokenizer", settings)


def byte_level_files(
    tokenizer: Tokenizer, class_name: str, settings: Mapping[str, Any]
) -> Files:
    """Return the files of a byte-level BPE for the tokenizer class `class_name`, with these settings."""
    vocabulary = unpack(tokenizer.model_bytes, byte_level_bpe.HEADER)
    own = {
        "tokenizer_class": class_name,
        "add_prefix_space": vocabulary.rest["add_prefix_space"],
    }
    special_tokens = _special_tokens(tokenizer, vocabulary)
    return _bpe_files(vocabulary, {**settings, **own, **special_tokens})


def _gpt(tokenizer: Tokenizer, family: Family) -> Files:
    """Return the files of the BPE of the first GPT."""
    vocabulary = unpack(tokenizer.model_bytes, gpt_bpe.HEADER)
    settings = {"tokenizer_class": "OpenAIGPTTokenizer"} | _special_tokens(
        tokenizer, vocabulary
    )
    return _bpe_files(vocabulary, settings)


def _bpe_files(vocabulary: PackedVocabulary, settings: Mapping[str, Any]) -> Files:
    """Return `vocab.json`, `merges.txt` and the settings of a vocabulary with merges."""
    ids = published_ids(vocabulary)
    # The library skips the first line, whatever it says.
    lines = ["#version: 0.2"]
    for first, second in vocabulary.rest["merges"]:
        lines.append(f"{first} {second}")
    return {
        "vocab.json": json_bytes(ids),
        "merges.txt": ("\n".join(lines) + "\n").encode(),
        SETTINGS: json_bytes(settings),
    }


def _sentencepiece(tokenizer: Tokenizer, family: Family) -> Files | None:
    """Return the files of ALBERT, XLM-R or CamemBERT, whichever gives the tokenizer's pieces the same ids.

    Return None if none of them does, or if text is preprocessed differently.
    """
    vocabulary = unpack(tokenizer.model_bytes, numbered_sentencepiece.HEADER)
    model = base64.b64decode(vocabulary.rest["model"])
    opened = SentencePieceModel(model)
    if not _is_read_by_classes(opened, model):
        return None
    pieces, _ = opened.pieces_and_scores()
    # The library numbers the pieces of a SentencePiece model differently for each class. The right
    # class is the one whose ids agree with masscli's.
    published = _published_pieces(vocabulary)
    settings = _special_tokens(tokenizer, vocabulary)
    rules = str(tokenizer.preprocessing.published)
    if published == pieces and rules.startswith("albert"):
        settings |= {
            "tokenizer_class": "AlbertTokenizer",
            "do_lower_case": tokenizer.preprocessing.lowercase,
            "keep_accents": rules == "albert-keep-accents",
        }
        return {"spiece.model": model, SETTINGS: json_bytes(settings)}
    # The other two classes preserve case.
    if tokenizer.preprocessing.lowercase:
        return None
    for class_name, numbered in (
        ("XLMRobertaTokenizer", xlmr_pieces(pieces)),
        ("CamembertTokenizer", camembert_pieces(pieces)),
    ):
        if published == numbered:
            settings |= {"tokenizer_class": class_name}
            return {"sentencepiece.bpe.model": model, SETTINGS: json_bytes(settings)}
    return None


def _is_read_by_classes(opened: SentencePieceModel, model: bytes) -> bool:
    """Return whether the library's classes tokenize like the SentencePiece model whose bytes are `model`.

    They assume that every model is like the published ones: a unigram model whose pieces begin at
    spaces, and which treats all white space as spaces.
    """
    spec = read_normalizer_spec(model)
    pieces, _ = opened.pieces_and_scores()
    two_words = opened.encode_as_pieces("a b")
    return (
        spec.model_type == UNIGRAM
        and spec.add_dummy_prefix
        and spec.remove_extra_whitespaces
        and not opened.has_bytes
        and not user_defined_pieces(model)
        and not any(SENTENCEPIECE_SPACE in piece[1:] for piece in pieces)
        and all(opened.encode_as_pieces(f"a{space}b") == two_words for space in _SPACES)
    )


def _tokenizer_json(tokenizer: Tokenizer, family: Family) -> Files | None:
    """Return the `tokenizer.json` that was imported, and its settings, or None if text is lower-cased."""
    # The file does not include lower-casing that masscli does before it calls the library.
    if tokenizer.preprocessing.lowercase:
        return None
    vocabulary = unpack(tokenizer.model_bytes, fast_tokenizer.HEADER)
    settings = {"tokenizer_class": "PreTrainedTokenizerFast"} | _special_tokens(
        tokenizer, vocabulary
    )
    return {
        TOKENIZER: json_bytes(vocabulary.rest["tokenizer"]),
        SETTINGS: json_bytes(settings),
    }


def published_ids(vocabulary: PackedVocabulary) -> dict[str, int]:
    """Return the ids of a vocabulary's pieces by piece, without the placeholders of unused ids."""
    unused = set(vocabulary.unused_ids)
    return {piece: i for i, piece in enumerate(vocabulary.pieces) if i not in unused}


def _published_pieces(vocabulary: PackedVocabulary) -> Sequence[str]:
    """Return the pieces in the order of their ids, without the placeholders of unused ids."""
    unused = set(vocabulary.unused_ids)
    return [piece for i, piece in enumerate(vocabulary.pieces) if i not in unused]


def _special_tokens(
    tokenizer: Tokenizer, vocabulary: PackedVocabulary
) -> dict[str, Any]:
    """Return the entries of tokenizer_config.json about special tokens.

    There is one for each role (`bos_token`, ...) whose id belongs to a published piece, and a list
    `additional_special_tokens` of all other special pieces, if any.
    """
    settings: dict[str, Any] = {}
    unused = set(vocabulary.unused_ids)
    used = set()
    for role in ROLES:
        token_id = tokenizer.vocab.role_ids[role]
        # Ids after the published ones are masscli's, and Hugging Face's tokenizer does not know them.
        if token_id < len(vocabulary.pieces) and token_id not in unused:
            settings[f"{role}_token"] = vocabulary.pieces[token_id]
            used.add(token_id)
    others = sorted(set(vocabulary.special_ids.values()) - used - unused)
    if others:
        settings["additional_special_tokens"] = [vocabulary.pieces[i] for i in others]
    return settings
