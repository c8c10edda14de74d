"""Half-cheetahs and ants whose direction, velocity or goal only the reward tells, on Gymnasium's MuJoCo models.

Source: Finn et al. 2017 (arXiv 1703.03400), section 5.3, and for the goals the code of its authors. They simulated
with rllab: returns here and there are not comparable. No JAX, no Gymnasium until an environment is made.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gamaml.config import EnvConfig
from gamaml.envs.make import libraries, make
from gamaml.types import Float64Array

CHEETAH = EnvConfig(id="HalfCheetah-v5")
ANT = EnvConfig(id="Ant-v5", settings={"include_cfrc_ext_in_observation": False})
ANT_WITH_POSITION = EnvConfig(id=ANT.id, settings={**ANT.settings, "exclude_current_positions_from_observation": False})

CHEETAH_VELOCITY = (0.0, 2.0)
ANT_VELOCITY = (0.0, 3.0)
"""Goal velocities are uniform in these ranges (section 5.3)."""

GOAL_RADIUS = 3.0
"""Goals are uniform in a disc of this radius around the start (the authors' code)."""

CONTROL_COST = {CHEETAH.id: 0.05, ANT.id: 0.005}
"""Times the squared torques; those of rllab's models, which weigh half of the squares by 0.1 and 0.01."""


class Runner:
    """A model of Gymnasium's with a reward of its own.

    Args:
        env: id and settings of the model.
        velocity_scale: factor on the velocities in the observation, which are about ten times as large as the angles.
        bonus: reward of every step, so that an ant does not seek its end where the other rewards are negative.
        terminates: whether an ant that falls or jumps ends the episode.
    """

    def __init__(self, env: EnvConfig, *, velocity_scale: float, bonus: float = 0.0, terminates: bool = False) -> None:
        # Without the wrappers, whose limit and checks are made elsewhere: they cost a third of a cheetah's step.
        self._env = make(env).unwrapped
        self.action_space = self._env.action_space
        self.observation_space = self._env.observation_space
        self._num_velocities = int(self._env.model.nv)
        self._scale, self._bonus, self._terminates = velocity_scale, bonus, terminates
        self._control_cost = CONTROL_COST[env.id]
        self.task: Any = None

    def reset(self, *, seed: int) -> tuple[Float64Array, dict[str, Any]]:
        """Start an episode."""
        observation, _ = self._env.reset(seed=seed)
        return self._scaled(observation), {}

    def step(self, action: Any) -> tuple[Float64Array, float, bool, bool, dict[str, Any]]:
        """Do one step; info holds what the model tells, such as its velocity."""
        observation, _, terminated, _, info = self._env.step(action)
        reward = self.progress(info) - self._control_cost * float(action @ action) + self._bonus
        return self._scaled(observation), reward, terminated and self._terminates, False, info

    def progress(self, info: dict[str, Any]) -> float:
        """Return the part of the reward that depends on the task."""
        raise NotImplementedError

    def close(self) -> None:
        """Free the model."""
        self._env.close()

    def _scaled(self, observation: Float64Array) -> Float64Array:
        observation[-self._num_velocities :] *= self._scale
        return observation


class DirectedRunner(Runner):
    """Rewards the velocity forward (task 1) or backward (task -1)."""

    def progress(self, info: dict[str, Any]) -> float:
        """Return the velocity in the task's direction."""
        return self.task * info["x_velocity"]


class PacedRunner(Runner):
    """Penalises the distance from the velocity that is the task."""

    def progress(self, info: dict[str, Any]) -> float:
        """Return minus the distance from the goal velocity."""
        return -abs(info["x_velocity"] - self.task)


class GoalRunner(Runner):
    """Penalises the distance, in the 1-norm, from the position that is the task."""

    def progress(self, info: dict[str, Any]) -> float:
        """Return minus the distance from the goal."""
        return -abs(info["x_position"] - self.task[0]) - abs(info["y_position"] - self.task[1])


def directions(generator: np.random.Generator, number: int) -> list[float]:
    """Return 1 and -1 in turn, with a random one first."""
    first = float(generator.choice((-1.0, 1.0)))
    return [first if index % 2 == 0 else -first for index in range(number)]


class _Locomotion:
    """What the tasks share: one model serves all of them, by being told its task."""

    def __init__(self, horizon: int, velocity_scale: float) -> None:
        if horizon < 1:
            raise ValueError(f"horizon={horizon}: expected at least 1; choose e.g. 200")
        self.horizon = horizon
        self.libraries = libraries(CHEETAH)
        self._scale = velocity_scale

    def set_task(self, env: Runner, task: Any) -> None:
        """Give an environment another task."""
        env.task = task


class _Direction(_Locomotion):
    def sample_many(self, generator: np.random.Generator, number: int) -> list[float]:
        """Return directions, 1 and -1 equally often, with a random one first."""
        return directions(generator, number)


class CheetahDirection(_Direction):
    """Run forward or backward (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
    """

    def __init__(self, horizon: int = 200, velocity_scale: float = 0.2) -> None:
        super().__init__(horizon, velocity_scale)

    def make_env(self, task: Any) -> Runner:
        """Return a half-cheetah."""
        return DirectedRunner(CHEETAH, velocity_scale=self._scale)


class CheetahVelocity(_Locomotion):
    """Run with a velocity between 0 and 2 (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
    """

    def __init__(self, horizon: int = 200, velocity_scale: float = 0.2) -> None:
        super().__init__(horizon, velocity_scale)

    def sample(self, generator: np.random.Generator) -> float:
        """Return a velocity."""
        return float(generator.uniform(*CHEETAH_VELOCITY))

    def make_env(self, task: Any) -> Runner:
        """Return a half-cheetah."""
        return PacedRunner(CHEETAH, velocity_scale=self._scale)


class AntDirection(_Direction):
    """Walk forward or backward (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
        bonus: reward of every step.
        terminates: whether an ant that falls or jumps ends the episode.
    """

    def __init__(
        self, horizon: int = 200, velocity_scale: float = 0.2, bonus: float = 0.05, terminates: bool = True
    ) -> None:
        super().__init__(horizon, velocity_scale)
        self._bonus, self._terminates = bonus, terminates

    def make_env(self, task: Any) -> Runner:
        """Return an ant."""
        return DirectedRunner(ANT, velocity_scale=self._scale, bonus=self._bonus, terminates=self._terminates)


class AntVelocity(_Locomotion):
    """Walk with a velocity between 0 and 3 (section 5.3).

    Args:
        horizon: steps after which an episode is cut; H = 200 in section 5.3.
        velocity_scale: factor on the velocities in the observation.
        bonus: reward of every step; above 1, or the slow would better end early.
        terminates: whether an ant that falls or jumps ends the episode.
    """

    def __init__(
        self, horizon: int = 200, velocity_scale: float = 0.2, bonus: float = 1.05, terminates: bool = True
    ) -> None:
        super().__init__(horizon, velocity_scale)
        self._bonus, self._terminates = bonus, terminates

    def sample(self, generator: np.random.Generator) -> float:
        """Return a velocity."""
        return float(generator.uniform(*ANT_VELOCITY))

    def make_env(self, task: Any) -> Runner:
        """Return an ant."""
        return PacedRunner(ANT, velocity_scale=self._scale, bonus=self._bonus, terminates=self._terminates)


class AntGoal(_Locomotion):
    """Walk to a goal (the authors' code); the observation holds the ant's own position.

    Args:
        horizon: steps after which an episode is cut; 200 in the authors' code.
        velocity_scale: factor on the velocities in the observation.
        bonus: reward of every step.
        terminates: whether an ant that falls or jumps ends the episode.
    """

    def __init__(
        self, horizon: int = 200, velocity_scale: float = 0.2, bonus: float = 4.05, terminates: bool = True
    ) -> None:
        super().__init__(horizon, velocity_scale)
        self._bonus, self._terminates = bonus, terminates

    def sample(self, generator: np.random.Generator) -> Float64Array:
        """Return a goal, float64[2], uniform in the disc."""
        angle, radius = generator.uniform(0, 2 * np.pi), GOAL_RADIUS * np.sqrt(generator.uniform())
        return radius * np.array([np.cos(angle), np.sin(angle)])

    def make_env(self, task: Any) -> Runner:
        """Return an ant."""
        return GoalRunner(ANT_WITH_POSITION, velocity_scale=self._scale, bonus=self._bonus, terminates=self._terminates)
