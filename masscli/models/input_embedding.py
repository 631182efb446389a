"""The input of a stack: token embeddings plus positions, languages and segments.

Shapes: B rows, L tokens, E embedding width, V vocabulary size.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masscli.data.batches.batch import Tokens
from masscli.models.config import ModelConfig
from masscli.models.dropout import dropout
from masscli.models.linear import LayerNorm


class InputEmbedding(nn.Module):
    """Embeds tokens for one stack: the sum of token, position, language and segment embeddings.

    `config` has the values of that stack, and `languages` is the number of languages that have a vector (0
    for none). The table of token embeddings is an argument of `forward`, since several stacks may share it.
    """

    def __init__(self, config: ModelConfig, languages: int) -> None:
        super().__init__()
        dim = config.embedding_width
        # Token embeddings are small, since they are output weights too (Vaswani et al. 2017, section 3.4).
        self.scale = math.sqrt(dim) if config.scale_embedding else 1.0
        self.dropout = config.dropout
        self.position_offset = config.position_offset
        rows = config.position_offset + config.max_positions
        self.has_positions = config.positions != "none"
        self.positions: nn.Embedding | None = None
        if config.positions == "learned":
            self.positions = _empty_embedding(rows, dim)
        elif config.positions == "sinusoidal":
            # Sinusoids follow from the configuration, so checkpoints do not hold them.
            self.register_buffer(
                "sinusoids", sinusoids(rows, dim, config.sinusoids), persistent=False
            )
        self.languages = _empty_embedding(languages, dim) if languages else None
        self.segments = (
            _empty_embedding(config.segments, dim) if config.segments else None
        )
        self.norm = LayerNorm(dim, config.norm_eps) if config.norm_embedding else None

    def forward(
        self, tokens: Tokens, token_embedding: Tensor, offset: int, dtype: torch.dtype
    ) -> Tensor:
        """Return the embeddings (B, L, E) of `tokens` in `dtype`, after layer norm (if any) and dropout.

        `token_embedding` is the table (V, E) of token embeddings. Positions are those of `tokens.positions`,
        or else count up from `offset` in each row.
        """
        # The sum is fp32, that of the weights; only the result is cast to the compute dtype.
        x = F.embedding(tokens.ids, token_embedding)
        if self.scale != 1.0:
            x = x * self.scale
        if self.has_positions:
            x = x + self._positions(tokens, offset)
        if self.languages is not None and tokens.language is not None:
            language = tokens.language
            # There is one language for each row, or for each token if a row contains two languages.
            if language.dim() == 1:
                language = language[:, None]
            x = x + self.languages(language)
        if self.segments is not None:
            # Without segment ids everything is segment 0, as it is in a model with one segment (RoBERTa).
            if tokens.segments is None or len(self.segments.weight) == 1:
                x = x + self.segments.weight[0]
            else:
                x = x + self.segments(tokens.segments)
        x = x.to(dtype)
        if self.norm is not None:
            x = self.norm(x)
        return dropout(x, self.dropout, self.training)

    def _positions(self, tokens: Tokens, offset: int) -> Tensor:
        """Return the vectors (B, L, E) of `tokens.positions`.

        If these are None, return the vectors (L, E) of positions `offset`, `offset` + 1, ... for all rows.
        """
        if self.positions is not None:
            weight: Tensor = self.positions.weight
        else:
            weight = self.get_buffer("sinusoids")
        # Positions are given if they are not 0, 1, ...: fragments of MASS, copies of UniLMv2, prompts.
        if tokens.positions is not None:
            return F.embedding(tokens.positions + self.position_offset, weight)
        first = self.position_offset + offset
        return weight[first : first + tokens.ids.shape[1]]


def sinusoids(positions: int, dim: int, layout: str = "tensor2tensor") -> Tensor:
    """Return sinusoidal vectors (positions, dim) in fp32 for the positions 0, 1, ... on the CPU.

    Wavelengths are from 2 pi to about 20,000 pi; `layout` is a value of `ModelConfig.sinusoids`. numpy
    computes the values, so that they exist even where torch's default device is `meta`.
    """
    numbers = np.arange(positions)[:, None]
    if layout == "tensor2tensor":
        half = dim // 2
        # A width of 2 or 3 has one wave, and no ratio between waves to compute.
        rates = np.exp(np.arange(half) * (-math.log(10_000) / max(1, half - 1)))
        # tensor2tensor pads an odd width with a column of zeros.
        odd_column = np.zeros((positions, dim - 2 * half))
        waves = np.concatenate(
            [np.sin(numbers * rates), np.cos(numbers * rates), odd_column], 1
        )
    else:
        # Vaswani et al. 2017, section 3.5: columns 2i and 2i + 1 are sine and cosine of one frequency.
        rates = np.exp(np.arange(0, dim, 2) * (-math.log(10_000) / dim))
        waves = np.zeros((positions, dim))
        waves[:, 0::2] = np.sin(numbers * rates)
        waves[:, 1::2] = np.cos(numbers * rates[: dim // 2])
        if layout == "marian":
            waves = np.concatenate([waves[:, 0::2], waves[:, 1::2]], 1)
    return torch.from_numpy(waves.astype(np.float32))


def _empty_embedding(rows: int, dim: int) -> nn.Embedding:
    """Return an embedding layer (rows, dim) with weights that are not initialized, but to be filled later."""
    return nn.Embedding(rows, dim, _weight=torch.empty(rows, dim))
