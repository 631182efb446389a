"""The benchmark measures what it says: peers of the same size that learn, products counted one by one, a line for each figure."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch

from masscli.core.errors import MasscliError
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.training.bench import measure as measuring
from masscli.training.bench.measure import measure
from masscli.training.bench.peers import HuggingFacePeer, Peer, PlainPeer
from masscli.training.bench.workload import (
    TERM,
    Workload,
    flops,
    model_loss,
    train_step,
)

CPU = torch.device("cpu")
WORKLOAD = Workload("tiny", vocab_size=50, batch_size=3, length=7, steps=3, seconds=0.0)


class EncoderWorkload(Workload):
    """The same with the encoder alone."""

    def config(self) -> ModelConfig:
        return replace(super().config(), decoder_layers=0)


ENCODER = EncoderWorkload(**asdict(WORKLOAD))


@pytest.mark.parametrize(
    "workload", [WORKLOAD, ENCODER], ids=["both stacks", "encoder"]
)
def test_operations_are_those_of_the_linear_layers(workload: Workload) -> None:
    config = workload.config()
    model = Transformer(config, workload.vocab_size, ())
    batch = workload.batch(config)
    counted = 0

    def count(
        module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor
    ) -> None:
        nonlocal counted
        counted += 2 * inputs[0].flatten(0, -2).shape[0] * module.weight.numel()

    for name, module in model.named_modules():
        if (
            hasattr(module, "weight")
            and module.weight.dim() == 2
            and name.startswith(("encoder", "decoder"))
        ):
            module.register_forward_hook(count)
    model_loss(model, batch)
    counted += 2 * int(batch.counts[TERM]) * workload.vocab_size * config.dim
    # The backward pass costs twice as much as the forward pass.
    assert flops(model, batch) == 3 * counted


@pytest.mark.parametrize(
    "workload", [WORKLOAD, ENCODER], ids=["both stacks", "encoder"]
)
def test_a_plain_peer_learns_the_batch(workload: Workload) -> None:
    check_peer(PlainPeer(workload.config(), workload.vocab_size), workload)


@pytest.mark.peer
@pytest.mark.parametrize(
    "workload", [WORKLOAD, ENCODER], ids=["both stacks", "encoder"]
)
def test_hugging_face_learns_the_batch(workload: Workload) -> None:
    pytest.importorskip("transformers")
    check_peer(
        HuggingFacePeer(workload.config(), workload.vocab_size, CPU, False), workload
    )


def check_peer(peer: Peer, workload: Workload) -> None:
    """The loss of the peer falls on the batch of the benchmark."""
    batch = workload.batch(workload.config())
    step = train_step(peer.module, lambda: peer.loss(batch, torch.float32))
    before = peer.loss(batch, torch.float32).item()
    for _ in range(30):
        step()
    assert peer.loss(batch, torch.float32).item() < before


def test_a_line_for_each_figure() -> None:
    names = [figure.name for figure in measure(WORKLOAD, CPU, torch.float32)]
    assert names[:3] == [
        "matrix products (the ceiling)",
        "training",
        "training, torch.nn.Transformer",
    ]
    assert names[-2:] == [
        "generation, beam 5, 64 at a time",
        "generation, beam 5, 1 at a time",
    ]
    encoder = [figure.name for figure in measure(ENCODER, CPU, torch.float32)]
    assert not any("generation" in name for name in encoder)


def test_the_memory_of_peers_does_not_include_masscli(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where weights of masscli's model stayed on a GPU, they would count as memory of its peers."""
    moved = []
    monkeypatch.setattr(Transformer, "cpu", lambda model: moved.append("away"))
    monkeypatch.setattr(measuring, "_measure_peers", lambda *arguments: list(moved))
    assert list(measure(WORKLOAD, CPU, torch.float32))[2] == "away"


@pytest.mark.parametrize(
    ("arch", "reason"),
    [
        ("gpt", "a decoder alone is not measured"),
        ("electra-small", "has no output layer that predicts tokens"),
    ],
)
def test_what_cannot_be_measured_is_refused_by_name(arch: str, reason: str) -> None:
    with pytest.raises(MasscliError, match=f"--arch {arch}: {reason}"):
        replace(WORKLOAD, arch=arch).config()
