"""The section [policy]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import above_zero, at_least, one_of
from gamaml.errors import ConfigError

CONVOLUTIONAL = ("nature", "ga-dist")

MEMORIES = ("gru", "tcn")
"""The networks that remember the steps of an episode."""

NETWORKS = ("mlp", *CONVOLUTIONAL, *MEMORIES)


@dataclass(frozen=True)
class PolicyConfig:
    """The network, for tasks that do not bring their own parameters.

    Attributes:
        network: "mlp"; for Atari also "nature" (Mnih et al. 2015, as Such et al. 2017 use it) and "ga-dist"; for
            reinforcement learning in JAX without inner updates also two with memory: "gru" (gated recurrent units) and
            "tcn" (causal dilated convolutions over the last 2^len(hidden) steps).
        hidden: width of each hidden layer; of a "gru" the units, of a "tcn" the channels.
        sampled: for host environments without inner updates, whether actions are drawn: Gaussian with `std`, or by
            softmax where they are discrete. Otherwise they always are.
        activation: "relu" or "tanh".
        std: initial standard deviation of a Gaussian policy's actions; 0, with std_gene = false and without inner
            updates: the action is the mean.
        std_gene: whether the GA also evolves the (log) std.
        output_scale: factor on the initial weights of the last layer.
    """

    network: str = "mlp"
    hidden: tuple[int, ...] = (100, 100)
    sampled: bool = False
    activation: str = "relu"
    std: float = 0.5
    std_gene: bool = True
    output_scale: float = 0.01


def validate(policy: PolicyConfig) -> None:
    """Raise ConfigError for a value out of range."""
    for i, width in enumerate(policy.hidden):
        at_least(f"policy.hidden[{i}]", width, 1)
    one_of("policy.network", policy.network, NETWORKS)
    one_of("policy.activation", policy.activation, ("relu", "tanh"))
    above_zero("policy.output_scale", policy.output_scale)
    for name in ("hidden", "activation", "output_scale"):
        value, default = getattr(policy, name), getattr(PolicyConfig, name)
        if policy.network in CONVOLUTIONAL and value != default:
            raise ConfigError(
                f"policy.{name}={value!r}: expected only with other networks, since {policy.network!r} has "
                "layers and initial weights of its own; leave it out"
            )
    if policy.network in MEMORIES and not policy.hidden:
        raise ConfigError(
            f"policy.hidden=[]: expected at least one layer with policy.network={policy.network!r}; write e.g. [32]"
        )
