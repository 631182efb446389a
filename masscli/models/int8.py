"""Linear layers with 8-bit weights, for fast generation on a CPU.

Weights are rounded to multiples of the largest weight of their output over 127, and inputs, row by row,
to multiples of the row's largest value over 127 (over 63 on processors without VNNI instructions).
Products of 8-bit numbers are summed exactly, in 32 bits, so that a row gives the same result in every
batch. (PyTorch's own dynamic quantization takes one scale for all rows of a batch, which would make a
translation depend on the other sentences in the batch.)

Only products are done in 8 bits. Embeddings, attention, layer norms and sums stay in fp32.
"""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from masscli.core.errors import MasscliError
from masscli.models.inference_layers import replace_layers
from masscli.models.transformer import Transformer

if TYPE_CHECKING:
    Packed = Any
else:
    Packed = torch.classes.quantized.LinearPackedParamsBase
    """The type of 8-bit weights in the layout of their kernel, by which TorchScript knows them."""

ENGINE = "fbgemm"
"""Name of PyTorch's 8-bit kernels for x86 processors, the fastest ones for the few rows of a decoding
step."""
MAX_WEIGHT = 127
"""The largest absolute value of an 8-bit weight."""
ZERO_POINT = 128
"""Inputs are stored as unsigned 8-bit numbers, of which this one means zero."""
SMALLEST_SCALE = 1e-12
"""Lower bound of the largest absolute value of a row of weights, so that none is divided by zero."""


class Int8Linear(nn.Module):
    """A linear layer that reads and returns fp32, but multiplies weights and inputs rounded to 8 bits.

    `weight` (out, in) and `bias` (out,), or None, are those of the fp32 layer that it replaces; both are
    copied.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scales = weight.abs().amax(1).clamp_(min=SMALLEST_SCALE) / MAX_WEIGHT
        zero_points = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            # PyTorch 2.13 warns that other ways of making quantized tensors will replace this one.
            warnings.filterwarnings("ignore", "torch.quantize_per_tensor", UserWarning)
            quantized = torch.quantize_per_channel(
                weight.float(), scales, zero_points, 0, torch.qint8
            )
        torch.backends.quantized.engine = ENGINE
        # The bias is added afterwards, since the products are still to be scaled row by row.
        self.packed: Any = torch.ops.quantized.linear_prepack(quantized, None)
        self.bias = None if bias is None else bias.clone()
        self.step = 1 / input_steps()
        self.product = fast_product()

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., in) to (..., out), both in fp32."""
        return self.product(x, self.packed, self.bias, self.step, ZERO_POINT)

    __call__ = forward


def product(
    x: Tensor, packed: Packed, bias: Tensor | None, step: float, zero_point: int
) -> Tensor:
    """Multiply x (..., in) and packed 8-bit weights (out, in), and add the bias (out,), if any: (..., out).

    Each row of x is divided by its largest absolute value, rounded to multiples of `step`, and stored as
    unsigned 8-bit numbers, of which `zero_point` means zero.
    """
    # Each result overwrites one that is no longer needed and is still in the processor's cache.
    shares = x.abs()
    largest = shares.amax(-1, keepdim=True)
    # A row of zeros becomes NaN here, which the kernel rounds to an arbitrary 8-bit number; its product
    # is then multiplied by the largest value, 0.
    torch.div(x, largest, out=shares)
    scaled: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
        shares, step, zero_point, packed
    )
    if bias is None:
        return scaled.mul_(largest)
    return torch.addcmul(bias, scaled, largest, out=scaled)


@functools.cache
def fast_product() -> Callable[..., Tensor]:
    """Return `product`, compiled by TorchScript if that is available, with bit for bit the same results.

    Passing packed weights from Python to their kernel takes as long as multiplying a few rows by them;
    compiled code avoids this overhead.
    """
    # PyTorch does not support TorchScript in newer versions of Python.
    if sys.version_info >= (3, 14):
        return product
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.script", DeprecationWarning)
        compiled: Callable[..., Tensor] = torch.jit.script(product)
    return compiled


def input_steps() -> int:
    """Return the whole number that stands for the largest absolute input of a row: 127, or 63 without VNNI.

    Processors without VNNI instructions add two products in 16 bits, which would overflow with larger inputs.
    """
    has_vnni = torch.cpu._is_vnni_supported()
    return 127 if has_vnni else 63


def check_int8(device: torch.device) -> None:
    """Raise MasscliError unless the device is a CPU, and this build of PyTorch has 8-bit kernels for it."""
    if device.type != "cpu":
        raise MasscliError(
            f"--precision int8: is for CPUs, not for {device}",
            "use --precision fp16 or bf16",
        )
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise MasscliError(
            "--precision int8: this build of PyTorch has no 8-bit kernels for this processor",
            "use --precision fp32, or --backend ctranslate2",
        )


def to_int8(model: Transformer) -> Transformer:
    """Replace all linear layers of an fp32 model on a CPU by 8-bit ones, in place, and return the model.

    The output layers are replaced, too. The model can then only generate, not be trained or saved.
    """
    return replace_layers(model, Int8Linear)
