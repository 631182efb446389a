"""The vocabulary of a translator's folder that has no Hugging Face tokenizer.

For some of masscli's vocabularies, for example those whose text is tokenized by Moses' rules, no such
tokenizer gives the same ids. Such a translator is exported with masscli's own vocabulary files, and
config.json says which special tokens are put around sources. A folder without these files is imported
with the vocabulary of the run that it was exported from (--spm-model).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from masscli.checkpoint.checkpoint import make_framing
from masscli.checkpoint.convert.folder import CONFIG
from masscli.checkpoint.convert.generation_settings import (
    decoder_start_id,
    search_settings,
)
from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    direction,
    row_of,
)
from masscli.core.errors import MasscliError
from masscli.core.files import read_named
from masscli.data.batches.framing import Framing
from masscli.models.config import ModelConfig
from masscli.text.preprocessing import TextPreprocessing
from masscli.text.stored_vocabulary import find_model_file, find_tokenizer_folder
from masscli.text.tokenizer import Tokenizer
from masscli.text.vocabulary import IdRanges

BEFORE, AFTER = "source_tokens_before", "source_tokens_after"
"""Keys of config.json for the ids before and after the words of every source."""


def source_token_keys(directed: DirectedModel) -> dict[str, list[int]]:
    """Return entries of config.json that say which special tokens are put around sources.

    They are for a folder without a tokenizer; the ids are rows of the exported encoder's embeddings.
    """
    # Other programs use row numbers of the exported embeddings as ids.
    ids = directed.source_ids
    return {
        BEFORE: [ids.index(number) for number in directed.source_prefix],
        AFTER: [ids.index(number) for number in directed.source_suffix],
    }


def read_given_tokenizer(
    path: Path, sizes: Sizes, languages: Sequence[str]
) -> Tokenizer:
    """Return the tokenizer of a run, a checkpoint or a data folder, or that of a file with a subword model.

    `path` is one of these. `sizes` are the numbers of rows of the source and target embeddings, and
    `languages` are those that the model is to support. Raises MasscliError if the tokenizer cannot be
    read, has languages but not all of these, or if neither its number of ids nor its number of pieces
    matches `sizes`.
    """
    folder = find_tokenizer_folder(path)
    if folder is not None:
        tokenizer = Tokenizer.load(folder)
    else:
        model_file = find_model_file(path)
        data = read_named(model_file, "--spm-model")
        tokenizer = Tokenizer.from_bytes(
            model_file, data, TextPreprocessing(), languages
        )
    known = tokenizer.vocab.languages
    for language in languages:
        if known and language not in known:
            raise MasscliError(
                f"{path}: has no language {language!r}",
                f"name them with --langs: {','.join(known)}",
            )
    own_sizes = _sizes(path, tokenizer, languages)
    # An imported model has no rows for the symbols that masscli adds to its vocabulary.
    pieces = len(tokenizer.all_pieces())
    if sizes not in (own_sizes, (pieces, pieces)):
        raise MasscliError(
            f"{path}: has {_text(own_sizes)} ids, but the model has {_text(sizes)} rows",
            "expected the vocabulary of the run that was exported",
        )
    return tokenizer


def _sizes(path: Path, tokenizer: Tokenizer, languages: Sequence[str]) -> Sizes:
    """Return how many ids the source and the target have in a model with this tokenizer.

    With one vocabulary both are the number of ids up to the last one that the model predicts. With two,
    `languages` must be the source and the target language of the vocabularies; otherwise raises
    MasscliError, which names `path`, the file of the tokenizer, or the only direction.
    """
    ranges = tokenizer.vocab.id_ranges or IdRanges.all_of(tokenizer.vocab.size)
    if ranges.has_two_vocabularies:
        source, target = direction(path, languages)
        tokenizer.vocab.check_direction(source, target)
        return len(tokenizer.own_ids(source)), len(tokenizer.own_ids(target))
    return ranges.predicted.stop, ranges.predicted.stop


def _text(sizes: Sizes) -> str:
    return " and ".join(f"{size:,}" for size in dict.fromkeys(sizes))


def given_vocabulary(
    path: Path,
    tokenizer: Tokenizer,
    folder: Path,
    config: Mapping[str, Any],
    rows: Mapping[str, Sequence[int]],
    languages: Sequence[str],
) -> Seq2SeqVocabulary:
    """Return the vocabulary `tokenizer`, which was read from `path`, with the special tokens of a folder.

    `config` is the content of the folder's config.json. `rows` has, for `encoder` and `decoder`,
    masscli's id of each row of the embeddings. Raises MasscliError if padding or the end symbol has no
    row, or if masscli does not support this placement of special tokens.
    """
    first = decoder_start_id(folder, config)
    forced_id = search_settings(folder, config).get("forced_bos_token_id")
    vocab = tokenizer.vocab
    # A different vocabulary is reported before the errors that it causes.
    row_of("pad", vocab, rows["encoder"], path)
    eos = row_of("eos", vocab, rows["encoder"], path)
    start, forced = vocab.bos, []
    try:
        before = [rows["encoder"][row] for row in config.get(BEFORE, [])]
        after = [rows["encoder"][row] for row in config.get(AFTER, [eos])]
        if first is not None:
            start = rows["decoder"][first]
        if forced_id is not None:
            forced = [rows["decoder"][forced_id]]
    except (IndexError, TypeError):
        raise MasscliError(
            f"{folder / CONFIG}: has ids of special tokens that the model lacks"
        ) from None
    expected = (before + after, [start, *forced])
    for fields in _framing_fields(has_tags=bool(vocab.languages)):
        model = ModelConfig(**fields)
        target_tag = model.target_tag if model.languages == "tag" else "none"
        # The tag of another language is not a start symbol.
        if start in vocab.languages.values() and target_tag != "start":
            continue
        # A forced token may be a tag or not.
        prefix = () if target_tag == "forced" else tuple(forced)
        framing = make_framing(
            model, replace(vocab, decoder_start=start, forced_prefix=prefix), ()
        )
        if _tokens_around(framing, languages) == expected:
            return Seq2SeqVocabulary(path, tokenizer.model_bytes, fields, prefix)
    raise MasscliError(
        f"{folder / CONFIG}: masscli does not put such special tokens around texts of {', '.join(languages)}",
        "name the source and the target, in this order, with --langs",
    )


def _framing_fields(has_tags: bool) -> Iterator[dict[str, Any]]:
    """Yield the possible placements of special tokens around texts, each as fields of `ModelConfig`.

    Placements with language tags come first, and only if the vocabulary `has_tags`: with the others, a
    tag could be mistaken for another start symbol.
    """
    if has_tags:
        for source_tag, target_tag in product(
            ("first", "last", "target"), ("start", "forced", "none")
        ):
            tags = {
                "languages": "tag",
                "source_tag": source_tag,
                "target_tag": target_tag,
            }
            yield {"source_bos": False, **tags}
    yield {"source_bos": False}
    yield {"source_bos": True}


def _tokens_around(
    framing: Framing, languages: Sequence[str]
) -> tuple[list[int], list[int]]:
    """Return the ids of the special tokens around a source, and of those that begin its translation.

    The source is in the first of `languages`, and the translation in the last one.
    """
    source, target = languages[0], languages[-1]
    around = framing.encoder_input(np.array([], np.int64), source, target)
    start = [framing.decoder_start(target), *framing.forced_tokens(target)]
    return around.tolist(), start
