"""Shard a model over processes: parameters, gradients and optimizer state (FSDP2, `fully_shard`).

This is for models that do not fit on one device. Every layer is a group of its own: it is gathered for its
forward and its backward pass, and freed afterwards. What is outside of layers stays gathered from a forward
pass to its backward pass. All-gather is collective, so every process must run the same layers in the same
order, and the same number of micro-batches; `check_can_shard` refuses runs that would not. Gradients are
summed, as the training loop expects, and never averaged.

Heads that belong to an objective are small and are not sharded; the training loop sums their gradients
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from masscli.core import distributed
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, Term
from masscli.training.recipe import Recipe


class TrainStep(nn.Module):
    """A forward pass: an objective on a batch, with the model.

    This module is what is sharded, so an objective may call any part of the model.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch) -> dict[str, Term]:
        """Return the summed losses by term."""
        found: dict[str, Term] = objective(self.model, batch)
        return found


def check_can_shard(recipe: Recipe, update_freq: int) -> None:
    """Raise MasscliError if a run cannot be trained with a sharded model."""
    if update_freq % distributed.world_size:
        raise MasscliError(
            f"--shard-model: {update_freq} micro-batches of an update do not divide among {distributed.world_size} processes",
            "run it with a number of processes that divides --update-freq",
        )
    if recipe.train.compile:
        raise MasscliError("--shard-model: does not go with --compile", "leave one of them out")
    (first, one), *others = recipe.stream.items()
    for name, other in others:
        if one.objective != other.objective and (
            not one.objective.parameter_group
            or one.objective.parameter_group != other.objective.parameter_group
        ):
            raise MasscliError(
                f"--shard-model: streams {first} and {name} use different parts of the model, and processes must use the same",
                "leave --shard-model out, or train them one after the other",
            )
    if recipe.model.cross_output == "language":
        raise MasscliError(
            "--shard-model: does not go with projections by language", "leave out --cross-output language"
        )


def shard_model(through: TrainStep, device: torch.device) -> None:
    """Replace every parameter by the shard of this process, on its device.

    This must be done before the optimizer is made.
    """
    mesh = init_device_mesh(device.type, (distributed.world_size,))
    for stack in (through.model.encoder, through.model.decoder):
        # Layers that share weights run in halves of one another, and are few: they stay with the rest.
        for layer in stack.layers if stack is not None and stack.share == "none" else ():
            fully_shard(layer, mesh=mesh)
    fully_shard(through, mesh=mesh, reshard_after_forward=False)
    for group in _groups(through):
        group.set_gradient_divide_factor(1.0)
        group.set_force_sum_reduction_for_comms(True)  # gloo cannot scale while it adds


@contextmanager
def gathered_model(through: TrainStep) -> Iterator[Transformer]:
    """Yield the model with all of its parameters, for work that processes do independently, such as decoding.

    A sharded model is copied around the gathered parameters: a forward pass through the FSDP modules
    themselves would change the order in which they expect to be gathered.
    """
    model, groups = through.model, list(_groups(through))
    if not groups:
        yield model
        return
    for group in groups:
        group.unshard()
    with torch.device("meta"):
        copy = Transformer(model.config, model.vocab_size, model.languages)
    copy.load_state_dict({name: p.detach() for name, p in model.named_parameters()}, assign=True)
    copy.compute_dtype = model.compute_dtype
    yield copy.to(next(model.parameters()).device).requires_grad_(False).train(model.training)
    for group in groups:
        group.reshard()


def local_part(tensor: Tensor) -> Tensor:
    """Return the shard of a tensor on this process; a tensor that is not sharded is returned whole."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gather_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the whole tensors on rank 0, and an empty mapping on other ranks.

    They are gathered one after another, so that a device never holds two of them.
    """
    found = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if distributed.rank == 0:
            found[name] = full.cpu() if isinstance(tensor, DTensor) else full
    return found


def shard_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return this process's shard of a tensor that belongs to a parameter, such as optimizer state.

    A tensor of another shape, such as a count of steps, is copied whole.
    """
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(
            value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
        )
    return value.clone().to(parameter.device)


def total_norm(tensors: Iterable[Tensor], device: torch.device) -> float:
    """Return the norm over all tensors, sharded and whole ones together."""
    found = list(tensors)
    shares = [g.to_local() for g in found if isinstance(g, DTensor)]
    rest = [g for g in found if not isinstance(g, DTensor)]
    if not shares:
        return float(nn.utils.get_total_norm(rest)) if rest else 0.0
    squares = distributed.all_reduce_sum(nn.utils.get_total_norm(shares).double().square().to(device))
    return float(
        (squares + nn.utils.get_total_norm(rest).to(device).double().square() if rest else squares).sqrt()
    )


def block_norms(tensor: Tensor, blocks: int) -> Tensor:
    """Return for each row of this process's shard the norm of the block of rows that it belongs to.

    The rows of the whole tensor are divided into `blocks` blocks of equal size. The result has the shape
    (rows of the shard,).
    """
    own, rows = local_part(tensor), tensor.shape[0]
    first = (
        min(rows, distributed.rank * -(-rows // distributed.world_size)) if isinstance(tensor, DTensor) else 0
    )  # FSDP2 cuts as torch.chunk does
    block = (torch.arange(len(own), device=own.device) + first) * blocks // rows
    squares = torch.zeros(blocks, dtype=torch.float64, device=own.device).index_add_(
        0, block, own.double().square().flatten(1).sum(1)
    )
    return (distributed.all_reduce_sum(squares) if isinstance(tensor, DTensor) else squares).sqrt()[block]


def _groups(through: TrainStep) -> Iterator[FSDPModule]:
    return (module for module in through.modules() if isinstance(module, FSDPModule))
