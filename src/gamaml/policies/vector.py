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

    The dimension [once] is 1 where all rounds have the same genes. Where each has its own, it is the number of rounds,
    or of collections, one more, for the stds.

    Attributes:
        network: float32[..., num_weights], the flat network.
        step_sizes: float32[..., once, num_arrays], the step size of each network array; float32[..., once, num_weights]
            where each parameter has its own.
        std: float32[..., once], the standard deviation of the actions, or the temperature of discrete ones.
        factors: float32[..., once, num_factors], the evolved factors of the inner loop, each between 0 and 1.
    """

    network: Array
    step_sizes: Array
    std: Array
    factors: Array


class Genes(NamedTuple):
    """The genes of several vectors, as they are evolved.

    Attributes:
        step_sizes: float32[number, step_rounds, num_arrays or num_weights].
        stds: float32[number, num_stds], or float32[number, 1] of the fixed std.
        factors: float32[number, factor_rounds, num_factors].
    """

    step_sizes: Float32Array
    stds: Float32Array
    factors: Float32Array


class RoundGenes(NamedTuple, Generic[Array]):
    """The genes of one round.

    Attributes:
        step_sizes: float32[num_arrays] or float32[num_weights].
        std: float32[].
        factors: float32[num_factors].
    """

    step_sizes: Array
    std: Array
    factors: Array


class Derivative(NamedTuple, Generic[Array]):
    """The derivative of a number by the parts of a parameter vector; no strategy with gradients evolves factors.

    Attributes:
        network: float32[num_weights].
        step_sizes: the derivative by the step sizes, not by their logarithms; shaped like `Learning.step_sizes`.
        std: the derivative by the std, shaped like `Learning.std`.
    """

    network: Array
    step_sizes: Array
    std: Array


@dataclass(frozen=True)
class ParameterVector:
    """The meaning of the entries of a parameter vector.

    Attributes:
        network: the network's arrays, at the beginning of the vector.
        num_step_sizes: number of log step sizes of a round that follow: 0, 1, one per network array, or one per
            parameter.
        num_stds: number of log action stds that follow: 0, 1, or one per collection that has its own.
        step_size: the fixed step size, or the gene's initial value.
        std: the fixed action std, or the gene's initial value.
        factors: the initial values of the evolved factors of a round, whose log odds come last.
        rounds: rounds of the inner loop.
        step_rounds: rounds with step sizes of their own, or 1.
        factor_rounds: rounds with factors of their own, or 1.
        mean_at_end: whether the last collection has a std of 0.
        discrete: whether the stds are temperatures of discrete actions.
    """

    network: Layout
    num_step_sizes: int = 0
    num_stds: int = 0
    step_size: float = 0.0
    std: float = 1.0
    factors: tuple[float, ...] = ()
    rounds: int = 0
    step_rounds: int = 1
    factor_rounds: int = 1
    mean_at_end: bool = False
    discrete: bool = False

    @classmethod
    def of(
        cls, shapes: Shapes, inner: InnerConfig, policy: PolicyConfig, *, stochastic: bool, discrete: bool = False
    ) -> ParameterVector:
        """Return the vector of a config; without inner updates, it has no genes for them.

        Args:
            shapes: the network's arrays.
            inner: the inner loop.
            policy: the policy.
            stochastic: whether actions are drawn, so that a std or a temperature exists.
            discrete: whether actions are discrete.
        """
        network, rounds = Layout.of(shapes), inner.gene_rounds or inner.rounds
        kind = inner.step_size_gene
        per_gene = {"none": 0, "global": 1, "layer": len(shapes), "round": len(shapes), "parameter": network.size}[kind]
        by_round = policy.std_gene == "round"
        return cls(
            network=network,
            num_step_sizes=per_gene if rounds > 0 else 0,
            num_stds=(rounds + 1 if by_round else int(bool(policy.std_gene) and not discrete)) if stochastic else 0,
            step_size=inner.step_size,
            std=1.0 if discrete else policy.std,
            factors=tuple(getattr(inner, gene) for gene in inner.genes) if rounds > 0 else (),
            rounds=inner.rounds,
            step_rounds=max(1, rounds) if kind == "round" else 1,
            factor_rounds=max(1, rounds) if inner.genes_per_round else 1,
            mean_at_end=policy.mean_at_end and stochastic,
            discrete=discrete,
        )

    @property
    def size(self) -> int:
        """Length of the whole vector."""
        return sum((self.network.size, self._step_genes, self.num_stds, self._factor_genes))

    def scalars(self, inner: InnerConfig) -> tuple[str, ...]:
        """Return the names of the numbers that `evolved` returns."""
        names: list[str] = []
        if self.num_step_sizes:
            names += _numbered("step_size", 1, self.step_rounds)
        if self.num_stds > 1:
            names += _numbered(self._spread, 0, self.num_stds)
        if self.factors:
            names += [name for gene in inner.genes for name in _numbered(gene, 1, self.factor_rounds)]
        return tuple(names)

    def evolved(self, genes: Genes) -> list[tuple[float, ...]]:
        """Return the evolved numbers of several vectors as a run file records them.

        They are the mean step size, the stds, and the factors: one of each, or one per round that has its own.
        """
        step_sizes, stds, factors = genes
        parts: list[Float32Array] = []
        if self.num_step_sizes:
            parts.append(np.add.reduce(step_sizes, axis=2) / np.float32(step_sizes.shape[2]))
        if self.num_stds > 1:
            parts.append(stds)
        if self.factors:
            parts.append(factors.swapaxes(1, 2).reshape(len(factors), -1))
        if not parts:
            return [()] * len(step_sizes)
        numbers = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        return list(map(tuple, numbers.tolist()))

    def arrays(self, params: Float32Array, inner: InnerConfig, *, stochastic: bool) -> dict[str, Float32Array]:
        """Return the contents of a parameter vector, float32[size], by name: the network's arrays, and the genes.

        Genes that each round has for itself have a leading dimension.

        Args:
            params: the vector.
            inner: the inner loop, with step sizes where it has rounds.
            stochastic: whether the policy has a std.
        """
        arrays: dict[str, Float32Array] = self.network.unflatten(params[: self.network.size])
        step_sizes, stds, factors = (genes[0] for genes in self.genes(params[None]))
        if inner.rounds > 0:
            arrays["step_sizes"] = step_sizes if self.step_rounds > 1 else step_sizes[0]
        if self.factors:
            arrays.update(zip(inner.genes, factors.T if self.factor_rounds > 1 else factors[0], strict=True))
        if stochastic and not (self.discrete and self.num_stds == 0):
            arrays[self._spread] = stds if len(stds) > 1 else stds[0]
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
        steps = np.full(self._step_genes, math.log(self.step_size) if self.num_step_sizes else 0.0, np.float32)
        stds = np.full(self.num_stds, math.log(self.std) if self.num_stds else 0.0, np.float32)
        odds = np.array([math.log(value / (1 - value)) for value in self.factors] * self.factor_rounds, np.float32)
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
        rows, leading = params.reshape(-1, self.size), params.shape[:-1]
        network, *genes = self.learning(rows, self.genes(rows))
        step_sizes, stds, factors = (gene.reshape(*leading, *gene.shape[1:]) for gene in genes)
        return Learning(network.reshape(*leading, -1), step_sizes, stds, factors)

    def genes(self, rows: Float32Array) -> Genes:
        """Return the genes of vectors, float32[number, size]."""
        number, place = len(rows), self.network.size
        width = max(self.num_step_sizes, len(self.network.arrays))
        step_sizes = np.empty((number, self.step_rounds, width), np.float32)
        if self.num_step_sizes:
            steps = np.exp(rows[:, place : place + self._step_genes])
            step_sizes[...] = steps.reshape(number, self.step_rounds, -1)
            place += self._step_genes
        else:
            step_sizes[...] = self.step_size
        if self.num_stds:
            stds = np.exp(rows[:, place : place + self.num_stds])
            place += self.num_stds
        else:
            stds = np.full((number, 1), self.std, np.float32)
        factors = rows[:, place:].reshape(number, self.factor_rounds, len(self.factors))
        if self.factors:
            factors = (1 / (1 + np.exp(-factors))).astype(np.float32)
        return Genes(step_sizes, stds, factors)

    def learning(self, rows: Float32Array, genes: Genes) -> Learning[Float32Array]:
        """Take vectors, float32[number, size], apart, with their genes by round."""
        step_sizes, stds, factors = genes
        if self.step_rounds > 1:
            step_sizes = step_sizes[:, _held(self.rounds, self.step_rounds)]
        if self.factor_rounds > 1:
            factors = factors[:, _held(self.rounds, self.factor_rounds)]
        if self.num_stds > 1 or self.mean_at_end:
            stds = stds[:, _held(self.rounds + 1, stds.shape[1])]
        if self.mean_at_end:
            stds[:, -1] = 0
        return Learning(rows[:, : self.network.size], step_sizes, stds, factors)

    def gradient(self, learning: Learning[Float32Array], derivative: Derivative[Float32Array]) -> Float32Array:
        """Return a derivative by the entries of a vector without factors, float32[size], by the chain rule.

        Args:
            learning: the vector taken apart.
            derivative: by its parts.
        """
        by_step = derivative.step_sizes * learning.step_sizes
        if self.num_step_sizes == 1:
            by_step = by_step.sum(axis=1, keepdims=True)
        by_std = derivative.std * learning.std
        return np.concatenate([derivative.network, by_step.reshape(-1)[: self._step_genes], by_std[: self.num_stds]])

    @property
    def _spread(self) -> str:
        return "temperature" if self.discrete else "std"

    @property
    def _step_genes(self) -> int:
        return self.num_step_sizes * self.step_rounds

    @property
    def _factor_genes(self) -> int:
        return len(self.factors) * self.factor_rounds


def of_round(learning: Learning[Float32Array], index: int) -> RoundGenes[Float32Array]:
    """Return the genes of one round of a candidate, 0 for the first."""
    step_sizes, stds, factors = learning[1:]
    return RoundGenes(*(genes[min(index, len(genes) - 1)] for genes in (step_sizes, stds, factors)))


def _held(number: int, own: int) -> list[int]:
    """Return, for each of `number` rounds or collections, whose genes it has: the last one's are held."""
    return [min(index, own - 1) for index in range(max(1, number))]


def _numbered(name: str, first: int, number: int) -> list[str]:
    return [name] if number == 1 else [f"{name}_{index}" for index in range(first, first + number)]


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
