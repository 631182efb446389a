"""The variables of srun, as its manual describes them."""

from __future__ import annotations

import pytest

from masscli.core.slurm import first_host, torchrun_variables

STEP = {
    "SLURM_JOB_ID": "4711",
    "SLURM_PROCID": "5",
    "SLURM_LOCALID": "1",
    "SLURM_NTASKS": "8",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}


def test_a_task_of_srun_knows_its_rank() -> None:
    expected = {
        "RANK": "5",
        "WORLD_SIZE": "8",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": "19711",
    }
    assert torchrun_variables(STEP) == expected
    # Each task sees the one GPU that it has.
    assert torchrun_variables({**STEP, "SLURM_GPUS_PER_TASK": "1"})["LOCAL_RANK"] == "0"
    assert "MASTER_PORT" not in torchrun_variables({**STEP, "MASTER_PORT": "1234"})


def test_other_processes_are_alone_or_torchruns() -> None:
    assert torchrun_variables({}) == {}
    # A batch script of a job with eight tasks, before srun.
    assert (
        torchrun_variables(
            {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_PROCID": "0"}
        )
        == {}
    )
    assert torchrun_variables({**STEP, "SLURM_STEP_NUM_TASKS": "1"}) == {}
    # torchrun under srun, one on each machine.
    assert torchrun_variables({**STEP, "RANK": "0", "WORLD_SIZE": "16"}) == {}


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("node7", "node7"),
        ("a1,b2", "a1"),
        ("gpu[01-04,07],fat2", "gpu01"),
        ("rack[1-2]gpu[03,05-06],fat2", "rack1gpu03"),
        ("n[9]", "n9"),
        ("rack1-[12,14]-ib,x", "rack1-12-ib"),
    ],
)
def test_the_first_machine_of_a_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first
