"""Measure the speed of this machine: matrix products, training and generation, and a plain PyTorch model.

A speed alone says little, since machines differ and drift. A ratio to an upper bound and to a peer that were
measured seconds apart says more. The peer is `torch.nn.Transformer` of the same sizes with `cross_entropy`
and `AdamW`, as a tutorial would write it, in the same precision. Weights and token ids are random, since
speed does not depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.data.batches.batch import Batch
from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer, count_parameters
from masscli.objectives.shared.sequence_to_sequence import sequence_loss, sequence_pair_batch
from masscli.text.vocabulary import Vocabulary

SPECIALS = 8


@dataclass(frozen=True)
class Load:
    """The workload to measure: a named size, V, rows of a batch, pieces of a line, steps of decoding."""

    arch: str
    vocab_size: int
    rows: int
    length: int
    steps: int
    seconds: float


@dataclass(frozen=True)
class Figure:
    """One line of the report: a measured value with its unit."""

    what: str
    value: float
    unit: str
    note: str = ""


def measure(load: Load, device: torch.device, dtype: torch.dtype) -> Iterator[Figure]:
    """Yield the figures one by one: matrix products, training, training of the peer, and generation."""
    config = resolve({"arch": load.arch, "languages": "none"})
    framing = Framing(_vocabulary(load.vocab_size), config.source_bos, False, ())
    ceiling = _ceiling(config, load, device, dtype)
    yield Figure(
        "matrix products (the ceiling)", ceiling / 1e12, "TFLOP/s", f"{_name(dtype)}, shapes of {load.arch}"
    )
    torch.manual_seed(1)
    model = Transformer(config, load.vocab_size, ()).to(device)
    model.compute_dtype = dtype
    batch = _batch(framing, load).to(device)
    targets = batch.counts["bench"]
    work = flops(model, load)
    rate = 1 / _seconds(
        _step(model, lambda: sequence_loss(model, batch, "bench", 0.1)[0] / targets), load.seconds, device
    )
    share = f"{rate * work / ceiling:.0%} of the ceiling; {count_parameters(model):,} parameters, {int(targets):,} targets a batch"
    yield Figure("training", rate * targets, "target tokens/s", share)
    peer = _Peer(config, load.vocab_size).to(device)
    theirs = 1 / _seconds(_step(peer, lambda: peer.loss(batch, dtype) / targets), load.seconds, device)
    yield Figure(
        "training, torch.nn.Transformer",
        theirs * targets,
        "target tokens/s",
        f"masscli is {rate / theirs:.2f} times as fast",
    )
    model = model.to(dtype).eval()
    for rows in (64, 1):
        found = _generation(model, framing, load, rows, device)
        yield Figure(
            f"generation, beam 5, {rows} at a time",
            found,
            "sentences/s",
            f"{load.length} pieces in, {load.steps} steps",
        )


def flops(model: Transformer, load: Load) -> float:
    """Return the floating-point operations of a forward and a backward pass.

    There are 6 for each weight and token: a multiplication and an addition in the forward pass, and twice as
    many in the backward pass. The products of attention scores are not counted.
    """
    table: int = model.token_embeddings["shared" if "shared" in model.token_embeddings else "decoder"].numel()
    body = sum(
        p.numel()
        for n, p in model.named_parameters()
        if p.dim() == 2 and n.split(".")[0] in ("encoder", "decoder")
    )
    return 6.0 * load.rows * load.length * (body + table)


def _vocabulary(size: int) -> Vocabulary:
    return Vocabulary(
        size, pad=0, bos=1, eos=2, unk=3, mask=4, cls=5, sep=6, spare=(7,), languages={}, fingerprint=""
    )


def _batch(framing: Framing, load: Load) -> Batch:
    rng = np.random.default_rng(1)
    lines = rng.integers(SPECIALS, load.vocab_size, (2, load.rows, load.length - 1))
    sources = [framing.encoder_input(row, "") for row in lines[0]]
    return sequence_pair_batch(framing, sources, list(lines[1]), ("", ""), "bench", range(load.rows))


def _ceiling(config: ModelConfig, load: Load, device: torch.device, dtype: torch.dtype) -> float:
    """Return the speed of the largest matrix product of a layer, in floating-point operations per second."""
    rows = load.rows * load.length
    x = torch.randn(rows, config.dim, device=device, dtype=dtype)
    w = torch.randn(config.ffn_dim, config.dim, device=device, dtype=dtype)
    return (
        2.0
        * rows
        * config.dim
        * config.ffn_dim
        / _seconds(lambda: F.linear(x, w), min(2.0, load.seconds), device)
    )


def _step(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        torch.autograd.backward(loss())
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _seconds(work: Callable[[], object], at_least: float, device: torch.device) -> float:
    """Return the median seconds of a call, after two calls to warm up; measure for `at_least` seconds."""
    times: list[float] = []
    began = time.perf_counter()
    for number in range(100_000):
        started = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= 2:
            times.append(time.perf_counter() - started)
        else:
            began = time.perf_counter()
        if len(times) >= 3 and time.perf_counter() - began > at_least:
            break
    return float(np.median(times))


def _generation(model: Transformer, framing: Framing, load: Load, rows: int, device: torch.device) -> float:
    search = GenerationConfig(beam=5, min_len=load.steps - 1, max_len_a=0.0, max_len_b=load.steps)
    decoder = Decoder([model], framing, search, batch_size=rows, batch_tokens=10**9)
    rng = np.random.default_rng(2)
    count = max(rows, 8)
    lines = list(rng.integers(SPECIALS, load.vocab_size, (count, load.length)))
    return count / _seconds(lambda: decoder.generate(lines, "", ""), load.seconds, device)


class _Peer(nn.Module):
    """The model to compare with: `torch.nn.Transformer` with embeddings and a tied output layer."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, config.dim)
        self.positions = nn.Embedding(config.max_positions, config.dim)
        layers = config.encoder_layers, config.decoder_layers
        self.body = nn.Transformer(
            config.dim, config.heads, *layers, config.ffn_dim, config.dropout, batch_first=True
        )

    def loss(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        """Return the summed cross-entropy with label smoothing 0.1."""
        assert batch.target is not None
        labels = batch.labels["bench"]
        with torch.autocast(batch.source.ids.device.type, dtype, enabled=dtype != torch.float32):
            source, target = (
                self.table(t.ids) + self.positions.weight[: t.ids.shape[1]]
                for t in (batch.source, batch.target)
            )
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=target.device)
            hidden = self.body(source, target, tgt_mask=mask, tgt_is_causal=True).flatten(0, 1)[
                labels.positions
            ]
            logits = F.linear(hidden, self.table.weight)
        return F.cross_entropy(logits.float(), labels.ids, reduction="sum", label_smoothing=0.1)


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
