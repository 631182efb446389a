"""Checks of every tensor that another program has written: its name and its numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

import torch
from torch import Tensor

from masscli.core.errors import MasscliError

T = TypeVar("T")

_WRAPPERS = re.compile(r"\b_(orig_mod|fsdp_wrapped_module|checkpoint_wrapped_module)\.")
"""Name parts that PyTorch's wrappers for compilation, sharding and recomputation add. A whole model or
parts of it may be wrapped, so they may be anywhere in the name of a tensor."""


def to_float32(name: str, tensor: Tensor, path: str) -> Tensor:
    """Return a published tensor in float32.

    Raises MasscliError, which names `path`, if its dtype is not floating-point, or if a number is not finite.
    """
    if not tensor.is_floating_point():
        raise MasscliError(
            f"{path}: {name} holds {tensor.dtype}, not floating-point numbers",
            "a quantized model cannot be imported: take it in full or half precision",
        )
    converted = tensor.float()
    if not bool(torch.isfinite(converted).all()):
        raise MasscliError(
            f"{path}: {name} holds numbers that are not finite", "is the file damaged?"
        )
    return converted


def without_wrapper(tensors: Mapping[str, T], path: str) -> dict[str, T]:
    """Return tensors by name without the names of PyTorch's wrappers.

    Models that were trained on several GPUs (`module.`), compiled (`_orig_mod.`) or sharded keep them.
    Raises MasscliError, which names `path`, if two tensors would have the same name.
    """
    plain: dict[str, T] = {}
    for name, tensor in tensors.items():
        # Data-parallel training wraps the whole model, before or after it is compiled.
        plain_name = _WRAPPERS.sub("", str(name)).removeprefix("module.")
        add_unique(plain, plain_name, tensor, path)
    return plain


def add_unique(tensors: dict[str, T], name: str, tensor: T, path: str) -> None:
    """Add a tensor to `tensors` under `name`, from which the caller has removed old spellings and wrappers.

    Raises MasscliError, which names `path`, if the name is taken: if a file has a tensor under an old
    and a new name, it is unclear which one is valid.
    """
    if name in tensors:
        raise MasscliError(
            f"{path}: has {name} twice, perhaps under an older and a newer name",
            "is the file damaged?",
        )
    tensors[name] = tensor
