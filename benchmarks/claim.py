r"""Do many rounds of (collect -> update) need a GA, and is a GA faster than gradients?

    python benchmarks/claim.py navigation                  # or sinusoid, or cheetah_direction
    python benchmarks/claim.py sinusoid --rounds 1,5 --methods ga,maml --set maml:maml.step_size=0.001

The GA, ES-MAML, and gradient MAML of second and first order each train on one core for the same core-seconds, on the
task of examples/TASK.toml, with the same policy and inner loop of K rounds. Core-seconds are CPU time of the process
from its very start; every run compiles its own program, which counts too. The run is scored at up to twelve times (five
for the cheetah), a factor of sqrt(2) apart; scoring is not counted. A score is the result of `gamaml adapt` for the
candidate that the run would deploy at that time: after K rounds, on held-out tasks that are the same for all runs. ES
and MAML deploy the centre, the GA deploys the elite, or the mean of the parents where children recombine. Memory is the
peak of the process before scoring.

For cheetah_direction, which needs pip install 'gamaml[mujoco]', K is 1, and a second table has the return after 0 to 3
rounds both at equal environment steps (--steps: the last generation within them) and at equal core-seconds. In it
re-evaluations count as steps, held-out tasks do not.

A run that DIR has is not repeated, so a table can be drawn again or grow; a run that was cut off starts again, since
two processes would share its seconds. The script writes TASK.png into DIR.
"""

from __future__ import annotations

import argparse
import bisect
import dataclasses
import json
import math
import operator
import os
import queue
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import gamaml
from gamaml import config as cfg
from gamaml import problems
from gamaml.commands.arguments import parse_rounds, parse_seeds
from gamaml.commands.pictures import BLUE, GREEN, ORANGE
from gamaml.config import Config
from gamaml.errors import ConfigError
from gamaml.evolution.noise_table import LazyNoise
from gamaml.evolution.rebuild import Course, Snapshot, rebuild
from report import print_machine, print_result

ROOT = Path(__file__).resolve().parents[1]
DIVERGED = "expected a finite fitness of the centre"
"""Part of the error with which a run of gradients ends when it diverges."""


class Subject(NamedTuple):
    """A task.

    Attributes:
        target: the score to reach.
        metric: name of the score.
        held_out: number of held-out tasks that the score averages.
        seconds: core-seconds of the example.
        methods: settings of a method on this task.
        quick: settings for a small run.
        view: ends of the plot's axis of scores; diverged runs are outside.
        rounds: values of K.
        marks: number of times at which a run is scored, each sqrt(2) times the previous one; the last is the budget.
        shown: further numbers of rounds after which a run is scored, besides K.
        steps: environment steps at which a run is scored too.
    """

    target: float
    metric: str
    held_out: int
    seconds: float
    methods: Mapping[str, list[str]]
    quick: list[str]
    view: tuple[float, float]
    rounds: str = "1,3,5,10"
    marks: int = 12
    shown: tuple[int, ...] = ()
    steps: int | None = None


SUBJECTS = {
    "navigation": Subject(
        target=-5.0,
        metric="return",
        held_out=200,
        seconds=210.0,
        # The better of two settings tried with K = 3 for 45 core-seconds: -1.6, and -5.9 with the defaults.
        methods={"es": ["es.std=0.1", "es.step_size=0.1"]},
        quick=["task.horizon=5", "inner.episodes=2"],
        view=(-25.0, 0.0),
    ),
    "sinusoid": Subject(
        target=1.0,
        metric="loss",
        held_out=2000,
        seconds=300.0,
        # ES's defaults were the best of three settings tried with K = 1 for 60 core-seconds.
        methods={},
        quick=[],
        view=(0.0, 3.5),
    ),
    "cheetah_direction": Subject(
        target=15.0,
        metric="return",
        # A score plays real episodes: 80,000 steps.
        held_out=40,
        seconds=560.0,  # 14 per generation
        methods={
            # The GA keeps the example's settings: with ga.recombine=4 it reached -0.5 after 60 core-seconds in place of
            # 5.2. These were tried likewise against a std and a step size of 0.1: 12.9 in place of 6.8.
            "es": ["es.population_size=32", "es.std=0.05", "es.step_size=0.05"],
            # Among the step sizes 0.003, 0.01 and 0.02, the first was slow and the last collapsed.
            "maml": ["inner.num_tasks=10", "maml.step_size=0.01"],
            "first-order-maml": ["inner.num_tasks=10", "maml.step_size=0.01"],
        },
        quick=["task.horizon=10", "inner.episodes=2"],
        view=(-10.0, 50.0),
        rounds="1",
        marks=5,
        shown=(0, 1, 2, 3),
        steps=1_000_000,
    ),
}

