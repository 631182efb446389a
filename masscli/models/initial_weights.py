"""Random initial weights of a model, as in the code bases whose methods masscli reproduces.

The kinds are those of `ModelConfig.init`; D is the width of the model:

- fairseq: xavier-uniform matrices, those of queries, keys and values with the bound of the fused (3D, D)
  matrix; zero biases; embeddings from N(0, D^-1/2).
- xlm: PyTorch's own matrices and biases; embeddings from N(0, D^-1/2).
- bert: everything from N(0, 0.02); zero biases.
- truncated: the same, cut off at two standard deviations, as in the released BERT and ALBERT.
- electra: the same, except for the projection of the embeddings, which is xavier-uniform, TensorFlow's
  default.
"""

from __future__ import annotations

from torch import Tensor, nn

from masscli.models.attention import CrossAttention
from masscli.models.linear import Linear

BERT_STD = 0.02
"""Standard deviation of the kinds bert, truncated and electra."""


def draw_module_weights(model: nn.Module, kind: str, dim: int) -> None:
    """Draw new weights and biases in place for the linear layers, layer norms and embeddings of a model.

    `kind` is a value of `ModelConfig.init`, and `dim` the width of the model. Parameters that belong to no
    such layer stay as they are.
    """
    # Random numbers are consumed in the order of modules(), so the result of a seed depends on that
    # order.
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            draw_embedding(module.weight, kind, dim)
        elif isinstance(module, nn.LayerNorm) or (
            isinstance(module, Linear) and kind == "xlm"
        ):
            module.reset_parameters()
        elif isinstance(module, Linear):
            # Self-attention keeps queries, keys and values in one matrix, so its bound is that of the fused
            # matrix.
            if kind == "fairseq":
                nn.init.xavier_uniform_(module.weight)
            else:
                _draw_normal(module.weight, kind, BERT_STD)
            nn.init.zeros_(module.bias)
    # fairseq fuses the projections of cross-attention too, which are two matrices here.
    if kind == "fairseq":
        _draw_cross_attention(model, dim)


def draw_embedding(weight: Tensor, kind: str, dim: int) -> None:
    """Fill the vectors (V, E) of an embedding, in place, from a normal distribution.

    `kind` is a value of `ModelConfig.init`: the standard deviation is 0.02 for bert, truncated and electra,
    else dim^-1/2, where `dim` is the width of the model.
    """
    # fairseq and XLM scale by the width of the model, even if embeddings are narrower.
    std = dim**-0.5
    if kind in ("bert", "truncated", "electra"):
        std = BERT_STD
    _draw_normal(weight, kind, std)


def truncated_normal(weight: Tensor, mean: float, std: float) -> Tensor:
    """Fill `weight` in place from N(mean, std), cut off at two deviations as in TensorFlow; return it."""
    return nn.init.trunc_normal_(weight, mean, std, mean - 2 * std, mean + 2 * std)


def _draw_normal(weight: Tensor, kind: str, std: float) -> None:
    """Fill `weight` in place from N(0, std), cut off at two deviations if `kind` is truncated or electra."""
    if kind in ("truncated", "electra"):
        truncated_normal(weight, 0, std)
    else:
        nn.init.normal_(weight, 0, std)


def _draw_cross_attention(model: nn.Module, dim: int) -> None:
    """Draw new query, key and value matrices for all cross-attention layers, in place.

    They are uniform up to sqrt(6 / 4D), the Xavier bound of a fused (3D, D) matrix, where D is `dim`.
    """
    # Xavier's bound is sqrt(6 / (fan_in + fan_out)), with D + 3D here.
    bound = (1.5 / dim) ** 0.5
    for module in model.modules():
        if isinstance(module, CrossAttention):
            nn.init.uniform_(module.q.weight, -bound, bound)
            nn.init.uniform_(module.kv.weight, -bound, bound)
