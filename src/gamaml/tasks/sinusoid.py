"""Sinusoid regression: fit a sine wave of unknown amplitude and phase from a few points.

Source: Finn et al. 2017 (arXiv 1703.03400), section 5.1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamaml.config import PolicyConfig
from gamaml.policies import mlp
from gamaml.policies.vector import fan_in_initial
from gamaml.types import Float32Array

AMPLITUDE = (0.1, 5.0)
"""Amplitudes are uniform in this range (section 5.1)."""

PHASE = (0.0, math.pi)
"""Phases are uniform in this range (section 5.1)."""

INPUT = (-5.0, 5.0)
"""Inputs are uniform in this range (section 5.1)."""


class Sine(NamedTuple):
    """One task: amplitude * sin(x - phase), as in the authors' code.

    Attributes:
        amplitude: float32[].
        phase: float32[].
    """

    amplitude: jax.Array
    phase: jax.Array


class Sinusoid:
    """The task of section 5.1, with the mean squared error as loss.

    Args:
        policy: the network; two hidden layers of 40 with relu in section 5.1.
        shots: points of an update; K = 10 in training and K = 5, 10, 20 in testing in section 5.1.
        query: points of a measurement. The paper takes K; more points judge a candidate more exactly and cost
            little, since no update reads them.
    """

    def __init__(self, policy: PolicyConfig, shots: int = 10, query: int = 50) -> None:
        for name, value in (("shots", shots), ("query", query)):
            if value < 1:
                raise ValueError(f"{name}={value}: expected at least 1; choose e.g. 10")
        self.shapes = mlp.shapes(1, *policy.hidden, 1)
        self.num_samples = shots + query
        self._activation = policy.activation
        self._shots = shots
        self._query = query

    def initial(self, noise: Mapping[str, Float32Array]) -> Mapping[str, Float32Array]:
        """Return initial arrays with the kinks of the first layer spread uniformly over the inputs.

        A unit relu(w x + b) bends at x = -b / w. With zero biases all would bend at 0, and mutations, unlike
        a gradient, are slow to move them apart.

        Args:
            noise: standard normal arrays by name.
        """
        arrays = fan_in_initial(noise, self._activation)
        uniform = np.array([math.erf(value / math.sqrt(2)) for value in noise["b0"]], np.float32)
        arrays["b0"] = -arrays["w0"][0] * uniform * np.float32(INPUT[1])
        return arrays

    def sample(self, key: jax.Array) -> Sine:
        """Return one wave."""
        amplitude_key, phase_key = jax.random.split(key)
        return Sine(
            jax.random.uniform(amplitude_key, (), jnp.float32, *AMPLITUDE),
            jax.random.uniform(phase_key, (), jnp.float32, *PHASE),
        )

    def loss(self, params: Mapping[str, jax.Array], task: Sine, key: jax.Array) -> jax.Array:
        """Return the mean squared error on `shots` points drawn with `key`, float32[]."""
        return self._error(params, task, key, self._shots)

    def test_loss(self, params: Mapping[str, jax.Array], task: Sine, key: jax.Array) -> jax.Array:
        """Return the mean squared error on `query` points drawn with `key`, float32[]."""
        return self._error(params, task, key, self._query)

    def _error(self, params: Mapping[str, jax.Array], task: Sine, key: jax.Array, number: int) -> jax.Array:
        x = jax.random.uniform(key, (number, 1), jnp.float32, *INPUT)
        prediction = mlp.apply(params, x, self._activation)
        return jnp.mean((prediction - task.amplitude * jnp.sin(x - task.phase)) ** 2)
