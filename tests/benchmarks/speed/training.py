"""Training: masscli, `torch.nn.Transformer`, models of Hugging Face and of fairseq, on batches of one shape.

Every program makes the same update: forward, backward, the norm of the gradient clipped at 1, fused AdamW.
Weights and tokens are random, since speed does not depend on them.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.data.batches.batch import Batch
from masscli.data.batches.framing import Framing
from masscli.models.config import ModelConfig
from masscli.models.presets import resolve
from masscli.models.transformer import Transformer
from masscli.objectives.shared.sequence_to_sequence import sequence_loss, sequence_pair_batch
from masscli.text.vocabulary import Vocabulary
from tests.benchmarks.speed.measure import Contestant, Value, units_per_second

SPECIAL_IDS = 8
SMOOTHING = 0.1


@dataclass(frozen=True)
class Shape:
    """The size of a model, by name or in full, and of its batches: `rows` pairs of `length` tokens each."""

    arch: str
    vocab_size: int
    rows: int
    length: int

    @property
    def config(self) -> ModelConfig:
        """The configuration of masscli's model."""
        return resolve(
            {"arch": self.arch, "languages": "none", "positions": "learned", "max_positions": 1024}
        )

    @property
    def tokens(self) -> int:
        """The number of targets in a batch."""
        return self.rows * self.length


def vocabulary(size: int) -> Vocabulary:
    """Return a vocabulary of `size` ids without text."""
    return Vocabulary(
        size, pad=0, bos=1, eos=2, unk=3, mask=4, cls=5, sep=6, spare=(7,), languages={}, fingerprint=""
    )


def framing_of(shape: Shape) -> Framing:
    """Return the special tokens around the texts of a shape."""
    return Framing(vocabulary(shape.vocab_size), shape.config.source_bos, False, ())


def pair_batch(shape: Shape) -> Batch:
    """Return a batch of pairs of random token ids."""
    rng = np.random.default_rng(1)
    framing = framing_of(shape)
    sources, targets = rng.integers(SPECIAL_IDS, shape.vocab_size, (2, shape.rows, shape.length - 1))
    inputs = [framing.encoder_input(ids, "") for ids in sources]
    return sequence_pair_batch(framing, inputs, list(targets), ("", ""), "loss", range(shape.rows))


def train_step(module: nn.Module, loss: Callable[[], Tensor], tokens: float) -> Callable[[], float]:
    """Return a function that makes one update of `module` on what `loss` returns, and returns `tokens`."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=True)

    def step() -> float:
        torch.autograd.backward(loss())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return tokens

    return step


def autocast(loss: Callable[[], Tensor], dtype: torch.dtype) -> Callable[[], Tensor]:
    """Return `loss` with its products in `dtype`."""

    def inside() -> Tensor:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            return loss()

    return inside


# -- masscli ---------------------------------------------------------------------------------------------


def masscli_translation(shape: Shape, dtype: torch.dtype) -> Contestant:
    """Return masscli's own model, on pairs."""
    model = Transformer(shape.config, shape.vocab_size, ())
    model.compute_dtype = dtype
    batch = pair_batch(shape)
    step = train_step(
        model, lambda: sequence_loss(model, batch, "loss", SMOOTHING)[0] / shape.tokens, shape.tokens
    )
    return Contestant(f"masscli {name_of(dtype)}", units_per_second(step))


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


def product_rate(config: ModelConfig, tokens: int, dtype: torch.dtype, flops_per_unit: float) -> Contestant:
    """Return the ceiling: the product of a feed-forward layer, in units of work whose products it could do."""
    x = torch.randn(tokens, config.dim, dtype=dtype)
    weight = torch.randn(config.ffn_dim, config.dim, dtype=dtype)
    flops = 2.0 * tokens * config.dim * config.ffn_dim

    def step() -> float:
        F.linear(x, weight)
        return flops / flops_per_unit

    return Contestant(f"ceiling {name_of(dtype)}", units_per_second(step))


def training_ceiling(
    config: ModelConfig, model: nn.Module, tokens: int, outputs: float, vocab_size: int, dtype: torch.dtype
) -> Contestant:
    """Return the ceiling of training; `outputs` is for what share of tokens the output layer is computed.

    A weight costs six operations for each token: two in the forward pass and four in the backward pass.
    """
    per_token = 6.0 * (weights_read(model) + outputs * vocab_size * config.embedding_width)
    return product_rate(config, tokens, dtype, per_token)


# -- torch.nn.Transformer --------------------------------------------------------------------------------


