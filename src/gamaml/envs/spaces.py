"""The sizes of Gymnasium-style environments that a network needs; Gymnasium is not imported."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gamaml.errors import ConfigError
from gamaml.types import Float32Array


@dataclass(frozen=True)
class Spaces:
    """The observations that a policy reads, and the actions that it gives. Equal ones may differ in their bounds.

    Attributes:
        observation_shape: shape of an observation.
        num_outputs: outputs of the network: one per discrete action, or one per entry of a continuous action.
        first_action: first action of a discrete space; None for a continuous one.
        action_shape: shape of an action in a continuous space.
        low, high: float32[action_shape], its bounds.
    """

    observation_shape: tuple[int, ...]
    num_outputs: int
    first_action: int | None
    action_shape: tuple[int, ...] = ()
    low: Float32Array | None = field(default=None, compare=False)
    high: Float32Array | None = field(default=None, compare=False)

    @property
    def observation_size(self) -> int:
        """Entries of a flattened observation."""
        return math.prod(self.observation_shape)

    @property
    def action_size(self) -> int:
        """Entries of a recorded action."""
        return self.num_outputs if self.first_action is None else 1

    def act(self, outputs: Float32Array) -> Any:  # an action for `step`
        """Return the action: the largest output, or the outputs clipped to the bounds.

        Args:
            outputs: float32[num_outputs]; may be overwritten.
        """
        if self.first_action is not None:
            return int(outputs.argmax()) + self.first_action
        return self._bounded(outputs.reshape(self.action_shape))

    def act_all(self, outputs: Float32Array) -> npt.NDArray[Any]:
        """Return an action per row of outputs.

        Args:
            outputs: float32[number, num_outputs]; may be overwritten.

        Returns:
            int64[number], or float32[number, *action_shape].
        """
        if self.first_action is not None:
            return outputs.argmax(axis=1) + self.first_action
        return self._bounded(outputs.reshape(len(outputs), *self.action_shape))

    def _bounded(self, actions: Float32Array) -> Float32Array:
        assert self.low is not None and self.high is not None
        np.maximum(actions, self.low, out=actions)
        return np.minimum(actions, self.high, out=actions)

    def noise(self, random: np.random.Generator, number: int, std: float) -> Float32Array:
        """Return noise that, added to the outputs, makes the actions sampled ones: Gumbel, or Gaussian if continuous.

        The largest of log-probability plus Gumbel noise is distributed as the softmax.

        Args:
            random: the source.
            number: number of steps.
            std: standard deviation of a continuous action, or temperature of the softmax.

        Returns:
            float32[number, num_outputs].
        """
        shape = number, self.num_outputs
        if self.first_action is None:
            return np.float32(std) * random.standard_normal(shape, np.float32)
        exponential = random.standard_exponential(shape, np.float32)
        return np.float32(-std) * np.log(np.maximum(exponential, np.finfo(np.float32).tiny))

    def recorded(self, outputs: Float32Array) -> npt.NDArray[Any]:
        """Return actions as they are recorded: the outputs before they are clipped, or the index of the largest.

        Args:
            outputs: float32[..., num_outputs].

        Returns:
            Numbers of the shape [..., action_size].
        """
        return outputs if self.first_action is None else outputs.argmax(axis=-1, keepdims=True)

    def random_action(self, random: np.random.Generator) -> Any:  # an action for `step`
        """Return an action drawn uniformly; an entry without bounds is drawn from [-1, 1]."""
        if self.first_action is not None:
            return int(random.integers(self.num_outputs)) + self.first_action
        assert self.low is not None and self.high is not None
        low, high = np.where(np.isfinite(self.low), self.low, -1), np.where(np.isfinite(self.high), self.high, 1)
        return random.uniform(low, high).astype(np.float32)


def spaces_of(env: Any, subject: str, maker: str = "make_env(task)") -> Spaces:  # an environment, duck-typed
    """Read an environment's spaces: a discrete action space has `n`, a continuous one `shape`, `low` and `high`.

    Args:
        env: has `observation_space` and `action_space`.
        subject: how the task is named in errors.
        maker: the task's method that made it, for errors.

    Raises:
        ConfigError: an attribute is missing or is of another kind.
    """
    for name in ("reset", "step", "observation_space", "action_space"):
        if not hasattr(env, name):
            raise ConfigError(
                f"{subject}: expected {maker} to give a Gymnasium-like environment, got "
                f"{type(env).__name__} without {name!r}; add it or wrap the environment"
            )
    observation, action = env.observation_space, env.action_space
    if getattr(observation, "shape", None) is None:
        raise ConfigError(
            f"{subject}: expected observation_space to have a shape, got {observation!r}; "
            "wrap the environment so that observations are arrays"
        )
    shape: tuple[int, ...] = tuple(observation.shape)
    if hasattr(action, "n"):
        return Spaces(shape, int(action.n), first_action=int(getattr(action, "start", 0)))
    if all(hasattr(action, name) for name in ("shape", "low", "high")):
        action_shape: tuple[int, ...] = tuple(action.shape)
        low, high = (np.broadcast_to(np.float32(bound), action_shape) for bound in (action.low, action.high))
        return Spaces(shape, math.prod(action_shape), None, action_shape, low, high)
    raise ConfigError(
        f"{subject}: expected action_space with n (discrete) or shape, low and high (continuous), "
        f"got {action!r}; wrap the environment so that it has one of them"
    )
