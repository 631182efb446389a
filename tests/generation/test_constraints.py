"""The rules, each against a row of probabilities one can read."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.generation.config import GenerationConfig
from masscli.generation.constraints import (
    Constraints,
    Requirements,
    forbid_repeats,
)
from masscli.text.vocabulary import Vocabulary

BOS, EOS, UNK, A, B, C = 1, 2, 3, 9, 10, 11
VOCABULARY = Vocabulary(
    size=12,
    pad=0,
    bos=BOS,
    eos=EOS,
    unk=UNK,
    mask=4,
    cls=5,
    sep=6,
    spare=(7,),
    languages={"en": 8},
    fingerprint="x",
)


def rules(
    limits: list[int], prefixes: list[list[int]] | None = None, **options: Any
) -> Constraints:
    config = GenerationConfig(**options)
    starts = torch.full((len(limits),), BOS)
    return Constraints(config, VOCABULARY, Requirements(limits, prefixes), starts)


def flat(sentences: int, width: int = 1) -> Tensor:
    """Every piece has log-probability -1 - id / 100."""
    return (-1 - torch.arange(12) / 100).expand(sentences, width, 12).clone()


def allowed(scores: Tensor) -> list[int]:
    return (scores > -torch.inf).nonzero()[:, 0].tolist()


def history(*rows: list[int]) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64)[:, None]


def test_special_ids_and_an_early_end_are_forbidden() -> None:
    scores = flat(1)
    rules([5], min_len=2).apply(scores, history([A]))
    assert allowed(scores[0, 0]) == [UNK, A, B, C]
    scores = flat(1)
    rules([5], min_len=2).apply(scores, history([A, B]))
    assert allowed(scores[0, 0]) == [EOS, UNK, A, B, C]


def test_allowed_pieces_keep_their_score_and_unknown_pieces_are_penalized() -> None:
    scores = flat(1)
    rules([5], unkpen=3.0).apply(scores, history([A]))
    assert torch.equal(scores[0, 0, A:], flat(1)[0, 0, A:])
    torch.testing.assert_close(scores[0, 0, UNK], flat(1)[0, 0, UNK] - 3)


def test_the_limit_forces_the_end_of_those_sentences_that_reach_it() -> None:
    scores = flat(3, 2)
    blocks = torch.full((3, 2, 2), A)
    rules([2, 4, 1], min_len=4).apply(scores, blocks)
    assert [allowed(scores[s, w]) for s in range(3) for w in range(2)] == [
        [EOS]
    ] * 2 + [[UNK, A, B, C]] * 2 + [[EOS]] * 2
    assert torch.equal(scores[0, 0, EOS], flat(1)[0, 0, EOS])


def test_the_end_symbol_may_have_id_0() -> None:
    """Marian's vocabularies have it there."""
    vocabulary = replace(VOCABULARY, pad=EOS, eos=0)
    config = GenerationConfig()
    given = Constraints(config, vocabulary, Requirements([1, 5]), torch.full((2,), BOS))
    scores = flat(2)
    given.apply(scores, history([A], [A]))
    assert [allowed(row[0]) for row in scores] == [[0], [0, UNK, A, B, C]]


def test_a_prefix_overrides_every_rule_but_the_length_limit() -> None:
    scores = flat(4)
    given = rules(
        [3, 3, 3, 1],
        [[A, A, A], [C, UNK], [], [A, A, A]],
        no_repeat_ngram_size=1,
        unkpen=9.0,
    )
    given.apply(scores, history([A], [C], [B], [A]))
    assert [allowed(row[0]) for row in scores] == [[A], [UNK], [EOS, UNK, A, C], [EOS]]
    assert torch.equal(scores[1, 0, UNK], flat(1)[0, 0, UNK])


def test_rules_follow_the_sentences_that_remain() -> None:
    given = rules([3, 9, 1], [[A, A], [B, B], [C, C]])
    given.keep(torch.tensor([2, 1]))
    scores = flat(2)
    given.apply(scores, history([C], [B]))
    assert [allowed(row[0]) for row in scores] == [[EOS], [B]]


def test_repeats_are_forbidden_exactly() -> None:
    generator = torch.Generator().manual_seed(3)
    rows = torch.randint(9, 12, (40, 2, 9), generator=generator)
    for n in (1, 2, 3, 4):
        scores = flat(40, 2)
        forbid_repeats(scores, rows, n)
        for s in range(40):
            for w in range(2):
                seen = rows[s, w].tolist()
                grams = {tuple(seen[i : i + n]) for i in range(len(seen) - n + 1)}
                expected = [
                    v for v in range(12) if (*seen[len(seen) - n + 1 :], v) not in grams
                ]
                assert allowed(scores[s, w]) == expected


