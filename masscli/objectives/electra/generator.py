"""ELECTRA's generator: a narrow masked language model as deep as the model, whose samples the model is to detect (Clark et al. 2020).

What it shares with the model is `ties` (section 3.2 of the paper, spec: objectives.md 4.4): the embeddings; everything but its output
layer, where it is as wide; or nothing.  What it does not share belongs to the objective and is left behind when the model is fine-tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import functional as F

from masscli.data.batches.batch import Tokens
from masscli.models.config import ModelConfig
from masscli.models.initial_weights import truncated_normal
from masscli.models.input_embedding import InputEmbedding
from masscli.models.linear import Linear
from masscli.models.lm_head import HeadTransform
from masscli.models.loss import linear_cross_entropy
from masscli.models.masks import self_attention_mask
from masscli.models.stack import Stack
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Term


def generator_config(model: ModelConfig, size: float) -> ModelConfig:
    """The generator's layers: those of the model, or narrower, four times as wide inside, with a head for every 64."""
    if size == 1:
        return replace(model, share_layers="none")
    dim = max(1, round(model.dim * size))
    heads = max(1, dim // 64)
    dim -= dim % heads
    return replace(model, dim=dim, ffn_dim=4 * dim, heads=heads, share_layers="none")


class Generator(nn.Module):
    """Reads a text with or without the model's help, and predicts its tokens.

    `width` is that of its states; `languages` are the vectors of languages among its own embeddings, where it has some.
    """

    def __init__(
        self, model: ModelConfig, size: float, vocab: int, ties: str = "embeddings", languages: int = 0
    ) -> None:
        super().__init__()
        config, embedded = (
            generator_config(model, size) if ties != "all" else model,
            model.embedding_dim or model.dim,
        )
        self.width = config.dim
        self.table = nn.Parameter(torch.empty(vocab, embedded)) if ties == "none" else None
        self.embedding = InputEmbedding(model, languages) if ties == "none" else None
        self.project = Linear(embedded, config.dim) if embedded != config.dim and ties != "all" else None
        self.stack = Stack(config, config.encoder_layers, False, ()) if ties != "all" else None
        self.output = Output(config, embedded, vocab)
        begin(self)
        if self.project is not None:
            nn.init.xavier_uniform_(self.project.weight)
        if self.table is not None:
            truncated_normal(self.table, 0, 0.02)

    def forward(self, model: Transformer, source: Tokens) -> Tensor:
        """States (B * L, G)."""
        if self.stack is None:
            return model.encode(source).hidden.flatten(0, 1)
        x = (
            model.embed(source, "encoder")
            if self.embedding is None
            else self.embedding(source, self.table, 0, model.compute_dtype)
        )
        out: Tensor = self.stack(
            self.project(x) if self.project is not None else x, self_attention_mask(source)
        )
        return out.flatten(0, 1)

    def words(self, model: Transformer) -> Tensor:
        """The token table (V, E) that it reads and writes with."""
        return model.token_embedding("encoder") if self.table is None else self.table

    def hand_over(self, model: Transformer) -> None:
        """Begin a model with the weights that it has a place for; the generator's own stay."""
        places = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in self.fitting(model).items():
                place: Tensor = places[name]
                if isinstance(
                    place, DTensor
                ):  # the model is shared out over processes, and each of them has the whole generator
                    value = distribute_tensor(value, place.device_mesh, place.placements, src_data_rank=None)
                place.copy_(value)

    def fitting(self, model: Transformer) -> Mapping[str, Tensor]:
        """By names of the model, what of the generator has the same place and shape in it."""
        table = "encoder" if "encoder" in model.token_embeddings else "shared"
        names = {"embedding": "embeddings.encoder"}
        if self.width == model.config.dim:
            names |= {"project": "embedding_projections.encoder", "stack": "encoder"}
        own = {} if self.table is None else {f"token_embeddings.{table}": self.table}
        for name, p in self.named_parameters():
            part, _, rest = name.partition(".")
            if part in names:
                own[f"{names[part]}.{rest}"] = p
        places = dict(model.named_parameters())
        return {name: p for name, p in own.items() if name in places and places[name].shape == p.shape}


class Output(nn.Module):
    """The output layer of a network of width D over a table of width E."""

    def __init__(self, config: ModelConfig, width: int, vocab: int) -> None:
        super().__init__()
        self.transform = HeadTransform(config, config.dim, width)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def logits(self, hidden: Tensor, table: Tensor) -> Tensor:
        """(N, D) -> (N, V) in fp32."""
        x = self.transform(hidden)
        return F.linear(x, table.to(x.dtype), self.bias.to(x.dtype)).float()

    def loss(self, hidden: Tensor, table: Tensor, labels: Tensor) -> Term:
        """Summed cross-entropy."""
        return Term(*linear_cross_entropy(self.transform(hidden), table, self.bias, labels))


def begin(module: nn.Module) -> None:
    """N(0, 0.02) cut off at two standard deviations, zero biases."""
    for part in module.modules():
        if isinstance(part, Linear | nn.Embedding):
            truncated_normal(part.weight, 0, 0.02)
        if isinstance(part, Linear):
            nn.init.zeros_(part.bias)
