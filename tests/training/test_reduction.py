"""What a loss is the mean of: all targets of an update, or those of a micro-batch and then the micro-batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from masscli.data.batches.loader import PlannedBatch
from masscli.data.batches.sampler import Position
from masscli.training import micro_batches
from masscli.training.setup.build import build
from masscli.training.trainer import Trainer
from masscli.training.updater import ParameterUpdater
from tests.toy import recipe
from tests.training.test_trainer import EXACT, no_memory_for

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

BERT = {
    "one": {"dataset": "en", "objective": {"name": "bert", "tokens_per_sample": 24}}
}
CAUSAL = {"one": {"dataset": "en", "objective": {"name": "clm"}}}
PAIRS = {"one": {"dataset": "en-de", "objective": {"name": "translate"}}}
BOTH = {"one": PAIRS["one"], "two": {**CAUSAL["one"], "loss_weight": "3"}}
Parts = Sequence[tuple[str, Sequence[int]]]


@pytest.fixture
def gradient(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """gradient(streams, parts, reduction): that of one update of such micro-batches, each a stream and its rows; and the trainer."""

    def made(
        streams: Any, parts: Parts, reduction: str
    ) -> tuple[dict[str, Tensor], Trainer]:
        def jobs(*args: Any) -> Iterator[PlannedBatch]:
            for micro, (stream, rows) in enumerate(parts):
                yield PlannedBatch(0, micro, stream, 0, np.array(rows), Position())

        kept: dict[str, Tensor] = {}

        def norm(updater: ParameterUpdater) -> float:
            kept.update(
                {
                    name: p.grad.clone()
                    for p, name in updater.parameter_names.items()
                    if p.grad is not None
                }
            )
            return 1.0

        monkeypatch.setattr(micro_batches, "plan", jobs)
        monkeypatch.setattr(ParameterUpdater, "gradient_norm", norm)
        number = len(list(tmp_path.iterdir()))
        changes = (
            "train.max_update=1",
            "model.segments=2",
            "model.max_positions=64",
            f"train.reduction={reduction}",
            *EXACT,
        )
        trainer, _ = build(
            recipe(toy, tmp_path / str(number), *changes, streams=streams)
        )
        list(trainer.run())
        return kept, build(
            recipe(toy, tmp_path / f"{number}-fresh", *changes, streams=streams)
        )[0]

    return made


def relative_distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The distance of two gradients, as a share of the first."""
    assert a.keys() == b.keys()
    return float(
        sum((a[n] - b[n]).square().sum() for n in a) ** 0.5
        / sum(x.square().sum() for x in a.values()) ** 0.5
    )


def by_hand(trainer: Trainer, parts: Parts, reduction: str) -> dict[str, Tensor]:
    """The gradient of the loss as it is written in a paper, or in the released code run on one device."""
    sums: dict[tuple[str, str], list[tuple[Tensor, float]]] = {}
    for stream, rows in parts:
        made = trainer.streams[stream]
        batch = made.batch_builder(np.array(rows), 0)
        for term, found in made.objective(trainer.model, batch).items():
            count = batch.counts[term] if reduction != "sentence_mean" else len(rows)
            sums.setdefault((stream, term), []).append((found.loss, count))
    loss = torch.zeros(())
    for (stream, term), found in sums.items():
        if reduction == "batch_mean":
            mean = torch.stack([x / count for x, count in found]).mean()
        else:
            mean = torch.stack([x for x, _ in found]).sum() / sum(
                count for _, count in found
            )
        loss = (
            loss
            + trainer.streams[stream].loss_weight.value_at(0)
            * trainer.streams[stream].objective.weights[term]
            * mean
        )
    names = {name: p for p, name in trainer.parts.parameter_names.items()}
    gradients = torch.autograd.grad(loss, list(names.values()), allow_unused=True)
    return {name: g for name, g in zip(names, gradients, strict=True) if g is not None}


UNEQUAL: Parts = [("one", range(3)), ("one", range(3, 14)), ("one", range(14, 20))]


@pytest.mark.parametrize(
    "reduction", ["global_token_mean", "sentence_mean", "batch_mean"]
)
@pytest.mark.parametrize(
    "streams", [BERT, PAIRS, BOTH], ids=["bert", "translate", "two streams"]
)
def test_the_gradient_is_that_of_the_loss_as_it_is_written(
    streams: Any, reduction: str, gradient: Any
) -> None:
    """Every loss term has its own mean, over the micro-batches of its stream."""
    parts = (
        [*UNEQUAL, ("two", range(20, 25)), ("two", range(7))]
        if streams is BOTH
        else UNEQUAL
    )
    found, trainer = gradient(streams, parts, reduction)
    assert relative_distance(by_hand(trainer, parts, reduction), found) < 1e-5


def test_only_global_means_ignore_how_an_update_is_cut_into_micro_batches(
    gradient: Any,
) -> None:
    whole = [("one", range(20))]
    for reduction, same in (
        ("global_token_mean", True),
        ("sentence_mean", True),
        ("batch_mean", False),
    ):
        cut, together = (
            gradient(PAIRS, parts, reduction)[0] for parts in (UNEQUAL, whole)
        )
        assert (relative_distance(together, cut) < 1e-5) is same
        assert same or relative_distance(together, cut) > 0.02
    assert (
        relative_distance(
            *(
                gradient(PAIRS, whole, reduction)[0]
                for reduction in ("global_token_mean", "batch_mean")
            )
        )
        == 0
    )


def test_both_means_agree_if_all_micro_batches_have_equally_many_targets(
    gradient: Any,
) -> None:
    _, trainer = gradient(CAUSAL, [("one", [0])], "batch_mean")
    view = trainer.streams["one"].batch_builder.dataset
    alike = np.flatnonzero(view.sizes(0, len(view))[:, 0] == 8)[:12]
    parts = [("one", alike[:4]), ("one", alike[4:8]), ("one", alike[8:])]
    actual, expected = (
        gradient(CAUSAL, parts, reduction)[0]
        for reduction in ("batch_mean", "global_token_mean")
    )
    assert len(alike) == 12 and relative_distance(expected, actual) < 1e-6


def test_a_micro_batch_without_a_target_does_not_count(gradient: Any) -> None:
    """A window that is too short to mask 15% of its tokens has no fragment."""
    streams = {
        "one": {
            "dataset": "en",
            "objective": {
                "name": "mass",
                "preset": "summarization",
                "window": 9,
                "block": 9,
            },
        }
    }
    _, trainer = gradient(streams, [("one", [0])], "batch_mean")
    batch_builder = trainer.streams["one"].batch_builder
    empty = [
        row
        for row in range(len(batch_builder.dataset))
        if not batch_builder(np.array([row]), 0).counts["mass"]
    ]
    full = [row for row in range(len(batch_builder.dataset)) if row not in empty]
    assert empty and len(full) > 4
    actual, expected = (
        gradient(streams, parts, "batch_mean")[0]
        for parts in ([("one", full[:5]), ("one", empty[:1])], [("one", full[:5])])
    )
    assert relative_distance(expected, actual) < 1e-6


def test_a_micro_batch_split_for_lack_of_memory_still_counts_once(
    gradient: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = gradient(PAIRS, UNEQUAL, "batch_mean")
    no_memory_for(4, monkeypatch)
    actual, _ = gradient(PAIRS, UNEQUAL, "batch_mean")
    assert relative_distance(expected, actual) < 1e-5
