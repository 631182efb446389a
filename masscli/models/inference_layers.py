"""Replace the layers of a model by faster ones for inference, which can neither be trained nor saved.

A search makes many small steps, in which Python overhead takes as long as the matrix products.
Inference layers therefore keep their weights as plain attributes instead of parameters and buffers, and
calling them calls `forward` without the hooks of `nn.Module`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from masscli.models.linear import LayerNorm, Linear
from masscli.models.transformer import Transformer


class InferenceNorm(nn.Module):
    """A layer norm with copies of the weights (D,) of `norm`, for inputs (..., D) of their dtype."""

    def __init__(self, norm: LayerNorm) -> None:
        super().__init__()
        # Copies do not depend on the file that the weights may be mapped from.
        self.weight = norm.weight.detach().clone()
        self.bias = norm.bias.detach().clone()
        self.shape = list(norm.normalized_shape)
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Return x (..., D) normalized over its last dimension, in its own dtype."""
        return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)

    __call__ = forward


MakeLinear = Callable[[Tensor, Tensor | None], nn.Module | None]
"""The type of a function that makes a linear layer for inference of a weight (out, in) and a bias (out,), or
None for no bias. The layer maps (..., in) to (..., out). The result is None if the existing layer
should be kept."""


def replace_layers(model: Transformer, make_linear: MakeLinear) -> Transformer:
    """Replace the linear layers and layer norms of a model, in place, and return the model.

    `make_linear` makes the new linear layers. Output layers are replaced, too; token embeddings that
    are tied to them are still used for the input.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            new_child = _for_inference(child, make_linear)
            if new_child is not None:
                setattr(module, name, new_child)
    for owner in model.token_embeddings:
        weight, bias = model.output_weight(owner)
        if bias is not None:
            bias = bias.detach()
        output_layer = make_linear(weight.detach(), bias)
        if output_layer is not None:
            model.output_layers[owner] = output_layer
    model.make_linear = make_linear
    return model


def _for_inference(layer: nn.Module, make_linear: MakeLinear) -> nn.Module | None:
    """Return the replacement of a layer, or None if the layer is to be kept."""
    if isinstance(layer, LayerNorm):
        return InferenceNorm(layer)
    if isinstance(layer, Linear):
        return make_linear(layer.weight.detach(), layer.bias.detach())
    return None
