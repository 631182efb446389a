"""Batches of 8 examples, and of a length that 8 divides: the same losses, and every example once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masscli.core.errors import MasscliError
from masscli.data.batches.sampler import BatchLimits, BatchSampler
from masscli.training.setup.build import build
from tests.toy import composed, recipe

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

BOTH = "model.decoder_layers=1"
ENCODER = "model.decoder_layers=0"
OBJECTIVES: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "mass": ("en", {}, BOTH),
    "denoise": ("en", {}, BOTH),
    "translate": ("en-de", {}, BOTH),
    "backtranslate": ("en-de", {}, BOTH),
    "bert+lm": ("en", {}, BOTH),
    "mlm": ("en", {}, ENCODER),
    "tlm": ("en-de", {}, ENCODER),
    "bert": ("en", {"tokens_per_sample": 29}, ENCODER),
    "roberta": ("en", {"tokens_per_sample": 29}, ENCODER),
    "electra": ("en", {"tokens_per_sample": 29}, ENCODER),
    "unilm": ("en", {"tokens_per_sample": 29}, ENCODER),
    "clm": ("en", {}, "model.encoder_layers=0"),
}


@pytest.mark.parametrize("name", OBJECTIVES)
@torch.no_grad()
def test_padding_changes_no_loss(name: str, toy: Path, tmp_path: Path) -> None:
    dataset, options, stacks = OBJECTIVES[name]
    streams = {"only": {"dataset": dataset, "objective": {"name": name, **options}}}
    size = (
        stacks,
        "model.segments=2",
        "model.max_positions=64",
        "model.dropout=0",
        "model.relative_buckets=0",
    )
    losses = []
    widths = []
    for multiple in (1, 8):
        run = recipe(
            toy,
            tmp_path / str(multiple),
            *size,
            f"train.length_multiple={multiple}",
            streams=streams,
        )
        trainer, _ = build(run)
        stream = trainer.streams["only"]
        stream.objective.eval()
        batch = stream.objective.prepare(
            trainer.model.eval(), stream.batch_builder(np.arange(5), 0)
        )
        losses.append(
            {
                term: float(value.nll)
                for term, value in stream.objective(trainer.model, batch).items()
            }
        )
        blocks = [
            tokens for tokens in (batch.source, batch.target) if tokens is not None
        ]
        widths.append([tokens.ids.shape[1] for tokens in blocks])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert widths[0] != widths[1] == [-(-width // 8) * 8 for width in widths[0]]


def test_micro_batches_are_multiples_within_their_budget() -> None:
    draw = np.random.default_rng(1)
    sizes = draw.integers(3, 40, (500, 2))
    limits = BatchLimits(300, batch_size_multiple=4, length_multiple=8)
    sampler = BatchSampler(500, lambda start, stop: sizes[start:stop], limits, 1, "toy")
    batches = sampler.epoch()
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    for batch in batches:
        padded = -(-int(sizes[batch].max()) // 8) * 8
        assert len(batch) * padded <= 300
    # Only what does not fill a multiple, or is left at the end, is smaller.
    uneven = [batch for batch in batches if len(batch) >= 4 and len(batch) % 4]
    assert not uneven
    assert sum(len(batch) % 4 == 0 for batch in batches) > len(batches) / 2


def test_the_longest_example_must_not_be_padded_beyond_the_last_position(
    toy: Path,
) -> None:
    command = (
        str(toy),
        "--objective",
        "mass",
        "--length-multiple",
        "8",
        "--max-positions",
    )
    assert composed(*command, "64").train.length_multiple == 8
    with pytest.raises(MasscliError) as error:
        composed(*command, "60")
    assert (error.value.message, error.value.hint) == (
        "--length-multiple 8: 60 positions are not a multiple of it",
        "add --max-positions 64",
    )
    # A decoder may have fewer positions of its own.
    with pytest.raises(MasscliError) as error:
        composed(*command, "64", "--decoder-max-positions", "20")
    assert (error.value.message, error.value.hint) == (
        "--length-multiple 8: 20 positions are not a multiple of it",
        "add --decoder-max-positions 24",
    )
