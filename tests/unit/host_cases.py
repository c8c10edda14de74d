"""A small host task, and configs, keys and parameters, for several test modules."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from gamaml import config as cfg
from gamaml.evolution import streams
from gamaml.types import EvaluationKey


def config(policy: dict[str, Any] | None = None, env: dict[str, Any] | None = None, **inner: Any) -> cfg.Config:
    mapping: dict[str, Any] = {
        "task": {"name": "m:Task"},
        "policy": {"hidden": [4], **(policy or {})},
        "inner": {"rounds": 2, "num_tasks": 2, "episodes": 3, **inner},
        "env": env or {},
        "stop": {"generations": 1},
        "noise": {"size": 100_000},
    }
    return cfg.from_mapping(mapping)


def key(seed: int = 1) -> EvaluationKey:
    return EvaluationKey(streams.key(1, streams.Purpose.TASKS), streams.key(seed, streams.Purpose.EPISODES, index=seed))


def params_of(problem: Any, seed: int = 0) -> np.ndarray:
    return problem.initial(np.random.default_rng(seed).standard_normal(problem.num_params, np.float32))


class Walk:
    """A walk along a line to a goal; the observation is the position, the reward minus the squared distance."""

    observation_space = SimpleNamespace(shape=(1,))

    def __init__(self, goal: float, discrete: bool) -> None:
        bounds = {"low": np.full(1, -10, np.float32), "high": np.full(1, 10, np.float32)}
        self.action_space = SimpleNamespace(n=2) if discrete else SimpleNamespace(shape=(1,), **bounds)
        self.goal, self.discrete, self.steps = goal, discrete, 0

    def reset(self, *, seed: int) -> tuple[Any, dict[str, Any]]:
        self.position = seed % 3 / 10
        return [self.position], {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        self.position += (action - 0.5) / 2 if self.discrete else float(action[0])
        distance = abs(self.position - self.goal)
        return [self.position], -(distance**2), distance < 0.1, False, {}


class Walks:
    horizon = 5

    def __init__(self, *, discrete: bool = False) -> None:
        self.discrete = discrete
        self.env: Walk | None = None

    def sample(self, generator: np.random.Generator) -> float:
        return float(generator.uniform(0.5, 1.0))

    def make_env(self, task: float) -> Walk:
        self.env = Walk(task, self.discrete)
        return self.env

    def set_task(self, env: Walk, task: float) -> None:
        env.goal = task
