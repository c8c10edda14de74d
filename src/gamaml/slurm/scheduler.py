"""SLURM's commands: submit a script, query the state of jobs. Arguments are lists; nothing goes through a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from gamaml.errors import SchedulerError

_SECONDS = 60
"""A scheduler that does not answer is given up after this time."""


@dataclass(frozen=True)
class QueueState:
    """The state of a job in the queue.

    Attributes:
        state: SLURM's word, such as "RUNNING" or "PENDING".
        reason: the reason why a job is pending, such as "Priority"; "None" while it runs.
    """

    state: str
    reason: str

    def __str__(self) -> str:
        waiting = self.state == "PENDING" and self.reason not in ("", "None")
        return f"{self.state.lower()} ({self.reason})" if waiting else self.state.lower()


def submit(script: Path) -> str:
    """Submit a job script and return the job's number.

    Raises:
        SchedulerError: there is no sbatch, or it refused the job; the message has its reason.
    """
    done = _run(["sbatch", "--parsable", str(script)])
    if done is None:
        raise SchedulerError(
            "sbatch: expected SLURM's command on PATH, got none; submit on a login node of the cluster, or see the "
            "script with --dry-run"
        )
    if done.returncode != 0:
        raise SchedulerError(
            f"sbatch: expected {script} to be accepted, got: {_reason(done)}; correct the option or the site file, "
            "and submit again"
        )
    # "NUMBER", or "NUMBER;CLUSTER" where there are several.
    return done.stdout.strip().partition(";")[0]


def queue(jobs: Collection[str]) -> dict[str, QueueState] | None:
    """Return the states of jobs by number ("12", or "12_3" in an array), and also by their SLURM_JOB_ID.

    Jobs that are no longer in the queue are left out; None if there is no squeue, or it does not answer.
    """
    if not jobs:
        return {}
    listed = ",".join(sorted({job.partition("_")[0] for job in jobs}))
    try:
        done = _run(["squeue", "--noheader", "--array", f"--jobs={listed}", "--format=%i|%A|%T|%r"])
    except SchedulerError:
        return None
    if done is None:
        return None
    if done.returncode != 0:
        # SLURM reports an error if the only number is one that it has forgotten.
        return {} if "Invalid job id" in done.stderr else None
    states: dict[str, QueueState] = {}
    for line in done.stdout.splitlines():
        name, number, state, reason = (line.strip().split("|") + [""] * 3)[:4]
        states[name] = QueueState(state, reason)
        if "_" not in name or number != name.partition("_")[0]:
            states[number] = states[name]
    return states


def _run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    try:
        return subprocess.run(
            arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired:
        raise SchedulerError(
            f"{arguments[0]}: expected an answer within {_SECONDS} s, got none; see whether SLURM is up (sinfo)"
        ) from None


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Return a command's complaint, without the name that SLURM puts in front of every line."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    texts = [line.removeprefix("sbatch: ").removeprefix("error: ") for line in lines]
    return ". ".join(texts) or f"exit code {done.returncode}"
