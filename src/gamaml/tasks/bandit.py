"""The meta-bandit: find the best of several slot machines within some pulls, and know the best possible score.

Source: Duan et al. 2016 (arXiv 1611.02779), section 3.1.
"""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp

MAX_STATES = 100_000
"""The best score is computed up to this number of states of knowledge, which takes a few seconds."""

Known = tuple[tuple[int, int], ...]
"""(successes, failures) of every arm pulled so far, sorted."""


class Arms(NamedTuple):
    """One task.

    Attributes:
        probability: float32[arms], of each arm's reward.
        luck: float32[pulls], uniform in [0, 1): pull t of arm k pays if luck[t] < probability[k]. It belongs to the
            task, so children that share tasks differ by merit and not by luck. No policy can foresee it.
    """

    probability: jax.Array
    luck: jax.Array


class Bandit:
    """Bernoulli arms whose probabilities are uniform in [0, 1], drawn anew for every trial.

    An action is one number per arm; the arm with the greatest is pulled. An observation is the previous pull: the arm,
    one entry each, then the reward, then a 1; at the start of a trial all are 0.

    Args:
        pulls: pulls per trial.
        arms: number of arms.
    """

    deterministic = True

    def __init__(self, pulls: int = 10, arms: int = 5) -> None:
        for name, value in (("pulls", pulls), ("arms", arms)):
            if value < 1:
                raise ValueError(f"{name}={value}: expected at least 1; choose e.g. 5")
        self.horizon = pulls
        self.action_size = arms
        self.observation_size = arms + 2

    @property
    def optimal_return(self) -> float:
        """The mean return of the best possible policy, NaN where it takes too long to compute."""
        feasible = num_states(self.horizon, self.action_size) <= MAX_STATES
        return bayes_optimal(self.horizon, self.action_size) if feasible else math.nan

    def sample(self, key: jax.Array) -> Arms:
        """Return one set of arms, with its luck."""
        arms_key, luck_key = jax.random.split(key)
        return Arms(
            jax.random.uniform(arms_key, (self.action_size,), jnp.float32),
            jax.random.uniform(luck_key, (self.horizon,), jnp.float32),
        )

    def reset(self, task: Arms, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return (number of pulls so far, observation)."""
        return jnp.zeros((), jnp.int32), jnp.zeros(self.observation_size, jnp.float32)

    def step(
        self, state: jax.Array, action: jax.Array, task: Arms, key: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Pull the arm of the greatest entry of `action`, float32[arms]; return (state, observation, reward, done)."""
        pulled = jax.nn.one_hot(jnp.argmax(action), self.action_size, dtype=jnp.float32)
        reward = (task.luck[state] < jnp.sum(pulled * task.probability)).astype(jnp.float32)
        observation = jnp.concatenate([pulled, reward[None], jnp.ones(1, jnp.float32)])
        return state + 1, observation, reward, jnp.asarray(False)


@functools.cache
def bayes_optimal(pulls: int, arms: int) -> float:
    """Return the greatest mean return that any policy reaches, by dynamic programming over its states of knowledge.

    Successes and failures (s, f) are all that one can know of an arm; its next pull pays with probability
    (s + 1) / (s + f + 2), Laplace's rule of succession. Arms are alike, so a state of knowledge is a multiset of such
    pairs, and arms that were never pulled need no entry.

    Args:
        pulls: pulls per trial.
        arms: with probabilities uniform in [0, 1].

    Source: Bellman 1956, A problem in the sequential design of experiments, Sankhya 16:221-229.
    """
    layers: list[set[Known]] = [{()}]
    for _ in range(pulls - 1):
        layers.append({after for known in layers[-1] for pull in _choices(known, arms) for after in pull[1:]})
    value: dict[Known, float] = {}
    for layer in reversed(layers):
        # The last pull has no successors.
        later = value
        value = {
            known: max(
                chance * (1 + later.get(paid, 0.0)) + (1 - chance) * later.get(unpaid, 0.0)
                for chance, paid, unpaid in _choices(known, arms)
            )
            for known in layer
        }
    return value[()]


def _choices(known: Known, arms: int) -> Iterator[tuple[float, Known, Known]]:
    """Yield for each distinct arm its chance to pay, and the states of knowledge after it paid and after it did not."""
    for arm in {*known, (0, 0)} if len(known) < arms else set(known):
        others = list(known)
        if arm in others:
            others.remove(arm)
        successes, failures = arm
        paid, unpaid = ((successes + 1, failures), (successes, failures + 1))
        chance = (successes + 1) / (successes + failures + 2)
        yield chance, tuple(sorted([*others, paid])), tuple(sorted([*others, unpaid]))


def num_states(pulls: int, arms: int) -> int:
    """Return the number of states of knowledge after fewer than `pulls` pulls, or a number above MAX_STATES.

    Multisets of at most `arms` pairs (s, f), of which there are n + 1 with s + f = n > 0, by the sum of all n.
    """
    # ways[k][total]: multisets of k pulled arms with so many pulls together.
    number, total = min(arms, pulls - 1), pulls
    ways = [[0] * total for _ in range(number + 1)]
    ways[0][0] = 1
    for size in range(1, total):
        for _ in range(size + 1):
            for k in range(1, number + 1):
                for pulled in range(size, total):
                    ways[k][pulled] += ways[k - 1][pulled - size]
        if sum(map(sum, ways)) > MAX_STATES:
            break
    return sum(map(sum, ways))
