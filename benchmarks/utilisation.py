"""Which share of the ranks' time is spent inside episodes, and is every episode counted?

    python benchmarks/utilisation.py                                # 64 ranks on 2 emulated nodes, 1 to 8 populations
    python benchmarks/utilisation.py --ranks 128 --nodes 4 --lengths lognormal

The script runs the whole engine with episodes that sleep, so many ranks fit on few cores. Lengths are drawn from
ga-dist's model, 698 + Exp(3100) steps cut at 5,000, or from a lognormal (sigma 1), scaled to a mean of `--mean`
seconds. The share refers to all ranks' time from the start of the first generation to the selection of the last one,
over all populations, including the tail in which ranks run out of work. For comparison, generations that end with their
first N results, like ga-dist's, are simulated with the same lengths; they throw away the episodes in flight and favour
short ones.
"""

from __future__ import annotations

import argparse
import heapq
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import gamaml
from gamaml.engine.evaluation import child_key, reevaluation_key
from gamaml.evolution import streams
from gamaml.evolution.records import DONE
from gamaml.job import launcher
from gamaml.types import EvaluationKey, Float32Array, KeyData
from report import print_machine, print_result, run_ranks

BAR = 0.97
NUM_PARENTS, CANDIDATES, EPISODES = 20, 4, 10
STEPS_PER_MEAN = 1000
"""Recorded steps of an episode of mean length."""

_GA_DIST_MEAN = 698 + 3100 * (1 - np.exp(-(5000 - 698) / 3100))

LENGTHS: dict[str, Callable[[np.random.Generator], float]] = {
    "ga-dist": lambda random: float(min(698 + random.exponential(3100), 5000) / _GA_DIST_MEAN),
    "lognormal": lambda random: float(random.lognormal(-0.5, 1.0)),
}
"""Draws of lengths in units of their mean, by name."""


class Sleeper:
    """An episode that sleeps; its length follows from its key.

    Args:
        lengths: a name in LENGTHS.
        mean: seconds.
        slow_from: ranks from this one on sleep twice as long.
    """

    num_params = 100
    num_rounds = 0
    scalars = ()
    metric = "return"
    scale = None

    def __init__(self, lengths: str, mean: float, slow_from: int) -> None:
        self._lengths = lengths
        self._mean = mean * (2 if launcher.rank_from_environment() >= slow_from else 1)

    def initial(self, noise: Float32Array) -> Float32Array:
        """Return the noise."""
        return noise.copy()

    def evaluate(self, params: Float32Array, key: EvaluationKey) -> gamaml.Evaluation:
        """Sleep, and return a random fitness."""
        random = streams.generator(key.episode)
        length = LENGTHS[self._lengths](random)
        time.sleep(self._mean * length)
        fitness = float(random.normal())
        return gamaml.Evaluation(fitness, np.array([fitness], np.float32), steps=round(STEPS_PER_MEAN * length))


def settings(arguments: Mapping[str, object]) -> dict[str, Any]:
    """Return the config of every population."""
    ga = {
        "population_size": arguments["population_size"],
        "num_parents": NUM_PARENTS,
        "elite": {"candidates": CANDIDATES, "episodes": EPISODES},
    }
    return {
        "inner": {"rounds": 0},
        "ga": ga,
        "noise": {"size": 100_000},
        "stop": {"generations": arguments["generations"]},
    }


def work(arguments: dict[str, object]) -> None:
    """Run the populations, as one of the ranks."""
    config = settings(arguments)
    task = Sleeper(str(arguments["lengths"]), float(str(arguments["mean"])), int(str(arguments["slow_from"])))
    gamaml.train(config, seeds=range(int(str(arguments["populations"]))), task=task, out=str(arguments["out"]))


class Measured(NamedTuple):
    """The figures of a run.

    Attributes:
        share: share of all ranks' time inside episodes.
        missing: children and re-evaluations without a record.
        bias: mean length of the counted episodes relative to the mean of all, less 1.
        rate: episodes per second.
    """

    share: float
    missing: int
    bias: float
    rate: float


