"""`gamaml adapt`: adaptation of a run's result, or that of several seeds, to tasks that the run never met."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamaml.commands.arguments import add_overrides, check_picture, parse_rounds, run_files
from gamaml.commands.console import Commands, write, write_error
from gamaml.commands.text import count, duration, number, optimum, step_unit, table
from gamaml.engine.adaptation import TASKS, Adaptation, Aggregate, adapt, aggregate, check_seeds, difference
from gamaml.engine.intervals import bootstrap
from gamaml.job.exit_codes import DONE
from gamaml.types import Float64Array

_PATIENCE_SECONDS = 10.0
"""Seconds after which the command says how long it will take."""


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "adapt",
        help="adapt a run's result to tasks that it never met",
        description=(
            "Adapt the incumbent of a run to held-out tasks, and show its return or loss after each inner round, with\n"
            "95 % bootstrap confidence intervals over the tasks. Several runs are seeds of one config: the table then\n"
            "has each seed's mean, and their interquartile mean with an interval over seeds and tasks. No MPI."
        ),
        epilog=(
            "examples:  gamaml adapt runs/navigation-seed1.h5 --tasks 500 --rounds 0-6 --plot adaptation.png\n"
            "           gamaml adapt runs/navigation-seed*.h5        the seeds of one config, together\n"
            "           gamaml adapt runs/ga --against runs/es       two folders of seeds, and their difference\n"
            "           gamaml adapt runs/frostbite-seed1.h5 --tasks 30        30 fresh episodes, in minutes"
        ),
    )
    parser.add_argument(
        "runs",
        metavar="RUN.h5",
        type=Path,
        nargs="+",
        help="the run file, or those of several seeds of one config; a folder stands for its run files",
    )
    parser.add_argument(
        "--tasks",
        metavar="N",
        type=int,
        default=TASKS,
        help=f"held-out tasks, or fresh episodes (default: {TASKS}; fewer are quicker and have wider intervals)",
    )
    parser.add_argument(
        "--rounds",
        metavar="ROUNDS",
        help="numbers of inner rounds to show, e.g. 0-10 or 0,1,5,10, also beyond those trained (default: those)",
    )
    parser.add_argument(
        "--against",
        metavar="OTHER.h5",
        type=Path,
        nargs="+",
        help="another run, or seeds of another config, and the difference on the same tasks",
    )
    parser.add_argument(
        "--generation", metavar="G", type=int, help="evaluate the result of this generation instead of the last"
    )
    parser.add_argument(
        "--parents-mean",
        action="store_true",
        help="evaluate the mean of the parents, often the safer choice, instead of the incumbent",
    )
    parser.add_argument(
        "--mean-action",
        action="store_true",
        help="control: take the mean action, without drawing, in the episodes that are shown",
    )
    add_overrides(parser, "change the config for this evaluation, as in gamaml run")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="also draw it")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Adapt the results of one run or several, and of those that they are compared with."""
    check_picture(args.plot)
    rounds = None if args.rounds is None else parse_rounds(args.rounds)
    paths = [run_files(side) for side in (args.runs, args.against) if side is not None]

    # Here, since they bring h5py, which `gamaml --help` does without.
    from gamaml import runlog
    from gamaml.commands import adaptation_picture

    runs = [[runlog.load(path) for path in side] for side in paths]
    for side in runs:
        check_seeds(side)
    everyone = [each for side in runs for each in side]
    shown = list(range(max(each.header.num_rounds for each in everyone) + 1)) if rounds is None else rounds
    # With the mean action every number of rounds is played by itself, the smallest first.
    passes = sum(end + 1 for end in shown) / (min(shown) + 1) if args.mean_action and shown else 1
    settings: dict[str, Any] = {
        "tasks": args.tasks,
        "rounds": shown,
        "generation": args.generation,
        "parents_mean": args.parents_mean,
        "mean_action": args.mean_action,
        "overrides": args.set,
        "on_tasks": _Estimate(args.tasks, len(everyone), passes),
    }
    sides = [aggregate([adapt(each, **settings) for each in side]) for side in runs]
    alone = all(len(side.adaptations) == 1 for side in sides)
    write(text(*(side.first for side in sides)) if alone else seeds_text(*sides))
    if args.plot is not None:
        write(f"picture: {adaptation_picture.draw(*sides, path=args.plot)}")
    return DONE


def text(result: Adaptation, against: Adaptation | None = None) -> str:
    """Return a table of one run, or of two and their difference, task by task."""
    both = [result] if against is None else [result, against]
    lines = [f"{each.name}: {each.who}, {each.steps:,} {step_unit(each.metric)}" for each in both]
    lines.append(
        f"{result.metric} on {result.num_tasks} held-out tasks or episodes: mean [95 % bootstrap interval], "
        f"{_better(result)} is better"
    )
    rows = [["rounds"], *([str(number)] for number in result.rounds)]
    for each in both:
        _add_column(rows, each.name, _cells(each.mean, each.interval))
        _add_column(rows, "median", [number(value) for value in each.median])
    if against is not None:
        paired = difference(result, against)
        with np.errstate(invalid="ignore"):
            _add_column(rows, "difference", _cells(paired.mean(axis=0), bootstrap(paired)))
    failed = _not_finite(both)
    if any(failed):
        _add_column(rows, "not finite", list(map(str, failed)))
    _mark(rows, both)
    return "\n".join([*lines, "", *table(rows), *_notes([aggregate([each]) for each in both])])


