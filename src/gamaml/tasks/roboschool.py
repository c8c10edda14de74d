"""roboschool's ant, forward or backward, in the Python 3.7 that roboschool needs (docs/roboschool.md)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gamaml.config import EnvConfig
from gamaml.envs.make_env import make
from gamaml.envs.runners import ANT, CONTROL_COST
from gamaml.tasks.locomotion import DIRECTIONS, directions
from gamaml.types import Float32Array

_SIN, _COS, _VX, _VY = 1, 2, 3, 4
"""Indices in an observation: the angle to the far target, and the torso's velocity in the ant's own frame."""

_VELOCITY_SCALE = 0.3
"""Factor on the velocities in an observation."""


class DirectedAnt:
    """roboschool's ant, rewarded as Gymnasium's in `ant_direction`.

    The velocity is that of the torso towards roboschool's target, 1 km ahead. roboschool's own reward is left out: for
    an ant that cannot walk yet, nearly all of it rewards being alive and punishes joints at their limits, whatever the
    task.

    Args:
        env: the ant.
        bonus: reward of every step.
        terminates: whether an ant that touches the ground with its body ends the episode.

    Attributes:
        task: 1 for forward, -1 for backward.
    """

    def __init__(self, env: Any, *, bonus: float, terminates: bool) -> None:  # a Gymnasium-like environment
        self._env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self._bonus, self._terminates = bonus, terminates
        self.task = 1.0

    def reset(self, *, seed: int) -> tuple[Float32Array, dict[str, Any]]:
        """Start an episode."""
        return self._env.reset(seed=seed)

    def step(self, action: Any) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Do one step."""
        seen, _, terminated, truncated, info = self._env.step(action)
        velocity = float(seen[_COS] * seen[_VX] + seen[_SIN] * seen[_VY]) / _VELOCITY_SCALE
        reward = self.task * velocity - CONTROL_COST[ANT.id] * float(action @ action) + self._bonus
        return seen, reward, terminated and self._terminates, truncated, info

    def close(self) -> None:
        """End its process."""
        self._env.close()


class RoboschoolAntDirection:
    """Walk forward or backward, as `ant_direction`, on the ant of roboschool.

    Args:
        python: the interpreter that has roboschool.
        horizon: steps after which an episode is cut.
        bonus: reward of every step.
        terminates: whether an ant that touches the ground with its body ends the episode.
    """

    all_tasks = DIRECTIONS

    def __init__(
        self,
        python: str = ".venv-roboschool/bin/python",
        horizon: int = 200,
        bonus: float = 0.05,
        terminates: bool = True,
    ) -> None:
        if horizon < 1:
            raise ValueError(f"horizon={horizon}: expected at least 1; choose e.g. 200")
        self.horizon = horizon
        self._bonus, self._terminates = bonus, terminates
        self._env = EnvConfig(id="roboschool:RoboschoolAnt-v1", python=python)

    def sample_many(self, generator: np.random.Generator, number: int) -> list[float]:
        """Return directions, 1 and -1 equally often, with a random one first."""
        return directions(generator, number)

    def make_env(self, task: Any) -> DirectedAnt:
        """Return an ant in a process of its own."""
        return DirectedAnt(make(self._env), bonus=self._bonus, terminates=self._terminates)

    def set_task(self, env: DirectedAnt, task: float) -> None:
        """Give the ant another direction."""
        env.task = task
