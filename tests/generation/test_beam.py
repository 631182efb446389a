"""Tests of beam search: against enumeration, a slow search over lists, and values checked by hand."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor

from masscli.core.config import ConfigError
from masscli.generation.config import GenerationConfig
from masscli.generation.constraints import Requirements
from masscli.generation.hypotheses import Hypothesis
from masscli.generation.search import search
from masscli.generation.stepper import EnsembleStepper, Stepper
from masscli.generation.topk import best, best_in_rows
from masscli.text.vocabulary import Vocabulary
from tests.oracles import Row, every_output, slow_beam

PAD, BOS, EOS, UNK, MASK, CLS, SEP, SPARE, EN = range(9)
A, B, C = 9, 10, 11
VOCABULARY = Vocabulary(
    size=12,
    pad=PAD,
    bos=BOS,
    eos=EOS,
    unk=UNK,
    mask=MASK,
    cls=CLS,
    sep=SEP,
    spare=(SPARE,),
    languages={"en": EN},
    fingerprint="x",
)


class Table:
    """A stepper whose log-probabilities are those of `row` for each row's history; it checks its calls."""

    vocab_size = VOCABULARY.size

    def __init__(self, row: Row, sentences: list[int], width: int) -> None:
        self.row, self.width, self.sentences = row, width, sentences
        self.histories: list[tuple[int, ...]] | None = None

    def __call__(self, ids: Tensor) -> Tensor:
        assert len(ids) == len(self.sentences) * self.width
        if self.histories is None:
            assert ids.tolist() == [BOS] * len(ids)
            self.histories = [()] * len(ids)
        else:
            self.histories = [
                (*h, v) for h, v in zip(self.histories, ids.tolist(), strict=True)
            ]
        return torch.tensor(
            [
                self.row(self.sentences[n // self.width], h)
                for n, h in enumerate(self.histories)
            ]
        )

    def reorder(self, parents: Tensor) -> None:
        assert self.histories is not None
        assert all(
            n // self.width == p // self.width for n, p in enumerate(parents.tolist())
        )
        self.histories = [self.histories[p] for p in parents.tolist()]

    def keep(self, sentences: Tensor) -> None:
        assert self.histories is not None
        self.histories = [
            self.histories[s * self.width + w]
            for s in sentences.tolist()
            for w in range(self.width)
        ]
        self.sentences = [self.sentences[s] for s in sentences.tolist()]


def noise(seed: int, sharpness: float = 1.5, levels: int = 0) -> Row:
    """A random language: every history has its own distribution over all ids.

    With `levels`, the scores are of so many values instead, exact in binary, so that ties abound (they do not
    sum to 1; no search minds).
    """

    def row(sentence: int, pieces: tuple[int, ...]) -> list[float]:
        draw = random.Random(f"{seed} {sentence} {pieces}")
        if levels:
            return [-0.5 * draw.randint(1, levels) for _ in range(VOCABULARY.size)]
        logits = [draw.gauss(0, sharpness) for _ in range(VOCABULARY.size)]
        total = math.log(sum(map(math.exp, logits)))
        return torch.tensor([x - total for x in logits]).tolist()

    return row


def script(probabilities: dict[tuple[int, ...], dict[int, float]]) -> Row:
    """Hand-written probabilities of what follows each history; anything else is impossible."""
    return lambda _, pieces: [
        math.log(p)
        if (p := probabilities.get(pieces, {EOS: 1.0}).get(v, 0.0))
        else -math.inf
        for v in range(12)
    ]


def run(
    row: Row,
    limits: list[int],
    prefixes: list[tuple[int, ...]] | None = None,
    **options: Any,
) -> list[list[Hypothesis]]:
    """Search every sentence in one batch."""
    config = GenerationConfig(**options)
    starts = torch.full((len(limits),), BOS)
    return search(
        Table(row, list(range(len(limits))), config.beam),
        starts,
        Requirements(limits, prefixes),
        config,
        VOCABULARY,
    )


def check_same(
    actual: list[Hypothesis], expected: list[tuple[float, tuple[int, ...]]]
) -> None:
    assert [h.ids for h in actual] == [ids for _, ids in expected]
    assert [h.score for h in actual] == pytest.approx(
        [score for score, _ in expected], abs=1e-5
    )


@pytest.mark.parametrize("lenpen", [0.0, 0.6, 1.0, 2.0, -0.5])
def test_a_beam_as_wide_as_the_tree_finds_the_best_outputs(lenpen: float) -> None:
    for seed in range(3):
        row = noise(seed)
        found = run(row, [3, 2], beam=100, nbest=20, lenpen=lenpen, min_len=0)
        for s, limit in enumerate([3, 2]):
            check_same(found[s], every_output(row, s, VOCABULARY, limit, lenpen)[:20])


def test_beam_1_is_greedy() -> None:
    row = noise(5)
    [[found]] = run(row, [6], beam=1)
    pieces: tuple[int, ...] = ()
    while len(pieces) < 6:
        scores = row(0, pieces)
        allowed = [UNK, A, B, C] + ([EOS] if pieces else [])
        piece = max(allowed, key=lambda v: scores[v])
        if piece == EOS:
            break
        pieces = (*pieces, piece)
    assert found.ids == pieces


CASES: list[dict[str, Any]] = [
    {"beam": 1},
    {"beam": 2, "nbest": 2},
    {"beam": 5, "nbest": 5},
    {"beam": 5, "nbest": 1},
    {"beam": 5, "nbest": 3, "lenpen": 0.0},
    {"beam": 4, "nbest": 4, "lenpen": 2.0},
    {"beam": 4, "nbest": 2, "lenpen": -1.0},
    {"beam": 3, "nbest": 3, "unkpen": 2.0},
    {"beam": 3, "nbest": 3, "unkpen": -1.0},
    {"beam": 4, "nbest": 4, "min_len": 0},
    {"beam": 4, "nbest": 4, "min_len": 4},
    {"beam": 4, "nbest": 4, "no_repeat_ngram_size": 1},
    {"beam": 4, "nbest": 4, "no_repeat_ngram_size": 2},
    {"beam": 4, "nbest": 4, "no_repeat_ngram_size": 3},
    {"beam": 6, "nbest": 6, "diverse_beam_groups": 2},
    {"beam": 6, "nbest": 6, "diverse_beam_groups": 3, "diverse_beam_strength": 2.0},
    {
        "beam": 4,
        "nbest": 4,
        "diverse_beam_groups": 4,
        "diverse_beam_strength": 0.1,
        "no_repeat_ngram_size": 2,
    },
]


@pytest.mark.parametrize("levels", [0, 3], ids=["distinct", "ties"])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_search_equals_the_slow_search(options: dict[str, Any], levels: int) -> None:
    """Outputs and scores do not change when the stop rule ends the search early and sentences leave."""
    row, limits = noise(11, levels=levels), [7, 3, 9, 0, 5, 8, 1, 6]
    config = GenerationConfig(**options)
    for s, found in enumerate(run(row, limits, **options)):
        check_same(
            found, slow_beam(row, s, VOCABULARY, limits[s], config)[: config.nbest]
        )


@pytest.mark.parametrize("levels", [0, 3], ids=["distinct", "ties"])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_batch_of_1_equals_batch_of_n(options: dict[str, Any], levels: int) -> None:
    row, limits = noise(12, levels=levels), [7, 3, 9, 0, 5, 8, 1, 6]
    together = run(row, limits, **options)
    config = GenerationConfig(**options)
    for s, limit in enumerate(limits):
        assert search(
            Table(row, [s], config.beam),
            torch.tensor([BOS]),
            Requirements([limit]),
            config,
            VOCABULARY,
        ) == [together[s]]
    backwards = search(
        Table(row, list(range(8))[::-1], config.beam),
        torch.full((8,), BOS),
        Requirements(limits[::-1]),
        config,
        VOCABULARY,
    )
    assert backwards[::-1] == together


def test_prefixes_are_forced_sentence_by_sentence() -> None:
    row, prefixes = noise(3), [(C, C), (), (B,), (UNK, A, A, A, B)]
    config = GenerationConfig(beam=4, nbest=4, no_repeat_ngram_size=2, unkpen=5.0)
    found = run(
        row, [5, 5, 5, 5], prefixes, beam=4, nbest=4, no_repeat_ngram_size=2, unkpen=5.0
    )
    for s, prefix in enumerate(prefixes):
        assert all(h.ids[: len(prefix)] == prefix for h in found[s])
        check_same(found[s], slow_beam(row, s, VOCABULARY, 5, config, prefix)[:4])


def test_scores_are_sums_over_length_to_the_penalty() -> None:
    row = script(
        {
            (): {A: 0.6, B: 0.4},
            (A,): {EOS: 0.5, B: 0.5},
            (A, B): {EOS: 1.0},
            (B,): {EOS: 1.0},
        }
    )
    [found] = run(row, [4], beam=3, nbest=3, lenpen=0.0)
    assert [h.ids for h in found] == [(B,), (A,), (A, B)]
    assert [h.score for h in found] == pytest.approx(
        [math.log(0.4), math.log(0.3), math.log(0.3)]
    )
    [found] = run(row, [4], beam=3, nbest=3, lenpen=1.0)
    assert [h.ids for h in found] == [(A, B), (B,), (A,)]
    assert [h.score for h in found] == pytest.approx(
        [math.log(0.3) / 3, math.log(0.4) / 2, math.log(0.3) / 2]
    )
    assert found[0].token_scores == pytest.approx([math.log(0.6), math.log(0.5), 0.0])


def test_a_wider_beam_finds_what_greedy_search_misses() -> None:
    row = script(
        {(): {A: 0.6, B: 0.4}, (A,): {A: 0.4, B: 0.3, C: 0.3}, (B,): {EOS: 1.0}}
    )
    assert [h.ids for h in run(row, [4], beam=1, lenpen=0.0)[0]] == [(A, A)]
    assert [h.ids for h in run(row, [4], beam=2, lenpen=0.0)[0]] == [(B,)]


def test_the_length_limit_forces_the_end_and_says_so() -> None:
    row = script(
        {(): {A: 1.0}, (A,): {A: 0.75, EOS: 0.25}, (A, A): {A: 0.75, EOS: 0.25}}
    )
    [found] = run(row, [2], beam=2, nbest=2, lenpen=0.0)
    assert [(h.ids, h.hit_max_len) for h in found] == [((A,), False), ((A, A), True)]
    assert found[1].score == pytest.approx(math.log(0.75 * 0.25))


def test_the_search_continues_while_a_better_output_is_possible() -> None:
    """A poor start that is sure of a long output beats a short one, unless length is penalized too much."""
    chain = {(B,) + (C,) * n: {C: 1.0} for n in range(8)}
    row = script({(): {A: 0.5, B: 0.1}, (A,): {EOS: 0.9}, **chain})
    [found] = run(row, [12], beam=2)
    assert [h.ids for h in found] == [(B,) + (C,) * 8]
    assert found[0].score == pytest.approx(math.log(0.1) / 10)
    row = script({(): {A: 0.45, B: 0.55}, (A,): {EOS: 1.0}, (B,): {C: 1.0}})
    [found] = run(row, [12], beam=2, lenpen=-0.5)
    assert [h.ids for h in found] == [(B, C)]


def test_the_search_continues_while_a_bonus_for_unknown_pieces_is_possible() -> None:
    row = script(
        {
            (): {A: 0.6, B: 0.4},
            (A,): {EOS: 1.0},
            (B,): {C: 1.0},
            (B, C): {UNK: 1.0},
            (B, C, UNK): {EOS: 1.0},
        }
    )
    [found] = run(row, [6], beam=2, lenpen=0.0, unkpen=-3.0)
    assert [h.ids for h in found] == [(B, C, UNK)]
    assert found[0].score == pytest.approx(math.log(0.4) + 3)


def test_early_stop_ends_when_beam_hypotheses_have_ended() -> None:
    row = script(
        {(): {A: 0.5, B: 0.5}, (A,): {EOS: 0.6, C: 0.4}, (B,): {EOS: 0.6, C: 0.4}}
    )
    thorough, hasty = (
        run(row, [4], beam=2, nbest=2),
        run(row, [4], beam=2, nbest=2, early_stop=True),
    )
    assert [h.ids for h in thorough[0]] == [(A, C), (B, C)]
    assert [h.ids for h in hasty[0]] == [(A,), (B,)]


def test_without_lookahead_a_line_ends_if_none_is_better_at_its_present_length() -> (
    None
):
    """Two have ended with -0.60 and -0.65; (B, C) has -0.75 as it is, but would have -0.37 at its end."""
    row = script(
        {
            (): {A: 0.5, B: 0.5},
            (A,): {EOS: 0.6, C: 0.4},
            (B,): {EOS: 0.55, C: 0.45},
            (A, C): {EOS: 1.0},
            (B, C): {C: 1.0},
            (B, C, C): {EOS: 1.0},
        }
    )
    thorough, blind = (
        run(row, [4], beam=2, nbest=1, lookahead=lookahead)
        for lookahead in (True, False)
    )
    assert [h.ids for h in thorough[0]] == [(B, C, C)]
    assert [h.ids for h in blind[0]] == [(A,)]
    # A bonus for unknown pieces is for what is to come, and does not count at the present length.
    [[eager]] = run(row, [4], beam=2, nbest=1, lookahead=False, unkpen=-5.0)
    assert eager.ids == (A,)
    # One has ended with -0.60, and no second one, so that the search goes on.
    row = script(
        {
            (): {A: 0.6, B: 0.4},
            (A,): {EOS: 0.5, C: 0.5},
            (B,): {EOS: 0.3, C: 0.7},
            (A, C): {EOS: 1.0},
            (B, C): {EOS: 1.0},
        }
    )
    [[best]] = run(row, [4], beam=2, nbest=1, lookahead=False)
    assert best.ids == (A, C)


def test_special_ids_are_never_generated() -> None:
    row = script(
        {
            (): {
                PAD: 0.1,
                BOS: 0.1,
                MASK: 0.1,
                CLS: 0.1,
                SEP: 0.1,
                SPARE: 0.1,
                EN: 0.1,
                UNK: 0.2,
                A: 0.1,
            }
        }
    )
    [found] = run(row, [3], beam=10, nbest=10)
    assert {h.ids for h in found} == {(UNK,), (A,)}


def test_without_any_possible_output_the_list_is_empty() -> None:
    row = script({(): {PAD: 1.0}})
    assert run(row, [3], beam=2) == [[]]
    assert run(row, [], beam=2) == []


def test_diverse_groups_differ_where_a_plain_beam_does_not() -> None:
    row = script({(): {A: 0.9, B: 0.06, C: 0.04}, (A,): {A: 0.5, B: 0.5}})
    plain = run(row, [2], beam=2, nbest=2)[0]
    diverse = run(
        row, [2], beam=2, nbest=2, diverse_beam_groups=2, diverse_beam_strength=5.0
    )[0]
    assert {h.ids[0] for h in plain} == {A}
    assert {h.ids[0] for h in diverse} == {A, B}
    assert {h.ids[0]: h.score for h in diverse}[B] == pytest.approx(
        math.log(0.06) / 2
    )  # the model's own score


def test_options_are_checked() -> None:
    with pytest.raises(
        ConfigError, match=r"^diverse_beam_groups: must divide --beam \(5\), got 2$"
    ):
        GenerationConfig(diverse_beam_groups=2)


def test_an_ensemble_of_one_model_twice_is_that_model() -> None:
    row, config = noise(4), GenerationConfig(beam=4, nbest=4)
    double: Stepper = EnsembleStepper([Table(row, [0, 1], 4), Table(row, [0, 1], 4)])
    single = run(row, [6, 4], beam=4, nbest=4)
    for one, two in zip(
        single,
        search(double, torch.full((2,), BOS), Requirements([6, 4]), config, VOCABULARY),
        strict=True,
    ):
        check_same(two, [(h.score, h.ids) for h in one])


def test_an_ensemble_averages_probabilities() -> None:
    one = script({(): {A: 0.9, B: 0.1}})
    two = script({(): {A: 0.2, B: 0.8}})
    ensemble = EnsembleStepper([Table(one, [0], 2), Table(two, [0], 2)])
    [found] = search(
        ensemble,
        torch.tensor([BOS]),
        Requirements([3]),
        GenerationConfig(beam=2, nbest=2, lenpen=0.0),
        VOCABULARY,
    )
    check_same(found, [(math.log(0.55), (A,)), (math.log(0.45), (B,))])


def test_best_breaks_ties_by_index_and_sees_every_block() -> None:
    generator = torch.Generator().manual_seed(1)
    for v in (5, 64, 130, 1000):
        scores = torch.randint(-6, 3, (4, 3, v), generator=generator).float()
        offsets = torch.tensor(
            [
                [0.0, -1.0, -torch.inf],
                [0.0, 0.0, 0.0],
                [-3.0, 0.5, 0.5],
                [-0.0, 0.0, -2.0],
            ]
        )
        sums, rows, columns = best_in_rows(offsets, scores, 5)
        for s in range(4):
            flat = [
                (-(offsets[s, w] + scores[s, w, c]).item(), w, c)
                for w in range(3)
                for c in range(v)
            ]
            expected = sorted(flat)[:5]
            assert [
                (-x, w, c)
                for x, w, c in zip(
                    sums[s].tolist(), rows[s].tolist(), columns[s].tolist(), strict=True
                )
            ] == expected
    assert best(torch.tensor([[-0.0, 0.0, -torch.inf, 1e-30]]), 3)[1].tolist() == [
        [3, 0, 1]
    ]
