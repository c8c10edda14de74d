"""How well do the elites of finished runs adapt to tasks that they never met?

    python benchmarks/adaptation.py RUN.h5 [RUN.h5 ...] [--rounds 3] [--tasks 500] [--set task.shots=5]

For every run: the return (or loss) before adaptation and after each inner round, on held-out tasks: the mean with its
standard error over groups of 50 tasks, and the median of the groups, which one task that diverges does not move.
`--parents-mean` takes the mean of the last parents instead of the elite. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import gamaml
from gamaml import config as cfg
from gamaml import streams
from gamaml.noise import LazyNoise
from gamaml.population import candidate_at, decode_genome, genome_of
from gamaml.runlog import PADDING, Run
from gamaml.streams import Purpose
from gamaml.tasks import make_problem
from gamaml.types import EvaluationKey, Float32Array, Float64Array
from report import print_result

GROUP = 50
"""Tasks per evaluation; the standard error is over the evaluations."""


def parents_mean(run: Run) -> Float32Array:
    problem, noise = make_problem(run.config), LazyNoise(run.config.noise.size, run.config.noise.seed)
    *before, last = list(run.lineage)
    slots = np.flatnonzero(last["slot"] != PADDING)
    genomes = [genome_of(candidate_at(last, int(slot)), before) for slot in slots]
    params = np.array([decode_genome(genome, noise, problem) for genome in genomes], np.float32)
    return params.mean(axis=0, dtype=np.float32)


def held_out(run: Run, params: Float32Array, overrides: Sequence[str], tasks: int) -> tuple[str, Float64Array]:
    """Return the metric and float64[groups, rounds + 1] of its means."""
    config = cfg.from_mapping(cfg.to_mapping(run.config), [*overrides, f"inner.num_tasks={GROUP}"])
    problem = make_problem(config)
    keys = (
        EvaluationKey(
            streams.key(config.seed, Purpose.TEST_TASKS, episode=group),
            streams.key(config.seed, Purpose.TEST_EPISODES, episode=group),
        )
        for group in range(max(2, -(-tasks // GROUP)))
    )
    return problem.metric, np.array([problem.evaluate(params, key).returns for key in keys], np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, help="inner rounds; those of the run by default")
    parser.add_argument(
        "--tasks", type=int, default=500, help="held-out tasks, rounded up to at least two groups of 50"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change the run's config")
    parser.add_argument("--parents-mean", action="store_true", help="evaluate the mean of the last parents")
    args = parser.parse_args()
    overrides = args.set + ([f"inner.rounds={args.rounds}"] if args.rounds is not None else [])
    final: list[float] = []
    metric = ""
    for path in args.runs:
        run = gamaml.load(path)
        params = parents_mean(run) if args.parents_mean else run.elite_parameters()
        metric, groups = held_out(run, params, overrides, args.tasks)
        with np.errstate(invalid="ignore"):  # where learning diverges, means and errors have no value
            means, errors = groups.mean(axis=0), groups.std(axis=0, ddof=1) / np.sqrt(len(groups))
        cells = "  ".join(f"{mean:8.3f} +- {error:.3f}" for mean, error in zip(means, errors, strict=True))
        print(f"{path.stem:<24} {metric} after 0..{groups.shape[1] - 1} rounds: {cells}")
        ranked = np.where(np.isnan(groups), np.inf if metric == "loss" else -np.inf, groups)
        medians = "  ".join(f"{median:8.3f}" for median in np.median(ranked, axis=0))
        print(f"{'':<24} median of {len(groups)} groups of {GROUP} tasks: {medians}")
        final.append(float(means[-1]))
    value = statistics.median(value if math.isfinite(value) else math.inf for value in final)
    told = [value if math.isfinite(value) else None for value in (value, *final)]
    print_result("adaptation", told[0], metric, runs=told[1:])


if __name__ == "__main__":
    main()
