"""Schedules and optimizers against the formulas they were published with."""

from __future__ import annotations

import math
import random
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from masscli.checkpoint.run_state import RunState
from masscli.models.attention import CrossAttention, SelfAttention
from masscli.models.config import ModelConfig
from masscli.models.transformer import Transformer
from masscli.training.config import OptimConfig
from masscli.training.events import Stepped
from masscli.training.learning_rate import learning_rate
from masscli.training.loss_scale import LossScale
from masscli.training.optim import (
    make_optimizer,
    optimizer_state,
    restore_optimizer_state,
)
from masscli.training.plateau import record_validation
from masscli.training.setup.build import build
from tests.toy import recipe
from tests.training.test_trainer import EXACT


def schedule(name: str, warm: int, lr: float = 1.0, **options: float) -> OptimConfig:
    return OptimConfig(lr_scheduler=name, warmup_updates=warm, lr=lr, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "warm", "points"),
    [  # The published formulas with T = 100 and lr 1
        ("poly_tf", 10, {5: 0.5, 9: 0.9, 10: 0.9, 11: 0.89, 100: 0.0}),
        ("poly_tf", 50, {49: 0.98, 50: 0.5, 100: 0.0}),
        ("poly_mult", 10, {5: 0.475, 10: 0.9, 55: 0.45, 100: 0.0}),
        ("linear", 10, {5: 0.5, 10: 1.0, 55: 0.5, 100: 0.0, 110: 0.0}),
        ("linear", 0, {1: 0.99, 100: 0.0}),
        (
            "cosine",
            10,
            {5: 0.5, 50: 0.5, 10: 0.5 * (1 + math.cos(math.pi / 10)), 100: 0.0},
        ),
        ("inverse_sqrt", 16, {8: 0.5, 16: 1.0, 64: 0.5, 1600: 0.1}),
        ("constant", 10, {5: 0.5, 10: 1.0, 1000: 1.0}),
        ("constant", 0, {1: 1.0}),
        ("wsd", 10, {5: 0.5, 10: 1.0, 89: 1.0, 90: 1.0, 95: 0.5, 100: 0.0, 110: 0.0}),
    ],
)
def test_schedules_pass_through_the_published_points(
    name: str, warm: int, points: dict[int, float]
) -> None:
    for update, rate in points.items():
        assert learning_rate(
            schedule(name, warm, warmup_init_lr=0.0), update, 100
        ) == pytest.approx(rate, abs=1e-12), update


def test_a_run_begins_and_ends_with_the_published_rates(
    toy: Path, tmp_path: Path
) -> None:
    """No update is done before the first: it has the rate of t = 0, and the last one that of T - 1."""
    published = {
        "linear": [0.0, 0.005, 0.01, 0.0075, 0.005, 0.0025],
        "poly_tf": [0.0, 0.005, 0.04 / 6, 0.005, 0.02 / 6, 0.01 / 6],
    }
    for name, expected in published.items():
        changes = (
            "train.max_update=6",
            f"optim.lr_scheduler={name}",
            "optim.warmup_updates=2",
            "checkpoint.save_interval_updates=6",
        )
        actual = [
            event
            for event in build(recipe(toy, tmp_path / name, *changes))[0].run()
            if isinstance(event, Stepped)
        ]
        assert [event.lr for event in actual[:6]] == pytest.approx(expected)


def test_schedules_start_and_end_at_the_given_rates() -> None:
    assert learning_rate(
        schedule("inverse_sqrt", 10, warmup_init_lr=0.5), 5, None
    ) == pytest.approx(0.75)
    for name in ("linear", "cosine", "poly_tf"):
        assert learning_rate(schedule(name, 10, end_lr=0.2), 100, 100) == pytest.approx(
            0.2
        )


