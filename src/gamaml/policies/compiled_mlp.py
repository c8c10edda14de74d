"""The multi-layer perceptron in the two forms that XLA's CPU backend computes fastest.

They compute what `mlp.apply` does, with other last bits. Together with updates of one task after the other they make an
evaluation of `navigation` 1.6 times as fast (`benchmarks/inner_loop.py`). Sizes and times below are of that task.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# JAX leaves the types of array constructors and of custom derivatives partly unknown.

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import lax

from gamaml.policies.mlp import through_layers

_FEW_INPUTS = 4
"""A layer of at most so many inputs is a sum of products: for 2 inputs it takes 1.3 microseconds, a dot 2.5."""

_FEWEST_OUTPUTS = 8
"""A narrower last layer gets columns of zeros: for 2 outputs a dot takes 7.3 microseconds, with 8 columns 4.2."""


def one(params: Mapping[str, jax.Array], x: jax.Array, activation: str = "relu") -> jax.Array:
    """Return the network's outputs for one input; `vmap` gives those of many side by side.

    Args:
        params: arrays named as by `mlp.shapes`; others are ignored.
        x: float32[num_inputs].
        activation: "relu" or "tanh", after every layer but the last.

    Returns:
        float32[num_outputs].
    """
    return through_layers(params, x, "", _affine_of_one, {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation])


def columns(params: Mapping[str, jax.Array], x: jax.Array, activation: str = "relu", prefix: str = "") -> jax.Array:
    """Return the network's outputs for the inputs in the columns; its gradient is quick too.

    Args:
        params: arrays named as by `mlp.shapes`; others are ignored.
        x: float32[num_inputs, number].
        activation: "relu" or "tanh", after every layer but the last.
        prefix: prefix of the arrays' names.

    Returns:
        float32[num_outputs, number].
    """
    return through_layers(params, x, prefix, _affine_of_columns, {"relu": _relu, "tanh": jnp.tanh}[activation])


def _affine_of_one(x: jax.Array, weights: jax.Array, biases: jax.Array) -> jax.Array:
    num_inputs, num_outputs = weights.shape
    if num_inputs <= _FEW_INPUTS:
        total = x[0] * weights[0]
        for row in range(1, num_inputs):
            total = total + x[row] * weights[row]
        return total + biases
    padded = jnp.pad(weights, ((0, 0), (0, max(0, _FEWEST_OUTPUTS - num_outputs))))
    return (x @ padded)[:num_outputs] + biases


def _affine_of_columns(x: jax.Array, weights: jax.Array, biases: jax.Array) -> jax.Array:
    product = _transposed_product(weights, x)
    return product + jnp.broadcast_to(biases[:, None], product.shape)


@jax.custom_vjp
def _transposed_product(weights: jax.Array, x: jax.Array) -> jax.Array:
    """Return weights.T @ x, whose derivatives are products that need no transposition of a large array.

    XLA has a fast kernel for dots that sum over the last dimension of their first argument, and a slow one for others.
    Without the barrier it would take the transposition of the weights, which are small, into the dot.
    """
    return lax.optimization_barrier(weights.T) @ x


def _product_forward(weights: jax.Array, x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _transposed_product(weights, x), (weights, x)


def _product_backward(arguments: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    weights, x = arguments
    return x @ gradient.T, weights @ gradient


_transposed_product.defvjp(_product_forward, _product_backward)


def _relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0) by a mask of zeros and ones; its derivative is three times as fast as that of a choice."""
    return x * lax.stop_gradient(jnp.ceil(jnp.clip(x, 0, 1)))
