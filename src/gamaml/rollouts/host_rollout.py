"""Episodes of Gymnasium-style environments on the host: played, checked, and recorded where an update needs them.

JAX is not imported, because only inner updates need it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import time
from collections.abc import Generator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from gamaml.config import EnvConfig
from gamaml.envs.spaces import Spaces
from gamaml.errors import GamamlError, OverdueError
from gamaml.policies.networks import HostNetwork
from gamaml.rollouts.trajectory import Trajectory
from gamaml.types import Float32Array, Int64Array

MAX_SEED = 2**31
"""Environments take seeds below this; some still store them in 32 signed bits."""

_MAX_NOISE_SEED = 2**63

_HUNG_SECONDS = 10.0
"""A step that runs this long after `env.max_seconds` has hung, and the process ends."""

_FEW = 24
"""Up to this number of entries, Python sums faster than a call to NumPy starts."""

CLIP = 5.0
"""Normalised observations stay within -5 ... 5."""

NOISE_STEPS = 64
"""Steps whose randomness is drawn together: a draw per step costs ten times as much."""


OUT_OF_PATIENCE = "out_of_patience"
"""Name of the scalar in a record that counts the evaluation's episodes which `env.patience` has ended."""


Batch = Trajectory[npt.NDArray[Any]]
"""Recorded episodes, with a leading dimension [episodes]."""


class EnvironmentFault(GamamlError):
    """An environment raised, gave a number that is not finite, crashed, or ran for too long."""


def empty_batch(episodes: int, horizon: int, spaces: Spaces) -> Batch:
    """Return the arrays for a batch of episodes, float32[episodes, horizon, ...], all zeros."""
    steps = (episodes, horizon)
    return Trajectory(
        observations=np.zeros((*steps, spaces.observation_size), np.float32),
        actions=np.zeros((*steps, spaces.action_size), np.float32),
        rewards=np.zeros(steps, np.float32),
        alive=np.zeros(steps, np.bool_),
    )


class Player:
    """Plays episodes with one network.

    Args:
        config: step caps and time limits.
        max_steps: steps after which an episode is cut, if any.
        sampled: whether actions are drawn.
        spaces: the environments' spaces.
        network: the policy; `load` gives it its arrays.
        subject: the task's name in errors.

    Attributes:
        steps: environment steps of the rounds so far. A round that a fault ends counts none, since their number would
            depend on the order of play.
        out_of_patience: episodes that `env.patience` has ended, counted likewise.
    """

    def __init__(
        self,
        config: EnvConfig,
        max_steps: int | None,
        sampled: bool,
        spaces: Spaces,
        network: HostNetwork,
        subject: str,
    ) -> None:
        self.steps = self.out_of_patience = 0
        self._patience = config.patience or math.inf
        self._config, self._max_steps, self._sampled = config, max_steps, sampled
        self._spaces, self._network, self._subject = spaces, network, subject
        self._mean = self._inverse_std = np.float32(0)

    def load(self, arrays: Mapping[str, Float32Array]) -> None:
        """Take the arrays of the network that plays from now on."""
        self._network.load(arrays)

    def use_constants(self, constants: Mapping[str, Float32Array]) -> None:
        """Normalise observations from now on, if the constants say how."""
        if constants:
            self._mean = np.asarray(constants["observation_mean"], np.float32)
            self._inverse_std = 1 / np.asarray(constants["observation_std"], np.float32)

    def draw_seeds(self, random: np.random.Generator, shape: tuple[int, ...]) -> Int64Array:
        """Return the seeds of episodes, int64[*shape, 2]: of the reset, and of the action noise if there is any.

        An episode has noise of its own, so that nothing depends on which episodes are played before or beside it.
        """
        seeds = np.zeros((*shape, 2), np.int64)
        seeds[..., 0] = random.integers(MAX_SEED, size=shape)
        if self._sampled:
            seeds[..., 1] = random.integers(_MAX_NOISE_SEED, size=shape)
        return seeds

    def play(
        self,
        env: Any,  # a Gymnasium-like environment
        seeds: Int64Array,
        std: float,
        recording: Batch | None = None,
    ) -> list[float]:
        """Play the episodes of a round, each to its end, out of patience or cut; return the sums of their rewards.

        Args:
            env: the environment.
            seeds: int64[episodes, 2], from `draw_seeds`.
            std: standard deviation of continuous actions, if they are drawn.
            recording: takes the steps, if they are recorded.
        """
        pairs: list[tuple[int, int]] = seeds.tolist()
        played = [
            self._play(env, seed, noise_seed, std, recording, episode)
            for episode, (seed, noise_seed) in enumerate(pairs)
        ]
        self.steps += sum(steps for _, steps, _ in played)
        self.out_of_patience += sum(impatient for _, _, impatient in played)
        return [total for total, _, _ in played]

    def _play(
        self, env: Any, seed: int, noise_seed: int, std: float, recording: Batch | None, episode: int
    ) -> tuple[float, int, bool]:
        """Play one episode; return the sum of its rewards, its steps, and whether patience ended it."""
        config, spaces, forward = self._config, self._spaces, self._network
        normalises, sampled, patience = config.normalise_steps > 0, self._sampled, self._patience
        last = math.inf if self._max_steps is None else self._max_steps
        deadline = None if config.max_seconds is None else time.monotonic() + config.max_seconds
        random = noise_generator(noise_seed) if sampled else None
        noise: Float32Array = np.empty(0, np.float32)
        total, rewards = 0.0, list[float]()
        ended, steps, unpaid = False, 0, 0
        with watchdog(config.max_seconds):
            observation = reset(env, seed)
            while not ended and steps < last and unpaid < patience:
                if normalises:
                    observation = np.clip((flat(observation) - self._mean) * self._inverse_std, -CLIP, CLIP)
                outputs = forward(observation)
                if random is not None:
                    if steps % NOISE_STEPS == 0:
                        noise = spaces.noise(random, NOISE_STEPS, std)
                    outputs += noise[steps % NOISE_STEPS]
                if recording is not None:
                    recording.observations[episode, steps] = np.reshape(observation, -1)
                    recording.actions[episode, steps] = spaces.recorded(outputs)
                observation, reward, ended = step(env, spaces.act(outputs))
                total += reward
                rewards.append(reward)
                steps += 1
                unpaid = 0 if reward else unpaid + 1
                if deadline is not None and time.monotonic() > deadline:
                    raise OverdueError(
                        f"{self._subject}, episode of seed {seed}: expected its end within "
                        f"env.max_seconds={config.max_seconds}, got {steps} steps without it; raise the limit"
                    )
        impatient = not ended and unpaid >= patience
        if not (ended or impatient) and config.cut_is_fault:
            raise self._cut(seed)
        if recording is not None:
            recording.rewards[episode, :steps] = rewards
            recording.alive[episode, :steps] = True
            for array in recording:
                array[episode, steps:] = 0
        return total, steps, impatient

    def _cut(self, seed: int) -> EnvironmentFault:
        return EnvironmentFault(
            f"{self._subject}, episode of seed {seed}: expected its end within env.max_steps={self._config.max_steps}, "
            "got none"
        )


