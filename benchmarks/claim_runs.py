"""The runs of claim.py: each is timed, run to its budget, checked and scored once, and then read from its file."""

from __future__ import annotations

import bisect
import dataclasses
import json
import math
import os
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from claim_settings import ROOT, Budget, Subject, std_ends, with_end, without_end
from gamaml import config as cfg
from gamaml.config import Config
from gamaml.job.versions import machine_description

_WORKER = Path(__file__).with_name("claim_worker.py")

_DIVERGED = re.compile(
    r"generation (\d+): expected (?:a finite fitness of the centre|at least one child with a finite fitness)"
)
"""The error with which a run ends when it diverges."""

_TIMED_SHARE = 0.1
"""Share of the budget that a timing run has after its first generation."""

_TOLERANCE = 0.1
"""Greatest deviation from a budget of core-seconds; or half a generation, where that is more."""


class RunFailed(Exception):
    """A run ended with an error, or missed its budget."""


class Job(NamedTuple):
    """A run to be made.

    Attributes:
        subject: the task.
        method: a key of METHODS.
        rounds: K.
        budget: its budget.
        config: its config, with the seed, without an end.
    """

    subject: Subject
    method: str
    rounds: int
    budget: Budget
    config: Config

    @property
    def name(self) -> str:
        """Name of its files."""
        of = f"{self.subject.name}-{self.budget.label}-rounds{self.rounds}-{self.method}"
        return f"{of}-seed{self.config.seed}"


class Scoring(NamedTuple):
    """How a run is scored.

    Attributes:
        tasks: number of held-out tasks.
        curve_tasks: the number for points of the learning curve.
        points: points of the curve, each sqrt(2) times the budget of the one before; the last is the run's end.
        left_out: number of first tasks that are left out, with the curve and the mean action: those of the tables, when
            a setting is tried.
    """

    tasks: int
    curve_tasks: int
    points: int = 8
    left_out: int = 0


@dataclass(frozen=True)
class Result:
    """A run, as its file has it.

    Attributes:
        task: name of the task.
        method: a key of METHODS.
        rounds: K.
        seed: seed of the run.
        budget: unit and amount.
        score: changes to the config when it was scored.
        config: the config of the run proper.
        digest: digest of the run's science, empty where it has no generation.
        commit: the commit of gamaml, empty if unknown.
        versions: versions of the libraries.
        machine: CPU, system and Python.
        core_seconds: CPU time of the process, from its start to its end.
        start_seconds: the same until the first generation was over.
        steps: environment steps; for supervised tasks, samples.
        generations: number of generations.
        evaluations: number of evaluations, re-evaluations included.
        nbytes: peak memory.
        diverged: the generation in which it diverged, or None.
        timing: core-seconds of the timing run's first generation and of each later one; None without one.
        std: the last std, that of the schedule at that time, and the final one; None without a schedule.
        who: the candidate that was scored, empty where it diverged.
        curve: points with their share of the budget, generation, core_seconds, steps and score.
        values: [tasks][0 to K rounds], None where a task diverged; None where the run did.
        mean_action: [tasks], after K rounds by the mean action; None for supervised tasks too.
    """

    task: str
    method: str
    rounds: int
    seed: int
    budget: Sequence[Any]  # a Budget
    score: Sequence[str]
    config: Mapping[str, Any]  # values of a config
    digest: str
    commit: str
    versions: Mapping[str, str]
    machine: Mapping[str, str]
    core_seconds: float
    start_seconds: float | None
    steps: int
    generations: int
    evaluations: int
    nbytes: int
    diverged: int | None
    timing: Mapping[str, float] | None
    std: Mapping[str, float] | None
    who: str
    curve: Sequence[Mapping[str, Any]]  # numbers, None for a score that is not finite
    values: Sequence[Sequence[float | None]] | None
    mean_action: Sequence[float | None] | None

    @property
    def of_budget(self) -> Budget:
        """The budget."""
        return Budget(*self.budget)

    @property
    def experiment(self) -> dict[str, Any]:
        """The config without seed and end, and how it was scored."""
        config = {name: value for name, value in self.config.items() if name not in ("seed", "stop")}
        return {"config": config, "score": list(self.score), "tasks": self.values and len(self.values)}


