"""Measure a workload: matrix products, training by masscli and by its peers, and generation.

Absolute speeds say little, since machines differ and drift. The report therefore relates the speed of
training to that of a large matrix product (the ceiling) and to that of peers, measured seconds apart.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from masscli.data.batches.batch import Batch
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer, count_parameters
from masscli.training.bench.peers import (
    HuggingFacePeer,
    Peer,
    PlainPeer,
    has_transformers,
)
from masscli.training.bench.workload import (
    SPECIAL_IDS,
    TERM,
    Workload,
    flops,
    model_loss,
    train_step,
)

BEAM = 5
BATCH_SIZES = (64, 1)
"""Numbers of sentences at a time for which generation is measured."""


@dataclass(frozen=True)
class Measurement:
    """One line of the report: a value with its unit, and a note for the reader."""

    name: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Speed:
    """Time and memory of one program's updates on one batch; memory is 0 if it is not known (on a CPU)."""

    seconds: float
    """Median duration of an update."""
    memory: float
    """Largest memory on the GPU, in GiB, with weights, gradients and the state of the optimizer."""


def measure(
    workload: Workload, device: torch.device, dtype: torch.dtype, compiled: bool = False
) -> Iterator[Measurement]:
    """Measure matrix products, training by masscli and by its peers, and generation; yield each result.

    The peers are PyTorch's own Transformer and, where transformers is installed, Hugging Face's, with
    `compiled` also under `torch.compile`. Generation is beam search of 64 sentences and of one at a time;
    an encoder alone does not generate.
    """
    config = workload.config()
    ceiling = _matrix_product_flops(config, workload, device, dtype)
    dtype_name = str(dtype).removeprefix("torch.")
    note = f"{dtype_name}, shapes of {workload.arch}"
    yield Measurement("matrix products (the ceiling)", ceiling / 1e12, "TFLOP/s", note)

    # The same weights in every run of the benchmark.
    torch.manual_seed(1)
    model = Transformer(config, workload.vocab_size, ()).to(device)
    model.compute_dtype = dtype
    batch = workload.batch(config).to(device)
    targets = batch.counts[TERM]
    own = _speed(model, lambda: model_loss(model, batch), workload.seconds, device)
    share = flops(model, batch) / own.seconds / ceiling
    note = (
        f"{share:.0%} of the ceiling{_memory_note(own)}; {count_parameters(model):,} parameters, "
        f"{int(targets):,} targets a batch"
    )
    yield Measurement("training", targets / own.seconds, "target tokens/s", note)
    # The memory of peers is measured, too, and must not include these weights.
    model.cpu()
    yield from _measure_peers(workload, config, batch, own, dtype, compiled)

    if config.decoder_layers:
        # For generation, the weights themselves are converted to this dtype, as in `generate`.
        model = model.to(device, dtype).eval()
        for batch_size in BATCH_SIZES:
            yield Measurement(
                f"generation, beam {BEAM}, {batch_size} at a time",
                _sentences_per_second(model, workload, batch_size, device),
                "sentences/s",
                f"{workload.length} pieces in, {workload.steps} steps",
            )


def _measure_peers(
    workload: Workload,
    config: ModelConfig,
    batch: Batch,
    own: Speed,
    dtype: torch.dtype,
    compiled: bool,
) -> Iterator[Measurement]:
    """Measure the training of each peer on the batch, and yield its speed relative to masscli's `own`.

    Peers have the sizes of `config`. A peer for which the GPU has too little memory is reported with
    speed 0.
    """
    device = batch.source.ids.device
    peers: dict[str, Callable[[], Peer]] = {
        "torch.nn.Transformer": lambda: PlainPeer(config, workload.vocab_size).to(
            device
        )
    }
    if has_transformers():
        peers["Hugging Face"] = lambda: HuggingFacePeer(
            config, workload.vocab_size, device, False
        )
        if compiled:
            peers["Hugging Face, compiled"] = lambda: HuggingFacePeer(
                config, workload.vocab_size, device, True
            )
    for name, build in peers.items():
        result = Measurement(
            f"training, {name}", 0.0, "target tokens/s", "out of memory"
        )
        try:
            peer = _peer_speed(build, batch, dtype, workload.seconds)
        except torch.OutOfMemoryError:
            yield result
            continue
        note = f"masscli is {peer.seconds / own.seconds:.2f} times as fast{_memory_note(peer)}"
        yield replace(result, value=batch.counts[TERM] / peer.seconds, note=note)


