"""Write a vocabulary as a tokenizer.json for Hugging Face's library `tokenizers`, if that gives the same ids.

A SentencePiece model can be expressed in that library by the same pieces with the same character
normalization and either the merges that their scores imply (BPE) or their scores (unigram). The two
libraries differ in rare cases (pieces that can be merged in two ways, equally good segmentations), so
the result is compared on real and on unusual lines, and is not written if a single id differs. The
package `tokenizers` comes with the extra `hf`. WordPiece is in fast_wordpiece.py.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from masscli.checkpoint.convert.fast_wordpiece import build_wordpiece
from masscli.checkpoint.convert.folder import SETTINGS, TOKENIZER, json_bytes
from masscli.checkpoint.convert.sentencepiece_proto import (
    BPE,
    UNIGRAM,
    NormalizerSpec,
    read_normalizer_spec,
    user_defined_pieces,
)
from masscli.checkpoint.convert.token_names import token_names
from masscli.text import numbered_sentencepiece
from masscli.text.markers import SENTENCEPIECE_SPACE
from masscli.text.model_kinds import (
    NUMBERED_SENTENCEPIECE,
    SENTENCEPIECE,
    TRAINED_BPE,
    WORDPIECE,
)
from masscli.text.packed_vocabulary import unpack
from masscli.text.reserved_text import ReservedText
from masscli.text.sentencepiece_model import SentencePieceModel
from masscli.text.tokenizer import Tokenizer

NOT_TEXT = -1000.0
"""The score of pieces that no text is tokenized into, so low that single characters always score higher."""

UNKNOWN_LETTER = "\ufdd3"
"""A Unicode noncharacter, which should not occur in text."""


@dataclass(frozen=True)
class Template:
    """The special tokens that a tokenizer puts around a text, and around two of them, as masscli's ids."""

    before: Sequence[int]
    after: Sequence[int]
    between: Sequence[int] | None = None
    """The tokens between two texts; None if the model does not read pairs of texts."""
    has_segments: bool = False
    """Whether the second text is in segment 1; the first token of `between` still belongs to the first
    text."""


@dataclass(frozen=True)
class _SentencePiece:
    """A SentencePiece model, and masscli's ids by piece.

    `ids` has the pieces that text is encoded into, and possibly special ones. Pieces of the model that
    are not in masscli's dictionary are missing; `_obstacle` refuses such a vocabulary. `reserved`
    replaces characters that must not reach the model, if there are any.
    """

    model: SentencePieceModel
    data: bytes
    ids: Mapping[str, int]
    reserved: ReservedText | None

    @cached_property
    def spec(self) -> NormalizerSpec:
        """The type of the model, and how it normalizes text."""
        return read_normalizer_spec(self.data)

    @cached_property
    def user_defined(self) -> list[str]:
        """The pieces that SentencePiece matches in text before it splits the rest, longest first."""
        return sorted(user_defined_pieces(self.data), key=len, reverse=True)

    @cached_property
    def letters(self) -> set[str]:
        """The characters in pieces that text is split into, except user-defined ones."""
        return set().union(*(self.scores.keys() - self.user_defined))

    def is_unknown(self, letter: str) -> bool:
        """Return whether the model cannot encode `letter`, which is in no user-defined piece."""
        return letter not in self.letters and not self.model.has_bytes

    @cached_property
    def scores(self) -> dict[str, float]:
        """The score of each piece that text is split into, by piece."""
        pieces, scores = self.model.pieces_and_scores()
        return {
            piece: score
            for piece, score in zip(pieces, scores, strict=True)
            if score is not None
        }