METHODS = {
    "ga": [],  # the example's, with the schedule of `config_of`
    # ES has as many children as the GA. The centre's re-evaluations are only reported.
    "es": ["strategy=es", "es.population_size=64", "es.episodes=1"],
    # Finn et al. 2017 have 20 to 25 tasks per update.
    "maml": ["strategy=maml", "inner.num_tasks=20", "inner.batch_size=1"],
    "first-order-maml": ["strategy=maml", "inner.num_tasks=20", "inner.batch_size=1", "maml.first_order=true"],
}
QUICK = {
    "ga": ["ga.population_size=8", "ga.num_parents=4", "ga.elite.candidates=2", "ga.elite.episodes=1"],
    "es": ["es.population_size=8"],
}
LOOKS = {
    "ga": (BLUE, "o", "-"),
    "es": (GREEN, "^", "-."),
    "maml": (ORANGE, "s", "--"),
    "first-order-maml": ("#CC79A7", "D", ":"),
}
"""Colour (of Okabe and Ito), marker and line."""


class Job(NamedTuple):
    """A run.

    Attributes:
        method: a key of METHODS.
        rounds: K.
        seed: the run's seed.
        config: everything else.
    """

    method: str
    rounds: int
    seed: int
    config: Config


class Point(NamedTuple):
    """A run at one time.

    Attributes:
        seconds: core-seconds so far.
        bare: core-seconds of the first generation and of later evaluations, without the cost of keeping the run; a
            substitute for `seconds` where other load hides it.
        score: the mean over the held-out tasks.
        low: lower end of the score's 95 % interval.
        high: upper end of the interval.
        steps: environment steps so far.
        adapted: means after the rounds of `Subject.shown`.
    """

    seconds: float
    bare: float
    score: float
    low: float
    high: float
    steps: int = 0
    adapted: Sequence[float] = ()


class Outcome(NamedTuple):
    """The outcome of a run.

    Attributes:
        start: core-seconds until its first generation was over.
        seconds: core-seconds in all.
        generations: number of generations.
        diverged: whether gradients ended it before the budget did.
        nbytes: peak memory.
        points: one for every mark, and one for the number of steps.
    """

    start: float
    seconds: float
    generations: int
    diverged: bool
    nbytes: int
    points: list[Point]

    def reached(self, target: float, metric: str) -> Point | None:
        """Return the first point that reaches the target."""
        sign = -1 if metric == "loss" else 1
        return next((point for point in self.points if sign * point.score >= sign * target), None)

    def within(self, steps: int) -> Point | None:
        """Return the last point within this number of steps, if the run reached it."""
        if self.points[-1].steps < steps:
            return None
        return max((point for point in self.points if point.steps <= steps), default=None)


def config_of(options: argparse.Namespace, method: str, rounds: int, seed: int) -> Config:
    """Return the example's config for a method and K rounds."""
    path = ROOT / "examples" / f"{options.task}.toml"
    example = cfg.load(path)
    # The mutations shrink as in the example, over the part of its steps that the budget allows; with more rounds a
    # generation has more steps.
    part = options.budget / SUBJECTS[options.task].seconds * (example.inner.rounds + 1) / (rounds + 1)
    decay = max(1, round((example.stop.generations or 1) * part))
    overrides = [f"ga.mutation_std_generations={decay}", *METHODS[method], f"inner.rounds={rounds}", f"seed={seed}"]
    overrides += SUBJECTS[options.task].methods.get(method, [])
    overrides += ["stop.generations=1_000_000"]
    if options.quick:
        overrides += [*SUBJECTS[options.task].quick, "inner.num_tasks=2", *QUICK.get(method, [])]
    for setting in options.set:
        whose, colon, rest = setting.partition(":")
        if not (colon and whose in METHODS):
            overrides.append(setting)
        elif whose == method:
            overrides.append(rest)
    return cfg.load(path, overrides)


