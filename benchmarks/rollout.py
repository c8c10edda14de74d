"""How many steps per second does one core play, and what does it cost to bring network and environment together?

    python benchmarks/rollout.py ["Frostbite" ...]

Whole episodes, reset included, of networks with initial parameters, in one thread on one core: beside the environment
alone under the same actions, the network alone on the same observations, and the bare simulator under the same actions.
Episodes are cut after 500 steps. Seconds are CPU time of the process, which other load on the machine touches least.
Needs what the environments need: pip install 'gamaml[atari]'. `--quick` only tries it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from gamaml.envs.atari import Atari, games
from gamaml.policies import cnn
from gamaml.policies.flat import Layout
from report import print_machine, print_result

MIN_STEPS = 1100
MAX_OVERHEAD = 1.10
GA_DIST = 251
"""Steps per second of ga-dist's rollout on Frostbite with its own network (TensorFlow 1.3, one such core)."""

FRAME_SKIP = 4
Act = Callable[[Any], int]
"""From an observation to an action."""


class Case(NamedTuple):
    """What is played.

    Attributes:
        env: with Gymnasium's interface.
        child: gives a network with the initial parameters of a seed.
        bare: plays actions on the simulator, without observations.
        bar: the steps per second that are asked for, if any.
    """

    env: Any
    child: Callable[[int], Act]
    bare: Callable[[list[int]], None]
    bar: float | None


class Timing(NamedTuple):
    """CPU seconds per step of one episode."""

    together: float
    env: float
    network: float
    simulator: float


def atari(game: str, network: str, max_steps: int, bar: float | None) -> Case:
    env = Atari(game, max_frames=FRAME_SKIP * max_steps)
    layout = Layout.of(cnn.shapes(network, env.action_space.n))
    forward = cnn.HostNetwork(network)
    ale = import_module("ale_py").ALEInterface()
    ale.setInt("frame_skip", FRAME_SKIP)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(games()[game])
    buttons = [action.value for action in ale.getMinimalActionSet()]

    def child(seed: int) -> Act:
        noise = np.random.default_rng(seed).standard_normal(layout.size, np.float32)
        params = layout.unflatten(layout.flatten(cnn.initial(network, layout.unflatten(noise))))
        return lambda observation: int(forward(params, observation).argmax())

    def bare(actions: list[int]) -> None:
        ale.reset_game()
        for action in actions:
            ale.act(buttons[action])

    return Case(env, child, bare, bar)


CASES: dict[str, Callable[[int], Case]] = {
    "Frostbite": lambda max_steps: atari("Frostbite", "nature", max_steps, MIN_STEPS),
    "Breakout": lambda max_steps: atari("Breakout", "nature", max_steps, MIN_STEPS),
    "Frostbite, ga-dist's network": lambda max_steps: atari("Frostbite", "ga-dist", max_steps, None),
}


def play(env: Any, act: Act, seed: int) -> tuple[list[Any], list[int]]:
    """Play one episode; return what was seen and done."""
    observations: list[Any] = []
    actions: list[int] = []
    observation, _ = env.reset(seed=seed)
    ended = False
    while not ended:
        action = act(observation)
        observations.append(observation)
        actions.append(action)
        observation, _, terminated, truncated, _ = env.step(action)
        ended = terminated or truncated
    return observations, actions


def repeat(env: Any, actions: list[int], seed: int) -> None:
    env.reset(seed=seed)
    for action in actions:
        env.step(action)


def time_episode(case: Case, seed: int) -> Timing:
    act = case.child(seed)
    start = time.process_time()
    observations, actions = play(case.env, act, seed)
    together = time.process_time()
    repeat(case.env, actions, seed)
    env = time.process_time()
    for observation in observations:
        act(observation)
    network = time.process_time()
    case.bare(actions)
    bare = time.process_time()
    number = len(actions)
    return Timing(
        (together - start) / number, (env - together) / number, (network - env) / number, (bare - network) / number
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--episodes", type=int, default=15, help="per case, each with another network (15)")
    parser.add_argument("--quick", action="store_true", help="two short episodes: whether it runs")
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such case; choose from {', '.join(CASES)}")
    episodes, max_steps = (2, 30) if args.quick else (args.episodes, 500)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print_machine()
    print(f"{'steps per second':<30}{'together':>10}{'env':>10}{'network':>10}{'simulator':>10}{'overhead':>10}")
    rows: dict[str, dict[str, float]] = {}
    meets = True
    with threadpool_limits(1):
        for name in args.cases:
            case = CASES[name](max_steps)
            time_episode(case, seed=0)
            timings = [time_episode(case, seed) for seed in range(1, episodes + 1)]
            row = {key: 1 / statistics.median(getattr(timing, key) for timing in timings) for key in Timing._fields}
            overhead = statistics.median(timing.together / (timing.env + timing.network) for timing in timings)
            print(f"{name:<30}" + "".join(f"{rate:>10,.0f}" for rate in row.values()) + f"{overhead:>10.3f}")
            rows[name] = {key: round(rate) for key, rate in row.items()} | {"overhead": round(overhead, 3)}
            meets &= overhead <= MAX_OVERHEAD and (case.bar is None or row["together"] >= case.bar)
            case.env.close()
    slowest = min(row["together"] for row in rows.values())
    print_result(
        "rollout",
        slowest,
        "steps/s, slowest case",
        bar=f">= {MIN_STEPS} with the nature network, overhead <= {MAX_OVERHEAD}",
        meets=meets,
        baseline=GA_DIST,
        ratio=round(slowest / GA_DIST, 2),
        rows=rows,
    )


if __name__ == "__main__":
    main()