def fast_tokenizer_files(
    tokenizer: Tokenizer,
    size: int,
    template: Template,
    settings: Mapping[str, Any],
    lines: Sequence[tuple[str, str]],
    tried: str,
) -> tuple[dict[str, bytes], str]:
    """Return the content of tokenizer.json and tokenizer_config.json by file name, and a note for the user.

    The first `size` ids of `tokenizer` are those of the model. tokenizer_config.json has `settings` in
    addition to the names of the special tokens. `lines` are pairs (language, text) on which the ids are
    compared with those of `tokenizer`; `tried` tells the user where the lines are from. There are no
    files if an id differs, if the library cannot express the vocabulary, or if it is not installed; the
    note says which.
    """
    obstacle = _obstacle(tokenizer)
    if obstacle is not None:
        return {}, f"no tokenizer: {obstacle}"
    try:
        import tokenizers
    except ImportError:
        return (
            {},
            "no tokenizer: it needs the package tokenizers (pip install 'masscli[hf]')",
        )
    names = token_names(tokenizer)[:size]
    build = build_wordpiece if tokenizer.model_kind == WORDPIECE else _build
    fast = build(tokenizers, tokenizer, names)
    for language, text in lines:
        expected = tokenizer.encode(text, language)
        got = fast.encode(text, add_special_tokens=False).ids
        if got != expected:
            return (
                {},
                f"no tokenizer: one of Hugging Face's would give other ids for {text!r}",
            )
    # They are added after the comparison, in which the names of special tokens are ordinary text.
    _add_special_tokens(tokenizers, fast, tokenizer, names, template)
    own: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    vocab = tokenizer.vocab
    for role, token_id in vocab.role_ids.items():
        # Symbols that masscli added to an imported model are left out.
        if token_id < len(names):
            own[f"{role}_token"] = names[token_id]
    files = {
        TOKENIZER: fast.to_str(pretty=True).encode(),
        SETTINGS: json_bytes({**own, **settings}),
    }
    return (
        files,
        f"tokenizer.json: its ids were equal on all {len(lines):,} lines tried ({tried})",
    )


def _obstacle(tokenizer: Tokenizer) -> str | None:
    """Return the reason why no tokenizer.json can give the same ids as `tokenizer`, or None if one may."""
    rules = tokenizer.preprocessing
    is_wordpiece = tokenizer.model_kind == WORDPIECE
    own_rules = rules.published and not is_wordpiece
    if rules.moses or rules.normalize or rules.romanian or own_rules:
        return "text of this vocabulary goes through Moses (or is normalized) first"
    if is_wordpiece:
        return None
    pieces = _sentencepiece(tokenizer)
    if pieces is None or pieces.spec.model_type not in (BPE, UNIGRAM):
        return f"a vocabulary of the kind {tokenizer.model_kind} has no counterpart with the same ids"
    processor = pieces.model.processor
    if any(map(processor.is_unused, range(len(processor)))):
        return "some pieces of its SentencePiece model are marked as unused"
    all_pieces, _ = pieces.model.pieces_and_scores()
    for number, piece in enumerate(all_pieces):
        is_written = piece in pieces.scores or processor.is_byte(number)
        if is_written and piece not in pieces.ids:
            return f"its dictionary lacks {piece!r}, a piece of its SentencePiece model"
    return None


def _sentencepiece(tokenizer: Tokenizer) -> _SentencePiece | None:
    """Return a tokenizer's SentencePiece model; None for other kinds, or if each language has its own."""
    if tokenizer.model_kind in (TRAINED_BPE, SENTENCEPIECE):
        data = tokenizer.model_bytes
        model = SentencePieceModel(data)
        # Pieces as the model stores them, before anything in them is made readable.
        pieces, _ = model.pieces_and_scores()
        ids = {piece: number for number, piece in enumerate(pieces)}
        return _SentencePiece(model, data, ids, model.reserved_text)
    if tokenizer.model_kind != NUMBERED_SENTENCEPIECE:
        return None
    vocabulary = unpack(tokenizer.model_bytes, numbered_sentencepiece.HEADER)
    if vocabulary.rest.get("language_models"):
        return None
    data = base64.b64decode(vocabulary.rest["model"])
    return _SentencePiece(SentencePieceModel(data), data, vocabulary.text_ids, None)


