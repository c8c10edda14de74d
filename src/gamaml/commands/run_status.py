"""The state of a folder's runs, read from their files and from the queue, without MPI, while they go on."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gamaml import runlog
from gamaml.commands.job_notes import read_notes
from gamaml.commands.text import change
from gamaml.engine.stopping import seconds_left
from gamaml.errors import ConfigError, GamamlError
from gamaml.runlog import Run
from gamaml.slurm import scheduler

_RECENT = 10
"""Number of last generations whose pace predicts the end of a run."""


@dataclass(frozen=True)
class RunStatus:
    """The state of one run.

    Attributes:
        name: the run's name.
        generation: generations done, "3" or "3/30" if the run stops after a number of them.
        metric: "return" or "loss", "" if the run has no file or no readable one.
        returns: the incumbent's return (or loss) before -> after adaptation.
        eta_seconds: seconds of computing to its end, NaN if unknown.
        state: the run's state: "running", "pending (Priority)", "finished", "stopped", ...
        job: number of the run's job, "" if it never was in one.
        restarts: number of starts after the first.
    """

    name: str
    generation: str
    metric: str
    returns: str
    eta_seconds: float
    state: str
    job: str
    restarts: int


def find(folder: Path) -> list[RunStatus]:
    """Return the state of every run of a folder, including submitted runs that have not begun.

    Raises:
        ConfigError: no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"status {str(folder)!r}: expected a folder of run files, got none there; check the path")
    planned = read_notes(folder)
    begun = {path.stem for suffix in ("h5", "run") for path in folder.glob(f"*.{suffix}")}
    names = sorted(begun | set(planned), key=_natural)
    if not names:
        raise ConfigError(f"status {str(folder)!r}: expected run files NAME.h5 in it, got none; check the path")
    starts = {name: _starts(folder / f"{name}.h5") for name in names if name in begun}
    jobs = {name: planned.get(name) or _job(starts.get(name, [])) for name in names}
    queue = scheduler.queue({job for job in jobs.values() if job})
    return [_status(folder / f"{name}.h5", starts.get(name), jobs[name], queue) for name in names]


def _status(
    path: Path, starts: Sequence[runlog.Start] | None, job: str, queue: dict[str, scheduler.QueueState] | None
) -> RunStatus:
    queued = queue.get(job) if queue is not None and job else None
    if starts is None:
        state = str(queued) if queued is not None else "not begun"
        return RunStatus(path.stem, "-", "", "-", math.nan, state, job, 0)
    restarts = max(0, len(starts) - 1)
    try:
        run = runlog.load(path)
    except GamamlError as error:
        return RunStatus(path.stem, "-", "", "-", math.nan, f"unreadable: {error}", job, restarts)
    goal = run.config.stop.generations
    generation = f"{run.num_generations}/{goal}" if goal is not None else str(run.num_generations)
    eta = 0.0 if run.finished else _eta(run)
    return RunStatus(path.stem, generation, run.header.metric, _returns(run), eta, _state(run, queued), job, restarts)


def _state(run: Run, queued: scheduler.QueueState | None) -> str:
    if run.finished:
        return "finished"
    if queued is not None:
        return str(queued)
    if runlog.live_holder(runlog.sidecar(run.path) / "lock") is not None:
        return "running"
    return "stopped"


def _returns(run: Run) -> str:
    if run.num_generations == 0:
        return "-"
    return change(run.summary["incumbent_returns"][-1])


def _eta(run: Run) -> float:
    if run.num_generations == 0:
        return math.nan
    recent = run.summary[-_RECENT:]
    return seconds_left(
        run.config.stop,
        generations=run.num_generations,
        total_steps=int(run.summary["steps"].sum()),
        steps=int(recent["steps"][-1]),
        pace=float(np.mean(recent["seconds"])),
        elapsed=None,
    )


def _starts(path: Path) -> list[runlog.Start]:
    try:
        return runlog.read_starts(runlog.sidecar(path) / "journal")
    except (OSError, GamamlError):
        return []  # a run file that was copied without its journal is a run all the same


def _job(starts: Sequence[runlog.Start]) -> str:
    return (starts[-1].job_id or "") if starts else ""


def _natural(name: str) -> str:
    """Return a key that sorts seed2 before seed10."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), name)
