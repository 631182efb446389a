"""Replaces the linear layers of a model by faster ones, which can neither be trained nor saved."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from masscli.models.linear import Linear
from masscli.models.transformer import Transformer


def replace_linear_layers(
    model: Transformer, make_linear: Callable[[Tensor, Tensor | None], nn.Module]
) -> Transformer:
    """Replace all linear layers of a model, in place, by what `make_linear` makes of them; return the model.

    `make_linear` is called with the weight (out, in) and the bias (out,), or None, of each layer, and returns
    a module that maps (..., in) to (..., out). Output layers are replaced, too, but where the token
    embeddings are their weights, these are still read as they are.
    """
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Linear):
                new_layer = make_linear(child.weight.detach(), child.bias.detach())
                setattr(module, name, new_layer)
    for owner in model.token_embeddings:
        weight, bias = model.output_weight(owner)
        if bias is not None:
            bias = bias.detach()
        model.output_layers[owner] = make_linear(weight.detach(), bias)
    model.make_linear = make_linear
    return model
