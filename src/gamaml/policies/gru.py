"""The gated recurrent unit, one step at a time: its memory is a vector per layer.

Source: Cho et al. 2014 (arXiv 1406.1078), equations 5 to 8, with the reset gate after the product as in cuDNN, so that
all three gates are one product.

JAX is imported inside `step`, because `shapes` is needed before JAX may start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax


def shapes(num_inputs: int, hidden: Sequence[int], num_outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the arrays of a network with layers of `hidden` units and a linear output.

    Example:
        >>> shapes(7, [16], 5)["memory0"]
        (16, 48)
    """
    arrays: dict[str, tuple[int, ...]] = {}
    for layer, (before, units) in enumerate(zip([num_inputs, *hidden[:-1]], hidden, strict=True)):
        arrays[f"input{layer}"] = (before, 3 * units)
        arrays[f"memory{layer}"] = (units, 3 * units)
        arrays[f"bias{layer}"] = (3 * units,)
    return {**arrays, "output": (hidden[-1], num_outputs), "output_bias": (num_outputs,)}


def memory_shapes(num_inputs: int, hidden: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the shapes of the memory: a vector per layer."""
    return [(units,) for units in hidden]


def step(
    params: Mapping[str, jax.Array], memory: Sequence[jax.Array], x: jax.Array, activation: str
) -> tuple[list[jax.Array], jax.Array]:
    """Return the memory after one step, and the outputs.

    Args:
        params: arrays named as by `shapes`.
        memory: arrays shaped as by `memory_shapes`; zeros at the beginning.
        x: float32[num_inputs].
        activation: "relu" or "tanh" (Cho et al.), of the candidate memory.

    Returns:
        The new memory, and float32[num_outputs].
    """
    import jax
    import jax.numpy as jnp

    function = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
    after: list[jax.Array] = []
    for layer, before in enumerate(memory):
        new, keep, reset = jnp.split(x @ params[f"input{layer}"] + params[f"bias{layer}"], 3)
        from_new, from_keep, from_reset = jnp.split(before @ params[f"memory{layer}"], 3)
        candidate = function(new + jax.nn.sigmoid(reset + from_reset) * from_new)
        kept = jax.nn.sigmoid(keep + from_keep)
        x = kept * before + (1 - kept) * candidate
        after.append(x)
    return after, x @ params["output"] + params["output_bias"]
