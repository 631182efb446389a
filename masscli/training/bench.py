"""Measure the speed of this machine: matrix products, training, generation, and training with plain PyTorch.

Absolute speeds say little, since machines differ and drift. The report therefore relates the speed of
training to that of a large matrix product (the ceiling) and to that of a peer, measured seconds apart. The
peer is `torch.nn.Transformer` of the same sizes with `cross_entropy` and `AdamW`, as a tutorial would write
it, with the same precision. Weights and token ids are random, because speed does not depend on them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.data.batches.batch import Batch, Tokens
from masscli.data.batches.framing import Framing
from masscli.generation.config import GenerationConfig
from masscli.generation.decoder import Decoder
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer, count_parameters
from masscli.objectives.shared.sequence_to_sequence import sequence_loss, sequence_pair_batch
from masscli.text.vocabulary import Vocabulary

SPECIAL_IDS = 8
LABEL_SMOOTHING = 0.1
BEAM = 5


@dataclass(frozen=True)
class Workload:
    """What the benchmark runs: a model, the shape of its batches, and how long it decodes and measures.

    `arch` is the named size of the model.
    """

    arch: str
    vocab_size: int
    batch_size: int
    """Number of sentences in a training batch."""
    length: int
    """Number of tokens in a sentence."""
    steps: int
    """Number of decoding steps for each generated sentence."""
    seconds: float
    """Least duration of each measurement in seconds."""


@dataclass(frozen=True)
class Measurement:
    """One line of the report: a value with its unit, and a note for the reader."""

    name: str
    value: float
    unit: str
    note: str = ""


def measure(workload: Workload, device: torch.device, dtype: torch.dtype) -> Iterator[Measurement]:
    """Measure matrix products, training by masscli, training by the peer, and generation; yield each result.

    The peer is `torch.nn.Transformer`, and generation is beam search of 64 sentences and of one at a time.
    """
    config = resolve({"arch": workload.arch, "languages": "none"})
    framing = Framing(_vocabulary(workload.vocab_size), config.source_bos, False, ())
    peak_flops = _matrix_product_flops(config, workload, device, dtype)
    dtype_name = str(dtype).removeprefix("torch.")
    yield Measurement(
        "matrix products (the ceiling)",
        peak_flops / 1e12,
        "TFLOP/s",
        f"{dtype_name}, shapes of {workload.arch}",
    )

    # The same weights in every run of the benchmark, and the same random batch.
    torch.manual_seed(1)
    model = Transformer(config, workload.vocab_size, ()).to(device)
    model.compute_dtype = dtype
    batch = _batch(framing, workload).to(device)
    targets = batch.counts["bench"]

    def loss() -> Tensor:
        return sequence_loss(model, batch, "bench", LABEL_SMOOTHING)[0] / targets

    updates_per_second = 1 / _median_seconds(_train_step(model, loss), workload.seconds, device)
    share = updates_per_second * flops(model, workload) / peak_flops
    yield Measurement(
        "training",
        updates_per_second * targets,
        "target tokens/s",
        f"{share:.0%} of the ceiling; {count_parameters(model):,} parameters, "
        f"{int(targets):,} targets a batch",
    )

    # The peer trains on the same batch.
    peer = _Peer(config, workload.vocab_size).to(device)
    peer_step = _train_step(peer, lambda: peer.loss(batch, dtype) / targets)
    peer_updates_per_second = 1 / _median_seconds(peer_step, workload.seconds, device)
    yield Measurement(
        "training, torch.nn.Transformer",
        peer_updates_per_second * targets,
        "target tokens/s",
        f"masscli is {updates_per_second / peer_updates_per_second:.2f} times as fast",
    )

    # For generation the weights themselves are in this format, as `generate` has them.
    model = model.to(dtype).eval()
    for batch_size in (64, 1):
        yield Measurement(
            f"generation, beam {BEAM}, {batch_size} at a time",
            _sentences_per_second(model, framing, workload, batch_size, device),
            "sentences/s",
            f"{workload.length} pieces in, {workload.steps} steps",
        )


def flops(model: Transformer, workload: Workload) -> float:
    """Return the floating-point operations of a forward and backward pass on one training batch.

    Each weight of a matrix counts six operations for each token: a multiplication and an addition in the
    forward pass, and twice as many in the backward pass. The products within attention (scores and weighted
    sums) are left out.
    """
    embeddings = model.token_embeddings
    output_embedding = embeddings["shared" if "shared" in embeddings else "decoder"]
    weights: int = output_embedding.numel()
    # Biases, norms and the input embeddings multiply no matrix.
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and name.split(".")[0] in ("encoder", "decoder"):
            weights += parameter.numel()
    return 6.0 * workload.batch_size * workload.length * weights


def _vocabulary(size: int) -> Vocabulary:
    return Vocabulary(
        size, pad=0, bos=1, eos=2, unk=3, mask=4, cls=5, sep=6, spare=(7,), languages={}, fingerprint=""
    )


def _batch(framing: Framing, workload: Workload) -> Batch:
    """Return a training batch of random token ids, whose loss term is called `bench`."""
    rng = np.random.default_rng(1)
    # The end symbol is the last token of each sentence.
    shape = (2, workload.batch_size, workload.length - 1)
    sources, targets = rng.integers(SPECIAL_IDS, workload.vocab_size, shape)
    inputs = [framing.encoder_input(token_ids, "") for token_ids in sources]
    rows = range(workload.batch_size)
    return sequence_pair_batch(framing, inputs, list(targets), ("", ""), "bench", rows)


def _matrix_product_flops(
    config: ModelConfig, workload: Workload, device: torch.device, dtype: torch.dtype
) -> float:
    """Return the floating-point operations per second of the matrix product in a feed-forward layer."""
    tokens = workload.batch_size * workload.length
    x = torch.randn(tokens, config.dim, device=device, dtype=dtype)
    weight = torch.randn(config.ffn_dim, config.dim, device=device, dtype=dtype)
    seconds = _median_seconds(lambda: F.linear(x, weight), min(2.0, workload.seconds), device)
    return 2.0 * tokens * config.dim * config.ffn_dim / seconds


def _train_step(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], object]:
    """Return a function that makes one AdamW update of `module` on what `loss` returns."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        torch.autograd.backward(loss())
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def _median_seconds(work: Callable[[], object], at_least: float, device: torch.device) -> float:
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
    model: Transformer, framing: Framing, workload: Workload, batch_size: int, device: torch.device
) -> float:
    """Return how many sentences per second beam search generates, with `batch_size` sentences at a time.

    Sources are random, and every output has `workload.steps` tokens.
    """
    search = GenerationConfig(beam=BEAM, min_len=workload.steps - 1, max_len_a=0.0, max_len_b=workload.steps)
    decoder = Decoder([model], framing, search, batch_size=batch_size, batch_tokens=10**9)
    rng = np.random.default_rng(2)
    # Several sentences even one at a time, so that the time is long enough to measure.
    count = max(batch_size, 8)
    sources = list(rng.integers(SPECIAL_IDS, workload.vocab_size, (count, workload.length)))
    seconds = _median_seconds(lambda: decoder.generate(sources, "", ""), workload.seconds, device)
    return count / seconds


