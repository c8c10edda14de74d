"""Facts about the launcher, from environment variables and its process. No MPI is needed, as on login nodes."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gamaml.errors import ConfigError

HEARTBEAT, _HEARTBEAT_SECONDS = "GAMAML_HEARTBEAT_SECONDS", 120.0
"""An environment variable and no config field: the limit belongs to a cluster and a job, and a job may run several
configs."""

RESTART_FILE = "GAMAML_RESTART_FILE"
"""An environment variable of a job script: a file the run writes to when it wants a restart, since some launchers lose
the exit code."""

_RANK = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "PMIX_RANK", "SLURM_PROCID")
_SIZE = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
_LOCAL_SIZE = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE")
_LAUNCHERS = ("mpiexec", "mpirun", "prterun")
_MOST_GENERATIONS = 3
"""Process levels to search: a rank is a child of the launcher, or of the launcher's helper on its node."""

_JOB = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


@dataclass(frozen=True)
class Terminal:
    """A terminal that shows this process's stdout.

    Attributes:
        width: its columns; None if stdout is the terminal itself and reports them.
    """

    width: int | None


def rank_from_environment(environment: Mapping[str, str] = os.environ) -> int:
    """Return the rank that the launcher gave this process, 0 without a launcher."""
    return _first_integer(environment, _RANK, default=0)


def size_from_environment(environment: Mapping[str, str] = os.environ) -> int:
    """Return the number of ranks that the launcher started, 1 without a launcher."""
    return _first_integer(environment, _SIZE, default=1)


def local_size_from_environment(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return the number of ranks that the launcher put on this rank's node, None if unknown."""
    return _first_integer(environment, _LOCAL_SIZE, default=0) or None


def node_from_environment(environment: Mapping[str, str] = os.environ) -> int | None:
    """Return SLURM's number of this rank's node within the job, None outside SLURM."""
    number = _first_integer(environment, ("SLURM_NODEID",), default=-1)
    return number if number >= 0 else None


def job_id(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the batch system's id of this job, None outside a batch job.

    SLURM gives every task of an array its own id here, and keeps it over a requeue.
    """
    return next((environment[name] for name in _JOB if environment.get(name)), None)


def heartbeat_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """Return the seconds of silence after which a node is given up, 0 for never.

    Raises:
        ConfigError: the variable holds no number.
    """
    text = environment.get(HEARTBEAT, "") or str(_HEARTBEAT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise ConfigError(
            f"{HEARTBEAT}={text!r}: expected seconds of silence after which a node is given up, or 0 for never, got "
            "that; set e.g. 120"
        )
    return seconds


def terminal(environment: Mapping[str, str] = os.environ) -> Terminal | None:
    """Return the terminal that shows this process's stdout, None for a file or where it is not known.

    MPICH's launcher gives every rank a pipe, Open MPI's gives rank 0 a new terminal, both regardless of the launcher's
    own stdout. Therefore the stdout of a launcher on this host decides.
    """
    pid = _launcher_pid()
    if pid is None and "OMPI_COMM_WORLD_RANK" in environment:
        return None
    try:
        behind = Path(f"/proc/{pid or 'self'}/fd/1").readlink()
        if not str(behind).startswith(("/dev/pts/", "/dev/tty")):
            return None
        return Terminal(width=None if pid is None else _width(behind))
    except OSError:
        return None


def end_launcher(seconds: float) -> None:
    """Have the launcher killed after `seconds`, if it is an ancestor of this process and still runs.

    A launcher waits for processes that it cannot end: those on an unreachable node, suspended, or hanging in a file
    system.
    """
    pid = _launcher_pid()
    if pid is None:
        return
    # Another process kills it, since this one ends earlier; a descriptor names it, since its pid may be reused by then.
    launcher = os.pidfd_open(pid)
    code = f"import signal, time; time.sleep({seconds}); signal.pidfd_send_signal({launcher}, signal.SIGKILL)"
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=[launcher],
        start_new_session=True,
    )
    os.close(launcher)


def ask_for_restart(environment: Mapping[str, str] = os.environ) -> None:
    """Ask the job script to start this run again, if it named a file for that."""
    path = environment.get(RESTART_FILE)
    if path:
        # Best effort: the exit code and the log say the same.
        with contextlib.suppress(OSError):
            Path(path).write_text("start again with --resume\n")


def shared_memory_folder(environment: Mapping[str, str] = os.environ) -> str:
    """Return the folder whose file system backs MPI's shared windows."""
    return environment.get("OMPI_MCA_osc_sm_backing_directory", "/dev/shm")


def _launcher_pid() -> int | None:
    """Return the launcher's pid, None if no ancestor of this process is a launcher: there is none, or it is remote."""
    pid = os.getppid()
    for _ in range(_MOST_GENERATIONS):
        try:
            # The name, in parentheses, may contain blanks; the parent's pid is the second field after it.
            head, _, fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            return None
        if head.partition("(")[2].startswith(_LAUNCHERS):
            return pid
        pid = int(fields.split()[1])
    return None


def _width(terminal: Path) -> int:
    fd = os.open(terminal, os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        return os.get_terminal_size(fd).columns
    finally:
        os.close(fd)


def _first_integer(environment: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    for name in names:
        if environment.get(name, "").isdigit():
            return int(environment[name])
    return default
