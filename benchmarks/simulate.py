"""Which share of the ranks' time would be spent inside episodes on 256 to 16,384 ranks?

    python benchmarks/simulate.py              # 256 to 16,384 ranks, 1 to 8 populations
    python benchmarks/simulate.py --check      # 16 and 64 ranks, beside real runs with the same episodes: minutes

This is a discrete-event model of the schedule. Every node gets its share of a population's children up front; its ranks
claim them, the oldest open generation first. When the share is complete, the leader sends it to rank 0, which serves
one population after the other. The re-evaluations and the selection follow, and on every node a rank that becomes free
decodes the new parents. Populations grow with the ranks, with the same number of children per rank everywhere.

The other scripts measured the times on this project's machine (Costs), except the time of a message per node, which is
an assumption, since at most four nodes were emulated. The real runs come from utilisation.py, with 0.3 s per episode on
64 ranks and as many episodes per second on fewer.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

import utilisation
from gamaml import config as cfg
from gamaml.engine.evaluation import child_key, reevaluation_key
from gamaml.evolution import streams
from gamaml.parallel.relay import split
from report import print_machine, print_result
from utilisation import CANDIDATES, EPISODES, LENGTHS, NUM_PARENTS

BAR_POINTS, BAR_SHARE, BAR_RANKS = 0.03, 0.97, 256
RANKS = (256, 1024, 4096, 16384)
RANKS_PER_NODE = 32
CHILDREN_PER_RANK = 4
"""Children per rank and population: a population of 1,024 on 256 ranks."""


@dataclass(frozen=True)
class Costs:
    """The engine's own times, in seconds.

    Attributes:
        child: a child's claim, proposal, decoding and record; turnaround.py, a generation of 1,000 empty episodes.
        relay: from a share's last record to rank 0, and from rank 0 to an open batch; relay.py, idle leaders.
        root: rank 0's work for one batch, whatever its size; turnaround.py.
        root_child: rank 0's work per child; turnaround.py with 1,000 and 50,000 children.
        root_node: rank 0's work per node; assumed.
        decode: decoding all parents on one rank; decode.py, 20 parents of 100,000 parameters.
        idle: mean time that an idle rank sleeps on after a batch was opened; half of its longest sleep.
    """

    child: float = 50e-6
    relay: float = 0.8e-3
    root: float = 0.4e-3
    root_child: float = 0.3e-6
    root_node: float = 10e-6
    decode: float = 1e-3
    idle: float = 2.5e-3


COSTS = Costs()


@dataclass
class Work:
    """One population's open batch on one node.

    Attributes:
        generation: generation of the batch.
        todo: lengths of the unclaimed items.
        unfinished: items without a result.
        undecoded: lengths of the items that can be claimed once a rank has decoded the parents; then None.
    """

    generation: int = 0
    todo: deque[float] = field(default_factory=deque[float])
    unfinished: int = 0
    undecoded: list[float] | None = None


@dataclass
class Population:
    """The state of a population on rank 0.

    Attributes:
        draw: (generation, is_children) -> the lengths in seconds of all items of that batch.
        generation: the open generation.
        children: whether its children are being evaluated, or its candidates re-evaluated.
        awaited: nodes whose share has not arrived.
        ended: time of the last selection, in seconds.
    """

    draw: Callable[[int, bool], list[float]]
    generation: int = 0
    children: bool = True
    awaited: int = 0
    ended: float = math.nan


class Schedule:
    """The events of one job, in the order of their time.

    Args:
        node_sizes: ranks per node.
        populations: the populations to evaluate.
        generations: number of generations of every population.
        costs: seconds of the engine's own work.
    """

    def __init__(
        self, node_sizes: list[int], populations: list[Population], generations: int, costs: Costs = COSTS
    ) -> None:
        self._sizes, self._populations, self._generations, self._costs = node_sizes, populations, generations, costs
        self._work = [[Work() for _ in populations] for _ in node_sizes]
        self._idle = list(node_sizes)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()
        self._root_free = 0.0
        self._busy = 0.0

    def run(self) -> float:
        """Return the share of all ranks' time inside episodes, from the start to the last selection."""
        for population in range(len(self._populations)):
            self._post(0.0, population)
        while self._events:
            now, _, event = heapq.heappop(self._events)
            event(now)
        wall = max(population.ended for population in self._populations)
        return self._busy / (wall * sum(self._sizes))

    def _at(self, when: float, event: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), event))

    def _post(self, now: float, index: int) -> None:
        """Send a population's next batch from rank 0, which does one thing at a time."""
        population, costs = self._populations[index], self._costs
        lengths = population.draw(population.generation, population.children)
        start = max(now, self._root_free)
        self._root_free = start + costs.root + costs.root_child * len(lengths) + costs.root_node * len(self._sizes)
        opened = self._root_free + costs.relay
        population.awaited = len(self._sizes)
        first = 0
        for node, share in enumerate(split(len(lengths), [float(size) for size in self._sizes])):
            part = lengths[first : first + share]
            first += share
            decode = population.children and population.generation > 0
            self._at(opened, partial(self._open_at, node, index, part, decode))

    def _open_at(self, node: int, index: int, lengths: list[float], decode: bool, now: float) -> None:
        """Open a node's share for claims, after a rank has decoded the parents."""
        work = self._work[node][index]
        work.generation = self._populations[index].generation
        if not lengths:
            self._send(now, index)
        elif decode:
            work.todo, work.undecoded = deque([self._costs.decode]), lengths
            self._wake(now, node, 1)
        else:
            work.todo, work.undecoded, work.unfinished = deque(lengths), None, len(lengths)
            self._wake(now, node, len(lengths))

    def _wake(self, now: float, node: int, items: int) -> None:
        for _ in range(min(items, self._idle[node])):
            self._idle[node] -= 1
            self._at(now + self._costs.idle, lambda now: self._claim(now, node))

    def _claim(self, now: float, node: int) -> None:
        """Let a free rank of the node take the next item of the oldest open generation, or go idle."""
        open_works = [(work.generation, index) for index, work in enumerate(self._work[node]) if work.todo]
        if not open_works:
            self._idle[node] += 1
            return
        _, index = min(open_works)
        work = self._work[node][index]
        seconds = work.todo.popleft()
        if work.undecoded is not None:
            self._at(now + seconds, lambda now: self._decoded(now, node, index))
        else:
            self._busy += seconds
            self._at(now + self._costs.child + seconds, lambda now: self._finish(now, node, index))

    def _decoded(self, now: float, node: int, index: int) -> None:
        self._open_at(node, index, self._work[node][index].undecoded or [], False, now)
        self._claim(now, node)

    def _finish(self, now: float, node: int, index: int) -> None:
        work = self._work[node][index]
        work.unfinished -= 1
        if work.unfinished == 0:
            self._at(now + self._costs.relay, lambda now: self._send(now, index))
        self._claim(now, node)

    def _send(self, now: float, index: int) -> None:
        """Take note that a node's share has arrived on rank 0."""
        population = self._populations[index]
        population.awaited -= 1
        if population.awaited:
            return
        if not population.children:
            population.generation += 1
        population.children = not population.children
        if population.generation == self._generations:
            population.ended = now
        else:
            self._post(now, index)


