"""The policy networks of host environments by name: arrays, initial values, and forward pass in NumPy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from gamaml.config import PolicyConfig
from gamaml.errors import ConfigError
from gamaml.policies import cnn, mlp
from gamaml.policies.flat import Shapes
from gamaml.policies.vector import fan_in_initial
from gamaml.types import Float32Array


class HostNetwork(Protocol):
    """A network that is loaded once per candidate and called once per step.

    Attributes:
        shapes: name -> shape of its arrays.
    """

    shapes: Shapes

    def initial(self, noise: Mapping[str, Float32Array]) -> Mapping[str, Float32Array]:
        """Turn standard normal arrays by name into initial arrays by name."""
        ...

    def load(self, arrays: Mapping[str, Float32Array]) -> None:
        """Take a candidate's arrays."""
        ...

    def __call__(self, observation: Any) -> Float32Array:  # an array
        """Return the outputs, float32[num_outputs]; the next call may overwrite them."""
        ...


class Mlp(mlp.Forward):
    """A multi-layer perceptron as a host network."""

    def __init__(self, policy: PolicyConfig, sizes: tuple[int, ...], rows: int | None) -> None:
        super().__init__(sizes, policy.activation, rows)
        self.shapes: Shapes = mlp.shapes(*sizes)
        self._policy = policy

    def initial(self, noise: Mapping[str, Float32Array]) -> Mapping[str, Float32Array]:
        """Turn standard normal arrays by name into initial arrays by name."""
        return fan_in_initial(noise, self._policy.activation, self._policy.output_scale)


class Cnn:
    """A convolutional network as a host network."""

    def __init__(self, network: str, num_outputs: int) -> None:
        self.shapes: Shapes = cnn.shapes(network, num_outputs)
        self._network = network
        self._forward = cnn.HostNetwork(network)
        self._arrays: Mapping[str, Float32Array] = {}

    def initial(self, noise: Mapping[str, Float32Array]) -> Mapping[str, Float32Array]:
        """Turn standard normal arrays by name into initial arrays by name."""
        return cnn.initial(self._network, noise)

    def load(self, arrays: Mapping[str, Float32Array]) -> None:
        """Take a candidate's arrays."""
        self._arrays = arrays

    def __call__(self, observation: Any) -> Float32Array:  # an array
        """Return the outputs, float32[num_outputs]."""
        return self._forward(self._arrays, observation)


def make(
    policy: PolicyConfig, observation_shape: tuple[int, ...], num_outputs: int, rows: int | None = None
) -> HostNetwork:
    """Return the network of a config.

    Args:
        policy: names the network.
        observation_shape: shape of one observation.
        num_outputs: number of the network's outputs.
        rows: number of observations per call, with "mlp"; None for a single one, without a leading dimension.

    Raises:
        ConfigError: the observations do not fit a convolutional network.
    """
    if policy.network == "mlp":
        return Mlp(policy, (math.prod(observation_shape), *policy.hidden, num_outputs), rows)
    if observation_shape != cnn.OBSERVATION_SHAPE:
        raise ConfigError(
            f"policy.network={policy.network!r}: expected observations of shape {cnn.OBSERVATION_SHAPE}, got "
            f'{observation_shape}; choose "mlp", or an Atari game with its usual frames'
        )
    return Cnn(policy.network, num_outputs)