def measure(job: Job, core: int, options: argparse.Namespace) -> Outcome:
    """Run a job and score it, or read its stored outcome."""
    name = f"{options.task}-rounds{job.rounds}-{job.method}-seed{job.seed}"
    asked = {"config": cfg.to_mapping(job.config), "budget": options.budget, "held_out": options.held_out}
    if options.steps is not None:
        asked["steps"] = options.steps
    path = options.out / f"{name}.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    if known.get("asked") != asked:
        known = {"asked": asked, "outcome": run_and_score(name, core, asked, options)}
        path.write_text(json.dumps(known))
    outcome = Outcome(**known["outcome"])
    outcome = outcome._replace(points=[Point(*point) for point in outcome.points])
    score = outcome.points[-1].score
    print(f"  {name:<44} {outcome.generations:>6} generations, {outcome.seconds:6.1f} s, {score:8.3f}", flush=True)
    return outcome


def run_and_score(name: str, core: int, asked: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Run and score a job, each in its own process, and return an Outcome's fields."""
    subject = SUBJECTS[options.task]
    arguments = {**asked, "core": core, "name": name, "out": str(options.out), "shown": subject.shown}
    with tempfile.TemporaryDirectory() as cache:
        # JAX caches its programs there, so no run finds a program that another has compiled.
        environment = os.environ if options.quick else {**os.environ, "XDG_CACHE_HOME": cache}
        ran = start_worker("run", arguments, environment)
        diverged = ran.returncode != 0 and DIVERGED in ran.stderr
        progress = [json.loads(line) for line in ran.stdout.splitlines()]
        if not progress or (ran.returncode != 0 and not diverged):
            sys.exit(f"claim.py: {name} ended with {ran.returncode}\n{ran.stderr}")
        seconds, steps, nbytes = zip(*progress, strict=True)
        marks = [options.budget / math.sqrt(2) ** back for back in range(1, subject.marks)] + [math.inf]
        numbers = {bisect.bisect(seconds, mark) for mark in marks}
        if options.steps is not None:
            numbers.add(bisect.bisect(steps, options.steps))
        numbers = sorted(numbers - {0})
        scored = start_worker("score", {**arguments, "numbers": numbers}, environment)
        if scored.returncode != 0:
            sys.exit(f"claim.py: scoring {name} ended with {scored.returncode}\n{scored.stderr}")
    scores = [json.loads(line) for line in scored.stdout.splitlines()]
    return Outcome(
        start=seconds[0],
        seconds=seconds[-1],
        generations=len(seconds),
        diverged=diverged,
        nbytes=nbytes[-1],
        points=[
            # The wall clock times evaluations, and is meaningless beside other load.
            Point(
                seconds[number - 1],
                min(seconds[0] + evaluating, seconds[number - 1]),
                *score,
                steps=steps[number - 1],
                adapted=adapted,
            )
            for number, (evaluating, score, adapted) in zip(numbers, scores, strict=True)
        ],
    )._asdict()


def start_worker(
    what: str, arguments: dict[str, Any], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(Path(__file__).resolve()), "--worker", what, json.dumps(arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def work(what: str, arguments: dict[str, Any]) -> None:
    """Run or score on one core, as `what` says, and print lines of JSON."""
    os.sched_setaffinity(0, {arguments["core"]})
    if what == "run":
        run(arguments)
    elif what == "score":
        score(arguments)
    else:
        from gamaml.inner.start_jax import start_jax

        start_jax()
        import jax
        from mpi4py import MPI

        jax.jit(lambda x: x + 1)(MPI.COMM_WORLD.rank).block_until_ready()
        print(peak_nbytes())


def run(arguments: dict[str, Any]) -> None:
    """Run until the budget is spent; print CPU seconds, steps and peak memory so far after every generation."""
    config = cfg.from_mapping(arguments["config"])
    for info in gamaml.generations(config, out=arguments["out"], names=[arguments["name"]], overwrite=True):
        seconds = time.process_time()
        # Printed at once, since a run that diverges is aborted.
        print(json.dumps([seconds, info.total_steps, peak_nbytes()]), flush=True)
        if seconds >= arguments["budget"]:
            break


def score(arguments: dict[str, Any]) -> None:
    """Score the candidates that a run would have deployed after `numbers` of generations.

    For each candidate, print the seconds inside evaluations since the first generation, the score with the ends of its
    interval, and the means after the further rounds shown.
    """
    run = gamaml.load(Path(arguments["out"]) / f"{arguments['name']}.h5")
    rounds, strategy, snapshots = run.header.num_rounds, run.strategy, list(run.snapshots)
    noise = LazyNoise(size=run.config.noise.size, seed=run.config.noise.seed)
    problem, by_generation = problems.make_problem(run.config), operator.attrgetter("generation")
    # A run that diverged may have lost its last generation.
    for number in (min(number, run.num_generations) for number in arguments["numbers"]):
        if not run.strategy.sizes.has_genomes:
            # Vectors are rebuilt from mark to mark, since repeating MAML's updates takes as long as in the run.
            latest = max((one for one in snapshots if one.generation <= number), key=by_generation, default=None)
            history = [run.state(generation).entries for generation in range(1, number + 1)]
            vectors = rebuild(strategy, Course(run.state(0), history, latest), noise, problem)
            snapshots = sorted([*snapshots, Snapshot(number, vectors)], key=by_generation)
        found = gamaml.adapt(
            dataclasses.replace(run, snapshots=snapshots),
            generation=number - 1,
            tasks=arguments["held_out"],
            rounds=[*arguments["shown"], rounds],
            parents_mean=not run.strategy.sizes.has_genomes or run.config.ga.recombine > 1,
        )
        evaluations = (table["seconds"][1:number] for table in (run.records, run.reevaluations))
        evaluating = sum(float(seconds.sum(dtype=float)) for seconds in evaluations)
        after = found.rounds.index(rounds)
        scored = [float(found.mean[after]), *found.interval[:, after].tolist()]
        adapted = [float(found.mean[found.rounds.index(number)]) for number in arguments["shown"]]
        print(json.dumps([evaluating, scored, adapted]))


def peak_nbytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run_all(options: argparse.Namespace) -> dict[tuple[str, int], list[Outcome]]:
    """Return the outcomes of all seeds, by method and rounds."""
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[: options.jobs]:
        cores.put(core)

    def one(job: Job) -> Outcome:
        core = cores.get()
        try:
            return measure(job, core, options)
        finally:
            cores.put(core)

    outcomes: dict[tuple[str, int], list[Outcome]] = {}
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            for job, outcome in zip(options.runs, pool.map(one, options.runs), strict=True):
                outcomes.setdefault((job.method, job.rounds), []).append(outcome)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return outcomes


class Row(NamedTuple):
    """Medians over the seeds of one method with one K.

    Attributes:
        method: a key of METHODS.
        rounds: K.
        to_target: core-seconds to the target; infinite if the median run did not reach it.
        bare: the same in the bare seconds of `Point`.
        score: the score at the end.
        low: lower end of the score's interval.
        high: upper end of the interval.
        generations: number of generations.
        diverged: number of diverged runs.
        start: core-seconds until the first generation was over.
        nbytes: peak memory.
    """

    method: str
    rounds: int
    to_target: float
    bare: float
    score: float
    low: float
    high: float
    generations: int
    diverged: int
    start: float
    nbytes: float


def row_of(method: str, rounds: int, outcomes: list[Outcome], target: float, metric: str) -> Row:
    never = Point(math.inf, math.inf, math.nan, math.nan, math.nan)
    reached = [outcome.reached(target, metric) or never for outcome in outcomes]
    ends = sorted((outcome.points[-1] for outcome in outcomes), key=lambda end: end.score)
    middle = ends[(len(ends) - 1) // 2]
    return Row(
        method,
        rounds,
        statistics.median(point.seconds for point in reached),
        statistics.median(point.bare for point in reached),
        middle.score,
        middle.low,
        middle.high,
        round(statistics.median(outcome.generations for outcome in outcomes)),
        sum(outcome.diverged for outcome in outcomes),
        statistics.median(outcome.start for outcome in outcomes),
        statistics.median(outcome.nbytes for outcome in outcomes),
    )


def table(rows: list[Row], options: argparse.Namespace) -> str:
    """Return Markdown."""
    metric = SUBJECTS[options.task].metric
    names = (
        f"core-seconds to {options.target:g}",
        "without the engine",
        f"{metric} at {options.budget:g} core-seconds",
    )
    lines = [("K", "method", *names, "generations", "first after", "peak memory"), ("---",) * 8]
    for row in rows:
        reached = [f"{seconds:.0f}" if math.isfinite(seconds) else "never" for seconds in (row.to_target, row.bare)]
        final = f"{row.score:.3g} [{row.low:.3g}, {row.high:.3g}]" + ", diverged" * (row.diverged > 0)
        costs = (f"{row.generations:,}", f"{row.start:.0f} s", f"{row.nbytes / 2**20:.0f} MiB")
        lines.append((str(row.rounds), row.method, *reached, final, *costs))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def adapted_rows(outcomes: dict[tuple[str, int], list[Outcome]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return every method's score after each of `Subject.shown` rounds, by steps and by core-seconds."""
    rows: list[dict[str, Any]] = []
    limits = (f"{options.steps:,} steps", f"{options.budget:g} core-seconds")
    for limit in limits:
        for (method, rounds), runs in outcomes.items():
            ends = [run.within(options.steps) if limit == limits[0] else run.points[-1] for run in runs]
            points = [point for point in ends if point is not None]
            row: dict[str, Any] = {"K": rounds, "method": method, "at": limit, "runs": len(points), "of": len(runs)}
            if points:
                row["seconds"] = statistics.mean(point.seconds for point in points)
                row["steps"] = statistics.mean(point.steps for point in points)
                row["adapted"] = [list(column) for column in zip(*(point.adapted for point in points), strict=True)]
            rows.append(row)
    return rows


def adapted_table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """Return Markdown with the mean of the runs, and the lowest and the highest run."""
    subject = SUBJECTS[options.task]
    names = [f"{subject.metric} after {number}" for number in subject.shown]
    lines = [["at", "K", "method", "runs", "core-seconds", "steps", *names], ["---"] * (6 + len(names))]
    for row in rows:
        line = [row["at"], str(row["K"]), row["method"], f"{row['runs']} of {row['of']}"]
        if row["runs"]:
            line += [f"{row['seconds']:.0f}", f"{row['steps']:,.0f}"]
            line += [f"{statistics.mean(of):.1f} [{min(of):.1f}, {max(of):.1f}]" for of in row["adapted"]]
        else:
            line += ["not reached", *[""] * (1 + len(names))]
        lines.append(line)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plot(
    outcomes: dict[tuple[str, int], list[Outcome]], rows: list[Row], empty: int, options: argparse.Namespace
) -> Path:
    """Draw scores over core-seconds for every K; below, core-seconds to the target and memory over K."""
    import matplotlib.figure  # only here, because it takes a second to import

    metric, rounds = SUBJECTS[options.task].metric, options.rounds
    figure: Any = matplotlib.figure.Figure(figsize=(max(9.0, 3.0 * len(rounds)), 7.5), layout="constrained")
    above, below = figure.subfigures(2, 1)
    panels = above.subplots(1, len(rounds), sharex=True, sharey=True, squeeze=False)[0]
    for axes, number in zip(panels, rounds, strict=True):
        for method in options.methods:
            for outcome in outcomes[method, number]:
                seconds, scores = zip(*((point.seconds, point.score) for point in outcome.points), strict=True)
                draw(axes, method, seconds, scores, label=method)
        axes.axhline(options.target, color="0.3", linewidth=1)
        dress(axes, f"K = {number}", "core-seconds")
    panels[0].set_xscale("log")
    ticks = [options.budget / 2**halvings for halvings in range(5)]
    panels[0].set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
    panels[0].minorticks_off()
    panels[0].set_ylabel(f"{metric} after K rounds")
    panels[0].set_ylim(SUBJECTS[options.task].view)
    speed, memory = below.subplots(1, 2)
    for method in options.methods:
        own = [row for row in rows if row.method == method]
        draw(speed, method, rounds, [row.to_target for row in own])
        draw(memory, method, rounds, [row.nbytes / 2**20 for row in own])
    speed.set_ylim(0, 1.05 * options.budget)
    memory.axhline(empty / 2**20, color="0.3", linewidth=1)
    memory.set_ylim(bottom=0)
    dress(speed, f"core-seconds to {options.target:g} (no mark: not reached)", "K, rounds of (collect, update)")
    dress(memory, "peak memory in MiB (line: an empty program)", "K, rounds of (collect, update)")
    for axes in (speed, memory):
        axes.set_xticks(rounds)
        axes.set_xlim(min(rounds) - 0.5, max(rounds) + 0.5)
    handles, names = panels[0].get_legend_handles_labels()
    lines = dict(zip(names, handles, strict=True))  # one for all seeds
    figure.legend(lines.values(), lines, loc="outside lower center", ncols=len(lines), frameon=False)
    path = options.out / f"{options.task}.png"
    figure.savefig(path, dpi=150)
    return path


def draw(axes: Any, method: str, x: Any, y: Any, **more: Any) -> None:  # matplotlib Axes
    colour, marker, line = LOOKS[method]
    axes.plot(x, y, line, color=colour, marker=marker, markersize=5, linewidth=1.6, **more)


def dress(axes: Any, title: str, label: str) -> None:  # matplotlib Axes
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(label)
    axes.grid(visible=True, color="0.9")
    axes.set_axisbelow(True)
    for side in ("right", "top"):
        axes.spines[side].set_visible(False)


def firsts(rows: list[Row]) -> dict[int, str | None]:
    """Return for every K the method that reached the target first."""
    best: dict[int, str | None] = {}
    for number in sorted({row.rounds for row in rows}):
        first = min((row for row in rows if row.rounds == number), key=lambda row: row.to_target)
        best[number] = first.method if math.isfinite(first.to_target) else None
    return best


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=SUBJECTS, metavar="TASK", help=", ".join(SUBJECTS))
    parser.add_argument("--rounds", help="values of K (1,3,5,10; of cheetah_direction 1)")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"of {', '.join(METHODS)} (all)")
    parser.add_argument("--budget", type=float, default=90.0, help="core-seconds of a run (90)")
    parser.add_argument("--target", type=float, help="score to reach (navigation -5, sinusoid 1, cheetah_direction 15)")
    parser.add_argument(
        "--steps", type=int, help="environment steps at which cheetah_direction is scored too (1,000,000)"
    )
    parser.add_argument("--seeds", default="1", help="seeds of the runs; the table has medians (1)")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="runs at a time (all cores)")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="[METHOD:]NAME=VALUE",
        help="change the config, of one method or all",
    )
    parser.add_argument("--out", type=Path, default=Path("claim"), metavar="DIR", help="folder of the runs (claim)")
    parser.add_argument("--quick", action="store_true", help="small runs of few seconds: whether it runs")
    options = parser.parse_args()
    subject = SUBJECTS[options.task]
    options.held_out = subject.held_out
    options.rounds = options.rounds or subject.rounds
    if options.target is None:
        options.target = subject.target
    if options.steps is not None and options.steps < 1:
        parser.error(f"--steps={options.steps}: expected at least 1; choose e.g. 1000000")
    if subject.steps is None and options.steps is not None:
        parser.error(f"--steps={options.steps}: {options.task} is not scored by steps; leave it out")
    if options.quick:
        options.rounds, options.budget, options.held_out = "1", 4.0, 4
        options.steps = options.steps or (subject.steps and 2_000)
    options.steps = options.steps or subject.steps
    options.methods = list(dict.fromkeys(options.methods.split(",")))
    unknown = set(options.methods) - set(METHODS)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such method; choose from {', '.join(METHODS)}")
    options.jobs = max(1, min(options.jobs, len(os.sched_getaffinity(0))))
    try:
        options.rounds, options.seeds = parse_rounds(options.rounds), parse_seeds(options.seeds)
        options.runs = [
            Job(method, rounds, seed, config_of(options, method, rounds, seed))
            for rounds in options.rounds
            for method in options.methods
            for seed in options.seeds
        ]
    except ConfigError as error:
        parser.error(str(error))
    return options


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2], json.loads(sys.argv[3]))
        return
    options = parse()
    metric = SUBJECTS[options.task].metric
    print_machine()
    options.out.mkdir(parents=True, exist_ok=True)
    outcomes = run_all(options)
    rows = [row_of(*key, runs, options.target, metric) for key, runs in outcomes.items()]
    empty = int(start_worker("nothing", {"core": min(os.sched_getaffinity(0))}, os.environ).stdout)
    path = plot(outcomes, rows, empty, options)
    first = firsts(rows)
    print(f"\n{table(rows, options)}\n")
    adapted = adapted_rows(outcomes, options) if options.steps is not None else []
    if adapted:
        print(f"{adapted_table(adapted, options)}\n")
        print("Means of the runs, and the lowest and the highest.")
    print("Without the engine: up to the first generation, then evaluations alone.")
    print(f"An empty program takes {empty / 2**20:.0f} MiB.")
    for number, method in first.items():
        print(f"K = {number}: first at {options.target:g}: {method or 'none'}")
    print(path)
    print_result(
        f"claim {options.task}",
        sum(method == "ga" for method in first.values()),
        f"of {len(first)} numbers of rounds at which the GA reaches {options.target:g} first",
        rows=[finite(row._asdict()) for row in rows],
        empty_nbytes=empty,
        adapted=adapted,
    )


def finite(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with None for values that JSON cannot hold."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in row.items()
    }


if __name__ == "__main__":
    main()
