"""ELECTRA's generator: a narrow masked language model (Clark et al. 2020, section 3.2).

The model (the discriminator) learns to detect the tokens that the generator samples.

`ties` says what the generator shares with the model: the embeddings; everything but its output layer,
if it is as wide; or nothing. What it does not share belongs to the objective, and is discarded when the
model is fine-tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.core.distributed import is_sharded
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

HEAD_DIM = 64
"""Width of an attention head of a generator that is not as wide as the model."""


def generator_config(model: ModelConfig, size: float) -> ModelConfig:
    """Return the configuration of a generator with as many layers as the model, each `size` times as wide.

    The width is rounded. The feed-forward network is four times as wide as the layer, and there is an
    attention head for every 64 dimensions, at least one. At size 1 the configuration is that of the model,
    except that layers never share their weights.
    """
    if size == 1:
        return replace(model, share_layers="none")
    dim = max(1, round(model.dim * size))
    heads = max(1, dim // HEAD_DIM)
    # Heads must divide the width.
    dim -= dim % heads
    return replace(model, dim=dim, ffn_dim=4 * dim, heads=heads, share_layers="none")


class Generator(nn.Module):
    """A masked language model that may share parameters with the model, the discriminator.

    `size` is the generator's width relative to that of the model. `ties` says what the two share:
    `embeddings`, `all` (everything but the output layer) or `none`. `languages` is the number of language
    embeddings, for a generator with its own embeddings. The attribute `width` is the dimension of the
    generator's states.
    """

    def __init__(
        self,
        model: ModelConfig,
        size: float,
        vocab_size: int,
        ties: str = "embeddings",
        languages: int = 0,
    ) -> None:
        super().__init__()
        config = model if ties == "all" else generator_config(model, size)
        embedding_dim = model.embedding_dim or model.dim
        self.width = config.dim
        self.table: nn.Parameter | None = None
        self.embedding: InputEmbedding | None = None
        self.project: Linear | None = None
        self.stack: Stack | None = None
        if ties == "none":
            self.table = nn.Parameter(torch.empty(vocab_size, embedding_dim))
            self.embedding = InputEmbedding(model, languages)
        # A generator that shares everything reads the states of the model's own encoder.
        if ties != "all":
            if embedding_dim != config.dim:
                self.project = Linear(embedding_dim, config.dim)
            final_norm = config.has_final_norm("encoder")
            self.stack = Stack(config, config.encoder_layers, False, (), final_norm)
        self.output = TokenPredictor(config, embedding_dim, vocab_size)
        initialize_weights(self)
        # The released code initializes this projection with TensorFlow's default.
        if self.project is not None:
            nn.init.xavier_uniform_(self.project.weight)
        if self.table is not None:
            truncated_normal(self.table, 0, 0.02)

    def forward(self, model: Transformer, source: Tokens) -> Tensor:
        """Return the generator's hidden states (B * L, G) of a masked source; G is the generator's width."""
        # With --generator-ties all, the generator is the model with an output layer of its own.
        if self.stack is None:
            return model.encode(source).hidden.flatten(0, 1)
        if self.embedding is None:
            embedded = model.embed(source, "encoder")
        else:
            embedded = self.embedding(source, self.table, 0, model.compute_dtype)
        if self.project is not None:
            embedded = self.project(embedded)
        states: Tensor = self.stack(embedded, self_attention_mask(source))
        return states.flatten(0, 1)

    def token_embedding(self, model: Transformer) -> Tensor:
        """Return the token embedding (V, E) of the generator's inputs and outputs, its own or the model's."""
        if self.table is None:
            return model.token_embedding("encoder")
        return self.table

    def copy_to(self, model: Transformer) -> None:
        """Copy the generator's weights to those weights of a model that have the same role and shape."""
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name, value in self.matching_weights(model).items():
                parameter: Tensor = parameters[name]
                if is_sharded(parameter):
                    from torch.distributed.tensor import distribute_tensor

                    # The model is sharded over the processes, while each of them has the whole generator.
                    value = distribute_tensor(
                        value,
                        parameter.device_mesh,
                        parameter.placements,
                        src_data_rank=None,
                    )
                parameter.copy_(value)

    def matching_weights(self, model: Transformer) -> Mapping[str, Tensor]:
        """Return the weights of the generator that can be copied to a model, by their names in the model.

        A weight can be copied if the model has one with the same role and shape.
        """
        module_names = {"embedding": "embeddings.encoder"}
        if self.width == model.config.dim:
            # Layers fit only into a model of the same width.
            module_names |= {
                "project": "embedding_projections.encoder",
                "stack": "encoder",
            }
        weights: dict[str, Tensor] = {}
        if self.table is not None:
            # Tied embeddings belong to both stacks, under the name `shared`.
            stack = "encoder" if "encoder" in model.token_embeddings else "shared"
            weights[f"token_embeddings.{stack}"] = self.table
        for name, weight in self.named_parameters():
            module, _, rest = name.partition(".")
            if module in module_names:
                weights[f"{module_names[module]}.{rest}"] = weight
        # A generator of another width has layers of other shapes.
        shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
        return {
            name: weight
            for name, weight in weights.items()
            if shapes.get(name) == weight.shape
        }


class TokenPredictor(nn.Module):
    """An output layer that predicts tokens from states (N, D).

    Its output weights, a token embedding (V, E), are passed to each call, since it may be shared.
    """

    def __init__(
        self, config: ModelConfig, embedding_dim: int, vocab_size: int
    ) -> None:
        super().__init__()
        self.transform = HeadTransform(config, config.dim, embedding_dim)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def logits(self, states: Tensor, embedding: Tensor) -> Tensor:
        """Return logits (N, V) in fp32 for states (N, D); `embedding` (V, E) are the output weights."""
        x = self.transform(states)
        # Sampling needs the logits in fp32.
        return F.linear(x, embedding.to(x.dtype), self.bias.to(x.dtype)).float()

    def loss(self, states: Tensor, embedding: Tensor, label_ids: Tensor) -> Term:
        """Return the cross-entropy of the tokens that are predicted from `states` (N, D), summed.

        `label_ids` (N,) are the correct ids. The token embeddings `embedding` are the output weights.
        """
        return Term(
            *linear_cross_entropy(
                self.transform(states), embedding, self.bias, label_ids
            )
        )


def initialize_weights(module: nn.Module) -> None:
    """Initialize all linear layers and embeddings of a module in place, as the released code does.

    Weights come from a normal distribution with standard deviation 0.02, truncated at two standard
    deviations. The biases of linear layers are zero.
    """
    # Modules are initialized in order, on which the result of a seed depends.
    for part in module.modules():
        if isinstance(part, Linear | nn.Embedding):
            truncated_normal(part.weight, 0, 0.02)
        if isinstance(part, Linear):
            nn.init.zeros_(part.bias)
