"""roboschool's ant, forward or backward, in the Python 3.7 that roboschool needs: see docs/roboschool.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from gamaml.config import EnvConfig
from gamaml.envs.make import make
from gamaml.tasks.locomotion import directions
from gamaml.types import Float32Array

_SIN, _COS, _VX, _VY = 1, 2, 3, 4
"""Places in an observation: the angle to the far target, and the velocity in the ant's own frame."""

_VELOCITY_SCALE = 0.3
"""Factor on the velocities in an observation."""


class DirectedAnt:
    """roboschool's ant, which is paid for its velocity towards a target 1 km ahead, or paid for the opposite.

    roboschool pays forward for the way of all parts of the body. What turns that round is twice the velocity of the
    torso, which an observation tells: they differ from step to step, not in the long run.

    Args:
        env: the ant.

    Attributes:
        task: 1 for forward, -1 for backward.
    """

    def __init__(self, env: Any) -> None:  # a Gymnasium-like environment
        self._env = env
        self.observation_space, self.action_space = env.observation_space, env.action_space
        self.task = 1.0

    def reset(self, *, seed: int) -> tuple[Float32Array, dict[str, Any]]:
        """Start an episode."""
        return self._env.reset(seed=seed)

    def step(self, action: Any) -> tuple[Float32Array, float, bool, bool, dict[str, Any]]:
        """Do one step; the rest of the reward (alive, torques, joints at their limits, colliding feet) stays."""
        seen, reward, terminated, truncated, info = self._env.step(action)
        velocity = float(seen[_COS] * seen[_VX] + seen[_SIN] * seen[_VY]) / _VELOCITY_SCALE
        return seen, reward + (self.task - 1) * velocity, terminated, truncated, info

    def close(self) -> None:
        """End its process."""
        self._env.close()


class RoboschoolAntDirection:
    """Walk forward or backward, as `ant_direction`, on the ant of roboschool.

    Args:
        python: the interpreter that has roboschool.
        horizon: steps after which an episode is cut.
    """

    def __init__(self, python: str = ".venv-roboschool/bin/python", horizon: int = 200) -> None:
        if horizon < 1:
            raise ValueError(f"horizon={horizon}: expected at least 1; choose e.g. 200")
        self.horizon = horizon
        self._env = EnvConfig(id="roboschool:RoboschoolAnt-v1", python=python)

    def sample_many(self, generator: np.random.Generator, number: int) -> list[float]:
        """Return directions, 1 and -1 equally often, with a random one first."""
        return directions(generator, number)

    def make_env(self, task: Any) -> DirectedAnt:
        """Return an ant in a process of its own."""
        return DirectedAnt(make(self._env))

    def set_task(self, env: DirectedAnt, task: float) -> None:
        """Give the ant another direction."""
        env.task = task
