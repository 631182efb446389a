"""Examples out of documents, and masks: the corruption statistics of the papers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from masscli.data.batches.packed_sentences import PackedSentenceDataset
from masscli.objectives.electra.corruption import choose_positions
from masscli.objectives.shared.masking import (
    TokenMasker,
    fill_with_ngrams,
    split_into_words,
)
from masscli.objectives.shared.pair_maker import PairKind, PairRules
from masscli.objectives.shared.segment_pairs import (
    SegmentPairDataset,
    truncate_randomly,
)
from masscli.objectives.unilm.corruption import draw_blocks
from masscli.text.vocabulary import Vocabulary
from masscli.text.word_starts import WordStarts, word_starts

MODULE = "masscli.objectives.shared.segment_pairs"
SIZE, MASK = 64, 4
ALL_IDS = np.arange(5_000)
STARTS = WordStarts(np.ones(10**6, np.bool_), np.zeros(10**6, np.bool_))


class Text:
    """A column in memory whose ids tell document, sentence and place: 10,000 d + 100 s + i + 1,000."""

    def __init__(self, documents: Sequence[Sequence[int]]) -> None:
        self.rows = [
            np.arange(n) + 100 * s + 10_000 * d + 1_000
            for d, lengths in enumerate(documents)
            for s, n in enumerate(lengths)
        ]
        self.document_starts = np.cumsum([0, *map(len, documents)])[:-1]

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self, start: int = 0, stop: int | None = None) -> NDArray[np.int32]:
        return np.array([len(r) for r in self.rows[start:stop]], np.int32)

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        return self.rows[row]


def text(
    seed: int = 1, documents: int = 30, sentences: int = 40, longest: int = 30
) -> Text:
    draw = np.random.default_rng(seed)
    return Text(
        [
            draw.integers(1, longest, draw.integers(1, sentences)).tolist()
            for _ in range(documents)
        ]
    )


def pairs(
    column: Any,
    kind: PairKind,
    max_sentences: int | None = None,
    folder: Path | None = None,
    **changes: Any,
) -> SegmentPairDataset:
    rules = PairRules(kind, SIZE, short_prob=0.1, copies=1, seed=5)._replace(**changes)
    return SegmentPairDataset(
        column, rules, STARTS, max_sentences=max_sentences, folder=folder
    )


def document(ids: NDArray[np.int64]) -> int:
    return int(ids[0] - 1_000) // 10_000


def sentence(token: int) -> int:
    return (token - 1_000) % 10_000 // 100


# -- pairs ---------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["nsp", "sop", "strict-sop", "sentences", "contiguous", "electra"]
)
def test_pairs_fit_their_size_and_say_so(kind: PairKind) -> None:
    view = pairs(text(), kind, copies=2)
    sizes = view.sizes(0, len(view))[:, 0]
    for row in range(len(view)):
        a, b, label, starts = view[row].fields
        assert len(a) > 0
        assert sizes[row] == len(a) + len(b) + 2 + (len(b) > 0) <= SIZE
        assert len(starts) == len(a) + len(b)
        assert label[0] in (0, 1)
    assert np.array_equal(view.sizes(7, 19), view.sizes(0, len(view))[7:19])


def test_b_follows_a_or_comes_from_another_document() -> None:
    view = pairs(text(), "nsp", max_length=2_000, short_prob=0.9)  # nothing is cut
    labels = Counter[int]()
    for row in range(len(view)):
        a, b, label, _ = view[row].fields
        labels[int(label[0])] += 1
        if label[0]:
            assert document(a) != document(b)
        else:
            assert document(a) == document(b)
            assert (sentence(b[0]), (b[0] - 1_000) % 100) == (sentence(a[-1]) + 1, 0)
    assert labels[0] and labels[1]


def test_as_many_random_pairs_as_the_procedure_makes() -> None:
    """P(random) = q + (1 - q) / 2, with q the share of chunks of one sentence; here none, for sentences have 5 tokens and targets 30."""
    view = pairs(Text([[5] * 4_000, [5] * 4_000]), "nsp", max_length=33, short_prob=0.0)
    labels = [int(view[row].fields[2][0]) for row in range(len(view))]
    assert abs(np.mean(labels) - 0.5) < 4 * 0.5 / np.sqrt(len(labels)) + 2 / len(labels)


def test_short_examples_are_of_two_tokens_up_to_as_many_as_fit() -> None:
    """BERT's released code draws the target length of a document uniformly, both ends included."""
    column = Text([[1] * 12] * 90)
    counts = Counter[int]()
    for seed in range(6):
        view = pairs(column, "contiguous", max_length=8, short_prob=1.0, seed=seed)
        firsts: dict[int, int] = {}
        for row in range(len(view)):
            a, b, *_ = view[row].fields
            firsts.setdefault(document(a), len(a) + len(b))
        counts.update(firsts.values())
    assert sorted(counts) == [2, 3, 4, 5]
    # Four standard deviations of a binomial distribution.
    assert all(
        abs(count - 540 / 4) < 4 * (540 * 0.25 * 0.75) ** 0.5
        for count in counts.values()
    )


