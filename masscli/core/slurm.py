"""Derive the rank of a process, and the address of rank 0, from the variables of SLURM.

`srun masscli pretrain ...` starts processes without torchrun. The variables that PyTorch expects in the
environment follow from those that srun sets.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

FIRST_PORT = 15_000
NUM_PORTS = 20_000


def torchrun_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that torchrun would set, for a process that was started by srun.

    Variables that `environ` already has are left out. The result is empty if WORLD_SIZE is set, as
    torchrun does, or if the process is not one of several tasks of a step: a batch script outside of
    srun is a single process, however many tasks its job may have. LOCAL_RANK is 0 if each task has its
    own GPU (SLURM_GPUS_PER_TASK), which is then the only one that it sees. The port is derived from the
    job id, so that two jobs on one machine use different ports.
    """
    tasks = environ.get("SLURM_STEP_NUM_TASKS", "1")
    if "WORLD_SIZE" in environ or tasks == "1" or "SLURM_PROCID" not in environ:
        return {}
    # If each task has its own GPU, a process sees it as GPU 0.
    local_rank = environ.get("SLURM_LOCALID", "0")
    if "SLURM_GPUS_PER_TASK" in environ:
        local_rank = "0"
    # All processes of a job compute the same port without talking to each other.
    job = int(environ.get("SLURM_JOB_ID", "0"))
    variables = {
        "RANK": environ["SLURM_PROCID"],
        "WORLD_SIZE": tasks,
        "LOCAL_RANK": local_rank,
        "MASTER_ADDR": first_host(environ.get("SLURM_STEP_NODELIST", "localhost")),
        "MASTER_PORT": str(FIRST_PORT + job % NUM_PORTS),
    }
    # Variables set by the user take precedence.
    return {name: value for name, value in variables.items() if name not in environ}


def first_host(nodes: str) -> str:
    """Return the first machine of a SLURM node list: `gpu01` for `gpu[01-04,07],fat2`."""
    # Commas within brackets separate numbers, and the others separate names.
    first = re.split(r",(?![^\[]*\])", nodes)[0]
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first)
