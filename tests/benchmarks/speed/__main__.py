"""Print the table of speeds: masscli, its peers and the ceiling of this machine, measured in turns.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.speed [--rows NAME,...] [--repeats 3] [--seconds 4] [--json FILE]

There is a line for each row and program: the median, the range over the repetitions, and how many times as fast
masscli is. Rows of training also say what share of the ceiling is reached, a matrix product of the same shape.
`--list` names all rows. Peers are installed with `pip install transformers ctranslate2`; fairseq, JoeyNMT and eole
have environments of their own (docs/results/speed.md says how). A peer that is missing is left out and named.

    python -m tests.benchmarks.speed --profile --rows NAME

prints for what masscli spends the time of a row, by kind of operation, and measures no speed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import torch

from masscli.core.memory import tune_heap
from tests.benchmarks.speed.measure import measure
from tests.benchmarks.speed.profile import profile_lines
from tests.benchmarks.speed.rows import rows_by_name
from tests.benchmarks.speed.table import HEAD, as_json, describe_machine, table_lines


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    switch = argparse.BooleanOptionalAction
    parser.add_argument(
        "--rows", default="", help="names of rows, separated by commas (default: all)"
    )
    parser.add_argument("--list", action="store_true", help="name all rows, and end")
    parser.add_argument(
        "--repeats", type=int, default=3, help="how often each program takes its turn"
    )
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="the length of a turn"
    )
    parser.add_argument(
        "--tokens", type=int, default=3840, help="tokens in a training batch"
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="cpu if others use the machine",
    )
    parser.add_argument(
        "--peers", action=switch, default=True, help="measure other programs, too"
    )
    parser.add_argument(
        "--compiled", action=switch, default=True, help="measure compiled peers, too"
    )
    for program in ("fairseq", "joeynmt", "eole"):
        variable = f"MASSCLI_{program.upper()}_PYTHON"
        parser.add_argument(
            f"--{program}-python",
            default=os.environ.get(variable),
            help=f"a Python that has {program} (default: that of {variable})",
        )
    parser.add_argument(
        "--profile",
        action="store_true",
        help="print for what masscli spends its time, and measure no speed",
    )
    parser.add_argument("--json", type=Path, help="also write all values to this file")
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    # Training does so, too; the peers in this process gain as well.
    tune_heap()
    torch.set_num_threads(arguments.threads)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    if arguments.profile:
        arguments.peers = False
    rows = rows_by_name(arguments)
    names = arguments.rows.split(",") if arguments.rows else list(rows)
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise SystemExit(
            f"--rows: there is no {', '.join(unknown)}; there are {', '.join(rows)}"
        )
    if arguments.list:
        print("\n".join(names))
        return
    machine = describe_machine()
    if arguments.profile:
        print(f"{machine}; a turn of {arguments.seconds:g} s, shares of the time.")
        for name in names:
            print("", *profile_lines(rows[name](), arguments.seconds), sep="\n")
        return
    print(
        f"{machine}; {arguments.repeats} turns of {arguments.seconds:g} s, {arguments.clock} time.\n"
    )
    print(HEAD, flush=True)
    results = {}
    for name in names:
        started = time.perf_counter()
        row = rows[name]()
        values = measure(row, arguments.repeats, arguments.seconds)
        print("\n".join(table_lines(row, values, arguments.clock)), flush=True)
        results[name] = as_json(row, values) | {
            "seconds": round(time.perf_counter() - started, 1)
        }
        if arguments.json:
            arguments.json.write_text(
                json.dumps({"machine": machine, "rows": results}, indent=1)
            )


if __name__ == "__main__":
    main()
