"""PyTorch's optimizers without importing its compiler, which would delay the start of a run by a second.

The methods of `torch.optim` are wrapped so that `torch.compile` leaves them alone, and the wrappers import
the compiler when they are first called. Optimizers are never compiled here, so the classes below call the
methods within the wrappers. The results are the same, and PyTorch's own classes are not changed.
"""

from __future__ import annotations

import inspect

import torch


class EagerOptimizer(torch.optim.Optimizer):
    """A base class of optimizers whose construction does not import the compiler."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.Optimizer.zero_grad)


# The wrapper of `step` also turns gradients off, which is done here instead.
class Adam(EagerOptimizer, torch.optim.Adam):
    """`torch.optim.Adam` with the same results, but without importing PyTorch's compiler."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class AdamW(EagerOptimizer, torch.optim.AdamW):
    """`torch.optim.AdamW` with the same results, but without importing PyTorch's compiler."""

    step = torch.no_grad()(inspect.unwrap(torch.optim.AdamW.step))