class Trained(NamedTuple):
    """The end of a run's process.

    Attributes:
        progress: core-seconds and steps after each generation.
        core_seconds: core-seconds in all.
        nbytes: peak memory.
        diverged: the generation in which it diverged, or None.
    """

    progress: list[tuple[float, int]]
    core_seconds: float
    nbytes: int
    diverged: int | None

    @property
    def pace(self) -> float:
        """Core-seconds of a generation after the first."""
        return (self.core_seconds - self.progress[0][0]) / max(1, len(self.progress) - 1)

    def generations_within(self, seconds: float) -> int:
        """Return the number of generations that comes nearest to a budget."""
        return max(1, 1 + round((seconds - self.progress[0][0]) / self.pace))


def read(path: Path) -> Result:
    """Return the run of a file."""
    return Result(**json.loads(path.read_text()))


def stored(job: Job, out: Path) -> Result | None:
    """Return a run that a folder has, None if it has not.

    Raises:
        RunFailed: it has it with other settings.
    """
    path = out / f"{job.name}.json"
    if not path.exists():
        return None
    result, now = read(path), _flat(json.loads(json.dumps(without_end(job.config))))
    then = {name: value for name, value in _flat(result.config).items() if not name.startswith("stop.")}
    changed = [
        f"{name} = {then.get(name, 'unset')} and now {now.get(name, 'unset')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    if changed or list(result.score) != list(job.subject.score):
        changes = "; ".join(changed) or f"score = {list(result.score)} and now {list(job.subject.score)}"
        raise RunFailed(f"{path}: expected the settings of now, got {changes}; choose another --out, or remove it")
    return result


def perform(job: Job, core: int, out: Path, scoring: Scoring, *, quick: bool) -> Result:
    """Make a run and score it, on one core; a quick one may miss its budget.

    Raises:
        RunFailed: it ended with an error, did not end by its stop criterion or with the last std of its schedule, or
            missed its budget twice.
    """
    place = {"core": core, "name": job.name}
    timed = None
    if job.budget.unit == "seconds":
        with tempfile.TemporaryDirectory() as scratch:
            timing = {**place, "out": scratch, "timing": _TIMED_SHARE * job.budget.amount}
            timed = _train(timing, job.config, cold=not quick)
    trained, config = _to_the_end(job, timed, {**place, "out": str(out), "timing": None}, quick=quick)
    marks = [math.sqrt(2) ** -back for back in reversed(range(1, scoring.points))]
    column = [each[0 if job.budget.unit == "seconds" else 1] for each in trained.progress]
    found = [(mark, bisect.bisect(column, mark * job.budget.amount)) for mark in marks]
    earlier = [(mark, number) for mark, number in found if number > 0 and scoring.left_out == 0]
    told = _score(job, {**place, "out": str(out)}, trained, config, scoring, [number for _, number in earlier])
    curve = [_point(trained, mark, number, score) for (mark, number), score in zip(earlier, told["curve"], strict=True)]
    if trained.diverged is None:
        _check_end(job, told)
        curve.append(_point(trained, 1.0, told["generations"], _mean([row[-1] for row in told["values"]])))
    machine = {name: machine_description()[name] for name in ("cpu", "python")} | {"system": platform.system()}
    return Result(
        task=job.subject.name,
        method=job.method,
        rounds=job.rounds,
        seed=config.seed,
        budget=job.budget,
        score=job.subject.score,
        config=cfg.to_mapping(config),
        digest=told["digest"],
        commit=_commit(),
        versions=told["versions"],
        machine=machine,
        core_seconds=trained.core_seconds,
        start_seconds=trained.progress[0][0] if trained.progress else None,
        steps=told["steps"],
        generations=told["generations"],
        evaluations=told["evaluations"],
        nbytes=trained.nbytes,
        diverged=trained.diverged,
        timing={"first": timed.progress[0][0], "each": timed.pace} if timed and timed.progress else None,
        std=told["std"],
        who=told["who"] or "",
        curve=curve,
        values=told["values"],
        mean_action=told["mean_action"],
    )


def write(result: Result, path: Path) -> None:
    """Write a run's file, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(result)) + "\n")
    partial.replace(path)


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:  # values of a config
    """Return a config's values by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in mapping.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return flat


def _to_the_end(
    job: Job,
    timed: Trained | None,
    arguments: Mapping[str, Any],  # of the worker
    *,
    quick: bool,
) -> tuple[Trained, Config]:
    """Run to the budget; once more with a corrected number of generations where the first was too far from it."""
    amount, tolerance = job.budget.amount, math.inf if quick else _TOLERANCE
    if timed is None:
        config = with_end(job.config, environment_steps=int(amount))
        return _train(arguments, config, cold=not quick), config
    if timed.diverged is not None:
        # It diverges again, before any end.
        return _train(arguments, job.config, cold=not quick), job.config
    measured, spent = timed, list[str]()
    for _ in range(2):
        config = with_end(job.config, generations=measured.generations_within(amount))
        trained = _train(arguments, config, cold=not quick)
        if trained.diverged is not None:
            return trained, config
        if abs(trained.core_seconds - amount) <= max(tolerance * amount, trained.pace / 2):
            return trained, config
        measured, spent = trained, [*spent, f"{trained.core_seconds:.1f}"]
    raise RunFailed(
        f"{job.name}: expected a run of {amount:g} core-seconds within {tolerance:.0%}, got {' and '.join(spent)} in "
        "two attempts; run it again beside less load"
    )


def _train(arguments: Mapping[str, Any], config: Config, *, cold: bool) -> Trained:
    """Run in a process of its own; a cold one finds no program that an earlier process has compiled."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache} if cold else os.environ
        done = _work("train", {**arguments, "config": cfg.to_mapping(config)}, environment)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    found = _DIVERGED.search(done.stderr) if done.returncode != 0 else None
    if not lines or not isinstance(lines[-1], dict) or (done.returncode != 0 and found is None):
        raise RunFailed(f"{arguments['name']} ended with {done.returncode}\n{done.stderr}")
    progress = [(seconds, steps) for seconds, steps in lines[:-1]]
    return Trained(progress, **lines[-1], diverged=None if found is None else int(found[1]))


def _score(
    job: Job,
    place: Mapping[str, Any],  # of the worker
    trained: Trained,
    config: Config,
    scoring: Scoring,
    numbers: Sequence[int],
) -> dict[str, Any]:
    """Return the facts of a run file and its scores."""
    if not trained.progress:
        nothing = dict.fromkeys(("std", "who", "values", "mean_action"))
        return {**nothing, "generations": 0, "evaluations": 0, "steps": 0, "digest": "", "versions": {}, "curve": []}
    arguments = {
        **place,
        "score": list(job.subject.score),
        "tasks": scoring.tasks,
        "curve_tasks": scoring.curve_tasks,
        "left_out": scoring.left_out,
        "numbers": list(numbers),
        "ended": trained.diverged is None,
        "mean_action": job.subject.metric == "return" and scoring.left_out == 0,
        "std_ends": std_ends(config),
    }
    done = _work("score", arguments, os.environ)
    if done.returncode != 0:
        raise RunFailed(f"scoring {job.name} ended with {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def _work(what: str, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_WORKER), what, json.dumps(arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def _check_end(job: Job, told: Mapping[str, Any]) -> None:
    """Refuse a run that did not end by its stop criterion, or whose std did not fall over the whole of it."""
    if not told["finished"]:
        raise RunFailed(f"{job.name}: expected a run that ended by its stop criterion, got one that was broken off")
    std = told["std"]
    if std is not None and not math.isclose(std["last"], std["scheduled"], rel_tol=1e-6):
        raise RunFailed(
            f"{job.name}: expected a std of {std['scheduled']:g} in the last generation, one before the final "
            f"{std['final']:g}, got {std['last']:g}"
        )


def _point(trained: Trained, mark: float, number: int, score: float | None) -> dict[str, Any]:
    seconds, steps = trained.progress[number - 1]
    return {"mark": mark, "generation": number, "core_seconds": seconds, "steps": steps, "score": score}


def _mean(values: Sequence[float | None]) -> float | None:
    finite = [value for value in values if value is not None]
    return float(f"{sum(finite) / len(finite):.6g}") if len(finite) == len(values) else None


def _commit() -> str:
    """Return the commit, with "-dirty" if files have changed; empty where it is not known."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
