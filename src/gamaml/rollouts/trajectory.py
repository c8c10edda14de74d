"""The recorded steps of episodes, in the arrays of NumPy or of JAX; importing it imports neither."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

Array = TypeVar("Array")
"""`np.ndarray` for episodes on the host, `jax.Array` for those in JAX."""


class Trajectory(NamedTuple, Generic[Array]):
    """One episode, padded to the horizon; a batch of them has a leading dimension [episodes].

    Attributes:
        observations: float32[horizon, observation_size], the policy's input before each action.
        actions: float32[horizon, action_size], as they were drawn, before any bounds; a discrete action is its index
            among the outputs.
        rewards: float32[horizon], 0 after the end.
        alive: bool[horizon], whether the step happened before the end.
    """

    observations: Array
    actions: Array
    rewards: Array
    alive: Array
