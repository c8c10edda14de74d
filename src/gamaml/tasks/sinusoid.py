"""Sinusoid regression: fit a sine wave of unknown amplitude and phase from a few points.

Source: Finn et al. 2017 (arXiv 1703.03400), section 5.1, and the code of its authors (cbfinn/maml).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gamaml.config import PolicyConfig
from gamaml.errors import did_you_mean
from gamaml.policies import mlp
from gamaml.policies.vector import fan_in_initial
from gamaml.types import Float32Array

AMPLITUDE = (0.1, 5.0)
"""Amplitudes are uniform in this range (section 5.1)."""

PHASE = (0.0, math.pi)
"""Phases are uniform in this range (section 5.1)."""

INPUT = (-5.0, 5.0)
"""Inputs are uniform in this range (section 5.1)."""

STARTS = ("spread", "maml")
"""The initial network made for mutations, and that of the authors' code."""

MAML_STD = 0.01
"""Standard deviation of the initial weights in the authors' code (maml.py, `construct_fc_weights`)."""


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
        start: the initial network. "spread" suits mutations; "maml" is that of the authors' code, for comparisons with
            strategy = "maml".
    """

    def __init__(self, policy: PolicyConfig, shots: int = 10, query: int = 50, start: str = "spread") -> None:
        for name, value in (("shots", shots), ("query", query)):
            if value < 1:
                raise ValueError(f"{name}={value}: expected at least 1; choose e.g. 10")
        if start not in STARTS:
            raise ValueError(f"start={start!r}: unknown; {did_you_mean(start, STARTS)}")
        self.shapes = mlp.shapes(1, *policy.hidden, 1)
        self.num_samples = shots + query
        self._activation = policy.activation
        self._shots = shots
        self._query = query
        self._start = start

    def initial(self, noise: Mapping[str, Float32Array]) -> Mapping[str, Float32Array]:
        """Return the initial arrays that `start` names.

        Args:
            noise: standard normal arrays by name.
        """
        return _maml(noise) if self._start == "maml" else _spread(noise, self._activation)

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


def _spread(noise: Mapping[str, Float32Array], activation: str) -> Mapping[str, Float32Array]:
    """Return initial arrays with the kinks of the first layer spread uniformly over the inputs.

    A unit relu(w x + b) bends at x = -b / w. With zero biases all would bend at 0, and mutations, unlike a gradient,
    are slow to move them apart.
    """
    arrays = fan_in_initial(noise, activation)
    uniform = np.array([math.erf(value / math.sqrt(2)) for value in noise["b0"]], np.float32)
    arrays["b0"] = -arrays["w0"][0] * uniform * np.float32(INPUT[1])
    return arrays


def _maml(noise: Mapping[str, Float32Array]) -> Mapping[str, Float32Array]:
    """Return small weights and zero biases.

    The authors draw again what lies beyond two standard deviations. Here the normals are whole, so 5 % of the weights
    are larger than any of theirs, and the std is `MAML_STD` where theirs is 0.88 of it.
    """
    return {
        name: array * np.float32(MAML_STD) if array.ndim >= 2 else np.zeros_like(array) for name, array in noise.items()
    }
