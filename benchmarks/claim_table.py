"""The tables of claim.py, from the files of its runs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

import gamaml
from claim_runs import Result
from claim_settings import METHODS, Budget, Subject
from gamaml.types import Float64Array


@dataclass(frozen=True)
class Cell:
    """The seeds of one method with one K and one budget.

    Attributes:
        subject: the task.
        budget: the budget.
        rounds: K.
        method: a key of METHODS.
        runs: one per seed.
    """

    subject: Subject
    budget: Budget
    rounds: int
    method: str
    runs: Sequence[Result]

    @property
    def num_diverged(self) -> int:
        """Number of seeds that diverged in training."""
        return sum(run.diverged is not None for run in self.runs)

    @cached_property
    def values(self) -> Float64Array | None:
        """The return (or loss) of each seed and task after 0 to K rounds, float64[S, tasks, K + 1].

        A task that diverged has the worst value. None where a seed diverged in training.
        """
        tasks = [run.values for run in self.runs if run.values is not None]
        return self._with_worst(tasks) if self.num_diverged == 0 else None

    @cached_property
    def by_rounds(self) -> tuple[Float64Array, Float64Array] | None:
        """The interquartile mean over seeds after 0 to K rounds, and its interval."""
        return None if self.values is None else summary(self.values)

    @cached_property
    def by_mean_action(self) -> tuple[Float64Array, Float64Array] | None:
        """The same after K rounds by the mean action."""
        tasks = [run.mean_action for run in self.runs if run.mean_action is not None]
        return summary(self._with_worst(tasks)[..., None]) if len(tasks) == len(self.runs) else None

    @property
    def score(self) -> float:
        """The interquartile mean after K rounds; the worst there is where a seed diverged in training."""
        return self._worst if self.by_rounds is None else float(self.by_rounds[0][-1])

    @property
    def scores(self) -> list[float | None]:
        """The score of each seed, None where it diverged in training."""
        return [None if run.values is None else self._with_worst(run.values)[:, -1].mean().item() for run in self.runs]

    def seconds_to(self, target: float) -> list[float]:
        """Return the core-seconds of each seed until the first point that reaches a target; infinite without one."""
        sign = -1 if self.subject.metric == "loss" else 1
        return [
            next(
                (
                    point["core_seconds"]
                    for point in run.curve
                    if point["score"] is not None and sign * point["score"] >= sign * target
                ),
                math.inf,
            )
            for run in self.runs
        ]

    def mean_of(self, measure: Callable[[Result], float]) -> float:
        """Return the mean over seeds of a measure of a run."""
        return statistics.mean(measure(run) for run in self.runs)

    @property
    def _worst(self) -> float:
        return math.inf if self.subject.metric == "loss" else -math.inf

    def _with_worst(self, values: Any) -> Float64Array:  # nested sequences of numbers and None
        array = np.array(values, np.float64)
        return np.where(np.isnan(array), self._worst, array)


def summary(values: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return the interquartile mean over seeds, and the ends of its interval.

    Args:
        values: float64[S, tasks, R].

    Returns:
        (float64[R], float64[2, R]), as `gamaml.aggregate` has them.
    """
    return gamaml.interquartile_mean(values.mean(axis=1)), gamaml.bootstrap(values)


def tables(cells: Sequence[Cell], target: float | None) -> str:
    """Return Markdown: for each budget the scores, the course over the rounds, and the costs."""
    parts: list[str] = []
    for budget in dict.fromkeys(cell.budget for cell in cells):
        own = [cell for cell in cells if cell.budget == budget]
        parts += [f"At {budget}:", _scores(own, target), _courses(own), _costs(own)]
    return "\n\n".join(parts)


def tried(subject: Subject, rounds: Sequence[int]) -> str:
    """Return Markdown: the number of settings that were tried for each method and K, and whether it is the same."""
    numbers = {method: [subject.methods[method].num_tried(each) for each in rounds] for method in METHODS}
    same = len({tuple(each) for each in numbers.values()}) == 1
    if not any(map(any, numbers.values())):
        return "No trials of settings are listed."
    lines = [[method, *map(str, each)] for method, each in numbers.items()]
    names = ["settings tried, of each method", *(f"K = {each}" for each in rounds)]
    said = "All methods had the same number of trials." if same else "The methods had different numbers of trials."
    return f"{_markdown(names, lines)}\n\n{said}"


