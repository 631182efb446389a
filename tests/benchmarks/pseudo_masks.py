"""Measure how much time UniLMv2 saves with one pass for both of its objectives.

    python tests/benchmarks/pseudo_masks.py --data DATA [--updates 20]

DATA is a folder that `masscli preprocess` wrote, with documents. For n tokens, of which |M| are masked, `--variant ae+par` predicts every
masked token twice in one pass over n + 2 |M| tokens. `ae` and `par` together learn the same from two passes, over n and over n + |M|
tokens. BERT's pass is that of `ae`, with next-sentence prediction in addition. Updates of all four are timed in turns. Prints the median
seconds of an update of each, and how many times as long `ae` and `par` take as `ae+par`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from masscli.core.config import from_dict
from masscli.models.presets import resolve
from masscli.training.events import Event
from masscli.training.recipe import Recipe
from masscli.training.setup.build import build

PASSES = {
    "ae+par": {"name": "unilm", "variant": "ae+par"},
    "ae": {"name": "unilm", "variant": "ae"},
    "par": {"name": "unilm", "variant": "par"},
    "bert": {"name": "bert"},
}


def run(
    args: argparse.Namespace, objective: dict[str, str], folder: Path
) -> Iterator[Event]:
    """Return the events of a training run, of which each update yields one."""
    said = {
        "arch": args.arch,
        "languages": "none",
        "segments": 2,
        "relative_buckets": 32 if objective["name"] == "unilm" else 0,
    }
    raw = {
        "data": str(args.data), "save_dir": str(folder),
        "train": {"max_tokens": args.max_tokens, "max_update": 10 * args.updates, "num_workers": 0, "log_interval": 1},
        "optim": {"lr": 0.0005, "warmup_updates": 10},
        "checkpoint": {"save_interval_updates": 100 * args.updates},
        "stream": {"text": {"dataset": args.lang, "objective": {**objective, "tokens_per_sample": args.length}}},
    }  # fmt: skip
    return build(replace(from_dict(Recipe, raw), model=resolve(said, "encoder")))[
        0
    ].run()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--lang", default="en")
    parser.add_argument("--arch", default="small")
    parser.add_argument("--length", type=int, default=128, metavar="N")
    parser.add_argument("--max-tokens", type=int, default=2048, metavar="N")
    parser.add_argument("--updates", type=int, default=20, metavar="N")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        runs = {
            kind: run(args, objective, Path(name) / kind)
            for kind, objective in PASSES.items()
        }
        seconds: dict[str, list[float]] = {kind: [] for kind in runs}
        # The first three updates, in which memory is allocated, are not counted.
        for turn in range(args.updates + 3):
            for kind, events in runs.items():
                begun = time.perf_counter()
                next(events)
                if turn >= 3:
                    seconds[kind].append(time.perf_counter() - begun)
        middle = {kind: statistics.median(each) for kind, each in seconds.items()}
    for kind, value in middle.items():
        print(f"{kind:8} {value:.3f} s an update of {args.max_tokens} tokens")
    print(
        f"ae and par in two passes take {(middle['ae'] + middle['par']) / middle['ae+par']:.2f} times as long as in one"
    )


if __name__ == "__main__":
    main()
