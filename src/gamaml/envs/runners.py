"""Half-cheetahs and ants on Gymnasium's MuJoCo models with another reward, one or several side by side.

Gymnasium makes and resets a model; a step calls the simulator itself. Gymnasium's own step would also compute contact
forces, a reward and an info that nobody reads, a third of a cheetah's step and a quarter of an ant's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from gamaml.config import EnvConfig
from gamaml.envs.make_env import make
from gamaml.types import Float32Array, Float64Array

CHEETAH = EnvConfig(id="HalfCheetah-v5")
ANT = EnvConfig(id="Ant-v5", settings={"include_cfrc_ext_in_observation": False})
ANT_WITH_POSITION = EnvConfig(id=ANT.id, settings={**ANT.settings, "exclude_current_positions_from_observation": False})

CONTROL_COST = {CHEETAH.id: 0.05, ANT.id: 0.005}
"""Factors on the squared torques, as in rllab's models, which weigh half of the squares by 0.1 and 0.01."""

_TORSO = 1
"""The number of an ant's torso among its bodies."""

_HEIGHT = 2
"""The place of an ant's height in its state."""


Progress = Callable[[Any, Float64Array, Float64Array], Float64Array]
"""(task, forward velocities, float64[number], observations, float64[number, size]) -> the part of the rewards,
float64[number], that depends on the task."""


class Runners:
    """Several episodes of one model; an episode does not depend on the others.

    One simulation, which stays in the processor's cache, takes them in turn: positions, velocities, torques and the
    solver's warm start are all that a step depends on.

    Args:
        env: id and settings of the model.
        progress: the part of the rewards that depends on the task.
        number: number of episodes.
        velocity_scale: factor on the velocities in the observation, which are about ten times as large as the angles.
        bonus: reward of every step; it keeps an ant from ending the episode where the other rewards are negative.
        terminates: whether an ant that falls or jumps ends the episode.

    Attributes:
        task: the task of all episodes, set before a reset.
    """

    def __init__(
        self,
        env: EnvConfig,
        progress: Progress,
        number: int,
        *,
        velocity_scale: float,
        bonus: float,
        terminates: bool,
    ) -> None:
        # Unwrapped: limit and checks are made elsewhere.
        self._env = make(env).unwrapped
        self.action_space, self.observation_space = self._env.action_space, self._env.observation_space
        self.task: Any = None
        self._progress, self._bonus = progress, bonus
        self._control_cost = CONTROL_COST[env.id]
        self._healthy_heights = self._env._healthy_z_range if terminates else None
        mujoco = self._mujoco = import_module("mujoco")
        # Read once: every attribute of a model is a call of its own.
        model, self._data = self._env.model, self._env.data
        self._model = model
        self._frames, self._seconds = self._env.frame_skip, self._env.dt
        kinds = mujoco.mjtState
        parts = kinds.mjSTATE_QPOS, kinds.mjSTATE_QVEL, kinds.mjSTATE_WARMSTART, kinds.mjSTATE_CTRL
        self._parts = sum(map(int, parts))
        # MuJoCo arranges a state as positions, velocities, warm start and controls.
        self._states = np.zeros((number, model.nq + 2 * model.nv + model.nu))
        self._rows = list(self._states)
        moving = self._states[:, : model.nq + model.nv]
        self._moving, self._torques = moving, self._states[:, -model.nu :]
        # Gymnasium measures a cheetah's velocity at its position, and an ant's at its torso.
        self._torso = self._data.xpos[_TORSO, :1] if env.id == ANT.id else None
        self._forward = self._states[:, 0] if self._torso is None else np.zeros(number)
        self._observed = moving[:, moving.shape[1] - self.observation_space.shape[0] :]
        self._scale = np.ones(self.observation_space.shape)
        self._scale[-model.nv :] = velocity_scale

    def reset(self, seeds: Sequence[int]) -> Float64Array:
        """Start an episode per seed; return the observations, float64[number, observation_size]."""
        for number, (row, seed) in enumerate(zip(self._rows, seeds, strict=True)):
            self._env.reset(seed=seed)
            self._mujoco.mj_getState(self._model, self._data, row, self._parts)
            if self._torso is not None:
                self._forward[number] = self._torso[0]
        return self._observed * self._scale

    def step(
        self, actions: Float32Array, running: npt.NDArray[np.bool_]
    ) -> tuple[Float64Array, Float64Array, npt.NDArray[np.bool_]]:
        """Do one step of the episodes that run.

        Args:
            actions: float32[number, action_size].
            running: bool[number]; the others rest, and their results mean nothing.

        Returns:
            Observations, float64[number, observation_size], rewards, float64[number], and bool[number], whether the
            episode has ended.
        """
        model, data, parts, frames = self._model, self._data, self._parts, self._frames
        set_state, mj_step, get_state = self._mujoco.mj_setState, self._mujoco.mj_step, self._mujoco.mj_getState
        torso, forward = self._torso, self._forward
        self._torques[...] = actions
        before = forward.copy()
        for number, (row, runs) in enumerate(zip(self._rows, running.tolist(), strict=True)):
            if runs:
                set_state(model, data, row, parts)
                mj_step(model, data, frames)
                get_state(model, data, row, parts)
                if torso is not None:
                    forward[number] = torso[0]
        observations = self._observed * self._scale
        rewards = self._progress(self.task, (forward - before) / self._seconds, observations)
        # One dot product per row: its bits do not depend on the number of rows.
        squares = np.matmul(actions[:, None, :], actions[:, :, None])[:, 0, 0].astype(np.float64)
        return observations, rewards - self._control_cost * squares + self._bonus, self._unhealthy()

    def close(self) -> None:
        """Free the model."""
        self._env.close()

    def _unhealthy(self) -> npt.NDArray[np.bool_]:
        if self._healthy_heights is None:
            return np.zeros(len(self._states), np.bool_)
        low, high = self._healthy_heights
        heights = self._states[:, _HEIGHT]
        return ~(np.isfinite(self._moving).all(axis=1) & (low <= heights) & (heights <= high))


class Runner:
    """One model, as an environment of Gymnasium's form.

    Args:
        alone: Runners of number 1.
    """

    def __init__(self, alone: Runners) -> None:
        self._alone = alone
        self._running = np.ones(1, np.bool_)
        self.action_space, self.observation_space = alone.action_space, alone.observation_space

    @property
    def task(self) -> Any:
        """The task, set before a reset."""
        return self._alone.task

    @task.setter
    def task(self, task: Any) -> None:
        self._alone.task = task

    def reset(self, *, seed: int) -> tuple[Float64Array, dict[str, Any]]:
        """Start an episode."""
        return self._alone.reset([seed])[0], {}

    def step(self, action: Float32Array) -> tuple[Float64Array, float, bool, bool, dict[str, Any]]:
        """Do one step."""
        observations, rewards, ended = self._alone.step(action[None], self._running)
        return observations[0], float(rewards[0]), bool(ended[0]), False, {}

    def close(self) -> None:
        """Free the model."""
        self._alone.close()
