"""The multi-layer perceptron in JAX, in forms that XLA's CPU backend computes fast.

The forms differ in speed and in the last bits. Together with updates of one task after the other, `one` and `columns`
make an evaluation of `navigation` 1.6 times as fast as `rows` would (`benchmarks/inner_loop.py`).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# JAX leaves the types of array constructors and of custom derivatives partly unknown.

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Generator, Mapping

import jax
import jax.numpy as jnp
from jax import lax

_FEW_INPUTS = 4
"""A layer of at most so many inputs is a sum of products: for 8 tasks of 20 observations of 2 numbers it takes 1.3
microseconds, a dot 2.5."""

_FEWEST_OUTPUTS = 8
"""A narrower last layer gets columns of zeros: for 2 outputs of those tasks a dot takes 7.3 microseconds, for 8 4.2."""

_FEW_ROWS = 16
"""The gradient by the weights is a sum over at most so many rows, one by one: with the 5 points of `sinusoid` the whole
program is 1.1 times as fast as with a dot."""


_differentiated_twice = contextvars.ContextVar("_differentiated_twice", default=False)


@contextlib.contextmanager
def differentiated_twice() -> Generator[None, None, None]:
    """Keep `rows` to dots while a gradient of a gradient is traced, for which sums over rows would be slower."""
    token = _differentiated_twice.set(True)
    try:
        yield
    finally:
        _differentiated_twice.reset(token)


def rows(params: Mapping[str, jax.Array], x: jax.Array, activation: str, prefix: str = "") -> jax.Array:
    """Return the network's outputs for inputs in rows, as `mlp.apply` describes it."""
    return _through_layers(params, x, prefix, _affine_of_rows, {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation])


def one(params: Mapping[str, jax.Array], x: jax.Array, activation: str = "relu") -> jax.Array:
    """Return the network's outputs for one input; `vmap` gives those of many side by side.

    Args:
        params: arrays named as by `mlp.shapes`; others are ignored.
        x: float32[num_inputs].
        activation: "relu" or "tanh", after every layer but the last.

    Returns:
        float32[num_outputs].
    """
    return _through_layers(params, x, "", _affine_of_one, {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation])


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
    return _through_layers(params, x, prefix, _affine_of_columns, {"relu": _relu, "tanh": jnp.tanh}[activation])


def _through_layers(
    params: Mapping[str, jax.Array],
    x: jax.Array,
    prefix: str,
    affine: Callable[[jax.Array, jax.Array, jax.Array], jax.Array],
    activate: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """Return the outputs of the last layer.

    Args:
        params: arrays named as by `mlp.shapes`; others are ignored.
        x: the inputs of the first layer.
        prefix: prefix of the arrays' names.
        affine: (inputs, weights, biases) -> a layer's outputs before its activation.
        activate: the activation after every layer but the last.
    """
    layer = 0
    while True:
        x = affine(x, params[f"{prefix}w{layer}"], params[f"{prefix}b{layer}"])
        layer += 1
        if f"{prefix}w{layer}" not in params:
            return x
        x = activate(x)


def _affine_of_rows(x: jax.Array, weights: jax.Array, biases: jax.Array) -> jax.Array:
    few = x.ndim == 2 and len(x) <= _FEW_ROWS and not _differentiated_twice.get()
    product = _product_of_few_rows(x, weights) if few else x @ weights
    return product + jnp.broadcast_to(biases, product.shape)


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


@jax.custom_vjp
def _product_of_few_rows(x: jax.Array, weights: jax.Array) -> jax.Array:
    """Return x @ weights, whose derivative by the weights is a sum over the rows."""
    return x @ weights


def _few_rows_forward(x: jax.Array, weights: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _product_of_few_rows(x, weights), (x, weights)


def _few_rows_backward(arguments: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, weights = arguments
    by_weights = x[0][:, None] * gradient[0][None]
    for row in range(1, len(x)):
        by_weights = by_weights + x[row][:, None] * gradient[row][None]
    return gradient @ weights.T, by_weights


_product_of_few_rows.defvjp(_few_rows_forward, _few_rows_backward)


def _relu(x: jax.Array) -> jax.Array:
    """Return max(x, 0) by a mask of zeros and ones; its derivative is three times as fast as that of a choice."""
    return x * lax.stop_gradient(jnp.ceil(jnp.clip(x, 0, 1)))
