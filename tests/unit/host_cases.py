"""Configs, keys and parameters of small host tasks, for several test modules."""

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
