"""Read the vocabulary of Marian's published models (OPUS-MT; Tiedemann and Thottingal 2020).

Sources and targets each have a SentencePiece model, and vocab.json has the ids of the pieces of both.
`</s>` has the first id and `<pad>` the last. Sources are `words </s>`, and a decoder begins with
`<pad>`, whose embedding is zero. Two variants are rarer:

    several targets          sources are `>>fra<< words </s>`: they begin with the tag of the target language
    separate vocabularies    target_vocab.json has the ids of the target, and vocab.json those of the source
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from masscli.checkpoint.convert.seq2seq_vocabulary import (
    Seq2SeqVocabulary,
    Sizes,
    direction,
    language_ids,
    place_pieces,
    read_ids,
    read_model,
)
from masscli.core.errors import MasscliError
from masscli.text.numbered_sentencepiece import pack_numbered_sentencepiece
from masscli.text.two_vocabularies import pack_two_vocabularies

_TARGET_VOCAB = "target_vocab.json"


def read_marian(
    folder: Path, config: Mapping[str, Any], sizes: Sizes, languages: Sequence[str]
) -> Seq2SeqVocabulary:
    """Return the vocabulary of the Marian model in `folder`, from its SentencePiece models and ids.

    `config` is the content of config.json, and `sizes` are the numbers of rows of the embeddings of
    source and target. `languages` are the source and the target, or, if the model has tags, all that
    the run is to support. Raises MasscliError if files are missing or inconsistent, if there are not
    two `languages`, or if the model has tags but none of the languages has one.
    """
    path = folder / "vocab.json"
    ids = read_ids(path)
    _, source_model = read_model(folder, "source.spm")
    _, target_model = read_model(folder, "target.spm")
    codes = {piece[2:-2]: number for piece, number in ids.items() if _is_tag(piece)}
    if codes:
        return _read_tagged(
            path, ids, source_model, target_model, codes, sizes, languages
        )
    source, target = direction(folder, languages)
    pieces, unused = place_pieces(ids, sizes[0], path)
    special_ids = _special_ids(ids, path)
    # A language without its own SentencePiece model is tokenized with that of the source.
    own_models = {}
    if target_model != source_model:
        own_models[target] = target_model
    # Without this setting, the library also has one table for both.
    if config.get("share_encoder_decoder_embeddings", True) is not False:
        return Seq2SeqVocabulary(
            path,
            pack_numbered_sentencepiece(
                source_model, pieces, special_ids, unused, own_models
            ),
        )
    target_path = folder / _TARGET_VOCAB
    target_ids = read_ids(target_path)
    target_pieces, target_unused = place_pieces(target_ids, sizes[1], target_path)
    target_special_ids = _special_ids(target_ids, target_path)
    source_packed = pack_numbered_sentencepiece(
        source_model, pieces, special_ids, unused
    )
    target_packed = pack_numbered_sentencepiece(
        target_model, target_pieces, target_special_ids, target_unused
    )
    return Seq2SeqVocabulary(
        path, pack_two_vocabularies((source, source_packed), (target, target_packed))
    )


def _read_tagged(
    path: Path,
    ids: Mapping[str, int],
    source_model: bytes,
    target_model: bytes,
    codes: Mapping[str, int],
    sizes: Sizes,
    languages: Sequence[str],
) -> Seq2SeqVocabulary:
    """Return the vocabulary of a model with several target languages, each of which has a tag.

    `codes` are the ids of the tags by code, such as `fra`. `languages` without a tag can only be
    sources. They are tokenized with the SentencePiece model of the source, and the others with that of
    the target; if all have a tag, the first one is taken to be a source. `ids` are those of vocab.json
    (`path`). Raises MasscliError if there are not two languages, or if none has a tag.
    """
    targets = [language for language in languages if _has_code(language, codes)]
    if not targets or len(languages) < 2:
        known = ", ".join(sorted(codes))
        raise MasscliError(
            f"{path}: sources begin with the tag of one of {len(codes)} target languages",
            f"name source and targets as in --langs en,{min(codes)}; there are {known}",
        )
    special_ids = _special_ids(ids, path) | language_ids(targets, codes, path)
    tags = {piece: number for piece, number in ids.items() if _is_tag(piece)}
    pieces, unused = place_pieces(ids, sizes[0], path)
    # A language that can be both source and target is tokenized as a source, since sources must be
    # tokenized as the model expects.
    sources = [language for language in languages if language not in targets]
    written = targets if sources else targets[1:]
    own_models = {}
    if target_model != source_model:
        own_models = dict.fromkeys(written, target_model)
    return Seq2SeqVocabulary(
        path,
        pack_numbered_sentencepiece(
            source_model, pieces, special_ids | tags, unused, own_models
        ),
        {"languages": "tag", "source_tag": "target", "target_tag": "none"},
        targets=tuple(targets),
    )


def _is_tag(piece: str) -> bool:
    return piece.startswith(">>") and piece.endswith("<<")


def _has_code(language: str, codes: Mapping[str, int]) -> bool:
    """Return whether a language has a tag; what follows a `_` may be omitted (`pt` for `pt_br`)."""
    return any(code == language or code.split("_")[0] == language for code in codes)


def _special_ids(ids: Mapping[str, int], path: Path) -> dict[str, int]:
    """Return the ids of `</s>`, `<unk>` and `<pad>` by name.

    Raises MasscliError, which names the file `path`, if one is missing in `ids`.
    """
    special_ids = {}
    for name in ("</s>", "<unk>", "<pad>"):
        if name not in ids:
            raise MasscliError(
                f"{path}: has no {name}", "expected the vocabulary of a Marian model"
            )
        special_ids[name] = ids[name]
    return special_ids
