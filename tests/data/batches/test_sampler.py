"""Tests of the order of examples, and of the loader that follows it on any number of processes."""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from masscli.core.errors import MasscliError
from masscli.data.batches import sampler
from masscli.data.batches.batch import Batch
from masscli.data.batches.dataset import TokenBlockDataset
from masscli.data.batches.framing import Framing
from masscli.data.batches.loader import BatchBuilder, PlannedBatch, load, plan
from masscli.data.batches.sampler import BatchLimits, BatchSampler, Position
from masscli.data.storage.data_folder import DataFolder
from masscli.models.config import ModelConfig
from masscli.objectives.mass.objective import Mass
from masscli.objectives.mass.options import MassOptions
from masscli.objectives.objective import ObjectiveContext
from masscli.objectives.translate.objective import Translate
from masscli.objectives.translate.options import TranslateOptions

SIZES = np.random.default_rng(1).integers(3, 40, (1000, 2))


def make_sampler(
    limits: BatchLimits = BatchLimits(200),
    rows: int = 1000,
    seed: int = 1,
    shuffle: bool = True,
) -> BatchSampler:
    return BatchSampler(
        rows, lambda start, stop: SIZES[start:stop], limits, seed, "en", shuffle
    )


def epoch(sampler: BatchSampler, number: int) -> list[list[int]]:
    """All batches of an epoch, walked through from its beginning."""
    found, position = [], Position(epoch=number)
    while True:
        rows, position = sampler.at(position)
        if position.epoch > number:
            return found
        found.append(rows.tolist())


@pytest.fixture(params=[False, True], ids=["whole", "windows"])
def windows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """The same with so little memory that the corpus is read in windows."""
    if request.param:
        monkeypatch.setattr(sampler, "WINDOW", 128)
        monkeypatch.setattr(sampler, "BLOCK", 16)
    return bool(request.param)


def test_every_row_comes_exactly_once_an_epoch(windows: bool) -> None:
    for number in (0, 1, 7):
        assert sorted(itertools.chain(*epoch(make_sampler(), number))) == list(
            range(1000)
        )
    assert sorted(
        itertools.chain(*(b.tolist() for b in make_sampler(shuffle=False).epoch()))
    ) == list(range(1000))


@pytest.mark.parametrize(
    "limits",
    [BatchLimits(200), BatchLimits(60, 3), BatchLimits(10**9, 7), BatchLimits(10**9)],
)
def test_batches_keep_to_the_budget_and_fill_it(
    limits: BatchLimits, windows: bool
) -> None:
    batches = epoch(make_sampler(limits), 0)
    areas = [len(b) * int(SIZES[b].max()) for b in batches]
    assert max(areas) <= limits.max_tokens
    assert max(map(len, batches)) <= (limits.batch_size or 1000)
    if limits == BatchLimits(200) and not windows:
        assert np.mean(areas) > 180
    padding = 1 - SIZES[:, 1].sum() / sum(
        len(b) * int(SIZES[b][:, 1].max()) for b in batches
    )
    assert padding < 0.1 or limits.max_tokens == 10**9


def test_the_order_is_a_function_of_seed_and_epoch(windows: bool) -> None:
    sampler = make_sampler()
    later = [epoch(sampler, 2), epoch(sampler, 0), epoch(sampler, 2)]
    assert later[0] == later[2] == epoch(make_sampler(), 2)
    assert later[1] == epoch(make_sampler(), 0)
    assert later[0] != later[1] != epoch(make_sampler(seed=2), 0)
    assert later[1] != sorted(
        later[1], key=lambda b: SIZES[b].max()
    )  # short and long come mixed


def test_the_order_can_be_entered_at_any_position(windows: bool) -> None:
    """From every tenth position on, the next batches are those of an unbroken walk."""
    position, walk = Position(), []
    sampler = make_sampler()
    for _ in range(400):
        rows, after = sampler.at(position)
        walk.append((position, rows.tolist()))
        position = after
    assert walk[-1][0].epoch >= 1
    for start in range(0, 390, 10):
        fresh, position = make_sampler(), walk[start][0]
        for _, expected in walk[start : start + 10]:
            rows, position = fresh.at(position)
            assert rows.tolist() == expected