def sizes_of(ranks: int, nodes: int) -> list[int]:
    return [len(part) for part in np.array_split(np.arange(ranks), nodes)]


def same_episodes(options: argparse.Namespace, seed: int) -> Population:
    """Return a population with the episodes that utilisation.py's run of this seed plays."""
    config = cfg.from_mapping(utilisation.settings(vars(options)), [f"seed={seed}", "task.name=sleeper"])

    def draw(generation: int, children: bool) -> list[float]:
        if children:
            keys = [
                child_key(config.seed, generation, task=0, episode=index) for index in range(options.population_size)
            ]
        else:
            keys = CANDIDATES * [reevaluation_key(config.seed, generation, episode) for episode in range(EPISODES)]
        return [options.mean * LENGTHS[options.lengths](streams.generator(key.episode)) for key in keys]

    return Population(draw)


def random_episodes(lengths: str, mean: float, size: int, seed: int) -> Population:
    """Return a population whose lengths are drawn as in utilisation.py."""
    random = np.random.default_rng(seed)

    def draw(generation: int, children: bool) -> list[float]:
        if children:
            return [mean * LENGTHS[lengths](random) for _ in range(size)]
        return CANDIDATES * [mean * LENGTHS[lengths](random) for _ in range(EPISODES)]

    return Population(draw)