def _build(tokenizers: Any, tokenizer: Tokenizer, names: Sequence[str]) -> Any:
    """Return a `tokenizers.Tokenizer` that imitates `tokenizer`, whose pieces are those of SentencePiece.

    `tokenizers` is the imported package; `names` are the token strings by id. It has no special tokens
    yet: all text is ordinary text.
    """
    pieces = _sentencepiece(tokenizer)
    assert pieces is not None
    unknown = tokenizer.vocab.unk
    has_bytes = pieces.model.has_bytes
    if pieces.spec.model_type == BPE:
        ids = {name: number for number, name in enumerate(names)}
        model = tokenizers.models.BPE(
            ids,
            _merges(pieces),
            unk_token=names[unknown],
            # SentencePiece encodes a run of unknown characters as one unknown piece.
            fuse_unk=True,
            byte_fallback=has_bytes,
            # Pieces that are matched as a whole do not result from merges.
            ignore_merges=bool(pieces.user_defined),
        )
    else:
        model = tokenizers.models.Unigram(
            _scored_pieces(pieces, names), unk_id=unknown, byte_fallback=has_bytes
        )
    fast = tokenizers.Tokenizer(model)
    fast.normalizer = _normalizer(tokenizers, tokenizer, pieces, names)
    splits = _splits(tokenizers, pieces, names)
    if splits:
        fast.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(splits)
    fast.decoder = _decoder(tokenizers, pieces)
    return fast


def _normalizer(
    tokenizers: Any, tokenizer: Tokenizer, pieces: _SentencePiece, names: Sequence[str]
) -> Any:
    """Return the steps applied to text before it is split: masscli's own rules, then SentencePiece's.

    The result is text in which `SENTENCEPIECE_SPACE` replaces spaces, and precedes the first word.
    Neither of the library's own two steps for this is used, since they treat such characters in the
    text itself differently.
    """
    normalizers = tokenizers.normalizers
    steps: list[Any] = []
    if tokenizer.preprocessing.lowercase:
        steps.append(normalizers.Lowercase())
    replacements = []
    if pieces.reserved is not None:
        for pattern, letter in pieces.reserved.replacements:
            replacements.append((pattern.pattern, letter))
    steps += _replace(tokenizers, *replacements)
    if pieces.spec.charsmap:
        steps.append(normalizers.Precompiled(pieces.spec.charsmap))
    steps += _replace(tokenizers, *_space_rules(pieces.spec))
    # To the model all unknown characters are alike, but this one does not begin a name.
    for first, name_start in _name_patterns(pieces, names).items():
        if pieces.is_unknown(first):
            steps += _replace(tokenizers, (name_start, UNKNOWN_LETTER))
    if pieces.spec.add_dummy_prefix:
        # An empty text stays empty.
        steps.append(normalizers.Prepend(SENTENCEPIECE_SPACE))
    return normalizers.Sequence(steps)


def _space_rules(spec: NormalizerSpec) -> list[tuple[str, str]]:
    """Return what SentencePiece does with spaces, in order, as pairs (pattern, replacement)."""
    space = (" ", SENTENCEPIECE_SPACE)
    if not spec.remove_extra_whitespaces:
        return [space]
    # Only spaces: models that do not map other white space to spaces keep it. At the end of a text,
    # SentencePiece also treats its own space character as a space, even if it was in the original text.
    return [(r"\A +", ""), (" {2,}", " "), space, (f"{SENTENCEPIECE_SPACE}+\\z", "")]


def _replace(tokenizers: Any, *rules: tuple[str, str]) -> list[Any]:
    """Return the steps of a normalizer that replace matches of patterns, in order."""
    steps = []
    for pattern, by in rules:
        steps.append(tokenizers.normalizers.Replace(tokenizers.Regex(pattern), by))
    return steps


def _splits(tokenizers: Any, pieces: _SentencePiece, names: Sequence[str]) -> list[Any]:
    """Return the pre-tokenization steps: splits around user-defined pieces, and within special tokens' names.

    User-defined pieces are matched first, as SentencePiece does. Names of special tokens are split
    after the first character if the model knows it; otherwise the normalizer changes them.
    """
    patterns = []
    if pieces.user_defined:
        patterns.append("|".join(map(re.escape, pieces.user_defined)))
    for first, pattern in _name_patterns(pieces, names).items():
        if not pieces.is_unknown(first):
            patterns.append(pattern)
    splits = []
    for pattern in patterns:
        split = tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
        splits.append(split)
    return splits


