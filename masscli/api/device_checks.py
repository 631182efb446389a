"""Checks that a device computes what a CPU does: every objective, precisions, search, resuming, sharding.

All models are tiny, and train on sample text for a few updates without dropout, whose random numbers differ
between devices. The CPU computes in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file

from masscli.api.device_check_data import make_data_folder
from masscli.api.model import load
from masscli.api.training import open_run
from masscli.core.distributed import is_sharded
from masscli.data.batches.batch import Batch
from masscli.objectives.objective import Objective
from masscli.objectives.stream_selection import StreamSelection
from masscli.text.demo import draw_sentences
from masscli.training.events import Stepped
from masscli.training.fsdp import shard_model
from masscli.training.setup.compose import compose
from masscli.training.setup.request import TrainRequest
from masscli.training.trainer import Trainer

UPDATES = 3
TOLERANCES = {"fp32": 0.001, "bf16": 0.01, "fp16": 0.01}
"""Largest relative difference of a loss from that of the CPU, by precision. Bugs cause larger
differences, and rounding smaller ones."""
SAMPLED_TOLERANCE = 0.3
"""The same for objectives that learn from samples of their own model, which devices draw differently."""
SENTENCES = 16
"""Number of sentences that are translated to compare searches."""
LEAST_EQUAL = 0.9
"""Smallest share of translations that must be equal: hypotheses with almost equal scores may swap ranks."""

SIZES = {"dim": 32, "ffn_dim": 64, "heads": 2, "max_positions": 160, "dropout": 0.0}
BOTH = {"encoder_layers": 2, "decoder_layers": 2}
ENCODER = {"encoder_layers": 2, "decoder_layers": 0}
DECODER = {"encoder_layers": 0, "decoder_layers": 2}


@dataclass(frozen=True)
class Case:
    """An objective with the stacks of its model, the options of both, and the data that it is trained on."""

    stacks: Mapping[str, int]
    model: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    selection: StreamSelection = field(default_factory=StreamSelection)
    sampled: bool = False
    """Whether the objective learns from samples of its own model."""


_EN_DE = StreamSelection(source_lang="en", target_lang="de")
_ENGLISH = StreamSelection(langs=("en",))
_ROWS = StreamSelection(table=("rows",))
_SHORT = {"tokens_per_sample": 40}
CASES = {
    "mass": Case(BOTH),
    "denoise": Case(BOTH),
    "clm": Case(DECODER),
    "mlm": Case(ENCODER),
    "bert+lm": Case(BOTH),
    "tlm": Case(ENCODER, selection=_EN_DE),
    "bert": Case(ENCODER, {"segments": 2}, _SHORT, _ENGLISH),
    "roberta": Case(ENCODER, {"positions": "learned"}, _SHORT, _ENGLISH),
    "albert": Case(ENCODER, {"share_layers": "all", "segments": 2}, _SHORT, _ENGLISH),
    "electra": Case(
        ENCODER, {}, {**_SHORT, "generator_size": 0.5}, _ENGLISH, sampled=True
    ),
    "gpt": Case(DECODER, {"activation": "gelu_tanh"}, _SHORT, _ENGLISH),
    "unilm": Case(
        ENCODER, {"relative_buckets": 8, "relative_distance": 20}, _SHORT, _ENGLISH
    ),
    "translate": Case(BOTH, selection=_EN_DE),
    "s2s": Case(ENCODER, selection=_EN_DE),
    "backtranslate": Case(
        BOTH, selection=StreamSelection(langs=("en", "de")), sampled=True
    ),
    "classify": Case(ENCODER, {}, {"head_dropout": 0.0}, _ROWS),
    "regress": Case(ENCODER, {}, {"head_dropout": 0.0, "label_column": "score"}, _ROWS),
    "tag": Case(ENCODER, {}, {"head_dropout": 0.0}),
    "choose": Case(ENCODER, {}, {"head_dropout": 0.0}),
    "extract": Case(ENCODER, {}, {"head_dropout": 0.0, "max_length": 80}),
    "summarize": Case(BOTH),
    "respond": Case(ENCODER, {}, {"max_source": 60, "max_target": 30}),
}
"""Every objective that comes with masscli."""


@dataclass(frozen=True)
class Check:
    """The result of one check, with a few words on what was found."""

    name: str
    passed: bool
    detail: str


def check_device(device: torch.device, folder: Path) -> Iterator[Check]:
    """Check a device with sample text and models that are written into `folder`; yield each result."""
    data = make_data_folder(folder)
    references = {}
    for name, case in CASES.items():
        reference = _train(_request(name, case, data, folder / f"cpu-{name}", "cpu"))
        references[name] = reference
        losses = _train(
            _request(name, case, data, folder / f"device-{name}", str(device))
        )
        tolerance = SAMPLED_TOLERANCE if case.sampled else TOLERANCES["fp32"]
        yield _compare(f"{name}, fp32", losses, reference, tolerance)
    case = CASES["translate"]
    for precision in ("bf16", "fp16"):
        losses = _train(
            _request(
                "translate", case, data, folder / precision, str(device), precision
            )
        )
        yield _compare(
            f"translate, {precision}",
            losses,
            references["translate"],
            TOLERANCES[precision],
        )
    yield _check_search(folder / "cpu-translate", device)
    yield _check_resume(data, folder, device)
    yield _check_sharding(data, folder, device)


def _train(request: TrainRequest) -> list[dict[str, float]]:
    """Train until the updates of the request have been made; return the losses of each new one.

    A run that the folder of the request holds is continued.
    """
    with open_run(compose(request)) as run:
        return [
            dict(event.losses) for event in run.events() if isinstance(event, Stepped)
        ]


def _request(
    name: str,
    case: Case,
    data: Path,
    save_dir: Path,
    device: str,
    precision: str = "fp32",
    updates: int = UPDATES,
) -> TrainRequest:
    """Return the request for a run with an objective, of `updates` updates."""
    recipe = {
        "data": str(data),
        "save_dir": str(save_dir),
        "model": {**SIZES, **case.stacks, **case.model},
        "optim": {"lr": 0.003, "lr_scheduler": "constant", "warmup_updates": 1},
        "train": {
            "max_tokens": 400,
            "max_update": updates,
            "precision": precision,
            "device": device,
            "num_workers": 0,
            "log_interval": 1,
        },
        "valid": {"disable_validation": True},
    }
    return TrainRequest(
        recipe_options=recipe,
        objective=name,
        objective_options=case.options,
        selection=case.selection,
    )


def _compare(
    name: str,
    losses: list[dict[str, float]],
    reference: list[dict[str, float]],
    tolerance: float,
) -> Check:
    """Compare the losses of every update with those of the CPU."""
    differences = [0.0]
    for step, expected_step in zip(losses, reference, strict=True):
        for term, expected in expected_step.items():
            # A term without targets has no loss.
            differences.append(
                abs(step.get(term, float("inf")) - expected) / max(abs(expected), 1e-6)
            )
    largest = _largest(differences)
    detail = f"losses of {len(losses)} updates differ by {largest:.1e} at most"
    return Check(name, largest <= tolerance, detail)


def _largest(values: Sequence[float]) -> float:
    """Return the largest of some numbers, or NaN, which no tolerance allows, if one of them is NaN."""
    # Python's max drops NaN unless it comes first.
    return float(torch.tensor(values, dtype=torch.float64).max())


def _check_search(run: Path, device: torch.device) -> Check:
    """Compare translations, beam 5, of a model of the CPU on the device with those on the CPU."""
    texts = [sentence["en"] for sentence in draw_sentences(SENTENCES, seed=2)]
    results = []
    for name in ("cpu", str(device)):
        model = load(run, device=name, precision="fp32")
        results.append(model.translate(texts, beam=5, max_len_a=0.0, max_len_b=12))
    equal = sum(first == second for first, second in zip(*results, strict=True))
    detail = f"{equal} of {SENTENCES} translations equal those of the CPU"
    return Check("search, beam 5, fp32", equal >= LEAST_EQUAL * SENTENCES, detail)


def _check_resume(data: Path, folder: Path, device: torch.device) -> Check:
    """Compare the weights of a run that was continued with those of one that was not interrupted."""
    case = CASES["translate"]
    for name, stops in (("whole", (2 * UPDATES,)), ("resumed", (UPDATES, 2 * UPDATES))):
        for updates in stops:
            _train(
                _request(
                    "translate", case, data, folder / name, str(device), updates=updates
                )
            )
    whole, resumed = (_weights(folder / name) for name in ("whole", "resumed"))
    differing = [
        name for name, weight in whole.items() if not torch.equal(weight, resumed[name])
    ]
    detail = f"{len(whole) - len(differing)} of {len(whole)} tensors equal those of an uninterrupted run"
    return Check("resume, fp32", not differing, detail)


def _check_sharding(data: Path, folder: Path, device: torch.device) -> Check:
    """Compare the gradients of a sharded model (FSDP2, in a group of one process) with those of a whole one.

    The training commands do not shard the model of a single process, so it is done here.
    """
    backend = "gloo" if device.type == "cpu" else "nccl"
    dist.init_process_group(
        backend, init_method=f"file://{folder}/store", rank=0, world_size=1
    )
    try:
        request = _request(
            "translate", CASES["translate"], data, folder / "sharded", str(device)
        )
        with open_run(compose(request)) as run:
            trainer = run.trainer
            [stream] = trainer.streams.values()
            [prepared], _ = trainer.try_update()
            batch = stream.objective.prepare(trainer.model, prepared.batch.to(device))
            whole = _gradients(trainer, stream.objective, batch)
            shard_model(trainer.parts.train_step, device)
            sharded = _gradients(trainer, stream.objective, batch)
    finally:
        dist.destroy_process_group()
    largest = _largest(
        [float((whole[name] - sharded[name]).abs().max()) for name in whole]
    )
    scale = _largest([float(gradient.abs().max()) for gradient in whole.values()])
    detail = (
        f"{len(whole)} gradients differ by {largest / scale:.1e} of the largest at most"
    )
    return Check(
        "FSDP2, one process, fp32", largest <= TOLERANCES["fp32"] * scale, detail
    )


def _gradients(
    trainer: Trainer, objective: Objective, batch: Batch
) -> dict[str, torch.Tensor]:
    """Return the gradients of a batch by the names of the parameters, put together if they are sharded."""
    losses = trainer.parts.train_step(objective, batch)
    torch.autograd.backward(
        torch.stack([value.loss for value in losses.values()]).sum()
    )
    gradients = {}
    for name, parameter in trainer.model.named_parameters():
        gradient = parameter.grad
        # Not every objective uses all parameters.
        if gradient is None:
            continue
        if is_sharded(gradient):
            gradient = gradient.full_tensor()
        gradients[name] = gradient.clone()
    trainer.model.zero_grad(set_to_none=True)
    return gradients


def _weights(run: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the last checkpoint of a run."""
    return load_file(run / "checkpoints" / "last" / "model.safetensors")
