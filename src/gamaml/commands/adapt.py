"""`gamaml adapt`: adaptation of a run's result to tasks that the run never met."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gamaml.commands.arguments import add_overrides, add_run_file, check_exists, check_picture, parse_rounds
from gamaml.commands.console import Commands, write
from gamaml.commands.text import number, optimum, step_unit, table
from gamaml.engine.adaptation import Adaptation, adapt, compare_adaptation, difference
from gamaml.engine.intervals import bootstrap
from gamaml.job.exit_codes import DONE
from gamaml.types import Float64Array


def add(commands: Commands) -> None:
    """Add the command and its arguments."""
    parser = commands.add_parser(
        "adapt",
        help="adapt a run's result to tasks that it never met",
        description=(
            "Adapt the incumbent of a run to held-out tasks, and show its return or loss after each inner round, with\n"
            "95 % bootstrap confidence intervals over the tasks. One rank, no MPI."
        ),
        epilog=(
            "examples:  gamaml adapt runs/navigation-seed1.h5 --tasks 500 --rounds 0-6 --plot adaptation.png\n"
            "           gamaml adapt runs/navigation-seed1.h5 --against runs/navigation-seed2.h5\n"
            "           gamaml adapt runs/frostbite-seed1.h5 --tasks 30        30 fresh episodes"
        ),
    )
    add_run_file(parser)
    parser.add_argument(
        "--tasks", metavar="N", type=int, default=40, help="held-out tasks, or fresh episodes (default: 40)"
    )
    parser.add_argument(
        "--rounds",
        metavar="ROUNDS",
        help="numbers of inner rounds to show, e.g. 0-10 or 0,1,5,10, also beyond those trained (default: those)",
    )
    parser.add_argument(
        "--against", metavar="OTHER.h5", type=Path, help="another run, and the difference on the same tasks"
    )
    parser.add_argument(
        "--generation", metavar="G", type=int, help="evaluate the result of this generation instead of the last"
    )
    parser.add_argument(
        "--parents-mean",
        action="store_true",
        help="evaluate the mean of the parents, often the safer choice, instead of the incumbent",
    )
    add_overrides(parser, "change the config for this evaluation, as in gamaml run")
    parser.add_argument("--plot", metavar="FILE.png", type=Path, help="also draw it")
    parser.set_defaults(command=run)


def run(args: argparse.Namespace) -> int:
    """Adapt the results of one run or two."""
    check_picture(args.plot)
    settings: dict[str, Any] = {
        "tasks": args.tasks,
        "rounds": None if args.rounds is None else parse_rounds(args.rounds),
        "generation": args.generation,
        "parents_mean": args.parents_mean,
        "overrides": args.set,
    }
    paths = [args.run] if args.against is None else [args.run, args.against]
    for path in paths:
        check_exists(path)

    # Here, since they bring h5py, which `gamaml --help` does without.
    from gamaml import runlog
    from gamaml.commands import adaptation_picture

    runs = [runlog.load(path) for path in paths]
    results = [adapt(*runs, **settings)] if args.against is None else compare_adaptation(*runs, **settings)
    write(text(*results))
    if args.plot is not None:
        write(f"picture: {adaptation_picture.draw(*results, path=args.plot)}")
    return DONE


def text(result: Adaptation, against: Adaptation | None = None) -> str:
    """Return a table of one run, or of two and their difference, task by task."""
    both = [result] if against is None else [result, against]
    better = "lower" if result.metric == "loss" else "higher"
    lines = [f"{each.name}: {each.who}, {each.steps:,} {step_unit(each.metric)}" for each in both]
    lines.append(
        f"{result.metric} on {result.num_tasks} held-out tasks or episodes: mean [95 % bootstrap interval], "
        f"{better} is better"
    )
    rows = [["rounds"], *([str(number)] for number in result.rounds)]
    for each in both:
        _add(rows, each.name, each.mean, each.interval)
        _add_column(rows, "median", [number(value) for value in each.median])
    if against is not None:
        paired = difference(result, against)
        with np.errstate(invalid="ignore"):
            _add(rows, "difference", paired.mean(axis=0), bootstrap(paired))
    failed = sum(np.count_nonzero(~np.isfinite(each.values), axis=0) for each in both)
    if np.any(failed):
        _add_column(rows, "not finite", [str(count) for count in np.atleast_1d(failed)])
    _mark(rows, both)
    return "\n".join([*lines, "", *table(rows), *_notes(both)])


def _add(rows: list[list[str]], name: str, mean: Float64Array, interval: Float64Array) -> None:
    low, high = interval
    cells = zip(mean, low, high, strict=True)
    column = [f"{number(m)} [{number(a)}, {number(b)}]" if np.isfinite(a) else number(m) for m, a, b in cells]
    _add_column(rows, name, column)


def _add_column(rows: list[list[str]], name: str, cells: Sequence[str]) -> None:
    for row, cell in zip(rows, [name, *cells], strict=True):
        row.append(cell)


def _mark(rows: list[list[str]], both: Sequence[Adaptation]) -> None:
    """Mark the rounds that go beyond the training of one of the runs."""
    trained = min(each.trained_rounds for each in both)
    for row, rounds in zip(rows[1:], both[0].rounds, strict=True):
        row[0] += "*" if rounds > trained else " "
    rows[0][0] += " "


def _notes(both: Sequence[Adaptation]) -> list[str]:
    lines: list[str] = []
    if both[0].rounds[-1] > min(each.trained_rounds for each in both):
        trained = ", ".join(f"{each.name} {each.trained_rounds}" for each in both)
        lines.append(f"* more rounds than were trained for ({trained})")
    best = both[0].optimal_return
    if best is not None:
        lines.append(f"best possible mean: {optimum(best)}")
    return lines