def test_wsd_decays_as_configured() -> None:
    """1 - sqrt(x) is 3/4 after a sixteenth of the decay; without a decay the rate is constant."""
    falling = schedule("wsd", 0, decay_updates=64, decay_shape="sqrt", end_lr=0.2)  # type: ignore[arg-type]
    assert learning_rate(falling, 36, 100) == 1.0
    assert learning_rate(falling, 40, 100) == pytest.approx(0.2 + 0.8 * 0.75)
    assert learning_rate(falling, 100, 100) == pytest.approx(0.2)
    assert learning_rate(schedule("wsd", 0, decay_updates=0), 99, 100) == 1.0


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("patience", [0, 2])
def test_plateaus_are_those_of_pytorch(lower: bool, patience: int) -> None:
    """A random walk of scores: after each the rate is that of PyTorch's scheduler, state stored and read again."""
    draw = random.Random(patience)
    parameter = nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=0.5)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
        reference,
        "min" if lower else "max",
        factor=0.5,
        patience=patience,
        threshold=0.01,
        min_lr=0.01,
        eps=0,
    )
    config = schedule(
        "reduce_lr_on_plateau",
        3,
        lr=0.5,
        lr_shrink=0.5,
        lr_patience=patience,
        lr_threshold=0.01,
        end_lr=0.01,
    )
    state = RunState()
    score = 5.0
    rates = set()
    for step in range(1, 60):
        state = replace(state, step=step)
        score += draw.uniform(-0.1, 0.1)
        record_validation(state, score, config, lower)
        # Within the warm-up of three updates nothing counts.
        if step >= 3:
            scheduler.step(score)
        rate = learning_rate(config, max(step, 3), None, state.lr_factor)
        assert rate == pytest.approx(reference.param_groups[0]["lr"], rel=1e-12)
        rates.add(rate)
    assert len(rates) > 3


def test_the_schedule_that_gpt_was_fine_tuned_with_is_that_of_electra() -> None:
    """(s x / w + 1 - s) (1 - x) with x = t / T and s = [x <= w]; a fall from the first update on, warm-up or not."""
    share, last = 0.02, 1000
    for update in range(1, last + 1):
        x = update / last
        expected = (x / share if x <= share else 1) * (1 - x)
        assert learning_rate(
            schedule("poly_mult", round(share * last)), update, last
        ) == pytest.approx(expected)


# -- optimizers ----------------------------------------------------------------------------------------------------------------------------

GRADIENTS = [[0.3, -0.2, 0.0], [0.1, 0.5, -0.1], [-0.4, 0.2, 0.2], [0.0, 0.1, 3.0]]
START = [1.0, -2.0, 0.5]


def optim(kind: str, **options: Any) -> OptimConfig:
    """The learning rate in it is not the one that counts: the loop sets it at every update."""
    return OptimConfig(optimizer=kind, lr=9.0, **options)  # type: ignore[arg-type]


def run(
    config: OptimConfig,
    gradients: Sequence[Sequence[float]],
    lr: float,
    vector: bool = False,
) -> list[float]:
    """Where a (1, 3) matrix, or a vector, gets to from START."""
    p = nn.Parameter(torch.tensor(START if vector else [START]))
    optimizer = make_optimizer(config, [("p", p)])
    for gradient in gradients:
        for group in optimizer.param_groups:
            group["lr"] = lr
        p.grad = torch.tensor(gradient).view_as(p)
        optimizer.step()
    found: list[float] = p.detach().flatten().tolist()
    return found


def slow_adam(
    gradients: Sequence[Sequence[float]],
    lr: float,
    low: float,
    high: float,
    eps: float,
    decay: float,
    kind: str,
) -> list[float]:
    """`adamw`, `adam` (decay in the gradient), `adamw_bert` (no bias correction), `adam_openai` (the rate is corrected)."""
    out = []
    for i, p in enumerate(START):
        m = v = 0.0
        for t, gradient in enumerate(gradients, 1):
            g = gradient[i] + (decay * p if kind == "adam" else 0.0)
            m, v = low * m + (1 - low) * g, high * v + (1 - high) * g * g
            a, b = (
                (m, v)
                if kind in ("adamw_bert", "adam_openai")
                else (m / (1 - low**t), v / (1 - high**t))
            )
            rate = lr * (
                math.sqrt(1 - high**t) / (1 - low**t) if kind == "adam_openai" else 1.0
            )
            p -= rate * (
                a / (math.sqrt(b) + eps) + (0.0 if kind == "adam" else decay * p)
            )
        out.append(p)
    return out


@pytest.mark.parametrize("kind", ["adamw", "adam", "adamw_bert", "adam_openai"])
def test_adam_follows_its_equations(kind: str) -> None:
    config = optim(kind, adam_betas=(0.9, 0.98), adam_eps=1e-6, weight_decay=0.1)
    assert run(config, GRADIENTS, 0.05) == pytest.approx(
        slow_adam(GRADIENTS, 0.05, 0.9, 0.98, 1e-6, 0.1, kind), rel=1e-5
    )


