"""How many steps per second does one core play, and how much does joining network and environment cost?

    python benchmarks/rollout.py ["ALE/Frostbite-v5" ...]

The script times evaluations as in a run, with resets and the choice of actions, of networks with initial parameters.
For comparison it times the environment alone under the same actions, the policy alone on the same observations, a plain
loop of both, and for Atari the bare simulator under the same actions. Episodes are cut after 500 steps. Everything runs
in one thread on one core; seconds are CPU time of the process and of the environment's server, which other load on the
machine affects least. "overhead" is the time of the evaluation over the sum of environment and policy; "of loop" is the
time of the plain loop over the same sum, the price of sharing the caches. Cases whose libraries are not installed are
left out: pip install 'gamaml[atari,mujoco]', and for roboschool make .venv-roboschool/ready. `--quick` only tries it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from gamaml import config as cfg
from gamaml.envs.atari import games
from gamaml.envs.make_env import make
from gamaml.envs.spaces import spaces_of
from gamaml.errors import ConfigError
from gamaml.evolution import streams
from gamaml.policies import networks
from gamaml.policies.flat import Layout
from gamaml.problems.host_problem import HostProblem
from gamaml.problems.task_kinds import CompleteHostTask
from gamaml.types import EvaluationKey
from report import print_machine, print_result

MIN_STEPS = 1100
MAX_OVERHEAD = 1.10
GA_DIST = 251
"""Steps per second of ga-dist's rollout on Frostbite with its own network (TensorFlow 1.3, one such core)."""

FRAME_SKIP = 4
MAX_STEPS = 500
ROBOSCHOOL = Path(__file__).resolve().parents[1] / ".venv-roboschool" / "bin" / "python"
MLP = {"hidden": [64, 64]}


class Case(NamedTuple):
    """An environment and a policy to play it.

    Attributes:
        env: the config's section, without max_steps.
        policy: the config's section.
        bar: the required steps per second, if any.
        episodes: episodes per timing; short episodes need many.
    """

    env: dict[str, Any]
    policy: dict[str, Any]
    bar: float | None = None
    episodes: int = 1


CASES = {
    "ALE/Frostbite-v5": Case({"id": "ALE/Frostbite-v5"}, {"network": "nature"}, MIN_STEPS),
    "ALE/Breakout-v5": Case({"id": "ALE/Breakout-v5"}, {"network": "nature"}, MIN_STEPS),
    "ALE/Frostbite-v5, ga-dist": Case({"id": "ALE/Frostbite-v5"}, {"network": "ga-dist"}),
    "Ant-v5": Case({"id": "Ant-v5"}, MLP),
    "HalfCheetah-v5": Case({"id": "HalfCheetah-v5"}, MLP),
    "CartPole-v1": Case({"id": "CartPole-v1"}, MLP, episodes=20),
    "RoboschoolAnt-v1": Case({"id": "roboschool:RoboschoolAnt-v1", "python": str(ROBOSCHOOL)}, MLP),
}


class Timing(NamedTuple):
    """CPU seconds; `simulator` is meaningless if there is no bare simulator."""

    together: float
    env: float
    policy: float
    loop: float
    simulator: float


class Recorder:
    """An environment that records its seeds, observations and actions."""

    def __init__(self, env: Any) -> None:
        self._env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.episodes: list[tuple[int, list[Any], list[Any]]] = []

    def reset(self, *, seed: int) -> Any:
        """Note a new episode."""
        observation, info = self._env.reset(seed=seed)
        self.episodes.append((seed, [observation], []))
        return observation, info

    def step(self, action: Any) -> Any:
        """Note the action and its observation."""
        # The policy overwrites its last action.
        self.episodes[-1][2].append(action.copy() if isinstance(action, np.ndarray) else action)
        outcome = self._env.step(action)
        self.episodes[-1][1].append(outcome[0])
        return outcome


class Definition:
    """A task whose environment exists already."""

    def __init__(self, env: Any) -> None:
        self._env = env

    def make_env(self, task: Any) -> Any:
        """Return it."""
        return self._env


