"""The whole config: the TOML's root, and what crosses its sections."""

from __future__ import annotations

from dataclasses import dataclass, field

from gamaml.config import env, es, ga, inner, noise, policy, stop, task
from gamaml.config.checks import ADDED, above_zero, at_least, check_setting, one_of
from gamaml.config.env import EnvConfig
from gamaml.config.es import ESConfig
from gamaml.config.ga import GAConfig
from gamaml.config.inner import InnerConfig
from gamaml.config.maml import MAMLConfig
from gamaml.config.maml import validate as validate_maml
from gamaml.config.noise import NoiseConfig
from gamaml.config.policy import MEMORIES, PolicyConfig
from gamaml.config.stop import StopConfig
from gamaml.config.task import TaskConfig
from gamaml.errors import ConfigError

INITIAL_STD = 1.0
"""A generation-0 child is `initial(noise)`; this std is what its lineage entry records."""

STRATEGIES = ("ga", "es", "maml", "random")


SCIENCE_FREE = ("stop", "env.python", "env.max_seconds")
"""What may change on resume, because a child's fate does not depend on it: sections and dotted names."""


@dataclass(frozen=True)
class Config:
    """Everything that defines a run; either `task.name` or `env.id` says of what.

    Attributes:
        strategy: "ga", "es", "maml", or "random": the population of [ga], but every child from the root.
        es: settings of "es"; None with another strategy.
        maml: settings of "maml"; None with another strategy.
    """

    task: TaskConfig
    stop: StopConfig
    seed: int = 1
    env: EnvConfig = field(default_factory=EnvConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    inner: InnerConfig = field(default_factory=InnerConfig)
    ga: GAConfig = field(default_factory=GAConfig)
    strategy: str = field(default="ga", metadata=ADDED)
    es: ESConfig | None = field(default=None, metadata=ADDED)
    maml: MAMLConfig | None = field(default=None, metadata=ADDED)
    noise: NoiseConfig = field(default_factory=NoiseConfig)

    def __post_init__(self) -> None:
        # A section of another strategy would be part of the run's science without being used.
        object.__setattr__(self, "es", (self.es or ESConfig()) if self.strategy == "es" else None)
        object.__setattr__(self, "maml", (self.maml or MAMLConfig()) if self.strategy == "maml" else None)
        _validate(self)

    @property
    def population_size(self) -> int:
        """Children per generation, with whatever strategy."""
        if self.maml is not None:
            return 1
        return self.ga.population_size if self.es is None else self.es.population_size

    @property
    def subject(self) -> str:
        """The task's name or the environment's id."""
        return self.task.name or self.env.id


def _validate(config: Config) -> None:
    task.validate(config.task)
    for key, value in config.env.settings.items():
        check_setting(f"env.settings.{key}", value)
    if bool(config.task.name) is bool(config.env.id):
        got = f"both, {config.task.name!r} and {config.env.id!r}" if config.env.id else "neither"
        raise ConfigError(f"task.name, env.id: expected one of them, got {got}; say what is to be learned by one")
    at_least("seed", config.seed, 0)
    noise.validate(config.noise)
    env.validate(config.env)
    policy.validate(config.policy)
    _validate_std(config.policy, config.inner)
    _validate_memory(config.policy, config.inner)
    inner.validate(config.inner)
    ga.validate(config.ga)
    one_of("strategy", config.strategy, STRATEGIES)
    if config.es is not None:
        es.validate(config.es)
    if config.maml is not None:
        _validate_maml(config.maml, config.inner)
    if config.strategy == "random" and config.ga.elite.candidates == 0:
        raise ConfigError(
            'ga.elite.candidates=0: expected at least 2 with strategy = "random", which keeps nothing but the elite; '
            "choose e.g. 2"
        )
    stop.validate(config.stop)


def _validate_std(policy: PolicyConfig, inner: InnerConfig) -> None:
    if policy.std != 0:
        above_zero("policy.std", policy.std)
    elif policy.std_gene:
        raise ConfigError(
            "policy.std=0.0: expected a number above 0, since its logarithm is evolved; add std_gene = false"
        )
    elif inner.rounds > 0:
        raise ConfigError(
            f"policy.std=0.0: expected a number above 0 with inner.rounds={inner.rounds}, since policy gradients "
            "need random actions; choose e.g. 0.5"
        )


def _validate_memory(policy: PolicyConfig, inner: InnerConfig) -> None:
    if policy.network in MEMORIES and inner.rounds > 0:
        raise ConfigError(
            f"inner.rounds={inner.rounds}: expected 0 with policy.network={policy.network!r}, which adapts by its "
            'memory in place of updates; set rounds = 0, or choose "mlp"'
        )


def _validate_maml(maml: MAMLConfig, inner: InnerConfig) -> None:
    validate_maml(maml)
    if inner.rounds == 0:
        raise ConfigError(
            'inner.rounds=0: expected at least 1 with strategy = "maml", which learns through updates; choose e.g. 1'
        )
    if inner.genes:
        raise ConfigError(
            f'inner.genes={list(inner.genes)}: expected none with strategy = "maml", since no gradient passes through '
            'advantages; leave them out, or choose strategy = "es"'
        )
    if inner.optimiser == "adam" and not maml.first_order:
        raise ConfigError(
            "inner.optimiser='adam': expected 'sgd' with maml.first_order = false, since Adam's root has no derivative "
            "where a gradient is 0; set first_order = true, or choose 'sgd'"
        )