def test_forced_tokens_come_first_and_cost_nothing() -> None:
    config = GenerationConfig(min_len=1)
    made = Constraints(
        config,
        VOCABULARY,
        Requirements([2], [[B]], forced_tokens=(8, 1)),
        torch.tensor([BOS]),
    )
    for step, forced in enumerate((8, 1)):
        scores = flat(1)
        made.apply(scores, history([8, 1][:step]))
        assert allowed(scores[0, 0]) == [forced]
        assert scores[0, 0, forced] == 0.0
    # The prefix, one free piece, and the end at the limit.
    for pieces, rest in (
        ([8, 1], [B]),
        ([8, 1, B], [EOS, UNK, A, B, C]),
        ([8, 1, B, C], [EOS]),
    ):
        scores = flat(1)
        made.apply(scores, history(pieces))
        assert allowed(scores[0, 0]) == rest


def test_pieces_already_in_the_output_are_penalized() -> None:
    """Once, however often it occurred; what it has not keeps its score."""
    scores = flat(1)
    rules([9], repetition_penalty=1.5).apply(scores, history([A, C, A]))
    expected = flat(1)[0, 0]
    assert scores[0, 0, A] == expected[A] * 1.5
    assert scores[0, 0, C] == expected[C] * 1.5
    assert torch.equal(scores[0, 0, [EOS, UNK, B]], expected[[EOS, UNK, B]])
    first = flat(1)
    rules([9], repetition_penalty=1.5).apply(
        first, torch.zeros(1, 1, 0, dtype=torch.int64)
    )
    assert torch.equal(first[0, 0, A:], expected[A:])


def test_the_penalty_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    draw = torch.Generator().manual_seed(1)
    scores = torch.log_softmax(torch.randn(3, 2, 12, generator=draw), -1)
    so_far = torch.randint(A, 12, (3, 2, 4), generator=draw)
    processor = transformers.RepetitionPenaltyLogitsProcessor(1.3)
    expected = processor(so_far.view(6, 4), scores.view(6, 12).clone()).view(3, 2, 12)
    rules([9, 9, 9], repetition_penalty=1.3).apply(scores, so_far)
    assert torch.equal(
        scores[..., [EOS, UNK, A, B, C]], expected[..., [EOS, UNK, A, B, C]]
    )


def test_padding_before_a_shorter_prompt_forbids_no_piece() -> None:
    """The padding id -1 must not be used as an index: it would forbid the last piece of the vocabulary, depending
    on the batch."""
    prompts = [np.array([A, B, A]), np.array([B])]
    found = Constraints(
        GenerationConfig(no_repeat_ngram_size=1),
        VOCABULARY,
        Requirements([9, 9], prompts=prompts),
        torch.tensor([BOS, BOS]),
    )
    scores = flat(2)
    found.apply(scores, torch.zeros(2, 1, 0, dtype=torch.int64))
    assert allowed(scores[0, 0]) == [UNK, C]
    assert allowed(scores[1, 0]) == [UNK, A, C]


def test_prompts_count_as_what_must_not_be_repeated() -> None:
    """The prompts of a batch have different lengths, and some sentences leave the batch."""
    prompts = [np.array([A, B]), np.array([C]), np.array([B, A, B, C])]
    given = Constraints(
        GenerationConfig(no_repeat_ngram_size=2, repetition_penalty=1.5),
        VOCABULARY,
        Requirements([9, 9, 9], prompts=prompts),
        torch.full((3,), BOS),
    )
    none: list[int] = []
    scores = flat(3)
    given.apply(scores, history(none, none, none))
    # Nothing follows the last piece of a prompt in it.
    assert [allowed(row[0]) for row in scores] == [[UNK, A, B, C]] * 3
    expected = flat(1)[0, 0]
    paid = [[v for v in (A, B, C) if row[0, v] == expected[v] * 1.5] for row in scores]
    assert paid == [[A, B], [C], [A, B, C]]
    given.keep(torch.tensor([0, 2]))
    scores = flat(2)
    given.apply(scores, history([A], [B]))
    # B follows A in the first prompt; A and C follow B in the other one.
    assert [allowed(row[0]) for row in scores] == [[EOS, UNK, A, C], [EOS, UNK, B]]
