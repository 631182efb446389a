"""Describe the machine and the installation, as `masscli doctor` shows them for bug reports."""

from __future__ import annotations

import os
import platform
import re
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masscli.core.processors import usable_cores
from masscli.version import __version__

if TYPE_CHECKING:
    import torch

PACKAGE = "masscli"
PLUGIN_GROUPS = ("masscli.objectives", "masscli.metrics", "masscli.event_sinks")
"""The groups of entry points under which packages register plug-ins for masscli."""
DEVELOPMENT_EXTRAS = ("dev", "docs")
"""Extras for the development of masscli itself; they are not reported."""
GIB = 2**30
"""Bytes in a GiB."""
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    "PYTORCH_CUDA_ALLOC_CONF",
    "PYTHONPATH",
)
"""Environment variables that affect masscli. No others are reported, since some may hold secrets."""
_REQUIREMENT = re.compile(
    r"(?P<name>[\w.-]+)[^;]*(?:;.*extra\s*==\s*['\"](?P<extra>[\w.-]+)['\"])?"
)
"""Matches a requirement in the metadata of a package, such as `tensorboard>=2; extra == 'tb'`."""


def describe_environment(folder: Path) -> dict[str, Any]:
    """Return versions, device, memory, the disk of `folder` and those environment variables in VARIABLES.

    The result can be written as JSON. This takes about a second, since the speed of matrix products is
    measured. Memory and disk are in GiB.
    """
    requirements = _requirements()
    packages = {name: _version(name) for name in requirements.pop("")}
    # What is left are the extras.
    extras = {}
    for extra, names in requirements.items():
        extras[extra] = {name: _version(name) for name in names}
    return {
        PACKAGE: __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "extras": extras,
        "plugins": _plugins(),
        "device": _describe_device(),
        "memory": {"free": free_memory(), "total": _total_memory()},
        "disk": {"folder": str(folder.resolve()), **_disk(folder)},
        "environment": {
            name: os.environ[name] for name in VARIABLES if name in os.environ
        },
    }


def free_memory() -> float:
    """Return the main memory in GiB that is available now, within the limit of a container if any."""
    # This includes memory that caches would release, unlike the number of free pages.
    free = _from_meminfo("MemAvailable")
    if free is None:
        free = _total_memory()
    limit = _container_limit()
    if limit is None:
        return free
    return min(free, limit)


def free_memory_of_gpu(device: torch.device) -> float:
    """Return the free memory of a GPU in GiB, which no process has allocated."""
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return free / GIB


def _requirements() -> dict[str, list[str]]:
    """Return the names of the packages that masscli requires, by extra.

    Under the key "" are the packages that it always needs. Extras for development are left out.
    """
    required: dict[str, list[str]] = {"": []}
    for line in metadata.requires(PACKAGE) or []:
        match = _REQUIREMENT.match(line)
        if match is not None and match["extra"] not in DEVELOPMENT_EXTRAS:
            required.setdefault(match["extra"] or "", []).append(match["name"])
    return required


def _version(package: str) -> str | None:
    """Return the installed version of a package, or None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plugins() -> list[str]:
    """Return the plug-ins that other packages register for masscli, sorted, as `GROUP: NAME (PACKAGE)`."""
    plugins = set()
    for group in PLUGIN_GROUPS:
        for point in metadata.entry_points(group=group):
            if point.dist is not None and point.dist.name != PACKAGE:
                plugins.add(f"{group}: {point.name} ({point.dist.name})")
    return sorted(plugins)


def _describe_device() -> dict[str, Any]:
    """Return a description of the device and precision that `auto` chooses, the CPU and all GPUs.

    `gflops` is the measured speed of matrix products on that device in GFLOP/s, by type; memory of GPUs is in
    GiB.
    """
    import torch

    from masscli.training.precision import (
        choose_device,
        choose_dtype,
        measure_matrix_products,
    )

    device = choose_device("auto")
    gflops = {}
    for dtype, flops in measure_matrix_products(device).items():
        gflops[str(dtype).removeprefix("torch.")] = flops / 1e9
    described: dict[str, Any] = {
        "name": str(device),
        "precision": str(choose_dtype("auto", device)).removeprefix("torch."),
        "gflops": gflops,
        "threads": torch.get_num_threads(),
        "cores": usable_cores(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpus": [],
    }
    if torch.cuda.is_available():
        described["cuda"] = torch.version.cuda
        for number in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(number)
            described["gpus"].append(
                {
                    "name": torch.cuda.get_device_name(number),
                    "capability": ".".join(
                        map(str, torch.cuda.get_device_capability(number))
                    ),
                    "free": free / GIB,
                    "total": total / GIB,
                }
            )
    return described


def _processor() -> str:
    """Return the model name of the CPU, or its architecture if the name is not known."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor() or platform.machine()
    models = re.findall(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return models[0] if models else platform.machine()


def _total_memory() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB


def _from_meminfo(key: str) -> float | None:
    """Return the figure `key` of Linux's /proc/meminfo in GiB, or None if it is not available."""
    try:
        text = Path("/proc/meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    match = re.search(rf"^{key}:\s*(\d+) kB$", text, re.MULTILINE)
    # The file counts in KiB.
    return int(match[1]) / 2**20 if match else None


def _container_limit() -> float | None:
    """Return the memory in GiB that the container (cgroup version 2) may still use; None without a limit."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text(encoding="utf-8").strip()
        used = (folder / "memory.current").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    if not limit.isdecimal() or not used.isdecimal():
        return None
    return (int(limit) - int(used)) / GIB


def _disk(folder: Path) -> Mapping[str, float]:
    usage = shutil.disk_usage(folder)
    return {"free": usage.free / GIB, "total": usage.total / GIB}