def test_sentences_displaced_by_a_random_b_are_used_later() -> None:
    """Every sentence is used as A, or as the B that really follows."""
    column = text()
    view = pairs(column, "nsp", max_length=2_000, short_prob=0.9)
    used = set[int]()
    for row in range(len(view)):
        a, b, label, _ = view[row].fields
        used |= set(a.tolist()) | (set(b.tolist()) if not label[0] else set())
    assert used == {int(i) for r in column.rows for i in r}


def test_order_is_exchanged_before_anything_is_cut() -> None:
    view = pairs(text(), "sop", max_length=2_000, short_prob=0.9)
    seen = Counter[bool]()
    for row in range(len(view)):
        a, b, label, _ = view[row].fields
        if document(a) != document(b):
            assert label[0] == 1  # a chunk of one sentence
            assert len({sentence(t) for t in a}) == 1
        else:
            exchanged = a[0] > b[0]
            first, second = (b, a) if exchanged else (a, b)
            assert sentence(second[0]) == sentence(first[-1]) + 1
            assert label[0] == exchanged
            seen[bool(exchanged)] += 1
    assert abs(seen[True] - seen[False]) < 4 * np.sqrt(sum(seen.values()))
    strict = pairs(text(), "strict-sop", max_length=2_000, short_prob=0.9)
    assert all(
        document(strict[r].fields[0]) == document(strict[r].fields[1])
        for r in range(len(strict))
    )


def test_sentence_pairs_are_two_sentences() -> None:
    view = pairs(text(), "sentences")
    for row in range(len(view)):
        assert all(
            len({(document(part), sentence(t)) for t in part}) == 1
            for part in view[row].fields[:2]
        )


def test_contiguous_segments_read_the_text_once_and_in_order() -> None:
    column = text(longest=9)
    view = pairs(column, "contiguous", short_prob=0.0)
    read = [
        t
        for row in range(len(view))
        for part in view[row].fields[:2]
        for t in part.tolist()
    ]
    assert read == sorted(set(read))
    assert len(read) >= 0.8 * sum(
        map(len, column.rows)
    )  # the rest is cut from the ends of full examples


def test_electra_fills_a_sequence_with_one_or_two_segments() -> None:
    view = pairs(Text([[5] * 4_000]), "electra", short_prob=0.05)
    alone = [not len(view[row].fields[1]) for row in range(len(view))]
    assert 0.05 < np.mean(alone) < 0.16
    for row in range(len(view)):
        a, b = view[row].fields[:2]
        assert not len(b) or b[0] > a[-1]  # the order of the text


def test_electra_aims_at_a_shorter_length_at_the_beginning_of_a_document_too() -> None:
    """This is so for one of twenty documents that fill exactly one example."""
    view = pairs(Text([[10] * 8] * 90), "electra", short_prob=0.05, copies=30)
    found = [view[row].fields for row in range(len(view))]
    assert (
        0.02
        < np.mean(
            [len(a) + len(b) < SIZE - 10 for a, b, *_ in found if sentence(a[0]) == 0]
        )
        < 0.06
    )


