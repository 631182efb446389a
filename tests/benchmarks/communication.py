"""Measure the bytes that processes send one another in an update, beside the formula.

    unshare --net sh -c "ip link set lo up; python -m tests.benchmarks.communication [--processes 2,3] [--updates 10]"

MASS is trained by processes on this machine (gloo, fp32) on masscli's sample text, with whole copies of the model and with
`--shard-model`. Bytes are those that pass the loopback interface, whose counters belong to the whole machine: `unshare`, which
needs root, gives the program a network of its own. A run of a few updates is subtracted from a longer one, so that start and
end do not count.

With P parameters of 4 bytes and N processes, the sum of all gradients takes 2 (N - 1) / N * 4 P bytes of each process (a ring:
every process passes its part on N - 1 times to be summed, and N - 1 times to be copied). A sharded model gathers the weights
of its layers in the forward pass and again in the backward pass; what is not in a layer (the embeddings) is gathered once. The
sums of the gradients take as much as those of a whole model with gloo, whose reduce-scatter is an all-reduce, so that it is
(N - 1) / N * 4 (4 P - Q) bytes with Q parameters outside of layers. NCCL's reduce-scatter takes half: 3 P - Q.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from safetensors import safe_open

from masscli.text import demo

FEW = 3
"""The updates of the run that is subtracted."""
MODEL = "--arch tiny --max-tokens 200 --precision fp32 --threads 1 --num-workers 0 --validate-interval-updates 0"


def loopback_bytes() -> int:
    """Return how many bytes were sent over the loopback interface since it is up."""
    for line in Path("/proc/net/dev").read_text().splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == "lo":
            return int(counters.split()[8])
    sys.exit("/proc/net/dev has no loopback interface")


def run(arguments: Sequence[str]) -> None:
    """Run a Python command; end with its messages if it fails."""
    result = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True
    )
    if result.returncode:
        sys.exit(result.stdout + result.stderr)


def bytes_of_training(
    data: Path, folder: Path, processes: int, updates: int, flags: Sequence[str]
) -> int:
    """Train for so many updates, and return the bytes that all processes have sent."""
    launcher = (
        f"-m torch.distributed.run --standalone --nproc-per-node {processes} -m masscli"
    )
    command = f"pretrain {data} --objective mass {MODEL} --max-update {updates} --save-dir {folder}"
    before = loopback_bytes()
    run([*launcher.split(), *command.split(), *flags])
    return loopback_bytes() - before


def parameter_counts(folder: Path) -> tuple[int, int]:
    """Return the numbers of parameters of a checkpoint: all, and those outside layers."""
    whole, outside = 0, 0
    with safe_open(folder / "checkpoints/last/model.safetensors", "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118
            size = tensors.get_tensor(name).numel()
            whole += size
            if ".layers." not in name:
                outside += size
    return whole, outside


def expected(processes: int, whole: int, outside: int, sharded: bool) -> float:
    """Return the bytes that each process sends in an update by the formula."""
    share = (processes - 1) / processes
    if not sharded:
        return 2 * share * 4 * whole
    return share * 4 * (4 * whole - outside)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", default="2,3", metavar="N,N,...")
    parser.add_argument("--updates", type=int, default=10, metavar="N")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        demo.write(folder / "demo")
        data = folder / "data"
        text = f"--trainpref {folder}/demo/train --validpref {folder}/demo/valid"
        run(
            f"-m masscli preprocess --langs en,de {text} --vocab-size 400 --destdir {data}".split()
        )
        print(
            f"{'processes':>9} {'model':<8} {'parameters':>10} {'MB, each process':>17} {'formula':>8}"
        )
        for processes in map(int, arguments.processes.split(",")):
            for model, flags in (("whole", []), ("sharded", ["--shard-model"])):
                sent = []
                for updates in (FEW, FEW + arguments.updates):
                    runs = folder / f"{processes}-{model}-{updates}"
                    sent.append(
                        bytes_of_training(data, runs, processes, updates, flags)
                    )
                whole, outside = parameter_counts(runs)
                measured = (sent[1] - sent[0]) / arguments.updates / processes
                formula = expected(processes, whole, outside, bool(flags))
                print(
                    f"{processes:>9} {model:<8} {whole:>10,} {measured / 1e6:>17.2f} {formula / 1e6:>8.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
