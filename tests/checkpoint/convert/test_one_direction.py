"""A translator reduced to one direction computes the same; what other programs cannot compute is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from masscli.checkpoint.convert.one_direction import fold_direction
from masscli.data.batches.batch import Tokens
from masscli.models.transformer import Transformer
from tests.published import error_of
from tests.translators import SHAPES, framed_pair, logits_of, random_translator

pytestmark = pytest.mark.usefixtures("no_sync")


@pytest.mark.parametrize("shape", SHAPES)
def test_one_direction_computes_the_same(shape: str, toy: Path, tmp_path: Path) -> None:
    run = random_translator(shape, toy, tmp_path)
    source, target = framed_pair(run)
    directed = fold_direction(run, "en", "de")
    model = Transformer(directed.config, len(directed.target_ids), ())
    model.load_state_dict(directed.tensors)
    model.eval()
    with torch.no_grad():
        memory = model.encode(Tokens(source, torch.tensor([source.shape[1]])))
        logits = model.logits(
            model.decode(Tokens(target, torch.tensor([target.shape[1]])), memory)
        )
    assert logits.sub(logits_of(run, source, target)).abs().max() < 1e-5
    assert [
        *directed.source_prefix,
        *source[0, len(directed.source_prefix) :][:5].tolist(),
        *directed.source_suffix,
    ] == source[0].tolist()
    assert [directed.target_start, *directed.forced_tokens] == target[
        0, : 1 + len(directed.forced_tokens)
    ].tolist()


def test_the_other_direction_is_another_model(toy: Path, tmp_path: Path) -> None:
    run = random_translator("default", toy, tmp_path)
    there, back = fold_direction(run, "en", "de"), fold_direction(run, "de", "en")
    name = "embeddings.encoder.positions.weight"
    languages = run.weights()["embeddings.encoder.languages.weight"]
    assert torch.allclose(
        there.tensors[name] - back.tensors[name], languages[0] - languages[1], atol=1e-6
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"head_transform": True},
            "head_transform is True: no other program has a translator with this part",
        ),
        ({"relative_buckets": 8}, "relative_buckets is 8"),
        ({"encoder_layers": 0}, "is a single stack, not a translator"),
    ],
)
def test_parts_that_only_masscli_has_are_named(
    changes: dict[str, object], words: str, toy: Path, tmp_path: Path
) -> None:
    run = random_translator("default", toy, tmp_path, **changes)
    message, hint = error_of(lambda: fold_direction(run, "en", "de"))
    assert words in message
    assert hint is not None and "--to safetensors" in hint
