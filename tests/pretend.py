"""A pretended device: its tensors are those of the CPU under another name, and mixing the two is an error, as on a GPU.

    python -m tests.pretend < COMMANDS      a JSON list of command lines of masscli, run one after another on the device

PyTorch lets a backend be written in Python (`PrivateUse1`). The CPU does every operation with the tensors behind those of the device, so a run
must give the same results as without the device, bit for bit. The device has no streams, no inference mode and no random numbers of its own.
What only CUDA has, such as its kernels, its memory and fast fp16, is not tested.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

DEVICE = "pretend"
MIXING = {
    "_to_copy",
    "copy_",
    "_copy_from",
    "index",
    "index_put",
    "index_put_",
    "_index_put_impl_",
    "_local_scalar_dense",
}
"""Operations that may have tensors of both devices: copies, and indices, which CUDA takes from the CPU."""

_stands_for: dict[int, Tensor] = {}
"""The CPU's tensor, by the address of a storage: PyTorch makes other tensors of the same storage as it likes."""
_libraries: list[torch.library.Library] = []


class Stand(torch.Tensor):
    """A class of its own, whose tensors can become parameters."""

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]


def wrap(tensor: Tensor) -> Tensor:
    """Return a tensor of the device that stands for one of the CPU."""
    made: Tensor = torch._C._acc.create_empty_tensor(list(tensor.shape), tensor.dtype)  # type: ignore[attr-defined]
    made.__class__ = Stand
    _stands_for[made.untyped_storage()._cdata] = tensor
    return made


def unwrap(value: Any) -> Any:
    """Return the CPU tensor that a tensor of the device stands for, the CPU for the device, and anything else unchanged."""
    if isinstance(value, Tensor) and value.device.type == DEVICE:
        return _stands_for[value.untyped_storage()._cdata]
    return torch.device("cpu") if isinstance(value, torch.device) else value


def run(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Do an operation on the CPU, and return its results as tensors of the device that it was called on."""
    name = operation._schema.name.removeprefix("aten::")
    flat, shape = tree_flatten((args, kwargs))
    strangers = [
        tuple(x.shape)
        for x in flat
        if isinstance(x, Tensor) and x.device.type == "cpu" and x.dim()
    ]
    if strangers and name not in MIXING:
        raise RuntimeError(
            f"{name}: tensors of the CPU among those of the device: {strangers}"
        )
    own = [unwrap(x) for x in flat]
    if name.startswith(
        "_fused_"
    ):  # which relies on a gradient to be laid out as its parameter is
        own = [x.contiguous() if isinstance(x, Tensor) else x for x in own]
    a, k = tree_unflatten(own, shape)
    shapes = name in ("view", "_unsafe_view") and not isinstance(a[1], torch.dtype)
    found = (
        a[0].reshape(a[1]) if shapes else operation(*a, **k)
    )  # the device takes every tensor to be contiguous
    asked = next((x for x in flat if isinstance(x, torch.device)), None)
    known = {id(b): x for b, x in zip(own, flat, strict=True) if isinstance(b, Tensor)}

    def back(x: Any) -> Any:
        if not isinstance(x, Tensor) or (asked is not None and asked.type == "cpu"):
            return x
        return known[id(x)] if id(x) in known else wrap(x)

    return tree_map(back, found)


def copy(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """Copy a tensor between the devices, in either direction."""
    unwrap(target).copy_(unwrap(source))
    return target


def register() -> None:
    """Make the device known to PyTorch, once for the process."""
    backend_registration._setup_privateuseone_for_python_backend(DEVICE)
    anything, own = (
        torch.library.Library("_", "IMPL"),
        torch.library.Library("aten", "IMPL"),
    )
    anything.fallback(run, "PrivateUse1")
    own.impl(
        "empty.memory_format",
        lambda size, dtype=None, **_: wrap(torch.empty(size, dtype=dtype)),
        "PrivateUse1",
    )
    own.impl(
        "empty_strided",
        lambda size, stride, dtype=None, **_: wrap(
            torch.empty_strided(size, stride, dtype=dtype)
        ),
        "PrivateUse1",
    )
    own.impl("_copy_from", copy, "PrivateUse1")
    for full in (
        torch._C._dispatch_get_all_op_names()
    ):  # those that would look into a tensor without asking the device
        name, _, overload = full.removeprefix("aten::").partition(".")
        has = [torch._C._dispatch_has_kernel_for_dispatch_key(full, key) for key in (
            "CompositeImplicitAutograd", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional")]  # fmt: skip
        if (
            not full.startswith("aten::")
            or full in ("aten::empty.memory_format", "aten::empty_strided")
            or has[0]
            or not any(has)
        ):
            continue
        own.impl(
            full.removeprefix("aten::"),
            _through(getattr(getattr(torch.ops.aten, name), overload or "default")),
            "PrivateUse1",
        )
    _libraries.extend((anything, own))


def _through(operation: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: run(operation, *args, **kwargs)


def _of_the_device(tensor: Tensor) -> Tensor:
    """Refuse CPU tensors in the communication of processes, as NCCL does."""
    if tensor.device.type != DEVICE:
        raise RuntimeError(f"a collective on the CPU: {tuple(tensor.shape)}")
    return tensor


class Generator:
    """Makes a generator of the CPU, whichever device is asked for."""

    def __new__(cls, device: Any = "cpu", made: Any = torch.Generator) -> Any:
        return made("cpu")


def main() -> int:
    """Run the commands until one fails."""
    commands = json.load(sys.stdin)
    register()
    from masscli.core import distributed
    from masscli.training import precision

    distributed.all_reduce_sum, distributed.broadcast = _of_the_device, _of_the_device
    precision.choose_device = lambda name, local_rank=0: torch.device(DEVICE, 0)
    torch.inference_mode = torch.no_grad  # type: ignore[misc, assignment]
    torch.Generator = Generator  # type: ignore[misc, assignment]
    from masscli.__main__ import run as masscli

    return next((code for command in commands if (code := masscli(command))), 0)


if __name__ == "__main__":
    sys.exit(main())
