"""Training: masscli, `torch.nn.Transformer` and models of Hugging Face, on batches of one shape.

Every program makes the same update: forward, backward, the norm of the gradient clipped at 1, fused AdamW.
Weights and tokens are random, since speed does not depend on them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.training.bench.peers import HuggingFacePeer, Peer, PlainPeer
from masscli.training.bench.workload import Workload, model_loss, train_step
from tests.benchmarks.speed.measure import Contestant, units_per_second

CPU = torch.device("cpu")
NO_TRANSFORMERS = {"HF": "transformers is not installed"}
"""Why a row lacks the models of Hugging Face."""
NO_COMPILER = {"HF compiled": "there is no C++ compiler (g++, or that of CXX)"}
"""Why a row lacks compiled models."""


def has_compiler() -> bool:
    """Return whether there is a C++ compiler, which `torch.compile` needs on a CPU."""
    return shutil.which(os.environ.get("CXX", "g++")) is not None


@dataclass(frozen=True)
class Shape(Workload):
    """The size of a model, which has learned positions as its peers have, and of its batches."""

    steps: int = 0
    seconds: float = 0.0

    def config(self) -> ModelConfig:
        """Return the configuration of masscli's model."""
        return replace(super().config(), positions="learned")

    @property
    def tokens(self) -> int:
        """The number of targets in a batch."""
        return self.batch_size * self.length


def updates(
    module: nn.Module, loss: Callable[[], Tensor], tokens: float
) -> Callable[[], float]:
    """Return a function that makes one update of `module` on what `loss` returns, and returns `tokens`."""
    step = train_step(module, loss)

    def update() -> float:
        step()
        return tokens

    return update


# -- masscli ---------------------------------------------------------------------------------------------


def masscli_translation(shape: Shape, dtype: torch.dtype) -> Contestant:
    """Return masscli's own model, on pairs."""
    config = shape.config()
    model = Transformer(config, shape.vocab_size, ())
    model.compute_dtype = dtype
    batch = shape.batch(config)
    update = updates(model, lambda: model_loss(model, batch), shape.tokens)
    return Contestant(f"masscli {name_of(dtype)}", units_per_second(update))


def name_of(dtype: torch.dtype) -> str:
    """Return the short name of a dtype, as `--precision` has it."""
    return {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]


# -- the ceiling -----------------------------------------------------------------------------------------


def weights_read(model: nn.Module) -> float:
    """Return how many weights of matrices each token of a batch is multiplied with, the output layer once.

    Embeddings are looked up, and multiply nothing but hidden states at the output. What attention itself
    multiplies is left out, so that long texts look further from the ceiling than they are.
    """
    matrices = 0
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and name.split(".")[0] in ("encoder", "decoder"):
            matrices += parameter.numel()
    return float(matrices)


def product_rate(
    config: ModelConfig, tokens: int, dtype: torch.dtype, flops_per_unit: float
) -> Contestant:
    """Return the ceiling: the product of a feed-forward layer, in units of work whose products it could do."""
    x = torch.randn(tokens, config.dim, dtype=dtype)
    weight = torch.randn(config.ffn_dim, config.dim, dtype=dtype)
    flops = 2.0 * tokens * config.dim * config.ffn_dim

    def step() -> float:
        F.linear(x, weight)
        return flops / flops_per_unit

    return Contestant(f"ceiling {name_of(dtype)}", units_per_second(step))


def training_ceiling(
    config: ModelConfig,
    model: nn.Module,
    tokens: int,
    outputs: float,
    vocab_size: int,
    dtype: torch.dtype,
) -> Contestant:
    """Return the ceiling of training; `outputs` is for what share of tokens the output layer is computed.

    A weight costs six operations for each token: two in the forward pass and four in the backward pass.
    """
    per_token = 6.0 * (
        weights_read(model) + outputs * vocab_size * config.embedding_width
    )
    return product_rate(config, tokens, dtype, per_token)


# -- peers -----------------------------------------------------------------------------------------------


def peer_translation(
    name: str, peer: Peer, shape: Shape, dtype: torch.dtype
) -> Contestant:
    """Return the training of another program's model on pairs, with products in `dtype`."""
    batch = shape.batch(shape.config())
    update = updates(peer.module, lambda: peer.loss(batch, dtype), shape.tokens)
    return Contestant(name, units_per_second(update))


def plain_translation(shape: Shape, dtype: torch.dtype) -> Contestant:
    """Return a plain training loop over `torch.nn.Transformer`."""
    return peer_translation(
        f"torch {name_of(dtype)}",
        PlainPeer(shape.config(), shape.vocab_size),
        shape,
        dtype,
    )


def hugging_face_translations(
    shape: Shape, dtype: torch.dtype, compiled: bool
) -> list[Contestant]:
    """Return Marian of transformers on pairs: in fp32, in bf16 and, if asked for, compiled in `dtype`."""
    contestants = []
    for plain_dtype in (torch.float32, torch.bfloat16):
        contestants.append(
            peer_translation(
                f"HF {name_of(plain_dtype)}", hugging_face(shape), shape, plain_dtype
            )
        )
    if compiled:
        contestants.append(
            peer_translation(
                f"HF {name_of(dtype)} compiled", hugging_face(shape, True), shape, dtype
            )
        )
    return contestants


def hugging_face(shape: Shape, compiled: bool = False) -> HuggingFacePeer:
    """Return Marian of transformers, a Transformer of this shape."""
    return HuggingFacePeer(shape.config(), shape.vocab_size, CPU, compiled)
