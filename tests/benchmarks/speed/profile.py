"""For what masscli spends the time of a row: the share of each kind of operation, by PyTorch's profiler.

An operation counts without those that it calls. An operation within attention, the loss or the optimizer belongs to
these, but products with weights are counted together wherever they are.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch.profiler import ProfilerActivity, profile

from tests.benchmarks.speed.measure import Contestant, Row

PRODUCTS = "matrix products"
OTHER = "other operations"
OUTSIDE = "Python, autograd and the profiler"
SCOPES = {
    "optimizer": ("Optimizer.",),
    "attention": ("Attention", "scaled_dot_product"),
    "loss": ("CrossEntropy", "cross_entropy"),
}
"""What stands in the name of an operation that calls all those of a kind."""
OPERATIONS = {
    PRODUCTS: ("mm", "addmm", "matmul", "linear", "int_mm", "weight_int"),
    "attention": ("bmm", "baddbmm", "softmax"),
    "dropout": ("dropout", "bernoulli", "random", "ge"),
    "norm": ("layer_norm", "native_layer_norm"),
    "loss": ("log_softmax", "nll_loss", "logsumexp"),
    "scaling and rounding": (
        "abs",
        "amax",
        "aminmax",
        "clamp",
        "addcmul",
        "div",
        "quantize",
        "dequantize",
    ),
    "choice of hypotheses": ("topk", "sort", "gather", "where", "masked_fill"),
    "casts and copies": (
        "to_copy",
        "copy",
        "clone",
        "cat",
        "stack",
        "fill",
        "zero",
        "index_select",
    ),
    "optimizer": ("foreach", "fused_adamw", "linalg_vector_norm"),
}
"""What the name of an operation begins with, once its library and leading underscores are off.

A dropout mask is random bytes that are compared with a threshold (`ge`).
"""


@dataclass(frozen=True)
class Profile:
    """Where the time of a program went: seconds by kind of operation, and of each one that has no kind."""

    seconds: Counter[str]
    unnamed: Counter[str]


def profiled(contestant: Contestant, seconds: float) -> Profile:
    """Profile a turn of a program, after a piece of work to warm up."""
    contestant.turn(0.0)
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        started = time.perf_counter()
        contestant.turn(seconds)
        elapsed = time.perf_counter() - started
    spent: Counter[str] = Counter()
    unnamed: Counter[str] = Counter()
    for event in profiler.events():
        if not is_operation(event.name):
            continue
        kind = kind_of([event.name, *callers(event)])
        spent[kind] += event.self_cpu_time_total / 1e6
        if kind == OTHER:
            unnamed[event.name] += event.self_cpu_time_total / 1e6
    spent[OUTSIDE] = elapsed - sum(spent.values())
    return Profile(spent, unnamed)


def is_operation(name: str) -> bool:
    """Return whether an event is an operation on tensors, such as `aten::mm`, and not what calls some."""
    return "::" in name and not name.startswith("autograd::")


def callers(event: Any) -> Iterator[str]:
    """Yield the names of the events within which an event happened, from the inside out."""
    while event.cpu_parent is not None:
        event = event.cpu_parent
        yield event.name


def kind_of(names: list[str]) -> str:
    """Return the kind of an operation, whose name is the first; the others are those of its callers."""
    operation = names[0].split("::")[-1].lstrip("_")
    scope = ""
    for kind, parts in SCOPES.items():
        if any(part in name for part in parts for name in names):
            scope = kind
            break
    if operation.startswith(OPERATIONS[PRODUCTS]) and scope != "attention":
        return PRODUCTS
    if scope:
        return scope
    for kind, beginnings in OPERATIONS.items():
        if operation.startswith(beginnings):
            return kind
    return OTHER


def profile_lines(row: Row, seconds: float) -> list[str]:
    """Profile each program of masscli in a row, and return a table of shares of its time.

    Raises SystemExit if the row measures whole commands, which are processes of their own.
    """
    own = [each for each in row.contestants if each.name.startswith("masscli")]
    profiles = [profiled(contestant, seconds) for contestant in own]
    for contestant in row.contestants:
        contestant.close()
    if not any(found.seconds[PRODUCTS] for found in profiles):
        raise SystemExit(f"--profile: {row.name} is measured in other processes")
    names = " | ".join(contestant.name for contestant in own)
    lines = [f"| **{row.name}** | {names} |", "|---" + "|---:" * len(own) + "|"]
    total: Counter[str] = Counter()
    for found in profiles:
        total += found.seconds
    for kind, _ in total.most_common():
        shares = [found.seconds[kind] / found.seconds.total() for found in profiles]
        cells = " | ".join(f"{share:.1%}" for share in shares)
        lines.append(f"| {kind} | {cells} |")
    for contestant, found in zip(own, profiles, strict=True):
        largest = [
            f"{name} {spent / found.seconds.total():.1%}"
            for name, spent in found.unnamed.most_common(4)
        ]
        lines.append(f"\n{contestant.name}, {OTHER}: {', '.join(largest)}.")
    return lines
