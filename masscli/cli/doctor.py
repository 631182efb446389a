"""Show what a bug report needs: versions, device, memory.

The speeds are those of matrix products, measured now; `--precision auto` chooses the faster precision
on a CPU. Memory and disk space are the amounts that are free at this moment.

Examples:
  masscli doctor
  masscli doctor --json > doctor.json
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from masscli.core.listing import count_of


def run(
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print one JSON object, with memory and disk in GiB."
        ),
    ] = False,
) -> None:
    """Print a report on the installation and the machine, as text or as JSON."""
    from masscli.reporting.environment import describe_environment

    environment = describe_environment(Path.cwd())
    if as_json:
        print(json.dumps(environment, indent=1))
        return
    for name, value in _rows(environment):
        print(f"{name:12} {value}")


def _rows(environment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each line of the report on the data that `describe_environment` returns."""
    device, memory, disk = (
        environment["device"],
        environment["memory"],
        environment["disk"],
    )
    yield "masscli", environment["masscli"]
    yield "python", environment["python"]
    yield "platform", environment["platform"]
    yield (
        "packages",
        ", ".join(
            f"{name} {version}" for name, version in environment["packages"].items()
        ),
    )
    yield (
        "processor",
        f"{device['processor']}, {count_of(device['cores'], 'core')}, {device['cpu_capability']}",
    )
    for gpu in device["gpus"]:
        sizes = f"{gpu['free']:.1f} of {gpu['total']:.1f} GiB free"
        yield (
            "gpu",
            f"{gpu['name']}, capability {gpu['capability']}, CUDA {device['cuda']}, {sizes}",
        )
    speeds = ", ".join(
        f"{dtype} {gflops:,.0f} GFLOP/s" for dtype, gflops in device["gflops"].items()
    )
    yield "device", f"{device['name']}, CPU threads {device['threads']}"
    yield "precision", f"{device['precision']} ({speeds})"
    yield "memory", f"{memory['free']:.1f} of {memory['total']:.1f} GiB free"
    yield (
        "disk",
        f"{disk['free']:.1f} of {disk['total']:.1f} GiB free in {disk['folder']}",
    )
    for extra, packages in environment["extras"].items():
        yield f"extra {extra}", _describe_extra(extra, packages)
    for plugin in environment["plugins"]:
        yield "plug-in", plugin
    for name, value in environment["environment"].items():
        yield "variable", f"{name}={value}"


def _describe_extra(extra: str, packages: Mapping[str, str | None]) -> str:
    """Return a text with the versions of an extra's packages, and how to install those that are missing.

    `packages` maps names to installed versions, None for a package that is not installed.
    """
    missing = [name for name, version in packages.items() if version is None]
    installed = [
        f"{name} {version}" for name, version in packages.items() if version is not None
    ]
    if missing:
        installed.append(f"no {', '.join(missing)} (pip install 'masscli[{extra}]')")
    return ", ".join(installed)