class PlainTransformer(nn.Module):
    """`torch.nn.Transformer` with embeddings, positions and a tied output layer, as a tutorial would have it."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        config = shape.config
        self.embedding = nn.Embedding(shape.vocab_size, config.dim)
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

    def embed(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.embedding(ids) + self.positions.weight[: ids.shape[1]]
        return embedded

    def forward(self, source: Tensor, target: Tensor, labels: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(target.shape[1])
        hidden = self.transformer(self.embed(source), self.embed(target), tgt_mask=mask, tgt_is_causal=True)
        logits = F.linear(hidden, self.embedding.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), label_smoothing=SMOOTHING)


def plain_translation(shape: Shape, dtype: torch.dtype) -> Contestant:
    """Return a plain training loop over `torch.nn.Transformer`."""
    model = PlainTransformer(shape)
    source, target, labels = random_ids(shape, 3)
    loss = autocast(lambda: model(source, target, labels), dtype)
    return Contestant(f"torch {name_of(dtype)}", units_per_second(train_step(model, loss, shape.tokens)))


def random_ids(shape: Shape, count: int) -> Tensor:
    """Return `count` blocks of random token ids, (count, rows, length)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(
        SPECIAL_IDS, shape.vocab_size, (count, shape.rows, shape.length), generator=generator
    )


# -- Hugging Face ----------------------------------------------------------------------------------------


def marian_config(shape: Shape) -> Any:
    """Return the configuration of a Marian model of this shape."""
    from transformers import MarianConfig

    config = shape.config
    return MarianConfig(
        vocab_size=shape.vocab_size,
        d_model=config.dim,
        encoder_layers=config.encoder_layers,
        decoder_layers=config.decoder_layers,
        encoder_attention_heads=config.heads,
        decoder_attention_heads=config.heads,
        encoder_ffn_dim=config.ffn_dim,
        decoder_ffn_dim=config.ffn_dim,
        max_position_embeddings=config.max_positions,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        forced_eos_token_id=None,
        activation_function="relu",
        dropout=config.dropout,
        attention_dropout=0.0,
        use_cache=False,
    )


def hugging_face(
    model: nn.Module,
    inputs: dict[str, Tensor],
    tokens: float,
    dtype: torch.dtype,
    compiled: bool,
    smoothing: bool = False,
) -> Contestant:
    """Return the training of a model of transformers on fixed inputs, which include labels.

    With `smoothing` the loss is that of translation, over logits; otherwise it is the model's own.
    """
    model.train()
    runner = torch.compile(model) if compiled else model

    def loss() -> Tensor:
        if not smoothing:
            own: Tensor = runner(**inputs).loss
            return own
        rest = {name: value for name, value in inputs.items() if name != "labels"}
        logits = runner(**rest).logits.float().flatten(0, 1)
        return F.cross_entropy(logits, inputs["labels"].flatten(), label_smoothing=SMOOTHING)

    name = f"HF {name_of(dtype)}" + (" compiled" if compiled else "")
    return Contestant(name, units_per_second(train_step(model, autocast(loss, dtype), tokens)))


def hugging_face_translations(shape: Shape, dtype: torch.dtype, compiled: bool) -> list[Contestant]:
    """Return Marian of transformers on pairs: in fp32, in bf16 and, if asked for, compiled in `dtype`."""
    from transformers import MarianMTModel

    source, target, labels = random_ids(shape, 3)
    inputs = {"input_ids": source, "decoder_input_ids": target, "labels": labels}
    variants = [(torch.float32, False), (torch.bfloat16, False)]
    if compiled:
        variants.append((dtype, True))
    contestants = []
    for variant_dtype, variant_compiled in variants:
        model = MarianMTModel(marian_config(shape))
        contestants.append(
            hugging_face(model, inputs, shape.tokens, variant_dtype, variant_compiled, smoothing=True)
        )
    return contestants


# -- fairseq ---------------------------------------------------------------------------------------------


def fairseq_translation(shape: Shape, python: str, threads: int) -> Contestant:
    """Return fairseq's Transformer in fp32, which runs under the interpreter `python`, where it is installed.

    The process waits for a line with a number of seconds, works for so long, and answers with its rates.
    """
    config = shape.config
    settings = {
        "dim": config.dim,
        "ffn_dim": config.ffn_dim,
        "heads": config.heads,
        "layers": [config.encoder_layers, config.decoder_layers],
        "vocab_size": shape.vocab_size,
        "rows": shape.rows,
        "length": shape.length,
        "dropout": config.dropout,
        "threads": threads,
    }
    worker = Path(__file__).with_name("fairseq_worker.py")
    process = subprocess.Popen(
        [python, str(worker), json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=worker.parent,
    )

    def turn(seconds: float) -> Value:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
        wall, cpu = map(float, process.stdout.readline().split())
        return Value(wall, cpu)

    def close() -> None:
        process.communicate("")

    return Contestant("fairseq fp32", turn, close)


def with_rows(shape: Shape, tokens: int) -> Shape:
    """Return the shape with as many rows as make about `tokens` targets."""
    return replace(shape, rows=max(1, tokens // shape.length))
