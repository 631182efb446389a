"""Compare training in one process with training in several under torchrun, which must give the same losses but for rounding.

    python tests/benchmarks/processes.py --data DATA [--processes 2] [--updates 40]

DATA is a folder that `masscli preprocess` wrote, with two languages and a pair. A model with two streams (MASS and translation) is trained
four times: by one process, by several, by one and after half of the updates by several, and by several and then one. Prints one table, the
largest differences of a logged loss and of a weight from those of one process. The exit status is 1 if a loss differs by more than 1e-5.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from safetensors.torch import load_file

RECIPE = """
seed = 1
[model]
dim = 64
ffn_dim = 128
encoder_layers = 2
decoder_layers = 2
languages = "embedding"
[optim]
lr = 0.003
warmup_updates = 10
[train]
max_tokens = 500
update_freq = 4
precision = "fp32"
log_interval = 1
num_workers = 1
[checkpoint]
save_interval_updates = 1000
[stream.mass]
dataset = "{0}"
objective = {{ name = "mass" }}
[stream.translate]
dataset = "{0}-{1}"
objective = {{ name = "translate" }}
"""


def train(
    recipe: Path, data: Path, folder: Path, processes: int, updates: int
) -> float:
    """Train a run until it has `updates` updates, or continue it, and return the seconds that this took."""
    begun = time.monotonic()
    launcher = (
        [
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            str(processes),
        ]
        if processes > 1
        else []
    )
    args = [
        "-m",
        "masscli",
        "finetune",
        str(data),
        "--config",
        str(recipe),
        "--save-dir",
        str(folder),
        "--max-update",
        str(updates),
    ]
    result = subprocess.run(
        [sys.executable, *launcher, *args], capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(result.stderr)
    return time.monotonic() - begun


def losses(folder: Path) -> dict[tuple[int, str], float]:
    """Return the losses in the log of a run, by update and name of the loss."""
    events = [
        json.loads(line)
        for line in (folder / "log.jsonl").read_text().split("\n")
        if line
    ]
    return {
        (e["step"], name): loss
        for e in events
        if e["event"] == "stepped"
        for name, loss in e["losses"].items()
    }


def compare(folder: Path, alone: Path) -> tuple[float, float]:
    """Return the largest differences of a loss and of a weight between the runs in two folders."""
    a, b = losses(folder), losses(alone)
    if a.keys() != b.keys():
        sys.exit(f"{folder.name}: other streams were drawn, or other updates made")
    x, y = (
        load_file(path / "checkpoints/last/model.safetensors")
        for path in (folder, alone)
    )
    return max(abs(a[key] - b[key]) for key in b), max(
        float((x[name] - y[name]).abs().max()) for name in y
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--langs", default="en,de", metavar="A,B")
    parser.add_argument("--processes", type=int, default=2, metavar="N")
    parser.add_argument("--updates", type=int, default=40, metavar="N")
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    many, half = args.processes, args.updates // 2
    plans: Sequence[Sequence[tuple[int, int]]] = [
        [(1, args.updates)], [(many, args.updates)], [(1, half), (many, args.updates)], [(many, half), (1, args.updates)],
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        recipe = Path(name) / "recipe.toml"
        recipe.write_text(RECIPE.format(*args.langs.split(",")))
        print(
            f"{'processes (up to update)':<28} {'loss differs by':>16} {'weight differs by':>18} {'seconds':>8}"
        )
        worst = 0.0
        for number, plan in enumerate(plans):
            folder = Path(name) / str(number)
            seconds = sum(
                train(recipe, args.data, folder, processes, updates)
                for processes, updates in plan
            )
            loss, weight = compare(folder, Path(name) / "0")
            worst = max(worst, loss)
            shown = ", then ".join(
                f"{processes} ({updates})" for processes, updates in plan
            )
            print(
                f"{shown:<28} {loss:>16.2e} {weight:>18.2e} {seconds:>8.1f}", flush=True
            )
    print(f"largest difference of a loss over {args.updates} updates: {worst:.2e}")
    sys.exit(worst > 1e-5)


if __name__ == "__main__":
    main()
