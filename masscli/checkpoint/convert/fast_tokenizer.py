"""Write a vocabulary as a tokenizer.json of Hugging Face's library `tokenizers`, if that gives the same ids.

A SentencePiece BPE can be expressed in that library: by the same pieces, the merges that their scores imply,
and the same character normalization. The two libraries differ in rare cases (pieces that can be merged in two
ways, combining characters), so the result is compared on real lines, and is not written if a single id
differs. The package `tokenizers` comes with the extra `hf`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import sentencepiece

from masscli.checkpoint.convert.one_direction import DirectedModel
from masscli.checkpoint.convert.sentencepiece_proto import BPE, read_normalizer_spec
from masscli.checkpoint.convert.token_names import token_names
from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.model_kinds import SENTENCEPIECE, TRAINED_BPE
from masscli.text.tokenizer import Tokenizer

_ROLES = ("pad", "bos", "eos", "unk")


def fast_tokenizer_files(
    tokenizer: Tokenizer, directed: DirectedModel, lines: Sequence[tuple[str, str]]
) -> tuple[dict[str, bytes], str]:
    """Return the content of tokenizer.json and tokenizer_config.json by file name, and a note for the user.

    `lines` are pairs (language, text), on which the ids are compared with those of `tokenizer`. There are no
    files if an id differs, if the library cannot express the vocabulary, or if it is not installed; the note
    says which.
    """
    obstacle = _obstacle(tokenizer)
    if obstacle is not None:
        return {}, f"no tokenizer: {obstacle}"
    try:
        import tokenizers
    except ImportError:
        return {}, "no tokenizer: it needs the package tokenizers (pip install 'masscli[hf]')"
    names = token_names(tokenizer)
    fast = _build(tokenizers, tokenizer, names, directed)
    for language, text in lines:
        expected = tokenizer.encode(text, language)
        got = fast.encode(text, add_special_tokens=False).ids
        if got != expected:
            return {}, f"no tokenizer: one of Hugging Face's would give other ids for {text!r}"
    vocab = tokenizer.vocab
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": directed.config.max_positions,
        "clean_up_tokenization_spaces": False,
        # A name such as </s> that stands in a text is text, as it is here.
        "split_special_tokens": True,
    }
    settings |= {f"{role}_token": names[getattr(vocab, role)] for role in _ROLES}
    files = {
        "tokenizer.json": fast.to_str(pretty=True).encode(),
        "tokenizer_config.json": (json.dumps(settings, indent=2, ensure_ascii=False) + "\n").encode(),
    }
    return files, f"tokenizer.json: its ids were equal on all {len(lines):,} lines tried"


def _obstacle(tokenizer: Tokenizer) -> str | None:
    """Return the reason why no tokenizer.json can give the same ids as `tokenizer`, or None if one may."""
    preprocessing = tokenizer.preprocessing
    if preprocessing.moses or preprocessing.normalize or preprocessing.romanian:
        return "text of this vocabulary goes through Moses (or is normalised) first"
    is_sentencepiece = tokenizer.model_kind in (TRAINED_BPE, SENTENCEPIECE)
    if not is_sentencepiece or read_normalizer_spec(tokenizer.model_bytes).model_type != BPE:
        return f"a vocabulary of the kind {tokenizer.model_kind} has no counterpart with the same ids"
    return None


def _build(tokenizers: Any, tokenizer: Tokenizer, names: Sequence[str], directed: DirectedModel) -> Any:
    """Return a `tokenizers.Tokenizer` that imitates `tokenizer`, a SentencePiece BPE.

    `names` are the token strings by id. It adds the special tokens that `directed` has around sources, unless
    it is called with add_special_tokens=False.
    """
    spec = read_normalizer_spec(tokenizer.model_bytes)
    ids = {name: number for number, name in enumerate(names)}
    unknown = names[tokenizer.vocab.unk]
    # SentencePiece writes a run of unknown characters as one unknown piece.
    model = tokenizers.models.BPE(ids, _merges(tokenizer.model_bytes, ids), unk_token=unknown, fuse_unk=True)
    fast = tokenizers.Tokenizer(model)
    steps: list[Any] = []
    if tokenizer.preprocessing.lowercase:
        steps.append(tokenizers.normalizers.Lowercase())
    if spec.charsmap:
        steps.append(tokenizers.normalizers.Precompiled(spec.charsmap))
    if spec.remove_extra_whitespaces:
        steps.append(tokenizers.normalizers.Replace(tokenizers.Regex(" {2,}"), " "))
        steps.append(tokenizers.normalizers.Strip())
    fast.normalizer = tokenizers.normalizers.Sequence(steps)
    prepend = "always" if spec.add_dummy_prefix else "never"
    fast.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(SENTENCEPIECE_SPACE, prepend)
    fast.decoder = tokenizers.decoders.Metaspace(SENTENCEPIECE_SPACE, prepend)
    around = [*directed.source_prefix, *directed.source_suffix]
    # A template cannot spell names with a colon, as <lang:en>, so that its tokens have names of its own.
    template_tokens = [{"id": f"T{number}", "ids": [number], "tokens": [names[number]]} for number in around]
    before = [f"T{number}" for number in directed.source_prefix]
    after = [f"T{number}" for number in directed.source_suffix]
    fast.post_processor = tokenizers.processors.TemplateProcessing(
        single=[*before, "$A", *after], special_tokens=template_tokens
    )
    # Of these, decoding leaves out all.
    special_ids = tokenizer.vocab.special_ids - {tokenizer.vocab.unk}
    fast.add_special_tokens([names[number] for number in sorted(special_ids)])
    return fast


def _merges(model: bytes, ids: Mapping[str, int]) -> list[tuple[str, str]]:
    """Return the BPE merges that are equivalent to the scores of a SentencePiece BPE, in order of priority.

    `model` is a serialized SentencePiece model, and `ids` has the id of each piece. SentencePiece merges the
    two neighbours whose joined piece has the highest score. So there is a merge for every way to split a
    piece into two pieces, those of pieces with higher scores first.
    """
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    merges = []
    for number in range(len(processor)):
        piece = processor.id_to_piece(number)
        if processor.is_control(number) or processor.is_unknown(number):
            continue
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in ids and right in ids:
                rank = (-processor.get_score(number), ids[left], ids[right])
                merges.append((rank, (left, right)))
    return [merge for _, merge in sorted(merges)]
