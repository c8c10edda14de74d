r"""How good are evolution and gradients at many rounds of (collect -> update), at equal budgets?

    python benchmarks/claim.py navigation                        # or sinusoid, or cheetah_direction; 90 core-seconds
    python benchmarks/claim.py cheetah_direction --steps 1_000_000,2_000_000 --jobs 2
    python benchmarks/claim.py navigation --from claim           # draw tables and picture again

Multifactorial recombination, the GA, ES-MAML, and gradient MAML of second and first order each train on the task of
configs/TASK.toml with an inner loop of K rounds, on one core each. claim_settings.toml has their settings, and all
that were tried.

A budget is core-seconds, the CPU time of the process from its very start, compilation included, or environment steps.
Stds and step sizes that fall do so over the whole run. So for core-seconds a timing run, a tenth as long and not
counted, comes first and says how many generations fit; the script refuses a run that does not end by its number of
generations, whose last std is not that of the schedule, or, at the second attempt too, whose core-seconds are more than
10 % off (or half a generation, where that is more). A run by steps ends with the generation that reaches them.

A score is that of the result which the run hands out at its end, on held-out tasks that are the same for all: the
elite of a GA, or the parents' mean where children recombine; the mean of the last centres with multifactorial
recombination; the centre otherwise. The tables have interquartile means over the seeds with 95 % intervals by a
bootstrap over seeds and tasks, each seed's score, and as a control the score by the mean action. A run that diverges in
training has no score. The picture has learning curves from the same runs: what they would have handed out earlier, at
times a factor of sqrt(2) apart. Scoring is not counted.

DIR has a JSON file for every run, with its config, digest, versions, machine, costs and the value of each task, and
TASK.png. A run that DIR has is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import queue
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import claim_picture
import claim_table
from claim_runs import Job, Result, RunFailed, Scoring, perform, read, stored, write
from claim_settings import METHODS, TASKS, Budget, Subject, endless_config, joined, subject
from claim_table import Cell
from gamaml.commands.arguments import parse_rounds, parse_seeds
from gamaml.errors import ConfigError
from report import print_machine, print_result

_TRIAL_SEED = 0
"""Seed of a setting that is tried; the tables have others."""

_BUDGET, _QUICK_BUDGET = Budget("seconds", 90.0), Budget("seconds", 3.0)

_QUICK_SCORING = Scoring(tasks=4, curve_tasks=4, points=3)


def jobs_of(options: argparse.Namespace, methods: Sequence[str], seeds: Sequence[int]) -> list[Job]:
    task: Subject = options.subject
    made: list[Job] = []
    for budget in options.budgets:
        for rounds in options.rounds:
            for method in methods:
                more = [setting for whose, setting in options.set if whose in (None, method)]
                for seed in seeds:
                    config = endless_config(task, method, rounds, seed, more=more, quick=options.quick)
                    made.append(Job(task, method, rounds, budget, config))
    return made


def scoring_of(options: argparse.Namespace) -> Scoring:
    if options.quick:
        return _QUICK_SCORING
    return Scoring(options.subject.held_out, options.subject.curve_tasks)


def run_all(jobs: Sequence[Job], options: argparse.Namespace) -> tuple[list[Result], list[str]]:
    """Return the runs in the order of the jobs, and the errors of those that failed; one run per core at a time."""
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[: options.jobs]:
        cores.put(core)

    def one(job: Job) -> Result | RunFailed:
        core = cores.get()
        try:
            found = stored(job, options.out)
            if found is None:
                found = perform(job, core, options.out, scoring_of(options), quick=options.quick)
                write(found, options.out / f"{job.name}.json")
        except RunFailed as error:
            print(f"  {job.name}: failed", flush=True)
            return error
        finally:
            cores.put(core)
        print(line_of(job, found), flush=True)
        return found

    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            outcomes = list(pool.map(one, jobs))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    results = [each for each in outcomes if isinstance(each, Result)]
    return results, [str(each) for each in outcomes if isinstance(each, RunFailed)]


def line_of(job: Job, result: Result) -> str:
    score = result.curve[-1]["score"] if result.diverged is None else None
    said = "diverged" if score is None else f"{score:.3f}"
    return (
        f"  {job.name:<56} {result.generations:>6} generations, {result.steps:>13,} steps, "
        f"{result.core_seconds:6.1f} core-seconds, {said}"
    )


def read_all(options: argparse.Namespace) -> list[Result]:
    """Return the runs of the task that a folder has, in order, of the asked methods, seeds, rounds and budgets."""
    methods, budgets = list(METHODS), options.budgets
    found = [read(path) for path in options.stored.glob("*.json")]
    chosen = [
        result
        for result in found
        if result.task == options.task
        and result.method in options.methods
        and (options.seeds is None or result.seed in options.seeds)
        and (options.rounds is None or result.rounds in options.rounds)
        and (budgets is None or result.of_budget in budgets)
    ]
    return sorted(chosen, key=lambda one: (one.of_budget, one.rounds, methods.index(one.method), one.seed))


def cells_of(results: Sequence[Result], task: Subject) -> list[Cell]:
    """Return the runs by budget, K and method, in their order."""
    groups: dict[tuple[Budget, int, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.of_budget, result.rounds, result.method), []).append(result)
    for (_, rounds, method), runs in groups.items():
        ended = [run.experiment for run in runs if run.diverged is None]
        if any(each != ended[0] for each in ended):
            sys.exit(
                f"claim.py: {method}, K = {rounds}: expected seeds of the same settings, got others; run them again"
            )
    return [Cell(task, *key, runs) for key, runs in groups.items()]


def report(results: Sequence[Result], out: Path, options: argparse.Namespace) -> None:
    """Print the tables, draw the picture, and print the last line."""
    cells = cells_of(results, options.subject)
    path = out / f"{options.task}.png"
    claim_picture.draw(cells, path)
    print(f"\n{claim_table.tables(cells, options.target)}\n")
    print(f"{claim_table.tried(options.subject, sorted({cell.rounds for cell in cells}))}\n")
    for what in ("commit", "machine", "versions"):
        for each in dict.fromkeys(json.dumps(getattr(result, what)) for result in results if result.versions):
            print(f"{what}: {each}")
    print(path)
    keys = list(dict.fromkeys((cell.budget, cell.rounds) for cell in cells))
    sign = -1 if options.subject.metric == "loss" else 1
    best = [
        max((cell for cell in cells if (cell.budget, cell.rounds) == key), key=lambda cell: sign * cell.score)
        for key in keys
    ]
    print_result(
        f"claim {options.task}",
        sum(cell.method == "multifactorial" and math.isfinite(cell.score) for cell in best),
        f"of {len(keys)} comparisons in which multifactorial recombination has the best score",
        rows=[claim_table.row(cell, options.target) for cell in cells],
    )


def try_setting(options: argparse.Namespace) -> None:
    """Score a setting of one method, on a seed and tasks that no table has, and print its line for the settings."""
    task, method = options.subject, options.trial
    kept = Scoring(*scoring_of(options)[:2], points=1)
    scoring = kept._replace(tasks=kept.tasks + kept.curve_tasks, left_out=kept.tasks)
    for job in jobs_of(options, [method], options.seeds):
        with tempfile.TemporaryDirectory() as out:
            result = perform(job, min(os.sched_getaffinity(0)), Path(out), scoring, quick=options.quick)
        print(line_of(job, result))
        changes = joined(
            [*task.methods[method].at(job.rounds), *(each for whose, each in options.set if whose in (None, method))]
        )
        score = "nan" if result.diverged is not None or result.values is None else f"{result.curve[-1]['score']:.4g}"
        texts = ", ".join(f"'{each}'" for each in changes)
        print(
            f"{{ rounds = {job.rounds}, {job.budget.unit} = {job.budget.amount:g}, set = [{texts}], score = {score} }},"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS, metavar="TASK", help=", ".join(TASKS))
    parser.add_argument("--rounds", help="values of K (1,3,5,10; of cheetah_direction 1,3)")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"of {', '.join(METHODS)} (all)")
    parser.add_argument("--seeds", help="seeds of the runs (1-3)")
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument("--seconds", metavar="N,...", help="budgets in core-seconds (90)")
    budget.add_argument("--steps", metavar="N,...", help="budgets in environment steps, in place of core-seconds")
    parser.add_argument("--target", type=float, help="a score, to show the core-seconds until it is reached")
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, each on a core of its own (1)")
    parser.add_argument("--out", type=Path, default=Path("claim"), metavar="DIR", help="folder of the runs (claim)")
    parser.add_argument(
        "--from", type=Path, metavar="DIR", dest="stored", help="run nothing, read the runs of a folder"
    )
    parser.add_argument("--try", choices=METHODS, metavar="METHOD", dest="trial", help="score a setting of a method")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[METHOD:]NAME=VALUE",
        help="change the config, of one method or all",
    )
    parser.add_argument("--quick", action="store_true", help="small runs of few seconds: whether it runs")
    options = parser.parse_args()
    try:
        complete(options)
    except (ConfigError, ValueError) as error:
        parser.error(str(error))
    return options


def complete(options: argparse.Namespace) -> None:
    """Read the values of options, and fill in those that were left out, but for --from.

    Raises:
        ConfigError: a value is of another form.
        ValueError: a number is none.
    """
    options.subject = subject(options.task)
    options.jobs = max(1, min(options.jobs, len(os.sched_getaffinity(0))))
    options.methods = list(dict.fromkeys(options.methods.split(",")))
    unknown = set(options.methods) - set(METHODS)
    if unknown:
        raise ConfigError(f"{', '.join(sorted(unknown))}: no such method; choose from {', '.join(METHODS)}")
    options.set = [
        (whose, rest) if colon and whose in METHODS else (None, setting)
        for setting in options.set
        for whose, colon, rest in [setting.partition(":")]
    ]
    unit, texts = ("steps", options.steps) if options.steps is not None else ("seconds", options.seconds)
    options.budgets = None if texts is None else [Budget(unit, float(text)) for text in texts.split(",")]
    if any(budget.amount <= 0 for budget in options.budgets or []):
        raise ConfigError(f"--{unit} {texts}: expected numbers above 0; choose e.g. 90")
    if options.stored is None:
        seeds = str(_TRIAL_SEED) if options.trial else "1" if options.quick else "1-3"
        options.budgets = options.budgets or [_QUICK_BUDGET if options.quick else _BUDGET]
        options.rounds = options.rounds or ("1" if options.quick else options.subject.rounds)
        options.seeds = options.seeds or seeds
    options.rounds = None if options.rounds is None else parse_rounds(options.rounds)
    options.seeds = None if options.seeds is None else parse_seeds(options.seeds)


def main() -> None:
    options = parse()
    if options.stored is not None:
        results, failures, out = read_all(options), list[str](), options.stored
    else:
        print_machine()
        try:
            if options.trial:
                return try_setting(options)
            jobs = jobs_of(options, options.methods, options.seeds)
        except (ConfigError, RunFailed) as error:
            sys.exit(f"claim.py: {error}")
        options.out.mkdir(parents=True, exist_ok=True)
        (results, failures), out = run_all(jobs, options), options.out
    for failure in failures:
        print(f"claim.py: {failure}", file=sys.stderr)
    if not results:
        sys.exit(f"claim.py: {out}: expected runs of {options.task}, got none")
    report(results, out, options)
    if failures:
        sys.exit(1)
    return None


if __name__ == "__main__":
    main()