def check(options: argparse.Namespace) -> float:
    """Print the model beside real runs; return the largest difference of their shares."""
    worst, mean = 0.0, options.mean
    for ranks, populations in itertools.product(options.check_ranks, options.populations):
        options.ranks, options.mean = ranks, mean * ranks / 64
        model = Schedule(
            sizes_of(ranks, options.nodes),
            [same_episodes(options, seed) for seed in range(populations)],
            options.generations,
        ).run()
        measured = utilisation.run(options, populations).share
        worst = max(worst, abs(model - measured))
        print(f"  {ranks:>3} ranks, {populations} populations: model {model:6.1%}, measured {measured:6.1%}")
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="beside real runs (minutes)")
    parser.add_argument("--lengths", choices=sorted(LENGTHS), default="ga-dist")
    parser.add_argument(
        "--mean", type=float, help="mean length of an episode in seconds (10; with --check 0.3 on 64 ranks)"
    )
    parser.add_argument("--population-size", type=int, help="(4 per rank; with --check 200)")
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--nodes", type=int, default=2, help="nodes that --check emulates (2)")
    parser.add_argument("--quick", action="store_true", help="few ranks: whether it runs")
    options = parser.parse_args()
    options.populations, options.check_ranks, ranks_tried = (1, 2, 4, 8), (16, 64), RANKS
    if options.quick:
        options.populations, options.check_ranks, ranks_tried = (1, 2), (3,), RANKS[:1]
        options.generations = 2
    print_machine()
    if options.check:
        options.mean = options.mean or (0.1 if options.quick else 0.3)
        options.population_size = options.population_size or (NUM_PARENTS if options.quick else 200)
        print(
            f"{options.nodes} nodes, populations of {options.population_size}, {options.mean} s in the mean on 64 ranks"
        )
        worst = check(options)
        print_result(
            "simulate --check",
            round(worst, 4),
            "largest difference between model and measurement, as a share of rank time",
            bar=f"<= {BAR_POINTS}",
            meets=worst <= BAR_POINTS,
        )
        return
    mean = options.mean or 10.0
    print(f"{RANKS_PER_NODE} ranks per node, {options.lengths} lengths of {mean} s in the mean")
    shares: dict[str, dict[int, float]] = {}
    for ranks in ranks_tried:
        size = options.population_size or CHILDREN_PER_RANK * ranks
        row = shares[str(ranks)] = {}
        for number in options.populations:
            populations = [random_episodes(options.lengths, mean, size, seed) for seed in range(number)]
            row[number] = round(
                Schedule(sizes_of(ranks, ranks // RANKS_PER_NODE), populations, options.generations).run(), 4
            )
        wasted, bias = utilisation.first_results(ranks, size, options.lengths)
        text = ", ".join(f"{number}: {share:.1%}" for number, share in row.items())
        print(
            f"  {ranks:>6} ranks, populations of {size:>6}: {text}; the first N results: "
            f"{1 - wasted:.1%} and a bias of {bias:+.1%}"
        )
    value = shares[str(BAR_RANKS)][max(options.populations)]
    print_result(
        "simulate",
        value,
        f"share of rank time inside episodes, {BAR_RANKS} ranks, {max(options.populations)} populations",
        bar=f">= {BAR_SHARE}",
        meets=value >= BAR_SHARE,
        shares=shares,
    )


if __name__ == "__main__":
    main()
