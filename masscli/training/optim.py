"""Optimizers and learning-rate schedules, by the names and formulas they were published with (spec: objectives.md 0.3 and 0.4)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from masscli.core.errors import MasscliError
from masscli.training.config import OptimConfig
from masscli.training.fsdp import block_norms, like, local


def learning_rate(config: OptimConfig, done: int, last: int | None) -> float:
    """The rate of the next update when t are `done`; W is the warm-up, T the last update, which the decaying shapes need.

    As in all of the released code t is 0 in the first update, whose rate is therefore warmup_init_lr or 0 where there is a warm-up.

    inverse_sqrt (fairseq): linear from warmup_init_lr to lr in W, then lr sqrt(W / t).  linear (fairseq's polynomial_decay, Hugging Face):
    lr t / W, then lr (T - t) / (T - W) down to end_lr.  poly_tf (BERT): lr t / W, then lr (1 - t / T), with a jump at W.
    poly_mult (ELECTRA): lr (1 - t / T) min(1, t / W).  cosine (GPT): linear warm-up, then lr (1 + cos(pi t / T)) / 2.
    """
    assert config.lr is not None and config.warmup_updates is not None  # compose.py has filled them in
    t, warm, lr, end = float(done), config.warmup_updates, config.lr, config.end_lr
    kind = config.lr_scheduler
    if kind == "inverse_sqrt":
        if t < warm:
            return config.warmup_init_lr + (lr - config.warmup_init_lr) * t / warm
        return lr * math.sqrt(max(1, warm) / max(1.0, t))
    if kind == "constant":
        return lr * min(1.0, t / warm) if warm else lr
    total = float(last or 0)
    assert total > 0, "build.py refuses a decaying schedule without an end"
    left = max(0.0, 1 - t / total)
    if kind == "poly_mult":
        return lr * left * (min(1.0, t / warm) if warm else 1.0)
    if t < warm:
        return lr * t / warm
    if kind == "poly_tf":
        return end + (lr - end) * left
    if kind == "cosine":
        return end + (lr - end) * 0.5 * (1 + math.cos(math.pi * min(1.0, t / total)))
    return end + (lr - end) * max(0.0, (total - t) / max(1.0, total - warm))


class Adam(NamedTuple):
    """Settings of Adam and its relatives."""

    betas: tuple[float, float]
    eps: float
    decay: float


PUBLISHED = {
    "adamw_bert": Adam((0.9, 0.999), 1e-6, 0.01), "lamb": Adam((0.9, 0.999), 1e-6, 0.01), "adam_openai": Adam((0.9, 0.999), 1e-8, 0.01),
}  # fmt: skip
"""What optimizers were published with (spec: objectives.md 0.3)."""


BLOCKS = {"qkv": 3, "kv": 2}
"""Layers that are several in one: queries, keys and values."""


def settings(config: OptimConfig) -> Adam:
    """What was asked for, and for the rest what the optimizer was published with."""
    usual = PUBLISHED.get(config.optimizer, Adam((0.9, 0.98), 1e-8, 0.0))
    return Adam(
        (config.adam_betas[0], config.adam_betas[1]) if config.adam_betas else usual.betas,
        usual.eps if config.adam_eps is None else config.adam_eps,
        usual.decay if config.weight_decay is None else config.weight_decay,
    )


def make_optimizer(
    config: OptimConfig, parameters: Iterable[tuple[str, nn.Parameter]], layers: int = 0
) -> torch.optim.Optimizer:
    """The optimizer of a run; biases and layer norms are spared from weight decay unless `decay_all`.

    The rate of a group is that of the schedule times its `scale`; `layers` is the height of the taller stack.
    """
    assert config.lr is not None
    adam = settings(config)
    found: dict[tuple[float, bool, bool, int], list[nn.Parameter]] = {}
    for name, p in parameters:
        if p.requires_grad:
            # A fused optimizer does not take whole tensors and shares of some together.
            decays = config.decay_all or (
                p.dim() > 1 and not name.startswith("relative.")
            )  # a table of biases
            blocks = (
                BLOCKS.get(name.removesuffix(".weight").rpartition(".")[2], 1)
                if config.optimizer == "lamb" and p.dim() > 1
                else 1
            )
            found.setdefault(
                (layer_scale(config, name, layers), decays, isinstance(p, DTensor), blocks), []
            ).append(p)
    order = sorted(found, key=lambda key: (-key[0], not key[1], *key[2:]))
    groups: list[dict[str, Any]] = [
        {
            "params": found[key],
            "weight_decay": adam.decay if key[1] else 0.0,
            "scale": key[0],
            "blocks": key[3],
        }
        for key in order
    ]
    if not groups:
        raise MasscliError("nothing is left to learn", "freeze less")
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=config.lr, betas=adam.betas, eps=adam.eps, fused=True)
    if config.optimizer == "adam":
        return torch.optim.Adam(groups, lr=config.lr, betas=adam.betas, eps=adam.eps, fused=True)
    kind = config.optimizer
    return BertAdam(
        groups, config.lr, adam.betas, adam.eps, layerwise=kind == "lamb", corrected=kind == "adam_openai"
    )


def layer_scale(config: OptimConfig, name: str, layers: int) -> float:
    """The share of the learning rate that a parameter gets: decay to the power of how far below the task's head it stands (spec: 4.5)."""
    if config.layer_decay == 1.0 or name.startswith(("objective.", "pooler.", "head_transforms.")):
        return 1.0
    top = layers + config.layer_decay_offset
    if inner := re.match(r"(encoder|decoder)\.layers\.(\d+)\.", name):
        return config.layer_decay ** (top - 1 - int(inner[2]))
    if re.match(r"(encoder|decoder)\.norm\.", name):
        return config.layer_decay ** (top - layers)
    assert name.startswith(
        ("token_embeddings.", "embeddings.", "embedding_projections.", "relative.", "output_biases.")
    ), f"{name}: at no known height"
    return config.layer_decay**top


class BertAdam(torch.optim.Optimizer):
    """Adam without bias correction and with decoupled decay, as BERT and ELECTRA train: p -= lr (m / (sqrt v + eps) + decay p).

    `layerwise` is LAMB (You et al. 2020) as ALBERT has it: the step of each tensor of two dimensions is scaled by |p| / |step|; of `blocks`
    of rows that are tensors of their own there (queries, keys, values), each by its own.  `corrected` is what
    GPT was fine-tuned with: the rate, and with it the decay, is multiplied by sqrt(1 - b2^t) / (1 - b1^t).
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float, layerwise: bool,
                 corrected: bool = False) -> None:  # fmt: skip
        super().__init__(
            groups, {"lr": lr, "betas": betas, "eps": eps, "layerwise": layerwise, "corrected": corrected}
        )

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody here re-evaluates a loss
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            low, high = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
                    if group["corrected"]:
                        state["step"] = torch.zeros(())
                mean, square = state["exp_avg"].lerp_(p.grad, 1 - low), state["exp_avg_sq"]
                square.mul_(high).addcmul_(p.grad, p.grad, value=1 - high)
                move = mean / square.sqrt().add_(group["eps"]) + group["weight_decay"] * p
                rate = group["lr"]
                if group["corrected"]:
                    state["step"] += 1
                    t = int(state["step"])
                    rate *= math.sqrt(1 - high**t) / (1 - low**t)
                if group["layerwise"] and p.dim() > 1:
                    sizes, lengths = block_norms(p, group["blocks"]), block_norms(move, group["blocks"])
                    trust = torch.where((sizes > 0) & (lengths > 0), sizes / lengths, 1.0).to(move.dtype)
                    local(move).mul_(trust.view(-1, *[1] * (p.dim() - 1)))
                p.add_(move, alpha=-rate)


def moments(optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str]) -> dict[str, Tensor]:
    """The optimizer's state as named tensors, for a checkpoint: `NAME/exp_avg` and so on."""
    found = ((names[p], state) for p, state in optimizer.state.items() if isinstance(p, nn.Parameter))
    return {f"{name}/{key}": torch.as_tensor(value) for name, state in found for key, value in state.items()}


def restore_moments(
    optimizer: torch.optim.Optimizer, names: Mapping[nn.Parameter, str], tensors: Mapping[str, Tensor]
) -> None:
    """The inverse of `moments`; every tensor must find its parameter."""
    by_name = {name: p for p, name in names.items()}
    for key, value in tensors.items():
        name, _, slot = key.rpartition("/")
        p = by_name[name]
        optimizer.state[p][slot] = like(
            value, p
        )  # the count of steps on its device too: a fused optimizer wants it there


class LossScale:
    """Dynamic loss scaling for fp16 (Micikevicius et al. 2018): halve on overflow, double after 2,000 updates without one."""

    def __init__(self, enabled: bool, value: float, clean: int) -> None:
        self.enabled, self.value, self.clean = enabled, value if enabled else 1.0, clean

    def overflowed(self) -> None:
        """A gradient was not finite: the update is skipped."""
        self.value, self.clean = self.value / 2, 0

    def went_well(self) -> None:
        """A gradient was finite."""
        self.clean += 1
        if self.enabled and self.clean % 2000 == 0:
            self.value *= 2