class Bench:
    """A case, ready to be timed.

    Args:
        case: the environment and the policy.
        max_steps: steps after which an episode is cut.

    Raises:
        ConfigError: something is not installed.
    """

    def __init__(self, case: Case, max_steps: int) -> None:
        mapping: dict[str, Any] = {"env": case.env | {"max_steps": max_steps}, "policy": case.policy}
        mapping |= {"inner": {"rounds": 0, "num_tasks": 1, "episodes": 1}, "stop": {"generations": 1}}
        config = cfg.from_mapping(mapping)
        self.env = make(config.env)
        self._recorder = Recorder(self.env)
        self._problem = HostProblem(CompleteHostTask.of(Definition(self.env)), config)
        self._recorded = HostProblem(CompleteHostTask.of(Definition(self._recorder)), config)
        self._spaces = spaces_of(self.env, config.subject)
        self._network = networks.make(config.policy, self._spaces.observation_shape, self._spaces.num_outputs)
        self._layout = Layout.of(self._network.shapes)
        self.play_bare = _atari(config.env.id) if config.env.id.startswith("ALE/") else None
        self._server: int | None = getattr(self.env, "pid", None)

    def time(self, seed: int) -> tuple[int, Timing]:
        """Play one evaluation, and its parts; return its steps, and the CPU seconds of each."""
        params = self._problem.initial(
            np.random.default_rng(seed).standard_normal(self._problem.num_params, np.float32)
        )
        key = EvaluationKey(streams.key(seed, streams.Purpose.TASKS), streams.key(seed, streams.Purpose.EPISODES))
        self._recorder.episodes.clear()
        expected = self._recorded.evaluate(params, key)
        self._network.load(self._layout.unflatten(params[: self._layout.size]))
        times = [self._seconds()]
        found = self._problem.evaluate(params, key)
        times.append(self._seconds())
        for env_seed, _, actions in self._recorder.episodes:
            self.env.reset(seed=env_seed)
            for action in actions:
                self.env.step(action)
        times.append(self._seconds())
        self._act()
        times.append(self._seconds())
        self._loop()
        times.append(self._seconds())
        if self.play_bare is not None:
            for _, _, actions in self._recorder.episodes:
                self.play_bare(actions)
        times.append(self._seconds())
        assert (found.fitness, found.steps) == (expected.fitness, expected.steps)
        return found.steps, Timing(*(end - start for start, end in zip(times[:-1], times[1:], strict=True)))

    def _act(self) -> None:
        for _, observations, actions in self._recorder.episodes:
            for observation in observations[: len(actions)]:
                self._spaces.act(self._network(observation))

    def _loop(self) -> None:
        env, act, network = self.env, self._spaces.act, self._network
        for seed, _, actions in self._recorder.episodes:
            observation, _ = env.reset(seed=seed)
            for _ in actions:
                observation, *_ = env.step(act(network(observation)))

    def _seconds(self) -> float:
        if self._server is None:
            return time.process_time()
        # This is Linux's clock of another process's CPU time, made as in clock_getcpuclockid(3).
        return time.process_time() + time.clock_gettime((~self._server << 3) | 2)


def _atari(env_id: str) -> Callable[[list[int]], None]:
    """Return a function that plays actions on the simulator, without observations."""
    ale = import_module("ale_py").ALEInterface()
    ale.setInt("frame_skip", FRAME_SKIP)
    ale.setFloat("repeat_action_probability", 0.0)
    ale.loadROM(games()[env_id.removeprefix("ALE/").removesuffix("-v5")])
    buttons = [action.value for action in ale.getMinimalActionSet()]

    def play(actions: list[int]) -> None:
        ale.reset_game()
        for action in actions:
            ale.act(buttons[action])

    return play


def measure(bench: Bench, timings: int, episodes: int) -> dict[str, float | None]:
    """Return steps per CPU second of the whole and of each part, and the overheads."""
    bench.time(seed=0)
    per_step: list[Timing] = []
    for first in range(1, timings * episodes + 1, episodes):
        played = [bench.time(seed) for seed in range(first, first + episodes)]
        steps = sum(number for number, _ in played)
        per_step.append(Timing(*(sum(part) / steps for part in zip(*(timing for _, timing in played), strict=True))))
    medians = {name: statistics.median(getattr(timing, name) for timing in per_step) for name in Timing._fields}
    row: dict[str, float | None] = {name: round(1 / seconds) for name, seconds in medians.items()}
    if bench.play_bare is None:
        row["simulator"] = None
    for name, whole in (("overhead", "together"), ("of loop", "loop")):
        ratios = [getattr(timing, whole) / (timing.env + timing.policy) for timing in per_step]
        row[name] = round(statistics.median(ratios), 3)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE", help=f"of {', '.join(CASES)} (all)")
    parser.add_argument("--timings", type=int, default=15, help="per case, each with other networks (15)")
    parser.add_argument("--quick", action="store_true", help="two short timings: whether it runs")
    args = parser.parse_args()
    unknown = set(args.cases) - set(CASES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: no such case; choose from {', '.join(CASES)}")
    timings, max_steps = (2, 30) if args.quick else (args.timings, MAX_STEPS)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print_machine()
    print(f"{'steps per second':<28}" + "".join(f"{name:>11}" for name in (*Timing._fields, "overhead", "of loop")))
    rows: dict[str, dict[str, float | None]] = {}
    left_out: dict[str, str] = {}
    meets = True
    with threadpool_limits(1):
        for name in args.cases:
            case = CASES[name]
            try:
                bench = Bench(case, max_steps)
            except ConfigError as error:
                print(f"{name:<28} left out: {error}")
                left_out[name] = str(error)
                continue
            row = measure(bench, timings, 1 if args.quick else case.episodes)
            print(f"{name:<28}" + "".join(("" if value is None else f"{value:,}").rjust(11) for value in row.values()))
            rows[name] = row
            meets &= (row["overhead"] or 0) <= MAX_OVERHEAD and (case.bar is None or (row["together"] or 0) >= case.bar)
            bench.env.close()
    if not rows:
        parser.error(f"nothing to play: {'; '.join(left_out.values())}")
    ga_dist = rows.get("ALE/Frostbite-v5, ga-dist", {}).get("together")
    worst = max(row["overhead"] or 0 for row in rows.values())
    print_result(
        "rollout",
        worst,
        "of the time of environment and policy alone, worst case",
        bar=f"<= {MAX_OVERHEAD}, and >= {MIN_STEPS} steps/s with the nature network",
        meets=meets,
        baseline=GA_DIST,
        ratio=None if ga_dist is None else round(ga_dist / GA_DIST, 2),
        rows=rows,
        left_out=left_out,
    )


if __name__ == "__main__":
    main()