def test_electra_uses_one_segment_in_a_tenth_of_the_examples() -> None:
    """The probability of a single segment is 0.1."""
    view = pairs(Text([[60, 90]] * 90), "electra", short_prob=0.0, copies=20)
    assert (
        0.07
        < np.mean([not len(view[row].fields[1]) for row in range(len(view))])
        < 0.13
    )


def test_no_two_purposes_draw_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs, truncation and static masks draw different numbers: Philox counts up in its first word, so purposes
    must differ in another."""
    seen: list[tuple[int, ...]] = []
    philox = np.random.Philox

    def noted(counter: list[int], key: list[int]) -> np.random.Philox:
        seen.append(tuple(counter))
        return philox(counter=counter, key=key)

    monkeypatch.setattr("numpy.random.Philox", noted)
    view = pairs(text(), "nsp")
    masker = TokenMasker("tokens", 0.15, 0.1, 0.1, MASK, ALL_IDS, static=True, seed=5)
    for row in range(20):
        ids = np.concatenate(view[row].fields[:2])
        masker(
            ids,
            np.ones(len(ids), np.bool_),
            np.ones(len(ids), np.bool_),
            row,
            np.random.default_rng(1),
        )
    assert len({counter[1] for counter in seen}) == 3 and {
        counter[0] for counter in seen
    } == {0}


@pytest.mark.parametrize(
    "documents", [[[6] * 50], [[6]], [[300]], [[300, 2]], [[0, 5, 0]], [[0]], []]
)
@pytest.mark.parametrize(
    "kind", ["nsp", "sop", "strict-sop", "sentences", "contiguous", "electra"]
)
def test_unusual_corpora(documents: list[list[int]], kind: PairKind) -> None:
    """One document, one sentence, a sentence longer than an example, empty sentences, nothing: no crash, and nothing empty."""
    view = pairs(Text(documents), kind)
    for row in range(len(view)):
        a, b, label, _ = view[row].fields
        assert 0 < len(a) + len(b) <= SIZE - 2
        if (
            kind == "nsp"
            and label[0]
            and documents == [[6] * 50]
            and sentence(a[-1]) < 49
        ):
            assert sentence(b[0]) != sentence(a[-1]) + 1 or (b[0] - 1_000) % 100


def test_copies_and_seeds_give_different_pairs() -> None:
    column = text()
    once, twice, other = (
        pairs(column, "nsp"),
        pairs(column, "nsp", copies=2),
        pairs(column, "nsp", seed=6),
    )
    same = [
        np.array_equal(once[row].fields[0], twice[row].fields[0])
        for row in range(len(once))
    ]
    assert all(same)
    again = [tuple(twice[row].fields[0]) for row in range(len(once), len(twice))]
    assert again != [tuple(once[row].fields[0]) for row in range(len(once))]
    assert [tuple(other[row].fields[0]) for row in range(len(other))] != [
        tuple(once[row].fields[0]) for row in range(len(once))
    ]


@pytest.mark.parametrize("kind", ["nsp", "electra"])
def test_stored_pairs_are_those_in_memory_and_are_made_once(
    kind: PairKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = text()
    kept = pairs(column, kind, copies=2)
    monkeypatch.setattr(f"{MODULE}.MIN_STORED_SENTENCES", 1)
    monkeypatch.setattr(f"{MODULE}.DOCUMENTS_AT_A_TIME", 7)
    monkeypatch.setattr(f"{MODULE}.PAIRS_AT_A_TIME", 11)
    first = pairs(column, kind, copies=2, folder=tmp_path)
    [file] = tmp_path.iterdir()
    monkeypatch.setattr(f"{MODULE}.make_generator", None)  # nothing can be drawn
    second = pairs(column, kind, copies=2, folder=tmp_path)
    assert list(tmp_path.iterdir()) == [file]
    assert len(first) == len(second) == len(kept)
    assert first.label_sum == second.label_sum
    assert np.array_equal(second.sizes(3, 50), kept.sizes(3, 50))
    monkeypatch.undo()
    assert first.label_sum == kept.label_sum
    assert (kept.label_sum > 0) is (kind == "nsp")
    for row in range(len(kept)):
        for stored in (first, second):
            for a, b in zip(stored[row].fields, kept[row].fields, strict=True):
                assert np.array_equal(a, b)


def test_other_pairs_have_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{MODULE}.MIN_STORED_SENTENCES", 1)
    pairs(text(), "nsp", folder=tmp_path)
    for number, changed in enumerate(
        ({"seed": 6}, {"copies": 2}, {"short_prob": 0.2}, {"max_length": 32}), 2
    ):
        pairs(text(), "nsp", folder=tmp_path, **changed)
        assert len(list(tmp_path.iterdir())) == number
    pairs(text(), "sop", folder=tmp_path)
    pairs(text(seed=2), "nsp", folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 7


def test_a_few_pairs_are_not_stored(tmp_path: Path) -> None:
    pairs(text(), "nsp", folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_pair_that_is_too_long_is_truncated_on_the_longer_side() -> None:
    """Against the loop of the released code, in lengths; what is left is a run of what there was."""
    draw = np.random.default_rng(3)
    for _ in range(300):
        n, m, room = (int(x) for x in draw.integers(1, 40, 3))
        a, b = truncate_randomly(np.arange(n), np.arange(100, 100 + m), room + 1, draw)
        while n + m > room + 1:
            n, m = (n - 1, m) if n > m else (n, m - 1)
        assert (len(a), len(b)) == (n, m)
        assert all(len(x) < 2 or set(np.diff(x)) == {1} for x in (a, b))


# -- packing -------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cross", [True, False])
def test_blocks_reproduce_the_corpus(cross: bool) -> None:
    column = text(documents=12, longest=50)
    view = PackedSentenceDataset(column, 40, 2, cross=cross, starts=STARTS)
    every = [view[row].fields[0] for row in range(len(view))]
    assert view.sizes(0, len(view))[:, 0].tolist() == [len(ids) + 1 for ids in every]
    assert max(map(len, every)) <= 40
    read = [t for ids in every for t in ids.tolist() if t != 2]
    assert read == [t for row in column.rows for t in row.tolist()]
    for ids in every:
        inside = ids[ids != 2]
        if not cross:
            assert len({document(inside[i : i + 1]) for i in range(len(inside))}) == 1
        doubled = np.flatnonzero(
            (ids[1:] == 2) & (ids[:-1] == 2)
        )  # the separator of documents
        assert all(
            document(ids[i + 2 :]) == document(ids[i - 1 : i]) + 1
            for i in doubled.tolist()
        )


def test_blocks_are_as_full_as_whole_sentences_allow() -> None:
    column = text(documents=3, longest=20)
    view = PackedSentenceDataset(column, 60, 2, cross=True, starts=STARTS)
    for row in range(len(view) - 1):
        following = view[row + 1].fields[0]
        first = int(np.flatnonzero(following == 2)[0]) + 1
        crosses = document(following) != document(view[row].fields[0][-2:-1])
        assert len(view[row].fields[0]) + first + crosses > 60


@pytest.mark.parametrize("cross", [True, False])
def test_blocks_do_not_depend_on_how_many_rows_are_read_at_a_time(
    cross: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    column = text(documents=40, longest=70)
    blocks = []
    for rows in (10**6, 41, 100):
        monkeypatch.setattr(
            "masscli.data.batches.packed_sentences.ROWS_AT_A_TIME", rows
        )
        view = PackedSentenceDataset(column, 40, 2, cross=cross, starts=STARTS)
        blocks.append([view[row].fields[0].tolist() for row in range(len(view))])
    assert len(column) > 100 and blocks[0] == blocks[1] == blocks[2]


@pytest.mark.parametrize("documents", [[], [[0]], [[0, 0, 3]], [[200]]])
@pytest.mark.parametrize("cross", [True, False])
def test_unusual_corpora_are_packed(documents: list[list[int]], cross: bool) -> None:
    view = PackedSentenceDataset(Text(documents), 40, 2, cross=cross, starts=STARTS)
    assert all(1 < len(view[row].fields[0]) <= 40 for row in range(len(view)))
    assert sum(
        int((view[row].fields[0] != 2).sum()) for row in range(len(view))
    ) == sum(map(sum, documents))


# -- masks ---------------------------------------------------------------------------------------------------------------------------------


def masker(unit: Any, **options: Any) -> TokenMasker:
    values: dict[str, Any] = {"mask_prob": 0.15, "keep_prob": 0.1, "random_prob": 0.1, "mask_id": MASK, "random_pool": ALL_IDS, "static": False,
                              "seed": 1}  # fmt: skip
    return TokenMasker(unit, **(values | options))


def framed(n: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """n ids, of which the first, the middle and the last are special."""
    ids, text = np.arange(n) + 10, np.ones(n, np.bool_)
    text[[0, n // 2, -1]] = False
    return ids, text


@pytest.mark.parametrize(("n", "count"), [(128, 19), (512, 77)])
def test_bert_masks_a_fixed_number_in_fixed_shares(n: int, count: int) -> None:
    ids, text = framed(n)
    found, total = Counter[str](), 20_000
    for row in range(total // count + 1):
        shown, places = masker("tokens")(
            ids, text, text, row, np.random.default_rng(row)
        )
        assert len(places) == count
        assert bool(text[places].all())
        assert np.array_equal(np.delete(shown, places), np.delete(ids, places))
        for place in places:
            found[
                "mask"
                if shown[place] == MASK
                else "kept"
                if shown[place] == ids[place]
                else "random"
            ] += 1
    share = {kind: value / sum(found.values()) for kind, value in found.items()}
    assert share["mask"] == pytest.approx(0.8, abs=0.012)
    assert share["random"] == pytest.approx(0.1, abs=0.01)
    assert share["kept"] == pytest.approx(0.1, abs=0.01)


def test_the_maximum_number_of_predictions_is_kept() -> None:
    ids, text = framed(512)
    assert (
        len(
            masker("tokens", max_masked=20)(
                ids, text, text, 0, np.random.default_rng(1)
            )[1]
        )
        == 20
    )
    assert (
        len(
            masker("ngrams", max_masked=20)(
                ids, text, text, 0, np.random.default_rng(1)
            )[1]
        )
        <= 20
    )


def test_static_masks_are_constant_and_dynamic_ones_change() -> None:
    ids, text = framed(128)
    for static in (True, False):
        objective = masker("tokens", static=static)
        first, second = (
            objective(ids, text, text, 3, np.random.default_rng(seed))[1].tolist()
            for seed in (1, 2)
        )
        assert (first == second) is static
    assert (
        objective(ids, text, text, 3, np.random.default_rng(1))[1].tolist()
        == objective(ids, text, text, 4, np.random.default_rng(1))[1].tolist()
    )


def test_whole_words_are_masked_completely() -> None:
    ids, text = framed(128)
    draw = np.random.default_rng(1)
    for row in range(50):
        starts = draw.random(128) < 0.5
        places = set(masker("words")(ids, text, starts, row, draw)[1].tolist())
        assert 0 < len(places) <= 19
        for word in split_into_words(text, starts):
            assert set(word.tolist()) <= places or not set(word.tolist()) & places


def test_words_do_not_extend_across_special_symbols() -> None:
    text = np.array([False, True, True, False, True, False])
    starts = np.array(
        [True, True, False, True, False, True]
    )  # a continuation right after [SEP]
    assert [w.tolist() for w in split_into_words(text, starts)] == [[1, 2], [4]]


def test_dynamic_masks_are_right_in_expectation() -> None:
    ids, text = framed(512)
    counts = Counter(
        len(
            masker("dynamic-tokens")(
                ids, np.ones_like(text), text, 0, np.random.default_rng(seed)
            )[1]
        )
        for seed in range(2_000)
    )
    assert set(counts) == {76, 77}
    assert counts[77] / 2_000 == pytest.approx(0.8, abs=0.03)


def test_special_symbols_are_masked_like_others_where_they_may_be() -> None:
    ids, _ = framed(100)
    every = np.ones(100, np.bool_)
    hits = [
        0
        in masker("dynamic-tokens")(ids, every, every, 0, np.random.default_rng(seed))[
            1
        ]
        for seed in range(4_000)
    ]
    assert np.mean(hits) == pytest.approx(0.15, abs=0.02)


def test_random_tokens_come_from_the_pool() -> None:
    ids, text = framed(512)
    pool = np.arange(100, 200)
    shown, places = masker(
        "dynamic-tokens", keep_prob=0.0, random_prob=1.0, random_pool=pool
    )(ids, text, text, 0, np.random.default_rng(1))
    assert set(shown[places].tolist()) <= set(pool.tolist())


def test_ngrams_have_the_published_lengths() -> None:
    """One, two and three words are in proportion 6 : 3 : 2."""
    units = [np.array([i]) for i in range(3_000)]
    found = runs(units, 4_000)
    for n, share in ((1, 6 / 11), (2, 3 / 11), (3, 2 / 11)):
        assert found[n] / sum(found.values()) == pytest.approx(share, abs=0.03)


def runs(units: list[NDArray[np.int64]], times: int) -> Counter[int]:
    """Lengths of n-grams, told apart by their distance in so long a text."""
    found = Counter[int]()
    for seed in range(times // 10):
        places = fill_with_ngrams(units, 30, 3, np.random.default_rng(seed))
        for run in np.split(places, np.flatnonzero(np.diff(places) > 1) + 1):
            found[len(run)] += len(run) <= 3
    return found


@pytest.mark.parametrize(
    ("length", "share", "most", "distinct"),
    [(128, 0.15, 19, 0.138), (512, 0.15, 79, 0.140), (512, 0.25, 130, 0.221)],
)
def test_electra_draws_with_replacement(
    length: int, share: float, most: int, distinct: float
) -> None:
    _, text = framed(length)
    every = [
        choose_positions(text, share, most, True, np.random.default_rng(seed))
        for seed in range(500)
    ]
    assert {len(x) for x in every} == {min(most, round(share * length))}
    assert np.mean([len(set(x.tolist())) for x in every]) / length == pytest.approx(
        distinct, abs=0.002
    )
    once = choose_positions(text, share, most, False, np.random.default_rng(1))
    assert len(set(once.tolist())) == len(once)


@pytest.mark.parametrize(
    ("n", "masked", "count"),
    [(64, 0.172, 5.6), (128, 0.165, 10.0), (512, 0.1525, 37.4)],
)
def test_unilm_draws_blocks_as_algorithm_1_does(
    n: int, masked: float, count: float
) -> None:
    maskable = np.ones(n, np.bool_)
    maskable[[0, -1]] = False
    made = [
        draw_blocks(maskable, 0.15, 0.4, 6, False, np.random.default_rng(seed))
        for seed in range(1_500)
    ]
    for order in made:
        every = np.concatenate(order)
        assert len(set(every.tolist())) == len(every)
        assert bool(maskable[every].all())
        assert 0.15 * n <= len(every) < 0.15 * n + 6
        assert all(len(b) <= 6 and set(np.diff(b).tolist()) <= {1} for b in order)
    assert np.mean([sum(map(len, order)) for order in made]) / n == pytest.approx(
        masked, rel=0.02
    )
    assert np.mean([len(order) for order in made]) == pytest.approx(count, rel=0.05)
    assert all(
        len(b) == 1
        for b in draw_blocks(maskable, 0.15, 0.4, 6, True, np.random.default_rng(1))
    )


@pytest.mark.parametrize("n", [2, 3, 4])
def test_blocks_of_almost_nothing(n: int) -> None:
    maskable = np.zeros(n, np.bool_)
    maskable[1:-1] = True
    assert (
        sum(
            map(
                len, draw_blocks(maskable, 0.9, 0.4, 6, False, np.random.default_rng(1))
            )
        )
        <= n - 2
    )


# -- words ---------------------------------------------------------------------------------------------------------------------------------


class Pieces:
    """Pieces behind four special ids."""

    def __init__(self, *pieces: str) -> None:
        self.known = ["<pad>", "<s>", "</s>", "<unk>", *pieces]
        self.vocab = Vocabulary(size=len(self.known) + 1, pad=0, bos=1, eos=2, unk=3, mask=len(self.known), cls=1, sep=2, spare=(),
                                languages={}, fingerprint="")  # fmt: skip

    @property
    def subword_marker(self) -> str:
        return next(
            (
                mark
                for mark in ("@@", "##")
                if any(mark in piece for piece in self.known)
            ),
            "\u2581",
        )

    def ids_to_pieces(self, ids: Sequence[int]) -> list[str]:
        return [self.known[i] for i in ids]


@pytest.mark.parametrize(
    "pieces",
    [
        ("▁the", "re", "▁", "é", ",", "▁9", "9"),
        ("the", "##re", ".", "##°", ",", "9", "##9"),
    ],
)
def test_words_begin_at_marks_and_at_punctuation(pieces: tuple[str, ...]) -> None:
    known = Pieces(*pieces)
    starts = word_starts(known)(np.arange(known.vocab.size))
    assert (
        starts[:4].all() and starts[-1]
    )  # special symbols, those beyond the model's own pieces too
    assert starts[4:-1].tolist() == [True, False, True, False, True, True, False]


@pytest.mark.parametrize(
    "pieces",
    [
        {
            "▁the": 1,
            "re": 0,
            "Re": 0,
            "<x": 1,
            ",": 1,
            "'": 1,
            "'s": 1,
            "é": 1,
            "ré": 1,
            "9": 1,
            "a9": 1,
            "s.": 0,
            "▁9": 1,
            "x": 0,
        },
        {"the": 1, "##re": 0, "##.": 0, ".": 1, "##é": 0, "##9": 0, "é": 1},
    ],
)
def test_word_starts_are_those_of_alberts_released_code(pieces: dict[str, int]) -> None:
    """In SentencePiece every punctuation mark, digit and non-ASCII letter begins a word; in WordPiece no piece
    with a marker does."""
    known = Pieces(*pieces)
    starts = word_starts(known, as_albert=True)(np.arange(known.vocab.size))
    assert starts[4:-1].tolist() == [bool(begin) for begin in pieces.values()]
    assert starts[:4].all() and starts[-1]


def test_ngrams_of_the_released_code_continue_after_a_separator() -> None:
    """N-grams continue across the separator as often as elsewhere; if truncation has removed the first piece of a
    word at the start of B, the rest belongs to the last word of A."""
    text = np.array([False, *[True] * 4, False, *[True] * 4, False])
    every, ids = np.ones(11, np.bool_), np.arange(11) + 10
    often = {}
    for unit in ("ngrams", "released-ngrams"):
        pairs = Counter(
            tuple(
                masker(unit, mask_prob=0.2)(
                    ids, text, every, 0, np.random.default_rng(s)
                )[1].tolist()
            )
            for s in range(4_000)
        )
        often[unit] = pairs[4, 6] / pairs[3, 4]
    assert often["ngrams"] < 0.5 and often["released-ngrams"] == pytest.approx(
        1, abs=0.2
    )
    glued = every.copy()
    glued[6] = False
    for unit, together in (("ngrams", False), ("released-ngrams", True)):
        found = [
            set(
                masker(unit, mask_prob=0.2)(
                    ids, text, glued, 0, np.random.default_rng(s)
                )[1].tolist()
            )
            for s in range(200)
        ]
        assert all((4 in x) == (6 in x) for x in found) is together
        assert max(map(len, found)) == 2


def test_after_a_continued_piece_of_bpe_codes_no_word_begins() -> None:
    known = Pieces("hel@@", "lo", "ing", ",")
    starts = word_starts(known)
    assert starts(np.array([4, 5, 6, 7, 4, 6, 0])).tolist() == [
        True,
        False,
        True,
        True,
        True,
        False,
        True,
    ]
    assert (
        starts(np.array([5])).tolist() == [True]
        and starts(np.array([], np.int64)).tolist() == []
    )