def noise_generator(seed: int) -> np.random.Generator:
    """Return the source of an episode's action noise."""
    return np.random.Generator(np.random.SFC64(seed))


def reset(env: Any, seed: int) -> Any:  # an environment in, an observation out
    """Return the first observation of an episode, checked."""
    with RESET:
        observation, _ = env.reset(seed=seed)
    return _checked(observation)


def step(env: Any, action: Any) -> tuple[Any, float, bool]:  # observation, reward, and whether the episode is over
    """Do one step, checked."""
    try:  # as `STEP`, which would cost 2 % of a step of CartPole
        observation, reward, terminated, truncated, _ = env.step(action)
        reward = float(reward)
    except OverdueError:
        raise
    except Exception as error:
        raise EnvironmentFault(f"the environment's step raised {type(error).__name__}: {error}") from error
    if not math.isfinite(reward):
        raise EnvironmentFault(f"the environment gave a reward of {reward}")
    return _checked(observation), reward, bool(terminated or truncated)


def flat(observation: Any) -> Float32Array:  # an array
    """Return an observation as float32[observation_size]."""
    return np.asarray(observation, np.float32).reshape(-1)


def _checked(observation: Any) -> Any:  # an array, or a value that converts to one
    array = np.asarray(observation)
    if array.dtype.kind == "f":
        # A sum is quick; only one that is not finite needs a closer look.
        few = array.ndim == 1 and array.size <= _FEW
        total = sum(array.tolist()) if few else np.vdot(array, array)
        if not math.isfinite(total) and not np.isfinite(array).all():
            raise EnvironmentFault("the environment gave an observation that is not finite")
    return array


class Faults:
    """A context in which an exception is an EnvironmentFault, unless it is that of a hung process.

    Written out, because a generator would cost 2 us a step.

    Args:
        call: "reset" or "step", for the message.
    """

    def __init__(self, call: str) -> None:
        self._call = call

    def __enter__(self) -> None:
        """Watch from here on."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        """Raise the fault, if there is one."""
        if isinstance(error, Exception) and not isinstance(error, OverdueError):
            raise EnvironmentFault(f"the environment's {self._call} raised {type(error).__name__}: {error}") from error


RESET, STEP = Faults("reset"), Faults("step")


@contextlib.contextmanager
def watchdog(seconds: float | None) -> Generator[None, None, None]:
    """End the process with a traceback if the body hangs in one step."""
    if seconds is None:
        yield
        return
    faulthandler.dump_traceback_later(seconds + _HUNG_SECONDS, exit=True)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
