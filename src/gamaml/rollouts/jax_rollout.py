"""Episodes of a JAX task under a Gaussian policy: one as a trajectory, or many for their returns alone."""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.policies import gaussian
from gamaml.policies.recurrent import Recurrent
from gamaml.rollouts.trajectory import Trajectory
from gamaml.types import RLTask

Params = Mapping[str, jax.Array]
Network = Callable[[Params, jax.Array], jax.Array]
"""(params, observation float32[observation_size]) -> action mean float32[action_size]."""


class Returns(NamedTuple):
    """The outcomes of episodes; of any shape.

    Attributes:
        total: float32[...], the sum of an episode's rewards.
        steps: int32[...], its number of steps.
    """

    total: jax.Array
    steps: jax.Array


class _Moment(NamedTuple):
    """An episode between two steps."""

    state: Any  # the user's
    observation: jax.Array
    alive: jax.Array
    memory: Any  # the policy's; () where it has none


class _Draws(NamedTuple):
    """An episode's randomness per step: float32[horizon, action_size] (None without a std) and keys [horizon]."""

    noise: jax.Array | None
    keys: jax.Array


def rollout(
    definition: RLTask, network: Network | Recurrent, params: Params, std: jax.Array | None, task: Any, key: jax.Array
) -> Trajectory[jax.Array]:
    """Play one episode.

    Args:
        definition: the user's reset and step.
        network: gives the mean of the action, with or without a memory.
        params: the network's arrays.
        std: float32[], of the actions; None to act by the mean.
        task: one sampled task, any pytree.
        key: a JAX key.
    """
    start, draws = _begin(definition, network, std is not None, task, key)

    def step(now: _Moment, draws: _Draws) -> tuple[_Moment, Trajectory[jax.Array]]:
        following, action, reward = _step(definition, network, params, std, task, now, draws)
        return following, Trajectory(now.observation, action, reward, now.alive)

    return lax.scan(step, start, draws)[1]


def returns(
    definition: RLTask, network: Network | Recurrent, params: Params, std: jax.Array | None, tasks: Any, keys: jax.Array
) -> Returns:
    """Play the episodes of `rollout` for their returns only, many side by side, until all have ended.

    Args:
        definition: the user's reset and step.
        network: gives the mean of the action, with or without a memory.
        params: the network's arrays, each with a leading dimension [batch].
        std: float32[batch], of the actions; None to act by the mean.
        tasks: sampled tasks, [batch, num_tasks].
        keys: JAX keys, [batch, num_tasks, episodes].

    Returns:
        Returns of shape [batch, num_tasks, episodes].
    """
    begin = partial(_begin, definition, network, std is not None)
    # Steps are the first axis of the draws, so the draws of one step are contiguous.
    for task_axis in (None, 0, 0):
        begin = jax.vmap(begin, in_axes=(task_axis, 0), out_axes=(0, 1))
    step = partial(_step, definition, network)
    for axes in ((None, None, None), (None, None, 0), (0, 0, 0)):
        step = jax.vmap(step, in_axes=(*axes, 0, 0))
    start, draws = begin(tasks, keys)

    # Unlike `vmap` of a loop, this one counts the steps once for all, and gathers nothing.
    def continues(carry: tuple[jax.Array, _Moment, Returns]) -> jax.Array:
        index, now, _ = carry
        return (index < definition.horizon) & jnp.any(now.alive)

    def go_on(carry: tuple[jax.Array, _Moment, Returns]) -> tuple[jax.Array, _Moment, Returns]:
        index, now, so_far = carry
        draw = _Draws(None if draws.noise is None else draws.noise[index], draws.keys[index])
        following, _, reward = step(params, std, tasks, now, draw)
        so_far = Returns(so_far.total + reward, so_far.steps + now.alive.astype(jnp.int32))
        return index + 1, following, so_far

    nothing = Returns(jnp.zeros(keys.shape, jnp.float32), jnp.zeros(keys.shape, jnp.int32))
    return lax.while_loop(continues, go_on, (jnp.asarray(0, jnp.int32), start, nothing))[2]


def _begin(
    definition: RLTask, network: Network | Recurrent, noisy: bool, task: Any, key: jax.Array
) -> tuple[_Moment, _Draws]:
    """Reset one episode and draw all its randomness: a generator inside the loop doubles the compilation time."""
    reset_key, noise_key, steps_key = jax.random.split(key, 3)
    noise = None
    if noisy:
        # JAX's default spends two words of random bits on each number, this one word.
        with jax.threefry_partitionable(False):
            noise = jax.random.normal(noise_key, (definition.horizon, definition.action_size), jnp.float32)
    state, observation = definition.reset(task, reset_key)
    check_array("reset: observation", observation, (definition.observation_size,))
    draws = _Draws(noise, jax.random.split(steps_key, definition.horizon))
    memory = network.start() if isinstance(network, Recurrent) else ()
    return _Moment(state, observation, jnp.asarray(True), memory), draws


def _step(
    definition: RLTask,
    network: Network | Recurrent,
    params: Params,
    std: jax.Array | None,
    task: Any,
    now: _Moment,
    draws: _Draws,
) -> tuple[_Moment, jax.Array, jax.Array]:
    """Return the next moment of one episode, the action, and the reward, which is 0 after the end."""
    memory = now.memory
    if isinstance(network, Recurrent):
        memory, action = network.step(params, memory, now.observation)
    else:
        action = network(params, now.observation)
    if std is not None and draws.noise is not None:
        action = gaussian.action(action, std, draws.noise)
    state, observation, reward, done = definition.step(now.state, action, task, draws.keys)
    check_array("step: observation", observation, (definition.observation_size,))
    check_array("step: reward", reward, ())

    # A finished episode stands still: no step of the environment after its end may reach a gradient.
    def hold(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(now.alive, new, old)

    state, observation = jax.tree.map(hold, (state, observation), (now.state, now.observation))
    following = _Moment(state, observation, now.alive & ~jnp.asarray(done, bool), memory)
    return following, action, jnp.where(now.alive, reward, 0.0)


def check_array(
    subject: str, value: Any, shape: tuple[int, ...], whose: str = "task."
) -> None:  # which a user returned
    """Raise TypeError unless `value` is a float32 array of the shape; costs nothing once compiled."""
    got = (getattr(value, "shape", None), str(getattr(value, "dtype", type(value).__name__)))
    if got != (shape, "float32"):
        raise TypeError(
            f"{whose}{subject}: expected float32{list(shape)}, got {got[1]} of shape {got[0]}; "
            "return a JAX array of that shape, e.g. by jnp.asarray(value, jnp.float32)"
        )
