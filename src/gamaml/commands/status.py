"""How the runs of a folder stand: read from their files and from the queue, without MPI, while they go on."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gamaml import runlog
from gamaml.commands import text as words
from gamaml.commands.progress import duration
from gamaml.commands.submit import submitted
from gamaml.engine.stopping import seconds_left
from gamaml.errors import ConfigError, GamamlError
from gamaml.runlog import Run
from gamaml.slurm import scheduler

_RECENT = 10
"""Generations whose pace tells when a run will end."""


@dataclass(frozen=True)
class Status:
    """How one run stands.

    Attributes:
        name: of the run.
        generation: generations done, of how many if that is known.
        metric: "return" or "loss", "" of a run that has no file or no readable one.
        returns: of the elite, or losses, before -> after adaptation.
        eta_seconds: seconds of computing to its end; NaN where that is not known.
        state: of the run in its job: "running", "pending (Priority)", "finished", "not queued", ...
        job: number of the job, "" if it never was in one.
        restarts: starts after the first.
    """

    name: str
    generation: str
    metric: str
    returns: str
    eta_seconds: float
    state: str
    job: str
    restarts: int


def status(folder: Path) -> list[Status]:
    """Return how every run of a folder stands, also those that were submitted and have not begun.

    Raises:
        ConfigError: no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise ConfigError(f"status {str(folder)!r}: expected a folder of run files, got none there; check the path")
    planned = submitted(folder)
    begun = {path.stem for suffix in ("h5", "run") for path in folder.glob(f"*.{suffix}")}
    names = sorted(begun | set(planned), key=_natural)
    if not names:
        raise ConfigError(f"status {str(folder)!r}: expected run files NAME.h5 in it, got none; check the path")
    starts = {name: _starts(folder / f"{name}.h5") for name in names if name in begun}
    jobs = {name: planned.get(name) or _job(starts.get(name, [])) for name in names}
    queue = scheduler.queue({job for job in jobs.values() if job})
    return [_status(folder / f"{name}.h5", starts.get(name), jobs[name], queue) for name in names]


def table(found: Sequence[Status]) -> str:
    """Return it as plain text, one line per run."""
    metrics = "/".join(sorted({one.metric for one in found if one.metric}, reverse=True)) or "return"
    rows = [("run", "gen", metrics, "eta", "state", "job", "restarts")]
    rows += [
        (one.name, one.generation, one.returns, duration(one.eta_seconds), one.state, one.job or "-", str(one.restarts))
        for one in found
    ]
    return "\n".join(words.table(rows, str.ljust))


def _status(
    path: Path, starts: Sequence[runlog.Start] | None, job: str, queue: dict[str, scheduler.QueueState] | None
) -> Status:
    queued = queue.get(job) if queue is not None and job else None
    if starts is None:
        state = str(queued) if queued is not None else "not begun"
        return Status(path.stem, "-", "", "-", math.nan, state, job, 0)
    restarts = max(0, len(starts) - 1)
    try:
        run = runlog.load(path)
    except GamamlError as error:
        return Status(path.stem, "-", "", "-", math.nan, f"unreadable: {error}", job, restarts)
    goal = run.config.stop.generations
    generation = f"{run.num_generations}/{goal}" if goal is not None else str(run.num_generations)
    eta = 0.0 if run.finished else _eta(run)
    return Status(path.stem, generation, run.header.metric, _returns(run), eta, _state(run, queued), job, restarts)


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
    returns = run.summary["elite_returns"][-1]
    shown = [returns[0], returns[-1]] if len(returns) > 1 else [returns[-1]]
    return " -> ".join(f"{value:.4g}" for value in shown)


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
