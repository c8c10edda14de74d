"""The tabular meta-MDP: explore an unknown small Markov decision process over some episodes, and exploit it.

Source: Duan et al. 2016 (arXiv 1611.02779), section 3.2.
"""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Process(NamedTuple):
    """One task.

    Attributes:
        reward: float32[states, actions], mean rewards, drawn from N(1, 1).
        thresholds: float32[states, actions, states], cumulative transition probabilities; these are drawn from
            Dirichlet(1, ..., 1).
        reward_luck: float32[steps], standard normal, added to the mean reward of the step. Luck belongs to the task, so
            children that share tasks differ by merit and not by luck; no policy can foresee it.
        transition_luck: float32[steps], uniform in [0, 1): the next state is the first whose threshold lies above.
    """

    reward: jax.Array
    thresholds: jax.Array
    reward_luck: jax.Array
    transition_luck: jax.Array


class TabularMDP:
    """A trial of several episodes in one process, each from state 0; a policy can use the knowledge of earlier ones.

    An observation is the state, one entry each, then the previous action, its reward, and whether it ended an episode.
    An action is one number per action of the process; the greatest is taken. The best possible score is not known.

    Args:
        states: states of the process; 10 in section 3.2.
        actions: actions of the process; 5 in section 3.2.
        episode_length: steps per episode; 10 in section 3.2.
        episodes: episodes per trial; 10, 25, 50, 75 and 100 in section 3.2.
    """

    deterministic = True
    optimal_return = math.nan
    """Knowledge of a process is continuous, so there is no exact dynamic programming over it."""

    def __init__(self, states: int = 10, actions: int = 5, episode_length: int = 10, episodes: int = 10) -> None:
        counts = {"states": states, "actions": actions, "episode_length": episode_length, "episodes": episodes}
        for name, value in counts.items():
            if value < 1:
                raise ValueError(f"{name}={value}: expected at least 1; choose e.g. 10")
        self.horizon = episode_length * episodes
        self.action_size = actions
        self.observation_size = states + actions + 2
        self._states = states
        self._episode_length = episode_length

    def sample(self, key: jax.Array) -> Process:
        """Return one process, with its luck."""
        reward_key, transition_key, reward_luck_key, transition_luck_key = jax.random.split(key, 4)
        sizes = self._states, self.action_size
        # Exponentials divided by their sum are uniform on the simplex, which is Dirichlet(1, ..., 1).
        weights = jnp.cumsum(jax.random.exponential(transition_key, (*sizes, self._states), jnp.float32), axis=-1)
        return Process(
            1 + jax.random.normal(reward_key, sizes, jnp.float32),
            weights / weights[..., -1:],
            jax.random.normal(reward_luck_key, (self.horizon,), jnp.float32),
            jax.random.uniform(transition_luck_key, (self.horizon,), jnp.float32),
        )

    def reset(self, task: Process, key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        """Return ((steps so far, state of the process), observation)."""
        nothing = jnp.zeros(self.action_size + 2, jnp.float32)
        start = jnp.zeros((), jnp.int32)
        return (start, start), jnp.concatenate([self._seen(start), nothing])

    def step(
        self, state: tuple[jax.Array, jax.Array], action: jax.Array, task: Process, key: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array, jax.Array]:
        """Act by the greatest entry of `action`, float32[actions]; return (state, observation, reward, done)."""
        number, place = state
        chosen = jnp.argmax(action)
        taken = jax.nn.one_hot(chosen, self.action_size, dtype=jnp.float32)
        reward = task.reward[place, chosen] + task.reward_luck[number]
        # The last threshold is 1 and luck is below it, so such a state always exists.
        following = jnp.sum(task.thresholds[place, chosen] <= task.transition_luck[number], dtype=jnp.int32)
        ends = (number + 1) % self._episode_length == 0
        following = jnp.where(ends, 0, following)
        outcome = jnp.stack([reward, ends.astype(jnp.float32)])
        observation = jnp.concatenate([self._seen(following), taken, outcome])
        return (number + 1, following), observation, reward, jnp.asarray(False)

    def _seen(self, place: jax.Array) -> jax.Array:
        return jax.nn.one_hot(place, self._states, dtype=jnp.float32)
