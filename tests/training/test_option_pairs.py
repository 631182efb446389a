"""Random pairs of options: five updates, stopped in the middle by SIGTERM and continued, are five updates in one go.

A few pairs are tried by default, fifty with  pytest -m slow tests/training/test_option_pairs.py
"""

from __future__ import annotations

import random
import signal
from collections.abc import Mapping
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from masscli.checkpoint.checkpoint import Checkpoint
from masscli.core.config import merge
from masscli.training.trainer import Trainer
from tests.toy import TINY, recipe
from tests.training.test_trainer import during_update, last_checkpoint, train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")

OPTIONS = (
    "optim.lr_scheduler=linear", "optim.lr_scheduler=cosine", "optim.lr_scheduler=poly_tf", "optim.lr_scheduler=wsd",
    "optim.lr_scheduler=reduce_lr_on_plateau", "optim.optimizer=adam", "optim.optimizer=adafactor", "optim.optimizer=lamb",
    "optim.optimizer=adam_openai", "optim.weight_decay=0.1", "optim.clip_norm=0", "optim.layer_decay=0.7",
    "optim.freeze=embeddings", "optim.ema_decay=0.5", "optim.warmup_updates=0", "train.reduction=sentence_mean",
    "train.reduction=batch_mean", "train.batch_reuse=5", "train.update_freq=3", "train.batch_size=3",
    "train.batch_size_multiple=4", "train.length_multiple=8", "train.precision=bf16", "train.precision=fp16",
    "train.num_workers=1", "train.checkpoint_activations=true", "model.dropout=0.4", "model.norm=post",
    "model.share_layers=all", "model.embeddings=separate", "model.languages=tag", "model.positions=learned",
    "model.cross_output=language", "checkpoint.save_interval_updates=1", "checkpoint.save_interval=1",
    "checkpoint.keep_optimizer_states=1", "checkpoint.patience=3", "valid.eval_source_use=true",
    "valid.validate_after_updates=3", "valid.valid_subset=valid,train", "valid.eval_retrieval=true",
    "stream.mass.loss_weight=0:1,3:0.2", "stream.mass.sampling_weight=3", "stream.mass.objective.preset=xlm",
    "stream.mass.objective.mask_visibility=none", "stream.pairs.objective.label_smoothing=0.3",
    "stream.pairs.objective.source_blank=0.2", "stream.pairs.objective.tag_sources=true", "stream.pairs.max_examples=40",
    "stream.dae.objective.infill_share=0.3", "stream.mlm.objective.span_p=0.3", "stream.bt.objective.sampling_share=0.5",
)  # fmt: skip
"""Options that change what is learned, or when it is measured and saved."""

MORE_STREAMS: Mapping[str, Any] = {
    "dae": {"dataset": "de", "objective": {"name": "denoise"}},
    "mlm": {"dataset": "en", "objective": {"name": "mlm"}},
    "bt": {"dataset": "en-de", "objective": {"name": "backtranslate"}},
}
"""Streams that are there if an option of theirs is."""

APART = ({"model.share_layers", "optim.layer_decay"},)
"""Options that refuse each other."""


def key(option: str) -> str:
    return option.partition("=")[0]


def pairs(count: int) -> list[tuple[str, str]]:
    """Different pairs, drawn at random from all that go together."""
    possible = [
        (first, second)
        for first, second in combinations(OPTIONS, 2)
        if key(first) != key(second) and {key(first), key(second)} not in APART
    ]
    return random.Random(20261129).sample(possible, count)


def files_and_state(folder: Path) -> tuple[Mapping[str, str], dict[str, Any]]:
    """The checksums of all tensors of the last checkpoint, and all numbers but the time that it took."""
    saved: Checkpoint = last_checkpoint(folder)
    tensors = {
        name: digest
        for name, digest in saved.checksums.items()
        if name.endswith(".safetensors")
    }
    return tensors, {**asdict(saved.state), "seconds": 0.0}


def check_pair(
    options: tuple[str, str], data: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream_names = [
        option.split(".")[1] for option in options if option.startswith("stream.")
    ]
    streams = merge(
        TINY["stream"],
        {name: MORE_STREAMS[name] for name in stream_names if name in MORE_STREAMS},
    )
    changes = (
        "train.max_update=5",
        "checkpoint.save_interval_updates=2",
        "valid.max_valid_rows=4",
        *options,
    )
    train(recipe(data, folder / "whole", *changes, streams=streams))
    stop = random.Random(repr(options)).randint(1, 4)

    def interrupt(trainer: Trainer) -> None:
        signal.raise_signal(signal.SIGTERM)

    during_update(stop, interrupt, monkeypatch)
    train(recipe(data, folder / "parts", *changes, streams=streams))
    # A list of batches that is used several times is not left in between.
    stopped_at = last_checkpoint(folder / "parts").state.step
    assert stopped_at == (5 if "train.batch_reuse=5" in options else stop)
    train(recipe(data, folder / "parts", *changes, streams=streams))
    assert files_and_state(folder / "parts") == files_and_state(folder / "whole")


@pytest.mark.parametrize("options", pairs(50)[:4], ids=" ".join)
def test_a_few_pairs(
    options: tuple[str, str], toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_pair(options, toy, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("options", pairs(50)[4:], ids=" ".join)
def test_all_pairs(
    options: tuple[str, str], toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_pair(options, toy, tmp_path, monkeypatch)