def test_rows_that_are_too_long_are_left_out_and_counted(windows: bool) -> None:
    sampler = make_sampler(BatchLimits(200, None, (30, 20)))
    fits = (SIZES[:, 0] <= 30) & (SIZES[:, 1] <= 20)
    assert sampler.skipped == 1000 - int(fits.sum())
    assert sorted(itertools.chain(*epoch(sampler, 3))) == np.flatnonzero(fits).tolist()


def test_a_window_without_any_row_is_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampler, "WINDOW", 16)
    monkeypatch.setattr(sampler, "BLOCK", 16)
    sizes = np.full((64, 1), 50)
    sizes[32:48] = 5
    made = BatchSampler(
        64, lambda a, b: sizes[a:b], BatchLimits(100, None, (10,)), 1, "en"
    )
    for number in range(3):
        assert sorted(itertools.chain(*epoch(made, number))) == list(range(32, 48))


def test_the_number_of_batches_is_estimated_from_a_window(windows: bool) -> None:
    sampler = make_sampler()
    number = len(sampler.epoch())
    assert (
        sampler.estimate_batches() == number
        if not windows
        else abs(sampler.estimate_batches() - number) < 20
    )


def test_examples_that_cannot_be_batched_are_refused() -> None:
    with pytest.raises(MasscliError) as error:
        make_sampler(BatchLimits(38))
    assert (
        error.value.message
        == "stream en: an example of 39 tokens does not fit --max-tokens 38"
    )
    assert (
        error.value.hint
        == "raise --max-tokens to 39 or more, or lower --max-source-positions and --max-target-positions"
    )
    with pytest.raises(MasscliError) as error:
        make_sampler(BatchLimits(200, None, (2, 2)))
    assert error.value.message == "stream en: all 1000 examples are too long"
    shortest = SIZES.max(1).min()
    hint = f"the shortest has {shortest} tokens: raise --max-source-positions and --max-target-positions, or choose a larger model"
    assert error.value.hint == hint
    with pytest.raises(MasscliError) as error:
        make_sampler(rows=0)
    assert (error.value.message, error.value.hint) == (
        "stream en: has no examples",
        "the text is empty",
    )


