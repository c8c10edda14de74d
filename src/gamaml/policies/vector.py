"""A candidate's parameter vector: the arrays of a network, then the genes that steer its learning.

The genes (log step sizes, log action std, log odds of factors) are evolved and never touched by the inner gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from gamaml.config import GAConfig, InnerConfig, PolicyConfig
from gamaml.policies.flat import Layout, Shapes, fan_in
from gamaml.policies.mlp import CRITIC
from gamaml.types import Float32Array

Initialiser = Callable[[Float32Array], Float32Array]
"""Turns standard normal noise, float32[num_weights], into an initial flat network, float32[num_weights]."""

_UNSCALED_FAN_IN = 10
"""Mutations of matrices with at most this many inputs stay unscaled under ga.mutation_scale = "fan_in"."""


Array = TypeVar("Array")
"""The arrays of one library: NumPy's, or JAX's in a compiled program."""


class Learning(NamedTuple, Generic[Array]):
    """A parameter vector taken apart.

    Attributes:
        network: float32[..., num_weights], the flat network.
        step_sizes: float32[..., num_arrays], the step size of each network array; float32[..., num_weights] where
            each parameter has its own.
        std: float32[...], the standard deviation of the actions.
        factors: float32[..., num_factors], the evolved factors of the inner loop, each between 0 and 1.
    """

    network: Array
    step_sizes: Array
    std: Array
    factors: Array


class Derivative(NamedTuple, Generic[Array]):
    """The derivative of a number by the parts of a parameter vector; no strategy with gradients evolves factors.

    Attributes:
        network: float32[num_weights].
        step_sizes: the derivative by the step sizes, not by their logarithms; shaped like `Learning.step_sizes`.
        std: float32[], the derivative by the std.
    """

    network: Array
    step_sizes: Array
    std: Array


@dataclass(frozen=True)
class ParameterVector:
    """The meaning of the entries of a parameter vector.

    Attributes:
        network: the network's arrays, at the beginning of the vector.
        num_step_sizes: number of log step sizes that follow: 0, 1, one per network array, or one per parameter.
        num_stds: number of log action stds that follow: 0 or 1.
        step_size: the fixed step size, or the gene's initial value.
        std: the fixed action std, or the gene's initial value.
        factors: the initial values of the evolved factors, whose log odds come last.
    """

    network: Layout
    num_step_sizes: int = 0
    num_stds: int = 0
    step_size: float = 0.0
    std: float = 1.0
    factors: tuple[float, ...] = ()

    @classmethod
    def of(cls, shapes: Shapes, inner: InnerConfig, policy: PolicyConfig, *, stochastic: bool) -> ParameterVector:
        """Return the vector of a config; without inner updates, it has no genes for them.

        Args:
            shapes: the network's arrays.
            inner: the inner loop.
            policy: the policy.
            stochastic: whether actions are drawn, so that a std exists.
        """
        network = Layout.of(shapes)
        per_gene = {"none": 0, "global": 1, "layer": len(shapes), "parameter": network.size}[inner.step_size_gene]
        return cls(
            network=network,
            num_step_sizes=per_gene if inner.rounds > 0 else 0,
            num_stds=int(stochastic and policy.std_gene),
            step_size=inner.step_size,
            std=policy.std,
            factors=tuple(getattr(inner, gene) for gene in inner.genes) if inner.rounds > 0 else (),
        )

    @property
    def size(self) -> int:
        """Length of the whole vector."""
        return self.network.size + self.num_step_sizes + self.num_stds + len(self.factors)

    def scalars(self, inner: InnerConfig) -> tuple[str, ...]:
        """Return the names of the numbers that `evolved` returns."""
        step_size = ("step_size",) if self.num_step_sizes else ()
        return step_size + (inner.genes if self.factors else ())

    def evolved(self, learning: Learning[Float32Array]) -> list[tuple[float, ...]]:
        """Return the evolved mean step size and factors of each vector, one or several, as a run file records them."""
        numbers: list[list[float]] = np.atleast_2d(learning.factors).tolist()
        if self.num_step_sizes:
            step_sizes = np.atleast_2d(learning.step_sizes)
            means = np.add.reduce(step_sizes, axis=1) / np.float32(step_sizes.shape[1])
            numbers = [[mean, *factors] for mean, factors in zip(means.tolist(), numbers, strict=True)]
        return [tuple(row) for row in numbers]

    def arrays(self, params: Float32Array, inner: InnerConfig, *, stochastic: bool) -> dict[str, Float32Array]:
        """Return the contents of a parameter vector, float32[size], by name: the network's arrays, and the genes.

        Args:
            params: the vector.
            inner: the inner loop, with step sizes where it has rounds.
            stochastic: whether the policy has a std.
        """
        learning = self.split(params)
        arrays: dict[str, Float32Array] = self.network.unflatten(learning.network)
        if inner.rounds > 0:
            arrays["step_sizes"] = learning.step_sizes
        if self.factors:
            arrays.update(zip(inner.genes, learning.factors, strict=True))
        if stochastic:
            arrays["std"] = learning.std
        return arrays

    def fan_in_initialiser(self, activation: str, output_scale: float = 1.0) -> Initialiser:
        """Return `fan_in_initial` for flat networks: it only scales the noise, so one product does all arrays."""
        ones = self.network.unflatten(np.ones(self.network.size, np.float32))
        factors = self.network.flatten(fan_in_initial(ones, activation, output_scale))
        return lambda noise: noise * factors

    def named_initialiser(self, function: Callable[[Mapping[str, Float32Array]], Mapping[str, Any]]) -> Initialiser:
        """Return a function of noise by array name, giving initial arrays by name, for flat networks."""
        return lambda noise: self.network.flatten(function(self.network.unflatten(noise)))

    def initial(self, noise: Float32Array, initialise: Initialiser) -> Float32Array:
        """Turn noise into initial parameters; the genes start at the config's values, whatever the noise.

        Args:
            noise: float32[size], standard normal.
            initialise: makes the network.

        Returns:
            float32[size].
        """
        weights = initialise(noise[: self.network.size])
        steps = np.full(self.num_step_sizes, math.log(self.step_size) if self.num_step_sizes else 0.0, np.float32)
        stds = np.full(self.num_stds, math.log(self.std) if self.num_stds else 0.0, np.float32)
        odds = np.array([math.log(value / (1 - value)) for value in self.factors], np.float32)
        return np.concatenate([weights, steps, stds, odds])

    def scale(self, ga: GAConfig) -> Float32Array | None:
        """Return the factors on the mutation std, float32[size], or None if all are 1."""
        scale = np.ones(self.size, np.float32)
        if ga.mutation_scale == "fan_in":
            for name, shape in self.network.arrays:
                if len(shape) >= 2 and fan_in(shape) > _UNSCALED_FAN_IN:
                    scale[self.network.slices[name]] = 1 / math.sqrt(fan_in(shape) / _UNSCALED_FAN_IN)
        scale[self.network.size :] = ga.gene_scale
        return None if bool(np.all(scale == 1)) else scale

    def split(self, params: Float32Array) -> Learning[Float32Array]:
        """Take parameter vectors, float32[..., size], apart."""
        network, genes = params[..., : self.network.size], params[..., self.network.size :]
        number = max(self.num_step_sizes, len(self.network.arrays))
        step_sizes = np.empty((*params.shape[:-1], number), np.float32)
        step_sizes[...] = np.exp(genes[..., : self.num_step_sizes]) if self.num_step_sizes else self.step_size
        std = np.empty(params.shape[:-1], np.float32)
        std[...] = np.exp(genes[..., self.num_step_sizes]) if self.num_stds else self.std
        factors = genes[..., self.num_step_sizes + self.num_stds :]
        if self.factors:
            factors = (1 / (1 + np.exp(-factors))).astype(np.float32)
        return Learning(network, step_sizes, std, factors)

    def gradient(self, learning: Learning[Float32Array], derivative: Derivative[Float32Array]) -> Float32Array:
        """Return a derivative by the entries of a vector without factors, float32[size], by the chain rule.

        Args:
            learning: the vector taken apart.
            derivative: by its parts.
        """
        by_step = derivative.step_sizes * learning.step_sizes
        if self.num_step_sizes == 1:
            by_step = by_step.sum(keepdims=True)
        by_std = np.full(self.num_stds, derivative.std * learning.std, np.float32)
        return np.concatenate([derivative.network, by_step[: self.num_step_sizes], by_std])


def fan_in_initial(
    noise: Mapping[str, Float32Array], activation: str = "relu", output_scale: float = 1.0
) -> dict[str, Float32Array]:
    """Return initial arrays: weights of variance 2 / fan_in for relu and 1 / fan_in otherwise, zero biases.

    Args:
        noise: standard normal arrays by name; those with fewer than two dimensions are biases.
        activation: "relu" or "tanh".
        output_scale: factor on the last weight array, and on the critic's, so that a policy starts near its mean
            output 0.

    Source: He et al. 2015, arXiv 1502.01852, equation 10 (relu); LeCun et al. 1998, section 4.6 (tanh).
    """
    gain = 2.0 if activation == "relu" else 1.0
    weights = [name for name, array in noise.items() if array.ndim >= 2]
    # The last of each network, since a mapping keeps the last entry of a key.
    outputs = {name.startswith(CRITIC): name for name in weights}.values()
    arrays: dict[str, Float32Array] = {}
    for name, array in noise.items():
        factor = math.sqrt(gain / fan_in(array.shape)) if name in weights else 0.0
        if name in outputs:
            factor *= output_scale
        arrays[name] = array * np.float32(factor)
    return arrays
