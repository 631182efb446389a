"""Framings of the families whose models can be read, as their own code frames a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from masscli.data.batches.framing import Framing
from masscli.text.vocabulary import Vocabulary

PAD, BOS, EOS, EN, DE = 0, 1, 2, 7, 8
VOCAB = Vocabulary(
    size=20,
    pad=PAD,
    bos=BOS,
    eos=EOS,
    unk=3,
    mask=4,
    cls=5,
    sep=6,
    spare=(),
    languages={"en": EN, "de": DE},
    fingerprint="",
)
WORDS = np.array([11, 12, 13])


def framing(vocab: dict[str, Any], source_bos: bool, tag: str) -> Framing:
    """A framing; `tag` is empty, or the places of both tags."""
    places = {}
    if tag:
        source_tag, target_tag = tag.split()
        places = {"source_tag": source_tag, "target_tag": target_tag}
    return Framing(replace(VOCAB, **vocab), source_bos, bool(tag), (), **places)


@pytest.mark.parametrize(
    ("vocab", "source_bos", "tag", "source", "target"),
    [
        ({}, False, "", [EOS], [BOS]),
        ({}, True, "", [BOS, EOS], [BOS]),
        ({}, False, "first start", [EN, EOS], [DE]),
        ({"bos": EOS}, True, "", [EOS, EOS], [EOS]),
        ({"decoder_start": EOS}, False, "", [EOS], [EOS]),
        ({"decoder_start": PAD}, False, "", [EOS], [PAD]),
        (
            {"decoder_start": EOS, "forced_prefix": (BOS,)},
            True,
            "",
            [BOS, EOS],
            [EOS, BOS],
        ),
        ({}, False, "last start", [EOS, EN], [DE]),
        ({"decoder_start": EOS}, False, "first forced", [EN, EOS], [EOS, DE]),
        ({"decoder_start": EOS}, False, "last forced", [EOS, EN], [EOS, DE]),
    ],
    ids=[
        "ours",
        "ours-bos",
        "ours-tags",
        "xlm",
        "fairseq",
        "marian",
        "bart",
        "mbart-25",
        "m2m100",
        "nllb-legacy",
    ],
)
def test_lines_are_framed_as_in_each_family(
    vocab: dict[str, Any],
    source_bos: bool,
    tag: str,
    source: list[int],
    target: list[int],
) -> None:
    made = framing(vocab, source_bos, tag)
    found = made.encoder_input(WORDS, "en").tolist()
    first = found.index(11)
    assert found[first : first + 3] == WORDS.tolist()
    assert found[:first] + found[first + 3 :] == source
    assert (made.prefix_length, made.suffix_length) == (first, len(source) - first)
    assert made.with_special_tokens(WORDS, "de").tolist() == [*target, *WORDS, EOS]
    assert [made.decoder_start("de"), *made.forced_tokens("de")] == target
    assert made.target_prefix_length == len(target)
