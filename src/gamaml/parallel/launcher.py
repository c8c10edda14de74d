"""What the launcher's environment variables say. Imports no MPI, so that a login node can ask too."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_RANK = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")
_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


def rank_from_environment(environment: Mapping[str, str] = os.environ) -> int:
    """Return this process's rank as the launcher set it, 0 without a launcher."""
    return _first_integer(environment, _RANK, default=0)


def size_from_environment(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of ranks that the launcher started, 1 without a launcher."""
    return _first_integer(environment, _SIZE, default=1)


def job_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the batch system's id of this job, None outside one.

    SLURM gives every task of an array an id of its own here, and keeps it over a requeue.
    """
    return next((environment[name] for name in _JOB if environment.get(name)), None)


def hides_a_file(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether this process's terminal may be the launcher's own, and its output really go to a file.

    Open MPI's launcher gives rank 0 a terminal of its own whatever stands behind the launcher itself.
    """
    if "OMPI_COMM_WORLD_RANK" not in environment:
        return False
    try:
        behind = Path(f"/proc/{os.getppid()}/fd/1").readlink()
    except OSError:
        return True
    return not str(behind).startswith(("/dev/pts/", "/dev/tty"))


def shared_memory_folder(environment: Mapping[str, str] = os.environ) -> str:
    """Return the folder whose file system backs MPI's shared windows."""
    return environment.get("OMPI_MCA_osc_sm_backing_directory", "/dev/shm")


def _first_integer(environment: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    for name in names:
        if environment.get(name, "").isdigit():
            return int(environment[name])
    return default
