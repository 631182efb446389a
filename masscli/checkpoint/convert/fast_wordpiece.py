"""Build a tokenizer of Hugging Face's library `tokenizers` from a WordPiece vocabulary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from masscli.text.markers import WORDPIECE_CONTINUATION
from masscli.text.tokenizer import Tokenizer
from masscli.text.wordpiece import MAX_WORD_LENGTH

STRIPS_ACCENTS = {"strip-accents": True, "keep-accents": False}
"""Whether accents are removed, by the published rule of preprocessing. Without a rule that is named here they
are removed if text is lower-cased."""


def build_wordpiece(tokenizers: Any, tokenizer: Tokenizer, names: Sequence[str]) -> Any:
    """Return a `tokenizers.Tokenizer` that splits text as `tokenizer`, a WordPiece tokenizer, does.

    `tokenizers` is the imported package, and `names` are the token strings by id. No token is declared
    special.
    """
    rules = tokenizer.preprocessing
    model = tokenizers.models.WordPiece(
        {name: number for number, name in enumerate(names)},
        unk_token=names[tokenizer.vocab.unk],
        max_input_chars_per_word=MAX_WORD_LENGTH,
    )
    fast = tokenizers.Tokenizer(model)
    fast.normalizer = tokenizers.normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=STRIPS_ACCENTS.get(str(rules.published)),
        lowercase=rules.lowercase,
    )
    fast.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    fast.decoder = tokenizers.decoders.WordPiece(WORDPIECE_CONTINUATION, cleanup=False)
    return fast
