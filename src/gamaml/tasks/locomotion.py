"""Half-cheetahs and ants whose direction, velocity or goal only the reward reveals, on Gymnasium's MuJoCo models.

Source: Finn et al. 2017 (arXiv 1703.03400), section 5.3, and the code of its authors (cbfinn/maml_rl,
rllab/envs/mujoco). They simulated with rllab, and their ants also pay 0.5e-3 * sum(clip(cfrc_ext, -1, 1)^2) for contact
forces, which all ants here leave out: returns here and there are not comparable. No JAX, no Gymnasium until an
environment is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gamaml.envs.make_env import libraries
from gamaml.envs.runners import ANT, ANT_WITH_POSITION, CHEETAH, Progress, Runner, Runners
from gamaml.types import Float64Array

CHEETAH_VELOCITY = (0.0, 2.0)
ANT_VELOCITY = (0.0, 3.0)
"""Goal velocities are uniform in these ranges (section 5.3)."""

DIRECTIONS = (-1.0, 1.0)
"""Backward and forward."""

GOAL_RADIUS = 3.0
"""Goals are uniform in a disc of this radius around the start, as in ProMP (Rothfuss et al. 2019, arXiv 1810.06784,
`ant_rand_goal.py`). The code of Finn et al. draws them from the square around that disc."""


def direction(task: float, velocities: Float64Array, observations: Float64Array) -> Float64Array:
    """Reward the velocity forward (task 1) or backward (task -1)."""
    return task * velocities


def velocity(task: float, velocities: Float64Array, observations: Float64Array) -> Float64Array:
    """Penalise the distance from the velocity that is the task."""
    return -abs(velocities - task)


def goal(task: Float64Array, velocities: Float64Array, observations: Float64Array) -> Float64Array:
    """Penalise the distance, in the 1-norm, from the position that is the task; observations begin with the ant's."""
    return -abs(observations[:, 0] - task[0]) - abs(observations[:, 1] - task[1])


def directions(generator: np.random.Generator, number: int) -> list[float]:
    """Return 1 and -1 in turn, with a random one first."""
    first = float(generator.choice(DIRECTIONS))
    return [first if index % 2 == 0 else -first for index in range(number)]


class _Locomotion:
    """The common part of the tasks: one model serves all of them, given its task before each reset."""

    env = CHEETAH
    progress: Progress  # a static method
    bonus, terminates = 0.0, False

    def __init__(self, horizon: int = 200, velocity_scale: float = 0.2) -> None:
        if horizon < 1:
            raise ValueError(f"horizon={horizon}: expected at least 1; choose e.g. 200")
        self.horizon = horizon
        self.libraries = libraries(self.env)
        self._scale = velocity_scale

    def make_env(self, task: Any) -> Runner:
        """Return a model."""
        return Runner(self._runners(1))

    def make_envs(self, task: Any, number: int) -> Runners:
        """Return so many episodes side by side."""
        return self._runners(number)

    def set_task(self, env: Runner | Runners, task: Any) -> None:
        """Give one episode, or all of a batch, another task."""
        env.task = task

    def _runners(self, number: int) -> Runners:
        return Runners(
            self.env,
            self.progress,
            number,
            velocity_scale=self._scale,
            bonus=self.bonus,
            terminates=self.terminates,
        )


class _Ant(_Locomotion):
    env = ANT

    def __init__(
        self, horizon: int = 200, velocity_scale: float = 0.2, bonus: float = 0.05, terminates: bool = True
    ) -> None:
        super().__init__(horizon, velocity_scale)
        self.bonus, self.terminates = bonus, terminates


class _Directions:
    all_tasks = DIRECTIONS
    progress = staticmethod(direction)

    def sample_many(self, generator: np.random.Generator, number: int) -> list[float]:
        """Return directions, 1 and -1 equally often, with a random one first."""
        return directions(generator, number)


class CheetahDirection(_Directions, _Locomotion):
    """Run forward or backward (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
    """


class CheetahVelocity(_Locomotion):
    """Run with a velocity between 0 and 2 (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
    """

    progress = staticmethod(velocity)

    def sample(self, generator: np.random.Generator) -> float:
        """Return a velocity."""
        return float(generator.uniform(*CHEETAH_VELOCITY))


class AntDirection(_Directions, _Ant):
    """Walk forward or backward (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
        bonus: reward of every step.
        terminates: whether an ant that falls or jumps ends the episode.
    """


class AntVelocity(_Ant):
    """Walk with a velocity between 0 and 3 (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
        bonus: reward of every step; above 1, since a slow ant would otherwise gain by ending early.
        terminates: whether an ant that falls or jumps ends the episode.
    """

    progress = staticmethod(velocity)

    def __init__(
        self, horizon: int = 200, velocity_scale: float = 0.2, bonus: float = 1.05, terminates: bool = True
    ) -> None:
        super().__init__(horizon, velocity_scale, bonus, terminates)

    def sample(self, generator: np.random.Generator) -> float:
        """Return a velocity."""
        return float(generator.uniform(*ANT_VELOCITY))


class AntGoal(_Ant):
    """Walk to a goal; the observation holds the ant's own position.

    Finn et al. have this task in their code, not in their paper. The reward is theirs but for the contact cost; the
    goals are ProMP's.

    Args:
        horizon: steps after which an episode is cut; 200 in the authors' code.
        velocity_scale: factor on the velocities in the observation.
        bonus: reward of every step.
        terminates: whether an ant that falls or jumps ends the episode.
    """

    env = ANT_WITH_POSITION
    progress = staticmethod(goal)

    def __init__(
        self, horizon: int = 200, velocity_scale: float = 0.2, bonus: float = 4.05, terminates: bool = True
    ) -> None:
        super().__init__(horizon, velocity_scale, bonus, terminates)

    def sample(self, generator: np.random.Generator) -> Float64Array:
        """Return a goal, float64[2], uniform in the disc."""
        angle, radius = generator.uniform(0, 2 * np.pi), GOAL_RADIUS * np.sqrt(generator.uniform())
        return radius * np.array([np.cos(angle), np.sin(angle)])
