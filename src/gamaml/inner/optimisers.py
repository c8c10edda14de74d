"""From a gradient to an update: one step of SGD or Adam, with a step size per array or per parameter."""

# pyright: reportUnknownMemberType=false
# JAX leaves the types of array functions partly unknown.

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gamaml.config import InnerConfig

Params = Mapping[str, jax.Array]

_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
"""Kingma & Ba 2015, Algorithm 1."""


class Optimiser(NamedTuple):
    """Two pure functions.

    Attributes:
        start: params -> the state before the first update; all zeros.
        step: (params, gradient, state, step sizes) -> (params, state); a step size is float32[] or has its array's
            shape.
    """

    start: Callable[[Params], Any]
    step: Callable[[Params, Params, Any, Params], tuple[Params, Any]]


class AdamState(NamedTuple):
    """The state that Adam carries from update to update.

    Attributes:
        updates: float32[], the updates so far.
        mean: mean of the gradients, by array.
        square: mean of the squared gradients, by array.
    """

    updates: jax.Array
    mean: Params
    square: Params


def _sgd_start(params: Params) -> tuple[()]:
    return ()


def _sgd_step(params: Params, gradient: Params, state: tuple[()], step_sizes: Params) -> tuple[Params, tuple[()]]:
    return {name: params[name] - step_sizes[name] * gradient[name] for name in params}, state


def _adam_start(params: Params) -> AdamState:
    zeros = {name: jnp.zeros_like(array) for name, array in params.items()}
    return AdamState(jnp.zeros((), jnp.float32), zeros, zeros)


def _adam_step(params: Params, gradient: Params, state: AdamState, step_sizes: Params) -> tuple[Params, AdamState]:
    updates = state.updates + 1
    mean = {name: _BETA_1 * state.mean[name] + (1 - _BETA_1) * gradient[name] for name in params}
    square = {name: _BETA_2 * state.square[name] + (1 - _BETA_2) * gradient[name] ** 2 for name in params}
    mean_factor, square_factor = 1 / (1 - _BETA_1**updates), 1 / (1 - _BETA_2**updates)

    def moved(name: str) -> jax.Array:
        direction = mean_factor * mean[name] / (jnp.sqrt(square_factor * square[name]) + _EPSILON)
        return params[name] - step_sizes[name] * direction

    return {name: moved(name) for name in params}, AdamState(updates, mean, square)


OPTIMISERS = {"sgd": Optimiser(_sgd_start, _sgd_step), "adam": Optimiser(_adam_start, _adam_step)}


def optimiser_of(inner: InnerConfig) -> Optimiser:
    """Return the optimiser of the inner updates; each step is `inner.step_size_decay` times as long as the last."""
    optimiser = OPTIMISERS[inner.optimiser]
    return optimiser if inner.step_size_decay == 1 else _decaying(optimiser, inner.step_size_decay)


def _decaying(optimiser: Optimiser, factor: float) -> Optimiser:
    def start(params: Params) -> tuple[jax.Array, Any]:
        return jnp.zeros((), jnp.float32), optimiser.start(params)

    def step(
        params: Params, gradient: Params, state: tuple[jax.Array, Any], step_sizes: Params
    ) -> tuple[Params, tuple[jax.Array, Any]]:
        updates, inside = state
        scale = factor**updates
        smaller = {name: scale * array for name, array in step_sizes.items()}
        params, inside = optimiser.step(params, gradient, inside, smaller)
        return params, (updates + 1, inside)

    return Optimiser(start, step)
