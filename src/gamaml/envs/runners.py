"""Half-cheetahs and ants on Gymnasium's MuJoCo models with another reward, one or several side by side.

Gymnasium makes and resets a model; a step calls the simulator itself. Gymnasium's own step would also compute contact
forces, a reward and an info that nobody reads, a third of a cheetah's step and a quarter of an ant's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

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


class _Row(NamedTuple):
    """One episode's rows of the arrays of all: what a step of the simulator reads and writes."""

    torques: Float64Array
    positions: Float64Array
    velocities: Float64Array
    warm_start: Float64Array
    torso: Float64Array


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
        mujoco = import_module("mujoco")
        self._mj_step: Callable[..., None] = mujoco.mj_step
        # Read once: every attribute of a model is a call of its own.
        model = self._model = self._env.model
        self._frames, self._seconds = self._env.frame_skip, self._env.dt
        self._states = np.zeros((number, model.nq + model.nv))
        self._torques, self._warm_starts = np.zeros((number, model.nu)), np.zeros((number, model.nv))
        self._torsos = np.zeros((number, 1))
        # Gymnasium measures a cheetah's velocity at its position, and an ant's at its torso.
        self._forward = self._torsos[:, 0] if env.id == ANT.id else self._states[:, 0]
        self._rows = [
            _Row(torques, state[: model.nq], state[model.nq :], warm_start, torso)
            for torques, state, warm_start, torso in zip(
                self._torques, self._states, self._warm_starts, self._torsos, strict=True
            )
        ]
        data = self._data = self._env.data
        self._simulated = _Row(data.ctrl, data.qpos, data.qvel, data.qacc_warmstart, data.xpos[_TORSO, :1])
        self._first = self._states.shape[1] - self.observation_space.shape[0]
        self._scale = np.ones(self.observation_space.shape)
        self._scale[-model.nv :] = velocity_scale

    def reset(self, seeds: Sequence[int]) -> Float64Array:
        """Start an episode per seed; return the observations, float64[number, observation_size]."""
        for row, seed in zip(self._rows, seeds, strict=True):
            self._env.reset(seed=seed)
            for place, value in zip(row, self._simulated, strict=True):
                place[...] = value
        return self._observations()

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
        model, data, frames, mj_step = self._model, self._data, self._frames, self._mj_step
        control, positions, velocities, warm_start, torso = self._simulated
        self._torques[...] = actions
        before = self._forward.copy()
        for row, runs in zip(self._rows, running.tolist(), strict=True):
            if runs:
                control[...], own_positions, own_velocities, own_warm_start, own_torso = row
                positions[...], velocities[...], warm_start[...] = own_positions, own_velocities, own_warm_start
                mj_step(model, data, frames)
                own_positions[...], own_velocities[...], own_warm_start[...] = positions, velocities, warm_start
                own_torso[...] = torso
        observations = self._observations()
        rewards = self._progress(self.task, (self._forward - before) / self._seconds, observations)
        # One dot product per row: its bits do not depend on the number of rows.
        squares = np.matmul(actions[:, None, :], actions[:, :, None])[:, 0, 0].astype(np.float64)
        return observations, rewards - self._control_cost * squares + self._bonus, self._unhealthy()

    def close(self) -> None:
        """Free the model."""
        self._env.close()

    def _observations(self) -> Float64Array:
        return self._states[:, self._first :] * self._scale

    def _unhealthy(self) -> npt.NDArray[np.bool_]:
        if self._healthy_heights is None:
            return np.zeros(len(self._states), np.bool_)
        low, high = self._healthy_heights
        heights = self._states[:, _HEIGHT]
        return ~(np.isfinite(self._states).all(axis=1) & (low <= heights) & (heights <= high))


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
