"""Optimizers by name, with the settings of their papers, and the state of an optimizer as named tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from masscli.core.distributed import is_sharded
from masscli.core.errors import MasscliError
from masscli.training.adafactor import Adafactor
from masscli.training.bert_adam import BertAdam
from masscli.training.config import OptimConfig
from masscli.training.eager_optimizers import Adam, AdamW
from masscli.training.fsdp import shard_like


class AdamSettings(NamedTuple):
    """The hyper-parameters of Adam and its variants."""

    betas: tuple[float, float]
    eps: float
    weight_decay: float


DEFAULTS = AdamSettings((0.9, 0.98), 1e-8, 0.0)
"""Hyper-parameters of Vaswani et al. (2017, section 5.3) and fairseq, for optimizers that are not in
`PUBLISHED`."""

PUBLISHED = {
    "adamw_bert": AdamSettings((0.9, 0.999), 1e-6, 0.01),
    "lamb": AdamSettings((0.9, 0.999), 1e-6, 0.01),
    "adam_openai": AdamSettings((0.9, 0.999), 1e-8, 0.01),
}
"""By optimizer, the hyper-parameters in the released code of BERT (adamw_bert), ALBERT (lamb) and GPT
(adam_openai)."""

BLOCKS = {"qkv": 3, "kv": 2}
"""By name of a layer, the number of stacked matrices in its weight (queries, keys and values)."""


class GroupKey(NamedTuple):
    """The properties that all parameters in one group of the optimizer share."""

    scale: float
    """Factor on the learning rate of the schedule."""
    decays: bool
    sharded: bool
    """Whether FSDP2 shards the parameters: a fused optimizer does not take whole and sharded tensors in one
    group."""
    blocks: int


def adam_settings(config: OptimConfig) -> AdamSettings:
    """Return the hyper-parameters that the user gave, and the optimizer's defaults for the others."""
    defaults = PUBLISHED.get(config.optimizer, DEFAULTS)
    betas, eps, weight_decay = defaults
    if config.adam_betas:
        betas = (config.adam_betas[0], config.adam_betas[1])
    if config.adam_eps is not None:
        eps = config.adam_eps
    if config.weight_decay is not None:
        weight_decay = config.weight_decay
    return AdamSettings(betas, eps, weight_decay)


def make_optimizer(
    config: OptimConfig, parameters: Iterable[tuple[str, nn.Parameter]], layers: int = 0
) -> torch.optim.Optimizer:
    """Build the optimizer of a run from the named parameters that require a gradient.

    `layers` is the number of layers of the encoder or the decoder, whichever has more; --layer-decay needs
    it. Each parameter group has a `scale`: the training loop sets the learning rate of the group to that of
    the schedule times this scale. Raises MasscliError if no parameter is trained.
    """
    assert config.lr is not None
    settings = adam_settings(config)
    members: dict[GroupKey, list[nn.Parameter]] = {}
    for name, parameter in parameters:
        if parameter.requires_grad:
            members.setdefault(_group_key(config, name, parameter, layers), []).append(
                parameter
            )
    if not members:
        raise MasscliError("no parameter is left to train", "freeze less")
    # Sorted, so that groups have the same order in every process and every run.
    groups = []
    for key in sorted(
        members, key=lambda key: (-key.scale, not key.decays, key.sharded, key.blocks)
    ):
        weight_decay = settings.weight_decay if key.decays else 0.0
        groups.append(
            {
                "params": members[key],
                "weight_decay": weight_decay,
                "scale": key.scale,
                "blocks": key.blocks,
            }
        )
    name = config.optimizer
    lr = config.lr
    betas = settings.betas
    eps = settings.eps
    if name == "adamw":
        return AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)
    if name == "adam":
        return Adam(groups, lr=lr, betas=betas, eps=eps, fused=True)
    if name == "adafactor":
        return Adafactor(groups, lr)
    return BertAdam(
        groups,
        lr,
        betas,
        eps,
        layerwise=name == "lamb",
        corrected=name == "adam_openai",
    )


def _group_key(
    config: OptimConfig, name: str, parameter: nn.Parameter, layers: int
) -> GroupKey:
    """Return the key of the optimizer group to which the parameter called `name` belongs.

    Biases, layer norms and relative positions have no weight decay unless `config.decay_all`. `layers` is the
    number of layers of the taller stack.
    """
    # The table of relative positions has two dimensions, but its entries are biases.
    decays = config.decay_all or (
        parameter.dim() > 1 and not name.startswith("relative.")
    )
    blocks = 1
    if config.optimizer in ("lamb", "adafactor") and parameter.dim() > 1:
        # LAMB's trust ratio and Adafactor's moments are of each matrix of the published model, which keeps
        # queries, keys and values apart.
        layer_name = name.removesuffix(".weight").rpartition(".")[2]
        blocks = BLOCKS.get(layer_name, 1)
    return GroupKey(
        layer_scale(config, name, layers), decays, is_sharded(parameter), blocks
    )


_HEAD_PARTS = ("objective.", "pooler.", "head_transforms.", "output_weights.")


def layer_scale(config: OptimConfig, name: str, layers: int) -> float:
    """Return the factor on the learning rate of the parameter called `name` (Clark et al. 2020, appendix B).

    It is `config.layer_decay` to the power of the distance from the task's head. The head has distance 0, the
    topmost layer of the taller stack `config.layer_decay_offset`, each layer one more than the layer above
    it, and the embeddings one more than the lowest layer. Layers are counted from the lowest one, so that the
    N-th layers of both stacks have one distance. `layers` is the number of layers of the taller stack.
    """
    # Pooler and output layer belong to the head, which is trained with the full rate.
    if config.layer_decay == 1.0 or name.startswith(_HEAD_PARTS):
        return 1.0
    top = layers + config.layer_decay_offset
    layer = re.match(r"(encoder|decoder)\.layers\.(\d+)\.", name)
    if layer is not None:
        return config.layer_decay ** (top - 1 - int(layer[2]))
    # The final layer norm has the rate of the topmost layer.
    if re.match(r"(encoder|decoder)\.norm\.", name):
        return config.layer_decay ** (top - layers)
    below_all_layers = (
        "token_embeddings.", "embeddings.", "embedding_projections.", "relative.", "output_biases."
    )  # fmt: skip
    assert name.startswith(below_all_layers), (
        f"{name}: its distance from the head is unknown"
    )
    return config.layer_decay**top


def optimizer_state(
    optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]
) -> dict[str, Tensor]:
    """Return the state of the optimizer as tensors for a checkpoint, called `NAME/exp_avg` and so on.

    `names` has the name of each parameter.
    """
    tensors = {}
    for parameter, state in optimizer.state.items():
        if isinstance(parameter, nn.Parameter):
            for slot, value in state.items():
                tensors[f"{names[parameter]}/{slot}"] = torch.as_tensor(value)
    return tensors


def restore_optimizer_state(
    optimizer: torch.optim.Optimizer,
    names: Mapping[nn.Parameter, str],
    tensors: Mapping[str, Tensor],
) -> None:
    """Load tensors called `NAME/exp_avg` and so on, as `optimizer_state` returns them, into the optimizer.

    `names` has the name of each parameter. The tensors are whole; of a sharded one each process takes its
    shard. Raises KeyError if a tensor belongs to no parameter.
    """
    parameters = {name: parameter for parameter, name in names.items()}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("/")
        parameter = parameters[name]
        # The count of steps goes to the device as well: a fused optimizer expects it there.
        optimizer.state[parameter][slot] = shard_like(value, parameter)
