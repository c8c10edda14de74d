"""A run of claim.py in a process of its own, whose CPU time is the budget; and its scoring, in another process.

python benchmarks/claim_worker.py train ARGUMENTS    # or score; ARGUMENTS are JSON, from claim_runs.py
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gamaml
from gamaml import config as cfg
from gamaml.engine.stopping import share_done
from gamaml.evolution.schedule import decayed
from gamaml.types import Float64Array

_FEWEST = 3
"""Generations of a timing run, at least: the first one compiles."""


def train(arguments: dict[str, Any]) -> None:
    """Run to the end, or for so many `timing` core-seconds after the first generation.

    After every generation a line has the core-seconds and the environment steps so far; the last line has the process's
    core-seconds and peak memory.
    """
    config, timing, began = cfg.from_mapping(arguments["config"]), arguments["timing"], math.inf
    try:
        infos = gamaml.generations(config, out=arguments["out"], names=[arguments["name"]], overwrite=True)
        for number, info in enumerate(infos, 1):
            seconds = time.process_time()
            began = min(began, seconds)
            # Printed at once, since a run that diverges ends with an error.
            print(json.dumps([seconds, info.total_steps]), flush=True)
            if timing is not None and number >= _FEWEST and seconds - began >= timing:
                break
    finally:
        nbytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"core_seconds": time.process_time(), "nbytes": nbytes}), flush=True)


def score(arguments: dict[str, Any]) -> None:
    """Score the result that a run hands out, and those that it would have handed out earlier, and print one object."""
    path, overrides, tasks = Path(arguments["out"]) / f"{arguments['name']}.h5", arguments["score"], arguments["tasks"]
    run = gamaml.load(path)
    # A run that diverged may have lost its last generation.
    numbers = [min(number, run.num_generations) for number in arguments["numbers"]]
    config, rounds, left_out = run.config, run.header.num_rounds, arguments["left_out"]
    # Children of the mean of several parents are near the parents' mean, and the elite is one of them.
    parents_mean = config.strategy == "ga" and config.ga.recombine > 1

    def mean_of(run: gamaml.Run, number: int) -> float | None:
        if number == 0:
            return None
        found = gamaml.adapt(
            run,
            generation=number - 1,
            rounds=[rounds],
            tasks=arguments["curve_tasks"],
            overrides=overrides,
            parents_mean=parents_mean,
        )
        return _rounded(found.mean)[0]

    known = _with_snapshots(run, numbers)
    curve = [mean_of(known, number) for number in numbers]
    values = mean_action = who = None
    if arguments["ended"]:
        found = gamaml.adapt(run, tasks=tasks, overrides=overrides, parents_mean=parents_mean)
        who, values = found.who, [_rounded(each) for each in found.values[left_out:]]
        if arguments["mean_action"]:
            options: Any = {"tasks": tasks, "overrides": overrides, "parents_mean": parents_mean}
            quiet = gamaml.adapt(run, rounds=[rounds], mean_action=True, **options)
            mean_action = [_rounded(each)[0] for each in quiet.values]
    told = {
        "generations": run.num_generations,
        "evaluations": int(run.summary["num_evaluations"].sum()),
        "steps": int(run.summary["steps"].sum()),
        "finished": run.finished,
        "digest": run.digest(),
        "versions": run.header.versions,
        "std": _stds(run, arguments["std_ends"]),
        "who": who,
        "curve": curve,
        "values": values,
        "mean_action": mean_action,
    }
    print(json.dumps(told))


def _with_snapshots(run: gamaml.Run, numbers: Sequence[int]) -> gamaml.Run:
    """Return a run that knows its vectors after these numbers of generations.

    They are rebuilt from one to the next, since repeating MAML's updates takes as long as in the run.
    """
    from gamaml import problems
    from gamaml.evolution.noise_table import LazyNoise
    from gamaml.evolution.rebuild import Course, Snapshot, rebuild
    from gamaml.runlog.hdf5_file import PADDING

    if run.strategy.sizes.has_genomes:
        return run
    problem, noise = (
        problems.make_problem(run.config),
        LazyNoise(size=run.config.noise.size, seed=run.config.noise.seed),
    )
    history = [entries[entries["base"] != PADDING] for entries in run.entries]
    initial, snapshots = run.state(0), list(run.snapshots)
    for number in sorted(set(numbers)):
        earlier = (each for each in snapshots if each.generation <= number)
        latest = max(earlier, key=lambda each: each.generation, default=None)
        vectors = rebuild(run.strategy, Course(initial, history[:number], latest), noise, problem)
        snapshots.append(Snapshot(number, vectors))
    return dataclasses.replace(run, snapshots=sorted(snapshots, key=lambda each: each.generation))


def _stds(run: gamaml.Run, ends: tuple[float, float] | None) -> dict[str, float] | None:
    """Return the std of the last generation, that which a schedule over the whole run asks for, and the final one."""
    if ends is None or run.num_generations == 0:
        return None
    before, steps = run.num_generations - 1, int(run.summary["steps"][:-1].sum())
    share = share_done(run.config.stop, generations=before, environment_steps=steps)
    return {"last": float(run.summary["std"][-1]), "scheduled": decayed(*ends, share), "final": ends[1]}


def _rounded(values: Float64Array) -> list[float | None]:
    """Return values with six significant digits; None for those that JSON does not have."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


def main() -> None:
    what, arguments = sys.argv[1], json.loads(sys.argv[2])
    os.sched_setaffinity(0, {arguments["core"]})
    (train if what == "train" else score)(arguments)


if __name__ == "__main__":
    main()