class _Peer(nn.Module):
    """The peer model: `torch.nn.Transformer` with embeddings, positions and a tied output layer."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, config.dim)
        self.positions = nn.Embedding(config.max_positions, config.dim)
        self.transformer = nn.Transformer(
            config.dim,
            config.heads,
            config.encoder_layers,
            config.decoder_layers,
            config.ffn_dim,
            config.dropout,
            batch_first=True,
        )

    def loss(self, batch: Batch, dtype: torch.dtype) -> Tensor:
        """Return the cross-entropy with label smoothing, summed over the targets of the batch.

        Matrix products are computed in `dtype` (autocast).
        """
        assert batch.target is not None
        labels = batch.labels["bench"]
        device_type = batch.source.ids.device.type
        with torch.autocast(device_type, dtype, enabled=dtype != torch.float32):
            source = self._embed(batch.source)
            target = self._embed(batch.target)
            mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1], device=target.device)
            hidden = self.transformer(source, target, tgt_mask=mask, tgt_is_causal=True)
            logits = F.linear(hidden.flatten(0, 1)[labels.positions], self.embedding.weight)
        return F.cross_entropy(logits.float(), labels.ids, reduction="sum", label_smoothing=LABEL_SMOOTHING)

    def _embed(self, tokens: Tokens) -> Tensor:
        embedded: Tensor = self.embedding(tokens.ids)
        return embedded + self.positions.weight[: tokens.ids.shape[1]]
