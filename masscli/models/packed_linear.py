"""Linear layers with packed weights, for inference on a CPU.

A kernel for matrix products first converts its weights to an internal layout. A search multiplies a few
rows by the same weights at every step, so doing this once instead of in each product saves up to half
of the time. The kernels are those of oneDNN. As with plain products, the last bit of a result may
depend on how many rows there are.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from masscli.models.inference_layers import replace_layers
from masscli.models.transformer import Transformer

SMALLEST_FP32 = 256 * 256
"""Minimum number of elements of an fp32 weight that is packed. With smaller ones, the gain does not
make up for the additional 12 microseconds of start-up time of a product with packed weights."""


class PackedLinear(nn.Module):
    """A linear layer with packed weights.

    `weight` (out, in), which must be one for which packing pays, and `bias` (out,), or None, are those of the
    layer that it replaces; both are copied. Inputs must have their dtype.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.bias = None if bias is None else bias.clone()

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out), in the dtype of x, which must be that of the weight."""
        # The last three arguments name a function to be applied to the result: none.
        product: Tensor = torch.ops.mkldnn._linear_pointwise(
            x, self.packed, self.bias, "none", [], ""
        )
        return product

    __call__ = forward


def packed_linear(weight: Tensor, bias: Tensor | None) -> PackedLinear | None:
    """Return a linear layer with this weight (out, in), packed, and this bias (out,), or None for none.

    The result is None if packing does not pay.
    """
    if not packing_pays(weight):
        return None
    return PackedLinear(weight, bias)


def packing_pays(weight: Tensor) -> bool:
    """Return whether products with this weight (out, in), on this processor, are faster if it is packed.

    This was measured for one to 960 rows on a Zen 4, with all its instructions and with only AVX2;
    processors without AVX2 keep plain products.
    """
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (has_onednn and torch.cpu._is_avx2_supported()):
        return False
    if weight.dtype == torch.bfloat16:
        supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return supported
    return weight.dtype == torch.float32 and weight.numel() >= SMALLEST_FP32


def pack_weights(model: Transformer) -> Transformer:
    """Pack the weights of the linear layers of a model in place, if it is on a CPU; return the model.

    The model then computes the same as before up to rounding, but can neither be trained nor saved. On a GPU
    it stays as it is, and so do layers for which packing does not pay.
    """
    if next(model.parameters()).device.type != "cpu":
        return model
    return replace_layers(model, packed_linear)
