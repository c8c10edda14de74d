"""How long do the ranks wait between two generations, and does anything grow with the number of generations?

    python benchmarks/turnaround.py                       # 1,000 generations of 1,000 empty episodes on 2 ranks
    python benchmarks/turnaround.py --generations 2000 --population-size 50

This is a real run whose episodes only note the time. The script prints medians over the first and over the last tenth
of the generations: the CPU time of rank 0's service thread between the last result and the broadcast of the new
parents; the time from the end of the last re-evaluation to the start of the next generation's first child, on any rank;
seconds and journal bytes per generation; memory of rank 0. The commit runs beside the next generation. The second and
third figure are times by the clock, since waiting is what they are about; other load on the machine lengthens them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import gamaml
from gamaml.evolution.genetic_algorithm import GeneticAlgorithm
from gamaml.parallel.command import Command
from gamaml.parallel.relay import Relay
from gamaml.runlog.journal import FrameType, read_frames
from gamaml.types import EvaluationKey, Float32Array, Records
from report import print_machine, print_result, run_ranks

BAR_SECONDS = 0.5e-3
NUM_PARENTS, CANDIDATES, EPISODES = 20, 10, 3


class Clock:
    """An episode that takes no time and reports its time.

    Args:
        base: monotonic seconds to which its times are relative; all processes of a host share the clock.
    """

    num_params = 1000
    num_rounds = 0
    scalars = ("start", "end")
    metric = "return"
    scale = None

    def __init__(self, base: float) -> None:
        self._base = base

    def initial(self, noise: Float32Array) -> Float32Array:
        """Return the noise."""
        return noise.copy()

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> gamaml.Evaluation:
        """Return the first parameter as fitness."""
        start = time.monotonic() - self._base
        fitness = float(params[0])
        returns = np.array([fitness], np.float32)
        return gamaml.Evaluation(fitness, returns, steps=1, scalars=(start, time.monotonic() - self._base))


class Stopwatch:
    """Measures rank 0's CPU time from the arrival of a generation's last results until the next command is sent.

    The service thread does all of it.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._arrived = 0.0
        self._chosen = False
        self._take_results, self._choose, self._post = Relay.take_results, GeneticAlgorithm.next, Relay.post

    def install(self) -> None:
        """Put the stopwatch around the relay and the selection."""

        def take_results(relay: Relay) -> Records | None:
            start = time.thread_time()
            results = self._take_results(relay)
            if results is not None:
                self._arrived = start
            return results

        def choose(*arguments: Any) -> Any:
            self._chosen = True
            return self._choose(*arguments)

        def post(relay: Relay, command: Command) -> None:
            self._post(relay, command)
            if self._chosen:
                self.seconds.append(time.thread_time() - self._arrived)
                self._chosen = False

        # A type checker takes plain assignments for mistakes.
        setattr(Relay, "take_results", take_results)  # noqa: B010
        setattr(Relay, "post", post)  # noqa: B010
        setattr(GeneticAlgorithm, "next", choose)  # noqa: B010


def resident_nbytes() -> int:
    fields = Path("/proc/self/statm").read_text().split()
    return 4096 * int(fields[1])


def work(arguments: dict[str, Any]) -> None:
    """Run as one of the ranks; rank 0 prints the figures that only it has."""
    ga_settings = {
        "population_size": arguments["population_size"],
        "num_parents": NUM_PARENTS,
        "elite": {"candidates": CANDIDATES, "episodes": EPISODES},
    }
    config = {
        "inner": {"rounds": 0},
        "ga": ga_settings,
        "noise": {"size": 1_000_000},
        "stop": {"generations": arguments["generations"]},
    }
    stopwatch, memory = Stopwatch(), list[int]()
    stopwatch.install()
    gamaml.train(
        config,
        task=Clock(arguments["base"]),
        out=arguments["out"],
        names=["clock"],
        on_generation=lambda info: memory.append(resident_nbytes()),
    )
    if memory:
        print(json.dumps({"work": stopwatch.seconds, "memory": memory}))


def tenths(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """Return the medians of the first and of the last tenth, without the first value, which pays for warming up."""
    rest = np.asarray(values, np.float64)[1:]
    count = max(1, len(rest) // 10)
    return float(np.median(rest[:count])), float(np.median(rest[-count:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--generations", type=int, default=1000)
    parser.add_argument("--population-size", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a few generations: whether it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(json.loads(options.worker))
        return
    if options.quick:
        options.generations, options.population_size = 5, 2 * NUM_PARENTS
    print_machine()
    with tempfile.TemporaryDirectory() as folder:
        arguments = {**vars(options), "base": time.monotonic(), "out": folder}
        stdout = run_ranks(__file__, ["-n", str(options.ranks)], arguments)
        told = json.loads(stdout.splitlines()[-1])
        run = gamaml.load(Path(folder) / "clock.h5")
        frames = read_frames(Path(folder) / "clock.run" / "journal")
        nbytes = [len(payload) for kind, payload, _ in frames if kind is FrameType.COMMIT]
    starts = run.records["scalar_start"].astype(np.float64).min(axis=1)
    ends = run.reevaluations["scalar_end"].astype(np.float64).max(axis=1)
    found = {
        "rank 0's work before the broadcast, CPU-ms": tenths(1e3 * np.array(told["work"])),
        "last result to first next child, clock-ms": tenths(1e3 * (starts[1:] - ends[:-1])),
        "one generation, clock-ms": tenths(1e3 * run.curves["seconds"]),
        "journal per generation, bytes": tenths(nbytes),
        "memory of rank 0, MiB": tenths(np.array(told["memory"]) / 2**20),
    }
    count = f"{options.generations} generations of {options.population_size}"
    print(f"{count} on {options.ranks} ranks; medians of the first and of the last tenth:")
    for name, (first, last) in found.items():
        print(f"  {name:<44} {first:10.3f} {last:10.3f}")
    work_ms = max(found["rank 0's work before the broadcast, CPU-ms"])
    print_result(
        "turnaround",
        round(work_ms, 4),
        "CPU-ms of rank-0 work before the broadcast, median",
        bar=f"<= {1e3 * BAR_SECONDS} CPU-ms",
        meets=work_ms <= 1e3 * BAR_SECONDS,
        first_and_last_tenth={name: [round(value, 4) for value in pair] for name, pair in found.items()},
    )


if __name__ == "__main__":
    main()
