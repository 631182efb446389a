"""MASS masking against the preset table and worked examples of the published code."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import permutations
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from masscli.core.config import ConfigError, iter_options
from masscli.core.rng import example_generator
from masscli.data.batches.dataset import Example
from masscli.data.batches.framing import Framing
from masscli.objectives.mass.corruption import fragment_length, mask_fragment
from masscli.objectives.mass.options import MASS_PRESETS, MassOptions
from tests.objectives.shared.test_segment_pairs import Text
from tests.objectives.test_pretraining import VOCAB, make_objective, rngs, words

PAD, BOS, EOS, UNK, MASK = range(5)
WORDS = np.arange(10, 1000)
SENTENCE = np.arange(100, 106)  # a b c d e f
ROW = np.concatenate([[BOS], SENTENCE, [EOS]])


def options(preset: str, **changes: object) -> MassOptions:
    return replace(MassOptions(preset=preset), **changes).resolved()  # type: ignore[arg-type]


def always_masked(preset: str, **changes: object) -> MassOptions:
    return options(preset, mask_share=1.0, random_share=0.0, **changes)


def draws(row: np.ndarray, chosen: MassOptions, count: int) -> list:
    return [
        mask_fragment(row, chosen, MASK, WORDS, example_generator(1, "en", 0, i))
        for i in range(count)
    ]


def first_hidden(found: list) -> np.ndarray:
    return np.array([int(np.flatnonzero(m.is_masked)[0]) for m in found])


# The table of the released presets, written out again by hand: preset -> field -> value.
TABLE = {
    "paper": {"k": 0.5, "k_of": "words", "k_rounding": "nearest", "start": "uniform", "mask_eos": False, "random_ids": "words",
              "mask_visibility": "all", "decoder": (0.0, 0.0), "decoder_positions": "original", "block": 0},
    "xlm": {"k": 0.5, "k_of": "sequence", "k_rounding": "nearest", "start": "ends", "mask_eos": True, "random_ids": "all",
            "mask_visibility": "encoder", "decoder": (0.0, 0.0), "decoder_positions": "original", "block": 0},
    "fairseq": {"k": 0.3, "k_of": "sequence", "k_rounding": "nearest", "start": "ends-but-last", "mask_eos": True, "random_ids": "words",
                "mask_visibility": "none", "decoder": (0.1, 0.1), "decoder_positions": "restart", "block": 0},
    "summarization": {"k": 0.15, "k_of": "words", "k_rounding": "floor", "start": "uniform", "mask_eos": False, "random_ids": "words",
                      "mask_visibility": "all", "decoder": (0.0, 0.0), "decoder_positions": "original", "block": 64},
}  # fmt: skip


@pytest.mark.parametrize("preset", TABLE)
def test_presets_are_those_of_the_table(preset: str) -> None:
    actual, expected = options(preset), dict(TABLE[preset])
    assert (actual.decoder_mask_share, actual.decoder_random_share) == expected.pop(
        "decoder"
    )
    assert (actual.mask_share, actual.random_share) == (0.8, 0.1)
    assert {field: getattr(actual, field) for field in expected} == expected
    assert set(TABLE) == set(MASS_PRESETS)


def test_options_of_the_user_override_a_preset() -> None:
    assert options("xlm", k=0.25).k == 0.25
    assert options("xlm", k_tokens=1).k is None


@pytest.mark.parametrize(
    ("preset", "n", "k"),
    [("paper", 6, 3), ("paper", 1, 1), ("paper", 5, 2), ("paper", 7, 4), ("xlm", 6, 4), ("xlm", 5, 4), ("xlm", 7, 4), ("xlm", 3, 2),
     ("fairseq", 6, 2), ("fairseq", 1, 1), ("summarization", 64, 9)],
)  # fmt: skip
def test_k_is_rounded_half_to_even_as_the_code_does(
    preset: str, n: int, k: int
) -> None:
    assert fragment_length(n, options(preset)) == k


def test_xlm_start_3_of_the_worked_example() -> None:
    """EOS a b M M M M EOS; inputs b c d e at 2 3 4 5; targets c d e f; attendable keys 0, 1, 2, 7."""
    found = [
        m
        for m in draws(ROW, always_masked("xlm"), 200)
        if int(np.flatnonzero(m.is_masked)[0]) == 3
    ]
    assert found
    for m in found:
        assert m.encoder_ids.tolist() == [BOS, 100, 101, MASK, MASK, MASK, MASK, EOS]
        assert m.decoder_ids.tolist() == [101, 102, 103, 104]
        assert m.decoder_positions.tolist() == [2, 3, 4, 5]
        assert m.label_ids.tolist() == [102, 103, 104, 105]
        assert np.flatnonzero(~m.is_masked).tolist() == [0, 1, 2, 7]


def test_xlm_fragment_at_the_ends_of_the_worked_example() -> None:
    """start 4: targets d e f EOS, inputs c d e f at 3..6; start 1: inputs EOS a b c at 0..3."""
    by_start = {
        int(np.flatnonzero(m.is_masked)[0]): m
        for m in draws(ROW, always_masked("xlm"), 100)
    }
    assert by_start[4].label_ids.tolist() == [103, 104, 105, EOS]
    assert by_start[4].decoder_positions.tolist() == [3, 4, 5, 6]
    assert by_start[1].decoder_ids.tolist() == [BOS, 100, 101, 102]
    assert by_start[1].decoder_positions.tolist() == [0, 1, 2, 3]


def test_xlm_starts_have_the_published_distribution() -> None:
    """The probabilities are .35 .15 .15 .35 for L = 8 and k = 4."""
    starts = first_hidden(draws(ROW, always_masked("xlm"), 4000))
    shares = np.bincount(starts, minlength=5)[1:] / 4000
    assert (
        np.abs(shares - [0.35, 0.15, 0.15, 0.35]).max() < 0.03
    )  # four standard deviations


def test_fairseq_starts_anywhere_but_last_in_the_other_sixty_percent() -> None:
    """Released supNMT: E = L - k; 20% start at 1, 20% at E, the rest uniformly at 1 to E - 1 (L = 8, k = 4)."""
    starts = np.array(
        [
            int(m.label_ids[0]) - 99
            for m in draws(ROW, always_masked("fairseq", k=0.5), 4000)
        ]
    )
    shares = np.bincount(starts, minlength=5)[1:] / 4000
    assert np.abs(shares - [0.4, 0.2, 0.2, 0.2]).max() < 0.03
    # Where only one place is free of words, the released code fails; here the fragment takes it.
    assert len(draws(ROW[[0, 1, -1]], always_masked("fairseq", k=1.0), 50)) == 50


def test_paper_starts_are_uniform_over_all_places_and_spare_the_end() -> None:
    found = draws(ROW, always_masked("paper"), 4000)
    shares = np.bincount(first_hidden(found), minlength=5)[1:] / 4000
    assert np.abs(shares - 0.25).max() < 0.03
    assert not any(m.is_masked[-1] or m.is_masked[0] for m in found)


def test_pieces_of_two_have_every_size_and_keep_order() -> None:
    """lambda_span 2, k = 5, L = 10: pieces 2, 2, 1 with four gaps; the decoder reads the tokens before, at their places.

    In the order 2, gap, gap, 1, gap, 2, gap the hidden ones are 1, 2, 5, 7 and 8.
    """
    row = np.concatenate([[BOS], np.arange(100, 108), [EOS]])
    found = draws(row, always_masked("xlm", span=2), 1000)
    assert [1, 2, 5, 7, 8] in [np.flatnonzero(m.is_masked).tolist() for m in found]
    for m in found:
        spots = np.flatnonzero(m.is_masked)
        assert len(spots) == 5 and spots[0] >= 1
        assert m.decoder_ids.tolist() == row[spots - 1].tolist()
        assert m.decoder_positions.tolist() == (spots - 1).tolist()
        assert m.label_ids.tolist() == row[spots].tolist()


def orders(items: tuple[int, ...]) -> Counter[tuple[int, ...]]:
    """All orders of some items, each with the probability that a shuffle gives it."""
    every = Counter(permutations(items))
    total = every.total()
    return Counter({order: n / total for order, n in every.items()})  # type: ignore[misc]


def test_pieces_are_placed_as_often_as_the_released_code_places_them() -> None:
    """Pieces 2, 2, 1 and four gaps: in one draw of five the first piece stays first, in one the last stays last.

    All others are shuffled (XLM's MASS, `shuffle_segments`). The places of a fragment have the distribution that
    follows, by Pearson's chi-square.
    """
    expected: Counter[tuple[int, ...]] = Counter()
    cases = [
        (0.6, (), (2, 2, 1, 0, 0, 0, 0), ()),
        (0.2, (2,), (2, 1, 0, 0, 0, 0), ()),
        (0.2, (), (2, 2, 0, 0, 0, 0), (1,)),
    ]
    for share, first, shuffled, last in cases:
        for order, odds in orders(shuffled).items():
            spots = []
            for item in (*first, *order, *last):
                spots += [True] * item or [False]
            expected[tuple(spots)] += share * odds  # type: ignore[assignment]
    row = np.concatenate([[BOS], np.arange(100, 108), [EOS]])
    count = 4000
    found = Counter(
        tuple(m.is_masked[1:].tolist())
        for m in draws(row, always_masked("xlm", span=2), count)
    )
    assert set(found) <= set(expected)
    statistic = sum(
        (found[spots] - count * odds) ** 2 / (count * odds)
        for spots, odds in expected.items()
    )
    # Its mean is the number of degrees of freedom, its variance twice that.
    freedom = len(expected) - 1
    assert abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_discrete_ablation_hides_single_tokens_anywhere() -> None:
    row = np.concatenate([[BOS], np.arange(100, 140), [EOS]])
    found = draws(row, always_masked("paper", span=1), 500)
    assert all(m.is_masked.sum() == 20 for m in found)
    runs = [np.diff(np.flatnonzero(m.is_masked)).max() for m in found]
    assert (
        np.mean(np.array(runs) > 1) > 0.99
    )  # one piece of 20 in a row is next to impossible
    share = np.mean([m.is_masked[1:-1] for m in found], 0)
    assert np.abs(share - 0.5).max() < 0.1


def test_fairseq_shift_is_the_released_off_by_one() -> None:
    """item a b c d e f EOS, k = 4, start 3: a b c M M M M: the target c is visible and EOS is hidden."""
    found = {int(np.flatnonzero(m.is_masked)[0]): m for m in draws(ROW, always_masked("fairseq", k=0.5, source_shift=1,
             decoder_mask_share=0.0, decoder_random_share=0.0), 200)}  # fmt: skip
    m = found[4]  # the fragment starts at 3, what is hidden one later
    assert m.encoder_ids[1:].tolist() == [100, 101, 102, MASK, MASK, MASK, MASK]
    assert m.label_ids.tolist() == [102, 103, 104, 105]
    assert m.decoder_ids.tolist() == [101, 102, 103, 104]
    assert m.decoder_positions.tolist() == [0, 1, 2, 3]


def test_fairseq_hides_k_plus_one_tokens_and_never_the_first() -> None:
    row = np.concatenate([[BOS], np.arange(100, 130), [EOS]])
    for m in draws(row, always_masked("fairseq", source_shift=1), 300):
        start, k = row.tolist().index(m.label_ids[0]), len(m.label_ids)
        assert np.flatnonzero(m.is_masked).tolist() == list(
            range(start + 1, min(start + k + 1, len(row) - 1) + 1)
        )
        assert not m.is_masked[:2].any()


def test_corruption_is_eighty_ten_ten() -> None:
    row = np.concatenate([[BOS], np.arange(100, 500), [EOS]])
    found = draws(row, options("paper"), 200)
    spots = [
        (m.encoder_ids[m.label_ids - 99], m.label_ids) for m in found
    ]  # labels are 100 + place, rows start at 1
    shown, true = (
        np.concatenate([s for s, _ in spots]),
        np.concatenate([t for _, t in spots]),
    )
    assert abs(np.mean(shown == MASK) - 0.8) < 0.01
    assert abs(np.mean(shown == true) - 0.1) < 0.01
    changed = shown[(shown != MASK) & (shown != true)]
    assert abs(len(changed) / len(shown) - 0.1) < 0.01
    assert changed.min() >= 10


@pytest.mark.parametrize(
    ("preset", "drawn"), [("paper", range(10, 60)), ("xlm", range(60))]
)
def test_random_ids_of_xlm_come_from_the_whole_vocabulary(
    preset: str, drawn: range
) -> None:
    objective = make_objective(
        "mass", preset=preset, k=1.0, mask_eos=False, mask_share=0.0, random_share=1.0
    )
    lines = [Example(row, (np.array(words(row, 100)),)) for row in range(60)]
    shown = objective.collator()(lines, rngs(60)).source.ids[:, :100]
    assert set(shown.flatten().tolist()) == set(drawn)


def test_everything_outside_the_fragment_is_untouched() -> None:
    for preset in TABLE:
        row = np.concatenate([[BOS], np.arange(100, 180), [EOS]])
        for m in draws(
            row, options(preset, decoder_mask_share=0.0, decoder_random_share=0.0), 50
        ):
            outside = np.setdiff1d(row, m.label_ids)
            assert np.isin(outside, m.encoder_ids).all()
            assert m.decoder_ids.tolist() == row[np.searchsorted(row[:-1], m.label_ids) - 1 if EOS not in m.label_ids else
                                            [row.tolist().index(x) - 1 for x in m.label_ids]].tolist()  # fmt: skip


def test_decoder_noise_is_ten_ten_eighty() -> None:
    row = np.concatenate([[BOS], np.arange(100, 500), [EOS]])
    found = draws(row, options("fairseq", mask_share=1.0, random_share=0.0), 200)
    clean = np.concatenate([row[np.flatnonzero(m.is_masked) - 1] for m in found])
    read = np.concatenate([m.decoder_ids for m in found])
    assert abs(np.mean(read == clean) - 0.8) < 0.01
    assert abs(np.mean(read == MASK) - 0.1) < 0.01


def test_summarization_has_a_fragment_in_every_block() -> None:
    """window t0..t129 (t0 is never hidden by the frame): blocks of 64, 64 and 2; m = 9, 9, 0."""
    row = np.concatenate([[BOS], np.arange(100, 230), [EOS]])
    for m in draws(row, always_masked("summarization"), 100):
        spots = np.flatnonzero(m.is_masked)
        assert len(spots) == 18 and len(m.label_ids) == 18
        first, second = spots[:9], spots[9:]
        assert (
            first.tolist() == list(range(first[0], first[0] + 9))
            and 1 <= first[0] <= 56
        )
        assert (
            second.tolist() == list(range(second[0], second[0] + 9))
            and 65 <= second[0] <= 120
        )
        assert (m.decoder_ids.tolist(), m.label_ids.tolist()) == (
            row[spots - 1].tolist(),
            row[spots].tolist(),
        )  # one causal sequence
        assert m.decoder_positions.tolist() == (spots - 1).tolist()


def test_feed_ablation_reads_the_whole_sentence_and_predicts_the_fragment() -> None:
    for m in draws(ROW, always_masked("paper", feed="all"), 50):
        assert m.decoder_ids.tolist() == ROW[:-1].tolist()
        assert ROW[m.label_positions + 1].tolist() == m.label_ids.tolist()


def test_first_input_of_the_papers_text_is_the_mask() -> None:
    for m in draws(ROW, always_masked("paper", first_input="mask"), 20):
        assert m.decoder_ids[0] == MASK
        assert m.decoder_ids[1:].tolist() == m.label_ids[:-1].tolist()


def test_k_of_all_is_a_causal_language_model() -> None:
    m = draws(ROW, always_masked("paper", k=1.0), 1)[0]
    assert m.encoder_ids.tolist() == [BOS, *[MASK] * 6, EOS]
    assert (
        m.decoder_ids.tolist() == ROW[:6].tolist()
        and m.label_ids.tolist() == SENTENCE.tolist()
    )


def test_k_of_one_token_is_one_mask() -> None:
    for m in draws(ROW, always_masked("paper", k_tokens=1), 50):
        assert m.is_masked.sum() == 1 and len(m.label_ids) == len(m.decoder_ids) == 1


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("preset", TABLE)
def test_the_shortest_lines_are_handled(preset: str, n: int) -> None:
    row = np.concatenate([[BOS], np.arange(100, 100 + n), [EOS]])
    for m in draws(row, options(preset), 20):
        assert (
            len(m.decoder_ids)
            == len(m.decoder_positions)
            == len(m.label_ids)
            == len(m.label_positions)
        )
        assert m.encoder_ids[0] == BOS


def test_noise_depends_on_seed_stream_epoch_and_example_only() -> None:
    def one(*key: object) -> list[int]:
        return mask_fragment(
            np.arange(5, 405),
            options("paper"),
            MASK,
            WORDS,
            example_generator(*key),
        ).encoder_ids.tolist()  # type: ignore[arg-type]

    keys = [
        (1, "en", 0, 0),
        (2, "en", 0, 0),
        (1, "de", 0, 0),
        (1, "en", 1, 0),
        (1, "en", 0, 1),
    ]
    assert len({tuple(one(*key)) for key in keys}) == 5
    assert one(1, "en", 3, 4) == one(1, "en", 3, 4)


def test_all_wrong_options_are_named_together() -> None:
    with pytest.raises(ConfigError) as error:
        MassOptions(k=2.0, span=0)
    assert (
        error.value.message
        == "k: must lie above 0, up to 1, got 2.0\nspan: must be above 0, got 0"
    )


@pytest.mark.parametrize("source_bos", [False, True])
@pytest.mark.parametrize("distance", [1, 2, 3])
def test_neighbors_of_the_fragment_are_the_words_beside_it(
    distance: int, source_bos: bool
) -> None:
    framing = Framing(VOCAB, source_bos, False, ("de", "en"))
    objective = make_objective(
        "mass", framing, k=0.4, start="uniform", mask_share=1.0, random_share=0.0
    )
    lengths = (1, 2, 5, 9, 12)
    examples = [
        Example(row, (np.array(words(row, length)),))
        for row, length in enumerate(lengths)
    ]
    batch = objective.collator()(examples, rngs(len(lengths)))
    neighbors = objective.visible_neighbors(batch, distance)
    assert neighbors is not None
    for row, length in enumerate(lengths):
        ids = batch.source.ids[row].tolist()
        masked = {place for place, token in enumerate(ids) if token == VOCAB.mask}
        places = range(int(source_bos), int(source_bos) + length)
        expected = [
            place in places
            and place not in masked
            and any(abs(place - other) <= distance for other in masked)
            for place in range(len(ids))
        ]
        assert neighbors[row].tolist() == expected, row


def test_where_positions_restart_a_batch_does_not_say_where_the_fragment_is() -> None:
    objective = make_objective("mass", decoder_positions="restart")
    batch = objective.collator()([Example(0, (np.array(words(1, 9)),))], rngs(1))
    assert objective.visible_neighbors(batch, 1) is None


def test_help_shows_the_defaults_of_every_preset() -> None:
    helps = {row.key: row.help for row in iter_options(MassOptions)}
    for option, value in MASS_PRESETS["paper"].items():
        text = helps[option].rpartition("(")[2]
        assert text.startswith(f"default: {spelt(value)}"), option
        # --block has its own rounding, so that summarization is not named there.
        if option == "k_rounding":
            continue
        for preset in ("xlm", "fairseq", "summarization"):
            other = MASS_PRESETS[preset][option]
            pattern = rf"\b{preset}( and \w+)? {spelt(other)}[,)]"
            assert (re.search(pattern, text) is not None) == (other != value), option


def spelt(value: object) -> str:
    """A value as help texts have it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def test_windows_fit_both_stacks() -> None:
    """A window of the default length, with its special tokens, has a position for each token in both stacks."""
    objective = make_objective("mass", preset="summarization")
    objective.context = replace(
        objective.context,
        model=replace(
            objective.context.model, max_positions=100, decoder_max_positions=70
        ),
    )
    text = Text([[30] * 20])
    data: Any = SimpleNamespace(
        monolingual=lambda split, language: text, vocab=objective.context.framing.vocab
    )
    dataset, collate = objective.dataset(data, "train")
    batch = collate([dataset[number] for number in range(3)], rngs(3))
    assert batch.target is not None and batch.target.positions is not None
    assert int(batch.target.positions.max()) < 70
    assert batch.source.ids.shape[1] == 70