def run(options: argparse.Namespace, populations: int, *, half_speed: bool = False) -> Measured:
    """Run the populations under mpiexec; with `half_speed`, the last node's episodes take twice as long."""
    with tempfile.TemporaryDirectory() as folder:
        slow_from = options.ranks - options.ranks // options.nodes if half_speed else options.ranks
        arguments = {**vars(options), "populations": populations, "slow_from": slow_from, "out": folder}
        sizes = [len(part) for part in np.array_split(np.arange(options.ranks), options.nodes)]
        run_ranks(__file__, ["--emulate", "--ranks-per-node", ",".join(map(str, sizes))], arguments)
        runs = [gamaml.load(path) for path in sorted(Path(folder).glob("*.h5"))]
    assert len(runs) == populations
    tables = [table for run in runs for table in (run.records, run.reevaluations)]
    busy = sum(float(table["seconds"].sum()) for table in tables)
    wall = max(float(run.summary["seconds"].sum()) for run in runs)
    missing = sum(int(np.sum(table["flags"] & DONE == 0)) for table in tables)
    counted = sum(int(table["steps"].sum()) for table in tables)
    drawn = sum(drawn_steps(run.config, options) for run in runs)
    number = sum(table.size for table in tables)
    return Measured(busy / (wall * options.ranks), missing, counted / drawn - 1, number / wall)


def drawn_steps(config: gamaml.Config, options: argparse.Namespace) -> int:
    """Return the steps of all episodes that a population has to play, computed anew from their keys."""
    total = 0
    for generation in range(options.generations):
        keys = [child_key(config.seed, generation, task=0, episode=index) for index in range(options.population_size)]
        again = [reevaluation_key(config.seed, generation, episode) for episode in range(EPISODES)]
        total += sum(steps_of(key.episode, options) for key in [*keys, *CANDIDATES * again])
    return total


def steps_of(key: KeyData, options: argparse.Namespace) -> int:
    return round(STEPS_PER_MEAN * LENGTHS[options.lengths](streams.generator(key)))


def first_results(ranks: int, population_size: int, lengths: str, generations: int = 50) -> tuple[float, float]:
    """Simulate generations that end with their first N results; return wasted share of time and bias of lengths."""
    random = np.random.default_rng(1)
    draw = LENGTHS[lengths]
    counted: list[float] = []
    wall = 0.0
    for _ in range(generations):
        # (end, length) of each rank's episode.
        playing = [(length, length) for length in (draw(random) for _ in range(ranks))]
        heapq.heapify(playing)
        end = 0.0
        for _ in range(population_size):
            end, length = playing[0]
            counted.append(length)
            following = draw(random)
            heapq.heapreplace(playing, (end + following, following))
        wall += end
    return 1 - sum(counted) / (wall * ranks), float(np.mean(counted)) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, default=64)
    parser.add_argument("--nodes", type=int, default=2, help="emulated nodes, over which the ranks are spread")
    parser.add_argument("--lengths", choices=sorted(LENGTHS), default="ga-dist")
    parser.add_argument("--mean", type=float, default=0.3, help="mean length of an episode in seconds")
    parser.add_argument("--population-size", type=int, default=200)
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--populations", default="1,2,4,8", help="numbers of populations to try, e.g. 1,8")
    parser.add_argument("--half-speed", action="store_true", help="also with the last node at half speed")
    parser.add_argument("--quick", action="store_true", help="a few ranks and short episodes: whether it runs")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker is not None:
        work(json.loads(options.worker))
        return
    if options.quick:
        options.ranks, options.mean, options.population_size = 3, 0.005, NUM_PARENTS
        options.generations, options.populations = 2, "1,2"
    print_machine()
    print(f"{options.ranks} ranks on {options.nodes} nodes, {options.lengths} lengths of {options.mean} s in the mean")
    shares: dict[int, float] = {}
    missing, bias = 0, 0.0
    rate = 0.0
    for populations in map(int, options.populations.split(",")):
        found = run(options, populations)
        shares[populations] = round(found.share, 4)
        missing, bias, rate = missing + found.missing, max(bias, abs(found.bias)), found.rate
        print(
            f"  {populations:>2} populations: {found.share:6.1%} busy, {found.missing} dropped, "
            f"bias of lengths {found.bias:+.2%}"
        )
    more: dict[str, float] = {}
    if options.half_speed:
        found = run(options, max(shares), half_speed=True)
        more["half_speed_throughput"] = round(found.rate / rate, 3)
        print(
            f"  {max(shares):>2} populations, last node at half speed: {found.share:6.1%} busy, "
            f"{found.rate / rate:.1%} of the throughput"
        )
    wasted, favoured = first_results(options.ranks, options.population_size, options.lengths)
    print(f"  first-N-results way, simulated: {wasted:.1%} wasted, bias of lengths {favoured:+.1%}")
    value = shares[max(shares)]
    print_result(
        "utilisation",
        value,
        f"share of rank time inside episodes, {max(shares)} populations",
        bar=f">= {BAR}, nothing dropped, no bias",
        meets=value >= BAR and missing == 0 and bias == 0,
        baseline=1 - wasted,
        ratio=round(value / (1 - wasted), 3),
        shares=shares,
        dropped=missing,
        bias=bias,
        first_results_bias=round(favoured, 4),
        **more,
    )


if __name__ == "__main__":
    main()