def test_no_optimizer_imports_the_compiler() -> None:
    """The import would take a second at every start. Neither a step nor resetting gradients may cause it."""
    program = """
import sys, torch
from masscli.training.config import OptimConfig
from masscli.training.optim import make_optimizer
for kind in ("adamw", "adam", "adamw_bert", "lamb", "adam_openai", "adafactor"):
    weight = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = make_optimizer(OptimConfig(lr=0.1, optimizer=kind), [("p", weight)])
    weight.grad = torch.ones(2, 2)
    optimizer.step()
    optimizer.zero_grad()
    assert weight.grad is None and bool((weight < 1).all())
print([name for name in ("torch._dynamo", "torch.distributed.tensor") if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert result.stdout == "[]\n", result.stderr


@pytest.mark.parametrize(
    ("kind", "size"), [("adamw", 1.0), ("adamw_bert", 0.1 / math.sqrt(0.001))]
)
def test_the_first_step_is_as_long_as_published(kind: str, size: float) -> None:
    """The step is 3.162 lr without bias correction and lr with it, whatever the gradient."""
    config = optim(kind, adam_betas=(0.9, 0.999), adam_eps=1e-12, weight_decay=0.0)
    moved = run(config, [[0.3, -2.0, 1e-4]], 0.01)
    steps = [(a - b) / 0.01 for a, b in zip(START, moved, strict=True)]
    assert steps == pytest.approx([size, -size, size], rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "betas", "eps", "decay"),
    [("adamw", (0.9, 0.98), 1e-8, 0.0), ("adamw_bert", (0.9, 0.999), 1e-6, 0.01), ("lamb", (0.9, 0.999), 1e-6, 0.01),
     ("adam_openai", (0.9, 0.999), 1e-8, 0.01)],
)  # fmt: skip
def test_an_optimizer_comes_with_what_it_was_published_with(
    kind: str, betas: tuple[float, float], eps: float, decay: float
) -> None:
    [group] = make_optimizer(
        optim(kind), [("p", nn.Parameter(torch.tensor([START])))]
    ).param_groups
    assert (group["betas"], group["eps"], group["weight_decay"]) == (betas, eps, decay)
    asked = optim(kind, adam_betas=(0.5, 0.6), adam_eps=0.1, weight_decay=0.0)
    [group] = make_optimizer(
        asked, [("p", nn.Parameter(torch.tensor([START])))]
    ).param_groups
    assert (group["betas"], group["eps"], group["weight_decay"]) == (
        (0.5, 0.6),
        0.1,
        0.0,
    )


def test_steps_of_lamb_are_in_proportion_to_the_norm_of_the_weights() -> None:
    config = optim("lamb", adam_betas=(0.9, 0.999), adam_eps=1e-6, weight_decay=0.01)
    moved = run(config, GRADIENTS[:1], 0.01)
    assert math.dist(moved, START) == pytest.approx(0.01 * math.hypot(*START), rel=1e-4)
    plain = optim("adamw_bert", adam_betas=(0.9, 0.999), adam_eps=1e-6)
    assert run(config, GRADIENTS[:1], 0.01, vector=True) == pytest.approx(
        run(plain, GRADIENTS[:1], 0.01, vector=True)
    )


def test_lamb_moves_queries_keys_and_values_each_by_its_own_norm() -> None:
    """Queries, keys and values are one matrix here, and three in ALBERT."""
    layers = nn.ModuleDict(
        {"qkv": SelfAttention(8, 2, 0.0).qkv, "kv": CrossAttention(8, 2, 0.0, ()).kv}
    )
    torch.manual_seed(1)
    with torch.no_grad():
        for p in layers.parameters():
            p.normal_().div_(
                1
                + torch.arange(len(p))
                .div(8, rounding_mode="floor")
                .view(-1, *[1] * (p.dim() - 1))
            )
            p.grad = torch.randn_like(p)
    before = {name: p.detach().clone() for name, p in layers.named_parameters()}
    make_optimizer(optim("lamb"), layers.named_parameters()).step()
    for name, parts in (("qkv", 3), ("kv", 2)):
        old, new = (
            before[f"{name}.weight"].chunk(parts),
            layers[name].weight.detach().chunk(parts),
        )  # type: ignore[union-attr, operator]
        for a, b in zip(old, new, strict=True):
            assert float((b - a).norm()) == pytest.approx(
                9.0 * float(a.norm()), rel=1e-4
            )


def test_lamb_does_not_scale_steps_where_a_norm_is_0() -> None:
    steps = {}
    for kind in ("lamb", "adamw_bert"):
        p = nn.Parameter(torch.zeros(1, 3))
        p.grad = torch.tensor([GRADIENTS[0]])
        make_optimizer(optim(kind), [("p", p)]).step()
        steps[kind] = p.detach()
    assert bool(steps["lamb"].any())
    assert torch.equal(steps["lamb"], steps["adamw_bert"])


def test_all_weights_but_norms_and_biases_are_decayed() -> None:
    config = ModelConfig(dim=16, ffn_dim=24, heads=2, encoder_layers=1, decoder_layers=1, positions="learned", segments=2, pooler=True,
                         norm_embedding=True, output_bias=True, head_transform=True, embedding_dim=8, relative_buckets=8)  # fmt: skip
    model = Transformer(config, 20, ())
    optimizer = make_optimizer(optim("adamw_bert"), model.named_parameters())
    decayed = {
        id(p): group["weight_decay"] > 0
        for group in optimizer.param_groups
        for p in group["params"]
    }
    for name, p in model.named_parameters():
        assert decayed[id(p)] is (re.search(r"norm|bias|relative", name) is None), name


@pytest.mark.parametrize("kind", ["adamw", "adam", "adamw_bert", "adam_openai", "lamb"])
def test_biases_and_norms_are_not_decayed(kind: str) -> None:
    """With gradients of zero only decay moves anything."""
    for decay_all in (False, True):
        config = optim(kind, weight_decay=0.1, decay_all=decay_all)
        assert (run(config, [[0.0] * 3], 0.5, vector=True) == START) == (not decay_all)
        assert run(config, [[0.0] * 3], 0.5) != START


@pytest.mark.parametrize("kind", ["adamw", "adam", "adamw_bert", "adam_openai", "lamb"])
def test_restored_moments_continue_as_if_uninterrupted(kind: str) -> None:
    config = optim(kind, weight_decay=0.1)

    def step(
        optimizer: torch.optim.Optimizer, p: nn.Parameter, gradient: list[float]
    ) -> None:
        p.grad = torch.tensor([gradient])
        optimizer.step()

    p = nn.Parameter(torch.tensor([START]))
    first = make_optimizer(config, [("p", p)])
    for gradient in GRADIENTS[:2]:
        step(first, p, gradient)
    q = nn.Parameter(p.detach().clone())
    second = make_optimizer(config, [("p", q)])
    restore_optimizer_state(second, {q: "p"}, optimizer_state(first, {p: "p"}))
    for gradient in GRADIENTS[2:]:
        step(first, p, gradient)
        step(second, q, gradient)
    assert torch.equal(p, q)


@pytest.mark.usefixtures("no_sync", "one_thread")
@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_every_layer_learns_at_its_own_rate(
    decay: float, toy: Path, tmp_path: Path
) -> None:
    """lr decay^(N + 2 - d) at depth d: with Adam, that is how far a first step goes; with 1 nothing changes."""
    streams = {"text": {"dataset": "en", "objective": {"name": "mlm"}}}
    changes = (
        "model.decoder_layers=0",
        "model.encoder_layers=2",
        "train.max_update=1",
        *EXACT,
        "optim.adam_eps=1e-12",
    )
    moved = []
    for name, more in (
        ("plain", ()),
        ("decayed", (f"optim.layer_decay={decay}", "optim.layer_decay_offset=2")),
    ):
        trainer, _ = build(
            recipe(toy, tmp_path / name, *changes, *more, streams=streams)
        )
        before = {
            key: tensor.clone() for key, tensor in trainer.model.state_dict().items()
        }
        list(trainer.run())
        moved.append(
            {
                key: tensor - before[key]
                for key, tensor in trainer.model.state_dict().items()
            }
        )
    for depth, name in (
        (0, "token_embeddings.shared"),
        (1, "encoder.layers.0.fc1.weight"),
        (2, "encoder.layers.1.fc1.weight"),
    ):
        assert bool(moved[0][name].any())
        assert torch.allclose(
            moved[1][name], moved[0][name] * decay ** (2 + 2 - depth), atol=1e-7
        )
        assert decay < 1 or torch.equal(moved[1][name], moved[0][name])


def test_the_loss_scale_halves_on_overflow_and_doubles_after_two_thousand_updates() -> (
    None
):
    scale = LossScale(True, 1024.0, 0)
    scale.record_overflow()
    assert (scale.value, scale.updates_since_overflow) == (512.0, 0)
    for _ in range(1999):
        scale.record_success()
    assert scale.value == 512.0
    scale.record_success()
    assert scale.value == 1024.0
    assert LossScale(False, 1024.0, 0).value == 1.0


# -- Adafactor -----------------------------------------------------------------------------------------------------------------------------


def slow_adafactor(
    p: list[list[float]], gradients: list[list[list[float]]], lr: float, decay: float
) -> list[list[float]]:
    """Algorithm 5 of Shazeer and Stern with plain numbers, for a matrix of rows."""
    rows, columns = [0.0] * len(p), [0.0] * len(p[0])
    for t, gradient in enumerate(gradients, 1):
        keep = 1 - t**-0.8
        squares = [[g * g + 1e-30 for g in row] for row in gradient]
        rows = [
            keep * old + (1 - keep) * sum(row) / len(row)
            for old, row in zip(rows, squares, strict=True)
        ]
        by_column = list(zip(*squares, strict=True))
        columns = [
            keep * old + (1 - keep) * sum(c) / len(c)
            for old, c in zip(columns, by_column, strict=True)
        ]
        mean = sum(rows) / len(rows)
        step = [
            [g / math.sqrt(r * c / mean) for g, c in zip(row, columns, strict=True)]
            for row, r in zip(gradient, rows, strict=True)
        ]
        size = math.sqrt(
            sum(u * u for row in step for u in row) / (len(step) * len(step[0]))
        )
        p = [
            [
                (1 - lr * decay) * w - lr * u / max(1.0, size)
                for w, u in zip(a, b, strict=True)
            ]
            for a, b in zip(p, step, strict=True)
        ]
    return p


def test_adafactor_is_that_of_the_paper() -> None:
    draw = random.Random(3)
    start = [[draw.gauss(0, 1) for _ in range(4)] for _ in range(6)]
    gradients = [
        [[draw.gauss(0, 10**-t) for _ in range(4)] for _ in range(6)] for t in range(5)
    ]
    # A fused projection is two matrices, one below the other.
    for name, blocks in (("layer.weight", 1), ("layer.kv.weight", 2)):
        parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        optimizer = make_optimizer(
            optim("adafactor", weight_decay=0.1), [(name, parameter)]
        )
        for gradient in gradients:
            for group in optimizer.param_groups:
                group["lr"] = 0.05
            parameter.grad = torch.tensor(gradient, dtype=torch.float64)
            optimizer.step()
        size = 6 // blocks
        expected: list[list[float]] = []
        for first in range(0, 6, size):
            part = [gradient[first : first + size] for gradient in gradients]
            expected += slow_adafactor(start[first : first + size], part, 0.05, 0.1)
        assert torch.allclose(
            parameter, torch.tensor(expected, dtype=torch.float64), rtol=1e-6
        )
        numbers = sum(
            tensor.numel()
            for tensor in optimizer_state(optimizer, {parameter: name}).values()
        )
        assert numbers == 1 + 6 + 4 * blocks


def test_adafactor_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    draw = torch.Generator().manual_seed(1)
    for shape in ((5, 7), (6,)):
        start = torch.randn(shape, generator=draw)
        ours, theirs = (nn.Parameter(start.clone()) for _ in range(2))
        optimizer = make_optimizer(optim("adafactor"), [("p", ours)])
        reference = transformers.Adafactor(
            [theirs], lr=0.02, scale_parameter=False, relative_step=False
        )
        for _ in range(6):
            gradient = torch.randn(shape, generator=draw)
            for group in optimizer.param_groups:
                group["lr"] = 0.02
            ours.grad, theirs.grad = gradient.clone(), gradient.clone()
            optimizer.step()
            reference.step()
        assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adafactor", "adamw_bert", "lamb", "adam_openai"])
def test_a_closure_is_not_ignored(name: str) -> None:
    optimizer = make_optimizer(
        replace(OptimConfig(), optimizer=name, lr=0.1),
        [("encoder.norm.weight", torch.nn.Parameter(torch.ones(2)))],
    )
    with pytest.raises(TypeError):
        optimizer.step(lambda: 0.0)