def seeds_text(result: Aggregate, against: Aggregate | None = None) -> str:
    """Return a table with a row for each seed and for all of them, or of two configs and their difference."""
    sides = [result] if against is None else [result, against]
    everyone, first = [each for side in sides for each in side.adaptations], result.first
    trained = min(each.trained_rounds for each in everyone)
    lines = [f"{side.name}: {side.first.who}, {side.steps:,} {step_unit(first.metric)}" for side in sides]
    lines.append(
        f"{first.metric} on {first.num_tasks} held-out tasks or episodes: mean of each seed, and interquartile mean "
        f"over seeds [95 % bootstrap interval over seeds and tasks], {_better(first)} is better"
    )
    rows = [["rounds", *(f"{shown}*" if shown > trained else str(shown) for shown in first.rounds)]]
    for side in sides:
        if len(side.adaptations) > 1:
            rows += [[each.name, *map(number, each.mean)] for each in side.adaptations]
        rows.append([side.name, *_cells(side.mean, side.interval)])
    if against is not None:
        rows.append(["difference", *_cells(*result.difference(against))])
    failed = _not_finite(everyone)
    if any(failed):
        rows.append(["not finite", *map(str, failed)])
    return "\n".join([*lines, "", *table(rows), *_notes(sides), *_generations(sides)])


def _better(result: Adaptation) -> str:
    return "lower" if result.metric == "loss" else "higher"


def _cells(mean: Float64Array, interval: Float64Array) -> list[str]:
    cells = zip(mean, *interval, strict=True)
    return [f"{number(m)} [{number(a)}, {number(b)}]" if np.isfinite(a) else number(m) for m, a, b in cells]


def _not_finite(results: Sequence[Adaptation]) -> list[int]:
    """Return the number of values after each round that are not finite."""
    return np.sum([np.count_nonzero(~np.isfinite(each.values), axis=0) for each in results], axis=0).tolist()


def _add_column(rows: list[list[str]], name: str, cells: Sequence[str]) -> None:
    for row, cell in zip(rows, [name, *cells], strict=True):
        row.append(cell)


def _mark(rows: list[list[str]], both: Sequence[Adaptation]) -> None:
    """Mark the rounds that go beyond the training of one of the runs."""
    trained = min(each.trained_rounds for each in both)
    for row, rounds in zip(rows[1:], both[0].rounds, strict=True):
        row[0] += "*" if rounds > trained else " "
    rows[0][0] += " "


def _notes(sides: Sequence[Aggregate]) -> list[str]:
    lines: list[str] = []
    if sides[0].first.rounds[-1] > min(each.first.trained_rounds for each in sides):
        trained = "; ".join(f"{each.name}: {each.first.trained_rounds}" for each in sides)
        lines.append(f"* more rounds than were trained for ({trained})")
    best = sides[0].first.optimal_return
    if best is not None:
        lines.append(f"best possible mean: {optimum(best)}")
    return lines


def _generations(sides: Sequence[Aggregate]) -> list[str]:
    """Return a line for each side whose seeds had different numbers of generations."""
    lines: list[str] = []
    for side in sides:
        if len({each.generations for each in side.adaptations}) > 1:
            numbers = ", ".join(f"{each.name} {each.generations}" for each in side.adaptations)
            lines.append(f"generations differ: {numbers}")
    return lines


class _Estimate:
    """A function of the tasks done that says once how long the command will take, if it takes long.

    Args:
        tasks: held-out tasks of each run.
        num_runs: runs that are adapted one after the other.
        passes: time of all that is played for a run, in units of what comes first.
    """

    def __init__(self, tasks: int, num_runs: int, passes: float = 1.0) -> None:
        self._tasks, self._num_runs, self._passes = tasks, num_runs, passes
        self._first = 0.0, tasks
        self._told = False

    def __call__(self, done: int) -> None:
        start, before = self._first
        # The first tasks of a run are not timed: they may include a compilation.
        if done <= before:
            self._first = time.monotonic(), done
            return
        seconds = time.monotonic() - start
        if self._told or seconds < _PATIENCE_SECONDS:
            return
        self._told = True
        total = seconds / (done - before) * self._tasks * self._num_runs * self._passes
        write_error(
            f"{done} of {self._tasks} tasks in {duration(seconds)}, {count(self._num_runs, 'run')} in about "
            f"{duration(total)}; --tasks takes fewer"
        )
