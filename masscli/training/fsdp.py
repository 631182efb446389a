"""A model shared out over processes: parameters, gradients and moments, where one device has no room for them all (FSDP2, `fully_shard`).

Every layer is a group of its own: gathered when it is run, forward and backward, and let go after; what stands around the stacks stays
from a forward pass to its backward one.  Gathering is a meeting of all processes, so each must run the same layers in the same order, and
the same number of micro-batches; `refuse` says where a run does not.  Gradients are summed, as the loop has it, never averaged.

Heads that belong to an objective are small and stay whole; the loop adds their gradients up itself.
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

    This module is what is shared out: an objective may then call the model in whatever parts it likes.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch) -> dict[str, Term]:
        """The summed losses, by term."""
        found: dict[str, Term] = objective(self.model, batch)
        return found


def check_can_shard(recipe: Recipe, update_freq: int) -> None:
    """What cannot be shared out; raises MasscliError."""
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
    """Leave each process its share of every parameter, on its device.  Before the optimizer is made."""
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
    """The model with all of its parameters, for what each process does at its own pace: searching and validating.

    Where it is shared out, this is another module around the gathered parameters: a pass through the groups would leave its traces in
    the order in which they expect to meet.
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
    """What this process has of a tensor; all of one that is not shared out."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gather_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The whole tensors, on rank 0; one after another, so that never two of them take the device's room."""
    found = {}
    for name, tensor in tensors.items():
        full = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
        if distributed.rank == 0:
            found[name] = full.cpu() if isinstance(tensor, DTensor) else full
    return found


def shard_like(value: Tensor, parameter: Tensor) -> Tensor:
    """This process's share of a whole tensor that goes with a parameter; numbers, such as a count of steps, stay as they are."""
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(
            value.to(parameter.device), parameter.device_mesh, parameter.placements, src_data_rank=None
        )
    return value.clone().to(parameter.device)


def total_norm(tensors: Iterable[Tensor], device: torch.device) -> float:
    """The norm of all of them together, whole ones and shares of this process and the others."""
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
    """(rows here,) for each row of this process's share, the norm of the block of rows that it is in: of so many equal ones in all."""
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
