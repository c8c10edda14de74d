"""Gymnasium-style environments, seen through the sizes that a network needs; Gymnasium is not imported."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gamaml.errors import ConfigError
from gamaml.types import Float32Array


@dataclass(frozen=True)
class Spaces:
    """What a policy for an environment must read and give.

    Attributes:
        observation_size: entries of a flattened observation.
        num_outputs: outputs of the network: one per discrete action, or one per entry of a continuous action.
        to_action: turns the network's outputs, float32[num_outputs], into what `step` takes.
    """

    observation_size: int
    num_outputs: int
    to_action: Callable[[Float32Array], Any]


def spaces_of(env: Any, subject: str) -> Spaces:  # a Gymnasium-like environment, duck-typed
    """Read an environment's spaces.

    A discrete space (`n`) is served by the largest output; a continuous one (`shape`, `low`, `high`) by
    the outputs clipped to its bounds.

    Args:
        env: has `observation_space` and `action_space`.
        subject: how the task is named in errors.

    Raises:
        ConfigError: an attribute is missing or is of another kind.
    """
    for name in ("reset", "step", "observation_space", "action_space"):
        if not hasattr(env, name):
            raise ConfigError(
                f"{subject}: expected make_env(task) to give a Gymnasium-like environment, got "
                f"{type(env).__name__} without {name!r}; add it or wrap the environment"
            )
    observation, action = env.observation_space, env.action_space
    if getattr(observation, "shape", None) is None:
        raise ConfigError(
            f"{subject}: expected observation_space to have a shape, got {observation!r}; "
            "wrap the environment so that observations are arrays"
        )
    observation_size = math.prod(observation.shape)
    if hasattr(action, "n"):
        start = int(getattr(action, "start", 0))
        return Spaces(observation_size, int(action.n), lambda outputs: int(outputs.argmax()) + start)
    if all(hasattr(action, name) for name in ("shape", "low", "high")):
        low, high = np.float32(action.low), np.float32(action.high)
        shape: tuple[int, ...] = tuple(action.shape)
        return Spaces(observation_size, math.prod(shape), lambda outputs: np.clip(outputs.reshape(shape), low, high))
    raise ConfigError(
        f"{subject}: expected action_space with n (discrete) or shape, low and high (continuous), "
        f"got {action!r}; wrap the environment so that it has one of them"
    )