@pytest.mark.parametrize(("stretch", "read"), [(256, 2**20), (4, 8), (1, 1)])
def test_windows_of_running_text_are_the_text(
    stretch: int, read: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut across lines, each closed by the end symbol (2); the last one is what is left."""
    monkeypatch.setattr("masscli.data.batches.dataset.STRETCH", stretch)
    monkeypatch.setattr("masscli.data.batches.dataset.READ_LINES", read)
    lines = [np.arange(100 * n, 100 * n + n % 4) for n in range(1, 30)]

    class Column:
        def __len__(self) -> int:
            return len(lines)

        def lengths(self, start: int = 0, stop: int | None = None) -> np.ndarray:
            return np.array([len(x) for x in lines[start:stop]], np.int32)

        def __getitem__(self, row: int) -> np.ndarray:
            return lines[row]

    for limit in (None, 11):
        text = [x for line in lines[:limit] for x in (*line.tolist(), 2)]
        view = TokenBlockDataset(Column(), 9, 2, limit)
        found = [view[i].fields[0].tolist() for i in range(len(view))]
        assert list(itertools.chain(*found)) == text
        assert [len(x) for x in found[:-1]] == [9] * (len(found) - 1)
        assert view.sizes(0, len(view))[:, 0].tolist() == [len(x) + 2 for x in found]


# -- the loader -------------------------------------------------------------------------------------


def streams(toy: Path) -> tuple[dict[str, BatchSampler], dict[str, BatchBuilder]]:
    """MASS on English and translation into German."""
    data = DataFolder.open(toy)
    framing = Framing(data.vocab, False, False, ("en", "de"))
    alone, paired = (
        ObjectiveContext(framing, ModelConfig(), text) for text in ("en", "en-de")
    )
    made = {
        "mass": Mass(MassOptions(), alone),
        "translate": Translate(TranslateOptions(), paired),
    }
    datasets = {
        name: objective.dataset(data, "train") for name, objective in made.items()
    }
    samplers = {
        name: BatchSampler(len(dataset), dataset.sizes, BatchLimits(120), 1, name)
        for name, (dataset, _) in datasets.items()
    }
    return samplers, {name: BatchBuilder(name, *datasets[name], 1) for name in made}


def jobs(
    samplers: dict[str, BatchSampler],
    update: int = 0,
    freq: int = 3,
    seed: int = 1,
    **positions: Position,
) -> list[PlannedBatch]:
    """Those of 20 updates."""
    return list(
        itertools.islice(
            plan(
                samplers,
                lambda update: {"mass": 3.0, "translate": 1.0},
                seed,
                freq,
                update,
                positions,
            ),
            20 * freq,
        )
    )


def contents(batch: Batch) -> bytes:
    tensors = [batch.source.ids, batch.source.lengths, batch.example_numbers]
    tensors += [
        tensor
        for label in batch.labels.values()
        for tensor in (label.ids, label.positions)
    ]
    if batch.target is not None:
        tensors += [batch.target.ids, batch.target.lengths]
        tensors += (
            [batch.target.positions] if batch.target.positions is not None else []
        )
    return pickle.dumps([t.numpy() for t in tensors])


def same(a: Sequence[PlannedBatch], b: Sequence[PlannedBatch]) -> bool:
    return [(*j[:4], j.numbers.tolist(), j.next_position) for j in a] == [
        (*j[:4], j.numbers.tolist(), j.next_position) for j in b
    ]


def test_workers_change_nothing(toy: Path) -> None:
    samplers, batch_builders = streams(toy)
    found = []
    for workers in (0, 2):
        made = load(
            batch_builders,
            iter(jobs(samplers)),
            rank=0,
            world=1,
            last_draw=9,
            workers=workers,
        )
        prepared = list(made)
        assert same([p.planned for p in prepared], jobs(samplers)[:30])
        found.append([contents(p.batch) for p in prepared])
    assert found[0] == found[1]


def test_workers_survive_signals_that_are_meant_for_the_loop(toy: Path) -> None:
    """A terminal sends Ctrl-C, a scheduler SIGTERM, to the workers too."""
    samplers, batch_builders = streams(toy)
    before = set(multiprocessing.active_children())
    made = load(
        batch_builders, iter(jobs(samplers)), rank=0, world=1, last_draw=9, workers=1
    )
    first = next(made)
    [worker] = set(multiprocessing.active_children()) - before
    assert worker.pid is not None
    # They come from another process than the loop, which may end its workers.
    for number in (signal.SIGINT, signal.SIGTERM):
        code = f"import os; os.kill({worker.pid}, {int(number)})"
        subprocess.run([sys.executable, "-c", code], check=True)
    assert same([first.planned, *(p.planned for p in made)], jobs(samplers)[:30])


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_processes_share_the_same_jobs_without_overlap(toy: Path, world: int) -> None:
    samplers, batch_builders = streams(toy)
    whole = jobs(samplers)
    shares = [
        [
            p.planned
            for p in load(
                batch_builders,
                iter(whole),
                rank=rank,
                world=world,
                last_draw=None,
                workers=0,
            )
        ]
        for rank in range(world)
    ]
    for rank, share in enumerate(shares):
        assert all(job.micro % world == rank for job in share)
    assert same(sorted(itertools.chain(*shares), key=lambda job: job[:2]), whole)


def test_the_stream_of_a_micro_batch_depends_on_seed_update_and_number_only(
    toy: Path,
) -> None:
    samplers, _ = streams(toy)
    chosen = {(j.draw, j.micro): j.stream for j in jobs(samplers)}
    later = jobs(samplers, update=7, mass=Position(2, 0, 1))
    assert all(chosen[j.draw, j.micro] == j.stream for j in later if j.draw < 20)
    assert [j.stream for j in jobs(samplers, seed=2)] != [
        j.stream for j in jobs(samplers)
    ]
    share = np.mean([j.stream == "mass" for j in jobs(samplers, freq=50)])
    assert abs(share - 0.75) < 0.06  # four standard deviations of 1,000 draws


def test_a_plan_continues_from_what_was_consumed(toy: Path) -> None:
    samplers, _ = streams(toy)
    whole = jobs(samplers)
    for update in (1, 5, 13):
        consumed = {j.stream: j.next_position for j in whole if j.draw < update}
        assert same(
            jobs(streams(toy)[0], update, **consumed)[: 3 * (20 - update)],
            whole[3 * update :],
        )
