"""The section [policy]."""

from __future__ import annotations

from dataclasses import dataclass

from gamaml.config.checks import check
from gamaml.config.options import option
from gamaml.errors import ConfigError

CONVOLUTIONAL = ("nature", "ga-dist")

MEMORIES = ("gru", "tcn")
"""The networks that remember the steps of an episode."""

NETWORKS = ("mlp", *CONVOLUTIONAL, *MEMORIES)


@dataclass(frozen=True)
class PolicyConfig:
    """The network, for tasks that do not bring parameters of their own."""

    network: str = option(
        "mlp",
        '"mlp" is a multi-layer perceptron. Atari also has "nature" (Mnih et al. 2015, as Such et al. 2017 use it) and '
        '"ga-dist". Reinforcement learning in JAX without inner updates also has two networks with memory: "gru" '
        '(gated recurrent units) and "tcn" (causal dilated convolutions over the last 2^len(hidden) steps).',
        choices=NETWORKS,
    )
    hidden: tuple[int, ...] = option(
        (100, 100), 'Width of each hidden layer: the units of a "gru", the channels of a "tcn".', at_least=1
    )
    sampled: bool = option(
        False,
        "Whether a policy on host environments without inner updates draws its actions: Gaussian with `std`, or by "
        "softmax where actions are discrete. All other policies always draw them.",
    )
    activation: str = option("relu", "Nonlinearity of the hidden layers.", choices=("relu", "tanh"))
    std: float = option(
        0.5,
        "Initial standard deviation of a Gaussian policy's actions. With 0 the action is the mean, which takes "
        "`std_gene = false` and no inner updates.",
        at_least=0,
    )
    std_gene: bool | str = option(
        True,
        'Whether the (log) std is evolved too; "round": one for each collection of the inner loop, so that a policy '
        "may explore first and act at the end. With discrete actions they are temperatures of the softmax, which start "
        'at 1 and exist with "round" only.',
        choices=("round",),
    )
    mean_at_end: bool = option(
        False,
        "Whether the last collection, whose return is the fitness, takes the mean action, or the likeliest discrete "
        "one.",
    )
    output_scale: float = option(0.01, "Factor on the initial weights of the last layer.", above=0)

    def __post_init__(self) -> None:
        check(self, "policy")
        for name in ("hidden", "activation", "output_scale"):
            value, default = getattr(self, name), getattr(PolicyConfig, name)
            if self.network in CONVOLUTIONAL and value != default:
                raise ConfigError(
                    f"policy.{name}={value!r}: expected only with other networks, since {self.network!r} has "
                    "layers and initial weights of its own; leave it out"
                )
        if self.network in MEMORIES and not self.hidden:
            raise ConfigError(
                f"policy.hidden=[]: expected at least one layer with policy.network={self.network!r}; write e.g. [32]"
            )
        if self.std == 0 and self.std_gene:
            raise ConfigError(
                "policy.std=0.0: expected a number above 0, since its logarithm is evolved; add std_gene = false"
            )
