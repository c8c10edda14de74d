"""Episodes side by side: a whole round at once in a batch environment, with one forward pass a step for all of them.

JAX is not imported, because only inner updates need it.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from gamaml.errors import ConfigError, OverdueError
from gamaml.rollouts.host_rollout import (
    CLIP,
    NOISE_STEPS,
    RESET,
    STEP,
    Batch,
    EnvironmentFault,
    Player,
    noise_generator,
    watchdog,
)
from gamaml.types import Float32Array, Float64Array, Int64Array

_NOTHING = np.zeros((), np.float64)
"""A 0-d array: NumPy would convert a Python number on every call."""

Flags = npt.NDArray[np.bool_]


class LockstepPlayer(Player):
    """Plays the episodes of a round side by side, each with the bits that it has when a `Player` plays it.

    It takes the arguments of a `Player`: `max_steps` is set, and the network has a row per episode.
    """

    def play(
        self,
        env: Any,  # a batch environment
        seeds: Int64Array,
        std: float,
        recording: Batch | None = None,
    ) -> list[float]:
        """Play the episodes of a round until each has ended, is out of patience or cut; return their sums of rewards.

        Args:
            env: the batch environment, of as many episodes.
            seeds: int64[episodes, 2], from `draw_seeds`.
            std: standard deviation of continuous actions, if they are drawn.
            recording: takes the steps, if they are recorded.
        """
        assert self._max_steps is not None
        spaces, number = self._spaces, len(seeds)
        seconds = None if self._config.max_seconds is None else number * self._config.max_seconds
        deadline = math.inf if seconds is None else time.monotonic() + seconds
        sources = [noise_generator(seed) for seed in seeds[:, 1].tolist()] if self._sampled else []
        noise = np.empty(0, np.float32)
        totals, running = np.zeros(number), np.ones(number, np.bool_)
        lengths = np.full(number, self._max_steps)
        unpaid, out_of_patience = np.zeros(number, np.int64), 0
        with watchdog(seconds):
            observations = _reset(env, seeds[:, 0].tolist())
            for step in range(self._max_steps):
                seen = self._seen(observations)
                outputs = self._network(seen)
                if sources:
                    if step % NOISE_STEPS == 0:
                        noise = np.stack([spaces.noise(source, NOISE_STEPS, std) for source in sources], axis=1)
                    outputs += noise[step % NOISE_STEPS]
                if recording is not None:
                    recording.observations[:, step] = seen
                    recording.actions[:, step] = spaces.recorded(outputs)
                observations, rewards, ended = _step(env, spaces.act_all(outputs), running)
                if recording is not None:
                    recording.rewards[:, step] = rewards
                totals += rewards
                if time.monotonic() > deadline:
                    raise self._overdue(seconds, step + 1)
                if self._config.patience:
                    unpaid = np.where(rewards == 0, unpaid + 1, 0)
                    impatient = running & ~ended & (unpaid >= self._patience)
                    out_of_patience += int(impatient.sum())
                    ended = ended | impatient
                if any(ended.tolist()):
                    lengths[running & ended] = step + 1
                    running = running & ~ended
                    if not running.any():
                        break
        if self._config.cut_is_fault and running.any():
            raise self._cut(int(seeds[running.argmax(), 0]))
        if recording is not None:
            _pad(recording, lengths)
        self.steps += int(lengths.sum())
        self.out_of_patience += out_of_patience
        return totals.tolist()

    def _seen(self, observations: npt.NDArray[Any]) -> Float32Array:
        """Return the network's input, float32[episodes, observation_size]."""
        rows = np.asarray(observations, np.float32).reshape(len(observations), -1)
        if self._config.normalise_steps == 0:
            return rows
        return np.clip((rows - self._mean) * self._inverse_std, -CLIP, CLIP)

    def _overdue(self, seconds: float | None, steps: int) -> OverdueError:
        return OverdueError(
            f"{self._subject}, episodes side by side: expected their end within {seconds:g} s, env.max_seconds="
            f"{self._config.max_seconds} for each, got {steps} steps without it; raise the limit"
        )


def _reset(env: Any, seeds: list[int]) -> npt.NDArray[Any]:  # a batch environment in
    """Return the first observations, checked."""
    with RESET:
        observations = np.asarray(env.reset(seeds))
    return _checked(observations, np.ones(len(seeds), np.bool_))


def _step(env: Any, actions: Any, running: Flags) -> tuple[npt.NDArray[Any], Float64Array, Flags]:
    """Do one step of the episodes that run, checked; the others get rewards of 0."""
    with STEP:
        observations, rewards, ended = env.step(actions, running)
        observations, ended = np.asarray(observations), np.asarray(ended, np.bool_)
        rewards = np.asarray(rewards, np.float64)
    for name, values in (("rewards", rewards), ("ended", ended)):
        if values.shape != running.shape:
            raise _misshapen(name, values.shape, len(running))
    rewards = np.where(running, rewards, _NOTHING)
    if not math.isfinite(sum(rewards.tolist())) and not np.isfinite(rewards).all():
        raise EnvironmentFault(f"the environment gave a reward of {rewards[~np.isfinite(rewards)][0]}")
    return _checked(observations, running), rewards, ended


def _checked(observations: npt.NDArray[Any], running: Flags) -> npt.NDArray[Any]:
    if observations.shape[:1] != running.shape:
        raise _misshapen("observations", observations.shape, len(running))
    # One sum is quick; only one that is not finite needs a closer look.
    if observations.dtype.kind == "f" and not math.isfinite(np.vdot(observations, observations)):
        if not np.isfinite(observations[running]).all():
            raise EnvironmentFault("the environment gave an observation that is not finite")
    return observations


def _misshapen(name: str, shape: tuple[int, ...], number: int) -> ConfigError:
    return ConfigError(
        f"batch environment of {number} episodes: expected {name} with {number} rows, one per episode, got the shape "
        f"{shape}; correct what make_envs gives"
    )


def _pad(recording: Batch, lengths: Int64Array) -> None:
    """Mark the steps before each episode's end as alive, and clear the others."""
    recording.alive[...] = np.arange(recording.alive.shape[1]) < lengths[:, np.newaxis]
    after = ~recording.alive
    for array in (recording.observations, recording.actions, recording.rewards):
        array[after] = 0