def _peer_speed(
    build: Callable[[], Peer], batch: Batch, dtype: torch.dtype, seconds: float
) -> Speed:
    """Build a peer and measure its training on the batch. Its memory is freed afterwards."""
    peer = build()
    return _speed(
        peer.module, lambda: peer.loss(batch, dtype), seconds, batch.source.ids.device
    )


def _speed(
    module: nn.Module,
    loss: Callable[[], torch.Tensor],
    seconds: float,
    device: torch.device,
) -> Speed:
    """Measure updates of `module` on what `loss` returns, for at least so many seconds."""
    # Memory left behind by an earlier model must not count.
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    median = _median_seconds(train_step(module, loss), seconds, device)
    memory = 0.0
    if device.type == "cuda":
        memory = torch.cuda.max_memory_allocated(device) / 2**30
    return Speed(median, memory)


def _memory_note(speed: Speed) -> str:
    """Return the part of a note about the memory of updates, or an empty string if it is not known."""
    return f", {speed.memory:.2f} GiB" if speed.memory else ""


def _matrix_product_flops(
    config: ModelConfig, workload: Workload, device: torch.device, dtype: torch.dtype
) -> float:
    """Return the floating-point operations per second of the matrix product in a feed-forward layer."""
    tokens = workload.batch_size * workload.length
    x = torch.randn(tokens, config.dim, device=device, dtype=dtype)
    weight = torch.randn(config.ffn_dim, config.dim, device=device, dtype=dtype)
    seconds = _median_seconds(
        lambda: F.linear(x, weight), min(2.0, workload.seconds), device
    )
    return 2.0 * tokens * config.dim * config.ffn_dim / seconds


def _median_seconds(
    work: Callable[[], object], at_least: float, device: torch.device
) -> float:
    """Return the median duration of a call of `work` in seconds.

    After two calls to warm up, `work` is called at least three times, and until `at_least` seconds have
    passed.
    """
    times: list[float] = []
    began = time.perf_counter()
    # The limit is for work that takes almost no time.
    for number in range(100_000):
        started = time.perf_counter()
        work()
        # Kernels run asynchronously.
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if number >= 2:
            times.append(time.perf_counter() - started)
        else:
            began = time.perf_counter()
        if len(times) >= 3 and time.perf_counter() - began > at_least:
            break
    return float(np.median(times))


def _sentences_per_second(
    model: Transformer, workload: Workload, batch_size: int, device: torch.device
) -> float:
    """Return how many sentences per second beam search generates, with `batch_size` sentences at a time.

    Sources are random, and every output has `workload.steps` tokens.
    """
    search = GenerationConfig(
        beam=BEAM, min_len=workload.steps - 1, max_len_a=0.0, max_len_b=workload.steps
    )
    framing = workload.framing(model.config)
    decoder = Decoder(
        [model], framing, search, batch_size=batch_size, batch_tokens=10**9
    )
    rng = np.random.default_rng(2)
    # Use several sentences even with batch size 1, so that the time is long enough to measure.
    count = max(batch_size, 8)
    sources = list(
        rng.integers(SPECIAL_IDS, workload.vocab_size, (count, workload.length))
    )
    seconds = _median_seconds(
        lambda: decoder.generate(sources, "", ""), workload.seconds, device
    )
    return count / seconds
