"""Phrases that outputs must contain: against the whole tree, and against a beam without them."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from masscli.__main__ import run as masscli
from masscli.generation.config import GenerationConfig
from masscli.generation.constrained_beam import Progress
from masscli.generation.constraints import Requirements
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.search import search
from masscli.models.transformer import Transformer
from masscli.text.tokenizer import Tokenizer
from tests.commands import succeed
from tests.generation.test_beam import (
    BOS,
    EOS,
    UNK,
    VOCABULARY,
    A,
    B,
    C,
    Table,
    check_same,
    noise,
    script,
)
from tests.generation.test_beam import run as plain_run
from tests.generation.test_translator import LINES, make, model, save_run, tokenizer
from tests.oracles import every_output

__all__ = ["model", "tokenizer"]
Phrases = Sequence[Sequence[int]]


def run(
    seed: int, limits: list[int], phrases: Sequence[Phrases], **options: Any
) -> list[list[Hypothesis]]:
    config = GenerationConfig(**options)
    table = Table(noise(seed), list(range(len(limits))), config.beam)
    starts = torch.full((len(limits),), BOS)
    requirements = Requirements(limits, phrases=phrases)
    return search(table, starts, requirements, config, VOCABULARY)


def contains(pieces: tuple[int, ...], phrase: Sequence[int]) -> bool:
    size = len(phrase)
    return any(
        pieces[start : start + size] == tuple(phrase)
        for start in range(len(pieces) - size + 1)
    )


@pytest.mark.parametrize(
    "phrases", [[[A]], [[B, A]], [[C], [A]], [[A, B], [C]], [[UNK, UNK, A]]], ids=str
)
@pytest.mark.parametrize("lenpen", [0.0, 1.0])
def test_a_beam_as_wide_as_the_tree_finds_the_best_outputs_with_the_phrases(
    phrases: Phrases, lenpen: float
) -> None:
    (actual,) = run(1, [3], [phrases], beam=64, nbest=3, lenpen=lenpen)
    everything = every_output(noise(1), 0, VOCABULARY, 3, lenpen)
    # A piece is in one phrase only here, so phrases cannot share any.
    expected = [
        output
        for output in everything
        if all(contains(output[1], phrase) for phrase in phrases)
    ]
    check_same(actual, expected[: len(actual)])
    assert len(actual) == min(3, len(expected))


@pytest.mark.parametrize(
    ("phrases", "output", "missing"),
    [
        # The phrase stands at the end of the output, behind a beginning of itself.
        ([(1, 1, 2)], [1, 1, 1, 2], []),
        ([(1, 2, 1, 3)], [1, 2, 1, 2, 1, 3], []),
        # Another phrase begins within the one that is broken off.
        ([(1, 2, 3), (2, 4)], [1, 2, 4], [(1, 2, 3)]),
        # No piece belongs to two phrases.
        ([(1, 2), (2, 3)], [1, 2, 3], [(2, 3)]),
    ],
)
def test_a_phrase_is_found_after_a_part_of_itself(
    phrases: list[tuple[int, ...]], output: list[int], missing: list[tuple[int, ...]]
) -> None:
    progress = Progress.start(phrases)
    for piece in output:
        progress = progress.extended(piece)
    assert progress.missing.phrases == missing
    done = sum(map(len, phrases)) - sum(map(len, missing))
    assert progress.pieces == done + progress.begun.depth


def test_a_narrow_beam_has_all_phrases_and_does_not_affect_other_sentences() -> None:
    phrases: list[Phrases] = [[[A, C], [B]], [], [[C, C, C]], [[A], [A]]]
    limits = [6, 6, 6, 6]
    for beam in (1, 2, 5):
        found = run(2, limits, phrases, beam=beam)
        plain = plain_run(noise(2), limits, beam=beam)
        assert found[1] == plain[1]
        for of_sentence, (best, *_) in zip(phrases, found, strict=True):
            assert all(contains(best.ids, phrase) for phrase in of_sentence)
        assert found[3][0].ids.count(A) >= 2


def test_phrases_that_do_not_fit_give_no_output() -> None:
    assert run(3, [2], [[[A, B, C]]], beam=4) == [[]]


def test_a_phrase_is_generated_when_it_becomes_possible() -> None:
    """Impossible continuations take no row from those that may still contain the phrase."""
    row = script({(): {A: 1.0}, (A,): {B: 0.1, C: 0.9}, (A, B): {EOS: 1.0}})
    table = Table(row, [0], 1)
    [found] = search(
        table,
        torch.tensor([BOS]),
        Requirements([4], phrases=[[[B]]]),
        GenerationConfig(beam=1),
        VOCABULARY,
    )
    assert [h.ids for h in found] == [(A, B)]


def test_progress_is_lost_and_starts_again() -> None:
    progress = Progress.start([(A, B), (A, A, C), (B,)])
    for piece, pieces, missing in (
        (A, 1, 3),
        (A, 2, 3),
        # A A is given up for A B.
        (B, 2, 2),
        (A, 3, 2),
        (B, 3, 1),
    ):
        progress = progress.extended(piece)
        assert (progress.pieces, len(progress.missing.phrases)) == (pieces, missing)
    assert progress.missing.phrases == [(A, A, C)]
    assert progress.next_pieces() == {A}
    assert progress.extended(A).next_pieces() == {A}
    assert progress.extended(A).extended(A).next_pieces() == {C, A}


@pytest.mark.parametrize("seed", range(20))
def test_progress_is_that_of_its_definition(seed: int) -> None:
    """A phrase counts as found when the output ends with it; of several beginnings the longest counts."""
    rng = random.Random(seed)
    phrases = [
        tuple(rng.choices((A, B), k=rng.randint(1, 5)))
        for _ in range(rng.randint(1, 9))
    ]
    progress = Progress.start(phrases)
    missing, begun, done = list(phrases), (), 0
    for piece in rng.choices((A, B, C), weights=(5, 5, 1), k=60):
        beginnings = {
            phrase[:size] for phrase in missing for size in range(1, len(phrase) + 1)
        }
        assert progress.next_pieces() == {
            phrase[size]
            for phrase in missing
            for size in {0, len(begun)}
            if phrase[:size] in ((), begun)
        }
        ends = [(*begun, piece)[first:] for first in range(len(begun) + 1)]
        begun = next((end for end in ends if end in beginnings), ())
        expected = done + len(begun)
        if begun in missing:
            missing.remove(begun)
            done, begun = expected, ()
        assert progress.pieces_with(piece) == expected
        progress = progress.extended(piece)
        assert (progress.missing.phrases, progress.pieces) == (missing, expected)


def test_a_step_takes_no_longer_with_more_phrases() -> None:
    """Compared are lookups in the trees of phrases: each piece of an output is looked up at most twice on average."""
    lookups = 0

    class Counting(dict):  # type: ignore[type-arg]
        def __contains__(self, piece: object) -> bool:
            nonlocal lookups
            lookups += 1
            return super().__contains__(piece)

    progress = Progress.start([(A,) * size + (B,) for size in range(1, 300)])
    waiting = [progress.missing.root]
    while waiting:
        node = waiting.pop()
        waiting += node.children.values()
        node.children = Counting(node.children)
    for piece in [A] * 1000:
        progress = progress.extended(piece)
    # Looked up for the number of pieces, and to go on.
    assert lookups <= 2 * 2 * 1000


def test_the_command_generates_the_given_phrases(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tokenizer: Tokenizer,
    model: Transformer,
) -> None:
    monkeypatch.chdir(tmp_path)
    save_run(tmp_path / "run", tokenizer, model)
    constraints = ["red\tsmall tree" if line.strip() else "" for line in LINES]
    constraints[3] = ""
    (tmp_path / "phrases").write_text("\n".join(constraints) + "\n", encoding="utf-8")
    monkeypatch.setattr(
        sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(LINES).encode()))
    )
    command = "generate run --device cpu --precision fp32 --beam 4".split()
    succeed([*command, *"--constraints phrases --max-len-a 0.7 --max-len-b 8".split()])
    lines = capfd.readouterr().out.splitlines()
    plain = [
        best[0].text for best in make(tokenizer, model).translate(LINES, "en", "de")
    ]
    for line, phrases, unconstrained in zip(lines, constraints, plain, strict=True):
        if phrases:
            assert "red" in line.split() and "small tree" in line
        else:
            assert line == unconstrained
    assert masscli([*command, "--constraints", "phrases", "--sampling"]) == 2
    assert "--constraints need a plain beam search" in capfd.readouterr().err
