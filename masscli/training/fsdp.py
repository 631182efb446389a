"""Shard a model over processes with FSDP2: parameters, gradients and optimizer state.

It is for models that are too large for one device. Every layer is a separate FSDP group
(`fully_shard`): it is gathered when it runs, forward and backward, and released afterwards. Parameters
outside the layers stay gathered from a forward pass to its backward pass. All-gather is collective, so
every process must run the same layers in the same order, and the same number of micro-batches;
`check_can_shard` refuses other runs. Gradients are summed, as in the training loop, never averaged.

Heads that belong to an objective are small and not sharded; the training loop sums their gradients
itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from masscli.core import distributed
from masscli.core.distributed import is_sharded
from masscli.core.errors import MasscliError
from masscli.data.batches.batch import Batch
from masscli.models.transformer import Transformer
from masscli.objectives.objective import Objective, Term
from masscli.objectives.registry import ObjectiveConfig
from masscli.objectives.translate.options import TranslateOptions
from masscli.training.recipe import Recipe

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule


class TrainStep(nn.Module):
    """The forward pass of any objective on a batch, as a module that contains the model.

    FSDP2 shards this module instead of the model, so that an objective can call any part of the model.
    """

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, objective: Objective, batch: Batch) -> dict[str, Term]:
        """Return the loss terms of a batch by name, each summed over its targets."""
        terms: dict[str, Term] = objective(self.model, batch)
        return terms


def check_can_shard(recipe: Recipe, update_freq: int) -> None:
    """Raise MasscliError if the options or objectives of a run do not allow `--shard-model`.

    `update_freq` is the number of micro-batches in an update, which must be a multiple of the number of
    processes.
    """
    if update_freq % distributed.world_size:
        raise MasscliError(
            f"--shard-model: {update_freq} micro-batches of an update cannot be divided "
            f"among {distributed.world_size} processes",
            "run it with a number of processes that divides --update-freq",
        )
    if recipe.train.compile:
        raise MasscliError(
            "--shard-model: cannot be combined with --compile", "leave one of them out"
        )
    if recipe.optim.ema_decay:
        raise MasscliError(
            "--shard-model: cannot be combined with --ema-decay",
            "leave one of them out",
        )
    if recipe.optim.optimizer == "adafactor":
        raise MasscliError(
            "--shard-model: cannot be combined with --optimizer adafactor",
            "choose another optimizer, or leave it out: its state is small",
        )
    (first, first_stream), *others = recipe.stream.items()
    for name, stream in others:
        if not _use_same_parameters(first_stream.objective, stream.objective):
            raise MasscliError(
                f"--shard-model: streams {first} and {name} use different parts of the model, "
                "and processes must use the same",
                "leave --shard-model out, or train them one after the other",
            )
    # A micro-batch uses the projection of its own language only.
    if recipe.model.cross_output == "language":
        raise MasscliError(
            "--shard-model: cannot be combined with output projections by language",
            "leave out --cross-output language",
        )
    _check_no_guided_alignment(recipe)


def _check_no_guided_alignment(recipe: Recipe) -> None:
    """Raise MasscliError if a stream learns alignments.

    The layer whose attention is read runs in two halves, so FSDP2 would not gather its weights.
    """
    for stream in recipe.stream.values():
        if (
            isinstance(stream.objective, TranslateOptions)
            and stream.objective.guided_alignment is not None
        ):
            raise MasscliError(
                "--shard-model: cannot be combined with --guided-alignment",
                "leave one of them out",
            )


def _use_same_parameters(first: ObjectiveConfig, second: ObjectiveConfig) -> bool:
    """Return whether two objectives are known to use the same parameters of the model.

    This holds for objectives with equal options, or with the same `parameter_group` that is not empty.
    """
    if first == second:
        return True
    return (
        bool(first.parameter_group) and first.parameter_group == second.parameter_group
    )


def shard_model(train_step: TrainStep, device: torch.device) -> None:
    """Shard the parameters of the model over all processes, in place, and put each shard on `device`.

    Call this before the optimizer is created, because it replaces the parameters. All processes must
    call it together.
    """
    # FSDP2 is imported only here, because the import takes half a second that other runs do not need.
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.world_size,))
    for stack in (train_step.model.encoder, train_step.model.decoder):
        # Layers that share weights run inside one another, and are few: they are gathered with the rest.
        if stack is not None and stack.share == "none":
            for layer in stack.layers:
                fully_shard(layer, mesh=mesh)
    fully_shard(train_step, mesh=mesh, reshard_after_forward=False)
    for group in _sharded_groups(train_step):
        group.set_gradient_divide_factor(1.0)
        # gloo cannot scale while it adds.
        group.set_force_sum_reduction_for_comms(True)


@contextmanager
def gathered_model(train_step: TrainStep) -> Iterator[Transformer]:
    """Yield a model with whole parameters, for generation and validation.

    In those, processes need not run the same layers together. A model that is not sharded is yielded
    itself. For a sharded one, a second model with the gathered parameters is yielded, without
    gradients; it must not be used after the context. All processes must enter and leave the context
    together.
    """
    model = train_step.model
    groups = _sharded_groups(train_step)
    if not groups:
        yield model
        return
    for group in groups:
        group.unshard()
    with torch.device("meta"):
        copy = Transformer(
            model.config, model.vocab_size, model.languages, model.id_ranges
        )
    copy.load_state_dict(
        {name: p.detach() for name, p in model.named_parameters()}, assign=True
    )
    copy.compute_dtype = model.compute_dtype
    device = next(model.parameters()).device
    try:
        yield copy.to(device).requires_grad_(False).train(model.training)
    finally:
        for group in groups:
            group.reshard()


def local_part(tensor: Tensor) -> Tensor:
    """Return this process's shard of a tensor, or the tensor itself if it is not sharded."""
    return tensor.to_local() if is_sharded(tensor) else tensor