def row(cell: Cell, target: float | None) -> dict[str, Any]:
    """Return a cell for JSON, with None for what is not finite."""

    def listed(pair: tuple[Float64Array, Float64Array] | None) -> dict[str, Any] | None:
        return None if pair is None else {"iqm": _finite(pair[0].tolist()), "interval": _finite(pair[1].tolist())}

    return {
        "budget": list(cell.budget),
        "K": cell.rounds,
        "method": cell.method,
        "seeds": [run.seed for run in cell.runs],
        "score": _finite(cell.score),
        "scores": _finite(cell.scores),
        "rounds": listed(cell.by_rounds),
        "mean_action": listed(cell.by_mean_action),
        "diverged": [run.diverged for run in cell.runs],
        "seconds_to_target": None if target is None else _finite(cell.seconds_to(target)),
        "core_seconds": [run.core_seconds for run in cell.runs],
        "steps": [run.steps for run in cell.runs],
        "generations": [run.generations for run in cell.runs],
        "evaluations": [run.evaluations for run in cell.runs],
        "nbytes": [run.nbytes for run in cell.runs],
    }


def _scores(cells: Sequence[Cell], target: float | None) -> str:
    metric, acts = cells[0].subject.metric, any(cell.by_mean_action is not None for cell in cells)
    names = ["K", "method", f"{metric} after K rounds", "seeds"]
    if acts:
        names.append("by the mean action")
    if target is not None:
        names.append(f"core-seconds to {target:g}")
    lines: list[list[str]] = []
    for cell in cells:
        line = [str(cell.rounds), cell.method, _score_text(cell), ", ".join(map(_seed_text, cell.runs, cell.scores))]
        if acts:
            line.append("" if cell.by_mean_action is None else _estimate(cell.by_mean_action, -1))
        if target is not None:
            seconds = cell.seconds_to(target)
            middle, reached = statistics.median(seconds), sum(map(math.isfinite, seconds))
            said = f"{middle:.0f}" if math.isfinite(middle) else "never"
            line.append(f"{said} ({reached} of {len(seconds)})" if 0 < reached < len(seconds) else said)
        lines.append(line)
    return _markdown(names, lines)


def _courses(cells: Sequence[Cell]) -> str:
    most = max(cell.rounds for cell in cells)
    names = ["K", "method", "before", *(f"after {number}" for number in range(1, most + 1))]
    lines: list[list[str]] = []
    for cell in cells:
        course = ["diverged"] if cell.by_rounds is None else [f"{value:.3g}" for value in cell.by_rounds[0]]
        lines.append([str(cell.rounds), cell.method, *course, *[""] * (most + 1 - len(course))])
    return _markdown(names, lines)


def _costs(cells: Sequence[Cell]) -> str:
    names = ["K", "method", "core-seconds", "to the first generation's end", "steps", "generations", "evaluations"]
    lines = [
        [
            str(cell.rounds),
            cell.method,
            f"{cell.mean_of(lambda run: run.core_seconds):.1f}",
            f"{cell.mean_of(lambda run: run.core_seconds if run.start_seconds is None else run.start_seconds):.1f}",
            f"{cell.mean_of(lambda run: run.steps):,.0f}",
            f"{cell.mean_of(lambda run: run.generations):,.0f}",
            f"{cell.mean_of(lambda run: run.evaluations):,.0f}",
            f"{cell.mean_of(lambda run: run.nbytes) / 2**20:.0f} MiB",
        ]
        for cell in cells
    ]
    return _markdown([*names, "peak memory"], lines)


def _score_text(cell: Cell) -> str:
    if cell.by_rounds is None or cell.values is None:
        return f"{cell.num_diverged} of {len(cell.runs)} diverged"
    diverged = int(np.isinf(cell.values[:, :, -1]).sum())
    if diverged:
        median = np.median(cell.values[:, :, -1])
        return f"diverges on {diverged} of {cell.values[:, :, -1].size:,} tasks, median {median:.3g}"
    return _estimate(cell.by_rounds, -1)


def _seed_text(run: Result, score: float | None) -> str:
    return f"diverged in generation {run.diverged}" if score is None else f"{score:.3g}"


def _estimate(pair: tuple[Float64Array, Float64Array], column: int) -> str:
    mean, (low, high) = pair[0][column], pair[1][:, column]
    if not math.isfinite(mean):
        return "diverges on some tasks"
    return f"{mean:.3g} [{low:.3g}, {high:.3g}]"


def _markdown(names: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in [names, ["--"] * len(names), *lines])


def _finite(value: Any) -> Any:  # nested lists of numbers and None
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return value if value is None or math.isfinite(value) else None
