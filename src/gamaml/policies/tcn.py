"""Causal dilated convolutions over the last steps, one step at a time: the memory is each layer's last inputs.

Layer k sees its input now and 2^k steps ago, so that L layers see 2^L steps; before the beginning all inputs are 0.

Source: van den Oord et al. 2016 (arXiv 1609.03499), section 2.1, without gates and skips; as a policy's memory Mishra
et al. 2017 (arXiv 1707.03141).

JAX is imported inside `step`, because `shapes` is needed before JAX may start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jax


def shapes(num_inputs: int, hidden: Sequence[int], num_outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the arrays of a network with convolutions of `hidden` channels and a linear output.

    Example:
        >>> shapes(7, [16, 8], 5)["w1"]
        (2, 16, 8)
    """
    arrays: dict[str, tuple[int, ...]] = {}
    for layer, (before, channels) in enumerate(zip([num_inputs, *hidden[:-1]], hidden, strict=True)):
        arrays[f"w{layer}"] = (2, before, channels)
        arrays[f"b{layer}"] = (channels,)
    return {**arrays, "output": (hidden[-1], num_outputs), "output_bias": (num_outputs,)}


def memory_shapes(num_inputs: int, hidden: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the shapes of the memory: the last 2^k inputs of layer k, the oldest first."""
    return [(2**layer, before) for layer, before in enumerate([num_inputs, *hidden[:-1]])]


def step(
    params: Mapping[str, jax.Array], memory: Sequence[jax.Array], x: jax.Array, activation: str
) -> tuple[list[jax.Array], jax.Array]:
    """Return the memory after one step, and the outputs.

    Args:
        params: arrays named as by `shapes`.
        memory: arrays shaped as by `memory_shapes`; zeros at the beginning.
        x: float32[num_inputs].
        activation: "relu" or "tanh", after every convolution.

    Returns:
        The new memory, and float32[num_outputs].
    """
    import jax
    import jax.numpy as jnp

    function = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
    after: list[jax.Array] = []
    for layer, before in enumerate(memory):
        after.append(jnp.concatenate([before[1:], x[None]]))
        weights = params[f"w{layer}"]
        x = function(before[0] @ weights[0] + x @ weights[1] + params[f"b{layer}"])
    return after, x @ params["output"] + params["output_bias"]