def _name_patterns(pieces: _SentencePiece, names: Sequence[str]) -> dict[str, str]:
    """Return, by first character, a pattern for this character at the beginning of a special token's name.

    This is needed only for a unigram model, which would match these names in text; in a BPE no merges
    lead to them.
    """
    if pieces.spec.model_type != UNIGRAM:
        return {}
    endings: dict[str, list[str]] = {}
    for name in names:
        if len(name) > 1 and name not in pieces.scores:
            endings.setdefault(name[0], []).append(re.escape(name[1:]))
    return {
        first: f"{re.escape(first)}(?={'|'.join(rest)})"
        for first, rest in endings.items()
    }


def _decoder(tokenizers: Any, pieces: _SentencePiece) -> Any:
    """Return the steps that convert pieces back to text."""
    decoders = tokenizers.decoders
    steps = [decoders.Replace(SENTENCEPIECE_SPACE, " ")]
    if pieces.model.has_bytes:
        steps.append(decoders.ByteFallback())
    # The library strips each token, so they are joined first.
    steps.append(decoders.Fuse())
    if pieces.spec.add_dummy_prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    if pieces.reserved is not None:
        for pattern, letter in pieces.reserved.replacements:
            # The first character of the pattern is the one that was replaced.
            steps.append(decoders.Replace(letter, pattern.pattern[0]))
    return decoders.Sequence(steps)


def _add_special_tokens(
    tokenizers: Any,
    fast: Any,
    tokenizer: Tokenizer,
    names: Sequence[str],
    template: Template,
) -> None:
    """Add special tokens to the tokenizer `fast`, and the template that puts some of them around texts."""
    # Names in a template must not contain a colon, as <lang:en> does, so its tokens are called T and
    # the id.
    between = template.between or ()
    template_tokens = []
    for number in dict.fromkeys((*template.before, *between, *template.after)):
        template_tokens.append(
            {"id": f"T{number}", "ids": [number], "tokens": [names[number]]}
        )
    before = [f"T{number}" for number in template.before]
    after = [f"T{number}" for number in template.after]
    options: dict[str, Any] = {}
    if template.between is not None:
        # The segment of each token follows a colon.
        second = 1 if template.has_segments else 0
        first_end, *second_start = template.between
        options["pair"] = [
            *(f"{token}:0" for token in before),
            "$A:0",
            f"T{first_end}:0",
            *(f"T{number}:{second}" for number in second_start),
            f"$B:{second}",
            *(f"{token}:{second}" for token in after),
        ]
    fast.post_processor = tokenizers.processors.TemplateProcessing(
        single=[*before, "$A", *after], special_tokens=template_tokens, **options
    )
    # Decoding omits tokens that are added as special, but the unknown piece should remain visible.
    special_ids = tokenizer.vocab.special_ids - {tokenizer.vocab.unk}
    fast.add_special_tokens(
        [names[number] for number in sorted(special_ids) if number < len(names)]
    )


def _scored_pieces(
    pieces: _SentencePiece, names: Sequence[str]
) -> list[tuple[str, float]]:
    """Return a pair for each id: its name in `names`, and its score in the unigram model.

    The score is `NOT_TEXT` for an id whose piece no text is tokenized into.
    """
    scored = [(name, NOT_TEXT) for name in names]
    for piece, score in pieces.scores.items():
        scored[pieces.ids[piece]] = (piece, score)
    return scored


def _merges(pieces: _SentencePiece) -> list[tuple[str, str]]:
    """Return the BPE merges that are equivalent to the scores of a SentencePiece BPE, in order of priority.

    SentencePiece merges the two adjacent pieces whose concatenation has the highest score. So there is
    a merge for every way to split a piece into two pieces; those of pieces with higher scores come
    first. User-defined pieces are not merged.
    """
    ids = pieces.ids
    user_defined = set(pieces.user_defined)
    mergeable = {
        piece: score
        for piece, score in pieces.scores.items()
        if piece not in user_defined
    }
    merges = []
    for piece, score in mergeable.items():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in mergeable and right in mergeable:
                merges.append(((-score, ids[left], ids[right]), (left, right)))
    return [merge for _, merge in sorted(merges)]