def gather_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by name with their shards put together, on rank 0; an empty mapping on other ranks.

    Sharded tensors are copied to the CPU, and others are returned as they are. All processes must call this
    together.
    """
    gathered = {}
    # One at a time, so that there is never more than one whole tensor on the device.
    for name, tensor in tensors.items():
        if is_sharded(tensor):
            # Collective: every rank must take part.
            whole = tensor.full_tensor()
            if distributed.rank == 0:
                gathered[name] = whole.cpu()
        elif distributed.rank == 0:
            gathered[name] = tensor
    return gathered


def shard_like(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a copy of the whole tensor `value` on the device of `parameter`, sharded as the parameter is.

    If the parameter is not sharded, or `value` has another shape (such as a count of steps), the copy is
    whole.
    """
    if is_sharded(parameter) and value.shape == parameter.shape:
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(
            value.to(parameter.device),
            parameter.device_mesh,
            parameter.placements,
            src_data_rank=None,
        )
    return value.clone().to(parameter.device)


def total_norm(tensors: Iterable[Tensor], device: torch.device) -> float:
    """Return the L2 norm of all tensors together, including the shards in other processes.

    Tensors that are not sharded are the same in all processes and count once. If any tensor is sharded, all
    processes must call this together.
    """
    shards, whole = [], []
    for tensor in tensors:
        if is_sharded(tensor):
            shards.append(tensor.to_local())
        else:
            whole.append(tensor)
    if shards:
        squares = nn.utils.get_total_norm(shards).double().square().to(device)
        squares = distributed.all_reduce_sum(squares)
        if whole:
            squares = (
                squares + nn.utils.get_total_norm(whole).to(device).double().square()
            )
        return float(squares.sqrt())
    return float(nn.utils.get_total_norm(whole)) if whole else 0.0


def block_norms(tensor: Tensor, blocks: int) -> Tensor:
    """Return (local rows,): for each row of this process's shard, the L2 norm of the block that it is in.

    The rows of the whole tensor form `blocks` blocks of equal size. If the tensor is sharded, all processes
    must call this together.
    """
    local = local_part(tensor)
    rows = tensor.shape[0]
    first_row = 0
    if is_sharded(tensor):
        # FSDP2 splits rows as torch.chunk does.
        rows_per_process = -(-rows // distributed.world_size)
        first_row = min(rows, distributed.rank * rows_per_process)
    block = (torch.arange(len(local), device=local.device) + first_row) * blocks // rows
    row_squares = local.double().square().flatten(1).sum(1)
    squares = torch.zeros(blocks, dtype=torch.float64, device=local.device).index_add_(
        0, block, row_squares
    )
    # A block may extend over several processes.
    if is_sharded(tensor):
        squares = distributed.all_reduce_sum(squares)
    return squares.sqrt()[block]


def _sharded_groups(train_step: TrainStep) -> list[FSDPModule]:
    """Return the modules that FSDP2 shards, each of which all-gathers its parameters at once.

    The list is empty if the model is not sharded.
    """
    if not any(is_sharded(parameter) for parameter in train_step.parameters()):
        return []
    from torch.distributed.fsdp import FSDPModule

    return [module for module in train_step.modules() if isinstance(module, FSDPModule)]
