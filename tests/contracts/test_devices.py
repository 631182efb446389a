"""Nothing is left on the CPU that belongs on the device: runs on a pretended one learn what they learn on the CPU, to rounding."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from masscli.__main__ import run as masscli
from masscli.core import distributed
from masscli.core.config import to_dict, to_toml
from masscli.core.errors import MasscliError
from masscli.training.precision import choose_device
from masscli.training.recipe import Recipe
from tests.contracts.test_processes import logged, measured
from tests.toy import recipe
from tests.toy_tasks import ENCODER, TINY

pytestmark = pytest.mark.usefixtures("one_thread", "no_sync")

ENCODERS, DECODERS = "model.decoder_layers=0", "model.encoder_layers=0"
PLAIN = ["--head-dropout", "0"]  # masks are drawn in another way on a CPU
SHORT = {"tokens_per_sample": 24}
METHODS: dict[str, tuple[dict[str, dict[str, Any]], tuple[str, ...]]] = {
    "mass": ({"en": {"name": "mass"}, "en-de": {"name": "translate"}}, ("valid.eval_bleu=true",)),
    "denoise": ({"en": {"name": "denoise"}}, ("train.precision=fp16",)),
    "mlm": ({"en": {"name": "mlm"}, "de": {"name": "mlm"}}, (ENCODERS, "valid.eval_retrieval=true")),
    "clm": ({"en": {"name": "clm"}}, (DECODERS,)),
    "tlm": ({"en-de": {"name": "tlm"}}, (ENCODERS,)),
    "bert+lm": ({"en": {"name": "bert+lm"}}, ()),
    "bert": ({"en": {"name": "bert", **SHORT}}, (ENCODERS, "model.segments=2", "model.pooler=true", "train.reduction=batch_mean")),
    "roberta": ({"en": {"name": "roberta", **SHORT}}, (ENCODERS, "optim.optimizer=adamw_bert")),
    "albert": ({"en": {"name": "albert", **SHORT}}, (ENCODERS, "model.share_layers=all", "model.embedding_dim=8",
                                                  "model.head_transform=true", "optim.optimizer=lamb")),
    "electra": ({"en": {"name": "electra", **SHORT}}, (ENCODERS,)),
    "gpt": ({"en": {"name": "gpt", **SHORT}}, (DECODERS, "optim.optimizer=adam_openai")),
    "unilm": ({"en": {"name": "unilm", **SHORT}}, (ENCODERS, "model.relative_buckets=8", "train.precision=bf16")),
    "backtranslate": (
        {"en-de": {"name": "backtranslate", "min_piece_count": 2}, "de-en": {"name": "backtranslate", "beam": 2, "sampling_share": 0.5}},
        ("valid.eval_roundtrip=true",),
    ),
    "s2s": ({"en-de": {"name": "s2s"}}, (ENCODERS, "valid.eval_bleu=true")),
}  # fmt: skip
HALF = {
    name
    for name, (_, changes) in METHODS.items()
    if {"train.precision=fp16", "train.precision=bf16"} & {*changes}
}
TASKS = {
    "classify": ["--table", "two", *ENCODER, *PLAIN], "regress": ["--table", "two", "--label-column", "score", *ENCODER, *PLAIN],
    "tag": [*ENCODER, *PLAIN], "choose": [*TINY, "--encoder-layers", "0", "--lm-weight", "0.5", *PLAIN],
    "extract": [*ENCODER, "--qa-head", "electra", "--max-length", "40", "--max-query", "6", "--doc-stride", "5"],
}  # fmt: skip


def everything(toy: Path, labeled: Path, place: Path) -> Iterator[list[str]]:
    """Command lines of all that is trained, and of what writes and predicts, into `place`."""
    place.mkdir()
    for method, (texts, changes) in METHODS.items():
        streams = {
            f"of-{text}": {"dataset": text, "objective": objective}
            for text, objective in texts.items()
        }
        made: Recipe = recipe(
            toy,
            place / method,
            "train.max_update=2",
            "model.dropout=0",
            *changes,
            streams=streams,
        )
        (place / f"{method}.toml").write_text(to_toml(to_dict(made)), encoding="utf-8")
        yield ["finetune", "--config", str(place / f"{method}.toml")]
    (place / "in.en").write_text("ba be bi\n\nga go gu de\n", encoding="utf-8")
    search = {
        "mass": ["--nbest", "2"],
        "gpt": ["--sampling", "--seed", "3"],
        "s2s": ["--diverse-beam-groups", "2", "--beam", "4"],
    }
    for name, options in search.items():
        sides = ["-s", "en", "-t", "de"] if name != "gpt" else []
        yield ["generate", str(place / name), *sides, "-i", str(place / "in.en"), "--precision", "fp32", "--format", "jsonl", *options,
               "--output", str(place / f"{name}.jsonl")]  # fmt: skip
    for task, options in TASKS.items():
        yield ["finetune", str(labeled / "data"), "--task", task, *options, "--max-update", "2",
               "--save-dir", str(place / task)]  # fmt: skip


def test_results_on_another_device_are_the_same(
    toy: Path, labeled: Path, tmp_path: Path
) -> None:
    here, there = (
        list(everything(toy, labeled, tmp_path / name)) for name in ("cpu", "device")
    )
    assert all(masscli(command) == 0 for command in here)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.pretend"],
        input=json.dumps(there),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    for name in (*METHODS, *TASKS):
        actual, expected = tmp_path / "device" / name, tmp_path / "cpu" / name
        # The loss is summed in fp64 on a CPU and in fp32 elsewhere. Half precision rounds the probability of a label by 1 in 512
        # at most, and labels of an untrained model all in the same way, so two devices are up to 1 in 256 apart, and their weights differ.
        assert logged(actual).keys() == logged(expected).keys()
        for step, losses in logged(expected).items():
            assert logged(actual)[step] == pytest.approx(
                losses, abs=5e-3 if name in HALF else 1e-4
            ), name
        assert measured(actual).keys() == measured(expected).keys() and measured(
            expected
        )
        for step, metrics in measured(expected).items():
            assert measured(actual)[step] == pytest.approx(
                metrics, rel=1e-3, abs=1e-3
            ), name
    for written in ("mass", "gpt", "s2s"):
        actual, expected = (
            _texts(tmp_path / name / f"{written}.jsonl") for name in ("device", "cpu")
        )
        assert actual == expected and any(expected)


def test_tensors_of_different_devices_cannot_be_mixed() -> None:
    """The pretended device reports an operation that mixes its tensors with those of the CPU."""
    code = "import torch; from tests import pretend; pretend.register(); torch.ones(3).to('pretend') + torch.ones(3)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        ended.returncode
        and "add: tensors of the CPU among those of the device: [(3,)]" in ended.stderr
    )


@pytest.mark.parametrize(
    ("name", "rank", "world", "found"),
    [
        ("auto", 0, 1, "cuda:0"), ("cuda", 0, 1, "cuda:0"), ("cuda:1", 0, 1, "cuda:1"), ("cpu", 1, 2, "cpu"),
        ("auto", 1, 2, "cuda:1"), ("cuda", 1, 2, "cuda:1"),
        ("auto", 2, 3, "there are 2 GPUs here, and more processes"), ("cuda:2", 0, 1, "--device cuda:2: there are 2 GPUs"),
        ("cuda:0", 1, 2, "--device cuda:0: 2 processes would share it"),
    ],
)  # fmt: skip
def test_each_process_has_a_gpu_of_its_own(
    name: str, rank: int, world: int, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes use two GPUs."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(distributed, "world_size", world)
    try:
        device = str(choose_device(name, rank))
    except MasscliError as error:
        device = error.message
    assert device == found


def _texts(path: Path) -> Sequence[Sequence[str]]:
    return [
        [h["text"] for h in json.loads(line)["hypotheses"]]
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
