"""Options of noise and tags reach what the encoder reads."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from masscli.core.config import ConfigError
from masscli.data.batches.batch import Batch
from masscli.objectives.masked_lm.options import MaskedLMOptions
from masscli.training.setup.build import build
from masscli.training.trainer import Trainer
from tests.toy import recipe
from tests.training.test_trainer import steps, train

pytestmark = pytest.mark.usefixtures("no_sync", "one_thread")


def batch_of(
    data: Path, folder: Path, dataset: str, **objective: Any
) -> tuple[Trainer, Batch]:
    streams = {"only": {"dataset": dataset, "objective": objective}}
    trainer, _ = build(recipe(data, folder, streams=streams))
    stream = trainer.streams["only"]
    batch = stream.objective.train().prepare(
        trainer.model, stream.batch_builder(np.arange(6), 0)
    )
    return trainer, batch


def test_denoise_infills_its_source(toy: Path, tmp_path: Path) -> None:
    alone = {"word_shuffle": 0, "word_dropout": 0, "word_blank": 0, "infill_share": 0.5}
    trainer, batch = batch_of(toy, tmp_path, "en", name="denoise", **alone)
    assert batch.target is not None
    mask = trainer.validator.framing.vocab.mask
    for source, target in zip(
        batch.source.ids.tolist(), batch.target.ids.tolist(), strict=True
    ):
        assert mask in source
        special = trainer.validator.framing.vocab.special_ids
        words, original = (
            [id_ for id_ in row if id_ not in special] for row in (source, target)
        )
        assert len(words) == len(original) - round(0.5 * len(original))
        # What is left is in order.
        places = iter(original)
        assert all(word in places for word in words)


def test_mlm_masks_spans(toy: Path, tmp_path: Path) -> None:
    trainer, batch = batch_of(
        toy, tmp_path, "en", name="mlm", mask_prob=0.5, span_p=0.01, max_span=10,
        leave_unmasked_prob=0, random_token_prob=0,
    )  # fmt: skip
    mask = trainer.validator.framing.vocab.mask
    for row in batch.source.ids.tolist():
        masked = [place for place, token in enumerate(row) if token == mask]
        # With a small p nearly all lengths up to 10 are equally likely, so half of a short line is one span or two.
        breaks = sum(after - before > 1 for before, after in pairwise(masked))
        assert len(masked) >= 1 and breaks <= 2


@pytest.mark.parametrize("name", ["translate", "backtranslate"])
def test_tagged_sources_begin_with_a_symbol_of_their_own(
    name: str, toy: Path, tmp_path: Path
) -> None:
    _, plain = batch_of(toy, tmp_path / "plain", "en-de", name=name)
    trainer, tagged = batch_of(
        toy, tmp_path / "tagged", "en-de", name=name, tag_sources=True
    )
    tag = trainer.validator.framing.vocab.spare[-1]
    assert tag not in plain.source.ids
    assert torch.equal(tagged.source.ids[:, 0], torch.full((6,), tag))
    assert torch.equal(tagged.source.ids[:, 1:], plain.source.ids)
    assert torch.equal(tagged.source.lengths, plain.source.lengths + 1)
    assert torch.equal(tagged.labels[name].ids, plain.labels[name].ids)
    streams = {
        "only": {"dataset": "en-de", "objective": {"name": name, "tag_sources": True}}
    }
    assert steps(
        train(recipe(toy, tmp_path / "run", "train.max_update=2", streams=streams))
    )


@pytest.mark.parametrize("share", ["leave_unmasked_prob", "random_token_prob"])
def test_a_negative_share_is_refused_whatever_the_other_one_is(share: str) -> None:
    shares: dict[str, Any] = {
        "leave_unmasked_prob": 0.2,
        "random_token_prob": 0.2,
        share: -0.1,
    }
    with pytest.raises(ConfigError, match=rf"{share}: must lie in \[0, 1\], got -0.1"):
        MaskedLMOptions(**shares)
