"""Policies with a memory that each step of an episode passes on to the next one."""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array constructors partly unknown.

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from gamaml.config import PolicyConfig
from gamaml.policies import gru, tcn
from gamaml.policies.flat import Shapes

if TYPE_CHECKING:
    import jax

_MODULES: Mapping[str, ModuleType] = {"gru": gru, "tcn": tcn}
"""Name -> the module that defines it with `shapes`, `memory_shapes` and `step`."""


class Recurrent(NamedTuple):
    """A policy with memory.

    Attributes:
        start: () -> the memory at the beginning of an episode, any pytree.
        step: (params, memory, observation) -> (memory, action mean float32[action_size]).
    """

    start: Callable[[], Any]
    step: Callable[[Mapping[str, jax.Array], Any, jax.Array], tuple[Any, jax.Array]]


def shapes(policy: PolicyConfig, num_inputs: int, num_outputs: int) -> Shapes:
    """Return the arrays of a network with memory, name -> shape."""
    return _MODULES[policy.network].shapes(num_inputs, policy.hidden, num_outputs)


def recurrent(policy: PolicyConfig, num_inputs: int) -> Recurrent:
    """Return the network of a config, in JAX."""
    module = _MODULES[policy.network]
    sizes: list[tuple[int, ...]] = module.memory_shapes(num_inputs, policy.hidden)

    def start() -> list[jax.Array]:
        import jax.numpy as jnp

        return [jnp.zeros(size, jnp.float32) for size in sizes]

    def step(params: Mapping[str, jax.Array], memory: Any, observation: jax.Array) -> tuple[Any, jax.Array]:
        return module.step(params, memory, observation, policy.activation)

    return Recurrent(start, step)
